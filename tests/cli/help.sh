#!/usr/bin/env bash
# Help, versions, usage errors: the same manners in every program and verb.
. "$(dirname "$0")/lib.sh"
version=$(sed -n 's/^VERSION *:= *//p' Makefile)
found=0
for program in dna-mamba recmamba ts-mamba seqmamba; do
    [ -x "$bin/$program" ] || continue
    found=1
    p=$bin/$program
    check "$program --version" exits 0 "$p" --version
    check "$program --version names $version on stdout" has "$out" "$version"
    check "$program --help" exits 0 "$p" --help
    check "$program --help is for stdout" [ -n "$out" ]
    help=$out
    check "$program without a verb is a usage error" exits 2 "$p"
    # Verbs are the indented words that start a line of the help under "Verbs" or "Commands".
    verbs=$(awk '/^[A-Za-z ]*([Vv]erbs|[Cc]ommands)/ { on = 1; next } /^[^ ]/ { on = 0 } on && $1 ~ /^[a-z][a-z0-9-]*$/ && /^  ?  ?[a-z]/ { print $1 }' <<<"$help")
    check "$program --help lists verbs" [ -n "$verbs" ]
    check "$program: a verb misspelt ends with 2" exits 2 "$p" "$(head -1 <<<"$verbs")x"
    check "$program: and the right one is suggested" has "$err" "$(head -1 <<<"$verbs")"
    check "$program: no verb like that at all ends with 2" exits 2 "$p" qqqqqqqq
    for verb in $verbs; do
        check "$program $verb --help" exits 0 "$p" "$verb" --help
        verb_help=$out
        for o in --threads --memory --config --set --dry-run --quiet --device; do
            check "$program $verb --help mentions $o" has "$verb_help" "$o"
        done
        check "$program $verb: unknown option ends with 2" exits 2 "$p" "$verb" --threeds 2
        check "$program $verb: and the right one is suggested" has "$err" "--threads"
        check "$program $verb: a bad number ends with 2" exits 2 "$p" "$verb" --threads=many
        check "$program $verb: the option is named" has "$err" "threads"
        check "$program $verb: an option without its value ends with 2" exits 2 "$p" "$verb" --threads
        run "$p" "$verb" --print-config
        if [ "$status" = 0 ]; then
            missing=$(sed -n 's/^ *\([a-z][a-z0-9_-]*\):.*/\1/p' <<<"$out" | tr _ - | while read -r key; do
                has "$verb_help" "--$key" || has "$verb_help" "--no-$key" || echo "$key"
            done | grep -vxE 'version|command|inputs')
            check "$program $verb --help mentions every key of --print-config ($missing)" [ -z "$missing" ]
        fi
    done
    if [ -e /dev/full ]; then
        "$p" --help >/dev/full 2>"$tmp/.err"
        check "$program: a full disk under stdout is an error" [ $? != 0 ]
    fi
done
[ $found = 1 ] || skip "no program is built"
finish
