/* The tables of gemm_inner.h for the instruction sets that this library was built for. */
#include <string.h>

#include "kernels/gemm_inner.h"
#include "kernels/ops.h"

#define DECLARE(isa_) extern const mbk_gemm_inner mbk_gemm_inner_##isa_;
#define ENTRY(isa_)   &mbk_gemm_inner_##isa_,

#ifdef MBK_HAVE_ISA_avx512
DECLARE(avx512)
#endif
#ifdef MBK_HAVE_ISA_avx2
DECLARE(avx2)
#endif
#ifdef MBK_HAVE_ISA_neon
DECLARE(neon)
#endif
#ifdef MBK_HAVE_ISA_generic
DECLARE(generic)
#endif

static const mbk_gemm_inner *const tables[] = {
#ifdef MBK_HAVE_ISA_avx512
    ENTRY(avx512)
#endif
#ifdef MBK_HAVE_ISA_avx2
        ENTRY(avx2)
#endif
#ifdef MBK_HAVE_ISA_neon
            ENTRY(neon)
#endif
#ifdef MBK_HAVE_ISA_generic
                ENTRY(generic)
#endif
};

const mbk_gemm_inner *mbk_gemm_inner_isa(const char *isa) {
    if (!mbk_ops_isa(isa))
        return NULL;
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        if (!strcmp(tables[i]->isa, isa))
            return tables[i];
    return NULL;
}
