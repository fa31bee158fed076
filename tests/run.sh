#!/usr/bin/env bash
# Builds and runs the tests: tests/run.sh [unit] [cli] [asan] [fuzz] [neon] [tsan]   (default: all but tsan)
#   unit  tests/test_*.c (cmocka), tests/check_*.c (kernels side by side) and cuda_* (the GPU's, run on the CPU)
#   cli   tests/cli/*.sh on the programs in bin/
#   asan  the same programs and scripts, built with AddressSanitizer and UndefinedBehaviorSanitizer
#   fuzz  tests/fuzz/fuzz_*.c over their corpora, SEQMAMBA_FUZZ_SECONDS (default 5) each
#   neon  on x86: tests/check_*.c built for aarch64, run by an emulator
#   tsan  the programs under ThreadSanitizer, by clang with libomp and its archer tool
# One line a program, its whole output when it fails. The last line is "N passed, M failed, K skipped"; the exit status
# is 0 when M is 0 and N is not. A program that crashes, hangs or counts no test has failed.
# SEQMAMBA_ONLY=pattern runs only programs whose name matches; SEQMAMBA_TALLY=file leaves the counts there instead.
set -u
cd "$(dirname "$0")/.." || exit 1
MAKE=${MAKE:-make}
limit=${SEQMAMBA_TEST_TIMEOUT:-600}
only=${SEQMAMBA_ONLY:-}
export SEQMAMBA_SHARED=${SEQMAMBA_SHARED:-$PWD/../shared}
# The fake stack of older gcc's sanitizer does not align vectors of 64 bytes: false crashes (GCC bug 110027).
old_gcc=$(${CC:-gcc} -dM -E -x c /dev/null 2>/dev/null | awk '$2 == "__GNUC__" { g = $3 } $2 == "__clang__" { g = 99 } END { print g < 14 }')
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=1:allocator_may_return_null=1:detect_stack_use_after_return=$((1 - ${old_gcc:-0}))}
export LSAN_OPTIONS=${LSAN_OPTIONS:-suppressions=$PWD/tests/lsan.txt:print_suppressions=0}
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive} # small tests on a busy machine would only spin at barriers
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1:halt_on_error=1}
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
passed=0 failed=0 skipped=0
ulimit -c 0

count() { passed=$((passed + $1)) failed=$((failed + $2)) skipped=$((skipped + $3)); }

skip_suite() { # name, reason
    echo "  skip  $1: $2"
    count 0 0 1
}

# Reads "passed failed skipped" out of a log: cmocka's closing lines, check_X: N passed..., and ok/not ok/skip lines.
tally() {
    awk '
        function tests() { match($0, /[0-9]+ test\(s\)/); return substr($0, RSTART) + 0 }
        /^\[  PASSED  \] .*[0-9]+ test\(s\)/ { p += tests() } # newer cmocka puts the name of the group before the number
        /^\[  FAILED  \] .*[0-9]+ test\(s\)/ { f += tests() }
        /^\[  SKIPPED \] .*[0-9]+ test\(s\)/ { s += tests() }
        /^check_[a-z0-9_]+: [0-9]+ passed, [0-9]+ failed/ {
            p += $2; f += $4
            if ($7 ~ /^skipped/) s += $6
        }
        /^ok - /     { p++ }
        /^not ok - / { f++ }
        /^skip - /   { s++ }
        END { print p + 0, f + 0, s + 0 }' "$1"
}

one() { # suite, name, command...: runs, counts, prints
    local suite=$1 name=$2 start=$EPOCHREALTIME status p f s took note=''
    shift 2
    [[ -n $only && ! $name =~ $only ]] && return
    { timeout --kill-after=10 "$limit" "$@" >"$work/log" 2>&1 </dev/null; } 2>/dev/null
    status=$?
    read -r p f s < <(tally "$work/log")
    if [ "$status" = 124 ] || [ "$status" = 137 ]; then note=" (stopped after $limit s)"; fi
    if [ "$status" != 0 ] && [ "$f" = 0 ]; then f=1 note=${note:- (exit status $status)}; fi
    if [ $((p + f + s)) = 0 ]; then f=1 note=' (counted no test)'; fi
    took=$(awk -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", b - a }')
    count "$p" "$f" "$s"
    printf '  %-4s  %-4s %-22s %5d passed%s%s  %s s%s\n' "$([ "$f" = 0 ] && echo ok || echo FAIL)" "$suite" "$name" "$p" \
        "$([ "$f" = 0 ] || echo ", $f failed")" "$([ "$s" = 0 ] || echo ", $s skipped")" "$took" "$note"
    if [ "$f" != 0 ]; then
        grep -vE '^(ok - |\[ RUN      \]|\[       OK \])' "$work/log" | tail -n 200 | sed 's/^/      | /'
    else
        grep -iE '^skip\b' "$work/log" | sort | uniq -c | head -5 | awk '{ n = $1; $1 = ""; print "       " (n > 1 ? n " x" : "") $0 }'
    fi
}

build() { # suite, make arguments...; a build that fails is a failed test
    local suite=$1
    shift
    "$MAKE" --no-print-directory "$@" >"$work/build" 2>&1 && return
    echo "  FAIL  $suite build: make $*"
    tail -n 60 "$work/build" | sed 's/^/      | /'
    count 0 1 0
    return 1
}
list() { "$MAKE" -s --no-print-directory "$@" list-tests; }

run_programs() { # suite, make arguments...
    local suite=$1 p
    shift
    for p in $(list "$@"); do
        one "$suite" "${p##*/}" "$p"
    done
}
run_scripts() { # suite, folder of the programs
    local s
    for s in tests/cli/*.sh; do
        [ -f "$s" ] && [ "$s" != tests/cli/lib.sh ] || continue
        grep -q '^# only: ' "$s" && ! grep -q "^# only:.*\b$1\b" "$s" && continue # a script may name its suites
        SEQMAMBA_BIN=$2 one "$1" "${s##*/}" bash "$s"
    done
}

unit() {
    build unit all tests || return
    run_programs unit
    [[ ! -d tests/cuda_exec || $(list) == */tests/cuda_* ]] || skip_suite cuda_ "the GPU kernels on the CPU need a C++ compiler: apt-get install g++"
}
cli() { build cli all && run_scripts cli bin; }
asan() {
    build asan MODE=asan all tests || return
    run_programs asan MODE=asan
    run_scripts asan "$("$MAKE" -s MODE=asan list-bin)"
}
tsan() {
    local archer
    archer=$(ls /usr/lib/llvm-*/lib/libarcher.so 2>/dev/null | tail -1)
    [ -n "$archer" ] || { skip_suite tsan "needs clang and libomp-dev (libarcher.so)"; return; }
    build tsan MODE=tsan tests || return
    # libomp without archer, and libgomp at all, give false alarms. Older run-times need address randomisation off.
    local -a quiet=(env OMP_TOOL_LIBRARIES="$archer" TSAN_OPTIONS="ignore_noninstrumented_modules=1 halt_on_error=1")
    setarch -R true 2>/dev/null && quiet=(setarch -R "${quiet[@]}")
    local p
    for p in $(list MODE=tsan); do
        one tsan "${p##*/}" "${quiet[@]}" "$p"
    done
}
fuzz() {
    local t name seconds=${SEQMAMBA_FUZZ_SECONDS:-5}
    ls tests/fuzz/fuzz_*.c >/dev/null 2>&1 || return
    printf 'int main(void){return 0;}' | clang -fsanitize=address,undefined -fopenmp -x c - -o /dev/null 2>/dev/null ||
        { skip_suite fuzz "needs clang with its run-time and OpenMP: apt-get install clang libclang-rt-dev libomp-dev"; return; }
    build fuzz MODE=fuzz fuzzers || return
    for t in $("$MAKE" -s MODE=fuzz list-fuzzers); do
        name=${t##*/}
        one fuzz "$name" bash tests/fuzz/run.sh "$t" "$seconds"
    done
}
neon() {
    local p qemu cross=(ARCH=aarch64 CC=aarch64-linux-gnu-gcc GEMM=none HDF5= CAIRO= BIGWIG= LMDB= HTTPD= NEEDED= LDFLAGS=-static)
    [ "$(uname -m)" = x86_64 ] || return 0
    qemu=$(command -v qemu-aarch64-static || command -v qemu-aarch64)
    [ -n "$qemu" ] && echo 'int main(void){return 0;}' | aarch64-linux-gnu-gcc -static -x c - -o "$work/a.out" 2>/dev/null ||
        { skip_suite neon "needs a compiler and an emulator: apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static"; return; }
    build neon "${cross[@]}" kernel-checks || return
    for p in $("$MAKE" -s --no-print-directory "${cross[@]}" list-kernel-checks); do
        one neon "${p##*/}" "$qemu" "$p"
    done
}

for suite in ${*:-unit cli asan fuzz neon}; do
    case $suite in
    unit | cli | asan | fuzz | neon | tsan) $suite ;;
    *) echo "tests/run.sh: no suite called $suite (unit, cli, asan, fuzz, neon, tsan)" >&2; exit 2 ;;
    esac
done
closing="$passed passed, $failed failed, $skipped skipped"
if [ -n "${SEQMAMBA_TALLY:-}" ]; then
    echo "$passed $failed $skipped" >>"$SEQMAMBA_TALLY"
    echo "tests: $closing"
else
    echo "$closing"
fi
[ "$failed" = 0 ] && [ "$passed" != 0 ]
