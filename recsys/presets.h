/* Architectures to train, by name. */
#ifndef REC_PRESETS_H
#define REC_PRESETS_H
#include "core/config.h"

/* NAME, or NAME with sizes: NAME:d64:n2:s32 (width, layers, states), for so many items. window: rows of the learned
 * positions of RecMamba. MB_NOTFOUND when the name is none; the error lists all. */
int rec_preset_config(mb_config *c, const char *name, int32_t items, int64_t window, mb_err *e) MB_MUST_USE;
/* 1 when text begins like a preset, so that a typo in what follows is told as such. */
int rec_preset_is(const char *text);
const char *rec_preset_list(void);
/* A configuration for so many items instead of those it has. */
int rec_config_for(mb_config *c, int32_t items, const char *where, mb_err *e) MB_MUST_USE;
#endif
