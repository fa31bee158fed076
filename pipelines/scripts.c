/* See jobs.h: the scripts. Whatever comes from outside is one word of the shell. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pipelines/jobs.h"

void pipe_text_shell(pipe_text *t, const char *s) {
    if (*s && strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-./+@%=:,") == strlen(s)) {
        pipe_text_add(t, "%s", s);
        return;
    }
    pipe_text_add(t, "'");
    for (; *s; s++)
        if (*s == '\'')
            pipe_text_add(t, "'\\''");
        else
            pipe_text_put(t, s, 1);
    pipe_text_add(t, "'");
}

static const char *const SIGNAL[] = {"USR2", "USR1", "TERM", "XCPU"};
static const char *const SYSTEM[] = {"Slurm", "PBS", "LSF"};

/* ---- directives -----------------------------------------------------------------------------------------------------
 */

static void slurm_head(const pipe_job *job, const pipe_call *c, pipe_text *t) {
    const pipe_batch *b = job->batch;
    pipe_text_add(t,
                  "#SBATCH --job-name=%s\n#SBATCH --output=%s/jobs/%s-%s.log\n#SBATCH --open-mode=append\n"
                  "#SBATCH --ntasks=1\n#SBATCH --cpus-per-task=%" PRId64 "\n#SBATCH --time=%" PRId64 "\n",
                  job->name, c->output, job->name, job->tasks ? "%A_%a" : "%j", b->cpus, b->minutes);
    if (b->memory)
        pipe_text_add(t, "#SBATCH --mem=%" PRId64 "M\n", (b->memory + (1 << 20) - 1) >> 20);
    if (b->gpus)
        pipe_text_add(t, "#SBATCH --gpus=%" PRId64 "\n", b->gpus);
    if (b->partition)
        pipe_text_add(t, "#SBATCH --partition=%s\n", b->partition);
    if (b->account)
        pipe_text_add(t, "#SBATCH --account=%s\n", b->account);
    if (b->qos)
        pipe_text_add(t, "#SBATCH --qos=%s\n", b->qos);
    /* Without "B:" the signal reaches the steps, where srun runs the program; Slurm may send it a minute early. */
    pipe_text_add(t, "#SBATCH --signal=%s@%" PRId64 "\n#SBATCH --%s\n", SIGNAL[b->signal], b->signal_seconds,
                  b->requeue == PIPE_REQUEUE_NONE ? "no-requeue" : "requeue");
    for (int i = 0; i < b->n_extra; i++)
        pipe_text_add(t, "#SBATCH %s\n", b->extra[i]);
}

static void pbs_head(const pipe_job *job, const pipe_call *c, pipe_text *t) {
    const pipe_batch *b = job->batch;
    pipe_text_add(t, "#PBS -N %.15s\n#PBS -j oe\n#PBS -o %s/jobs/\n#PBS -l select=1:ncpus=%" PRId64, job->name,
                  c->output, b->cpus);
    if (b->memory)
        pipe_text_add(t, ":mem=%" PRId64 "mb", (b->memory + (1 << 20) - 1) >> 20);
    if (b->gpus)
        pipe_text_add(t, ":ngpus=%" PRId64, b->gpus);
    pipe_text_add(t, "\n#PBS -l walltime=%" PRId64 ":%02d:00\n", b->minutes / 60, (int)(b->minutes % 60));
    if (b->partition)
        pipe_text_add(t, "#PBS -q %s\n", b->partition);
    if (b->account)
        pipe_text_add(t, "#PBS -A %s\n", b->account);
    pipe_text_add(t, "#PBS -r %s\n", b->requeue == PIPE_REQUEUE_NONE ? "n" : "y");
    for (int i = 0; i < b->n_extra; i++)
        pipe_text_add(t, "#PBS %s\n", b->extra[i]);
}

static void lsf_head(const pipe_job *job, const pipe_call *c, pipe_text *t) {
    const pipe_batch *b = job->batch;
    pipe_text_add(
        t, "#BSUB -o %s/jobs/%s-%s.log\n#BSUB -n %" PRId64 "\n#BSUB -R \"span[hosts=1]\"\n#BSUB -W %" PRId64 "\n",
        c->output, job->name, job->tasks ? "%J_%I" : "%J", b->cpus, b->minutes);
    if (b->memory)
        pipe_text_add(t, "#BSUB -M %" PRId64 "MB\n", (b->memory + (1 << 20) - 1) >> 20);
    if (b->gpus)
        pipe_text_add(t, "#BSUB -gpu \"num=%" PRId64 "\"\n", b->gpus);
    if (b->partition)
        pipe_text_add(t, "#BSUB -q %s\n", b->partition);
    if (b->account)
        pipe_text_add(t, "#BSUB -P %s\n", b->account);
    /* LSF counts the warning in whole minutes. */
    pipe_text_add(t, "#BSUB -wa %s -wt %" PRId64 "\n", SIGNAL[b->signal], (b->signal_seconds + 59) / 60);
    if (b->requeue != PIPE_REQUEUE_NONE)
        pipe_text_add(t, "#BSUB -r\n#BSUB -Q \"75\"\n");
    for (int i = 0; i < b->n_extra; i++)
        pipe_text_add(t, "#BSUB %s\n", b->extra[i]);
}

/* ---- the work -------------------------------------------------------------------------------------------------------
 */

static void put_command(const pipe_job *job, const pipe_call *c, pipe_text *t) {
    pipe_text_shell(t, c->program);
    pipe_text_add(t, " run ");
    pipe_text_shell(t, c->path);
    if (job->only) {
        pipe_text_add(t, " --only ");
        pipe_text_shell(t, job->only);
    }
    if (job->tasks) {
        pipe_text_add(t, c->system == PIPE_PBS ? " --shard \"${SEQMAMBA_TASK:-auto}" : " --shard auto");
        if (job->tasks < job->parts)
            pipe_text_add(t, "/%d", job->tasks);
        pipe_text_add(t, c->system == PIPE_PBS ? "\"" : "");
    }
    if (c->programs) {
        pipe_text_add(t, " --programs ");
        pipe_text_shell(t, c->programs);
    }
    for (int i = 0; i < c->n_sets; i++) {
        pipe_text_add(t, " --set ");
        pipe_text_shell(t, c->sets[i].text);
    }
}

/* PBS sends no signal before the limit: the run watches the clock. */
static double own_limit(const pipe_batch *b) {
    const double minutes = (double)b->minutes - (double)b->signal_seconds / 60;
    return minutes > 0.5 ? minutes : (double)b->minutes / 2;
}

static void slurm_work(const pipe_job *job, const pipe_call *c, pipe_text *t) {
    const pipe_batch *b = job->batch;
    pipe_text_add(t,
                  "trap : TERM USR1 USR2 XCPU # the step gets these too, and stops; wait for it\n"
                  "code=0\nsrun --ntasks=1 --cpus-per-task=%" PRId64 " --mpi=none ",
                  b->cpus);
    put_command(job, c, t);
    pipe_text_add(t, " || code=$?\n");
    if (b->requeue != PIPE_REQUEUE_SELF) {
        pipe_text_add(t, "exit $code\n");
        return;
    }
    pipe_text_add(t,
                  "if [ $code = 75 ]; then # stopped; it goes on where it was\n"
                  "    id=$SLURM_JOB_ID\n"
                  "    [ -n \"${SLURM_ARRAY_JOB_ID:-}\" ] && id=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID\n"
                  "    if [ \"${SLURM_RESTART_COUNT:-0}\" -ge %" PRId64 " ]; then\n"
                  "        echo \"stopped %" PRId64 " times; not requeued again\" >&2\n"
                  "    elif scontrol requeue \"$id\"; then\n"
                  "        sleep 60 # until Slurm takes the job away\n"
                  "    fi\n"
                  "fi\n"
                  "exit $code\n",
                  b->max_restarts, b->max_restarts);
}

static void pbs_work(const pipe_job *job, const pipe_call *c, pipe_text *t) {
    const pipe_batch *b = job->batch;
    pipe_text_add(t, "trap : TERM USR1 USR2 XCPU\ncode=0\n");
    put_command(job, c, t);
    pipe_text_add(t, " --max-minutes %.4g || code=$?\n", own_limit(b));
    if (b->requeue == PIPE_REQUEUE_SELF) {
        pipe_text_add(t,
                      "if [ $code = 75 ]; then # stopped; a job of its own goes on where it was\n"
                      "    restarts=${SEQMAMBA_RESTARTS:-0}\n"
                      "    if [ \"$restarts\" -ge %" PRId64 " ]; then\n"
                      "        echo \"stopped %" PRId64 " times; not handed in again\" >&2\n"
                      "    else\n"
                      "        task=${SEQMAMBA_TASK:-${PBS_ARRAY_INDEX:-}}\n"
                      "        qsub -v \"SEQMAMBA_RESTARTS=$((restarts + 1))${task:+,SEQMAMBA_TASK=$task}\" -W "
                      "\"depend=afternotok:$PBS_JOBID\" ",
                      b->max_restarts, b->max_restarts);
        char script[512];
        snprintf(script, sizeof script, "%s/jobs/%s.pbs", c->output, job->name);
        pipe_text_shell(t, script);
        pipe_text_add(t, "\n    fi\nfi\n");
    }
    pipe_text_add(t, "exit $code\n");
}

static void lsf_work(const pipe_job *job, const pipe_call *c, pipe_text *t) {
    pipe_text_add(t, "exec ");
    put_command(job, c, t);
    pipe_text_add(t, " # exit code 75: LSF requeues the job\n");
}

void pipe_job_script(const pipe_jobs *j, int i, const pipe_call *c, pipe_text *t) {
    static void (*const HEAD[])(const pipe_job *, const pipe_call *, pipe_text *) = {slurm_head, pbs_head, lsf_head};
    static void (*const WORK[])(const pipe_job *, const pipe_call *, pipe_text *) = {slurm_work, pbs_work, lsf_work};
    const pipe_job *job = &j->job[i];
    pipe_text_add(t, "#!/bin/bash\n");
    HEAD[c->system](job, c, t);
    pipe_text_add(t, "# A job of the pipeline %s for %s, written by seqmamba submit.\ncd ", c->path, SYSTEM[c->system]);
    pipe_text_shell(t, c->folder);
    pipe_text_add(t, " || exit 74\n");
    for (int k = 0; k < job->batch->n_setup; k++)
        pipe_text_add(t, "%s\n", job->batch->setup[k]);
    WORK[c->system](job, c, t);
}

/* ---- handing in -----------------------------------------------------------------------------------------------------
 */

static void put_needs(const pipe_job *job, const char *before, const char *between, const char *after, pipe_text *t) {
    if (!job->n_needs)
        return;
    pipe_text_add(t, "%s", before);
    for (int k = 0; k < job->n_needs; k++)
        pipe_text_add(t, "%s${id[%d]}", k ? between : "", job->need[k]);
    pipe_text_add(t, "%s", after);
}

/* LSF counts tasks from 1. */
static void put_lsf_list(const char *list, pipe_text *t) {
    while (*list) {
        char *end;
        pipe_text_add(t, "%ld", strtol(list, &end, 10) + 1);
        if (*end)
            pipe_text_put(t, end++, 1);
        list = end;
    }
}

static void hand_in(const pipe_job *job, int i, const pipe_call *c, pipe_text *t) {
    static const char *const SUFFIX[] = {"sbatch", "pbs", "lsf"};
    char script[512];
    snprintf(script, sizeof script, "%s/jobs/%s.%s", c->output, job->name, SUFFIX[c->system]);
    pipe_text_add(t, "id[%d]=$(", i);
    if (c->system == PIPE_SLURM) {
        pipe_text_add(t, "sbatch --parsable");
        if (job->tasks && job->batch->array_limit)
            pipe_text_add(t, " --array=%s%%%" PRId64, job->list, job->batch->array_limit);
        else if (job->tasks)
            pipe_text_add(t, " --array=%s", job->list);
        put_needs(job, " --kill-on-invalid-dep=yes --dependency=afterok:", ":", "", t);
        pipe_text_add(t, " ");
        pipe_text_shell(t, script);
        pipe_text_add(t, ") && id[%d]=${id[%d]%%%%;*} || exit\n", i, i);
    } else if (c->system == PIPE_PBS) {
        pipe_text_add(t, "qsub");
        if (job->tasks)
            pipe_text_add(t, " -J %s", job->list);
        put_needs(job, " -W depend=afterok:", ":", "", t);
        pipe_text_add(t, " ");
        pipe_text_shell(t, script);
        pipe_text_add(t, ") || exit\n");
    } else {
        pipe_text_add(t, "bsub -J \"%s", job->name);
        if (job->tasks) {
            pipe_text_add(t, "[");
            put_lsf_list(job->list, t);
            pipe_text_add(t, "]");
            if (job->batch->array_limit)
                pipe_text_add(t, "%%%" PRId64, job->batch->array_limit);
        }
        pipe_text_add(t, "\"");
        put_needs(job, " -w \"done(", ") && done(", ")\"", t);
        pipe_text_add(t, " <");
        pipe_text_shell(t, script);
        pipe_text_add(t, " | sed -n 's/^Job <\\([0-9]*\\)>.*/\\1/p') && [ -n \"${id[%d]}\" ] || exit 1\n", i);
    }
    pipe_text_add(t, "printf '%%s\\t%%s\\n' %s \"${id[%d]}\"\n", job->name, i);
}

void pipe_submit_script(const pipe_jobs *j, const pipe_call *c, pipe_text *t) {
    pipe_text_add(
        t,
        "#!/bin/bash\n# Hands the jobs of %s in to %s; written by seqmamba submit. Prints names and ids.\nset -u\ncd ",
        c->path, SYSTEM[c->system]);
    pipe_text_shell(t, c->folder);
    pipe_text_add(t, " || exit 74\ndeclare -a id\n");
    for (int i = 0; i < j->n; i++)
        hand_in(&j->job[i], i, c, t);
}
