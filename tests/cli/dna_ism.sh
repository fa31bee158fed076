#!/usr/bin/env bash
# dna-mamba ism from outside: examples of the help run as they stand, tables and pictures are whole, the other strand is
# the mirror, bad input and full disks leave nothing.
# only: cli
. "$(dirname "$0")/lib.sh"
need_program dna-mamba
dna=$bin/dna-mamba model=$top/tests/data/seeded
mkdir "$tmp/w" && cd "$tmp/w" || exit 1
ln -s "$top/genomics" genomics
cp "$top/genomics/data/phix174.fa" p.fa
clean() { [ -z "$(ls | grep -E '^out|\.tmp\.' || :)" ]; }
ism() { "$dna" ism p.fa -m "$model" -q "$@"; }
pictures=$(ism --regions NC_001422.1:1-9 -o x --dry-run >/dev/null 2>&1 && echo yes || echo no)
[ $pictures = yes ] || skip "built without cairo: pictures"
none=$([ $pictures = yes ] || echo "--picture none")

# shellcheck disable=SC2086
check "ism" exits 0 "$dna" ism p.fa -m "$model" --regions NC_001422.1:301-340 --flank 60 -o a $none
check "ism: a header and a line a base" [ "$(wc -l <a.tsv)" = 41 ]
check "ism: run.json names input and model" has "$(cat a.run.json)" "$(sha256sum p.fa | cut -c1-64)"
check "ism: places and reference" [ "$(awk -F'\t' 'NR > 1 { if ($3 != 298 + NR || $4 != $3 + 1) n++; s = s $6 } END { print n + 0, s }' a.tsv)" = "0 $(tail -n +2 p.fa | tr -d '\n' | cut -c301-340)" ]
check "ism: the reference has no effect, probabilities add up to 1, effects are their ratios" [ "$(awk -F'\t' 'NR > 1 {
    r = index("ACGT", $6); if ($(6 + r) != 0) n++
    s = $11 + $12 + $13 + $14 - 1; if (s * s > 1e-9) n++
    for (b = 1; b <= 4; b++) { d = log($(10 + b) / $(10 + r)) - $(6 + b); if (d * d > 1e-8) n++ }
    if ($15 < 0 || $15 > 2) n++ } END { print n + 0 }' a.tsv)" = 0 ]
check "ism: .npy has a row of 4 a base" [ "$(head -c 128 a.npy | tr -d '\0' | grep -c "'<f4'.*(40, 4)")" = 1 ]
if command -v python3 >/dev/null && python3 -c 'import numpy' 2>/dev/null; then
    check "ism: .npy is the table" python3 -c '
import numpy
t = [l.split("\t")[6:10] for l in open("a.tsv").read().splitlines()[1:]]
assert numpy.abs(numpy.load("a.npy") - numpy.array(t, float)).max() < 1e-5'
else
    skip "python3 with numpy is not installed: .npy read by it"
fi
if [ $pictures = yes ]; then
    check "ism: nothing else is left" [ "$(ls a.* | xargs)" = "a.npy a.png a.run.json a.svg a.tsv" ]
    check "ism: PNG" [ "$(head -c 8 a.png | od -An -tx1 | tr -d ' ')" = 89504e470d0a1a0a ]
    check "ism: SVG" [ "$(tail -c 7 a.svg | tr -d '\n')" = "</svg>" ]
    if command -v python3 >/dev/null; then
        check "ism: SVG is well-formed XML" python3 -c 'import xml.dom.minidom; xml.dom.minidom.parse("a.svg")'
    fi
    ism --regions NC_001422.1:301-340 --flank 60 -o b.png --picture png --threads 1
    check "ism: --picture png, and PREFIX without its ending" [ "$(ls b.* | xargs)" = "b.npy b.png b.run.json b.tsv" ]
    check "ism: the same bytes on one thread" cmp a.npy b.npy
    check "ism: the same picture" cmp a.png b.png
fi

# The other strand: lines the other way round, letters complemented, every digit the same.
printf 'NC_001422.1\t300\t340\tgene/../x\t0\t-\n' >minus.bed
ism --regions minus.bed --flank 60 -o m --picture none
check "ism: --picture none" [ "$(ls m.* | xargs)" = "m.npy m.run.json m.tsv" ]
tail -n +2 a.tsv | tac | awk -F'\t' '{ print $3, $4, $10, $9, $8, $7, $14, $13, $12, $11, $15 }' >want.txt
tail -n +2 m.tsv | awk -F'\t' '{ print $3, $4, $7, $8, $9, $10, $11, $12, $13, $14, $15 }' >got.txt
check "ism: the reverse strand mirrors" cmp want.txt got.txt
check "ism: the name is a column, not a path" has "$(cut -f1,5,6 m.tsv | sed -n 2p)" "gene/../x"

# Changed sequences.
# shellcheck disable=SC2086
check "ism pll" exits 0 "$dna" ism p.fa -m "$model" --regions NC_001422.1:301-310 --flank 20 --score pll --deletions -o l $none
check "ism pll: five columns" has "$(sed -n 1p l.tsv)" $'A\tC\tG\tT\tdeletion\timportance'
seq=$(tail -n +2 p.fa | tr -d '\n' | cut -c281-330)
{ echo ">r"; echo "$seq"; echo ">m"; echo "${seq:0:20}A${seq:21}"; echo ">d"; echo "${seq:0:20}${seq:21}"; } >by-hand.fa
"$dna" score by-hand.fa -m "$model" -q -o by-hand.tsv
check "ism pll: is what score says of the changed sequences" [ "$(paste <(awk -F'\t' 'NR == 2 { print $7, $11 }' l.tsv) <(awk -F'\t' '
    $1 == "r" { r = $10 / $9; n = $9 } $1 == "m" { m = $10 / $9 } $1 == "d" { d = $10 / $9 } END { print (m - r) * n, (d - r) * n }' by-hand.tsv) |
    awk '{ a = $1 - $3; b = $2 - $4; print (a * a < 1e-7 && b * b < 1e-7) }')" = 1 ]
"$dna" finetune genomics/data/phages.tsv -m caduceus-ps-tiny -o tuned --epochs 1 -q 2>/dev/null
# shellcheck disable=SC2086
check "ism head" exits 0 "$dna" ism p.fa -m tuned --score head --class lambda --deletions --regions NC_001422.1:301-353 -o h $none
check "ism head: a line a base" [ "$(wc -l <h.tsv)" = 54 ]
check "ism of a model without head" exits 1 "$dna" ism p.fa -m tuned --regions NC_001422.1:301-353 -o out
check "ism: says which score is for it" has "$err" "--score head"

# N, ends of contigs, several regions.
printf '>n\nACGTNNACGTACGTTGCA\n' >n.fa
printf 'n\t0\t3\n\nn\t2\t9\tmiddle\t0\t-\nn\t17\t18\tlast\n' >three.bed
# shellcheck disable=SC2086
check "ism: several regions" exits 0 "$dna" ism n.fa -m "$model" --regions three.bed -o t $none
check "ism: N has no effect" [ "$(awk -F'\t' '$6 == "N" { print $7, $15 }' t.tsv | sort -u)" = "nan nan" ]
check "ism: all regions in one table" [ "$(cut -f1 t.tsv | uniq | xargs)" = "region n:1-3 middle last" ]
[ $pictures = yes ] && check "ism: a picture each" [ "$(ls t.* | xargs)" = "t.1.png t.1.svg t.2.png t.2.svg t.3.png t.3.svg t.npy t.run.json t.tsv" ]

refused() { # STATUS "words" "what" ARGS...
    check "$3 ends with $1" exits "$1" "$dna" ism "${@:4}"
    check "$3: says '$2'" has "$err" "$2"
    check "$3: nothing is left" clean
}
r="--regions NC_001422.1:1-30"
# shellcheck disable=SC2086
{
    refused 65 "outside" "region outside" p.fa -m "$model" --regions NC_001422.1:5,380-5,390 -o out $none
    refused 65 "chr7" "unknown contig" p.fa -m "$model" --regions chr7:1-10 -o out $none
    refused 74 "no-such.fa" "missing genome" no-such.fa -m "$model" -o out $none
    refused 2 "-o PREFIX" "no output" p.fa -m "$model" $r
    refused 2 "-o PREFIX" "standard output" p.fa -m "$model" $r -o - $none
    refused 2 "which model" "no model" p.fa $r -o out $none
    refused 2 "--score pll" "deletions of a masked site" p.fa -m "$model" $r -o out --deletions $none
    refused 2 "--flank" "flank that is no number" p.fa -m "$model" $r -o out --flank 1x $none
    refused 2 "--class is for" "label without head" p.fa -m "$model" $r -o out --class x $none
    refused 74 "folder does not exist" "missing folder" p.fa -m "$model" $r -o no/such/out $none
    refused 65 "--memory" "less memory than the answers take" p.fa -m "$model" $r -o out --memory 2k $none
}
[ $pictures = yes ] && refused 2 "--picture none" "region that no picture can show" p.fa -m "$model" --regions NC_001422.1:1-1001 -o out
cp p.fa own.tsv
# shellcheck disable=SC2086
refused 2 "is an input too" "output over the input" own.tsv -m "$model" $r -o own $none
for kib in 1 $([ $pictures = yes ] && echo 20 100); do # the table, PNG or SVG do not fit
    # shellcheck disable=SC2086
    (ulimit -f "$kib" && exec "$dna" ism p.fa -m "$model" $r -o out $none) 2>err.txt
    check "ism: file-size limit of $kib KiB ends with 74" [ $? = 74 ]
    check "ism: file-size limit of $kib KiB names an output" has "$(cat err.txt)" "out."
    check "ism: file-size limit of $kib KiB: nothing is left" clean
done
# shellcheck disable=SC2086
check "ism --dry-run" exits 0 "$dna" ism p.fa -m "$model" $r -o dry --dry-run $none
check "ism --dry-run: work" has "$out" "bases through the model"
check "ism --dry-run writes nothing" [ -z "$(ls dry* 2>/dev/null)" ]

if [ $pictures = yes ]; then
    mkdir build
    "$dna" ism --help | sed -n 's/^  dna-mamba /dna-mamba /p' >examples
    check "ism --help has examples" [ "$(wc -l <examples)" = 3 ]
    while read -r line; do
        run bash -c "PATH=$bin:\$PATH; $line"
        check "example: $line" [ "$status" = 0 ]
    done <examples
fi
finish
