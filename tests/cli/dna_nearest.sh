#!/usr/bin/env bash
# dna-mamba nearest from outside, over what dna-mamba embed writes.
# only: cli
. "$(dirname "$0")/lib.sh"
need_program dna-mamba
dna=$bin/dna-mamba model=$top/tests/data/seeded
mkdir "$tmp/w" && cd "$tmp/w" || exit 1
clean() { [ -z "$(ls | grep -E '^out|\.tmp\.' || :)" ]; }
data=$top/genomics/data

"$dna" embed "$data/lambda.fa.gz" -m "$model" -o genes.npy --regions "$data/lambda.bed" -q
"$dna" embed "$data/lambda.fa.gz" -m "$model" -o genes.tsv --regions "$data/lambda.bed" -q
"$dna" embed "$data/phix174.fa" -m "$model" -o bins.npy --bin 500 -q
"$dna" embed "$data/phix174.fa" -m "$model" -o bins.tsv --bin 500 -q
"$dna" embed "$data/phix174.fa" -m "$model" -o half.npy --bin 500 --dtype f16 -q
genes=$(($(wc -l <genes.tsv) - 1)) bins=$(($(wc -l <bins.tsv) - 1))

# All pairs by awk, from the TSV files that embed writes: query row, row, value; nearest first, as measure $1 has it.
pairs() {
    awk -F'\t' -v measure="$1" '
        FNR == 1 { file++; next }
        { row = FNR - 2; n[file] = FNR - 1; for (c = 9; c <= NF; c++) v[file, row, c] = $c; columns = NF }
        END {
            for (i = 0; i < n[2]; i++)
                for (j = 0; j < n[1]; j++) {
                    dot = a = b = d = 0
                    for (c = 9; c <= columns; c++) {
                        x = v[2, i, c]; y = v[1, j, c]
                        dot += x * y; a += x * x; b += y * y; d += (x - y) * (x - y)
                    }
                    value = measure == "dot" ? dot : measure == "l2" ? sqrt(d) : dot / sqrt(a * b)
                    printf "%d\t%d\t%.4f\t%.17g\n", i, j, value, measure == "l2" ? value : -value
                }
        }' genes.tsv bins.tsv | sort -t"$(printf '\t')" -k1,1n -k4,4g | awk -F'\t' '$1 != last { last = $1; n = 0 } n++ < 4' | cut -f1-3
}
for measure in cosine l2 dot; do
    check "nearest --measure $measure" exits 0 "$dna" nearest bins.npy -i genes.npy -k 4 --measure $measure -o n.tsv
    check "$measure: what all pairs say" [ "$(awk -F'\t' 'NR > 1 { printf "%d\t%d\t%.4f\n", $1, $6, $5 }' n.tsv)" = "$(pairs $measure)" ]
    check "$measure: the column is called so" has "$(head -1 n.tsv)" "rank	$measure	row"
done
check "the rate is told" has "$err" "pairs/s"
check "and bytes" has "$err" "iB/s of the index read"
check "run.json stands beside it" has "$(cat n.tsv.run.json)" "genes.npy.index.tsv"
place=$(awk -F'\t' 'NR == 2 { print $6 }' n.tsv)
check "names and places are those of the index" [ "$(awk -F'\t' 'NR == 2 { print $7, $9, $10, $11, $12 }' n.tsv)" = "$(awk -F'\t' -v r="$place" '$1 == r { print $3, $6, $7, $8, $9 }' genes.npy.index.tsv)" ]
check "query and part" [ "$(awk -F'\t' 'NR > 1 { print $2, $3 }' n.tsv | uniq | tail -1)" = "NC_001422.1 $((bins - 1))" ]

check "more neighbours than rows" exits 0 "$dna" nearest bins.npy -i genes.npy -k 1000 -o n.tsv
check "gives all rows" [ "$(wc -l <n.tsv)" = $((genes * bins + 1)) ]
"$dna" nearest bins.npy -i bins.npy -k 2 -q -o s.tsv
check "each row is nearest to itself" [ "$(awk -F'\t' 'NR > 1 && $4 == 1 && $1 == $6 && $5 == 1' s.tsv | wc -l)" = "$bins" ]
"$dna" nearest bins.npy -i bins.npy -k 1 --exclude-self -q -o t.tsv
check "--exclude-self: and next to what came second" [ "$(cut -f1,6 t.tsv | tail -n +2)" = "$(awk -F'\t' '$4 == 2' s.tsv | cut -f1,6)" ]
cp bins.npy copy.npy && cp bins.npy.index.tsv copy.npy.index.tsv
check "--exclude-self with another file ends with 2" exits 2 "$dna" nearest copy.npy -i bins.npy --exclude-self
for t in 1 2 5; do
    check "the same with $t threads" [ "$("$dna" nearest bins.npy -i genes.npy --threads $t -q)" = "$("$dna" nearest bins.npy -i genes.npy -q --memory 1)" ]
done
check "f16 queries" exits 0 "$dna" nearest half.npy -i bins.npy -k 1 -o h.tsv
check "f16: each finds itself" [ "$(awk -F'\t' 'NR > 1 && $1 == $6' h.tsv | wc -l)" = "$bins" ]
check "--dry-run" exits 0 "$dna" nearest bins.npy -i genes.npy --dry-run -o no.tsv
check "writes nothing" [ ! -e no.tsv ]
rm copy.npy.index.tsv
check "no names" exits 0 "$dna" nearest copy.npy -i genes.npy -k 1
check "is said" has "$err" "copy.npy.index.tsv: there is no such file"
check "and shown" [ "$(sed -n 2p <<<"$out" | cut -f1-3)" = "0	.	0" ]

# Rows that are no numbers: row 2 of the queries NaN, row 0 of the index infinite, row 1 zeros.
bytes=$((4 * 128)) head=128
cp bins.npy nan.npy && cp bins.npy.index.tsv nan.npy.index.tsv && cp genes.npy inf.npy && cp genes.npy.index.tsv inf.npy.index.tsv
printf '\000\000\300\177' | dd of=nan.npy bs=1 seek=$((head + 2 * bytes + 40)) conv=notrunc 2>/dev/null
printf '\000\000\200\377' | dd of=inf.npy bs=1 seek=$((head + 508)) conv=notrunc 2>/dev/null
head -c $bytes /dev/zero | dd of=inf.npy bs=1 seek=$((head + bytes)) conv=notrunc 2>/dev/null
check "rows that are no numbers are no error" exits 0 "$dna" nearest nan.npy -i inf.npy -k 1000
check "queries are counted" has "$err" "nan.npy: 1 rows hold NaN or infinities, or zeros only, and got no neighbours"
check "rows too" has "$err" "inf.npy: 2 rows hold NaN or infinities, or zeros only, and are nobody's neighbours"
check "and left out" [ "$(tail -n +2 <<<"$out" | wc -l)" = $(((genes - 2) * (bins - 1))) ]
rm -f out*

refused() { # status, words, what, args
    check "$3 ends with $1" exits "$1" "$dna" nearest "${@:4}"
    check "$3: says '$2'" has "$err" "$2"
    check "$3: nothing is left" clean
}
refused 74 "no-such.npy" "a missing index" bins.npy -i no-such.npy -o out.tsv
refused 74 "no-such.npy" "a missing query" no-such.npy -i genes.npy -o out.tsv
refused 2 "-i INDEX.npy" "no index named" bins.npy -o out.tsv
refused 65 "is no .npy file" "a FASTA as query" "$data/phix174.fa" -i genes.npy -o out.tsv
head -c 1000 genes.npy >cut.npy
refused 65 "cut.npy: is cut short" "a truncated index" bins.npy -i cut.npy -o out.tsv
head -c 60 genes.npy >cut.npy
refused 65 "cut.npy: is cut short" "a truncated header" bins.npy -i cut.npy -o out.tsv
"$dna" embed "$data/phix174.fa" -m "$model" -o conjoined.npy --bin 500 --strand conjoin -q
refused 65 "has 64 columns" "other columns" conjoined.npy -i genes.npy -o out.tsv
cp genes.npy g.npy && head -5 genes.npy.index.tsv >g.npy.index.tsv
refused 65 "g.npy.index.tsv: ends at row 4" "names of fewer rows" bins.npy -i g.npy -o out.tsv
sed '3s/^1/2/' genes.npy.index.tsv >g.npy.index.tsv
refused 65 "g.npy.index.tsv:3:" "names that skip a row" bins.npy -i g.npy -o out.tsv
refused 2 "is an input too" "an output over its index" bins.npy -i genes.npy -o genes.npy
refused 2 "is an input too" "an output over its names" bins.npy -i genes.npy -o genes.npy.index.tsv
refused 2 "out of range" "no neighbours asked for" bins.npy -i genes.npy -k 0 -o out.tsv
refused 74 "folder does not exist" "a missing folder" bins.npy -i genes.npy -o no/such/out.tsv
[ -e /dev/full ] && refused 74 "No space left" "a full disk" bins.npy -i genes.npy -o /dev/full
finish
