#!/usr/bin/env bash
# recmamba evaluate from outside: figures against those that awk computes from the ranks, the same bytes any way, models,
# what is refused.
. "$(dirname "$0")/lib.sh"
need_program recmamba
rec=$bin/recmamba data=$top/recsys/data/ml-latest-small.csv.gz
export OMP_WAIT_POLICY=passive
mkdir "$tmp/w" && cd "$tmp/w" || exit 1
clean() { [ -z "$(ls | grep -E '^out|\.tmp\.' || :)" ]; }
core=(--min-user 5 --min-item 5)
evaluate=("$rec" evaluate "$data" "${core[@]}")

check "evaluate prints a table" exits 0 "${evaluate[@]}" -k 10
check "it names the split" has "$out" "fingerprint   $("$rec" info "$data" "${core[@]}" 2>/dev/null | awk '$1 == "fingerprint" { print $2 }')"
check "and the order" has "$out" "order         time exact, ties file"
row() { awk -v key="$1" -v side="$2" '/^all items/ { s = 1 } /^without/ { s = 2 } s == side && $1 == key { print $2, $5 }' <<<"$out"; }
check "floors as counted elsewhere, all items" [ "$(row HR@10 1; row NDCG@10 1; row MRR@10 1)" = "0.0200 0.0400
0.0099 0.0151
0.0067 0.0078" ]
check "floors as counted elsewhere, without the history" [ "$(row HR@10 2; row NDCG@10 2; row MRR@10 2)" = "0.0600 0.0400
0.0228 0.0164
0.0120 0.0094" ]
run "${evaluate[@]}" -k 10 --floors markov --resamples 0 --metrics recall,map
check "one floor, without intervals" [ "$(grep -c '\[' <<<"$out")" = 0 ]
check "and only what was asked for" [ "$(awk '/@/ { print $1 }' <<<"$out" | sort -u | tr '\n' ' ')" = "MAP@10 Recall@10 coverage@10 " ]

# The figures once more, from the ranks.
again() { # ranks.tsv: scorer, side, metric, K, value; means over users of means over their lines
    awk -F'\t' 'NR > 1 {
        for (side = 0; side < 2; side++) {
            r = side ? $7 : $5
            for (i = 1; i <= 2; i++) {
                k = i == 1 ? 5 : 20; hit = r <= k
                s[$1 "\t" (side ? "unseen" : "all") "\thr\t" k, $2] += hit
                s[$1 "\t" (side ? "unseen" : "all") "\tndcg\t" k, $2] += hit ? log(2) / log(r + 1) : 0
                s[$1 "\t" (side ? "unseen" : "all") "\tmrr\t" k, $2] += hit ? 1 / r : 0
            }
        }
        n[$1, $2]++
    } END {
        for (key in s) {
            split(key, at, SUBSEP); split(at[1], name, "\t")
            sum[at[1]] += s[key] / n[name[1], at[2]]; users[at[1]]++
        }
        for (key in sum) printf "%s\t%.9f\n", key, sum[key] / users[key]
    }' "$1" | sort
}
given() { awk -F'\t' 'NR > 1 && ($3 == "hr" || $3 == "ndcg" || $3 == "mrr") { printf "%s\t%s\t%s\t%s\t%.9f\n", $1, $2, $3, $4, $5 }' "$1" | sort; }
for split in "" "--split time --valid-from 2005-01-01 --test-from 2016-01-01 --part valid" "--split time --test-from 2016-01-01"; do
    # shellcheck disable=SC2086
    check "TSV and ranks ($split)" exits 0 "${evaluate[@]}" $split -k 20,5 -o out.tsv --ranks ranks.tsv
    check "the TSV says what the ranks say ($split)" [ "$(again ranks.tsv)" = "$(given out.tsv)" ]
    check "there are such ($split)" [ "$(wc -l <ranks.tsv)" -gt 100 ]
done
check "a record lies beside it" grep -q '"fingerprint"' out.tsv.run.json
rm -f out* ranks.tsv

for how in "" "--candidates uni50" "--candidates pop50" "--ask sets --split time --test-from 2015-01-01" "--mean queries --split time --test-from 2015-01-01"; do
    # shellcheck disable=SC2086
    "${evaluate[@]}" $how -o one.json -q --threads 1 --ranks one.tsv && "${evaluate[@]}" $how -o two.json -q --threads 3 --score-memory 20k --ranks two.tsv
    check "the same bytes with threads and blocks ($how)" cmp one.json two.json
    check "the same ranks ($how)" cmp one.tsv two.tsv
done
"${evaluate[@]}" --candidates uni50 -q -o sample.tsv
check "samples have no coverage" [ "$(grep -c coverage sample.tsv)" = 0 ]
"${evaluate[@]}" --candidates uni50 --seed 1 -q -o other.tsv
check "another seed, another sample" [ "$(cut -f5 sample.tsv)" != "$(cut -f5 other.tsv)" ]
"${evaluate[@]}" --candidates uni100000 -q --ranks ranks1.tsv -o sample.tsv && "${evaluate[@]}" -q --ranks ranks2.tsv -o full.tsv
check "a sample of all is all, filtered" cmp <(cut -f1-4,7,8 ranks1.tsv) <(cut -f1-4,7,8 ranks2.tsv)
"${evaluate[@]}" -q --recbole-round -o rounded.tsv
check "rounded as RecBole does" [ "$(awk -F'\t' 'NR > 1 { printf "%.4f\n", $5 }' full.tsv)" = "$(awk -F'\t' 'NR > 1 { printf "%.4f\n", $5 }' rounded.tsv)" ]
check "JSON by its name" exits 0 "${evaluate[@]}" -o out.json
check "it is an object" [ "$(head -c1 out.json)$(tail -c2 out.json | head -c1)" = "{}" ]
check "TSV on standard output" exits 0 "${evaluate[@]}" --as tsv
check "with its header" has "$out" "scorer	candidates	metric	k	value	low	high	split"
check "a page" exits 0 "${evaluate[@]}" -q --report page.html
check "it names its run" grep -q 'Record of the run' page.html
rm -f out*
printf 'user,item\nu,"a\tb"\nu,"c\\d"\nu,e\nu,"a\tb"\nw,e\nw,e\nw,"c\\d"\nw,"a\tb"\n' >odd.csv
check "identifiers with tabs" exits 0 "$rec" evaluate odd.csv -q --ranks ranks.tsv
check "keep the columns of a TSV apart" [ "$(awk -F'\t' '{ print NF }' ranks.tsv | sort -u)" = 8 ]
check "and are written plainly" grep -q $'^popularity\tu\ta\\\\tb\t3\t' ranks.tsv
check "--dry-run only says what it would do" exits 0 "${evaluate[@]}" --dry-run -o out.tsv
check "so" has "$out" "held out     100 events"
check "and writes nothing" clean

# ---- a model ---------------------------------------------------------------------------------------------------------
check "train" exits 0 "$rec" train "$data" "${core[@]}" -o model -m mamba:d16:n1 --epochs 1 -q
check "evaluate a model" exits 0 "${evaluate[@]}" -m model -k 10 -o out.tsv --ranks ranks.tsv
check "with no warning" [ -z "$(grep warning <<<"$err")" ]
check "its difference to the best floor" [ "$(awk -F'\t' '
    $2 == "all" && $3 == "ndcg" && $1 != "model-best_floor" { if ($1 ~ /Mamba/) m = $5; else if ($5 > best) best = $5 }
    $2 == "all" && $3 == "ndcg" && $1 == "model-best_floor" { d = $5 }
    END { print (d - (m - best)) ^ 2 < 1e-20 ? "right" : "wrong" }' out.tsv)" = right ]
check "its training said the same" [ "$(awk -F'\t' '$1 ~ /Mamba/ && $2 == "all" && $3 == "ndcg" { printf "%.9f", $5 }' out.tsv)" = \
    "$(awk -F'[:,]' '/"test_ndcg@10"/ { printf "%.9f", $2 }' model/run.json)" ]
check "floors none" exits 0 "${evaluate[@]}" -m model -k 10 --floors none
check "without floors there is no difference" [ "$(grep -c 'best floor' <<<"$out")" = 0 ]
run "$rec" evaluate "$data" --min-user 5 --min-item 4 -m model -k 10
check "another split: warned of" has "$err" "was trained by another split"
check "unknown items: counted" has "$err" "does not know 241 of the 1214 items"
rm -f out*

# ---- refused ---------------------------------------------------------------------------------------------------------
refused() { # status, words, what, arguments...
    local want=$1 words=$2 what=$3
    shift 3
    check "$what ends with $want" exits "$want" "${evaluate[@]}" -o out.tsv "$@"
    check "$what: says '$words'" has "$err" "$words"
    check "$what: nothing is left" clean
    rm -f out*
}
refused 2 "'0' is not a whole number" "K of 0" -k 0
refused 2 "5 is there twice" "K twice" -k 5,10,5
refused 2 "'x' is not" "K of x" -k 5,x
refused 2 "'+5' is not" "K with a sign" -k +5
refused 2 "a word is empty" "an empty K" -k 5,
refused 2 "more than 16" "many K" -k 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17
refused 2 "no 'auc'" "unknown metric" --metrics auc
refused 2 "twice" "metric twice" --metrics hr,hr
refused 2 "no 'sasrec'" "unknown floor" --floors pop,sasrec
refused 2 "nothing to judge" "nothing to judge" --floors none
for c in uni uni0 uni-3 "uni 3" popX all uni99999999999; do
    refused 2 "expected full, uniN or popN" "candidates $c" --candidates "$c"
done
refused 2 "is the name of two outputs" "one file for two" --ranks out.tsv
refused 65 "has no validation events" "no validation" --split time --test-from 2016-01-01 --part valid
refused 74 "no-such" "no such model" -m no-such
mkdir empty
refused 74 "empty" "a folder that is no model" -m empty
cp -r model noitems && rm noitems/items.txt
refused 74 "items.txt" "a model without items" -m noitems
cp -r model broken && printf '{"notes": ' >broken/run.json
refused 65 "run.json" "a broken record of training" -m broken
sed 's/^/no/' model/items.txt >items && cp -r model strangers && mv items strangers/items.txt
refused 65 "knows none of the" "a model of other items" -m strangers
refused 74 "no/where" "report in no folder" --report no/where.html
refused 74 "no/where" "ranks in no folder" --ranks no/where.tsv
check "no such log" exits 74 "$rec" evaluate no-such.csv -o out.tsv
cp "$data" copy.csv.gz && ln -s copy.csv.gz link.csv.gz
check "output over the input" exits 2 "$rec" evaluate copy.csv.gz -o copy.csv.gz
check "ranks over the input" exits 2 "$rec" evaluate copy.csv.gz --ranks link.csv.gz
check "the input is whole" cmp copy.csv.gz "$data"
[ ! -e /dev/full ] || check "a full disk" exits 74 "${evaluate[@]}" -o /dev/full
check "a log of one user" exits 0 "$rec" evaluate <(printf 'u a b c d\n') --format sequences
check "a log without tests" exits 65 "$rec" evaluate <(printf 'u a\nv b\n') --format sequences
finish
