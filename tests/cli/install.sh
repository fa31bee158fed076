#!/usr/bin/env bash
# make install into an empty prefix: a C program of somebody else finds, links and runs the library by pkg-config, shared
# and static; make uninstall leaves no file behind.
# only: cli
. "$(dirname "$0")/lib.sh"
plain_make=(env -u MAKEFLAGS -u MAKELEVEL -u MFLAGS make --no-print-directory)
prefix=$tmp/prefix
check "make install" exits 0 "${plain_make[@]}" install PREFIX="$prefix"
export PKG_CONFIG_PATH=$prefix/lib/pkgconfig
version=$(sed -n 's/^VERSION *:= *//p' Makefile)
check "pkg-config names the version" [ "$(pkg-config --modversion seqmamba)" = "$version" ]

cat >"$tmp/user.c" <<'C'
#include <stdio.h>
#include <string.h>
#include "core/provenance.h"
#include "core/rng.h"
#include "kernels/ops.h"
int main(void)
{
    mb_rng r;
    mb_rng_init(&r, 1, 2);
    const char *hole = mbk_ops_hole(mbk_ops_cpu());
    printf("%s %s %d\n", mb_version(), hole ? hole : "complete", mb_rng_uniform(&r) < 1.0);
    return strcmp(mb_version(), "") == 0;
}
C
cd "$tmp" || exit 1
expect="$version complete 1"
run cc -std=c17 -Wall -Wextra -Werror user.c -o shared $(pkg-config --cflags --libs seqmamba)
check "a program compiles against the shared library" [ "$status" = 0 ]
run env LD_LIBRARY_PATH="$prefix/lib" ./shared
check "and runs" [ "$out" = "$expect" ]
run cc -std=c17 user.c -o static $(pkg-config --cflags seqmamba) "$prefix/lib/libseqmamba.a" \
    $(pkg-config --static --libs seqmamba | sed 's/-lseqmamba//')
check "a program links the static library with what pkg-config --static names" [ "$status" = 0 ]
run ./static
check "and runs" [ "$out" = "$expect" ]
for p in "$prefix"/bin/*; do
    [ -x "$p" ] && check "installed ${p##*/} --version" exits 0 "$p" --version
done
check "the installed model verifies itself" exits 0 "$prefix/bin/seqmamba" verify "$prefix/share/seqmamba/models/multispecies"
cd "$top" || exit 1
check "make uninstall" exits 0 "${plain_make[@]}" uninstall PREFIX="$prefix"
check "leaves no file" [ -z "$(find "$prefix" ! -type d)" ]
check "DESTDIR is respected" exits 0 "${plain_make[@]}" install DESTDIR="$tmp/stage" PREFIX=/usr
check "and stays out of the file's paths" grep -q '^prefix=/usr$' "$tmp/stage/usr/lib/pkgconfig/seqmamba.pc"
finish
