/* Statuses: the one list of ways a call can fail. Kernels, core and front ends share it. */
#ifndef MB_STATUS_H
#define MB_STATUS_H

/* name, value, exit code of a program that ends with it, words */
#define MB_STATUS_LIST(X)                                                                                              \
    X(OK, 0, 0, "success")                                                                                             \
    X(FAIL, -1, 1, "failed")                                                                                           \
    X(NOMEM, -2, 1, "out of memory")                                                                                   \
    X(USAGE, -3, 2, "wrong usage or configuration")                                                                    \
    X(FORMAT, -4, 65, "malformed input")                                                                               \
    X(NOTFOUND, -5, 74, "not found")                                                                                   \
    X(IO, -6, 74, "input/output error")                                                                                \
    X(NOTSUP, -7, 1, "not supported")                                                                                  \
    X(RANGE, -8, 65, "out of range")                                                                                   \
    X(STOPPED, -9, 75, "stopped on request, can be resumed")                                                           \
    X(INTERNAL, -10, 70, "internal error")

enum mb_status {
#define X(name, value, exit_code, words) MB_##name = (value),
    MB_STATUS_LIST(X)
#undef X
};

#endif
