/* Version and build, as text. The Makefile gives MB_VERSION, MB_GIT_REV and MB_BUILD_FLAGS to this file alone. */
#include "core/provenance.h"

#ifndef MB_VERSION
#define MB_VERSION "0.0.0"
#endif
#ifndef MB_GIT_REV
#define MB_GIT_REV ""
#endif
#ifndef MB_BUILD_FLAGS
#define MB_BUILD_FLAGS "unknown flags"
#endif
#if defined(__clang__)
#define COMPILER "clang " __clang_version__
#elif defined(__GNUC__)
#define COMPILER "gcc " __VERSION__
#else
#define COMPILER "unknown compiler"
#endif

const char *mb_version(void) {
    return MB_VERSION;
}

const char *mb_build(void) {
    static const char with[] = COMPILER ", " MB_BUILD_FLAGS ", commit " MB_GIT_REV;
    static const char without[] = COMPILER ", " MB_BUILD_FLAGS ", commit unknown";
    return sizeof MB_GIT_REV > 1 ? with : without;
}
