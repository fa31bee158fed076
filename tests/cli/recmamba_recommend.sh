#!/usr/bin/env bash
# recmamba recommend, score, similar, export from outside: formats, filters, lists, unknown users and items, other logs
# and other models, the same bytes whatever the threads and memory, nothing half-written.
. "$(dirname "$0")/lib.sh"
need_program recmamba
export OMP_WAIT_POLICY=passive
log=recsys/data/ml-latest-small.csv.gz
names=recsys/data/ml-latest-small.movies.csv.gz
core=(--min-user 5 --min-item 5)
check "a model" exits 0 "$bin/recmamba" train "$log" "${core[@]}" -m mamba:d16:n1:s4 --steps 20 --batch 20 --evaluate-every 0 --no-floors \
    --quiet -o "$tmp/m"
recommend=("$bin/recmamba" recommend "$log" "${core[@]}" -m "$tmp/m" --quiet)
rows() { awk -F'\t' 'NR > 1' <<<"$out"; }
same() { cmp -s "$1" "$2"; }
json() { python3 -c "$1" 2>/dev/null; }

# ---- recommend
check "all users" exits 0 "${recommend[@]}" -o "$tmp/all.tsv"
out=$(cat "$tmp/all.tsv")
check "a thousand lines and a head" test "$(wc -l <"$tmp/all.tsv")" = 1001
check "ranks from 1 to 10, scores that fall" test -z "$(rows | awk -F'\t' '{ if ($2 == 1) { u = $1; s = $4 } if ($1 != u || $4 > s) print; s = $4 }')"
check "run.json beside it" test -s "$tmp/all.tsv.run.json"
seen=$(zcat "$log" | awk -F, 'NR > 1 { print $1 "\t" $2 }' | sort)
check "nothing that was seen" test -z "$(rows | cut -f1,3 | sort | comm -12 - <(cat <<<"$seen"))"
run "${recommend[@]}" --filter-seen off
check "unless it is asked for" test -n "$(rows | cut -f1,3 | sort | comm -12 - <(cat <<<"$seen"))"
check "one thread, little memory" exits 0 "${recommend[@]}" -o "$tmp/one.tsv" -t 1 --memory 1M
check "the same bytes" same "$tmp/all.tsv" "$tmp/one.tsv"
check "JSON lines" exits 0 "${recommend[@]}" -k 3 -o "$tmp/top.jsonl" --item-names "$names"
check "a line a user" test "$(wc -l <"$tmp/top.jsonl")" = 100
check "the same items as the table" test "$(sed 's/.*"items": \["\([^"]*\)".*/\1/' "$tmp/top.jsonl" | tr '\n' ' ')" = \
    "$(awk -F'\t' '$2 == 1 { print $3 }' "$tmp/all.tsv" | tr '\n' ' ')"
check "with names" grep -q '"names": \["[A-Z]' "$tmp/top.jsonl"
if json 'import json'; then
    check "every line is JSON" json "
import json
for line in open('$tmp/top.jsonl'):
    d = json.loads(line)
    assert len(d['items']) == len(d['names']) == len(d['scores']) == 3"
else
    skip "no python3 to read JSON lines with"
fi
run "${recommend[@]}" -k 2 --users 7,3,nobody
check "some users, in this order" test "$(rows | cut -f1 | tr '\n' ' ')" = "7 7 3 3 "
printf '3\n\n7\n3\n' >"$tmp/users"
run "${recommend[@]}" -k 1 --users "$tmp/users"
check "users of a file" test "$(rows | cut -f1 | tr '\n' ' ')" = "3 7 "
run "${recommend[@]}" -k 5 --users 3 --allow 296,318,593 --deny 318
check "allowed and not denied" test -z "$(rows | awk -F'\t' '$3 != 296 && $3 != 593')"
run "${recommend[@]}" -k 5 --users 3 --deny "$tmp/all.tsv"
check "a list of strange identifiers denies nothing" test "$(rows | wc -l)" = 5
check "no known user" exits 65 "${recommend[@]}" --users nobody,nothing
check "  it says so" has "$err" "none of the 2 users"
check "no known item" exits 65 "${recommend[@]}" --allow nothing
check "no model" exits 2 "$bin/recmamba" recommend "$log"
check "a model that is not there" exits 74 "$bin/recmamba" recommend "$log" -m "$tmp/nowhere"
check "a folder without items" exits 74 "$bin/recmamba" recommend "$log" -m genomics/models/multispecies
check "  it says so" has "$err" "has no items.txt"
cp "$log" "$tmp/log.csv.gz"
check "an output that is the input" exits 2 "$bin/recmamba" recommend "$tmp/log.csv.gz" -m "$tmp/m" -o "$tmp/log.csv.gz"
check "the log stays" same "$log" "$tmp/log.csv.gz"
check "a checkpoint is a model" exits 0 "$bin/recmamba" recommend "$log" -m "$(find "$tmp/m/checkpoints" -name 'step-*' | head -1)" -k 1 --quiet

# ---- other logs
printf 'new 318 296 593\n"old" 318 nowhere\nlost nowhere\n' >"$tmp/other.txt"
run "$bin/recmamba" recommend "$tmp/other.txt" --format sequences -m "$tmp/m" -k 1
check "users that the model never met" test "$(rows | cut -f1 | tr '\n' ' ')" = 'new "\"old\"" '
check "unknown items are counted" has "$err" "does not know 1 of the 4 items of the log: their 2 events of 6"
check "so are users without history" has "$err" "1 users have no event that the model knows"
printf 'u x y z\n' >"$tmp/strange.txt"
check "a log of another item set" exits 65 "$bin/recmamba" recommend "$tmp/strange.txt" --format sequences -m "$tmp/m"
check "  it says so" has "$err" "knows none of the 3 items"
head -c 300 "$tmp/m/model.safetensors" >"$tmp/cut"
cp -r "$tmp/m" "$tmp/broken" && cp "$tmp/cut" "$tmp/broken/model.safetensors"
check "a model cut short" exits 65 "$bin/recmamba" recommend "$log" -m "$tmp/broken"
cp "$tmp/m/model.safetensors" "$tmp/broken/" && sed -i '$d' "$tmp/broken/items.txt"
check "an item too few" exits 65 "$bin/recmamba" recommend "$log" -m "$tmp/broken"
check "  it says so" has "$err" "items.txt names"

# ---- score
awk -F'\t' 'NR > 1 { print $1 "\t" $3 }' "$tmp/all.tsv" >"$tmp/pairs"
check "the pairs of all recommendations" exits 0 "$bin/recmamba" score "$log" "${core[@]}" -m "$tmp/m" -c "$tmp/pairs" -o "$tmp/scores.tsv" --quiet
check "have the scores that they were recommended with" same <(cut -f1,3,4 "$tmp/all.tsv") "$tmp/scores.tsv"
tac "$tmp/pairs" >"$tmp/pairs.back"
check "in another order, on one thread, in little memory" exits 0 "$bin/recmamba" score "$log" "${core[@]}" -m "$tmp/m" -c "$tmp/pairs.back" \
    -o "$tmp/back.tsv" -t 1 --memory 1M --quiet
check "the same scores" same <(tail -n +2 "$tmp/scores.tsv") <(tail -n +2 "$tmp/back.tsv" | tac)
printf 'user\titem\n3\t318\tmore\n3\tnowhere\nnobody\t318\n' >"$tmp/odd"
run "$bin/recmamba" score "$log" "${core[@]}" -m "$tmp/m" -c "$tmp/odd" --header
check "unknown ones have no score" test "$(rows | cut -f3 | grep -c nan)" = 2
check "and are counted" has "$err" "2 of 3 pairs have no score"
for bad in '3' '3 318' '\t318' '3\t' '"3\t318'; do
    printf "3\\t318\\n$bad\\n" >"$tmp/bad"
    check "a line that is no pair: $bad" exits 65 "$bin/recmamba" score "$log" "${core[@]}" -m "$tmp/m" -c "$tmp/bad" -o "$tmp/none.tsv" --quiet
    check "  it says where" has "$err" "bad:2:"
done
check "nothing half-written" test ! -e "$tmp/none.tsv"
check "no pairs" exits 2 "$bin/recmamba" score "$log" -m "$tmp/m"

# ---- similar
check "neighbours of all items" exits 0 "$bin/recmamba" similar -m "$tmp/m" -k 4 -o "$tmp/similar.tsv" --quiet
out=$(cat "$tmp/similar.tsv")
check "four each, none its own" test "$(rows | wc -l) $(rows | awk -F'\t' '$1 == $4' | wc -l)" = "$((4 * $(wc -l <"$tmp/m/items.txt"))) 0"
run "$bin/recmamba" similar -m "$tmp/m" --items 318 -k 4 --quiet
check "one item's are those among all" test "$(rows)" = "$(awk -F'\t' '$1 == 318' "$tmp/similar.tsv")"
check "an unknown item" exits 65 "$bin/recmamba" similar -m "$tmp/m" --items nowhere
check "many more than there are" exits 0 "$bin/recmamba" similar -m "$tmp/m" --items 318 -k 100000 --quiet
check "gives all others" test "$(rows | wc -l)" = "$(($(wc -l <"$tmp/m/items.txt") - 1))"

# ---- export
check "vectors" exits 0 "$bin/recmamba" export "$log" "${core[@]}" -m "$tmp/m" -o "$tmp/vec" --quiet
check "the identifiers of the items" same "$tmp/vec.items.txt" "$tmp/m/items.txt"
check "and of the users" test "$(sort -n "$tmp/vec.users.txt" | tr '\n' ' ')" = "$(cut -f1 "$tmp/all.tsv" | tail -n +2 | sort -nu | tr '\n' ' ')"
if json 'import numpy'; then
    check "users times items are the scores" json "
import numpy as np
u, i = np.load('$tmp/vec.users.npy'), np.load('$tmp/vec.items.npy')
users, items = open('$tmp/vec.users.txt').read().split(), open('$tmp/vec.items.txt').read().split()
assert u.shape == (len(users), 16) and i.shape == (len(items), 16)
for line in open('$tmp/scores.tsv').read().splitlines()[1:]:
    a, b, s = line.split('\t')
    assert abs(u[users.index(a)] @ i[items.index(b)] - float(s)) < 1e-5"
else
    skip "no numpy to read arrays with"
fi
check "items alone" exits 0 "$bin/recmamba" export -m "$tmp/m" -o "$tmp/items" --quiet
check "no users then" test ! -e "$tmp/items.users.npy"
check "where to?" exits 2 "$bin/recmamba" export -m "$tmp/m"
(trap '' XFSZ && ulimit -f 8 && exec "$bin/recmamba" export "$log" "${core[@]}" -m "$tmp/m" -o "$tmp/full" --quiet) >"$tmp/.out" 2>"$tmp/.err" </dev/null
status=$? err=$(cat "$tmp/.err")
check "a full disk ends with 74" test "$status" = 74
check "nothing half-written" test -z "$(find "$tmp" -name 'full*')"
for verb in train recommend score similar export; do
    run "$bin/recmamba" $verb --help
    check "$verb --help" has "$out" "recmamba $verb"
done
finish
