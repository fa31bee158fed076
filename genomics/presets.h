/* Architectures to train, by name: those published, and small ones for a laptop. */
#ifndef DNA_PRESETS_H
#define DNA_PRESETS_H
#include "core/config.h"

/* "caduceus-ps" etc.: NAME or NAME:d256:n4:s16 (width, layers, states). MB_NOTFOUND when the name is none of them; the
 * error lists all. */
int dna_preset_config(mb_config *c, const char *name, mb_err *e) MB_MUST_USE;
/* 1 when text begins like a preset, so that a typo in what follows is told as such. */
int dna_preset_is(const char *text);
/* One line each, for help: "caduceus-ps-131k   width 256, 16 layers, ...\n". */
const char *dna_preset_list(void);
#endif
