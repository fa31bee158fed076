#!/usr/bin/env bash
# recmamba serve from outside, by curl: paths, codes, limits, the same states as stream's, a graceful end.
. "$(dirname "$0")/lib.sh"
need_program recmamba
need_program seqmamba
command -v curl >/dev/null || { skip "needs curl"; exit 0; }
rec=$bin/recmamba
cd "$tmp" || exit 1
cat >config.json <<'JSON'
{"d_model": 24, "n_layer": 2, "vocab_size": 201, "ssm_cfg": {"d_state": 8, "d_conv": 4, "expand": 2}, "rms_norm": true,
 "residual_in_fp32": true, "fused_add_norm": true, "pad_vocab_size_multiple": 1, "tie_embeddings": true}
JSON
"$bin/seqmamba" create config.json -o m -q >/dev/null && { seq -f 'i%g' 1 198; echo 'a b&c'; echo 'café'; } >m/items.txt
run "$rec" serve
[ "$status" = 1 ] && has "$err" "apt-get install" && { skip "$err"; exit 0; }
check "which model? ends with 2" [ "$status" = 2 ]
check "another machine's address is refused" exits 2 "$rec" serve -m m --store s --listen 0.0.0.0:0
check "a dry run" exits 0 "$rec" serve -m m --store s --dry-run
check "a dry run makes nothing" [ ! -e s ]

start() { # OPTIONS...: $pid, $url
    rm -f serve.err
    "$rec" serve -m m --store s --sync none --listen 127.0.0.1:0 "$@" 2>serve.err &
    pid=$!
    for _ in $(seq 100); do grep -q 'serving HTTP' serve.err && break; sleep 0.1; done
    url=http://$(sed -n 's/.*serving HTTP at tcp:\(.*\)/\1/p' serve.err)
}
stop() {
    kill -TERM $pid
    wait $pid
    status=$?
}
get() { # CURL-ARGS...: $code, $out
    code=$(curl -s -m 20 -o "$tmp/.out" -w '%{http_code}' "$@" 2>"$tmp/.err")
    out=$(cat "$tmp/.out") last="curl $*" status=$code
}
post() { get -H 'Content-Type: application/json' --data-binary "$1" "$url/events" "${@:2}"; }
answers() { # WHAT CODE PART
    check "$1: $2" [ "$code" = "$2" ]
    check "$1: says $3" has "$out" "$3"
}

start
post '{"user": "a", "item": "i3", "topk": 2}'
answers "an event" 200 '{"user":"a","status":"ok","events":1,"new":true,"top":[{"item":"'
post '[{"user": "a", "item": "i4", "topk": 0}, {"user": "a", "item": "none", "topk": 0}, {"usr": 1}, {"user": "ü/x y", "item": "café", "topk": 0}]'
answers "a list" 200 '[{"user":"a","status":"ok","events":2},{"user":"a","status":"unknown_item","item":"none","events":2},{"status":"error","error":"'
check "a list: in its order" has "$out" ',{"user":"ü/x y","status":"ok","events":1,"new":true}]'
get "$url/recommend?user=a&k=3"
answers "recommendations" 200 '"events":2,"top":[{"item":"'
check "as many as were asked for" [ "$(grep -o '"item"' .out | wc -l)" = 3 ]
get "$url/recommend?user=%C3%BC%2Fx+y&k=200&filter_seen=false"
answers "a user in percents" 200 '{"user":"ü/x y"'
check "with the item met" has "$out" '{"item":"café"'
get "$url/recommend?user=%C3%BC%2Fx%20y&k=200"
check "without the item met" [ "$(grep -c '"item":"café"' .out)" = 0 ]
get "$url/recommend?user=nobody"
answers "a user without events" 404 '"no_history"'
get "$url/similar?item=a+b%26c&k=4"
answers "similar items" 200 '{"item":"a b&c","similar":[{"item":"'
get "$url/similar?item=nothing"
answers "an unknown item" 404 'does not know'
get -X DELETE "$url/users/%C3%BC%2Fx%20y"
answers "a user is removed" 200 '"forgotten"'
get -X DELETE "$url/users/%C3%BC%2Fx%20y"
answers "and is gone" 404 '"no_history"'
get "$url/health"
answers "health" 200 '{"status":"ok","users":1,"model":"'
get "$url/metrics"
answers "metrics" 200 'recmamba_events_total 3'
check "metrics: every name has help and type" [ "$(grep -c '^# HELP' .out)" = "$(grep -c '^# TYPE' .out)" ]
check "metrics: codes" grep -qx 'recmamba_http_responses_total{code="404"} 3' .out
check "metrics: times" grep -qx 'recmamba_request_seconds_bucket{le="+Inf"} 8' .out

for bad in 'x' '' '[]' '{"user":"a"' '{"user":"a","item":{}}' '[[]' "$(head -c 400 /dev/zero | tr '\0' '[')"; do
    post "$bad"
    answers "a body that is '${bad:0:20}'" 400 '{"status":"error","error":"'
done
post "[$(yes '{"user":"a"},' | head -1000 | tr -d '\n'){\"user\":\"a\"}]"
answers "more than 1000 events" 413 'at most 1000'
get -d '{"user":"a"}' "$url/events"
answers "not said to be JSON" 415 'application/json'
run curl -s -m 20 -X POST -H 'Content-Type: application/json' -T /dev/zero "$url/events"
check "an endless body is cut off" [ "$status" != 28 ]
head -c 1100000 /dev/zero >big
post @big
answers "a large body" 413 'too large'
post @big -H 'Transfer-Encoding: chunked'
answers "a large body of unknown length" 413 'too large'
get "$url/nothing"
answers "a wrong path" 404 '/recommend'
get -X PUT "$url/events" -d x
answers "a wrong method" 405 'POST'
get -X POST "$url/recommend?user=a" -d x
answers "another" 405 'GET'
for bad in 'user=a&user=b' 'user=' 'k=3' 'user=a&k=1001' 'user=a&k=x' 'user=a&k=' 'user=%zz' 'user=%4' 'user=%ff' 'user=a%00' 'user=a&x=1' 'user' 'user=a&filter_seen=1' "user=$(head -c 511 /dev/zero | tr '\0' x)"; do
    get "$url/recommend?$bad"
    answers "a query of '${bad:0:24}'" 400 '{"status":"error","error":"'
done
get -H 'Host: example.org' "$url/health"
answers "another machine's name" 403 'Host'
get -I "$url/health"
check "HEAD" [ "$code" = 200 ]

# Many at a time: each user's events all count, whoever sent them.
for c in 1 2 3 4 5 6; do
    for i in $(seq 15); do printf 'url = "%s/events"\nheader = "Content-Type: application/json"\ndata = "{\\"user\\":\\"p%d\\",\\"item\\":\\"i%d\\",\\"topk\\":0}"\nnext\n' "$url" $((i % 3)) $((c * 15 + i)); done | sed '$d' >"batch.$c"
    curl -s -m 60 -K "batch.$c" >"batch.$c.out" &
    jobs[c]=$!
done
wait "${jobs[@]}"
check "90 events of 6 clients are answered" [ "$(cat batch.*.out | grep -c '"status":"ok"')" = 90 ]
get "$url/recommend?user=p1&k=0"
check "and count" [ "$out" = '{"user":"p1","status":"ok","events":30}' ]

# The end: what was begun is answered.
for i in $(seq 40); do echo "{\"user\":\"q$i\",\"item\":\"i1\",\"topk\":0}"; done | paste -sd, | sed 's/.*/[&]/' >list
(for _ in 1 2 3 4 5 6 7 8; do curl -s -m 20 -H 'Content-Type: application/json' --data-binary @list "$url/events"; done) >ended.out &
last_job=$!
sleep 0.2
stop
wait $last_job
check "asked to stop: 0" [ $status = 0 ]
check "without an error" [ -z "$(grep ' error:' serve.err)" ]
n=$(grep -o '"user":"q40","status":"ok","events":[0-9]*' ended.out | tail -1 | grep -o '[0-9]*$')
got=$("$rec" stream -m m --store s -q <<<'{"user":"q40","topk":0}')
check "what was answered is in (${n:-0} lists)" [ "$(grep -o '[0-9]*}$' <<<"$got")" = "${n:-0}}" ]

# The same states as stream's.
awk 'BEGIN { srand(3); for (t = 1; t <= 60; t++) printf "{\"user\":\"s\",\"item\":\"i%d\",\"time\":%d}\n", 1 + int(rand() * 190), t }' >events
"$rec" stream -m m --store lines -q --sync none <events >/dev/null
start --rate 2
post "[$(head -30 events | paste -sd,)]"
check "a list of 30 at 2 a second: taken" [ "$code" = 200 ]
post "[$(tail -n +31 events | paste -sd,)]"
answers "the next at once: too many" 429 'too many'
check "429 says when to come back" [ "$(curl -s -m 5 -o /dev/null -D - "$url/health" | grep -c -E '429|Retry-After')" = 2 ]
stop
start
post "[$(tail -n +31 events | paste -sd,)]"
get "$url/recommend?user=s&k=10"
check "HTTP and lines lead to the same answer" [ "$out" = "$("$rec" stream -m m --store lines -q <<<'{"user":"s"}')" ]
stop
"$rec" serve -m m --store s -q --listen "unix:$tmp/socket" &
pid=$!
for _ in $(seq 100); do [ -S socket ] && break; sleep 0.1; done
get --unix-socket socket http://localhost/health
answers "a Unix socket" 200 '"status":"ok"'
check "for its owner alone" [ "$(stat -c %a socket)" = 600 ]
stop
check "its file is removed" [ ! -e socket ]

# A full disk: 503, and asking goes on.
(
    ulimit -f 60
    trap '' XFSZ
    exec "$rec" serve -m m --store full --sync none --listen 127.0.0.1:0 2>full.err
) &
pid=$!
for _ in $(seq 100); do grep -q 'serving HTTP' full.err 2>/dev/null && break; sleep 0.1; done
url=http://$(sed -n 's/.*serving HTTP at tcp:\(.*\)/\1/p' full.err)
n=0 code=200
while [ "$code" = 200 ] && [ $n -lt 60 ]; do
    post "{\"user\":\"f$n\",\"item\":\"i1\",\"topk\":0}"
    n=$((n + 1))
done
answers "an event that cannot be stored" 503 'cannot be written'
get "$url/health"
answers "health then" 503 '"failing"'
get "$url/recommend?user=f0&k=1"
answers "asking then" 200 '"events":1'
stop
finish
