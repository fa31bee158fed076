/* seqmamba: runs pipelines; checks models against recorded results, records such, makes fresh models. */
#include "pipelines/commands.h"

int main(int argc, char **argv) {
    const mb_verb verbs[] = {
        pipe_check_verb,
        pipe_plan_verb,
        pipe_run_verb,
        pipe_submit_verb,
        pipe_gather_verb,
        pipe_status_verb,
        pipe_report_verb,
        pipe_schema_verb,
        pipe_init_verb,
        {.name = "verify",
         .summary = "compare a model with recorded inputs and outputs",
         .usage = "DIR [options]",
         .details =
             "Loads DIR/config.json and the weights beside it, runs the inputs recorded in DIR/io.safetensors and "
             "prints, for each recorded output, the largest error and where it is. Ends with 0 when all are within "
             "--tol, with 1 when not.\n"
             "\n"
             "io.safetensors holds input_ids (batch, length) and any of hidden.0 .. hidden.N (the original's "
             "hidden_states), last_hidden_state, logits, loss (with labels for a masked model, next-token otherwise) "
             "and weighted_loss (with loss_weights). Record them with the original program and check your export:\n"
             "\n"
             "  seqmamba verify my_export\n"
             "  seqmamba verify my_export --precision bf16 --tol 0.05",
         .options = verify_options,
         .values_size = verify_values_size(),
         .min_args = 1,
         .max_args = 1,
         .args_role = MB_ROLE_MODEL,
         .run = verify_cmd},
        {.name = "create",
         .summary = "make a freshly initialised model from a config.json",
         .usage = "CONFIG.json -o DIR [options]",
         .details =
             "Writes DIR/config.json and DIR/model.safetensors with the original's random initialisation from "
             "--seed: the start of a training run, or something to measure speed with. The same seed gives the same "
             "bytes everywhere.\n"
             "\n"
             "  seqmamba create genomics/models/multispecies/config.json -o build/fresh --seed 7",
         .options = create_options,
         .values_size = create_values_size(),
         .min_args = 1,
         .max_args = 1,
         .run = create_cmd},
        {.name = "record",
         .summary = "record what a model computes, for others to verify",
         .usage = "MODEL -o FILE [options]",
         .details =
             "Draws tokens from --seed, runs the model and writes input_ids, hidden.0 .. hidden.N, last_hidden_state and "
             "logits as safetensors: what another program, machine or precision can be held against, here by `seqmamba "
             "verify`, in Python by loading the same folder and the same inputs. --device ref records the reference with "
             "double-precision sums.\n"
             "\n"
             "  seqmamba record genomics/models/multispecies -o build/demo-io.safetensors --device ref\n"
             "  seqmamba verify genomics/models/multispecies --io build/demo-io.safetensors",
         .options = record_options,
         .values_size = record_values_size(),
         .min_args = 1,
         .max_args = 1,
         .args_role = MB_ROLE_MODEL,
         .run = record_cmd},
        {0}};
    return mb_cli_main("seqmamba", "state-space models for sequences: pipelines, checks of models", verbs, argc, argv);
}
