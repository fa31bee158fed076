/* Guarded memory of the executor: what cuda_exec_take() gives lies between zones that nobody may write. */
#ifndef MB_TESTS_GUARDS_H
#define MB_TESTS_GUARDS_H

typedef void guards_finding(const char *format, ...);
/* Tells the first written guard, and mends it. */
void guards_check(guards_finding *finding);
#endif
