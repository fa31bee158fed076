#!/usr/bin/env bash
# recmamba prep and info from outside: examples, packed inputs, pipes, memory, bad input.
. "$(dirname "$0")/lib.sh"
need_program recmamba
rec=$bin/recmamba data=$top/recsys/data/ml-latest-small.csv.gz names=$top/recsys/data/ml-latest-small.movies.csv.gz
mkdir "$tmp/w" && cd "$tmp/w" || exit 1
clean() { [ -z "$(ls | grep -E '^out|\.tmp\.' || :)" ]; }

check "prep" exits 0 "$rec" prep "$data" -o a.log --min-user 5 --min-item 5 --item-names "$names"
stats=$out
check "says users, items, events" has "$stats" "items         973"
check "says the lengths" has "$stats" "user events   mean 101.76, least 10"
check "says how fast" has "$err" "events/s"
check "names of all items" has "$err" "names for 973 of 973 items"
check "run.json: the fingerprint" has "$(cat a.log.run.json)" "$(sed -n 's/^fingerprint *//p' <<<"$stats")"
check "run.json: the inputs" has "$(cat a.log.run.json)" "ml-latest-small.movies.csv.gz"
check "info of the log" exits 0 "$rec" info a.log
check "is what prep said" [ "$out" = "$stats" ]
check "info of the text" exits 0 "$rec" info "$data" --min-user 5 --min-item 5
check "is the same" [ "$out" = "$stats" ]
check "info --json" exits 0 "$rec" info a.log --json
check "is JSON with the counts" has "$out" '"users": 100, "items": 973, "aux": 0, "events": 10176,'

# The k-core and the order of one user, by awk and sort: 5 events of each that is left, nothing else to take out.
gzip -dc "$data" | tail -n +2 | tr -d '\r' >rows.csv
awk -F, '
    { user[NR] = $1; item[NR] = $2; on[NR] = 1 }
    END {
        do {
            again = 0
            split("", u); split("", i)
            for (k = 1; k <= NR; k++) if (on[k]) { u[user[k]]++; i[item[k]]++ }
            for (k = 1; k <= NR; k++) if (on[k] && (u[user[k]] < 5 || i[item[k]] < 5)) { on[k] = 0; again = 1 }
        } while (again)
        for (k = 1; k <= NR; k++) n += on[k]
        print n, length(u), length(i)
    }' rows.csv >core.txt
check "the core is what awk leaves" [ "$(cat core.txt)" = "10176 100 973" ]

# The same log from every packing, through a pipe, in any memory, with any number of threads.
gzip -dc "$data" >plain.csv
"$rec" prep plain.csv -o b.log -q >/dev/null
xz -kc plain.csv >p.xz && { gzip -c plain.csv | head -c 1000000; } >p.gz
packed='p.xz p.gz'
command -v zstd >/dev/null && zstd -q plain.csv -o p.zst && packed+=' p.zst'
for f in $packed; do
    check "prep $f" exits 0 "$rec" prep $f -o c.log
    check "$f: the same log" cmp -s b.log c.log
done
check "prep of standard input" [ "$(gzip -dc "$data" | "$rec" prep - -o c.log -q | head -1)" = "users         100" ]
check "standard input: the same log" cmp -s b.log c.log
for m in 1 300k 1M; do
    check "prep --memory $m" exits 0 "$rec" prep plain.csv -o c.log --memory $m --threads 3
    check "--memory $m: the same log" cmp -s b.log c.log
done
check "--memory 300k went to disk" has "$("$rec" prep plain.csv -o c.log --memory 300k 2>&1)" "sorted on disk in"
check "--dry-run" exits 0 "$rec" prep plain.csv -o out.log --dry-run
check "--dry-run says the statistics" has "$out" "events        15448"
check "--dry-run leaves nothing" clean

# The same events in other forms give the same fingerprint.
want=$("$rec" info plain.csv -q | sed -n 's/^fingerprint *//p')
{ printf 'user_id:token\titem_id:token\trating:float\ttimestamp:float\n' && tr , '\t' <rows.csv; } >a.inter
sed 's/,/::/g' rows.csv >a.dat
awk -F, '{ printf "{\"uid\":%s,\"movie_id\":\"%s\",\"ts\":%s,\"rating\":%s}\n", $1, $2, $4, $3 }' rows.csv >a.jsonl
tr , '\t' <rows.csv >u.data
awk -F, '{ print $4 ";" $2 ";\"" $1 "\";" $3 }' rows.csv | sed '1i when;what;"who";how' >odd.csv
for f in a.inter a.dat a.jsonl; do
    check "$f: the same fingerprint" [ "$("$rec" info $f -q --strict | sed -n 's/^fingerprint *//p')" = "$want" ]
done
check "columns by number" [ "$("$rec" info u.data -q --columns user=1,item=2,value=3,time=4 | sed -n 's/^fingerprint *//p')" = "$want" ]
check "columns by name" [ "$("$rec" info odd.csv -q --columns user=who,item=what,time=when,value=how | sed -n 's/^fingerprint *//p')" = "$want" ]
check "two halves are one log" [ "$("$rec" info -q <(head -8000 plain.csv) <({ head -1 plain.csv && tail -n +8001 plain.csv; }) | sed -n 's/^fingerprint *//p')" = "$want" ]
check "another order, another fingerprint" [ "$("$rec" info plain.csv -q --time-sort recbole_f32 | sed -n 's/^fingerprint *//p')" != "$want" ]
sort -s -t, -k1,1n -k4,4n rows.csv | awk -F, '$1 != u { printf "%s%s", (NR > 1 ? "\n" : ""), $1; u = $1 } { printf " %s", $2 } END { print "" }' >a.seq
sort -s -t, -k1,1n -k4,4n rows.csv | awk -F, '{ print $1, $2 }' >a.pairs
check "sequences and pairs agree" [ "$("$rec" info a.seq -q | grep -v ^recipe)" = "$("$rec" info a.pairs -q | grep -v ^recipe)" ]
check "and with the times they have the same users, items, lengths" [ "$("$rec" info a.seq -q | sed -n '1,3p;6,7p')" = "$("$rec" info plain.csv -q | sed -n '1,3p;6,7p')" ]

# Splits: by time against awk; given ones.
from=1300000000 to=1400000000
"$rec" info plain.csv -q --split time --valid-from $from --test-from 2014-05-13T16:53:20Z --json >s.json
check "--split time" has "$(cat s.json)" "$(awk -F, -v f=$from -v t=$to '{ n[$4 < f ? 0 : $4 < t ? 1 : 2]++ } END { printf "\"train\": %d, \"valid\": %d, \"test\": %d", n[0], n[1], n[2] }' rows.csv)"
head -1001 plain.csv >v.csv && { head -1 plain.csv && tail -500 plain.csv; } >t.csv
check "--valid, --test" exits 0 "$rec" prep <(head -1 plain.csv; sed -n '1002,14949p' plain.csv) --valid v.csv --test t.csv -o g.log
check "--valid, --test: so many events" has "$out" "split         given: 13948 train, 1000 validation, 500 test"
check "a given split stays in the log" has "$("$rec" info g.log)" "split         given: 13948 train, 1000 validation, 500 test"
check "and another one can be asked for" has "$("$rec" info g.log --split leave_one_out)" "split         leave_one_out:"

# refused STATUS "words of the message" "what" ARGS...: ends with STATUS, says words on stderr, leaves nothing.
refused() {
    local want=$1 words=$2 what=$3
    shift 3
    check "$what ends with $want" exits "$want" "$rec" "$@"
    check "$what: says '$words'" has "$err" "$words"
    check "$what: nothing is left" clean
    rm -f out*
}
prep() { refused "$1" "$2" "$3" prep "${@:4}" -o out.log; }
prep 74 "no-such.csv: cannot open it" "missing file" no-such.csv
: >empty.csv
prep 65 "empty.csv: is empty" "empty file" empty.csv
prep 74 "is a folder" "folder" .
for f in $packed; do
    head -c 50000 $f >cut.${f#p.}
    prep 65 "cut.${f#p.}: the" "truncated $f" cut.${f#p.}
    check "truncated $f: says where" has "$err" "at byte 50000 of the file"
done
printf 'user,item\na,x\nb\nc,y\n' >bad.csv
prep 65 "bad.csv:3: has 1 fields, not 2" "malformed row, --strict" bad.csv --strict
check "malformed row: passed over" exits 0 "$rec" prep bad.csv -o ok.log
check "malformed row: shown" has "$err" "bad.csv:3: has 1 fields, not 2"
check "malformed row: counted" has "$err" "1 malformed rows were passed over"
{ echo user,item && seq 100 && echo a,b; } >many.csv
check "many malformed rows" exits 0 "$rec" prep many.csv -o ok.log
check "five are shown" [ "$(grep -c 'many.csv:' <<<"$err")" = 5 ]
check "all are counted" has "$err" "100 malformed rows"
printf 'user,item\na,x\0y\n' >zero.csv
prep 65 "zero.csv:2:4: holds a zero byte" "zero byte" zero.csv
printf '\xff\xfeu\0s\0e\0r\0' >utf16.csv
prep 65 "utf16.csv" "UTF-16" utf16.csv
prep 65 "this form is not known" "other text" "$top/README.md"
refused 2 "-o LOG" "no output" prep "$data"
refused 2 "must be a regular file" "standard output" prep "$data" -o -
prep 2 "--columns: 'x' is not ROLE=NAME" "bad --columns" "$data" --columns x
prep 65 "there is no column nobody" "missing column" "$data" --columns user=nobody
prep 2 "is a log that recmamba prep made" "log with filters" a.log --min-user 5
cp plain.csv same.csv
refused 2 "is an input too" "output over input" prep same.csv -o same.csv
check "the input is as it was" cmp -s same.csv plain.csv
head -c 5000 a.log >short.log
refused 65 "cut short" "truncated log" info short.log
cp a.log flip.log && printf '\xff' | dd of=flip.log bs=1 seek=20000 conv=notrunc 2>/dev/null
refused 65 "does not match its checksum" "damaged log" info flip.log
cp a.log same.log
check "a log that stands stays when prep fails" exits 65 "$rec" prep bad.csv --strict -o same.log
check "it is as it was" cmp -s same.log a.log
(ulimit -f 100 && exec "$rec" prep plain.csv -o out.log -q >/dev/null 2>"$tmp/full")
check "full disk ends with 74" [ $? = 74 ]
check "full disk: says so" has "$(cat "$tmp/full")" "out.log: cannot write on"
check "full disk: nothing is left" clean
TMPDIR=$tmp/nowhere run "$rec" prep plain.csv -o out.log --memory 300k
check "no folder for scratch files ends with 74" [ "$status" = 74 ]
check "no folder for scratch files: named" has "$err" "nowhere"
check "no folder for scratch files: nothing is left" clean

# The real data: counts that others report.
for row in "ml-100k.inter.xz 5 943 1349 99287" "ml-latest-small.ratings.csv.xz 5 610 3650 90274" "ml-1m.sasrec_order.seq.txt.xz 0 6040 3416 999611"; do
    read -r f core users items events <<<"$row"
    [ -e "$shared/data/recsys/$f" ] || { skip "no $f"; continue; }
    check "$f" exits 0 "$rec" prep "$shared/data/recsys/$f" -o r.log --min-user $core --min-item $core --strict
    check "$f: $users users, $items items, $events events" [ "$(awk 'NR <= 3 { printf "%s ", $2 }' <<<"$out")" = "$users $items $events " ]
done
finish
