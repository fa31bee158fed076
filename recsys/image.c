/* See image.h. Refuses images that are cut short, of another version or byte order, whose offsets leave the file, whose
 * tables do not ascend, whose items are out of range, or (verify) whose bytes do not match their checksums. */
#include "recsys/image.h"

#include <inttypes.h>
#include <lzma.h>
#include <math.h>
#include <stddef.h>
#include <string.h>

#include "core/json_guard.h"
#include "core/mem.h"

enum { VERSION = 1, ALIGN = 64, RECIPE_MAX = 65536 };
static const uint32_t ENDIAN = 0x01020304;

static const char *const SECTION[REC_SECTIONS] = {"user_at",   "items",     "times",      "values",    "aux",
                                                  "valid_at",  "test_at",   "user ids",   "user text", "user index",
                                                  "item ids",  "item text", "item index", "aux ids",   "aux text",
                                                  "aux index", "names",     "name text",  "recipe"};

/* ---- layout ---------------------------------------------------------------------------------------------------------
 */
static void ids(uint64_t *bytes, int32_t n, int64_t text) {
    if (n == 0)
        return;
    bytes[0] = ((uint64_t)n + 1) * 8;
    bytes[1] = (uint64_t)text;
    bytes[2] = (uint64_t)rec_slots(n) * 8;
}

int rec_image_layout(rec_header *h, const rec_sizes *s, mb_err *e) {
    const uint64_t n = (uint64_t)s->n_events, users = (uint64_t)s->n_users;
    uint64_t bytes[REC_SECTIONS] = {0}, at = (sizeof *h + ALIGN - 1) / ALIGN * ALIGN;
    if (s->n_events < 0 || n > (uint64_t)1 << 56)
        return mb_fail(e, MB_RANGE, "a log of %" PRId64 " events is too large", s->n_events);
    bytes[REC_SEC_USER_AT] = (users + 1) * 8;
    bytes[REC_SEC_ITEM] = n * 4;
    bytes[REC_SEC_TIME] = s->time ? n * 8 : 0;
    bytes[REC_SEC_VALUE] = s->value ? n * 4 : 0;
    bytes[REC_SEC_AUX] = s->aux ? n * 4 : 0;
    bytes[REC_SEC_VALID] = bytes[REC_SEC_TEST] = s->given ? users * 8 : 0;
    ids(bytes + REC_SEC_USER_ID, s->n_users, s->user_text);
    ids(bytes + REC_SEC_ITEM_ID, s->n_items, s->item_text);
    ids(bytes + REC_SEC_AUX_ID, s->n_aux, s->aux_text);
    bytes[REC_SEC_NAME] = s->names ? ((uint64_t)s->n_items + 1) * 8 : 0;
    bytes[REC_SEC_NAME + 1] = (uint64_t)s->name_text;
    bytes[REC_SEC_RECIPE] = (uint64_t)s->recipe;
    memset(h, 0, sizeof *h);
    memcpy(h->magic, REC_MAGIC, sizeof h->magic);
    h->version = VERSION;
    h->endian = ENDIAN;
    h->n_events = s->n_events;
    h->n_users = s->n_users;
    h->n_items = s->n_items;
    h->n_aux = s->n_aux;
    h->n_sections = REC_SECTIONS;
    for (int k = 0; k < REC_SECTIONS; k++) {
        h->section[k] = (rec_section){.at = at, .bytes = bytes[k]};
        at += (bytes[k] + ALIGN - 1) / ALIGN * ALIGN;
    }
    h->bytes = at;
    return MB_OK;
}

void rec_image_seal(rec_header *h, const void *image) {
    for (int k = 0; k < REC_SECTIONS; k++)
        h->section[k].crc = lzma_crc64((const uint8_t *)image + h->section[k].at, (size_t)h->section[k].bytes, 0);
    h->crc = lzma_crc64((const uint8_t *)h, offsetof(rec_header, crc), 0);
}

/* ---- checking -------------------------------------------------------------------------------------------------------
 */
typedef struct checker {
    const unsigned char *image;
    const rec_header *h;
    const char *path;
    mb_err *e;
} checker;

static int bad(const checker *c, int section, const char *what) {
    return mb_fail(c->e, MB_FORMAT, "%s: the section of %s %s: the file is damaged, make it anew", c->path,
                   SECTION[section], what);
}

static const void *section(const checker *c, int k) {
    return c->h->section[k].bytes ? c->image + c->h->section[k].at : NULL;
}

static int check_header(const checker *c, size_t bytes) {
    const rec_header *h = c->h;
    if (bytes < sizeof *h || memcmp(h->magic, REC_MAGIC, sizeof h->magic) != 0)
        return mb_fail(c->e, MB_FORMAT, "%s: is no log of recmamba prep, or only its beginning", c->path);
    if (h->endian != ENDIAN)
        return mb_fail(c->e, MB_NOTSUP, "%s: was made on a machine of the other byte order; make it anew here",
                       c->path);
    if (h->version != VERSION)
        return mb_fail(c->e, MB_NOTSUP, "%s: is a log of version %" PRIu32 "; this program reads version %d", c->path,
                       h->version, VERSION);
    if (h->n_sections != REC_SECTIONS)
        return mb_fail(c->e, MB_FORMAT, "%s: its header is damaged", c->path);
    if (h->bytes != bytes)
        return mb_fail(c->e, MB_FORMAT,
                       "%s: has %zu bytes, and says that it has %" PRIu64 ": it was cut short or added to", c->path,
                       bytes, h->bytes);
    return MB_OK;
}

/* The layout that the counts lead to is the layout there is. */
static int check_layout(const checker *c) {
    const rec_header *h = c->h;
    rec_header expected;
    if (h->n_users < 1 || h->n_items < 1 || h->n_items == INT32_MAX || h->n_aux < 0 || h->n_aux == INT32_MAX ||
        h->n_events < 1 || (uint64_t)h->n_events > h->bytes / sizeof(int32_t))
        return mb_fail(c->e, MB_FORMAT, "%s: its header counts no events, users or items, or too many", c->path);
    const rec_section *s = h->section;
    const rec_sizes sizes = {.n_users = h->n_users,
                             .n_items = h->n_items,
                             .n_aux = h->n_aux,
                             .n_events = h->n_events,
                             .time = s[REC_SEC_TIME].bytes != 0,
                             .value = s[REC_SEC_VALUE].bytes != 0,
                             .aux = s[REC_SEC_AUX].bytes != 0,
                             .given = s[REC_SEC_VALID].bytes != 0,
                             .names = s[REC_SEC_NAME].bytes != 0,
                             .user_text = (int64_t)s[REC_SEC_USER_ID + 1].bytes,
                             .item_text = (int64_t)s[REC_SEC_ITEM_ID + 1].bytes,
                             .aux_text = (int64_t)s[REC_SEC_AUX_ID + 1].bytes,
                             .name_text = (int64_t)s[REC_SEC_NAME + 1].bytes,
                             .recipe = (int64_t)s[REC_SEC_RECIPE].bytes};
    for (int k = 0; k < REC_SECTIONS; k++)
        if (s[k].bytes > h->bytes || s[k].at > h->bytes - s[k].bytes)
            return bad(c, k, "lies outside the file");
    int rc = rec_image_layout(&expected, &sizes, c->e);
    if (rc != MB_OK)
        return rc;
    for (int k = 0; k < REC_SECTIONS; k++)
        if (s[k].at != expected.section[k].at || s[k].bytes != expected.section[k].bytes)
            return bad(c, k, "has another size than the header's counts ask for");
    if (expected.bytes != h->bytes || (sizes.aux && h->n_aux == 0))
        return mb_fail(c->e, MB_FORMAT, "%s: its header is damaged", c->path);
    return MB_OK;
}

static int check_sums(const checker *c) {
    if (lzma_crc64((const uint8_t *)c->h, offsetof(rec_header, crc), 0) != c->h->crc)
        return mb_fail(c->e, MB_FORMAT, "%s: its header does not match its checksum: the file is damaged", c->path);
    for (int k = 0; k < REC_SECTIONS; k++) {
        const rec_section *s = &c->h->section[k];
        if (lzma_crc64(c->image + s->at, (size_t)s->bytes, 0) != s->crc)
            return bad(c, k, "does not match its checksum");
    }
    return MB_OK;
}

/* 0 = at[0] <= at[1] ... at[n] = last, differences in [least, most]. */
static int check_ascent(const checker *c, int k, int64_t n, int64_t last, int64_t least, int64_t most) {
    const int64_t *at = section(c, k);
    if (at[0] != 0 || at[n] != last)
        return bad(c, k, "does not cover what it should");
    int wrong = 0;
    for (int64_t i = 0; i < n; i++) /* the difference could overflow before the ends are known to be in range */
        wrong |= at[i + 1] < at[i] || at[i] < 0 || at[i + 1] - at[i] < least || at[i + 1] - at[i] > most;
    return wrong ? bad(c, k, "does not ascend") : MB_OK;
}

static int check_range(const checker *c, int k, int32_t low, int32_t high) {
    const int32_t *v = section(c, k);
    int32_t least = INT32_MAX, most = INT32_MIN;
    if (!v)
        return MB_OK;
    for (int64_t i = 0; i < c->h->n_events; i++) {
        least = v[i] < least ? v[i] : least;
        most = v[i] > most ? v[i] : most;
    }
    return least < low || most > high ? bad(c, k, "holds numbers out of range") : MB_OK;
}

static int check_values(const checker *c) {
    const float *v = section(c, REC_SEC_VALUE);
    int wrong = 0;
    for (int64_t i = 0; v && i < c->h->n_events; i++)
        wrong |= !isfinite(v[i]);
    return wrong ? bad(c, REC_SEC_VALUE, "holds what is no finite number") : MB_OK;
}

static int check_given(const checker *c) {
    const int64_t *valid = section(c, REC_SEC_VALID), *test = section(c, REC_SEC_TEST),
                  *user_at = section(c, REC_SEC_USER_AT);
    int wrong = 0;
    for (int32_t u = 0; valid && u < c->h->n_users; u++)
        wrong |= valid[u] < user_at[u] || test[u] < valid[u] || user_at[u + 1] < test[u];
    return wrong ? bad(c, REC_SEC_VALID, "is no split of the events") : MB_OK;
}

static int check_ids(const checker *c, int k, int32_t n) {
    return n ? check_ascent(c, k, n, (int64_t)c->h->section[k + 1].bytes, 1, REC_NAME_MAX) : MB_OK;
}

/* People and programs read it: a JSON object in plain ASCII. */
static int check_recipe(const checker *c) {
    static const mb_json_limits LIMITS = {.depth = 4, .parts = 256};
    const rec_section *s = &c->h->section[REC_SEC_RECIPE];
    const char *text = (const char *)c->image + s->at;
    mb_err why = {0};
    json_t *object = NULL;
    if (s->bytes < 2 || s->bytes > RECIPE_MAX || text[s->bytes - 1] != 0)
        return bad(c, REC_SEC_RECIPE, "has no end");
    for (uint64_t i = 0; i + 1 < s->bytes; i++)
        if (text[i] < ' ' || text[i] > '~')
            return bad(c, REC_SEC_RECIPE, "is no plain text");
    char *copy = mb_strdup(text);
    int rc = copy ? mb_json_parse(&object, copy, (size_t)s->bytes - 1, &LIMITS, 0, c->path, 0, &why)
                  : mb_fail(&why, MB_NOMEM, "no memory");
    const int right = rc == MB_OK && json_is_object(object);
    json_decref(object);
    mb_free(copy);
    if (rc == MB_NOMEM)
        return mb_fail(c->e, MB_NOMEM, "%s: no memory to open it", c->path);
    return right ? MB_OK : bad(c, REC_SEC_RECIPE, "is no JSON object");
}

static int check_sections(const checker *c) {
    const rec_header *h = c->h;
    int rc = check_ascent(c, REC_SEC_USER_AT, h->n_users, h->n_events, 1, INT64_MAX);
    if (rc == MB_OK)
        rc = check_range(c, REC_SEC_ITEM, 1, h->n_items);
    if (rc == MB_OK)
        rc = check_range(c, REC_SEC_AUX, 0, h->n_aux);
    if (rc == MB_OK)
        rc = check_values(c);
    if (rc == MB_OK)
        rc = check_given(c);
    if (rc == MB_OK)
        rc = check_ids(c, REC_SEC_USER_ID, h->n_users);
    if (rc == MB_OK)
        rc = check_ids(c, REC_SEC_ITEM_ID, h->n_items);
    if (rc == MB_OK)
        rc = check_ids(c, REC_SEC_AUX_ID, h->n_aux);
    if (rc == MB_OK && section(c, REC_SEC_NAME))
        rc = check_ascent(c, REC_SEC_NAME, h->n_items, (int64_t)h->section[REC_SEC_NAME + 1].bytes, 0, REC_NAME_MAX);
    return rc == MB_OK ? check_recipe(c) : rc;
}

static rec_table table(const checker *c, int k, int32_t n) {
    return (rec_table){n, section(c, k), section(c, k + 1), section(c, k + 2)};
}

int rec_image_attach(rec_log *l, const void *image, size_t bytes, int verify, const char *path, mb_err *e) {
    const checker c = {image, image, path, e};
    int rc = check_header(&c, bytes);
    if (rc == MB_OK)
        rc = check_layout(&c);
    if (rc == MB_OK && verify)
        rc = check_sums(&c);
    if (rc == MB_OK)
        rc = check_sections(&c);
    if (rc != MB_OK)
        return rc;
    const rec_header *h = c.h;
    l->view = (rec_view){.n_users = h->n_users,
                         .n_items = h->n_items,
                         .n_aux = h->n_aux,
                         .n_events = h->n_events,
                         .user_at = section(&c, REC_SEC_USER_AT),
                         .item = section(&c, REC_SEC_ITEM),
                         .time = section(&c, REC_SEC_TIME),
                         .value = section(&c, REC_SEC_VALUE),
                         .aux = section(&c, REC_SEC_AUX)};
    l->user = table(&c, REC_SEC_USER_ID, h->n_users);
    l->item = table(&c, REC_SEC_ITEM_ID, h->n_items);
    l->aux = table(&c, REC_SEC_AUX_ID, h->n_aux);
    l->name_at = section(&c, REC_SEC_NAME);
    l->name_text = section(&c, REC_SEC_NAME + 1);
    l->valid = section(&c, REC_SEC_VALID);
    l->test = section(&c, REC_SEC_TEST);
    l->recipe = section(&c, REC_SEC_RECIPE);
    return rec_table_digest(&l->item, l->items_digest, e);
}
