# Sourced by the scripts of this folder. Each checks the programs in $SEQMAMBA_BIN (default: bin) from outside and prints
# "ok - what", "not ok - what" or "skip - why" lines, which tests/run.sh counts.
#
#   run COMMAND...          runs it with no input; afterwards $status, $out (stdout), $err (stderr)
#   check "what" TEST...    ok when the command TEST succeeds
#   has "text" "part"       a TEST: part occurs in text
#   need_program NAME       leaves the script, saying skip, when the program is not built
#   $tmp                    a folder of this script, removed at its end
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
top=$PWD
bin=$(cd "${SEQMAMBA_BIN:-bin}" 2>/dev/null && pwd) || { echo "not ok - no folder ${SEQMAMBA_BIN:-bin}: build first"; exit 1; }
shared=${SEQMAMBA_SHARED:-$top/../shared}
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
export TMPDIR=$tmp LC_ALL=C
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-2}
failures=0 status=0 out='' err=''

ok() { echo "ok - $*"; }
skip() { echo "skip - $*"; }
not_ok() {
    failures=$((failures + 1))
    echo "not ok - $*"
}
run() {
    timeout "${limit:-120}" "$@" >"$tmp/.out" 2>"$tmp/.err" </dev/null
    status=$?
    out=$(tr -d '\0' <"$tmp/.out") err=$(tr -d '\0' <"$tmp/.err")
    last="$*"
}
has() { [[ $1 == *"$2"* ]]; }
check() {
    local what=$1
    shift
    if "$@"; then
        ok "$what"
    else
        not_ok "$what"
        printf '    ran:    %s\n    status: %s\n' "${last:-}" "$status"
        head -c 1500 "$tmp/.out" | sed 's/^/    out: /'
        head -c 1500 "$tmp/.err" | sed 's/^/    err: /'
    fi
}
# The command ends with this status, and with one line at least on stderr when that is not 0.
exits() { # status, command...
    local want=$1
    shift
    run "$@"
    [ "$status" = "$want" ] && { [ "$want" = 0 ] || [ -n "$err" ]; }
}
need_program() {
    [ -x "$bin/$1" ] && return
    skip "$1 is not built"
    exit 0
}
same() { cmp -s "$1" "$2"; }
saved() { # folder: the newest whole checkpoint's step
    find "$1/checkpoints" -maxdepth 1 -name 'step-*' 2>/dev/null | sed 's/.*step-0*//' | sort -n | tail -1
}
wait_saved() { # folder, step, seconds (20): until there is a checkpoint of that step or a later one (older ones go)
    local i newest
    for ((i = 0; i < ${3:-20} * 20; i++)); do
        newest=$(saved "$1")
        [ "${newest:-0}" -ge "$2" ] && return
        sleep 0.05
    done
    return 1
}
finish() { [ "$failures" = 0 ]; } # last line of a script
