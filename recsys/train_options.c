/* What `recmamba train` can be told. Defaults: Mamba4Rec's (Liu et al. 2024, arXiv 2403.03900, and its code), but for
 * the batches, which are windows answered at every row instead of padded prefixes. */
#include "core/schedule.h"
#include "recsys/fit.h"
#include "recsys/train_values.h"

#define V rec_train_values
#define OPTION(KEY, TYPE, ...)                                                                                         \
    { .key = #KEY, .type = MB_OPT_##TYPE, .offset = offsetof(V, KEY), __VA_ARGS__ }
const mb_option rec_train_options[] = {
    OPTION(model, STRING, .letter = 'm', .def = "mamba4rec", .meta = "PRESET|CONFIG|FOLDER",
           .help =
               "What is trained. A preset, perhaps with sizes of its own, as in mamba4rec:d128:n4:s16 (width, layers, "
               "states; the presets are listed above); a config.json, drawn afresh for the log's items; or a "
               "folder of recmamba train, trained further on a log of the same items."),
    OPTION(output, STRING, .letter = 'o', .meta = "FOLDER",
           .help = "Where everything goes: config.json, model.safetensors and items.txt at the end, checkpoints/, "
                   "metrics.jsonl, event files for TensorBoard, report.html, run.json."),
    OPTION(dropout, FLOAT, .def = "-1", .min = -1, .max = 0.999, .meta = "P",
           .help =
               "Share of the embeddings and of the layers' outputs that is left out in training. -1: as the model has "
               "it; 0.2 for the presets."),
    OPTION(init, CHOICE, .def = "original", .choices = "original|mamba",
           .help = "How weights are drawn. original: as the model's own code does (Mamba4Rec's draws over the careful "
                   "start of Mamba's step sizes). mamba: mixers as mamba_ssm draws them."),
    OPTION(residual, CHOICE, .def = "auto", .choices = "auto|always",
           .help =
               "mamba4rec: a residual around the mixer where there are several layers, as in the original, or always."),
    REC_LOAD_OPTIONS(V, load),
    REC_SPLIT_OPTIONS(V, split),
    OPTION(mode, CHOICE, .def = "positions", .choices = REC_BATCH_MODE_CHOICES,
           .help = "positions: a window is read once and answered at every event, without padding. windows: RecBole's "
                   "augmentation, a window of its own for each event, answered at its end; the same targets for many "
                   "times the work."),
    OPTION(window, INT, .def = "200", .max = 1e9, .meta = "N",
           .help = "Events of a window at most, and of a history when scoring. 0: as long as histories are."),
    OPTION(overlap, INT, .def = "0", .max = 1e9, .meta = "N",
           .help = "positions: each window but a user's earliest begins with N events that are read only, so that its "
                   "first answers have a history too."),
    OPTION(batch, INT, .def = "0", .max = 1e9, .meta = "N", .help = "Windows of a step. 0: by --batch-positions."),
    OPTION(batch_positions, INT, .def = "8192", .min = 1, .max = 1e12, .meta = "N",
           .help = "A step has about so many targets; the windows of a step are counted so that it has on average."),
    OPTION(micro_batches, INT, .def = "0", .max = 1e6, .meta = "N",
           .help = "The windows of a step are worked off in so many parts, one after the other, to save memory; the "
                   "result is that of one part, up to rounding. 0: parts of about 65536 events."),
    OPTION(loss, CHOICE, .def = "softmax", .choices = REC_LOSS_CHOICES,
           .help = "softmax: cross-entropy over all items. sampled: over the target and --negatives, each weighted by "
                   "how rarely it is drawn. bpr: pairwise ranking (RecBole's form). gbce: binary cross-entropy with "
                   "gSASRec's calibration. bce: binary cross-entropy (RecMamba, SASRec)."),
    OPTION(pad_in_softmax, BOOL, .def = "true", .help = "softmax: the pad is one of the classes, as in Mamba4Rec."),
    OPTION(negatives, INT, .def = "0", .max = 1e6, .meta = "N",
           .help = "Negatives of each target. 0: 256 for sampled and gbce, 1 for bpr and bce. For bpr and bce they are "
                   "none of the user's own training items."),
    OPTION(draw, CHOICE, .def = "uniform", .choices = REC_DRAW_CHOICES,
           .help = "Negatives are drawn uniformly or in proportion to their training events."),
    OPTION(gbce_t, FLOAT, .def = "0.75", .max = 1, .meta = "T",
           .help = "gbce: 0 leaves binary cross-entropy as it is, 1 undoes all of its overconfidence."),
    OPTION(epochs, INT, .def = "200", .max = 1e9, .meta = "N", .help = "Passes over the training events at most."),
    OPTION(steps, INT, .def = "0", .max = 1e12, .meta = "N", .help = "Updates of the weights at most. 0: by --epochs."),
    OPTION(rate, FLOAT, .def = "1e-3", .max = 100, .meta = "R", .help = "Largest learning rate."),
    OPTION(rate_least, FLOAT, .def = "0", .max = 100, .meta = "R", .help = "A falling schedule ends at this one."),
    OPTION(warmup, FLOAT, .def = "0", .max = 1, .meta = "SHARE",
           .help = "Share of the steps in which the rate rises linearly from 0."),
    OPTION(schedule, CHOICE, .def = "constant", .choices = "cosine|linear|constant",
           .help = "How the rate falls after the warm-up."),
    OPTION(beta1, FLOAT, .def = "0.9", .max = 0.9999, .meta = "B", .help = "Adam: decay of the first moment."),
    OPTION(beta2, FLOAT, .def = "0.999", .max = 0.999999, .meta = "B", .help = "Adam: decay of the second moment."),
    OPTION(epsilon, FLOAT, .def = "1e-8", .min = 1e-20, .max = 1, .meta = "E", .help = "Adam: its epsilon."),
    OPTION(weight_decay, FLOAT, .def = "0", .max = 10, .meta = "W",
           .help = "Decoupled decay of matrices; never of biases, norms, the embedding, A_log, D."),
    OPTION(clip, FLOAT, .def = "0", .max = 1e9, .meta = "NORM",
           .help = "Gradients are scaled down to this norm, over all parameters. 0: never."),
    OPTION(average, FLOAT, .def = "0", .max = 0.99999, .meta = "D",
           .help = "Evaluate and export a moving average of the weights with this decay. 0: the weights themselves."),
    OPTION(precision, CHOICE, .def = "fp32", .choices = "fp32|bf16",
           .help = "Precision of weights and inputs in matrix products; sums, states, the optimiser are always fp32."),
    OPTION(log_every, INT, .def = "50", .max = 1e9, .meta = "N", .help = "Steps between lines of metrics; 0: none."),
    OPTION(evaluate_every, FLOAT, .def = "1", .max = 1e9, .meta = "X",
           .help = "Epochs (or parts of one) between evaluations on the validation events; 0: at the end only."),
    OPTION(judge, CHOICE, .def = "ndcg", .choices = REC_JUDGE_CHOICES,
           .help =
               "What evaluations are judged by: NDCG, hit rate or reciprocal rank at 10 over all items, the history "
               "not masked, or the cross-entropy."),
    OPTION(patience, INT, .def = "10", .max = 1e9, .meta = "N",
           .help = "End after so many evaluations in a row without a better one; 0: never."),
    OPTION(early_stop, CHOICE, .def = "exact", .choices = "exact|recbole",
           .help =
               "exact: figures are compared as they are, and better means better. recbole: as RecBole does, rounded "
               "to four decimals, an equal one is a better one, and the run ends after one evaluation more."),
    OPTION(save_every, FLOAT, .def = "1", .max = 1e9, .meta = "X",
           .help = "Epochs (or parts of one) between checkpoints; 0: at the end."),
    OPTION(keep, INT, .def = "2", .min = 1, .max = 1e6, .meta = "N",
           .help = "Newest checkpoints kept, besides the best."),
    OPTION(stop_loss, FLOAT, .def = "0", .max = 1e9, .meta = "L",
           .help = "A mean loss beyond this ends the run as exploding; 0: only one that is no number does."),
    OPTION(max_minutes, FLOAT, .def = "0", .max = 1e9, .meta = "M",
           .help = "Stop with a checkpoint and exit code 75 after so long, for queues with a time limit; 0: never."),
    OPTION(resume, CHOICE, .def = "auto", .choices = "auto|never",
           .help = "auto: go on from the newest whole checkpoint of the output folder, if there is one. never: the "
                   "folder must hold none."),
    OPTION(tensorboard, BOOL, .def = "true", .help = "Write event files for TensorBoard."),
    OPTION(floors, BOOL, .def = "true",
           .help = "Also judge popularity, Markov-1 and ItemKNN on the same events, for the table at the end."),
    {0}};
#undef OPTION
#undef V

const char rec_train_details[] =
    "Trains a recommender on a log of events: who met what, in order. The model reads a user's events from left to right "
    "and learns to tell the next one. What it is trained on is decided by (seed, step) alone, so a run that was stopped "
    "- by a signal (exit code 75), a crash, kill -9 - goes on with the same command from its last checkpoint and ends "
    "with the same bits, on any number of threads.\n"
    "\n"
    "Presets, all of width 64 and 32 states: mamba4rec (Mamba4Rec, 1 layer), mamba4rec-2 (its form of 2 layers, with "
    "residuals), recmamba (RecMamba: a bare Mamba over scaled embeddings and learned positions; take --loss bce for its "
    "own training), mamba (pre-norm residual Mamba layers, 2).\n"
    "\n"
    "Of each user the training events alone are learned from: each of them but the first is a target once an epoch. "
    "After each epoch the validation events are ranked among all items; the weights that did best are the result. The "
    "table at the end tells, of validation and test, hit rate, NDCG and reciprocal rank, over all items and with the "
    "items of the history left out, beside counting baselines, and the fingerprint of the split: two programs that "
    "print the same fingerprint were tested on the same events.\n"
    "\n"
    "  recmamba train recsys/data/ml-latest-small.csv.gz -o build/movies --min-user 5 --min-item 5 --epochs 20 --batch-positions 1024 "
    "--rate 3e-3\n"
    "  recmamba recommend recsys/data/ml-latest-small.csv.gz -m build/movies -k 10 -o build/top.jsonl\n"
    "\n"
    "RecBole's way, for comparison (slow: every event has a window of its own):\n"
    "\n"
    "  recmamba train recsys/data/ml-latest-small.csv.gz -o build/recbole --min-user 5 --min-item 5 --mode windows "
    "--batch 2048 --early-stop recbole --epochs 2 --time-sort recbole_f32";
