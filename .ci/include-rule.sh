#!/usr/bin/env bash
# Who may include whom: kernels <- core <- {genomics, recsys, timeseries} <- pipelines; outside libraries each in one place.
# Prints each breach as file:line: include; fails when there is one.
set -u
cd "$(dirname "$0")/.." || exit 1
git ls-files -co --exclude-standard '*.c' '*.h' '*.cu' '*.cuh' | xargs -r awk '
    function breach(why) { printf "%s:%d: %s  (%s)\n", FILENAME, FNR, $0, why; bad = 1 }
    function front(d) { return d == "genomics" || d == "recsys" || d == "timeseries" }
    /^[ \t]*#[ \t]*include/ {
        if (!match($0, /[<"][^>"]+[>"]/)) next
        quoted = substr($0, RSTART, 1) == "\""
        name = substr($0, RSTART + 1, RLENGTH - 2)
        from = FILENAME; sub(/\/.*/, "", from)
        to = name; if (!sub(/\/.*/, "", to)) to = ""
        house = to == "kernels" || to == "core" || front(to) || to == "pipelines" || to == "tests"
        if (quoted && !house) breach("written from the root of the tree, as \"core/error.h\"")
        if (house && from != "tests") {
            if (to == "tests") breach("only tests see tests")
            if (from == "kernels" && to != "kernels") breach("kernels sees nothing above it")
            if (from == "core" && to != "core" && to != "kernels") breach("core sees core and kernels")
            if (front(from) && to != from && to != "core") breach("a front end sees itself and core")
            if (from == "pipelines" && to == "kernels") breach("pipelines does not see kernels")
        }
        if (from == "tests") next
        if (to == "htslib" && from != "genomics") breach("htslib only in genomics")
        if (name == "yaml.h" && FILENAME != "core/yaml.c") breach("libyaml only in core/yaml.c")
        if (name ~ /^(mpi|nccl)\.h$/ && FILENAME !~ /^core\/comm/) breach("MPI and NCCL only in core/comm*")
        if (name ~ /^cuda/ && FILENAME !~ /\.cuh?$/) breach("CUDA only in .cu")
        if (name ~ /^(dnnl|cblas|openblas|blis)/ && FILENAME !~ /^kernels\/gemm_/) breach("the BLAS only in kernels/gemm_*")
        if (name ~ /^hdf5/ && FILENAME != "core/hdf5_out.c") breach("HDF5 only in core/hdf5_out.c")
        if (name ~ /^cairo/ && FILENAME != "core/picture_cairo.c") breach("cairo only in core/picture_cairo.c")
        if (name ~ /^(bigWig|bwCommon|bwValues)/ && FILENAME != "genomics/bigwig_out.c") breach("libBigWig only in genomics/bigwig_out.c")
        if (name == "lmdb.h" && FILENAME != "recsys/store_lmdb.c") breach("LMDB only in recsys/store_lmdb.c")
        if (name == "microhttpd.h" && FILENAME != "recsys/http_mhd.c") breach("libmicrohttpd only in recsys/http_mhd.c")
        if (name ~ /^(lzma|zstd)\.h$/ && FILENAME !~ /^recsys\/(unpack|image)\.c$/) breach("liblzma and libzstd only in recsys/unpack.c and image.c")
        if (name == "jansson.h" && (from == "kernels" || from == "pipelines")) breach("jansson not in " from)
    }
    END { exit bad }'
