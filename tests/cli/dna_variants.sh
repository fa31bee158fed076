#!/usr/bin/env bash
# dna-mamba variants from outside: its scores against those of `score`, its normal form against vt's, files in every
# form, and everything that can be wrong with what it is given.
# only: cli
. "$(dirname "$0")/lib.sh"
need_program dna-mamba
dna=$bin/dna-mamba model=$top/tests/data/seeded
mkdir "$tmp/w" && cd "$tmp/w" || exit 1
cp "$top/genomics/data/phix174.fa" p.fa
cp "$top/genomics/data/phix174.vcf" p.vcf
variants() { "$dna" variants "$@" -r p.fa -m "$model"; }
clean() { [ -z "$(ls | grep -E '^out|\.tmp\.' || :)" ]; }
same() { cmp "$1" "$2"; }
fields() { grep -v '^#' "$1" | cut -f"$2"; }

# ---- scores: at a masked base, log p of either letter is what `score` says of the two windows, one base masked at a time
check "variants" exits 0 "$dna" variants p.vcf -r p.fa -m "$model" -o t.tsv --window 101
check "a header, a line per ALT and one for the record without" [ "$(wc -l <t.tsv)" = 26 ]
check "the rate is told" has "$err" "variants per minute"
check "what was scored is told" has "$err" "scored 20: 11 SNV, 2 MNV, 3 insertion, 4 deletion"
check "what was not is told" has "$err" "not scored: 1 no_alt, 1 symbolic, 1 overlapping_deletion, 1 breakend, 1 not_acgt"
tail -n +2 p.fa | tr -d '\n' >letters
for at in 587 833 2793; do
    read -r ref alt llr < <(awk -v p=$at '$2 == p { print $4, $5, $7 }' t.tsv)
    left=$(cut -c$((at - 50))-$((at - 1)) letters) right=$(cut -c$((at + 1))-$((at + 50)) letters)
    printf '>ref\n%s%s%s\n>alt\n%s%s%s\n' "$left" "$ref" "$right" "$left" "$alt" "$right" >two.fa
    "$dna" score two.fa -m "$model" --mask-stride 0 -o two.tsv --per-base two.bedgraph -q
    want=$(awk '$2 == 50 { v[$1] = $4 } END { printf "%.4f", v["alt"] - v["ref"] }' two.bedgraph)
    check "llr of $at $ref>$alt ($llr) is that of score ($want)" awk "BEGIN { d = $llr - $want; exit !(d < 2e-4 && d > -2e-4) }"
done

# ---- files
check "to .vcf.gz" exits 0 "$dna" variants p.vcf -r p.fa -m "$model" -o p.vcf.gz --window 101
check "with an index" [ -s p.vcf.gz.tbi ]
check "and a record of the run" has "$(cat p.vcf.gz.run.json)" '"variants_per_minute"'
check "to .vcf" exits 0 "$dna" variants p.vcf -r p.fa -m "$model" -o p.out.vcf --window 101
check "the same text" same <(zcat p.vcf.gz) p.out.vcf
check "the rest is untouched" same <(fields p.vcf 1-7) <(fields p.out.vcf 1-7)
check "INFO that was there stays" grep -q 'END=4100;SM_REASON=symbolic$' p.out.vcf
check "the header says how" grep -q '^##dna-mamba_variants=version=.*;score=llr;scheme=masked;window=101;' p.out.vcf
check "values are as in TSV" same <(awk -F'\t' 'NR > 1 && $7 != "." { print $7 }' t.tsv) \
    <(grep -o 'SM_LLR=[^;]*' p.out.vcf | cut -d= -f2 | tr , '\n' | grep -vx '\.')
check "to .bcf" exits 0 "$dna" variants p.vcf.gz -r p.fa -m "$model" -o p.bcf --window 101
check "with an index" [ -s p.bcf.csi ]
check "BCF in, text to standard output" exits 0 "$dna" variants p.bcf -r p.fa -m "$model" --window 101
check "the same records" same <(grep -v '^#' <<<"$out") <(grep -v '^#' p.out.vcf)
variants - -q --window 101 <p.vcf >stdin.vcf
check "from standard input" same stdin.vcf p.out.vcf
variants p.vcf -q --window 101 --threads 1 --memory 100k >one.vcf
check "the same bytes on one thread in little memory" same one.vcf p.out.vcf
check "a second model's scores stand beside" exits 0 "$dna" variants p.out.vcf -r p.fa -m "$model" --window 51 --prefix B -o both.vcf
check "both are there" grep -q 'SM_LLR=[^;]*;B_LLR=' both.vcf
check "--dry-run" exits 0 "$dna" variants p.vcf -r p.fa -m "$model" -o no.vcf --dry-run
check "--dry-run: the plan" has "$out" "scored       20 (11 SNV"
check "--dry-run: no file" [ ! -e no.vcf ]
{ grep '^#' p.vcf && grep -v '^#' p.vcf | tac; } >u.vcf
check "records out of order are no error" exits 0 "$dna" variants u.vcf -r p.fa -m "$model" -o p.vcf.gz --window 51
check "they get no index, which is said" has "$err" "has no index, for its records are not in order"
check "and that of before is gone" [ ! -e p.vcf.gz.tbi ]
grep -v '^##contig' p.vcf >c.vcf
check "no contig lines" exits 0 "$dna" variants c.vcf -r p.fa -m "$model" -o c.out.vcf --window 51
check "no contig lines: a warning" has "$err" "c.vcf: has no ##contig lines; the output has those of p.fa"
check "no contig lines: they are put in" grep -qx '##contig=<ID=NC_001422.1,length=5386>' c.out.vcf

# ---- normal form
printf '%s\n' '##fileformat=VCFv4.2' '##contig=<ID=NC_001422.1>' $'#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO' \
    $'NC_001422.1\t862\t.\tA\tC\t.\t.\t.' $'NC_001422.1\t864\t.\tAA\tA\t.\t.\t.' >n.vcf
check "--normalize" exits 0 "$dna" variants n.vcf -r p.fa -m "$model" -o n.out.vcf --normalize --window 51
check "--normalize: moved, and in order" [ "$(fields n.out.vcf 2,4,5 | tr '\t\n' '  ')" = "859 TA T 862 A C " ]
check "--normalize: the old spelling" grep -q 'OLD_VARIANT=NC_001422.1:864:AA/A' n.out.vcf
vt=$shared/data/genomics/vcf/vt_normalize_chr20_IN.vcf.gz genome=$shared/data/genomics/genomes/human_GRCh37_chr20.fa.gz
if [ -e "$vt" ] && [ -e "$genome" ]; then
    cp "$genome" 20.fa.gz # BGZF; its index goes beside the copy
    "$dna" variants "$vt" -r 20.fa.gz -m "$model" --normalize --indels skip -o vt.vcf -q
    check "vt normalize's own test: 194 records alike" same <(fields vt.vcf 1-5) \
        <(gunzip -c "${vt/IN/OUT}" | grep -v '^#' | cut -f1-5)
    check "and what they were" same <(grep -o 'OLD_VARIANT=.*:.*/[ACGT]*' vt.vcf | cut -d';' -f1) \
        <(gunzip -c "${vt/IN/OUT}" | grep -o 'OLD_VARIANT=.*:.*/[ACGT]*')
    rm -f 20.fa.gz*
    for f in query.vcf.gz exac.vcf.gz nimhts_test.bcf; do
        check "$f as it is" exits 0 "$dna" variants "$shared/data/genomics/vcf/$f" -r p.fa -m "$model" -o real.vcf --missing-contig skip
        check "$f: all records, with a reason" [ "$(grep -c 'SM_REASON=' real.vcf)" = "$(grep -vc '^#' real.vcf)" ]
    done
else
    skip "no shared data: vt normalize and real VCFs"
fi

# ---- refused STATUS "words of the message" "what" ARGS...: ends with STATUS, says words on stderr, leaves nothing.
refused() {
    local want=$1 words=$2 what=$3
    shift 3
    check "$what ends with $want" exits "$want" "$dna" variants "$@"
    check "$what: says '$words'" has "$err" "$words"
    check "$what: nothing is left" clean
    rm -f out*
}
bad() { refused "$1" "$2" "$3" "${@:4}" -r p.fa -m "$model" -o out.vcf.gz; }
bad 74 "no-such.vcf: cannot be opened" "missing VCF" no-such.vcf
bad 2 "is a folder" "folder as input" .
: >empty.vcf
bad 65 "empty.vcf: is empty" "empty file" empty.vcf
bad 65 "p.fa: holds sequences" "FASTA as VCF" p.fa
head -3 p.vcf >h.vcf
bad 65 "h.vcf: the header is damaged" "no #CHROM line" h.vcf
head -c $(($(stat -c %s p.vcf) - 32)) p.vcf >s.vcf
bad 65 "s.vcf:25: 7 columns separated by tabs, expected 8" "VCF cut in a record" s.vcf
check "and a last line without end is warned of" has "$err" "the last line has no end"
sed 's/\t833\t/\tx833\t/' p.vcf >w.vcf
bad 65 "w.vcf:8" "position that is no number" w.vcf
{ head -6 p.vcf && printf 'NC_001422.1\t600\t.\tA\0\tC\t.\t.\t.\n'; } >z.vcf
bad 65 "z.vcf:7: holds a zero byte" "zero byte" z.vcf
"$dna" variants p.vcf -r p.fa -m "$model" -o g.vcf.gz --window 51 -q
head -c $(($(stat -c %s g.vcf.gz) - 28)) g.vcf.gz >g1.vcf.gz
bad 65 "end marker is missing" "BGZF without its end" g1.vcf.gz
head -c $(($(stat -c %s g.vcf.gz) - 60)) g.vcf.gz >g2.vcf.gz
bad 65 "g2.vcf.gz: " "truncated BGZF" g2.vcf.gz
head -c 700 p.bcf >b.bcf
bad 65 "b.bcf: " "truncated BCF" b.bcf
variants - -o out.vcf --window 51 <g1.vcf.gz 2>err.txt
check "BGZF without its end on standard input ends with 65" [ $? = 65 ]
check "and says so" has "$(cat err.txt)" "standard input: the BGZF end marker is missing"
check "and leaves nothing" clean
sed 's/NC_001422.1\t/NC_001422\t/' p.vcf >v.vcf
bad 65 "v.vcf:6: NC_001422:3: contig 'NC_001422' is not in p.fa, which calls it 'NC_001422.1': give --contig-map" "contig under another name" v.vcf
printf 'NC_001422\tNC_001422.1\n' >map
check "--contig-map" exits 0 "$dna" variants v.vcf -r p.fa -m "$model" -o v.out.vcf --contig-map map --window 101
check "--contig-map: the same scores" same <(fields v.out.vcf 8) <(fields p.out.vcf 8)
check "--contig-map: the VCF's names" [ "$(fields v.out.vcf 1 | sort -u)" = NC_001422 ]
printf 'NC_001422\tchr9\n' >mop
bad 65 "contig 'chr9' is not in p.fa" "contig map to nowhere" v.vcf --contig-map mop
printf 'one\n' >mop
bad 65 "mop:1: expected two names" "contig map of one column" v.vcf --contig-map mop
bad 74 "no-map" "missing contig map" v.vcf --contig-map no-map
sed 's/NC_001422.1\t833/other\t833/' p.vcf >o.vcf
bad 65 "contig 'other' is not in p.fa, which holds NC_001422.1" "contig that is nowhere" o.vcf
check "--missing-contig skip" exits 0 "$dna" variants o.vcf -r p.fa -m "$model" -o o.out.vcf --missing-contig skip --window 51
check "--missing-contig skip: a reason" grep -q 'SM_REASON=no_contig' o.out.vcf
refused 65 "BCF cannot hold" "undeclared contig into BCF" o.vcf -r p.fa -m "$model" -o out.bcf --missing-contig skip
sed 's/\t587\t\(.*\)G\tA/\t587\t\1C\tA/' p.vcf >m.vcf
bad 65 "m.vcf:7: NC_001422.1:587: REF is 'C' but p.fa has 'G' there" "REF that the reference does not have" m.vcf
check "--ref-mismatch skip" exits 0 "$dna" variants m.vcf -r p.fa -m "$model" -o m.out.vcf --ref-mismatch skip --window 51
check "--ref-mismatch skip: a reason" grep -q 'SM_REASON=ref_mismatch' m.out.vcf
check "--ref-mismatch skip: counted" has "$err" "records whose REF the reference does not have, passed over: 1"
sed 's/\t5386\t/\t5387\t/' p.vcf >e.vcf
bad 65 "reaches outside the contig, which has 5386 bases" "position behind the end" e.vcf
printf 'NC_001422.1\t100\t.\t%s\t%s\t.\t.\t.\n' "$(cut -c100-400 letters)" "$(cut -c100 letters)" | cat <(head -5 p.vcf) - >long.vcf
check "REF longer than the window" exits 0 "$dna" variants long.vcf -r p.fa -m "$model" -o long.out.vcf --window 100
check "is passed through with a reason" grep -q 'SM_REASON=longer_than_half_the_window' long.out.vcf
printf '##INFO=<ID=SM_LLR,Number=1,Type=Integer,Description="x">\n' | cat <(head -2 p.vcf) - <(tail -n +3 p.vcf) >d.vcf
bad 2 "the VCF declares INFO/SM_LLR as something else; give another --prefix" "field of another kind" d.vcf

bad 2 "--score llr,foo: 'foo' is none of" "unknown score" p.vcf --score llr,foo
bad 2 "--score is empty" "no score" p.vcf --score ''
bad 2 "--prefix 1x" "bad prefix" p.vcf --prefix 1x
bad 2 "sees both sides" "causal scheme of a bidirectional model" p.vcf --scheme causal
refused 2 "which genome" "no reference" p.vcf -m "$model" -o out.vcf
refused 2 "which model" "no model" p.vcf -r p.fa -o out.vcf
refused 2 "ends in .vcf, .vcf.gz, .bcf or .tsv" "unknown ending" p.vcf -r p.fa -m "$model" -o out.txt
refused 74 "no-such.fa" "missing reference" p.vcf -r no-such.fa -m "$model" -o out.vcf
gzip -c p.fa >plain.fa.gz
refused 1 "plain.fa.gz: is plain gzip" "reference that is plain gzip" p.vcf -r plain.fa.gz -m "$model" -o out.vcf
check "is told how to be made one" has "$err" "bgzip"
refused 74 "folder does not exist" "missing output folder" p.vcf -r p.fa -m "$model" -o no/out.vcf
for o in p.vcf p.fa; do
    refused 2 "is an input too" "output over $o" p.vcf -r p.fa -m "$model" -o $o --format vcf
done
check "the inputs are as they were" same p.vcf "$top/genomics/data/phix174.vcf"

# ---- outputs that cannot be written, and a run that is stopped
if [ -e /dev/full ]; then
    refused 74 "/dev/full: cannot be written: No space left" "full disk" p.vcf -r p.fa -m "$model" -o /dev/full --window 51
    variants p.vcf --window 51 >/dev/full 2>err.txt
    check "full disk under standard output ends with 74" [ $? = 74 ]
fi
awk -F'\t' -v OFS='\t' '/^#/ { print; next } { for (i = 0; i < 3000; i++) print $1, 4000 + i % 1300, ".", "N", "<DEL>", ".", ".", "END=5000"; exit }' p.vcf >many.vcf
for f in vcf vcf.gz bcf tsv; do
    (trap '' XFSZ && ulimit -f 4 && exec "$dna" variants many.vcf -r p.fa -m "$model" -o out.$f --prefix A_LONG_PREFIX) 2>err.txt
    check "$f: file-size limit ends with 74" [ $? = 74 ]
    check "$f: the message names the output" has "$(cat err.txt)" "out.$f"
    check "$f: nothing is left" clean
done
awk -F'\t' -v OFS='\t' '/^#/ { print; next } $2 == 587 { for (i = 0; i < 2000; i++) print $1, $2, $3, $4, $5, $6, $7, $8 }' p.vcf >slow.vcf
"$dna" variants slow.vcf -r p.fa -m "$model" -o out.vcf.gz --score pll --mask-stride 0 --window 2000 2>err.txt &
pid=$!
for _ in $(seq 100); do ls out*.tmp.* >/dev/null 2>&1 && break || sleep 0.1; done
kill -TERM $pid
wait $pid
check "stopped by a signal ends with 75" [ $? = 75 ]
check "stopped by a signal: nothing is left" clean
finish
