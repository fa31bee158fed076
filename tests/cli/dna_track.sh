#!/usr/bin/env bash
# dna-mamba track from outside: examples of the help run as they stand, the track of the reverse complement is the track
# read backwards, nothing of the machine shows in the bytes, bad input and full disks leave nothing.
# only: cli
. "$(dirname "$0")/lib.sh"
need_program dna-mamba
dna=$bin/dna-mamba model=$top/tests/data/seeded
mkdir "$tmp/w" && cd "$tmp/w" || exit 1
ln -s "$top/genomics" genomics
head -c 1500 "$top/genomics/data/phix174.fa" >p.fa
bases=$(tail -n +2 p.fa | tr -d '\n' | wc -c)
clean() { [ -z "$(ls | grep -E '^out|\.tmp\.' || :)" ]; }
has_bigwig=$("$dna" track p.fa -m "$model" -o x.bw --dry-run >/dev/null 2>&1 && echo yes || echo no)
[ $has_bigwig = yes ] || skip "built without libBigWig: bigWig output"

check "track: bedGraph" exits 0 "$dna" track p.fa -m "$model" -o e.bedgraph
check "track: a line a base" [ "$(wc -l <e.bedgraph)" = "$bases" ]
check "track: entropy is 0 to 2 bits" [ "$(awk -F'\t' '$4 < 0 || $4 > 2 || $3 != $2 + 1 || $2 != NR - 1 { n++ } END { print n + 0 }' e.bedgraph)" = 0 ]
check "track: run.json names input and model" has "$(cat e.bedgraph.run.json)" "$(sha256sum p.fa | cut -c1-64)"
check "track: nothing else is left" [ "$(ls e.* | xargs)" = "e.bedgraph e.bedgraph.run.json" ]
"$dna" track p.fa -m "$model" --track prob -o p.bedgraph -q
"$dna" track p.fa -m "$model" --track llr -o l.bedgraph -q
"$dna" score p.fa -m "$model" --per-base s.bedgraph -o s.tsv -q
check "track: prob is what score says" [ "$(paste p.bedgraph s.bedgraph | awk '{ d = log($4) - $8; if (d * d > 1e-10) n++ } END { print n + 0 }')" = 0 ]
check "track: llr above 0 means more than an even chance of the two" [ "$(paste p.bedgraph l.bedgraph | awk '{ if (($8 > 0 && $4 < 0.25) || ($8 < 0 && $4 >= 0.5)) n++ } END { print n + 0 }')" = 0 ]
for o in "--threads 1" "--threads 3" "--memory 300k"; do
    # shellcheck disable=SC2086
    "$dna" track p.fa -m "$model" -o a.bedgraph -q $o 2>/dev/null
    check "track $o: same bytes" cmp e.bedgraph a.bedgraph
done
"$dna" track p.fa -m "$model" -q >straight.bedgraph
check "track: standard output, the same bytes" cmp e.bedgraph straight.bedgraph

# The reverse complement: the track read backwards, every digit of it.
{ echo '>NC_001422.1'; tail -n +2 p.fa | tr -d '\n' | rev | tr ACGT TGCA; echo; } >rc.fa
for t in entropy llr prob; do
    "$dna" track p.fa -m "$model" --track $t -q | cut -f4 | tac >forward.txt
    "$dna" track rc.fa -m "$model" --track $t -q | cut -f4 >reverse.txt
    check "track $t of the reverse complement mirrors" cmp forward.txt reverse.txt
done
check "and is another track" [ "$(tac forward.txt | cmp -s - reverse.txt; echo $?)" = 1 ]

# Regions.
printf 'NC_001422.1\t300\t400\tb\t0\t-\nNC_001422.1\t100\t150\nNC_001422.1\t350\t500\nNC_001422.1\t150\t151\n' >r.bed
check "track: regions" exits 0 "$dna" track p.fa -m "$model" --regions r.bed -o r.bedgraph
check "track: those that touch are one, in order" [ "$(awk '{ print $2 }' r.bedgraph | xargs)" = "$(seq 100 150 | xargs) $(seq 300 499 | xargs)" ]
check "track: with flanks to both ends the region is what the whole is" exits 0 "$dna" track p.fa -m "$model" --regions NC_001422.1:301-500 --flank 100k -o f.bedgraph
sed -n 301,500p e.bedgraph >part.bedgraph
check "track: the same bytes" cmp f.bedgraph part.bedgraph
printf '>b\nACGTNNNNNNACGTRACGT\n>a\nNNNNN\n>aa\nGATTACA\n' >n.fa
check "track: N has no value" exits 0 "$dna" track n.fa -m "$model" -o n.bedgraph --mask-stride 0
check "track: contigs in order of their names" [ "$(cut -f1,2 n.bedgraph | tr '\t\n' ': ')" = "$(printf 'aa:%s ' $(seq 0 6))$(printf 'b:%s ' 0 1 2 3 10 11 12 13 15 16 17 18)" ]
check "track: R is told" has "$err" "ambiguity codes"
check "track: only N is an error" exits 65 "$dna" track n.fa -m "$model" --regions a -o out.bedgraph
check "track: only N: says so" has "$err" "no value"
check "track: only N: nothing is left" clean

# bigWig.
if [ $has_bigwig = yes ]; then
    check "track: bigWig" exits 0 "$dna" track p.fa -m "$model" -o e.bw
    check "track: is one" [ "$(head -c 4 e.bw | od -An -tx1 | tr -d ' ')" = 26fc8f88 ]
    check "track: nothing else is left" [ "$(ls e.bw* | xargs)" = "e.bw e.bw.run.json" ]
    "$dna" track p.fa -m "$model" -o f.bw -q --threads 1
    check "track: bigWig, the same bytes" cmp e.bw f.bw
    check "track: only N, bigWig" exits 65 "$dna" track n.fa -m "$model" --regions a -o out.bw
    check "track: only N, bigWig: nothing is left" clean
    (ulimit -f 2 && exec "$dna" track p.fa -m "$model" -o out.bw) 2>err.txt
    check "track: bigWig, file-size limit ends with 74" [ $? = 74 ]
    check "track: bigWig, the message names the output" has "$(cat err.txt)" "out.bw"
    check "track: bigWig, nothing is left" clean
    for i in $(seq 9); do printf '>c%d\n%s\n' "$i" "$(tail -n +2 p.fa | tr -d '\n')"; done >nine.fa
    check "track: without memory for zoom levels" exits 0 "$dna" track nine.fa -m "$model" -o z.bw --memory 900k --mask-stride 1
    check "track: says so" has "$err" "without zoom levels"
    python3 -c 'import pyBigWig' 2>/dev/null && check "track: bigWig is bedGraph to another reader" python3 - <<'PY'
import pyBigWig
b = pyBigWig.open("e.bw")
v = b.values("NC_001422.1", 0, b.chroms()["NC_001422.1"])
for line in open("e.bedgraph"):
    c, s, e, x = line.split()
    assert abs(v[int(s)] - float(x)) < 1e-6
PY
fi

# Heads: a value a block, from windows.
"$dna" finetune genomics/data/phages.tsv -m caduceus-ps-tiny -o tuned --epochs 1 -q 2>/dev/null
check "track head" exits 0 "$dna" track p.fa -m tuned --track head --window 53 --stride 20 --class lambda -o h.bedgraph
check "track head: blocks of 20" [ "$(awk 'NR == 1 { print $2, $3 }' h.bedgraph)" = "20 40" ]
"$dna" predict p.fa -m tuned --regions NC_001422.1:5-57 -o w.tsv -q
want=$(awk -F'\t' 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == "p_lambda") k = i } NR == 2 { print $k }' w.tsv)
check "track head: is what predict says of the window" [ "$(awk -v w="$want" 'NR == 1 { d = $4 - w; print (d * d < 1e-12) }' h.bedgraph)" = 1 ]
check "track head without --window" exits 2 "$dna" track p.fa -m tuned --track head
check "track head: unknown label" exits 2 "$dna" track p.fa -m tuned --track head --window 53 --class mouse
check "track head: names the labels" has "$err" "lambda"
check "track of a model without head" exits 1 "$dna" track p.fa -m tuned -o out.bedgraph
check "track head of a model without one" exits 74 "$dna" track p.fa -m "$model" --track head --window 53 -o out.bedgraph

# Bad input and outputs that cannot be written: an exit code, a sentence, no output.
refused() { # STATUS "words" "what" ARGS...
    check "$3 ends with $1" exits "$1" "$dna" track "${@:4}"
    check "$3: says '$2'" has "$err" "$2"
    check "$3: nothing is left" clean
}
refused 65 "outside" "region outside" p.fa -m "$model" --regions NC_001422.1:1-9999 -o out.bedgraph
refused 65 "chr7" "unknown contig" p.fa -m "$model" --regions chr7:1-10 -o out.bedgraph
refused 74 "no-such.bed" "missing BED" p.fa -m "$model" --regions no-such.bed -o out.bedgraph
refused 2 "--regions is empty" "empty region" p.fa -m "$model" --regions "" -o out.bedgraph
refused 74 "no-such.fa" "missing genome" no-such.fa -m "$model" -o out.bedgraph
refused 2 "must be a file" "standard input" - -m "$model" -o out.bedgraph
refused 2 "which model" "no model" p.fa -o out.bedgraph
refused 2 ".bedgraph" "ending of no track" p.fa -m "$model" -o out.wig
refused 2 "are for --track head" "--window without head" p.fa -m "$model" --window 5 -o out.bedgraph
refused 2 "use masked" "causal scheme" p.fa -m "$model" --scheme causal -o out.bedgraph
refused 65 "--memory" "less memory than the answers take" p.fa -m "$model" --memory 2k -o out.bedgraph
refused 74 "folder does not exist" "missing folder" p.fa -m "$model" -o no/such/out.bedgraph
printf '>x\nACGT-ACGT\n' >gap.fa
refused 65 "base 5 of x" "gap" gap.fa -m "$model" -o out.bedgraph
cp p.fa own.bedgraph
refused 2 "is an input too" "output over the input" own.bedgraph -m "$model" -o own.bedgraph
[ -e /dev/full ] && refused 74 "No space left" "full disk" p.fa -m "$model" -o /dev/full
(ulimit -f 10 && exec "$dna" track p.fa -m "$model" -o out.bedgraph) 2>err.txt
check "track: file-size limit ends with 74" [ $? = 74 ]
check "track: file-size limit: nothing is left" clean
"$dna" track "$top/genomics/data/lambda.fa.gz" -m "$model" -o out.bedgraph 2>err.txt &
pid=$!
for _ in $(seq 100); do ls out.bedgraph.tmp.* >/dev/null 2>&1 && break; sleep 0.05; done
kill -TERM $pid
wait $pid
check "track: SIGTERM ends with 75" [ $? = 75 ]
check "track: SIGTERM: nothing is left" clean

check "track --dry-run" exits 0 "$dna" track p.fa -m "$model" -o dry.bedgraph --dry-run
check "track --dry-run: work" has "$out" "$(awk -v n="$bases" 'BEGIN { printf "%.4g", n * 8 }') bases"
check "track --dry-run writes nothing" [ ! -e dry.bedgraph ]

mkdir build
"$dna" track --help | sed -n 's/^  dna-mamba /dna-mamba /p' >examples
check "track --help has examples" [ "$(wc -l <examples)" = 5 ]
while read -r line; do
    [ $has_bigwig = no ] && [[ $line == *.bw* ]] && continue
    run bash -c "PATH=$bin:\$PATH; $line"
    check "example: $line" [ "$status" = 0 ]
done <examples
finish
