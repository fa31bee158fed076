#!/usr/bin/env bash
# dna-mamba embed from outside: every kind of input gives the same rows, examples of the help run as they stand, an
# interrupted run goes on, standard output is a pipe like any other.
. "$(dirname "$0")/lib.sh"
need_program dna-mamba
dna=$bin/dna-mamba model=$top/tests/data/seeded
mkdir "$tmp/w" && cd "$tmp/w" || exit 1
ln -s "$top/genomics" genomics
cp "$top/genomics/data/phix174.fa" p.fa
same() { cmp -s "$1" "$2"; }

check "embed: npy" exits 0 "$dna" embed p.fa -m "$model" -o p.npy
check "embed: index" has "$(cat p.npy.index.tsv)" $'0\t1\tNC_001422.1\t0\t5386\tNC_001422.1\t0\t5386\t+\t0'
check "embed: nothing else is left" [ "$(ls p.npy* | xargs)" = "p.npy p.npy.index.tsv p.npy.run.json" ]
check "embed: run.json names the model's digest" has "$(cat p.npy.run.json)" "$(sha256sum "$model"/model.safetensors | cut -c1-64)"

# The same sequence from everything that can hold one.
gzip -c p.fa >gz.fa.gz
tr ACGT acgt <p.fa | sed 's/^>.*/>NC_001422.1/' >lower.fa
awk 'NR > 1 { s = s $0 } END { print "@NC_001422.1\n" s "\n+\n" gensub(/./, "I", "g", s) }' p.fa >p.fq 2>/dev/null ||
    { s=$(tail -n +2 p.fa | tr -d '\n'); printf '@NC_001422.1\n%s\n+\n%s\n' "$s" "${s//?/I}" >p.fq; }
s=$(tail -n +2 p.fa | tr -d '\n')
printf '@HD\tVN:1.6\nNC_001422.1\t4\t*\t0\t0\t*\t*\t0\t0\t%s\t*\n' "$s" >p.sam
for f in gz.fa.gz lower.fa p.fq p.sam; do
    check "embed: $f" exits 0 "$dna" embed $f -m "$model" -o other.npy
    check "embed: $f gives the same bytes" same p.npy other.npy
done
"$dna" embed - -m "$model" -o other.npy <gz.fa.gz 2>/dev/null
check "embed: standard input gives the same bytes" same p.npy other.npy
"$dna" embed --regions NC_001422.1:1-5,386 p.fa -m "$model" -o other.npy 2>/dev/null
check "embed: the region of the whole gives the same bytes" same p.npy other.npy
if command -v samtools >/dev/null; then
    samtools view -b p.sam >p.bam 2>/dev/null && bgzip -c p.fa >b.fa.gz
    for f in p.bam b.fa.gz; do
        "$dna" embed $f -m "$model" -o other.npy 2>/dev/null
        check "embed: $f gives the same bytes" same p.npy other.npy
    done
else
    skip "samtools is not installed: BAM made by it"
fi

# Results do not depend on threads, memory, scan.
for o in "--threads 1" "--threads 3" "--memory 1M" "--no-scan" "--memory 300k --threads 2"; do
    # shellcheck disable=SC2086
    "$dna" embed p.fa -m "$model" -o a.npy --pool none $o 2>/dev/null
    [ -e none.npy ] || cp a.npy none.npy
    check "embed $o: same bytes" same none.npy a.npy
done

# Standard output.
check "embed -o -" exits 0 "$dna" embed p.fa -m "$model" -o - --bin 1000
check "embed -o -: a header and six bins" [ "$(wc -l <<<"$out")" = 7 ]
check "embed -o - writes no file" [ ! -e - ]
"$dna" embed p.fa -m "$model" -o - --bin 10 2>/dev/null | head -1 >first
check "embed -o - | head ends quietly" [ "${PIPESTATUS[0]}" != 0 ]

# Asked to stop: 75, and what was done is kept; --resume finishes to the same bytes.
for i in $(seq 400); do printf '>r%d\n%s\n' "$i" "${s:i:240}"; done >many.fa
"$dna" embed many.fa -m "$model" -o whole.npy --batch 5000 2>/dev/null
"$dna" embed many.fa -m "$model" -o cut.npy --batch 5000 2>err.txt &
pid=$!
for _ in $(seq 200); do [ "$(wc -l 2>/dev/null <cut.npy.journal.partial || echo 0)" -gt 3 ] && break; sleep 0.05; done
kill -TERM $pid
wait $pid
status=$?
if [ $status = 0 ]; then
    skip "the run ended before it could be stopped"
else
    check "embed: SIGTERM ends with 75" [ $status = 75 ]
    check "embed: and says how to go on" has "$(cat err.txt)" "--resume"
    check "embed: no result yet" [ ! -e cut.npy ]
    check "embed: nor its run.json" [ ! -e cut.npy.run.json ]
    check "embed --resume with other options is refused" exits 2 "$dna" embed many.fa -m "$model" -o cut.npy --batch 5000 --resume --dtype f16
    sed 's/^>r300/>other/' many.fa >changed.fa
    check "embed --resume with other input is refused" exits 2 "$dna" embed changed.fa -m "$model" -o cut.npy --batch 5000 --resume
    check "embed --resume" exits 0 "$dna" embed many.fa -m "$model" -o cut.npy --batch 5000 --resume
    check "embed --resume: the same bytes" same whole.npy cut.npy
    check "embed --resume: nothing else is left" [ "$(ls cut.npy* | xargs)" = "cut.npy cut.npy.index.tsv cut.npy.run.json" ]
    check "embed --resume of a finished run does nothing" exits 0 "$dna" embed many.fa -m "$model" -o cut.npy --batch 5000 --resume
    check "embed --resume of a finished run says so" has "$err" "complete already"
fi

check "embed --dry-run" exits 0 "$dna" embed many.fa -m "$model" -o dry.npy --dry-run
check "embed --dry-run counts" has "$out" "400 of"
check "embed --dry-run writes nothing" [ ! -e dry.npy ]

# run.json: names every file that was read; comes with the result or not at all, and never stays beside that of another
# run.
printf 'NC_001422.1\t0\t100\n' >one.bed
check "embed: regions" exits 0 "$dna" embed p.fa -m "$model" -o r.tsv --regions one.bed
check "embed: run.json names the BED file" has "$(cat r.tsv.run.json)" "$(sha256sum one.bed | cut -c1-64)"
check "score: regions" exits 0 "$dna" score p.fa -m "$model" -o s.tsv --regions one.bed
check "score: run.json names the BED file" has "$(cat s.tsv.run.json)" "$(sha256sum one.bed | cut -c1-64)"
check "score: and the input" has "$(cat s.tsv.run.json)" "$(sha256sum p.fa | cut -c1-64)"
bases=$(tail -n +2 p.fa | tr -d '\n' | wc -c)
kib=$(((bases * 128 * 4 + 1023) / 1024)) # the rows fit, the HDF5 file that is made of them does not
(ulimit -f $kib && exec "$dna" embed p.fa -m "$model" -o late.h5 --pool none) 2>err.txt
check "HDF5 that fails when it is made ends with 74" [ $? = 74 ]
check "HDF5 that fails: one line with the cause" has "$(grep error: err.txt)" "file write failed: File too large"
check "HDF5 that fails: no run.json" [ ! -e late.h5.run.json ]
rm -f late.h5*
check "embed -o /dev/null" exits 0 "$dna" embed p.fa -m "$model" -o /dev/null --format tsv
check "score -o /dev/null" exits 0 "$dna" score p.fa -m "$model" -o /dev/null --regions one.bed
check "a device gets no run.json" [ ! -e /dev/null.run.json ]

# Every example of the help, as it stands; results go to build/, as they would in the source tree.
mkdir build
for verb in embed score info; do
    "$dna" $verb --help | sed -n 's/^  dna-mamba /dna-mamba /p' >examples
    check "$verb --help has examples" [ -s examples ]
    while read -r line; do
        [ "$bin" = "$top/bin" ] || break # a sanitizer takes minutes for them
        run bash -c "PATH=$bin:\$PATH; $line"
        check "example: $line" [ "$status" = 0 ]
    done <examples
done

# The same content is the same bytes, whenever it is made.
for pool in mean none; do
    for i in 1 2; do
        "$bin/dna-mamba" embed "$top/genomics/data/phix174.fa" -m "$top/tests/data/seeded" --window 900 --pool $pool -q -o "$tmp/when$i.h5"
        sleep 1.1
    done
    check "HDF5 --pool $pool does not depend on the time" cmp "$tmp/when1.h5" "$tmp/when2.h5"
done
finish
