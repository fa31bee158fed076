#!/usr/bin/env bash
# dna-mamba and everything that can be wrong with what it is given: an exit code, one sentence with the place, no output.
. "$(dirname "$0")/lib.sh"
need_program dna-mamba
dna=$bin/dna-mamba model=$top/tests/data/seeded
mkdir "$tmp/w" && cd "$tmp/w" || exit 1
cp "$top/genomics/data/phix174.fa" p.fa
cp "$top/genomics/data/lambda.fa.gz" l.fa.gz
for i in 1 2 3 4; do printf '>few%d\nACGTACGT\n' $i; done | tee few.fa | sed 's/few/many/' >many.fa
clean() { [ -z "$(ls | grep -E '^out|partial|\.tmp\.' || :)" ]; }

# refused STATUS "words of the message" "what" ARGS...: ends with STATUS, says words on stderr, leaves nothing.
refused() {
    local want=$1 words=$2 what=$3
    shift 3
    check "$what ends with $want" exits "$want" "$dna" "$@"
    check "$what: says '$words'" has "$err" "$words"
    check "$what: nothing is left" clean
    rm -f out*
}
embed() { refused "$1" "$2" "$3" embed "${@:4}" -m "$model" -o out.npy; }

embed 74 "no-such.fa: cannot be opened" "missing FASTA" no-such.fa
: >empty.fa
embed 65 "empty.fa: holds no sequence" "empty file" empty.fa
printf '>a\nACGT\n>b\n>c\nAC\n' >e.fa
embed 65 "e.fa:3: record 2 'b': has no bases" "empty record" e.fa
printf 'ACGT\n' >n.fa
embed 65 "n.fa:1:" "no header" n.fa
printf '>a\nACGT\n>b\nACXT\nAC!T\n' >x.fa
embed 65 "x.fa:3: record 2 'b': base 7: '!'" "bad letter" x.fa
printf '>a\nAC-GT\n' >g.fa
embed 65 "--gaps n" "gap" g.fa
embed 65 "ambiguity" "IUPAC code refused" x.fa --ambiguous error
printf '>a\nACGT\n>a\nACGT\n' >d.fa
embed 65 "d.fa:3: record 2 'a': the name came before" "name given twice" d.fa
tr '\n' '\r' <p.fa >cr.fa
embed 65 "cr.fa:1: a carriage return inside the header" "lines ending in CR alone" cr.fa
embed 65 "CR alone" "regions of lines ending in CR alone" cr.fa --regions NC_001422.1:1-10
head -c 5000 l.fa.gz >cut.fa.gz
embed 65 "cut short" "truncated BGZF" cut.fa.gz
head -c $(($(stat -c %s l.fa.gz) - 28)) l.fa.gz >noeof.fa.gz
embed 65 "end marker is missing" "BGZF without its end" noeof.fa.gz
gzip -dc l.fa.gz | gzip >plain.fa.gz
head -c 9000 plain.fa.gz >cutp.fa.gz
embed 65 "cut short" "truncated gzip" cutp.fa.gz
cp l.fa.gz flip.fa.gz && printf '\xff' | dd of=flip.fa.gz bs=1 seek=6000 conv=notrunc 2>/dev/null
embed 65 "flip.fa.gz" "damaged BGZF" flip.fa.gz
printf '@r\nACGT\n+\nII' >q.fq
embed 65 "cut short" "FASTQ cut short" q.fq
printf 'BAM\1nonsense' >bad.bam
embed 65 "bad.bam" "corrupt BAM" bad.bam
embed 2 "is a folder" "folder as input" .

embed 2 "--regions is empty" "empty region" p.fa --regions ""
embed 2 "--reference is empty" "empty reference" p.fa --reference ""
embed 74 "no-such.bed" "missing BED" p.fa --regions no-such.bed
printf '@HD\tVN:1.6\nr\t4\t*\t0\t0\t*\t*\t0\t0\tACGT\t*\n' >r.sam
embed 74 "no-such-reference.fa" "missing reference" r.sam --reference no-such-reference.fa
if [ "$(id -u)" != 0 ]; then # root may read everything
    cp p.fa locked.fa && chmod 000 locked.fa
    embed 74 "locked.fa: cannot be opened" "unreadable FASTA" locked.fa
fi
embed 65 "NC_001422.1" "unknown contig" p.fa --regions chr1:1-10
embed 65 "outside" "region outside" p.fa --regions NC_001422.1:5000-5387
printf 'NC_001422.1\t0\t100\nNC_001422.1\t5000\t6000\n' >out-of.bed && mv out-of.bed r.bed
embed 65 "r.bed:2:" "BED line outside" p.fa --regions r.bed
printf 'NC_001422.1\t10\t5\n' >r.bed
embed 65 "r.bed:1:" "BED line backwards" p.fa --regions r.bed
embed 1 "bgzip" "regions of plain gzip" plain.fa.gz --regions NC_001416.1:1-10
printf 'NC_001422.1\t5386\t60\t0\t61\n' >p.fa.fai
embed 65 "p.fa.fai:1:" "corrupt FAI" p.fa --regions NC_001422.1:1-10
rm p.fa.fai

# An index of what the file was: wrong bases would come without a word. The date does not tell.
for z in no $(command -v bgzip >/dev/null && echo yes); do
    { printf '>new\nACGTACGTACGTACGTACGTAAAAAAACACAC\n' && cat "$top/genomics/data/phix174.fa"; } >was.fa
    cp "$top/genomics/data/phix174.fa" is.fa
    f=s.fa
    [ $z = yes ] && f=s.fa.gz
    rm -f s.fa*
    if [ $z = yes ]; then bgzip -c was.fa >$f; else cp was.fa $f; fi
    check "an index is built (compressed: $z)" exits 0 "$dna" embed $f -m "$model" -o - --regions NC_001422.1:1-10
    if [ $z = yes ]; then bgzip -c is.fa >$f; else cp is.fa $f; fi
    touch -d 2001-01-01 $f
    embed 65 "$f.fai:1: " "index of what the file was (compressed: $z)" $f --regions NC_001422.1:1-10
done

# Outputs that cannot be written.
refused 74 "folder does not exist" "missing output folder" embed p.fa -m "$model" -o no/such/out.npy
mkdir folder
refused 74 "is a folder" "folder as output" embed p.fa -m "$model" -o folder --format npy
if [ -e /dev/full ]; then
    refused 74 "No space left" "full disk" embed p.fa -m "$model" -o /dev/full --format tsv
    "$dna" embed p.fa -m "$model" -o - >/dev/full 2>err.txt
    check "full disk under standard output ends with 74" [ $? = 74 ]
    "$dna" score p.fa -m "$model" >/dev/full 2>err.txt
    check "score: full disk under standard output ends with 74" [ $? = 74 ]
fi
(ulimit -f 200 && exec "$dna" embed p.fa -m "$model" -o out.npy --pool none) 2>err.txt
check "file-size limit ends with 74" [ $? = 74 ]
check "file-size limit: the message names the output" has "$(cat err.txt)" "out.npy"
check "file-size limit: nothing is left" clean
(ulimit -f 20 && exec "$dna" embed p.fa -m "$model" -o out.h5 --pool none) 2>err.txt
check "HDF5: file-size limit ends with 74" [ $? = 74 ]
check "HDF5: nothing is left" clean

# An output that is an input, or no place for the format.
mkdir own && cp "$top/genomics/data/phix174.fa" own/g.fa && ln -s g.fa own/link.tsv
for o in own/g.fa own/link.tsv own/../own/g.fa; do
    refused 2 "is an input too" "output $o over its input" embed own/g.fa -m "$model" -o "$o" --format tsv
    refused 2 "is an input too" "score: output $o over its input" score own/g.fa -m "$model" -o "$o"
done
refused 2 "is an input too" "per-base output over the input" score own/g.fa -m "$model" -o out.tsv --per-base own/g.fa
refused 2 "is the output too" "two outputs of one name" score own/g.fa -m "$model" -o out.tsv --per-base out.tsv
printf 'NC_001422.1\t0\t9\n' >own/r.bed
refused 2 "is an input too" "output over the BED file" embed own/g.fa -m "$model" -o own/r.bed --format tsv --regions own/r.bed
check "the inputs are as they were" cmp own/g.fa "$top/genomics/data/phix174.fa"
for f in npy hdf5; do
    refused 2 "only TSV" "$f into a device" embed p.fa -m "$model" -o /dev/null --format "$f"
done
refused 2 "--gzip is for HDF5" "--gzip without HDF5" embed p.fa -m "$model" -o out.npy --gzip 3
refused 74 "folder does not exist" "dry run into a missing folder" embed p.fa -m "$model" -o no/such/out.npy --dry-run
"$dna" embed p.fa -m "$model" -q --format tsv -o /dev/stdout | cat >through.tsv
"$dna" embed p.fa -m "$model" -q -o - >straight.tsv
check "/dev/stdout as a pipe is standard output" cmp through.tsv straight.tsv

# Models.
cp -r "$model" bad && head -c 300000 "$model/model.safetensors" >bad/model.safetensors
refused 65 "model.safetensors" "truncated weights" embed p.fa -m bad -o out.npy
cp "$model/model.safetensors" bad/ && sed 's/"d_model": *64/"d_model": 32/' "$model/config.json" >bad/config.json
refused 65 "bad" "weights of another shape" embed p.fa -m bad -o out.npy
printf '{"model_type": "caduceus"' >bad/config.json
refused 65 "line 1" "broken config.json" embed p.fa -m bad -o out.npy
sed 's/"d_conv": *4/"d_conv": 99/' "$model/config.json" >bad/config.json
refused 65 "ssm_cfg.d_conv: 99 is outside" "config value out of range" embed p.fa -m bad -o out.npy
sed 's/"d_conv": *4/"d_conv": "4"/' "$model/config.json" >bad/config.json
refused 65 "ssm_cfg.d_conv: is not a whole number" "config value of another type" embed p.fa -m bad -o out.npy
refused 74 "no/such/model" "missing model" embed p.fa -m no/such/model -o out.npy
refused 2 "-m" "no model named" embed p.fa -o out.npy
sed 's/"vocab_size": *16/"vocab_size": 104/; s/"rcps": *true/"rcps": false/; s/"complement_map": *{[^}]*}/"complement_map": null/' "$model/config.json" |
    tr -d '\n' >c104.json
if "$bin/seqmamba" create c104.json -o lm >/dev/null 2>&1; then
    refused 1 "104" "a model of other letters" embed p.fa -m lm -o out.npy
else
    skip "no model of other letters could be made"
fi

# An index from before the last change of its BAM: the run goes on, with a warning.
bam=$shared/data/genomics/bam/nanopore.bam
if [ -e "$bam" ]; then
    cp "$bam" old.bam && cp "$bam.bai" old.bam.bai
    touch -d '2001-01-01' old.bam.bai
    check "an old index is no error" exits 0 "$dna" embed old.bam -m "$model" -o out.tsv --regions LXWQ01001294.1:1-500
    check "an old index is warned of" has "$err" "old.bam.bai is older than old.bam"
    rm -f out*
else
    skip "no shared data: an old index of a BAM"
fi

# What is odd, and goes on with a word: keys nobody reads, layers in another order, too little memory.
sed 's/"dt_scale"/"dt_scal"/; s/"n_residuals_per_layer"/"residuals"/' "$model/config.json" >bad/config.json
cp "$model/model.safetensors" bad/
check "unknown keys in the sections of config.json are no error" exits 0 "$dna" embed p.fa -m bad -o out.tsv
check "but named" has "$err" 'config.json: unknown key "ssm_cfg.dt_scal" is not used; did you mean "dt_scale"?'
check "each of them" has "$err" 'unknown key "initializer_cfg.residuals"'
check "the bundled model has none" exits 0 "$dna" embed p.fa -m "$model" -o out.tsv
check "and nothing is said" [ "$(grep -c warning <<<"$err")" = 0 ]
check "--layer in another order is no error" exits 0 "$dna" embed p.fa -m "$model" -o out.tsv --layer last,0,0
check "but said" has "$err" "--layer last,0,0: layers are written in ascending order and once each: 0,4"
check "--layer in order" exits 0 "$dna" embed p.fa -m "$model" -o out.tsv --layer 0,last
check "and nothing is said" [ "$(grep -c warning <<<"$err")" = 0 ]
check "--memory below the least" exits 0 "$dna" embed p.fa many.fa -m "$model" -o out.tsv --memory 1 --batch 100
check "is said once" [ "$(grep -c 'warning: --memory 1 B is less than the ' <<<"$err")" = 1 ]
check "score: --memory below the least" exits 0 "$dna" score few.fa -m "$model" -o out.tsv --memory 1
check "is said once" [ "$(grep -c 'warning: --memory 1 B is less than the ' <<<"$err")" = 1 ]
check "info: --memory below the least" exits 0 "$dna" info "$model" --memory 1 --length 1000
check "is said once" [ "$(grep -c 'warning: --memory 1 B is less than the ' <<<"$err")" = 1 ]
check "train: --memory below the least" exits 0 "$dna" train l.fa.gz -o trained --memory 100k --block 2k --valid 0.2 --window 512 --steps 1 --dry-run
check "is said once" [ "$(grep -c 'warning: --memory 100 KiB is less than the ' <<<"$err")" = 1 ]
rm -rf out* bad

# Configurations.
printf 'pool: mean\npoool: max\nbin: -3\n' >c.yaml
refused 2 "c.yaml:2" "unknown key in a configuration" embed p.fa -m "$model" -o out.npy --config c.yaml
refused 2 "did you mean" "misspelt option" embed p.fa -m "$model" -o out.npy --poool mean
refused 2 ".npy, .h5" "unknown ending" embed p.fa -m "$model" -o out.xyz
finish
