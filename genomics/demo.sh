#!/usr/bin/env bash
# make demo: runs the bundled model over the genome of phage phiX174, which it never saw in training, and says what was written and
# how to look at it. Everything it writes is under build/demo, or the folder given.
set -eu
cd "$(dirname "$0")/.."
genome=genomics/data/phix174.fa model=genomics/models/multispecies out=${1:-build/demo} bin=${SEQMAMBA_BIN:-bin}
mkdir -p "$out"
show() { # prints a command, then runs it
    printf '$ %s\n' "$*"
    "$@"
    echo
}
cat <<'TXT'
The model: a small RC-equivariant Caduceus, trained on E. coli, yeast, C. elegans, P. falciparum and human chromosome 20.
Its card: genomics/models/multispecies/README.md

TXT
show "$bin/dna-mamba" info $model
echo 'Embeddings: a row of numbers for each base, and for each 500 bases.'
show "$bin/dna-mamba" embed $genome -m $model -o $out/phix174.npy --pool none
show "$bin/dna-mamba" embed $genome -m $model -o $out/phix174.bins.tsv --bin 500
cut -f1-3,9-12 $out/phix174.bins.tsv | sed -n '1,4p'

printf '\nDoes it know real sequence from nonsense? The genome, and the same letters read backwards (not complemented):\n'
{
    cat $genome
    echo '>backwards'
    grep -v '^>' $genome | tr -d '\n' | rev | fold -w 70
    echo
} >$out/both.fa
show "$bin/dna-mamba" score $out/both.fa -m $model -o $out/likelihood.tsv --report $out/likelihood.html --quiet
cut -f1,3,11,12 $out/likelihood.tsv
printf '\nEvery base of a promoter of phage lambda changed to every other:\n'
show "$bin/dna-mamba" ism genomics/data/lambda.fa.gz -m $model --regions NC_001416.1:37,976-38,035 -o $out/promoter --quiet ||
    echo '(no picture: this build has no cairo)'

printf 'Written to %s:\n' $out
(cd $out && ls -l phix174* likelihood* promoter* | awk '{ printf "  %-28s %9d bytes\n", $NF, $5 }')
cat <<TXT

Look at it:
  less -S $out/phix174.bins.tsv                             a row for each bin of 500 bases
  cat $out/phix174.npy.index.tsv                            which rows are which bases
  cat $out/phix174.npy.run.json                             how it was made: options, digests, versions
  xdg-open $out/likelihood.html                             a page for people
  xdg-open $out/promoter.svg                                which bases the model holds to
  python3 -c "import numpy; print(numpy.load('$out/phix174.npy').shape)"
Next: bin/dna-mamba --help, README.md
TXT
