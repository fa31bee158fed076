#!/usr/bin/env bash
# Style, warnings, static analysis, house rules; one line each, the findings when it fails: .ci/check.sh [NAME...]
# What clang-tidy and cppcheck found clean is remembered by content in build/check, so a second run is short.
set -u
cd "$(dirname "$0")/.." || exit 1
MAKE=${MAKE:-make}
jobs=$(nproc 2>/dev/null || echo 2)
cache=build/check
mkdir -p "$cache"
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
passed=0 failed=0 skipped=0
flags=$("$MAKE" -s --no-print-directory list-flags)
all_files() { git ls-files -co --exclude-standard -- "$@" | while read -r f; do [ -f "$f" ] && echo "$f"; done; }
parallel() { xargs -r -P "$jobs" -I{} bash -c "$1"; } # files on stdin; non-zero when one fails
# What is only compiled where its library is: leave out the sources whose library this machine lacks.
sources() { all_files '*.c' | grep -vxF -f <("$MAKE" -s --no-print-directory list-left-out | tr ' ' '\n' | grep . || echo -); }
export flags cache

# ---- the checks: each prints its findings and fails, or returns 77 and says on the last line why it was skipped --------
check_format() {
    local f
    for f in clang-format-14 clang-format; do
        [[ $($f --version 2>/dev/null) == *"version 14."* ]] && break
        f=''
    done
    [ -n "$f" ] || { echo "needs clang-format 14: others break lines elsewhere"; return 77; }
    all_files '*.c' '*.h' '*.cu' '*.cuh' '*.cpp' | xargs -r "$f" --dry-run -Werror 2>&1 | head -60
    return "${PIPESTATUS[1]}"
}
check_gcc() {
    "$MAKE" --no-print-directory -k WERROR=1 all tests benches 2>&1 | grep -vE '^  (CC|AR|LINK|NVCC|EXEC) |Nothing to be done'
    return "${PIPESTATUS[0]}"
}
check_clang() { sources | parallel 'eval clang "$flags" -Werror -DMBK_ISA=generic -DMBK_ISA_generic -fsyntax-only {}'; }
check_headers() {
    all_files '*.h' | grep -v '^tests/cuda_exec/include/' | parallel 'echo "#include \"{}\"" | eval gcc "$flags" -Werror -fsyntax-only -x c -' &&
        all_files 'kernels/*.h' 'tests/cuda_exec/*.h' | parallel 'echo "#include \"{}\"" | clang -I. -Itests/cuda_exec/include -std=c++17 -Wall -Wextra -Werror -fsyntax-only -x c++ -'
}
check_tidy() { # key: the tool, its configuration and all that the compiler sees of this file
    [[ $(clang-tidy --version) == *"version 14."* ]] || { echo "needs clang-tidy 14: others find other things"; return 77; }
    tool=$(clang-tidy --version | tr -d '\n') && export tool
    sources | parallel 'isa=""; case {} in kernels/*_cpu.c) isa="-DMBK_ISA=generic -DMBK_ISA_generic" ;; esac
        key=$( (echo "$tool"; cat .clang-tidy "$(dirname {})/.clang-tidy"; eval clang "$flags" $isa -E -C {}) 2>/dev/null | sha256sum | cut -c1-32)
        [ -e $cache/tidy-$key ] && exit 0
        eval clang-tidy --quiet {} -- "$flags" $isa >$cache/tidy-$key.log 2>/dev/null && mv $cache/tidy-$key.log $cache/tidy-$key && exit 0
        grep -E ": (error|warning):" $cache/tidy-$key.log; rm -f $cache/tidy-$key.log; exit 1' | sed "s|$PWD/||" | sort -u
    return "${PIPESTATUS[1]}"
}
check_cppcheck() { # two suppressions: it takes hexadecimal floats for 0, and loops for ones that may never run
    sources | grep -v '^tests/' | xargs cppcheck --quiet -j "$jobs" --std=c11 --enable=warning,performance,portability \
        --inline-suppr --error-exitcode=1 --cppcheck-build-dir="$cache" --suppress=missingIncludeSystem \
        --suppress=normalCheckLevelMaxBranches --suppress=incorrectLogicOperator --suppress=invalidFunctionArg \
        -I. -D__GNUC__ -D__x86_64__ -DMBK_ISA=generic -DMBK_ISA_generic 2>&1
}
check_includes() { bash .ci/include-rule.sh; }
check_lengths() { all_files '*.c' '*.h' '*.cu' '*.cuh' '*.cpp' | xargs -r awk -f .ci/length-rule.awk; }
check_unfinished() { ! all_files '*.c' '*.h' '*.cu' '*.cuh' '*.cpp' '*.sh' '*.md' Makefile | xargs -r grep -nE '\b(TODO|FIXME|XXX|HACK)\b' -- | grep -v '^\.ci/check\.sh:'; }
check_symbols() { # what the library exports has the house's prefix
    [ -e bin/libseqmamba.a ] || { echo "bin/libseqmamba.a was not built"; return 1; }
    ! nm -g --defined-only bin/libseqmamba.a | awk 'NF == 3 && $3 !~ /^(mb|mbk)_|^\.gomp_/ { print "exported: " $3 }' | grep .
}
check_tree() { # nothing built is tracked, nothing strange lies at the top
    ! git ls-files | grep -E '\.(o|a|so|d|gcda|gcno|pyc)$|(^|/)a\.out$' &&
        ! git ls-files | sed 's|/.*||' | sort -u |
        grep -vxE 'Makefile|README\.md|LICENSE|core|genomics|recsys|timeseries|kernels|pipelines|tests|\..*'
}
check_scripts() { all_files '*.sh' .ci/run | parallel 'bash -n {}'; }
check_cuda() { # the objects that the library links, and those it does not, for all architectures, warnings being errors
    command -v nvcc >/dev/null || { echo "needs nvcc"; return 77; }
    "$MAKE" --no-print-directory -k WERROR=1 cuda-objects 2>&1 | grep -vE '^  NVCC |Nothing to be done'
    return "${PIPESTATUS[0]}"
}

for name in ${*:-format gcc clang headers tidy cppcheck includes lengths unfinished symbols tree scripts cuda}; do
    start=$EPOCHREALTIME
    "check_$name" >"$work/log" 2>&1 </dev/null
    status=$?
    took=$(awk -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f s", b - a }')
    case $status in
    0) passed=$((passed + 1)) && printf '  ok    %-10s %s\n' "$name" "$took" ;;
    77) skipped=$((skipped + 1)) && printf '  skip  %-10s %s\n' "$name" "$(tail -1 "$work/log")" ;;
    78) ;; # nothing of the kind in the tree
    *)
        failed=$((failed + 1)) && printf '  FAIL  %-10s %s\n' "$name" "$took"
        head -n 100 "$work/log" | sed 's/^/      | /'
        ;;
    esac
done
[ -z "${SEQMAMBA_TALLY:-}" ] || echo "$passed $failed $skipped" >>"$SEQMAMBA_TALLY"
echo "checks: $passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ] && [ "$passed" != 0 ]
