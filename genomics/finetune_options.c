/* What `dna-mamba finetune` can be told. Defaults: the fine-tuning of Schiff et al. 2024 (arXiv 2403.03234, Genomic
 * Benchmarks) but for the batch, which is a laptop's. */
#include "core/pool_head.h"
#include "core/schedule.h"
#include "genomics/finetune_values.h"
#include "genomics/folds.h"

#define V dna_finetune_values
#define OPTION(KEY, TYPE, ...)                                                                                         \
    { .key = #KEY, .type = MB_OPT_##TYPE, .offset = offsetof(V, KEY), __VA_ARGS__ }
const mb_option dna_finetune_options[] = {
    OPTION(model, STRING, .letter = 'm', .meta = "MODEL|PRESET|CONFIG",
           .help = "What is tuned: a folder or hub name with weights; or a preset (\"dna-mamba train --help\" lists "
                   "them) or a config.json, from scratch."),
    OPTION(output, STRING, .letter = 'o', .meta = "FOLDER",
           .help = "Where everything goes: the tuned model, report.txt, report.json, report.html, predictions.tsv, "
                   "run.json, and with several runs a folder for each."),
    OPTION(task, CHOICE, .def = "auto", .choices = DNA_TASK_CHOICES,
           .help = "class: one of several; multi: any of several; regression: numbers; bases: a character for each "
                   "base. auto: by the labels."),
    DNA_LABEL_OPTIONS(V, data),
    OPTION(valid, STRING, .meta = "FILE", .role = MB_ROLE_INPUT,
           .help = "Held-out examples for choosing the epoch. Unset: --valid-share."),
    OPTION(test, STRING, .meta = "FILE", .role = MB_ROLE_INPUT,
           .help = "Examples to report on. Unset: --test-share, or --folds."),
    OPTION(valid_share, FLOAT, .def = "0.1", .max = 0.9, .meta = "SHARE",
           .help = "Share of the training examples held out when nothing else says which; 0: none."),
    OPTION(test_share, FLOAT, .def = "0.2", .max = 0.9, .meta = "SHARE",
           .help = "Share of all examples to report on when nothing else says which; 0: none."),
    OPTION(folds, INT, .def = "0", .max = 1000, .meta = "K",
           .help = "Cross-validation: K runs, each tested on another of K parts. 0: one run."),
    OPTION(seeds, INT, .def = "1", .min = 1, .max = 1000, .meta = "N",
           .help = "Runs with N seeds, --seed and the next ones: the spread that chance makes."),
    OPTION(shared, INT, .def = "0", .max = 1e9, .meta = "N",
           .help = "Sequences that share N bases in a row, on either strand, are never in two parts: regions that "
                   "overlap, pieces of one gene. 0: only equal sequences are kept together."),
    OPTION(leaks, CHOICE, .def = "error", .choices = DNA_LEAKS_CHOICES,
           .help = "Given parts that share sequences or their reverse complements: refused, the copies left out of "
                   "training, or kept. Drawn parts never share any."),
    OPTION(pooling, CHOICE, .def = "mean", .choices = MB_POOLING_CHOICES,
           .help = "How a sequence's hidden states become one; not for bases."),
    OPTION(bias, BOOL, .def = "false", .help = "The head has a bias. The original Python class has none."),
    OPTION(conjoin, CHOICE, .def = "auto", .choices = "auto|yes|no",
           .help =
               "yes: the answer is the mean over both strands, the same for a sequence and its reverse complement. no: "
               "from the given strand alone, for labels that have a direction (promoters, splice sites, coding "
               "frames); an RC-equivariant model is then run over that strand only, in half the time, and the "
               "original Python class, which always takes both, answers otherwise. auto: yes, but no for the bases "
               "of a model that is not RC-equivariant."),
    OPTION(class_weights, CHOICE, .def = "none", .choices = "none|balanced",
           .help = "balanced: each class weighs the same in the loss, however rare it is."),
    OPTION(freeze, BOOL, .def = "false", .help = "Only the head is trained."),
    OPTION(epochs, INT, .def = "10", .min = 1, .max = 1e6, .meta = "N", .help = "Times that each example is seen."),
    OPTION(batch, INT, .def = "32", .min = 1, .max = 1e6, .meta = "N", .help = "Examples of a step."),
    OPTION(micro_batches, INT, .def = "1", .min = 1, .max = 1e6, .meta = "N",
           .help = "The examples of a step are worked off in so many parts, to save memory."),
    OPTION(rate, FLOAT, .def = "1e-3", .max = 100, .meta = "R", .help = "Largest learning rate."),
    OPTION(rate_share, FLOAT, .def = "0.1", .max = 1, .meta = "X", .help = "The schedule ends at X times --rate."),
    OPTION(head_rate, FLOAT, .def = "1", .max = 1e6, .meta = "X", .help = "The head learns X times as fast."),
    OPTION(warmup, FLOAT, .def = "0.01", .max = 1, .meta = "SHARE", .help = "Share of the steps with a rising rate."),
    OPTION(schedule, CHOICE, .def = "cosine", .choices = MB_SCHEDULE_CHOICES, .help = "How the rate falls."),
    OPTION(weight_decay, FLOAT, .def = "0.1", .max = 10, .meta = "W", .help = "AdamW: decay of matrices and norms."),
    OPTION(clip, FLOAT, .def = "1", .max = 1e9, .meta = "NORM", .help = "Largest norm of the gradient; 0: any."),
    OPTION(reverse, FLOAT, .def = "-1", .min = -1, .max = 1, .meta = "P",
           .help = "Chance that a training example is shown as its reverse complement. -1: 0.5 for models that are "
                   "not RC-equivariant, 0 for others, for bases and with --conjoin no."),
    OPTION(masked, FLOAT, .def = "0", .max = 0.9, .meta = "P",
           .help = "Chance that a base of a training example is shown as the mask: against learning few examples by "
                   "heart. Masked models know the mask from their pre-training."),
    OPTION(judge, STRING, .def = "auto", .meta = "METRIC",
           .help = "What the best epoch is chosen by on held-out examples: loss, accuracy, mcc, f1_macro, auroc, "
                   "auprc, spearman, r2 ... auto: mcc (class, bases), auroc (multi), spearman (regression)."),
    OPTION(patience, INT, .def = "0", .max = 1e9, .meta = "N",
           .help = "End after so many epochs without a better one; 0: never."),
    OPTION(resamples, INT, .def = "1000", .max = 1e6, .meta = "N", .help = "Of the bootstrap; 0: no intervals."),
    OPTION(level, FLOAT, .def = "0.95", .min = 0.01, .max = 0.9999, .meta = "P", .help = "Of the intervals."),
    OPTION(kmer, INT, .def = "0", .max = 10, .meta = "K",
           .help = "Classes: naive Bayes over K-mers is reported as the floor. 0: K of 3 to 6, by the held-out part."),
    OPTION(precision, CHOICE, .def = "fp32", .choices = "fp32|bf16",
           .help = "Of weights and inputs in matrix products; sums and states are always fp32."),
    OPTION(log_every, INT, .def = "10", .max = 1e9, .meta = "N", .help = "Steps between lines of metrics; 0: none."),
    OPTION(save_every, INT, .def = "200", .max = 1e12, .meta = "N", .help = "Steps between checkpoints."),
    OPTION(keep, INT, .def = "1", .min = 1, .max = 1e6, .meta = "N", .help = "Checkpoints kept, besides the best."),
    OPTION(max_minutes, FLOAT, .role = MB_ROLE_MACHINE, .def = "0", .max = 1e9, .meta = "M",
           .help = "Stop with a checkpoint and exit code 75 after so long; 0: never."),
    OPTION(resume, CHOICE, .role = MB_ROLE_MACHINE, .def = "auto", .choices = "auto|never",
           .help = "auto: go on from the checkpoints in the output folder. never: it must hold none."),
    OPTION(tensorboard, BOOL, .def = "true", .help = "Write event files for TensorBoard."),
    {0}};
#undef OPTION
#undef V

const char dna_finetune_details[] =
    "Trains a head on a model, and the model with it, on sequences with labels: CSV or TSV tables, FASTA with the label "
    "in the header or one file per class (PATH=LABEL), BED regions of a genome. Parts are drawn so that no sequence "
    "and no reverse complement is in two of them. The weights of the best epoch are kept; what is reported was not "
    "trained on and not chosen by. A run that was stopped goes on with the same command and ends with the same bits.\n"
    "\n"
    "  dna-mamba finetune genomics/data/phages.tsv -m caduceus-ps-tiny -o build/phages --epochs 3\n"
    "  dna-mamba finetune genomics/data/phages.tsv -m genomics/models/multispecies -o build/folds --folds 3 --epochs 1 --freeze\n"
    "  dna-mamba predict genomics/data/phix174.fa -m build/phages --window 200 -o build/phix.tsv\n"
    "  dna-mamba evaluate genomics/data/phages.tsv -m build/phages";
