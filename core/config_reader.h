/* Typed reading of one JSON object: the first failure sticks in rc, later reads return their fallback. */
#ifndef MB_CONFIG_READER_H
#define MB_CONFIG_READER_H
#include <jansson.h>

#include "core/config.h"

typedef struct mb_reader {
    const char *path;
    char section[32];     /* "ssm_cfg." or "": before the key in messages */
    const json_t *object; /* borrowed; NULL reads as empty */
    int rc;
    mb_err *e;
} mb_reader;

#define MB_NEEDED (-2147483647) /* as fallback: the key must be there */

int mb_reader_fail(mb_reader *r, int status, const char *key, const char *fmt, ...) MB_PRINTF(4, 5);
int mb_reader_has(const mb_reader *r, const char *key);
int mb_reader_int(mb_reader *r, const char *key, int fallback, int min, int max);
double mb_reader_real(mb_reader *r, const char *key, double fallback, double min, double max);
int mb_reader_bool(mb_reader *r, const char *key, int fallback);
const char *mb_reader_text(mb_reader *r, const char *key, const char *fallback); /* borrowed from the object */
mb_reader mb_reader_section(mb_reader *r, const char *key); /* an object inside; give its rc back to r */
/* 1 when "architectures" is absent or holds lm, 0 for backbone; anything else fails. */
int mb_reader_head(mb_reader *r, const char *lm, const char *backbone);
/* Labels of a classifier when "architectures" holds its name, else 0: of id2label, or num_labels, or 2. */
int mb_reader_labels(mb_reader *r, const char *classifier);

/* Warns of each key of the object that is none of the n known ones: a misspelt one would leave a default in force. */
void mb_reader_warn_unknown(const mb_reader *r, const char *const *known, int n);

/* The words of enumerations in MB_FAMILY_SEQMAMBA's files, in their order. */
extern const char *const mb_words_norms[3], *const mb_words_act[4], *const mb_words_directions[3];

/* config_families.c: fill c; failures are left in r->rc. */
void mb_config_read_caduceus(mb_config *c, mb_reader *r);
void mb_config_read_ssm(mb_config *c, mb_reader *r);
void mb_config_read_hf(mb_config *c, mb_reader *r);
/* config_recommenders.c */
void mb_config_read_mamba4rec(mb_config *c, mb_reader *r);
void mb_config_read_recmamba(mb_config *c, mb_reader *r);
void mb_config_read_own(mb_config *c, mb_reader *r); /* config_own.c */
/* The index of the text under key among n words; fails on another. */
int mb_reader_choice(mb_reader *r, const char *key, const char *const *word, int n, int fallback);
/* "auto" = ceil(D/16), or a number. */
int mb_reader_rank(mb_reader *r, const char *key, int D);
/* The section ssm_cfg: the arguments of the Mamba class. D is set. */
void mb_reader_ssm_cfg(mb_config *c, mb_reader *r);
/* d_inner = int(expand * d_model) */
int mb_reader_width(mb_reader *r, int D);
#endif
