#!/usr/bin/env bash
# dna-mamba reads from outside, on real reads, with a small model made on the spot.
# only: cli
. "$(dirname "$0")/lib.sh"
need_program dna-mamba
need_program seqmamba
dna=$bin/dna-mamba
mkdir "$tmp/w" && cd "$tmp/w" || exit 1
clean() { [ -z "$(ls | grep -E '^out|\.tmp\.' || :)" ]; }
sed 's/"d_model": *64/"d_model": 16/; s/"n_layer": *4/"n_layer": 1/' "$top/tests/data/seeded/config.json" >c.json
check "a small model" exits 0 "$bin/seqmamba" create c.json -o lm
reads() { "$dna" reads "$1" -m lm --mask-stride 1 -q "${@:2}"; }

# Reads by awk: n of 100 bases.
make_reads() { awk -v n="$1" 'BEGIN { srand(3); for (i = 0; i < n; i++) { s = ""; for (k = 0; k < 100; k++) s = s substr("ACGT", 1 + int(4 * rand()), 1); printf "@r%d\n%s\n+\n%s\n", i, s, s } }'; }
make_reads 300 >few.fq
check "reads of a FASTQ" exits 0 "$dna" reads few.fq -m lm -o few.tsv
check "a row for each" [ "$(awk 'NR > 1 && NF == 12 && $8 == 100' few.tsv | wc -l)" = 300 ]
check "the rate is told" has "$err" "reads/s"
check "as score has them" [ "$("$dna" score few.fq -m lm -q | cut -f1,9-11)" = "$(cut -f1,10-12 few.tsv)" ]
check "run.json stands beside it" has "$(cat few.tsv.run.json)" '"run": 300'
check "standard input to standard output" [ "$("$dna" reads - -m lm -q <few.fq)" = "$(cat few.tsv)" ]
"$dna" reads few.fq -m lm -q -o few.bam
check "a BAM is BGZF with its end marker" [ "$(tail -c 28 few.bam | od -An -tx1 | tr -d ' \n')" = 1f8b08040000000000ff0600424302001b0003000000000000000000 ]
check "from BAM as from FASTQ" [ "$("$dna" reads few.bam -m lm -q)" = "$(cat few.tsv)" ]
"$dna" reads few.fq -m lm -q --format sam -o - | sed -n 's/^\(r[0-9]*\).*yb:f:\([0-9.]*\).*/\1\t\2/p' >tags.tsv
check "bits of the tags are those of the table" [ "$(awk -F'\t' 'NR == FNR { bits[$1] = $2; next } FNR > 1 && ($1 in bits) && ($12 - bits[$1]) ^ 2 < 1e-9' tags.tsv few.tsv | wc -l)" = 300 ]
for t in 1 2 3; do
    check "the same with $t threads" [ "$("$dna" reads few.bam -m lm -q --threads $t --batch $((t * 333)) --memory 1M)" = "$(cat few.tsv)" ]
done
check "--what embed" exits 0 "$dna" reads few.fq -m lm --what embed -o e.tsv
"$dna" embed few.fq -m lm -q -o f.tsv
check "as embed has them" [ "$(cut -f10- e.tsv)" = "$(cut -f9- f.tsv)" ]
check "--dry-run" exits 0 "$dna" reads few.bam -m lm -o no.bam --dry-run
check "counts" has "$out" "run          300 of 30000 bases"
check "writes nothing" [ ! -e no.bam ]

# Memory does not grow with the input. (A sanitizer keeps what was freed.)
if "$dna" reads --help | grep -q . && ! grep -qa __asan_init "$dna"; then
    make_reads 4000 >one.fq
    make_reads 12000 >three.fq
    for n in one three; do
        "$dna" reads $n.fq -m lm --mask-stride 1 --batch 50k -q -o $n.bam
        "$dna" reads $n.bam -m lm --mask-stride 1 --existing-tags replace --batch 50k -q -o $n.again.bam
    done
    rss() { sed -n 's/.*"peak_memory_bytes": *\([0-9]*\).*/\1/p' "$1.run.json"; }
    for kind in bam again.bam; do
        a=$(rss one.$kind) b=$(rss three.$kind)
        check "three times the reads, the same memory ($kind: $a, $b)" [ $((b - a)) -lt 4000000 ]
    done
    rm -f one* three*
fi

# Real alignments.
bam=$shared/data/genomics/bam
if [ -d "$bam" ]; then
    check "coordinate order" exits 0 "$dna" reads "$bam/nanopore.bam" -m lm --mask-stride 1 -o n.bam
    check "is indexed" [ -s n.bam.bai ]
    check "regions by index and without: the same" [ "$(reads "$bam/nanopore.bam" --regions KV453883.1 2>/dev/null | cut -f1-9)" = "$(cp "$bam/nanopore.bam" plain.bam && reads plain.bam --regions KV453883.1 2>/dev/null | cut -f1-9)" ]
    contig=$(reads "$bam/nanopore.bam" | awk -F'\t' 'NR > 1 { n[$3]++ } END { for (c in n) if (n[c] > n[best]) best = c; print best }')
    reads "$bam/nanopore.bam" >all.tsv
    check "a contig: those reads and no others" [ "$(reads "$bam/nanopore.bam" --regions "$contig" | tail -n +2)" = "$(awk -F'\t' -v c="$contig" '$3 == c' all.tsv)" ]
    check "and some" [ "$(awk -F'\t' -v c="$contig" '$3 == c' all.tsv | wc -l)" -gt 1 ]
    check "without an index too" [ "$(reads plain.bam --regions "$contig")" = "$(reads "$bam/nanopore.bam" --regions "$contig")" ]
    check "and from standard input" [ "$("$dna" reads - -m lm --mask-stride 1 -q --regions "$contig" <plain.bam)" = "$(reads plain.bam --regions "$contig")" ]
    reads "$bam/nanopore.bam" --filter-mode keep --min-mapq 30 -o k.sam
    check "keep: all reads" [ "$(grep -vc '^@' k.sam)" = "$(reads "$bam/nanopore.bam" --exclude-flags 0 | tail -n +2 | wc -l)" ]
    check "keep: tags where the filter says" [ "$(grep -v '^@' k.sam | awk -F'\t' '{ has = /yb:f:/; want = $5 >= 30 && $10 != "*" && int($2 / 256) % 2 == 0 && int($2 / 2048) % 2 == 0; if (has != want) print }' | wc -l)" = 0 ]
    check "drop: what is tagged" [ "$(reads "$bam/nanopore.bam" --min-mapq 30 --format sam -o - | grep -v '^@')" = "$(grep 'yb:f:\|yn:i' k.sam | grep -v '^@')" ]
    check "--tag-prefix" has "$(reads "$bam/mpileup.1.bam" --tag-prefix X --format sam -o - | tail -1)" "Xb:f:"
    head -c 200000 "$bam/nanopore.bam" >cut.bam
    { head -c 200000 "$bam/nanopore.bam" && tail -c 28 "$bam/nanopore.bam"; } >mid.bam
    check "CRAM out, CRAM in" [ "$(reads few.bam --existing-tags replace -o few.cram && reads few.cram | cut -f1-9)" = "$(cut -f1-9 few.tsv)" ]
else
    skip "no shared data: real alignments"
fi

refused() { # status, words, what, args
    check "$3 ends with $1" exits "$1" "$dna" reads "${@:4}" -m lm
    check "$3: says '$2'" has "$err" "$2"
    check "$3: nothing is left" clean
    rm -f out*
}
if [ -d "$bam" ]; then
    refused 65 "end marker is missing" "a truncated BAM" cut.bam -o out.bam
    refused 65 "damaged or cut short after read" "a BAM damaged in the middle" mid.bam -o out.bam
    refused 65 "reference" "a CRAM without its reference" "$bam/6.quickcheck.cram21.ok.cram" -o out.bam
    refused 65 "KV45" "a contig that is not there" "$bam/nanopore.bam" -o out.bam --regions KV45
fi
refused 65 "has a tag yb already" "tags that are there" few.bam -o out.bam
refused 74 "no-such.bam: cannot be opened" "a missing file" no-such.bam -o out.bam
refused 65 "holds no reads" "no reads" c.json -o out.bam
refused 2 "which format" "an unknown ending" few.fq -o out.xyz
refused 2 "is an input too" "an output over its input" few.bam -o few.bam
refused 74 "folder does not exist" "a missing folder" few.fq -o no/such/out.bam
refused 74 "task.json" "classify without a head" few.fq --what classify -o out.bam
printf '@r\nACGT\n+\nII\n' >bad.fq
refused 65 "bad.fq: damaged or cut short after read 0" "a FASTQ of fewer qualities" bad.fq -o out.bam
for f in bam sam tsv; do
    [ -e /dev/full ] && refused 74 "No space left" "a full disk ($f)" few.fq --format $f -o /dev/full
done
make_reads 3000 >many.fq
for f in bam sam tsv h5; do
    (ulimit -f 100 && exec "$dna" reads many.fq -m lm --mask-stride 1 -o out.$f) 2>err.txt
    got=$?
    if [ $f = h5 ] && grep -q 'cannot write HDF5' err.txt; then
        skip "this build writes no HDF5"
        continue
    fi
    check "a disk that fills half-way ends with 74 ($f)" [ $got = 74 ]
    check "says so" grep -q "File too large" err.txt
    check "and leaves nothing" clean
done
finish
