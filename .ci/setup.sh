#!/usr/bin/env bash
# Sees to it that what a task needs is on this machine: .ci/setup.sh [build] [test] [check] [cross]   (default: build)
# On Debian and Ubuntu it installs what is missing by apt-get, as root or through sudo, and says so first. Elsewhere it
# names the packages and stops. Where nothing is missing it prints nothing. It never removes or upgrades anything.
set -u
tasks=" ${*:-build} "

# task, need (! must, ? better with it), probe (cmd: program, pc: pkg-config module, hdr: header), Debian, Fedora, Arch
needs='
build ! cmd:cc           gcc               gcc                   gcc
build ! cmd:make         make              make                  make
build ! cmd:pkg-config   pkg-config        pkgconf-pkg-config    pkgconf
build ! hdr:stdio.h      libc6-dev         glibc-devel           glibc
build ! pc:htslib        libhts-dev        htslib-devel          htslib(AUR)
build ! pc:zlib          zlib1g-dev        zlib-devel            zlib
build ! pc:liblzma       liblzma-dev       xz-devel              xz
build ! pc:libzstd       libzstd-dev       libzstd-devel         zstd
build ! pc:yaml-0.1      libyaml-dev       libyaml-devel         libyaml
build ! pc:jansson       libjansson-dev    jansson-devel         jansson
build ! pc:libcrypto     libssl-dev        openssl-devel         openssl
build ? hdr:dnnl.h       libdnnl-dev       onednn-devel          onednn
build ? pc:hdf5          libhdf5-dev       hdf5-devel            hdf5
build ? pc:cairo         libcairo2-dev     cairo-devel           cairo
build ? pc:lmdb          liblmdb-dev       lmdb-devel            lmdb
build ? pc:libmicrohttpd libmicrohttpd-dev libmicrohttpd-devel   libmicrohttpd
build ? hdr:bwValues.h   libbigwig-dev     libBigWig-devel       libbigwig(AUR)
test  ! hdr:cmocka.h     libcmocka-dev     libcmocka-devel       cmocka
test  ? cmd:g++          g++               gcc-c++               gcc
test  ? cmd:chromium     chromium          chromium              chromium
check ! cmd:clang        clang             clang                 clang
check ! cmd:clang-tidy   clang-tidy        clang-tools-extra     clang
check ! cmd:clang-format clang-format      clang-tools-extra     clang
check ! cmd:cppcheck     cppcheck          cppcheck              cppcheck
check ! rt:omp           libomp-dev        libomp-devel          openmp
check ! rt:fuzzer        libclang-rt-dev   compiler-rt           compiler-rt
cross ? cmd:aarch64-linux-gnu-gcc gcc-aarch64-linux-gnu - aarch64-linux-gnu-gcc
cross ? dir:/usr/aarch64-linux-gnu/include libc6-dev-arm64-cross - aarch64-linux-gnu-glibc
cross ? cmd:qemu-aarch64-static qemu-user-static qemu-user-static qemu-user-static
'
# What clang cannot link: every option in turn, told by the probe.
clang_links() {
    printf '%s\nint main(void){return 0;}\n' "$2" | clang -x c "$1" - -o /dev/null >/dev/null 2>&1
}
cc=$(command -v "${CC:-cc}" || command -v gcc || command -v clang)

# Headers are asked for in one run of the preprocessor: each line of its output is the name of one that is there.
headers=$(awk -v t="$tasks" 'index(t, " " $1 " ") && $3 ~ /^hdr:/ { print substr($3, 5) }' <<<"$needs")
have_headers=''
[ -n "$cc" ] && have_headers=$(for h in $headers; do
    printf '#if __has_include(<%s>)\n"%s"\n#endif\n' "$h" "$h"
done | "$cc" -E -P ${CPPFLAGS:-} -x c - 2>/dev/null)

present() {
    case $1 in
    cmd:cc) [ -n "$cc" ] ;;
    dir:*) [ -d "${1#dir:}" ] ;;
    cmd:*) command -v "${1#cmd:}" >/dev/null ;;
    pc:hdf5) pkg-config --exists hdf5-serial 2>/dev/null || pkg-config --exists hdf5 2>/dev/null ;;
    pc:*) pkg-config --exists "${1#pc:}" 2>/dev/null ;;
    hdr:*) [[ $have_headers == *"\"${1#hdr:}\""* ]] ;;
    rt:omp) clang_links -fopenmp '#include <omp.h>' ;;
    rt:fuzzer) clang_links -fsanitize=address,undefined '' ;;
    esac
}

must='' better='' # lines of the table whose probe fails
find_missing() {
    must='' better=''
    while read -r task need probe rest; do
        [[ $tasks == *" $task "* ]] || continue
        present "$probe" && continue
        if [ "$need" = '!' ]; then must+="$probe $rest"$'\n'; else better+="$probe $rest"$'\n'; fi
    done < <(grep . <<<"$needs")
}
column() { awk -v c="$1" '$c != "-" { print $c }' | sort -u | paste -sd' '; }

[ "$(uname -m)" = x86_64 ] || tasks=${tasks/ cross / } # cross: to run the NEON kernels on a machine that has none
find_missing
[ -z "$must$better" ] && exit 0

stop_and_name() {
    [ -n "$must" ] || { # only optional parts are missing and nobody may install: the build goes on without them
        echo "setup: going on without $(column 2 <<<"${better%$'\n'}") (slower, or fewer output formats)" >&2
        exit 0
    }
    echo "setup: $1. Missing packages:" >&2
    echo "  Debian, Ubuntu: apt-get install $(column 2 <<<"$must${better%$'\n'}")" >&2
    echo "  Fedora:         dnf install $(column 3 <<<"$must${better%$'\n'}")" >&2
    echo "  Arch:           pacman -S $(column 4 <<<"$must${better%$'\n'}")" >&2
    exit 1
}

command -v apt-get >/dev/null || stop_and_name "this system has no apt-get, so nothing is installed from here"
root=()
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || stop_and_name "neither root nor sudo, so nothing is installed from here"
    root=(sudo)
    if [ ! -t 0 ]; then
        sudo -n true 2>/dev/null || stop_and_name "sudo asks for a password and there is no terminal"
        root=(sudo -n)
    fi
fi
apt() { "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Dpkg::Use-Pty=0 "$@"; }
twice() { "$@" || { sleep 5; "$@"; }; }

echo "setup: refreshing the package lists (apt-get update)" >&2
twice apt update >/dev/null || stop_and_name "apt-get update failed"
# Drop what is installed already, swap names that differ between releases, leave out optional ones that do not exist.
packages=()
for p in $(column 2 <<<"$must${better%$'\n'}"); do
    if ! apt-cache show "$p" >/dev/null 2>&1; then
        case $p in
        libclang-rt-dev)
            v=$(apt-cache depends clang | sed -n 's/.*Depends: clang-\([0-9]*\)$/\1/p' | head -1)
            p=libclang-rt-$v-dev
            apt-cache show "$p" >/dev/null 2>&1 || p=libclang-common-$v-dev
            ;;
        *) grep -q " $p " <<<"$better" && continue ;;
        esac
    fi
    packages+=("$p")
done
if [ ${#packages[@]} -gt 0 ]; then
    echo "setup: installing by apt-get: ${packages[*]}" >&2
    log=$(mktemp)
    twice apt install --no-install-recommends "${packages[@]}" >"$log" 2>&1 || {
        tail -20 "$log" >&2
        rm -f "$log"
        stop_and_name "apt-get install failed"
    }
    rm -f "$log"
fi
cc=$(command -v "${CC:-cc}" || command -v gcc || command -v clang)
have_headers=$(for h in $headers; do
    printf '#if __has_include(<%s>)\n"%s"\n#endif\n' "$h" "$h"
done | "$cc" -E -P ${CPPFLAGS:-} -x c - 2>/dev/null)
find_missing
[ -z "$must" ] || stop_and_name "still missing after the installation"
exit 0
