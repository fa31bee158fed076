#!/usr/bin/env bash
# dna-mamba generate from outside: a causal model is trained on lambda, then drawn from.
# only: cli
. "$(dirname "$0")/lib.sh"
need_program dna-mamba
dna=$bin/dna-mamba
mkdir "$tmp/w" && cd "$tmp/w" || exit 1
clean() { [ -z "$(ls | grep -E '^out|\.tmp\.' || :)" ]; }
bases() { grep -v '^>' "$1" | tr -d '\n' | wc -c; }

check "a causal model" exits 0 "$dna" train "$top/genomics/data/lambda.fa.gz" -o lm -m mamba-dna-tiny --objective causal --block 2k --valid 0.2 --window 64 --steps 2
if [ "$status" != 0 ]; then
    finish
    exit 1
fi
check "generate" exits 0 "$dna" generate -m lm --length 130 --count 3 --seed 7 -o out.fa
check "three records, named by seed and number" [ "$(grep -c '^>gen_seed7_[123] length=130 temperature=1 ' out.fa)" = 3 ]
check "60 columns, then the rest" [ "$(sed -n '2p;3p;4p' out.fa | awk '{ printf "%d ", length($0) }')" = "60 60 10 " ]
check "nothing but A, C, G, T" [ -z "$(grep -v '^>' out.fa | tr -d 'ACGT\n')" ]
check "run.json stands beside it" has "$(cat out.fa.run.json)" '"sequences": 3'
cp out.fa three.fa
for t in 1 2 3; do
    check "the same with $t threads" [ "$("$dna" generate -m lm --length 130 --count 3 --seed 7 --threads $t -q | cksum)" = "$(cksum <three.fa)" ]
done
check "little memory, one at a time: the same" [ "$("$dna" generate -m lm --length 130 --count 3 --seed 7 --memory 100 -q | cksum)" = "$(cksum <three.fa)" ]
check "the first of one is the first of three" [ "$("$dna" generate -m lm --length 130 --seed 7 -q)" = "$(head -4 three.fa)" ]
check "another seed, other bases" [ "$("$dna" generate -m lm --length 130 --seed 8 -q | sed 1d)" != "$(sed -n 2,4p three.fa)" ]

printf '>a\nACGTACGTNN\n>b comment\nGGGTTT\n' >p.fa
check "prompts of a file" exits 0 "$dna" generate -m lm --length 20 --count 2 --prompt p.fa -o out.fa
check "two of each" [ "$(grep -o 'prompt=[^ ]*' out.fa | tr '\n' ' ')" = "prompt=a:10 prompt=a:10 prompt=b:6 prompt=b:6 " ]
check "with the prompt before" [ "$(bases out.fa)" = $((2 * 30 + 2 * 26)) ]
check "which is as it was" [ "$(grep -c '^ACGTACGTNN' out.fa)" = 2 ]
"$dna" generate -m lm --length 20 --count 2 --prompt p.fa -q --no-with-prompt -o bare.fa
check "or without it" [ "$(bases bare.fa)" = 80 ]
check "the same bases" [ "$(sed -n 2p out.fa)" = "ACGTACGTNN$(sed -n 2p bare.fa)" ]
check "temperature 0 draws nothing" [ "$("$dna" generate -m lm --prompt ACGGT --length 90 --temperature 0 --count 2 -q | grep -v '>' | sort -u | wc -l)" = 2 ]
check "nor does --top-k 1" [ "$("$dna" generate -m lm --prompt ACGGT --length 40 --top-k 1 -q | sed 1d)" = "$("$dna" generate -m lm --prompt ACGGT --length 40 --temperature 0 -q | sed 1d)" ]
check "score finds what was drawn as probable as generate says" [ "$("$dna" generate -m lm --length 500 --seed 3 -o s.fa 2>&1 | sed -n 's/.*: \([0-9.]*\) bits per base.*/\1/p')" = "$("$dna" score s.fa -m lm 2>&1 >/dev/null | sed -n 's/.*: \([0-9.]*\) bits per base.*/\1/p')" ]
check "--dry-run" exits 0 "$dna" generate -m lm --dry-run -o no.fa
check "writes nothing" [ ! -e no.fa ]
rm -f out*

refused() { # status, words, what, args
    check "$3 ends with $1" exits "$1" "$dna" generate "${@:4}"
    check "$3: says '$2'" has "$err" "$2"
    check "$3: nothing is left" clean
}
refused 1 "is bidirectional" "a bidirectional model" -m "$top/tests/data/seeded" -o out.fa
refused 2 "letters, number 2 is" "a prompt that is neither file nor letters" -m lm --prompt A!C -o out.fa
refused 2 "is empty" "an empty prompt" -m lm --prompt "" -o out.fa
refused 74 "no/such.fa" "a missing prompt file" -m lm --prompt no/such.fa -o out.fa
printf '>a\nACGT\n>b\nAC!T\n' >bad.fa
refused 65 "bad.fa:3:" "a bad letter in a prompt file" -m lm --prompt bad.fa --length 5 -o out.fa
refused 2 "is an input too" "an output over its prompt" -m lm --prompt p.fa -o p.fa
refused 2 "leaves no base" "--top-p 0" -m lm --top-p 0 -o out.fa
refused 2 "temperature" "a negative temperature" -m lm --temperature -1 -o out.fa
refused 2 "-m" "no model" -o out.fa
refused 74 "folder does not exist" "a missing folder" -m lm -o no/such/out.fa
if [ -e /dev/full ]; then
    refused 74 "No space left" "a full disk" -m lm --length 1000 -o /dev/full
fi
(ulimit -f 20 && trap '' XFSZ && exec "$dna" generate -m lm --length 200000 --temperature 0 -o out.fa) 2>err.txt
check "a disk that fills half-way ends with 74" [ $? = 74 ]
check "and leaves nothing" clean
"$dna" generate -m lm --length 100000000 -o out.fa 2>err.txt &
sleep 1
kill -TERM $! && wait $!
check "a signal ends it with 75" [ $? = 75 ]
check "and leaves nothing" clean
finish
