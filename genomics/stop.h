/* Asking a long run to end at the next safe place: SIGINT, SIGTERM, SIGUSR2 and SIGXCPU set a flag; a second SIGINT or
 * SIGTERM ends the program at once. */
#ifndef DNA_STOP_H
#define DNA_STOP_H
#include <stdatomic.h>

/* From now on. */
const atomic_int *dna_stop_install(void);
#endif
