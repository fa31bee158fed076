/* Model names: a path, or ORG/NAME[@REVISION] in the local Hugging Face cache
 *   CACHE/models--ORG--NAME/refs/REVISION      the commit a branch or tag points to
 *   CACHE/models--ORG--NAME/snapshots/COMMIT/  its files (links to blobs)
 * (huggingface_hub, "Manage huggingface_hub cache-system"). Nothing is fetched: what is absent is refused with the
 * place looked in and the command that fetches it. Refused too: names that could leave the cache, refs that hold no
 * commit, snapshots without config.json or weights, and an ambiguous snapshot. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/file.h"
#include "core/mem.h"
#include "core/weights.h"

enum { MAX_PART = 96, MAX_REVISION = 200, MAX_REF = 4096 };

#define EXAMPLE "kuleshov-group/caduceus-ps_seqlen-131k_d_model-256_n_layer-16"

typedef struct hub_name {
    const char *typed;
    char org[MAX_PART + 1], name[MAX_PART + 1], revision[MAX_REVISION + 1]; /* revision "" when none was given */
} hub_name;

/* ---- names --------------------------------------------------------------------------------------------------------
 */

static int is_part(const char *s, size_t n) {
    if (n == 0 || n > MAX_PART || s[0] == '.' || s[0] == '-')
        return 0;
    for (size_t i = 0; i < n; i++)
        if (!((s[i] >= 'a' && s[i] <= 'z') || (s[i] >= 'A' && s[i] <= 'Z') || (s[i] >= '0' && s[i] <= '9') ||
              strchr("-_.", s[i])))
            return 0;
    return 1;
}

/* Branches may have slashes, but no part of a revision begins with a dot. */
static int is_revision(const char *s) {
    size_t n = strlen(s), part = 0;
    if (n == 0 || n > MAX_REVISION)
        return 0;
    for (size_t i = 0; i <= n; i++)
        if (i == n || s[i] == '/') {
            if (!is_part(s + part, i - part))
                return 0;
            part = i + 1;
        }
    return 1;
}

/* ORG/NAME or ORG/NAME@REVISION */
static int parse_name(hub_name *h, const char *typed) {
    const char *slash = strchr(typed, '/'), *at = slash ? strchr(slash, '@') : NULL;
    if (!slash)
        return 0;
    size_t org = (size_t)(slash - typed), name = at ? (size_t)(at - slash - 1) : strlen(slash + 1);
    if (!is_part(typed, org) || !is_part(slash + 1, name) || (at && !is_revision(at + 1)))
        return 0;
    *h = (hub_name){.typed = typed};
    memcpy(h->org, typed, org);
    memcpy(h->name, slash + 1, name);
    if (at)
        memcpy(h->revision, at + 1, strlen(at + 1)); /* the rest is zero */
    return 1;
}

/* ---- the cache ----------------------------------------------------------------------------------------------------
 */

/* value + tail, "~/" at its beginning replaced by $HOME/; NULL without memory. */
static char *expand(const char *value, const char *tail) {
    const char *home = getenv("HOME");
    if (value[0] == '~' && value[1] == '/' && home && *home)
        return mb_asprintf("%s%s%s", home, value + 1, tail);
    return mb_asprintf("%s%s", value, tail);
}

static int cache_folder(char **cache, mb_err *e) {
    static const struct {
        const char *variable, *tail;
    } places[] = {{"HF_HUB_CACHE", ""},
                  {"HUGGINGFACE_HUB_CACHE", ""},
                  {"HF_HOME", "/hub"},
                  {"XDG_CACHE_HOME", "/huggingface/hub"},
                  {"HOME", "/.cache/huggingface/hub"}};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        const char *value = getenv(places[i].variable);
        if (!value || !*value)
            continue;
        *cache = expand(value, places[i].tail);
        return *cache ? MB_OK : mb_fail(e, MB_NOMEM, "no memory for a path");
    }
    *cache = NULL;
    return mb_fail(e, MB_NOTFOUND, "no $HOME and no $HF_HOME: the Hugging Face cache cannot be found; give a folder");
}

/* Reads a commit out of refs/REVISION. MB_NOTFOUND without a message when there is none. */
static int read_ref(const char *repo, const char *revision, char *commit, mb_err *e) {
    char *path = mb_asprintf("%s/refs/%s", repo, revision), *text = NULL;
    size_t n = 0;
    if (!path)
        return mb_fail(e, MB_NOMEM, "no memory for a path");
    int rc = mb_file_exists(path) ? mb_file_read_all(path, MAX_REF, &text, &n, e) : MB_NOTFOUND;
    if (rc == MB_OK) {
        while (n && strchr(" \t\r\n", text[n - 1]))
            n--;
        if (n > MAX_PART || strspn(text, "0123456789abcdef") < n || n < 7)
            rc = mb_fail(e, MB_FORMAT, "%s: holds no commit; remove it and fetch the model again", path);
        else
            snprintf(commit, MAX_PART + 1, "%.*s", (int)n, text);
    }
    mb_free(text);
    mb_free(path);
    return rc;
}

/* Snapshots whose name begins with prefix: their number, and the first two by name. */
static int count_snapshots(const char *repo, const char *prefix, char first[2][MAX_PART + 1], mb_err *e) {
    char *path = mb_asprintf("%s/snapshots", repo);
    if (!path)
        return mb_fail(e, MB_NOMEM, "no memory for a path");
    DIR *d = opendir(path);
    int n = 0;
    for (struct dirent *entry; d && (entry = readdir(d));) {
        const char *name = entry->d_name;
        if (!is_part(name, strlen(name)) || strncmp(name, prefix, strlen(prefix)) != 0)
            continue;
        if (n == 0 || strcmp(name, first[0]) < 0) {
            if (n)
                memcpy(first[1], first[0], sizeof first[1]);
            memcpy(first[0], name, strlen(name) + 1); /* is_part bounds it */
        } else if (n == 1 || strcmp(name, first[1]) < 0) {
            memcpy(first[1], name, strlen(name) + 1);
        }
        n++;
    }
    if (d)
        closedir(d);
    mb_free(path);
    return n;
}

static int absent(const hub_name *h, const char *repo, const char *what, mb_err *e) {
    return mb_fail(
        e, MB_NOTFOUND,
        "%s: no such folder here, and %s in the Hugging Face cache (%s); fetch it with: hf download %s/%s%s%s "
        "(or copy config.json and model.safetensors into a folder and give that)",
        h->typed, what, repo, h->org, h->name, *h->revision ? " --revision " : "", h->revision);
}

/* The commit to use: of the ref, or of the snapshot that begins so, or the only one. */
static int choose_commit(const hub_name *h, const char *repo, char *commit, mb_err *e) {
    char first[2][MAX_PART + 1] = {"", ""};
    int rc = read_ref(repo, *h->revision ? h->revision : "main", commit, e);
    if (rc != MB_NOTFOUND)
        return rc;
    int n = count_snapshots(repo, h->revision, first, e);
    if (n < 0)
        return n;
    if (n == 1) {
        memcpy(commit, first[0], sizeof first[0]);
        return MB_OK;
    }
    if (n > 1)
        return mb_fail(e, MB_NOTFOUND, "%s: several snapshots fit in %s; choose one: %s/%s@%.12s or %s/%s@%.12s%s",
                       h->typed, repo, h->org, h->name, first[0], h->org, h->name, first[1], n > 2 ? ", ..." : "");
    return absent(h, repo, *h->revision ? "no such revision of it" : "no snapshot of it", e);
}

/* Whether one of the names (ended by NULL) is a file in dir. */
static int has_one(const char *dir, const char *const *names, int *has, mb_err *e) {
    *has = 0;
    for (; *names && !*has; names++) {
        char *path = mb_path_join(dir, *names);
        if (!path)
            return mb_fail(e, MB_NOMEM, "no memory for a path");
        *has = mb_file_exists(path);
        mb_free(path);
    }
    return MB_OK;
}

/* A download that was interrupted leaves a snapshot with some files. */
static int check_snapshot(const hub_name *h, const char *repo, const char *dir, mb_err *e) {
    static const char *const config[] = {"config.json", NULL};
    static const char *const weights[] = {"model.safetensors", "model.safetensors.index.json", "pytorch_model.bin",
                                          "pytorch_model.bin.index.json", NULL};
    int has_config, has_weights;
    if (!mb_dir_exists(dir))
        return absent(h, repo, "no files of it", e);
    int rc = has_one(dir, config, &has_config, e);
    if (rc == MB_OK)
        rc = has_one(dir, weights, &has_weights, e);
    if (rc != MB_OK || (has_config && has_weights))
        return rc;
    return absent(h, dir, has_config ? "no weights of it" : "no config.json of it", e);
}

static int look_up(const hub_name *h, char **dir, mb_err *e) {
    char *cache = NULL, *repo = NULL, *snapshot = NULL, commit[MAX_PART + 1] = "";
    int rc = cache_folder(&cache, e);
    if (rc == MB_OK && !(repo = mb_asprintf("%s/models--%s--%s", cache, h->org, h->name)))
        rc = mb_fail(e, MB_NOMEM, "no memory for a path");
    if (rc == MB_OK && !mb_dir_exists(repo))
        rc = absent(h, repo, "not", e);
    if (rc == MB_OK)
        rc = choose_commit(h, repo, commit, e);
    if (rc == MB_OK && !(snapshot = mb_asprintf("%s/snapshots/%s", repo, commit)))
        rc = mb_fail(e, MB_NOMEM, "no memory for a path");
    if (rc == MB_OK)
        rc = check_snapshot(h, repo, snapshot, e);
    if (rc == MB_OK) {
        *dir = snapshot;
        snapshot = NULL;
    }
    mb_free(snapshot);
    mb_free(repo);
    mb_free(cache);
    return rc;
}

/* ---- what is neither ----------------------------------------------------------------------------------------------
 */

/* A model in the cache with that name, whatever the organisation: "ORG/NAME" into found. */
static void find_by_name(const char *name, char *found, size_t room) {
    char *cache = NULL;
    mb_err ignored = {0};
    *found = '\0';
    if (cache_folder(&cache, &ignored) != MB_OK)
        return;
    DIR *d = opendir(cache);
    for (struct dirent *entry; d && (entry = readdir(d));) {
        const char *org = strncmp(entry->d_name, "models--", 8) == 0 ? entry->d_name + 8 : NULL;
        const char *dashes = org ? strstr(org, "--") : NULL;
        if (dashes && strcmp(dashes + 2, name) == 0)
            snprintf(found, room, "%.*s/%s", (int)(dashes - org), org, name);
    }
    if (d)
        closedir(d);
    mb_free(cache);
}

/* Length of the longest leading part of the path that exists as a folder; 0 none. */
static size_t existing_part(const char *path) {
    size_t n = strlen(path);
    char *part = mb_strdup(path);
    while (part && n > 0) {
        while (n > 0 && part[n - 1] != '/')
            n--;
        while (n > 1 && part[n - 1] == '/')
            n--;
        part[n] = '\0';
        if (n > 0 && mb_dir_exists(part))
            break;
        if (n == 1)
            n = 0;
    }
    mb_free(part);
    return part ? n : 0;
}

static int not_found(const char *model, mb_err *e) {
    char found[2 * MAX_PART + 2];
    if (!*model)
        return mb_fail(e, MB_NOTFOUND, "the model's name is empty; give a folder or a name such as " EXAMPLE);
    if (!strchr(model, '/')) {
        find_by_name(model, found, sizeof found);
        if (*found)
            return mb_fail(e, MB_NOTFOUND,
                           "%s: no such folder or file; in the Hugging Face cache there is %s: say that", model, found);
        return mb_fail(
            e, MB_NOTFOUND,
            "%s: no such folder or file; a model of the Hugging Face hub is written ORG/NAME, such as " EXAMPLE, model);
    }
    size_t n = existing_part(model);
    if (n)
        return mb_fail(e, MB_NOTFOUND, "%s: no such folder or file (%.*s exists, what follows does not)", model, (int)n,
                       model);
    return mb_fail(e, MB_NOTFOUND, "%s: no such folder or file, and no name of the form ORG/NAME or ORG/NAME@REVISION",
                   model);
}

int mb_hub_resolve(const char *model, char **dir, mb_err *e) {
    struct stat st;
    hub_name h;
    *dir = NULL;
    if (*model && stat(model, &st) == 0) {
        const char *slash = strrchr(model, '/');
        if (!S_ISDIR(st.st_mode) && strcmp(slash ? slash + 1 : model, "config.json") == 0)
            return mb_fail(e, MB_USAGE, "%s: is only the configuration of a model; give its folder: %.*s", model,
                           slash ? (int)(slash - model) : 1, slash ? model : ".");
        *dir = mb_strdup(model);
        return *dir ? MB_OK : mb_fail(e, MB_NOMEM, "no memory for a path");
    }
    if (parse_name(&h, model))
        return look_up(&h, dir, e);
    return not_found(model, e);
}
