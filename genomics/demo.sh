#!/usr/bin/env bash
# make demo: embeds the genome of phage phiX174 with the bundled model and says what was written and how to look at it.
# Everything it writes is under build/demo.
set -eu
cd "$(dirname "$0")/.."
genome=genomics/data/phix174.fa model=genomics/models/demo out=build/demo
mkdir -p "$out"
if grep -q 'not trained' $model/README.md; then
    cat <<'TXT'
The model: 4 layers of Caduceus-PS with seeded random weights. It is NOT trained: the numbers below show that the machinery
works, they mean nothing to a biologist. A released checkpoint, in a folder or in your Hugging Face cache, goes in its place.

TXT
fi
show() { # prints a command, then runs it
    printf '$ %s\n' "$*"
    "$@"
    echo
}
show bin/dna-mamba info "$model"
show bin/dna-mamba embed $genome -m "$model" -o "$out/phix174.npy" --pool none
show bin/dna-mamba embed $genome -m "$model" -o "$out/phix174.bins.tsv" --bin 500
echo 'Bins of 500 bases, the first numbers of each:'
cut -f1-3,9-12 "$out/phix174.bins.tsv" | sed -n '1,5p'
printf '\nWritten to %s:\n' "$out"
(cd "$out" && ls -l phix174* | awk '{ printf "  %-28s %9d bytes\n", $NF, $5 }')
cat <<TXT

Look at it:
  less -S $out/phix174.bins.tsv                             a row for each bin of 500 bases
  cat $out/phix174.npy.index.tsv                            which rows are which bases
  cat $out/phix174.npy.run.json                             how it was made: options, digests, versions
  python3 -c "import numpy; print(numpy.load('$out/phix174.npy').shape)"
Next: bin/dna-mamba embed --help
TXT
