/* No library for the matrix product was found when this was built: the house's own packed kernel does it all, and
 * mbk_linear_library() says so and what to install. */
#include "kernels/gemm_lib.h"

int mbk_lib_create(mbk_lib **out, const mbk_linear_spec *spec, const uint16_t *W16) {
    (void)spec;
    (void)W16;
    *out = NULL;
    return MB_NOTSUP;
}

int mbk_lib_update(mbk_lib *lib, const uint16_t *W16) {
    (void)lib;
    (void)W16;
    return MB_NOTSUP;
}

void mbk_lib_destroy(mbk_lib *lib) {
    MBK_ASSERT(!lib);
}

int mbk_lib_fwd(const mbk_lib *lib, int M, const void *X, float *Y, int accumulate) {
    (void)lib;
    (void)M;
    (void)X;
    (void)Y;
    (void)accumulate;
    return MB_NOTSUP;
}

size_t mbk_lib_bytes(const mbk_linear_spec *spec) {
    (void)spec;
    return 0;
}

const char *mbk_lib_refusal(mbk_precision precision) {
    return precision == MBK_BF16 ? "built without it; with it bf16 is twice as fast where the processor has bf16 dot "
                                   "products: install libdnnl-dev (Debian, Ubuntu) or oneDNN and build again"
                                 : "built without it: install libdnnl-dev (Debian, Ubuntu) or oneDNN and build again";
}

const char *mbk_lib_name(void) {
    return "oneDNN";
}
