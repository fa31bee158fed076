#!/usr/bin/env bash
# seqmamba from outside: create, record, verify, and that verify notices a wrong weight; recommenders too.
. "$(dirname "$0")/lib.sh"
need_program seqmamba
demo=tests/data/seeded
s=$bin/seqmamba
check "create" exits 0 "$s" create $demo/config.json -o "$tmp/a" --seed 1
check "another seed" exits 0 "$s" create $demo/config.json -o "$tmp/b" --seed 2
check "the same seed gives the bundled bytes" cmp -s "$tmp/a/model.safetensors" $demo/model.safetensors
check "create overwrites nothing" exits 1 "$s" create $demo/config.json -o "$tmp/a" --seed 3
check "record by the reference" exits 0 "$s" record $demo -o "$tmp/io.safetensors" --device ref --length 40
check "verify against it" exits 0 "$s" verify $demo --io "$tmp/io.safetensors"
check "the bundled model computes what an independent program recorded" exits 0 "$s" verify genomics/models/multispecies
check "with both of its tensors" has "$out" "2 tensors agree"
check "record by the reference again" exits 0 "$s" record $demo -o "$tmp/io2.safetensors" --device ref --length 40
check "the same bytes" cmp -s "$tmp/io.safetensors" "$tmp/io2.safetensors"
check "verify again" exits 0 "$s" verify $demo --io "$tmp/io.safetensors"
check "all tensors are compared" has "$out" "6 tensors agree"
check "another model is told" exits 1 "$s" verify "$tmp/b" --io "$tmp/io.safetensors"
check "and where" has "$out" "beyond --tol"
check "record overwrites nothing" exits 1 "$s" record $demo -o "$tmp/io.safetensors"
check "a dry run writes nothing" exits 0 "$s" record $demo -o "$tmp/none.safetensors" --dry-run
check "so nothing is there" test ! -e "$tmp/none.safetensors"
check "an output is asked for" exits 2 "$s" record $demo
check "a folder that is not there" exits 74 "$s" record $demo -o "$tmp/no/folder/io.safetensors"
check "nothing to compare with" exits 74 "$s" verify "$tmp/a"
head -c 300 "$tmp/io.safetensors" >"$tmp/cut.safetensors"
check "a cut file is refused" exits 65 "$s" verify $demo --io "$tmp/cut.safetensors"
check "--length 1 is refused" exits 2 "$s" record $demo -o "$tmp/x.safetensors" --length 1

# A recommender of ours, recorded and verified like any model; item histories as Mamba4Rec's original recorded them.
echo '{"model_type": "mamba4rec", "hidden_size": 16, "num_layers": 2, "n_items": 40, "init": "mamba"}' >"$tmp/rec.json"
check "create a Mamba4Rec" exits 0 "$s" create "$tmp/rec.json" -o "$tmp/rec" --seed 1
check "and says what it is" has "$out" "Mamba4Rec, 2 layers of width 16"
check "record it" exits 0 "$s" record "$tmp/rec" -o "$tmp/rec_io.safetensors" --device ref --length 40
check "verify it" exits 0 "$s" verify "$tmp/rec" --io "$tmp/rec_io.safetensors"
for golden in mamba4rec_1layer_ce mamba4rec_1layer_bpr mamba4rec_2layer_ce; do
    [ -d "$shared/golden/$golden" ] || { skip "no shared data: $golden"; continue; }
    check "$golden" exits 0 "$s" verify "$shared/golden/$golden"
    check "its scores, rows and loss" has "$out" "3 tensors agree"
    check "$golden on another model" exits 65 "$s" verify "$tmp/rec" --io "$shared/golden/$golden/io.safetensors"
    check "is told" has "$err" "is outside 0..39"
done
finish
