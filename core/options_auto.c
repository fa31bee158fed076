/* How many threads and how much memory a process should take when nobody said: environment of OpenMP and of batch
 * schedulers, affinity, control groups (v1 and v2, every level), resource limits. Reads only; what cannot be read does
 * not limit. */
#include "core/file.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/options_internal.h"

#include <ctype.h>
#include <limits.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { SMALL_FILE = 64 * 1024, MAX_THREADS = 4096 };

/* A small file of the kernel, whole; NULL when it is not to be had. */
static char *slurp(const char *root, const char *path) {
    char full[PATH_MAX], *text = NULL;
    size_t n;
    mb_err e = {0};
    if ((size_t)snprintf(full, sizeof full, "%s%s", root, path) >= sizeof full ||
        mb_file_read_all(full, SMALL_FILE, &text, &n, &e))
        return NULL;
    return text;
}

/* A first number in the text; -1 when there is none ("max"). */
static double number(const char *text) {
    char *end;
    double v = strtod(text, &end);
    return end == text || !(v >= 0) ? -1 : v;
}

/* "Name:  123 kB" of /proc/meminfo and the like; -1 when absent. */
static double named_number(const char *text, const char *name) {
    size_t n = strlen(name);
    for (const char *line = text; line; line = (line = strchr(line, '\n')) ? line + 1 : NULL)
        if (strncmp(line, name, n) == 0 && (line[n] == ' ' || line[n] == ':' || line[n] == '\t'))
            return number(line + n + strspn(line + n, ": \t"));
    return -1;
}

static double read_number(const char *root, const char *dir, const char *file) {
    char path[PATH_MAX];
    double v = -1;
    if ((size_t)snprintf(path, sizeof path, "%s/%s", dir, file) >= sizeof path)
        return -1;
    char *text = slurp(root, path);
    if (text)
        v = number(text);
    mb_free(text);
    return v;
}

/* ---- control groups -----------------------------------------------------------------------------------------------*/
/* The path of this process in the hierarchy of a controller ("" = v2) from /proc/self/cgroup: "4:cpu,cpuacct:/a/b". */
static int group_path(const char *root, const char *controller, char *out) {
    char *text = slurp(root, "/proc/self/cgroup");
    int found = 0;
    for (char *line = text, *next; line && *line && !found; line = next) {
        next = strchr(line, '\n');
        if (next)
            *next++ = '\0';
        char *names = strchr(line, ':'), *path = names ? strchr(names + 1, ':') : NULL;
        if (!path)
            continue;
        *path++ = '\0';
        if (!*controller)
            found = names[1] == '\0';
        for (char *save, *name = strtok_r(names + 1, ",", &save); name && *controller && !found;
             name = strtok_r(NULL, ",", &save))
            found = strcmp(name, controller) == 0;
        if (found)
            snprintf(out, PATH_MAX, "%s", path);
    }
    mb_free(text);
    return found;
}

typedef double level_fn(const char *root, const char *dir);

/* The least of what f says at every level from the process's own group up to the mount; -1 when none says anything.
 * Inside a container the path may not be visible; the mount's top then is the container's own group. */
static double least_of_levels(const char *root, const char *mount, const char *group, level_fn *f) {
    char dir[2 * PATH_MAX];
    double least = -1;
    size_t top = (size_t)snprintf(dir, sizeof dir, "%s", mount);
    snprintf(dir + top, sizeof dir - top, "%s", strcmp(group, "/") == 0 ? "" : group);
    for (;;) {
        double v = f(root, dir);
        if (v >= 0 && (least < 0 || v < least))
            least = v;
        char *slash = strrchr(dir + top, '/');
        if (!slash)
            return least;
        *slash = '\0';
    }
}

static double cpus_v2(const char *root, const char *dir) {
    char path[2 * PATH_MAX];
    double quota = -1, cpus = -1;
    snprintf(path, sizeof path, "%s/cpu.max", dir);
    char *text = slurp(root, path), *space = text ? strchr(text, ' ') : NULL;
    if (space && (quota = number(text)) > 0 && number(space + 1) > 0)
        cpus = quota / number(space + 1);
    mb_free(text);
    return cpus;
}

static double cpus_v1(const char *root, const char *dir) {
    double quota = read_number(root, dir, "cpu.cfs_quota_us"), period = read_number(root, dir, "cpu.cfs_period_us");
    return quota > 0 && period > 0 ? quota / period : -1;
}

/* What a group may still take: its limit less what it uses, page cache that can be dropped not counted as used. */
static double room(const char *root, const char *dir, const char *limit_file, const char *used_file,
                   const char *cache) {
    char path[2 * PATH_MAX];
    double limit = read_number(root, dir, limit_file), used = read_number(root, dir, used_file);
    if (limit < 0 || limit > 0x1p60) /* v1 says "no limit" with a huge number */
        return -1;
    snprintf(path, sizeof path, "%s/memory.stat", dir);
    char *stat = slurp(root, path);
    double dropped = stat ? named_number(stat, cache) : -1;
    mb_free(stat);
    double left = limit - (used > 0 ? used : 0) + (dropped > 0 ? dropped : 0);
    return left < 0 ? 0 : left < limit ? left : limit;
}

static double memory_v2(const char *root, const char *dir) {
    double max = room(root, dir, "memory.max", "memory.current", "inactive_file");
    double high = room(root, dir, "memory.high", "memory.current", "inactive_file");
    return max < 0 || (high >= 0 && high < max) ? high : max;
}

static double memory_v1(const char *root, const char *dir) {
    return room(root, dir, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file");
}

static double group_limit(const char *root, const char *controller, level_fn *v1, level_fn *v2) {
    char group[PATH_MAX], mount[64];
    double a = -1, b = -1;
    if (group_path(root, "", group))
        a = least_of_levels(root, "/sys/fs/cgroup", group, v2);
    if (a < 0 && group_path(root, "", group))
        a = least_of_levels(root, "/sys/fs/cgroup/unified", group, v2);
    if (group_path(root, controller, group)) {
        snprintf(mount, sizeof mount, "/sys/fs/cgroup/%s", controller);
        b = least_of_levels(root, mount, group, v1);
        if (b < 0 && strcmp(controller, "cpu") == 0)
            b = least_of_levels(root, "/sys/fs/cgroup/cpu,cpuacct", group, v1);
    }
    return a < 0 || (b >= 0 && b < a) ? b : a;
}

/* ---- threads ------------------------------------------------------------------------------------------------------*/
/* A count from the environment; OpenMP's may be a list for nested teams, of which the first counts. */
static int env_count(const char *name) {
    const char *s = getenv(name);
    char *end;
    if (!s || !isdigit((unsigned char)*s))
        return 0;
    long n = strtol(s, &end, 10);
    return (*end && *end != ',') || n < 1 || n > MAX_THREADS ? 0 : (int)n;
}

static int affinity(void) {
    /* Machines beyond 1024 processors need a larger set than cpu_set_t. */
    enum { MOST = 16384 };
    cpu_set_t *set = CPU_ALLOC(MOST);
    size_t bytes = CPU_ALLOC_SIZE(MOST);
    int n = set && sched_getaffinity(0, bytes, set) == 0 ? CPU_COUNT_S(bytes, set) : 0;
    if (set)
        CPU_FREE(set);
    if (n < 1)
        n = (int)sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : n;
}

int64_t mb_auto_threads(const char *root, char *reason) {
    static const char *const VARIABLES[] = {"OMP_NUM_THREADS", "SLURM_CPUS_PER_TASK", "NSLOTS", "NCPUS",
                                            "LSB_DJOB_NUMPROC"};
    for (size_t i = 0; i < sizeof VARIABLES / sizeof VARIABLES[0]; i++) {
        int n = env_count(VARIABLES[i]);
        if (n) {
            snprintf(reason, MB_OPTIONS_WHY, "%s says so", VARIABLES[i]);
            return n;
        }
    }
    int n = affinity();
    double quota = group_limit(root, "cpu", cpus_v1, cpus_v2);
    if (quota >= 0 && quota < n) {
        int whole = quota < 1 ? 1 : (int)quota;
        snprintf(reason, MB_OPTIONS_WHY, "the control group grants %.3g of %d processors", quota, n);
        return whole;
    }
    snprintf(reason, MB_OPTIONS_WHY, "processors this process may run on");
    return n < MAX_THREADS ? n : MAX_THREADS;
}

/* ---- memory -------------------------------------------------------------------------------------------------------*/
static void take_less(double *least, const char **why, double v, const char *what) {
    if (v >= 0 && v < *least) {
        *least = v;
        *why = what;
    }
}

int64_t mb_auto_memory(const char *root, char *reason) {
    char size[32];
    const char *why = "of the machine's available memory";
    char *info = slurp(root, "/proc/meminfo"), *status = slurp(root, "/proc/self/status");
    double available = info ? named_number(info, "MemAvailable") * 1024 : -1;
    double taken = status ? named_number(status, "VmSize") * 1024 : 0;
    struct rlimit limit;
    mb_free(info);
    mb_free(status);
    if (available < 0)
        available = (double)sysconf(_SC_AVPHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
    take_less(&available, &why, group_limit(root, "memory", memory_v1, memory_v2), "of what the control group leaves");
    if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
        take_less(&available, &why, (double)limit.rlim_cur > taken ? (double)limit.rlim_cur - taken : 0,
                  "of what ulimit -v leaves");
    const char *slurm = getenv("SLURM_MEM_PER_NODE"); /* MiB; 0 = the whole node */
    if (slurm && number(slurm) > 0)
        take_less(&available, &why, number(slurm) * 1048576, "of SLURM_MEM_PER_NODE");
    double use = 0.8 * available;
    snprintf(reason, MB_OPTIONS_WHY, "80 %% %s (%s)", why, mb_human_bytes(available, size));
    return use < 1 ? 1 : (int64_t)use;
}
