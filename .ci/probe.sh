#!/usr/bin/env bash
# Prints what the Makefile found on this machine (it passes its findings in the environment); fails, naming the packages,
# when something that the build cannot do without is missing. Argument: the heading.
set -u
version() { pkg-config --modversion "$1" 2>/dev/null; }
row() { printf '  %-10s %s\n' "$1" "$2"; }

echo "$1"
row compiler "$("$CC" --version 2>/dev/null | head -1) for $ARCH ($ISAS)"
case $GEMM in
onednn)
    v=$(printf '#include <dnnl_version.h>\nDNNL_VERSION_MAJOR.DNNL_VERSION_MINOR' | "$CC" -E -P -x c - 2>/dev/null | tail -1 | tr -d ' ')
    row GEMM "oneDNN $v"
    ;;
*) row GEMM "own packed kernel (with AVX-512 oneDNN is faster, and doubles bf16: apt-get install libdnnl-dev)" ;;
esac
row HDF5 "$([ -n "$HDF5" ] && version "$HDF5" || echo "not found: no .h5 output (apt-get install libhdf5-dev)")"
row cairo "$([ -n "$CAIRO" ] && version "$CAIRO" || echo "not found: no pictures (apt-get install libcairo2-dev)")"
row bigWig "$([ -n "$BIGWIG" ] && echo "$BIGWIG" || echo "libBigWig not found: no .bw output (apt-get install libbigwig-dev)")"
row LMDB "$([ -n "$LMDB" ] && version "$LMDB" || echo "not found: no recmamba stream, serve (apt-get install liblmdb-dev)")"
row microhttpd "$([ -n "$HTTPD" ] && version "$HTTPD" || echo "not found: no recmamba serve (apt-get install libmicrohttpd-dev)")"
row htslib "$(version htslib)"
if [ -n "$CUDA" ]; then
    row CUDA "$("$CUDA" --version | sed -n 's/.*release \([0-9.]*\).*/nvcc \1/p') ($(grep -o 'sm_[0-9]*' <<<"$CUDA_ARCHS" | paste -sd' '), PTX)"
else
    row CUDA "no GPU kernels (they need nvcc of CUDA 12 or 13, and a release build)"
fi
missing=''
command -v "$CC" >/dev/null || missing+=" a C compiler ($CC)"
command -v pkg-config >/dev/null || missing+=" pkg-config"
for m in $NEEDED; do
    [ -n "$(version "$m")" ] || missing+=" $m"
done
[ -z "$missing" ] && exit 0
echo "missing:$missing" >&2
echo "bash .ci/setup.sh installs them (Debian, Ubuntu) or names the packages (elsewhere)." >&2
exit 1
