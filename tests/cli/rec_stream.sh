#!/usr/bin/env bash
# recmamba stream from outside: what lines say, the same answers whatever the way, kill -9, full disks, damage, sockets.
. "$(dirname "$0")/lib.sh"
need_program recmamba
need_program seqmamba
rec=$bin/recmamba
cd "$tmp" || exit 1
cat >config.json <<'JSON'
{"d_model": 24, "n_layer": 2, "vocab_size": 201, "ssm_cfg": {"d_state": 8, "d_conv": 4, "expand": 2}, "rms_norm": true,
 "residual_in_fp32": true, "fused_add_norm": true, "pad_vocab_size_multiple": 1, "tie_embeddings": true}
JSON
"$bin/seqmamba" create config.json -o m -q >/dev/null && seq -f 'i%g' 1 200 >m/items.txt
"$bin/seqmamba" create config.json -o other -q --seed 5 >/dev/null && cp m/items.txt other/
run "$rec" stream -m m --store probe
[ "$status" = 1 ] && has "$err" "liblmdb-dev" && { skip "built without LMDB"; exit 0; }

feed() { # LINES STORE OPTIONS...: answers in $out
    timeout 120 "$rec" stream -m m --store "$2" --sync none "${@:3}" >"$tmp/.out" 2>"$tmp/.err" < <(printf "$1")
    status=$?
    out=$(cat "$tmp/.out") err=$(cat "$tmp/.err") last="stream: $1"
}

# ---- what lines say
feed '{"user":"a","item":"i3","time":5,"topk":2}\n\n  \t\r\n{"user":"a","item":"zz"}\r\n{"user":"a","item":"i4","time":4,"topk":0}\nno\n{"user":"b"}\n{"forget":"a"}\n{"user":"a"}' s
check "requests are served" [ "$status" = 0 ]
check "one answer for each line that is not blank" [ "$(wc -l <.out)" = 7 ]
check "an event" has "$(sed -n 1p .out)" '{"user":"a","status":"ok","events":1,"new":true,"top":[{"item":"'
check "an unknown item" has "$(sed -n 2p .out)" '"status":"unknown_item","item":"zz","events":1,"top":[{'
check "a late event, without recommendations" [ "$(sed -n 3p .out)" = '{"user":"a","status":"ok","events":2,"late":true}' ]
check "a line that is no request, by its number" has "$(sed -n 4p .out)" '{"line":6,"status":"error","error":"'
check "a user without events" [ "$(sed -n 5p .out)" = '{"user":"b","status":"no_history","events":0,"top":[]}' ]
check "a user is forgotten" [ "$(sed -n 6,7p .out)" = '{"user":"a","status":"forgotten","events":0}
{"user":"a","status":"no_history","events":0,"top":[]}' ]
check "the run is recorded" grep -q '"late": 1' s/run.json
feed '{"user":"a","item":"i3"}\n{"user":"a","itm":"i3"}\n{"user":"a","item":"i4"}\n' strict --strict
check "--strict ends at the bad line" [ "$status" = 65 ]
check "--strict names line and reason" has "$err" 'line 2: "itm" is no key of a request; did you mean "item"?'
feed '{"user":"a","topk":0}\n' strict
check "--strict: what came before counts" [ "$out" = '{"user":"a","status":"ok","events":1}' ]
feed '{"user":"a","itm":1}\n' strict --extra-keys
check "--extra-keys passes over them" has "$out" '"status":"ok"'
long=$(head -c 5000 /dev/zero | tr '\0' x)
feed "{\"user\":\"$long\"}\n{\"user\":\"a\",\"topk\":0}\n$long$long" long --line-bytes 4K
check "long lines: answered and passed over" [ "$(sed 's/,"error".*//' .out)" = '{"line":1,"status":"error"
{"user":"a","status":"no_history","events":0}
{"line":3,"status":"error"' ]
check "long lines: the limit is told" has "$out" 'a line of more than 4096 bytes'
feed '{"user":"'"${long:0:511}"'"}\n' long
check "an identifier that no store can hold" has "$out" '511 bytes; 1 to 510 can be stored'
printf 'i5\ni6\nnone\n' >few
feed '{"user":"a","item":"i1"}\n' allow --allow few
check "--allow" [ "$(grep -o '"item":"[^"]*"' .out | sort | tr '\n' ' ')" = '"item":"i5" "item":"i6" ' ]
check "--allow: items that the model lacks are told" has "$err" "does not know 1 of the 3 items"
feed '{"user":"a","topk":300}\n' allow --deny few
check "--deny and what was met" [ "$(grep -o '"item":"[^"]*"' .out | grep -c -vE '"i(1|5|6)"')" = 197 ]

# ---- refused
refused() { # STATUS WORDS WHAT ARGS...
    check "$3 ends with $1" exits "$1" "$rec" stream "${@:4}"
    check "$3: says '$2'" has "$err" "$2"
}
refused 2 "which model" "no model" --store s
refused 2 "--store DIR" "no store" -m m
refused 74 "nowhere" "a model that is not there" -m nowhere --store s
refused 65 "another model" "a store of another model" -m other --store s
refused 65 "another model" "a store of another precision" -m m --store s --precision bf16
refused 2 "--inspect" "--export alone" -m m --store s --export x
refused 2 "127.0.0.1 is for this machine" "a public address" -m m --store s --listen tcp:0.0.0.0:0
refused 2 "expected tcp" "no address" -m m --store s --listen 127.0.0.1:99999
refused 2 "no numeric address" "a host's name" -m m --store s --listen tcp:example.org:80
refused 74 "no store in this folder" "inspecting nothing" --store none --inspect
check "a dry run makes nothing" exits 0 "$rec" stream -m m --store dry --dry-run
check "a dry run says what there will be" has "$out" "(new)"
check "a dry run made nothing" [ ! -e dry ]

# ---- the same answers whatever the way: 1,500 events of 30 users
awk 'BEGIN { srand(7); for (t = 1; t <= 1500; t++) printf "{\"user\":\"u%d\",\"item\":\"i%d\",\"time\":%d}\n", int(rand() * 30), 1 + int(rand() * 205), 1000 + t }' >events
for u in $(seq 0 29); do echo "{\"user\":\"u$u\",\"topk\":200,\"filter_seen\":false}"; done >asks
stream() { timeout 300 "$rec" stream -m m --sync none -q "$@"; }
stream --store one --batch 1 <events >one.out
check "events one by one" [ "$(wc -l <one.out)" = 1500 ]
stream --store many <events >many.out
check "the same bytes in large transactions" cmp -s one.out many.out
stream --store threads -t 2 --memory 40K <events >threads.out
check "the same bytes with two threads and a handful of states in memory" cmp -s one.out threads.out
for i in 0 1 2 3 4; do sed -n "$((300 * i + 1)),$((300 * i + 300))p" events | stream --store pieces; done >pieces.out
check "the same bytes over five processes" cmp -s one.out pieces.out
{ echo user,item,time && sed 's/[^0-9]*\([0-9]*\)[^0-9]*\([0-9]*\)[^0-9]*\([0-9]*\).*/u\1,i\2,\3/' events; } >log.csv
run "$rec" stream -m m --store loaded --sync none --load log.csv
check "a log is loaded" [ "$status" = 0 ]
check "its users and unknown items are counted" has "$err" "loaded 30 users with $(grep -vcE '"i20[1-5]"' events) events"
run "$rec" stream -m m --store loaded --sync none --load log.csv
check "loading again changes nothing" has "$err" "loaded 0 users with 0 events; 30 users were there already"
stream --store one <asks >want
stream --store loaded <asks >loaded.out
check "a loaded history answers as its events do, to the bit" cmp -s want loaded.out

run "$rec" recommend log.csv -m m --window -1 -k 200 --filter-seen off -o batch.tsv
check "the batch way" [ "$status" = 0 ]
sed 's/^{"user":"\([^"]*\)".*"top":\[/\1 /; s/{"item":"\([^"]*\)","score":\([^}]*\)},*/\1 \2 /g; s/ *\]}$//' want |
    awk '{ for (i = 2; i < NF; i += 2) printf "%s\t%d\t%s\t%s\n", $1, i / 2, $i, $(i + 1) }' | sort >stream.tsv
check "stream and recommend agree in every item and every digit of its score" cmp -s stream.tsv <(tail -n +2 batch.tsv | sort)
check "for all users and items" [ "$(wc -l <stream.tsv)" = 6000 ]

# ---- looking into a store
run "$rec" stream --store one --inspect --export users.jsonl -m m
check "a store is inspected" has "$out" "users	30
events	$(grep -vcE '"i20[1-5]"' events)"
check "its users are exported" [ "$(wc -l <users.jsonl)" = 30 ]
check "an exported user" grep -q '^{"user":"u7","events":[0-9]*,"time":[0-9]*,"seen":\["i' users.jsonl
check "the export has its record" [ -s users.jsonl.run.json ]

# ---- kill -9 at any moment: what was answered is in, no more than a prefix of what was asked, and the end is the same
head -c 0 /dev/null >rest && cp events rest
rounds=0 lost=0 torn=0
while [ -s rest ] && [ $rounds -lt 40 ]; do
    rounds=$((rounds + 1))
    "$rec" stream -m m --store killed --sync none --batch 16 -q <rest >acked 2>/dev/null &
    pid=$!
    sleep "0.$((RANDOM % 3))$((RANDOM % 10))"
    kill -9 $pid 2>/dev/null
    wait $pid 2>/dev/null
    answered=$(grep -c '}$' acked)
    stream --store killed <asks | sed 's/.*"user":"\([^"]*\)".*"events":\([0-9]*\).*/\1 \2/' >counts
    # the longest prefix of the events whose known ones give these counts
    prefix=$(awk 'NR == FNR { have[$1] = $2; total += $2; next }
        { if (total == sum) { print FNR - 1; done = 1; exit } split($0, f, "\""); if (f[8] !~ /^i20[1-5]$/) { n[f[4]]++; sum++ } }
        END { if (!done) print FNR }' counts events)
    head -n "$prefix" events | awk 'NR == FNR { have[$1] = $2; next } { split($0, f, "\""); if (f[8] !~ /^i20[1-5]$/) n[f[4]]++ }
        END { for (u in have) if (have[u] + 0 != n[u] + 0) bad = 1; exit bad }' counts - || torn=$((torn + 1))
    before=$((1500 - $(wc -l <rest)))
    # unknown items change nothing, so the prefix found may stop short of answered ones
    known=$(tail -n +$((prefix + 1)) events | head -n $((before + answered - prefix > 0 ? before + answered - prefix : 0)) | grep -vcE '"i20[1-5]"')
    [ "$known" = 0 ] || lost=$((lost + 1))
    [ $prefix -gt $before ] || prefix=$before
    tail -n +$((prefix + 1)) events >rest
done
check "kill -9, $rounds times: nothing answered is lost" [ $lost = 0 ]
check "kill -9: what is in is a prefix" [ $torn = 0 ]
[ -s rest ] && stream --store killed <rest >/dev/null
stream --store killed <asks >killed.out
check "kill -9: the end is the same, to the bit" cmp -s want killed.out

# ---- a full disk
(
    ulimit -f 100
    trap '' XFSZ
    timeout 60 "$rec" stream -m m --store full --sync none --batch 8 <events >full.out 2>full.err
    echo $? >full.status
)
check "a full disk ends with 74" [ "$(cat full.status)" = 74 ]
check "a full disk is told" grep -q "full/data.mdb: cannot be written" full.err
n=$(grep -c '"events"' full.out)
check "what was answered before is in" [ "$n" -gt 0 ]
stream --store full <asks >full.asks
head -n "$n" events | stream --store full2 >/dev/null
stream --store full2 <asks >full2.asks
check "and nothing else is" cmp -s full.asks full2.asks

# ---- a damaged store is an error, not a crash
crashed=0 silent=0
for i in $(seq 1 25); do
    rm -rf bad && cp -r one bad
    size=$(stat -c %s bad/data.mdb)
    if [ $((i % 5)) = 0 ]; then
        truncate -s $((RANDOM * RANDOM % size)) bad/data.mdb
    else
        head -c 8 /dev/urandom | dd of=bad/data.mdb bs=1 seek=$(((RANDOM * 32768 + RANDOM) % size / (i % 2 ? 1 : 4096) * (i % 2 ? 1 : 4096) + RANDOM % 16)) conv=notrunc 2>/dev/null
    fi
    stream --store bad <asks >bad.out 2>bad.err
    code=$?
    [ $code -lt 100 ] || crashed=$((crashed + 1))
    # each answer is the right one, or an error
    [ $code = 0 ] && [ -n "$(grep -v '"status":"error"' bad.out | grep -vxF -f want)" ] && [ "$(stat -c %s bad/data.mdb)" -ge 8192 ] && silent=$((silent + 1))
done
check "25 damaged stores: no crash" [ $crashed = 0 ]
check "25 damaged stores: no wrong answer" [ $silent = 0 ]
head -c 30000 /dev/urandom >bad/data.mdb
refused 65 "is not the head of an LMDB database" "no database at all" -m m --store bad

# ---- ends
mkfifo in.fifo
"$rec" stream -m m --store ends --sync none <in.fifo >ends.out 2>ends.err &
pid=$!
exec 7>in.fifo
echo '{"user":"a","item":"i1"}' >&7
for _ in $(seq 100); do [ -s ends.out ] && break; sleep 0.1; done
refused 74 "another process ($pid)" "a store that is in use" -m m --store ends
check "a store in use can be inspected" exits 0 "$rec" stream --store ends --inspect
check "with its counts" has "$out" "events	1"
kill -TERM $pid
wait $pid
status=$?
check "asked to stop with standard input open: 75" [ $status = 75 ]
exec 7>&-
stream --store ends <<<'{"user":"a","topk":0}' >ends.out
check "what was answered is in" [ "$(cat ends.out)" = '{"user":"a","status":"ok","events":1}' ]
cat events events events events | { timeout 60 "$rec" stream -m m --store pipe --sync none 2>pipe.err; echo $? >pipe.status; } | head -1 >/dev/null
check "a reader that goes away ends it without noise" [ "$(cat pipe.status)" = 141 ]
check "not a word about it" [ -z "$(grep ' error:' pipe.err)" ]

# ---- sockets
"$rec" stream -m m --store sockets --sync none --listen tcp:127.0.0.1:0 2>listen.err &
pid=$!
for _ in $(seq 100); do grep -q listening listen.err && break; sleep 0.1; done
port=$(sed -n 's/.*listening on tcp:127.0.0.1:\([0-9]*\)$/\1/p' listen.err)
if exec 8<>"/dev/tcp/127.0.0.1/$port" && exec 9<>"/dev/tcp/127.0.0.1/$port"; then
    echo '{"user":"a","item":"i1","topk":0}' >&8
    read -r -t 20 line <&8
    check "an answer over a socket" [ "$line" = '{"user":"a","status":"ok","events":1,"new":true}' ]
    printf '{"user":"a","item":"i2","topk":0}\nnonsense\n{"user":' >&9
    read -r -t 20 line <&9
    check "another connection sees the same states" [ "$line" = '{"user":"a","status":"ok","events":2}' ]
    read -r -t 20 line <&9
    check "lines are counted for each connection" has "$line" '{"line":2,"status":"error"'
    printf '"a","topk":0}\n' >&9
    read -r -t 20 line <&9
    check "a line may come in pieces" [ "$line" = '{"user":"a","status":"ok","events":2}' ]
    cat events >&8 &
    n=0
    while [ $n -lt 1500 ] && read -r -t 20 line <&8; do echo "$line"; n=$((n + 1)); done >socket.out
    check "answers come in order" cmp -s <(cut -d, -f1 socket.out) <(cut -d, -f1 one.out)
    exec 8>&- 9>&-
else
    not_ok "cannot connect to port '$port'"
fi
kill -TERM $pid
wait $pid
check "a listener that is asked to stop ends with 0" [ $? = 0 ]
cmp -s <(stream --store sockets <<<'{"user":"u3"}') <(stream --store one <<<'{"user":"u3"}')
check "states that came over sockets are the same" [ $? = 0 ]
finish
