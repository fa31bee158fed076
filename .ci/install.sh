#!/usr/bin/env bash
# make install / uninstall: .ci/install.sh install|uninstall VERSION DESTDIR PREFIX [MODULES LIBS]
# MODULES and LIBS are what a program that links libseqmamba.a needs besides it, for the pkg-config file.
set -eu
what=$1 version=$2 root=$3$4 prefix=$4 modules=${5:-} libs=${6:-}
[[ $prefix == /* ]] || { echo "PREFIX must be an absolute path, not '$prefix'" >&2; exit 2; }
soname=libseqmamba.so.${version%%.*}
cd "$(dirname "$0")/.."
programs=()
for p in dna-mamba recmamba ts-mamba seqmamba; do
    [ "$what" = install ] && [ ! -x "bin/$p" ] || programs+=("$p")
done

if [ "$what" = uninstall ]; then
    rm -f "${programs[@]/#/$root/bin/}" "$root"/lib/libseqmamba.{a,so} "$root/lib/$soname" "$root/lib/libseqmamba.so.$version" \
        "$root/lib/pkgconfig/seqmamba.pc"
    rm -rf "$root/include/seqmamba" "$root/share/doc/seqmamba" "$root/share/seqmamba"
    exit 0
fi
install -d "$root"/{bin,lib/pkgconfig,include/seqmamba/{core,kernels},share/doc/seqmamba}
for p in "${programs[@]}"; do install -m 755 "bin/$p" "$root/bin/"; done
install -m 644 bin/libseqmamba.a "$root/lib/"
install -m 755 bin/libseqmamba.so "$root/lib/libseqmamba.so.$version"
ln -sf "libseqmamba.so.$version" "$root/lib/$soname"
ln -sf "$soname" "$root/lib/libseqmamba.so"
for d in core kernels; do
    for h in "$d"/*.h; do [[ $h == *_internal.h ]] || install -m 644 "$h" "$root/include/seqmamba/$d/"; done
done
for m in genomics/models/*/; do
    install -d "$root/share/seqmamba/models/$(basename "$m")"
    install -m 644 "$m"* "$root/share/seqmamba/models/$(basename "$m")/"
done
for f in README.md LICENSE; do [ ! -f $f ] || install -m 644 $f "$root/share/doc/seqmamba/"; done
cat >"$root/lib/pkgconfig/seqmamba.pc" <<PC
prefix=$prefix
libdir=\${prefix}/lib
includedir=\${prefix}/include/seqmamba

Name: seqmamba
Description: Mamba state-space models for sequences
Version: $version
Cflags: -I\${includedir}
Libs: -L\${libdir} -lseqmamba
Requires.private: $modules
Libs.private: $libs
PC
echo "installed under $root: bin/{$(IFS=,; echo "${programs[*]}")}, lib/libseqmamba.{a,so}, include/seqmamba, lib/pkgconfig/seqmamba.pc, share/seqmamba/models"
