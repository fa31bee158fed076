/* A small recommender in a folder of its own, for tests and benchmarks. */
#ifndef TESTS_RECFOLDER_H
#define TESTS_RECFOLDER_H
#include "core/model.h"

/* Items "i1" .. over a shaken model of the configuration (V = items + 1). folder is made. Exits when that fails. */
void rec_folder_write(const char *folder, const mb_config *c);
/* A causal stack at the shape of Mamba4Rec: D 64, N 32, expansion 2, of `layers` layers. */
mb_config rec_folder_config(int items, int layers);
#endif
