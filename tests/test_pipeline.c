/* Pipelines in memory: descriptions of programs, what a file becomes (extensions, --set, variables, matrices), errors
 * with their places, who needs whom, hostile files, memory that runs out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/log.h"
#include "core/mem.h"
#include "genomics/commands.h"
#include "pipelines/pipeline.h"
#include "tests/scratch.h"

static char *description; /* of dna-mamba, as --describe prints it */
static size_t description_size;

static int describe(void **state) {
    const mb_verb verbs[] = {dna_embed_verb, dna_nearest_verb, dna_train_verb,    dna_ism_verb,
                             dna_score_verb, dna_info_verb,    dna_generate_verb, {0}};
    (void)state;
    FILE *f = open_memstream(&description, &description_size);
    mb_options_describe("dna-mamba", verbs, f);
    fclose(f);
    setenv("MB_WIDTH", "500", 1);
    unsetenv("MB_NOSUCH");
    return 0;
}

static int forget(void **state) {
    (void)state;
    free(description);
    return 0;
}

static long kept; /* blocks a test holds itself */

static int know(pipeline *p, mb_err *e) {
    const pipe_program *program;
    *p = (pipeline){0};
    return pipe_program_read(&p->programs, "bin/dna-mamba", description, description_size, &program, e);
}

/* p.yaml of this text; p is to be freed. */
static int parse(pipeline *p, const char *text, mb_err *e) {
    int rc = know(p, e);
    return rc == MB_OK ? pipeline_parse(p, "p.yaml", text, strlen(text), e) : rc;
}

static void good(pipeline *p, const char *text) {
    mb_err e = {0};
    if (parse(p, text, &e) != MB_OK)
        fail_msg("%s", e.text);
}

static void done(pipeline *p) {
    pipeline_free(p);
    assert_int_equal(mb_mem_live_blocks(), kept);
}

/* The first line that is told, and how many errors there are. */
static void bad(const char *text, const char *first, int errors) {
    pipeline p;
    mb_err e = {0};
    const long blocks = mb_mem_live_blocks();
    int rc = parse(&p, text, &e), n = 0;
    const size_t line = strcspn(e.text, "\n");
    for (const char *c = e.text; (c = strstr(c, ": error: ")); c++)
        n++;
    pipeline_free(&p);
    assert_int_equal(mb_mem_live_blocks(), blocks);
    if (rc != MB_USAGE || e.status != MB_USAGE || n != errors || strlen(first) != line ||
        strncmp(e.text, first, line) != 0)
        fail_msg("status %d, %d errors, not %d with \"%s\" as the first: %s", rc, n, errors, first, e.text);
}

#define HEAD "version: 1\noutput: out\nsteps:\n"
#define INFO "{run: dna-mamba info, inputs: [m]}"

/* ---- descriptions ---------------------------------------------------------------------------------------------------
 */

static void a_description_is_the_table(void **state) {
    pipe_programs all = {0};
    const pipe_program *p;
    mb_err e = {0};
    (void)state;
    assert_int_equal(pipe_program_read(&all, "bin/dna-mamba", description, description_size, &p, &e), MB_OK);
    assert_string_equal(p->name, "dna-mamba");
    const pipe_verb *embed = pipe_verb_find(p, "embed");
    assert_non_null(embed);
    assert_int_equal(embed->min_args, 1);
    assert_int_equal(embed->max_args, -1);
    int n = 0;
    for (const mb_option *o = dna_embed_verb.options; o->key; o++, n++) {
        const mb_option *have = pipe_option_find(embed, o->key);
        assert_non_null(have);
        assert_int_equal(have->type, o->type);
        assert_int_equal(have->role, mb_option_role(o));
        assert_true(have->min == o->min && have->max == o->max);
        assert_true((have->def == NULL) == (o->def == NULL) && (!o->def || strcmp(have->def, o->def) == 0));
        assert_string_equal(have->help, o->help);
    }
    assert_int_equal(embed->n, n + 7); /* and the global ones */
    assert_ptr_equal(pipe_option_find(embed, "dry-run"), pipe_option_find(embed, "dry_run"));
    assert_string_equal(pipe_option_suggest(embed, "modle"), "model");
    assert_int_equal(pipe_option_find(pipe_verb_find(p, "train"), "output")->role, MB_ROLE_OUTPUT_FOLDER);
    assert_int_equal(pipe_option_find(pipe_verb_find(p, "ism"), "output")->role, MB_ROLE_OUTPUT_PREFIX);
    assert_int_equal(pipe_verb_find(p, "info")->args_role, MB_ROLE_MODEL);
    pipe_programs_free(&all);
    assert_int_equal(mb_mem_live_blocks(), 0);
}

static void damaged_descriptions_are_refused(void **state) {
    static const char *const TEXT[] = {
        "", "[]", "{\"description\": 2}", "{\"description\": 1, \"program\": \"x\"}",
        "{\"description\": 1, \"program\": \"x\", \"version\": \"1\", \"build\": \"b\", \"verbs\": [{\"name\": \"v\"}]}"};
    (void)state;
    for (size_t i = 0; i < sizeof TEXT / sizeof *TEXT; i++) {
        pipe_programs all = {0};
        const pipe_program *p;
        mb_err e = {0};
        assert_int_equal(pipe_program_read(&all, "bin/x", TEXT[i], strlen(TEXT[i]), &p, &e), MB_FORMAT);
        assert_int_equal(all.n, 0);
        pipe_programs_free(&all);
    }
    for (size_t n = 1; n < description_size; n += 997) {
        pipe_programs all = {0};
        const pipe_program *p;
        mb_err e = {0};
        assert_int_equal(pipe_program_read(&all, "bin/x", description, n, &p, &e), MB_FORMAT);
        pipe_programs_free(&all);
    }
    assert_int_equal(mb_mem_live_blocks(), 0);
}

/* ---- what a file becomes --------------------------------------------------------------------------------------------
 */

static void steps_get_their_values(void **state) {
    pipeline p;
    (void)state;
    good(&p, "version: 1\noutput: build//x/./y/..\nvars: {m: model, w: \"${env:MB_WIDTH}\"}\n"
             "defaults: {model: \"${vars.m}\", threads: 2, k: 7}\n"
             "steps:\n"
             "  genes:\n    run: dna-mamba embed\n    inputs: a.fa\n"
             "    with: {bin: \"${vars.w}\", output: \"${output}/${name}.npy\"}\n"
             "  near:\n    run: dna-mamba nearest\n    inputs: [\"${steps.genes}\"]\n"
             "    with: {index: \"${steps.genes.output}\", measure: l2, threads: null}\n"
             "  about: {run: dna-mamba info, inputs: [\"${vars.m}\"]}\n");
    assert_string_equal(p.name, "p");
    assert_string_equal(p.output, "build/x");
    assert_int_equal(p.n, 3);
    assert_string_equal(pipe_step_value(&p.step[0], "bin"), "500");
    assert_string_equal(pipe_step_value(&p.step[0], "output"), "build/x/genes.npy");
    assert_string_equal(pipe_step_value(&p.step[0], "model"), "model");
    assert_string_equal(pipe_step_value(&p.step[0], "pool"), "mean");
    assert_string_equal(pipe_step_value(&p.step[1], "index"), "build/x/genes.npy");
    assert_string_equal(pipe_step_value(&p.step[1], "k"), "7");
    assert_string_equal(pipe_step_value(&p.step[1], "threads"), "0"); /* null: the program's default */
    assert_int_equal(p.step[1].n_needs, 1);
    assert_int_equal(p.step[2].n_needs, 0);
    pipe_text t = {0};
    pipe_step_config(&p.step[1], &t);
    assert_string_equal(t.data, "version: 1\ncommand: nearest\ninputs:\n  - \"build/x/genes.npy\"\nindex: "
                                "\"build/x/genes.npy\"\nmeasure: \"l2\"\nthreads: null\nk: 7\n");
    pipe_text_free(&t);
    done(&p);
}

static void a_matrix_makes_steps(void **state) {
    pipeline p;
    (void)state;
    good(&p,
         HEAD "  train:\n    run: dna-mamba train\n    inputs: [a.fa]\n"
              "    matrix: {rate: [1e-3, 4e-3], seed: [1, 2]}\n"
              "    with: {rate: \"${matrix.rate}\", seed: \"${matrix.seed}\", output: \"out/${name}\"}\n"
              "  score:\n    run: dna-mamba score\n    inputs: [b.fa]\n    matrix: {rate: [4e-3, 1e-3], seed: [1]}\n"
              "    with: {model: \"${steps.train}\", output: \"out/${name}.tsv\"}\n"
              "  all: {run: dna-mamba embed, inputs: [\"${steps.score}\"], with: {output: out/e.npy}}\n");
    static const char *const NAME[] = {"train-1e-3-1", "train-1e-3-2", "train-4e-3-1", "train-4e-3-2",
                                       "score-4e-3-1", "score-1e-3-1", "all"};
    assert_int_equal(p.n, 7);
    for (int i = 0; i < 7; i++)
        assert_string_equal(p.step[i].name, NAME[i]);
    assert_string_equal(pipe_step_value(&p.step[4], "model"), "out/train-4e-3-1");
    assert_int_equal(p.step[4].need[0], 2);
    assert_int_equal(p.step[5].need[0], 0);
    assert_int_equal(p.step[6].n_args, 2); /* ${steps.score} alone: all of them */
    assert_int_equal(p.step[6].n_needs, 2);
    done(&p);
}

static void write_files(void) {
    scratch_text("base.yaml", "version: 1\nvars: {m: base, n: one}\nsteps:\n  a: {run: dna-mamba info, inputs: [m1]}\n"
                              "  b: {run: dna-mamba info, inputs: [m2], with: {length: 10}}\n");
    scratch_text("middle.yaml",
                 "extends: base.yaml\nvars: {m: middle}\nsteps: {b: {with: {length: 20, memory: 1G}}}\n");
    scratch_text("top.yaml",
                 "extends: [middle.yaml]\nname: top\noutput: out\nsteps: {b: {inputs: [\"${vars.m}\", ]}}\n");
    scratch_text("self.yaml", "version: 1\nextends: self2.yaml\n");
    scratch_text("self2.yaml", "extends: self.yaml\n");
    scratch_text("lost.yaml", "version: 1\nextends: nosuch.yaml\noutput: o\nsteps: {a: " INFO "}\n");
}

static int open_file(pipeline *p, const char *name, const mb_set *sets, int n, mb_err *e) {
    const pipe_open o = {.path = scratch_path(name), .sets = sets, .n_sets = n};
    int rc = know(p, e);
    return rc == MB_OK ? pipeline_open(p, &o, e) : rc;
}

static void files_extend_files(void **state) {
    static const mb_set SETS[] = {{"steps.b.with.length=30", 3},
                                  {"steps.a.inputs.0=m9", 5},
                                  {"vars.m=set", 7},
                                  {"steps.b.with.memory=null", 9},
                                  {"run.parallel=4", 11}};
    pipeline p;
    mb_err e = {0};
    (void)state;
    write_files();
    assert_int_equal(open_file(&p, "top.yaml", NULL, 0, &e), MB_OK);
    assert_string_equal(p.name, "top");
    assert_string_equal(p.step[1].input[0].path, "middle");
    assert_string_equal(pipe_step_value(&p.step[1], "length"), "20");
    assert_string_equal(pipe_step_value(&p.step[1], "memory"), "1G");
    done(&p);
    assert_int_equal(open_file(&p, "top.yaml", SETS, 5, &e), MB_OK);
    assert_string_equal(p.step[0].input[0].path, "m9");
    assert_string_equal(p.step[1].input[0].path, "set");
    assert_string_equal(pipe_step_value(&p.step[1], "length"), "30");
    assert_string_equal(pipe_step_value(&p.step[1], "memory"), "0");
    assert_int_equal(p.settings.parallel, 4);
    done(&p);
}

static void refused_file(const char *name, const mb_set *set, const char *part) {
    pipeline p;
    mb_err e = {0};
    assert_int_equal(open_file(&p, name, set, set ? 1 : 0, &e), MB_USAGE);
    if (!strstr(e.text, part))
        fail_msg("\"%s\" is not in: %s", part, e.text);
    done(&p);
}

static void bad_extensions_and_sets_are_told(void **state) {
    (void)state;
    write_files();
    refused_file("self.yaml", NULL, "extends itself");
    refused_file("lost.yaml", NULL, ":2:10: error: extends: there is no file");
    refused_file("nosuch.yaml", NULL, "nosuch.yaml");
    refused_file(
        "top.yaml", &(mb_set){"steps.b.with.lenght=3", 4},
        "command line: argument 4:1:1: error: dna-mamba info has no option \"lenght\"; did you mean \"length\"?");
    refused_file("top.yaml", &(mb_set){"steps.b.with.length=x", 4}, "command line: argument 4:1:1: error: length: ");
    refused_file("top.yaml", &(mb_set){"steps.b.inputs.7=x", 4}, "the list has items 0 to 0");
    refused_file("top.yaml", &(mb_set){"name.x=1", 4}, "\"name\" is a value");
    refused_file("top.yaml", &(mb_set){"name", 4}, "write --set key.path=value");
    refused_file("top.yaml", &(mb_set){"vars={a: [", 4}, "command line: argument 4:");
    for (int i = 0; i < 12; i++) {
        char name[32], text[64];
        snprintf(name, sizeof name, "deep%d.yaml", i);
        snprintf(text, sizeof text, "version: 1\nextends: deep%d.yaml\n", i + 1);
        scratch_text(name, text);
    }
    scratch_text("deep12.yaml", "name: x\n");
    refused_file("deep0.yaml", NULL, "more than 8 levels deep");
}

static void what_is_resolved_reads_back(void **state) {
    pipeline p, q;
    mb_err e = {0};
    pipe_text a = {0}, b = {0};
    (void)state;
    good(&p, "version: 1\noutput: out\nvars: {cost: \"$$5\", odd: \"a: \\\"b\\\" \\\\ # \\u00e9\"}\nsteps:\n"
             "  g:\n    run: dna-mamba generate\n    matrix: {n: [1, 2]}\n"
             "    with: {model: \"${vars.odd}\", prompt: \"${vars.cost}\", seed: \"${matrix.n}\"}\n");
    assert_string_equal(pipe_step_value(&p.step[0], "prompt"), "$5");
    pipeline_resolved(&p, &a);
    assert_int_equal(parse(&q, a.data, &e), MB_OK);
    pipeline_resolved(&q, &b);
    assert_int_equal(q.n, 2);
    assert_string_equal(pipe_step_value(&q.step[1], "model"), "a: \"b\" \\ # \xC3\xA9");
    assert_string_equal(pipe_step_value(&q.step[1], "prompt"), "$5");
    assert_string_equal(strchr(a.data, '\n'), strchr(b.data, '\n')); /* but for the name of the file */
    pipe_text_free(&a);
    pipe_text_free(&b);
    pipeline_free(&q);
    done(&p);
}

/* ---- errors ---------------------------------------------------------------------------------------------------------
 */

static void errors_have_places(void **state) {
    (void)state;
    bad("", "p.yaml:1:1: error: \"version: 1\" is missing", 3); /* and output, steps */
    bad("version: 2\noutput: o\nsteps: {a: " INFO "}",
        "p.yaml:1:10: error: version: this program reads version 1 of pipelines", 1);
    bad("version: 1\noutput: o\nstep: 3\nsteps: {a: " INFO "}",
        "p.yaml:3:1: error: unknown key \"step\"; did you mean \"steps\"?", 1);
    bad(HEAD "  a: {run: dna-mamba imfo, inputs: [m]}",
        "p.yaml:4:12: error: run: dna-mamba has no command \"imfo\"; did you mean \"info\"?", 1);
    bad(HEAD "  a: {run: dna-manba info, inputs: [m]}",
        "p.yaml:4:12: error: run: no program \"dna-manba\" is known here; did you mean \"dna-mamba\"?", 1);
    bad(HEAD "  a: {run: info, inputs: [m]}",
        "p.yaml:4:12: error: run: a program and a verb are expected, as in \"dna-mamba embed\"; options go under \"with\"",
        1);
    bad(HEAD "  a: {inputs: [m]}",
        "p.yaml:4:3: error: the step \"a\" needs \"run: PROGRAM VERB\", as in \"run: dna-mamba embed\"", 1);
    bad(HEAD "  a.b: " INFO,
        "p.yaml:4:3: error: \"a.b\" is no name for a step: letters, digits, - and _ are, up to 100", 1);
    bad(HEAD "  a: {run: dna-mamba info, inputs: [m], length: 3}",
        "p.yaml:4:41: error: \"length\" is an option of info: it belongs under \"with:\"", 1);
    bad(HEAD "  a: {run: dna-mamba info, inputs: [m], with: {after: b}}",
        "p.yaml:4:48: error: \"after\" belongs beside \"with\", not under it", 1);
    bad(HEAD "  a: {run: dna-mamba info}", "p.yaml:4:3: error: inputs: dna-mamba info needs 1: MODEL [options]", 1);
    bad(HEAD "  a: {run: dna-mamba info, inputs: [m, n]}",
        "p.yaml:4:36: error: inputs: dna-mamba info takes 1, and 2 are given: MODEL [options]", 1);
    bad(HEAD "  a: {run: dna-mamba info, inputs: [m], with: {length: 010, threads: -1, json: yes}}",
        "p.yaml:4:56: error: length: 010 has a leading zero; write 10", 3);
    bad(HEAD "  a: {run: dna-mamba info, inputs: [m], with: {length: \"10\"}}",
        "p.yaml:4:56: error: length: a number is expected, and text in quotes is none; remove the quotes", 1);
    bad(HEAD "  a: {run: dna-mamba info, inputs: [m], with: {dry_run: true}}",
        "p.yaml:4:48: error: dry_run: \"seqmamba check\" does that", 1);
    bad(HEAD "  a: {run: dna-mamba info, inputs: [m], after: b}", "p.yaml:4:48: error: after: there is no step \"b\"",
        1);
    bad(HEAD "  a: {run: dna-mamba info, inputs: [\"${steps.b}\"]}\n  bb: " INFO,
        "p.yaml:4:37: error: ${steps.b}: there is no such step; did you mean \"bb\"?", 1);
    bad(HEAD "  a: {run: dna-mamba info, inputs: [\"${now}\"]}",
        "p.yaml:4:37: error: ${now} is not known here; there are ${env:NAME}, ${output}, ${pipeline}, ${vars.KEY}, and in "
        "steps ${name}, ${matrix.KEY}, ${steps.NAME}, ${steps.NAME.OPTION}; $$ is a plain $",
        1);
    bad(HEAD "  a: {run: dna-mamba info, inputs: [\"${env:MB_NOSUCH}\"]}",
        "p.yaml:4:37: error: the environment variable MB_NOSUCH is not set; set it or write ${env:MB_NOSUCH:-default}",
        1);
    bad("version: 1\noutput: o\nvars: {a: \"${vars.b}\", b: \"${vars.a}\"}\nsteps: {a: {run: dna-mamba info, inputs: [\"${vars.a}\"]}}",
        "p.yaml:4:43: error: ${vars.a}: variables refer to each other in a circle", 1);
    bad("version: 1\noutput: o\nversion: 1\nsteps: {a: " INFO "}",
        "p.yaml:3:1: error: the key \"version\" was given before, at line 1, column 1", 1);
    bad("version: 1\noutput: o\nrun: {max_minutes: no, paralel: 2}\nsteps: {a: " INFO "}",
        "p.yaml:3:20: error: max_minutes: \"no\" is not a number", 2);
    bad("version: 1\noutput: o\nbatch: {minutes: 0}\nsteps: {a: " INFO "}",
        "p.yaml:3:18: error: minutes: 0 is out of range; it must be 1 to 10000000", 1);
    bad("version: 1\noutput: o\ndefaults: {modle: x}\nsteps: {a: {run: dna-mamba score, inputs: [m], with: {model: m}}}",
        "p.yaml:3:12: error: no step has an option \"modle\"; did you mean \"model\"?", 1);
    bad(HEAD "  a: {run: dna-mamba info, inputs: [m], matrix: {x: 3}}",
        "p.yaml:4:50: error: matrix: x: a list of values is expected", 1);
    bad(HEAD "  a: {run: dna-mamba info, inputs: [m], matrix: {x: [a/b, a_b]}}",
        "p.yaml:4:3: error: two steps get the name \"a-a_b\"; values of a matrix must differ in their letters and digits, in "
        "their first 159 characters",
        1);
    bad(HEAD "  a: &a\n    <<: *a\n    run: dna-mamba info\n    inputs: [m]\n",
        "p.yaml:5:5: error: merge keys (<<) are not read; write the values out", 3);
}

/* A matrix of 20 has each error once. */
static void errors_are_told_once(void **state) {
    (void)state;
    bad(HEAD "  a:\n    run: dna-mamba info\n    inputs: [m]\n    matrix: {x: [1, 2, 3, 4, 5], y: [1, 2, 3, 4]}\n"
             "    with: {lenght: 3, threads: many}\n",
        "p.yaml:8:12: error: dna-mamba info has no option \"lenght\"; did you mean \"length\"?", 2);
}

/* ---- the graph ------------------------------------------------------------------------------------------------------
 */

static void needs_follow_files(void **state) {
    static const char *const TEXT =
        HEAD "  use1: {run: dna-mamba score, inputs: [x.fa], with: {model: ./out/../out/trained, output: o1}}\n"
             "  use2: {run: dna-mamba nearest, inputs: [rows.npy.index.tsv], with: {index: out/ism.npy}}\n"
             "  use3: {run: dna-mamba info, inputs: [out/trained/checkpoints/step-1]}\n"
             "  use4: {run: dna-mamba info, inputs: [rows.npy2], after: [use1]}\n"
             "  train: {run: dna-mamba train, inputs: [a.fa], with: {output: out//trained/}}\n"
             "  rows: {run: dna-mamba embed, inputs: [a.fa], with: {output: rows.npy}}\n"
             "  ism: {run: dna-mamba ism, inputs: [a.fa], with: {output: out/ism}}\n"
             "  said: {run: dna-mamba info, inputs: [m]}\n"
             "  reads: {run: dna-mamba embed, inputs: [\"${steps.said}\"], with: {output: r.npy}}\n";
    pipeline p;
    (void)state;
    good(&p, TEXT);
    assert_int_equal(p.step[0].n_needs, 1);
    assert_int_equal(p.step[0].need[0], 4);
    assert_int_equal(p.step[1].n_needs, 2); /* rows and ism, ascending */
    assert_int_equal(p.step[1].need[0], 5);
    assert_int_equal(p.step[1].need[1], 6);
    assert_int_equal(p.step[2].need[0], 4);
    assert_int_equal(p.step[3].n_needs, 1); /* rows.npy2 is another file; after */
    assert_int_equal(p.step[3].need[0], 0);
    assert_int_equal(p.step[8].need[0], 7); /* what a step prints */
    int at[9];
    for (int k = 0; k < p.n; k++)
        at[p.order[k]] = k;
    for (int i = 0; i < p.n; i++)
        for (int k = 0; k < p.step[i].n_needs; k++)
            assert_true(at[p.step[i].need[k]] < at[i]);
    done(&p);
}

static void impossible_graphs_are_told(void **state) {
    (void)state;
    bad(HEAD "  a: {run: dna-mamba score, inputs: [x], with: {model: m, output: o}}\n"
             "  b: {run: dna-mamba score, inputs: [x], with: {model: m, output: ./o}}\n",
        "p.yaml:5:67: error: output: ./o is written by the step \"a\" as well", 1);
    bad(HEAD "  a: {run: dna-mamba score, inputs: [o], with: {model: m, output: o}}\n",
        "p.yaml:4:38: error: input: o is written by this step itself", 1);
    bad(HEAD "  z: " INFO "\n  a: {run: dna-mamba score, inputs: [q], with: {model: m, output: o}}\n"
             "  b: {run: dna-mamba score, inputs: [o], with: {model: m, output: p}}\n"
             "  c: {run: dna-mamba score, inputs: [p], with: {model: m, output: q}}\n",
        "p.yaml:5:3: error: steps need each other in a circle: a -> c -> b -> a", 1);
    bad(HEAD "  a: {run: dna-mamba info, inputs: [m], after: a}",
        "p.yaml:4:48: error: after: a step cannot come after itself", 1);
}

/* ---- hostile files --------------------------------------------------------------------------------------------------
 */

static void hostile_files_cost_little(void **state) {
    enum { N = 200 };
    pipe_text t = {0};
    (void)state;
    const double start = mb_clock_seconds();
    pipe_text_add(&t, HEAD "  a: {run: dna-mamba info, inputs: [m], matrix: {");
    for (int i = 0; i < 40; i++)
        pipe_text_add(&t, "%sk%d: [1, 2, 3, 4, 5, 6, 7, 8, 9]", i ? ", " : "", i);
    pipe_text_add(&t, "}}");
    bad(t.data, "p.yaml:4:49: error: matrix: more than 20000 steps", 1);
    pipe_text_free(&t);
    pipe_text_add(&t, "version: 1\noutput: o\nvars: &v0 [x]\n");
    for (int i = 1; i < 30; i++)
        pipe_text_add(&t, "b%d: &v%d [*v%d, *v%d, *v%d, *v%d]\n", i, i, i - 1, i - 1, i - 1, i - 1);
    pipeline p;
    mb_err e = {0};
    kept = 1; /* t */
    assert_int_equal(parse(&p, t.data, &e), MB_USAGE);
    assert_non_null(strstr(e.text, "aliases repeat more than"));
    done(&p);
    pipe_text_free(&t);
    for (int i = 0; i < N; i++)
        pipe_text_add(&t, "[");
    mb_err_clear(&e);
    assert_int_equal(parse(&p, t.data, &e), MB_USAGE);
    assert_non_null(strstr(e.text, "nested more than"));
    done(&p);
    pipe_text_free(&t);
    kept = 0;
    assert_true(mb_clock_seconds() - start < 20);
}

static void paths_are_cleaned(void **state) {
    static const char *const PAIR[][2] = {
        {"a//b/./c", "a/b/c"},   {"./a", "a"},      {"a/..", "."},      {"../a/../b", "../b"},
        {"a/b/../../c", "c"},    {"/..//x/", "/x"}, {"/", "/"},         {"", "."},
        {"../../a/..", "../.."}, {"a...", "a..."},  {"a/b/../..", "."}, {"/a/..", "/"}};
    pipe_pool pool = {0};
    (void)state;
    for (size_t i = 0; i < sizeof PAIR / sizeof *PAIR; i++)
        assert_string_equal(pipe_clean_path(&pool, PAIR[i][0]), PAIR[i][1]);
    pipe_pool_free(&pool);
}

/* ---- memory ---------------------------------------------------------------------------------------------------------
 */

/* Every allocation fails once: told as such or not needed, and nothing is left. */
static void memory_may_run_out(void **state) {
    static const char *const TEXT =
        "version: 1\noutput: out\nvars: {m: model}\ndefaults: {model: \"${vars.m}\"}\nbatch: {partition: p, extra: [x]}\n"
        "steps:\n  a: {run: dna-mamba embed, inputs: a.fa, with: {output: out/a.npy}}\n"
        "  b: {run: dna-mamba nearest, matrix: {k: [1, 2]}, inputs: [\"${steps.a}\"], after: [c],\n"
        "      with: {index: out/a.npy, k: \"${matrix.k}\"}, batch: {cpus: 2}}\n  c: " INFO "\n";
    (void)state;
    long n = 0;
    int fired = 1;
    for (; fired; n++) {
        pipeline p;
        mb_err e = {0};
        assert_int_equal(know(&p, &e), MB_OK);
        mb_mem_fail_nth(n + 1, 0);
        int rc = pipeline_parse(&p, "p.yaml", TEXT, strlen(TEXT), &e);
        pipe_text t = {0};
        if (rc == MB_OK) {
            pipeline_resolved(&p, &t);
            rc = pipe_text_end(&t, &e);
        }
        fired = mb_mem_fault_fired();
        mb_mem_fail_nth(0, 0);
        if (rc != (fired ? MB_NOMEM : MB_OK))
            fail_msg("allocation %ld: %d, %s", n + 1, rc, e.text);
        pipe_text_free(&t);
        done(&p);
    }
    assert_true(n > 100);
    fired = 1;
    for (n = 0; fired; n += 7) { /* there are thousands */
        pipeline p;
        mb_err e = {0};
        mb_mem_fail_nth(n + 1, 0);
        int rc = know(&p, &e);
        fired = mb_mem_fault_fired();
        mb_mem_fail_nth(0, 0);
        assert_int_equal(rc, fired ? MB_NOMEM : MB_OK);
        done(&p);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_description_is_the_table),  cmocka_unit_test(damaged_descriptions_are_refused),
        cmocka_unit_test(steps_get_their_values),      cmocka_unit_test(a_matrix_makes_steps),
        cmocka_unit_test(files_extend_files),          cmocka_unit_test(bad_extensions_and_sets_are_told),
        cmocka_unit_test(what_is_resolved_reads_back), cmocka_unit_test(errors_have_places),
        cmocka_unit_test(errors_are_told_once),        cmocka_unit_test(needs_follow_files),
        cmocka_unit_test(impossible_graphs_are_told),  cmocka_unit_test(hostile_files_cost_little),
        cmocka_unit_test(paths_are_cleaned),           cmocka_unit_test(memory_may_run_out)};
    mb_log_set_level(MB_LOG_QUIET);
    return cmocka_run_group_tests(tests, describe, forget);
}
