# seqmamba. `make help` lists the targets; nothing here lists files one by one.
SHELL   := /bin/bash
VERSION := 0.1.0
PREFIX  ?= /usr/local
MODE    ?= release
CC      ?= cc
ifeq ($(origin CC),default)
CC      := $(shell command -v gcc || command -v clang || echo cc)
endif
PKG     := pkg-config
has      = $(shell $(PKG) --exists $(1) 2>/dev/null && echo yes)

# ---- what this machine has -------------------------------------------------------------------------------------------
ARCH    := $(shell uname -m)
NVCC    := $(shell command -v nvcc 2>/dev/null)
DNNL    := $(shell printf '\043include <dnnl.h>\nint main(void){return 0;}\n' | $(CC) -x c - -o /dev/null -ldnnl 2>/dev/null && echo yes)
BLAS    := $(call has,openblas)
HDF5    := $(if $(call has,hdf5-serial),hdf5-serial,$(if $(call has,hdf5),hdf5))
GEMM    ?= $(if $(DNNL),onednn,$(if $(BLAS),openblas,none))
ISAS.x86_64  := generic avx2 avx512
ISAS.aarch64 := neon
ISAS    := $(or $(ISAS.$(ARCH)),generic)
march.generic := $(if $(filter x86_64,$(ARCH)),-march=x86-64-v2)
march.avx2    := -march=x86-64-v3 -mtune=haswell
march.avx512  := -march=x86-64-v4 -mtune=skylake-avx512 -mprefer-vector-width=512
march.neon    := -march=armv8-a

# ---- flags: the object folder is named by them -----------------------------------------------------------------------
WARN    := -Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wvla $(if $(WERROR),-Werror)
OPT.release := -O2 -g
OPT.asan    := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all
OPT.tsan    := -O1 -g -fno-omit-frame-pointer -fsanitize=thread
OPT.cover   := -O0 -g --coverage
OPT     := $(OPT.$(MODE))
PKGS    := htslib zlib yaml-0.1 jansson libzip libcrypto $(HDF5) $(if $(filter openblas,$(GEMM)),openblas)
CPPFLAGS += -I. -D_GNU_SOURCE -DMB_VERSION='"$(VERSION)"' $(foreach i,$(ISAS),-DMBK_HAVE_ISA_$(i)) \
            $(shell $(PKG) --cflags $(PKGS) 2>/dev/null)
CFLAGS_ALL := -std=c17 -fopenmp -ffp-contract=fast -fno-math-errno -fvisibility=default $(OPT) $(WARN) $(CFLAGS)
LDLIBS_ALL := $(shell $(PKG) --libs $(PKGS) 2>/dev/null) $(if $(filter onednn,$(GEMM)),-ldnnl) -fopenmp -lpthread -lm $(LDLIBS)
GIT_REV := $(shell git describe --always --dirty 2>/dev/null)
HASH    := $(shell echo '$(CC) $(shell $(CC) --version | head -1) $(CPPFLAGS) $(CFLAGS_ALL) $(GEMM) $(HDF5)' | cksum | cut -d' ' -f1)
B       ?= build/$(MODE)-$(HASH)
BIN     := $(if $(filter release,$(MODE)),bin,$(B)/bin)

# ---- sources: every .c of a folder; optional parts link a _none file instead -----------------------------------------
GEMM_SRC    := $(if $(filter onednn,$(GEMM)),kernels/gemm_onednn.c,$(if $(filter openblas,$(GEMM)),kernels/gemm_blas.c,kernels/gemm_none.c))
HDF5_SRC    := $(if $(HDF5),core/hdf5_out.c,core/hdf5_none.c)
OPTIONAL    := kernels/gemm_onednn.c kernels/gemm_blas.c kernels/gemm_none.c core/hdf5_out.c core/hdf5_none.c
MULTI_ISA   := $(filter-out kernels/ops_cpu.c,$(wildcard kernels/*_cpu.c))
KERNEL_SRC  := $(filter-out $(MULTI_ISA) $(OPTIONAL),$(wildcard kernels/*.c)) $(GEMM_SRC)
CORE_SRC    := $(filter-out $(OPTIONAL),$(wildcard core/*.c)) $(HDF5_SRC)
LIB_OBJ     := $(patsubst %.c,$(B)/%.o,$(filter-out $(OPTIONAL),$(KERNEL_SRC) $(CORE_SRC)) $(wildcard $(GEMM_SRC) $(HDF5_SRC))) \
               $(foreach i,$(ISAS),$(patsubst %.c,$(B)/%.$(i).o,$(MULTI_ISA)))
GEN_OBJ     := $(patsubst %.c,$(B)/%.o,$(wildcard genomics/*.c))
PIPE_OBJ    := $(patsubst %.c,$(B)/%.o,$(wildcard pipelines/*.c))
PROGRAMS    := $(if $(wildcard genomics/main.c),$(BIN)/dna-mamba) $(if $(wildcard pipelines/main.c),$(BIN)/seqmamba)
LIB         := $(B)/libseqmamba.a
# tests/test_*.c: cmocka units; tests/check_*.c: kernels side by side. Each is one program; other files of tests/ are shared.
TEST_MAIN   := $(wildcard tests/test_*.c tests/check_*.c)
TEST_SHARED := $(patsubst %.c,$(B)/%.o,$(filter-out $(TEST_MAIN),$(wildcard tests/*.c)))
TESTS       := $(patsubst tests/%.c,$(B)/tests/%,$(TEST_MAIN))

.PHONY: all
all: $(PROGRAMS) $(if $(filter release,$(MODE)),$(BIN)/libseqmamba.a)

$(BIN)/dna-mamba: $(GEN_OBJ) $(LIB)
$(BIN)/seqmamba: $(PIPE_OBJ) $(LIB)
$(BIN)/dna-mamba $(BIN)/seqmamba:
	@mkdir -p $(@D)
	@echo "  LINK $@"
	@$(CC) $(CFLAGS_ALL) $(LDFLAGS) -o $@ $^ $(LDLIBS_ALL)
$(BIN)/libseqmamba.a: $(LIB)
	@mkdir -p $(@D)
	@cp $< $@
$(LIB): $(LIB_OBJ)
	@echo "  AR   $@"
	@rm -f $@ && ar rcs $@ $(LIB_OBJ)
# front-end objects without their main, for tests
FRONT_OBJ := $(filter-out %/main.o,$(GEN_OBJ) $(PIPE_OBJ))
$(B)/tests/%: $(B)/tests/%.o $(TEST_SHARED) $(FRONT_OBJ) $(LIB)
	@echo "  LINK $@"
	@$(CC) $(CFLAGS_ALL) $(LDFLAGS) -o $@ $^ -lcmocka $(LDLIBS_ALL)

define isa_rule
$(B)/%.$(1).o: %.c
	@mkdir -p $$(@D)
	@echo "  CC   $$< ($(1))"
	@$(CC) $(CPPFLAGS) -DMBK_ISA=$(1) -DMBK_ISA_$(1) $(CFLAGS_ALL) -O3 $(march.$(1)) -MMD -MP -c $$< -o $$@
endef
$(foreach i,$(ISAS),$(eval $(call isa_rule,$(i))))
$(B)/%.o: %.c
	@mkdir -p $(@D)
	@echo "  CC   $<"
	@$(CC) $(CPPFLAGS) $(CFLAGS_ALL) -MMD -MP -c $< -o $@
$(B)/core/version.o: CPPFLAGS += -DMB_GIT_REV='"$(GIT_REV)"' -DMB_BUILD_FLAGS='"$(OPT)"'
-include $(shell find $(B) -name '*.d' 2>/dev/null)
.SECONDARY:
