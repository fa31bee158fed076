/* What `dna-mamba train` can be told. Defaults: the recipe of Schiff et al. 2024 (arXiv 2403.03234) and its code
 * (configs/experiment/hg38/hg38.yaml), but for the size of a batch and the number of steps, which are a laptop's. */
#include "core/schedule.h"
#include "genomics/alphabet.h"
#include "genomics/masking.h"
#include "genomics/reader.h"
#include "genomics/train_values.h"

#define V dna_train_values
#define OPTION(KEY, TYPE, ...)                                                                                         \
    { .key = #KEY, .type = MB_OPT_##TYPE, .offset = offsetof(V, KEY), __VA_ARGS__ }
const mb_option dna_train_options[] = {
    OPTION(model, STRING, .letter = 'm', .def = "caduceus-ps-tiny", .meta = "PRESET|CONFIG|MODEL",
           .help =
               "What is trained. A preset, perhaps with sizes of its own, as in caduceus-ps-1k:d128:n6 (the presets "
               "are listed above); a config.json, drawn afresh; or a folder or hub name with weights, trained "
               "further."),
    OPTION(output, STRING, .letter = 'o', .meta = "FOLDER",
           .help = "Where everything goes: config.json and model.safetensors at the end, checkpoints/, metrics.jsonl, "
                   "event files for TensorBoard, splits.bed, report.html, run.json."),
    OPTION(splits, STRING, .meta = "BED", .role = MB_ROLE_INPUT,
           .help = "Stretches to use, column 4 train, valid or test. Unset: blocks of --block bases, drawn by a hash."),
    OPTION(block, INT, .def = "50k", .min = 1, .max = 1e12, .meta = "N",
           .help = "Without --splits: bases of a block that goes to one split as a whole."),
    OPTION(valid, FLOAT, .def = "0.05", .max = 0.99, .meta = "SHARE", .help = "Share of the blocks held out."),
    OPTION(test, FLOAT, .def = "0.05", .max = 0.99, .meta = "SHARE",
           .help = "Share of the blocks not looked at at all, for later."),
    OPTION(window, INT, .def = "1024", .min = 2, .max = 1e9, .meta = "N", .help = "Bases of a training window."),
    OPTION(min_window, INT, .def = "0", .max = 1e9, .meta = "N",
           .help = "Window lengths are drawn from N to --window, packed without padding. 0: all have --window bases."),
    OPTION(batch_tokens, INT, .def = "32768", .min = 1, .max = 1e12, .meta = "N",
           .help = "A step sees about so many bases. Published: 1048576."),
    OPTION(batch_windows, INT, .def = "0", .max = 1e9, .meta = "N",
           .help = "A step sees so many windows, whatever their lengths. 0: by --batch-tokens."),
    OPTION(micro_batches, INT, .def = "1", .min = 1, .max = 1e6, .meta = "N",
           .help = "The windows of a step are worked off in so many parts, one after the other, to save memory. The "
                   "result is that of one part, up to rounding."),
    OPTION(chain, INT, .def = "1", .min = 1, .max = 1e9, .meta = "N",
           .help =
               "causal: each window of a step goes on where the one of the step before ended, for N steps; the state "
               "is carried over, the gradient is not (truncated back-propagation). Sequence N times as long as "
               "--window is learned from in the memory of one window."),
    OPTION(alpha, FLOAT, .def = "1", .max = 1, .meta = "X",
           .help = "Files are drawn in proportion to (their bases)^X: 1 all bases alike, 0 all files alike."),
    OPTION(reverse, FLOAT, .def = "-1", .min = -1, .max = 1, .meta = "P",
           .help = "Chance of a window's reverse complement. -1: 0 for RC-equivariant models, to which it is the same, "
                   "0.5 for others."),
    OPTION(most_n, FLOAT, .def = "0.5", .max = 1, .meta = "SHARE",
           .help = "Windows with a larger share of N are drawn again, --tries times at most."),
    OPTION(tries, INT, .def = "20", .min = 1, .max = 1e6, .meta = "N", .help = "See --most-n."),
    OPTION(objective, CHOICE, .def = "mlm", .choices = DNA_OBJECTIVE_CHOICES,
           .help = "mlm: masked bases are to be told from both sides; causal: the next base (models that run from left "
                   "to right)."),
    OPTION(mask_rate, FLOAT, .def = "0.15", .min = 1e-6, .max = 1, .meta = "SHARE",
           .help = "mlm: share of A, C, G, T that are targets."),
    OPTION(mask_shown, FLOAT, .def = "0.8", .max = 1, .meta = "SHARE", .help = "mlm: of them, shown as the mask."),
    OPTION(mask_random, FLOAT, .def = "0.1", .max = 1, .meta = "SHARE",
           .help = "mlm: of them, shown as another token. The rest is shown as it is."),
    OPTION(replacement, CHOICE, .def = "any", .choices = DNA_REPLACE_CHOICES,
           .help = "mlm: what other token: any of the alphabet's, special ones too, as published; or one of A C G T."),
    OPTION(soft_weight, FLOAT, .def = "1", .max = 1e6, .meta = "W",
           .help = "Weight of soft-masked (lower-case) targets; others weigh 1. 0: they are no targets. A file that is "
                   "all lower case is not soft-masked."),
    OPTION(steps, INT, .def = "10k", .min = 1, .max = 1e12, .meta = "N", .help = "Updates of the weights."),
    OPTION(rate, FLOAT, .def = "8e-3", .max = 100, .meta = "R", .help = "Largest learning rate."),
    OPTION(rate_least, FLOAT, .def = "1e-4", .max = 100, .meta = "R", .help = "The schedule ends at this one."),
    OPTION(rate_start, FLOAT, .def = "1e-6", .max = 100, .meta = "R", .help = "The warm-up begins with this one."),
    OPTION(warmup, FLOAT, .def = "0.1", .max = 1, .meta = "SHARE",
           .help = "Share of the steps in which the rate rises linearly."),
    OPTION(schedule, CHOICE, .def = "cosine", .choices = MB_SCHEDULE_CHOICES,
           .help =
               "How the rate falls after the warm-up. wsd: warm-up, stable, then linear in the last --decay-share."),
    OPTION(decay_share, FLOAT, .def = "0.1", .max = 1, .meta = "SHARE", .help = "wsd: share of the steps at the end."),
    OPTION(beta1, FLOAT, .def = "0.9", .max = 0.9999, .meta = "B", .help = "AdamW: decay of the first moment."),
    OPTION(beta2, FLOAT, .def = "0.95", .max = 0.999999, .meta = "B", .help = "AdamW: decay of the second moment."),
    OPTION(epsilon, FLOAT, .def = "1e-8", .min = 1e-20, .max = 1, .meta = "E", .help = "AdamW: its epsilon."),
    OPTION(weight_decay, FLOAT, .def = "0.1", .max = 10, .meta = "W",
           .help =
               "AdamW: decay of matrices, and of norms with --norms-decay; never of biases, the embedding, A_log, D."),
    OPTION(norms_decay, BOOL, .def = "true", .help = "The weights of norms decay too, as in the published training."),
    OPTION(clip, FLOAT, .def = "1", .max = 1e9, .meta = "NORM",
           .help = "Gradients are scaled down to this norm, over all parameters. 0: never."),
    OPTION(average, FLOAT, .def = "0", .max = 0.99999, .meta = "D",
           .help = "Evaluate and export a moving average of the weights with this decay. 0: the weights themselves."),
    OPTION(precision, CHOICE, .def = "fp32", .choices = "fp32|bf16",
           .help = "Precision of weights and inputs in matrix products; sums, states, the optimiser are always fp32."),
    OPTION(log_every, INT, .def = "10", .max = 1e9, .meta = "N", .help = "Steps between lines of metrics; 0: none."),
    OPTION(evaluate_every, INT, .def = "500", .max = 1e12, .meta = "N",
           .help = "Steps between evaluations on held-out windows; 0: at the end only."),
    OPTION(evaluation_windows, INT, .def = "256", .max = 1e9, .meta = "N",
           .help = "Held-out windows, spread evenly, the same every time; 0: all."),
    OPTION(save_every, INT, .def = "500", .max = 1e12, .meta = "N",
           .help = "Steps between checkpoints; 0: at the end."),
    OPTION(keep, INT, .def = "2", .min = 1, .max = 1e6, .meta = "N",
           .help = "Newest checkpoints kept, besides the best."),
    OPTION(patience, INT, .def = "0", .max = 1e9, .meta = "N",
           .help = "End after so many evaluations without a better one; 0: never."),
    OPTION(stop_loss, FLOAT, .def = "20", .max = 1e9, .meta = "L",
           .help = "A mean loss beyond this ends the run as exploding; 0: only one that is no number does."),
    OPTION(max_minutes, FLOAT, .role = MB_ROLE_MACHINE, .def = "0", .max = 1e9, .meta = "M",
           .help = "Stop with a checkpoint and exit code 75 after so long, for queues with a time limit; 0: never."),
    OPTION(resume, CHOICE, .role = MB_ROLE_MACHINE, .def = "auto", .choices = "auto|never",
           .help = "auto: go on from the newest whole checkpoint of the output folder, if there is one. never: the "
                   "folder must hold none."),
    OPTION(tensorboard, BOOL, .def = "true", .help = "Write event files for TensorBoard."),
    OPTION(alphabet, CHOICE, .def = "auto", .choices = DNA_ALPHABET_CHOICES, .help = "How letters are numbered."),
    OPTION(n_as, CHOICE, .def = "auto", .choices = DNA_N_CHOICES,
           .help = "Token that stands for N. auto: pad for the caduceus alphabet, as in its training."),
    OPTION(ambiguous, CHOICE, .def = "n", .choices = DNA_LETTER_CHOICES,
           .help = "Letters RYSWKMBDHVX: N, or an error."),
    OPTION(gaps, CHOICE, .def = "error", .choices = DNA_LETTER_CHOICES, .help = "Characters - . *: an error, or N."),
    OPTION(duplicates, CHOICE, .def = "error", .choices = DNA_DUPLICATES_CHOICES,
           .help = "Records of one file whose name came before."),
    {0}};
#undef OPTION
#undef V

const char dna_train_details[] =
    "Trains a model on genomes: FASTA files, plain, gzip or BGZF, held in memory at one byte a base. Each step draws "
    "windows by (seed, step) alone, so a run that was stopped - by a signal (exit code 75), a crash, kill -9 - goes on "
    "with the same command from its last checkpoint and ends with the same bits, on any number of threads. The result "
    "loads in the original Python code and in the verbs that take a pre-trained model.\n"
    "\n"
    "Presets: caduceus-ps-tiny (width 64, 4 layers), caduceus-ps-small (128, 6), caduceus-ps-1k-d118 (118, 4), "
    "caduceus-ps-1k (256, 4), caduceus-ps-32k (256, 8), caduceus-ps-131k (256, 16): RC-equivariant. "
    "caduceus-ph-1k-d118, caduceus-ph-1k, caduceus-ph-131k: both directions, one strand. mamba-dna-tiny, mamba-dna-1k: "
    "left to right, for --objective causal.\n"
    "\n"
    "  dna-mamba train genomics/data/lambda.fa.gz -o build/lambda --block 2k --valid 0.2 --window 512 --steps 20 --batch-tokens 4k\n"
    "  dna-mamba train genome.fa -o run1 -m caduceus-ps-1k --steps 20k --dry-run\n"
    "  dna-mamba score genomics/data/phix174.fa -m build/lambda";
