# seqmamba. `make help` lists the targets. Nothing here lists files one by one: a new .c, test, bench or fuzzer is found.
SHELL   := /bin/bash
VERSION := 0.1.0
PREFIX  ?= /usr/local
MODE    ?= release
ifeq ($(MAKELEVEL),0)
MAKEFLAGS += --no-print-directory -j$(shell nproc 2>/dev/null || echo 2) # a -j on the command line wins
endif

# ---- what this machine has -------------------------------------------------------------------------------------------
CC.fuzz := clang
CC.tsan := clang
ifeq ($(origin CC),default)
CC      := $(or $(CC.$(MODE)),$(shell command -v gcc || command -v clang || echo cc))
endif
PKG     := pkg-config
has      = $(shell $(PKG) --exists $(1) 2>/dev/null && echo yes)
header   = $(shell printf '\043include <$(1)>\n' | $(CC) $(CPPFLAGS) -E -x c - >/dev/null 2>&1 && echo yes)
ARCH    := $(shell uname -m)
NVCC    ?= $(shell command -v nvcc 2>/dev/null)
# GPU kernels go into the release build of this very architecture; sanitized builds run them on the CPU (tests/cuda_exec).
CUDA    ?= $(if $(and $(filter release,$(MODE)),$(filter $(shell uname -m),$(ARCH))),$(NVCC))
HDF5    ?= $(if $(call has,hdf5-serial),hdf5-serial,$(if $(call has,hdf5),hdf5))
CAIRO   ?= $(if $(call has,cairo),cairo)
BIGWIG  ?= $(if $(call header,bwValues.h),libBigWig)
LMDB    ?= $(if $(call has,lmdb),lmdb)
HTTPD   ?= $(if $(call has,libmicrohttpd),libmicrohttpd)
GEMM    ?= $(if $(and $(filter x86_64,$(ARCH)),$(call header,dnnl.h)),onednn,none)
ISAS.x86_64  := generic avx2 avx512
ISAS.aarch64 := neon
ISAS    := $(or $(if $(filter fuzz,$(MODE)),$(firstword $(ISAS.$(ARCH)))),$(ISAS.$(ARCH)),generic)
march.generic := $(if $(filter x86_64,$(ARCH)),-march=x86-64-v2)
march.avx2    := -march=x86-64-v3 -mtune=haswell
march.avx512  := -march=x86-64-v4 -mtune=skylake-avx512 -mprefer-vector-width=512
march.neon    := -march=armv8-a
NEEDED  := htslib zlib liblzma libzstd yaml-0.1 jansson libcrypto
PKGS    := $(NEEDED) $(HDF5) $(CAIRO) $(LMDB) $(HTTPD)

# ---- flags: the object folder is named by them -----------------------------------------------------------------------
WARN    := -Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wvla $(if $(WERROR),$(if $(filter release,$(MODE)),-Werror))
SAN     := -O1 -g -fno-omit-frame-pointer -fno-sanitize-recover=all
OPT.release := -O2 -g -fstack-protector-strong -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2
OPT.asan    := $(SAN) -fsanitize=address,undefined
OPT.tsan    := $(SAN) -fsanitize=thread
OPT.fuzz    := $(SAN) -fsanitize=fuzzer-no-link,address,undefined
OPT.cover   := -O0 -g --coverage
GIT_REV  = $(shell git describe --always --dirty 2>/dev/null)
OPT     := $(or $(OPT.$(MODE)),$(error MODE=$(MODE): not one of release asan tsan fuzz cover))
CPPFLAGS_ALL := -I. -D_GNU_SOURCE $(ISAS:%=-DMBK_HAVE_ISA_%) $(CPPFLAGS) \
                $(shell $(PKG) --cflags $(PKGS) 2>/dev/null)
CFLAGS_ALL := -std=c17 -fPIC -fno-semantic-interposition -fopenmp -ffp-contract=fast -fno-math-errno $(OPT) $(WARN) $(CFLAGS)
PKGS_LIB   := $(filter-out htslib liblzma libzstd $(LMDB) $(HTTPD),$(PKGS)) # the library itself; these and libBigWig serve the front ends
CUDA_LIBS  := $(if $(CUDA),-L$(dir $(shell readlink -f $(CUDA)))../lib64 -lcudart_static -ldl -lrt)
LIBDEPS    := $(CUDA_LIBS) $(if $(filter onednn,$(GEMM)),-ldnnl) -fopenmp -lpthread -lm
LDLIBS_ALL := $(shell $(PKG) --libs $(PKGS) 2>/dev/null) $(if $(BIGWIG),-lBigWig) $(LIBDEPS) $(LDLIBS)
CUDA_ARCHS := -gencode arch=compute_80,code=sm_80 -gencode arch=compute_90,code=[sm_90,compute_90]
NVFLAGS    := -std=c++17 -O3 -I. -Werror all-warnings $(CUDA_ARCHS) \
              -Xcompiler -fPIC,-Wall,-Wextra,-Wshadow,-fno-exceptions,-fno-rtti,-fno-threadsafe-statics
# The executor of the same sources: plain C++ without its library.
EXEC_CXX   := $(if $(filter release asan cover,$(MODE)),$(shell command -v $(if $(findstring clang,$(CC)),clang++,g++)))
EXEC_FLAGS := -std=c++17 -Itests/cuda_exec/include -I. -D_GNU_SOURCE -fno-exceptions -fno-rtti -fno-threadsafe-statics \
              -Wall -Wextra -Wshadow $(if $(WERROR),-Werror) -Wno-unknown-pragmas \
              $(if $(filter asan,$(MODE)),$(OPT.asan) -O2,$(if $(filter cover,$(MODE)),$(OPT.cover),-O2 -g -U_FORTIFY_SOURCE))
HASH    := $(shell echo '$(CUDA) $(CC) $(shell $(CC) --version 2>&1 | head -1) $(CPPFLAGS_ALL) $(CFLAGS_ALL) $(LDFLAGS) $(LDLIBS_ALL)' | cksum | cut -d' ' -f1)
B       ?= build/$(MODE)-$(HASH)
BIN     := $(if $(filter release,$(MODE)),bin,$(B)/bin)

# ---- sources: every .c of a folder; an optional part that is absent links a _none.c file instead ------------------------
# kernels/X_cpu.c is built once for each instruction set; ops_cpu.c chooses among them at run time.
CHOSEN      := $(if $(filter onednn,$(GEMM)),kernels/gemm_onednn.c,kernels/gemm_none.c) \
               $(if $(HDF5),core/hdf5_out.c,core/hdf5_none.c) \
               $(if $(CAIRO),core/picture_cairo.c,core/picture_none.c) \
               $(if $(BIGWIG),genomics/bigwig_out.c,genomics/bigwig_none.c) \
               $(if $(LMDB),recsys/store_lmdb.c,recsys/store_none.c) $(if $(HTTPD),recsys/http_mhd.c,recsys/http_none.c) \
               $(if $(CUDA),kernels/ops_cuda.c,kernels/ops_cuda_none.c)
OPTIONAL    := kernels/gemm_onednn.c kernels/gemm_none.c core/hdf5_out.c core/hdf5_none.c \
               kernels/ops_cuda.c kernels/ops_cuda_none.c core/picture_cairo.c core/picture_none.c genomics/bigwig_out.c genomics/bigwig_none.c \
               recsys/store_lmdb.c recsys/store_none.c recsys/http_mhd.c recsys/http_none.c
MULTI_ISA   := $(filter-out kernels/ops_cpu.c,$(wildcard kernels/*_cpu.c))
LIB_SRC     := $(filter-out $(MULTI_ISA) $(OPTIONAL),$(wildcard kernels/*.c core/*.c)) $(wildcard $(filter kernels/% core/%,$(CHOSEN)))
EXEC_SRC    := $(filter-out kernels/gemm_cublaslt.cu,$(wildcard kernels/*.cu tests/cuda_exec/*.cu))
CUBLASLT    := $(if $(CUDA),$(wildcard $(dir $(shell readlink -f $(CUDA)))../include/cublasLt.h))
CUDA_SRC    := $(filter-out $(if $(CUBLASLT),kernels/gemm_cublaslt_none.cu,kernels/gemm_cublaslt.cu),$(wildcard kernels/*.cu))
LIB_OBJ     := $(LIB_SRC:%.c=$(B)/%.o) $(if $(CUDA),$(CUDA_SRC:%.cu=$(B)/%.cu.o)) $(foreach i,$(ISAS),$(MULTI_ISA:%.c=$(B)/%.$(i).o))
front        = $(patsubst %.c,$(B)/%.o,$(filter-out $(OPTIONAL),$(wildcard $(1)/*.c)) $(wildcard $(filter $(1)/%,$(CHOSEN))))
GEN_OBJ     := $(call front,genomics)
REC_OBJ     := $(call front,recsys)
TS_OBJ      := $(call front,timeseries)
PIPE_OBJ    := $(call front,pipelines)
FRONT_OBJ   := $(filter-out %/main.o,$(GEN_OBJ) $(REC_OBJ) $(TS_OBJ) $(PIPE_OBJ)) # for tests
PROGRAMS    := $(if $(GEN_OBJ),$(BIN)/dna-mamba) $(if $(REC_OBJ),$(BIN)/recmamba) $(if $(TS_OBJ),$(BIN)/ts-mamba) $(if $(PIPE_OBJ),$(BIN)/seqmamba)
LIB         := $(B)/libseqmamba.a
# tests/test_*.c: cmocka units; tests/check_*.c: kernels side by side; the same shape for bench/ and fuzz/. Each is one
# program; the other files of its folder are shared by all of them.
programs     = $(patsubst %.c,$(B)/%,$(wildcard $(1)))
shared       = $(patsubst %,$(B)/%.o,$(filter-out $(2:$(B)/%=%),$(basename $(wildcard $(1)/*.c))))
TESTS       := $(call programs,tests/test_*.c tests/check_*.c)
# tests/cuda_X: tests/check_X.c again, on the CUDA kernels as the executor runs them
EXEC_OBJ    := $(EXEC_SRC:%.cu=$(B)/exec/%.o) $(patsubst %.cpp,$(B)/exec/%.o,$(wildcard tests/cuda_exec/*.cpp)) \
               $(patsubst %.c,$(B)/%.o,$(filter-out tests/cuda_exec/check_%,$(wildcard tests/cuda_exec/*.c))) $(B)/kernels/ops_cuda.o
EXEC_OPS    := $(foreach x,act conv1d conv1d_bwd dropout embed embed_bwd gate_bwd norm norm_bwd optim scan scan_bwd sum xent,$(if $(wildcard tests/check_$(x).c),$(x)))
EXEC_TESTS  := $(if $(and $(EXEC_CXX),$(wildcard tests/cuda_exec)),$(EXEC_OPS:%=$(B)/tests/cuda_%) \
               $(patsubst tests/cuda_exec/check_%.c,$(B)/tests/cuda_%,$(wildcard tests/cuda_exec/check_*.c)))
BENCHES     := $(call programs,tests/bench/bench_*.c)
FUZZERS     := $(call programs,tests/fuzz/fuzz_*.c)
KERNEL_CHECKS := $(patsubst tests/%.c,$(B)/alone/%,$(wildcard tests/check_*.c)) # kernels without core: for cross-compilers

# ---- build -----------------------------------------------------------------------------------------------------------
.PHONY: all
all: $(PROGRAMS) $(BIN)/libseqmamba.a $(BIN)/libseqmamba.so ## programs and library into bin/ (the default)

$(BIN)/dna-mamba: $(GEN_OBJ) $(LIB)
$(BIN)/recmamba: $(REC_OBJ) $(LIB)
$(BIN)/ts-mamba: $(TS_OBJ) $(LIB)
$(BIN)/seqmamba: $(PIPE_OBJ) $(LIB)
$(TESTS): $(B)/tests/%: $(B)/tests/%.o $(call shared,tests,$(TESTS)) $(call shared,tests/bench,$(BENCHES)) $(FRONT_OBJ) $(LIB)
$(BENCHES): $(B)/tests/bench/%: $(B)/tests/bench/%.o $(B)/tests/models.o $(B)/tests/recfolder.o $(call shared,tests/bench,$(BENCHES)) $(FRONT_OBJ) $(LIB)
$(FUZZERS): $(B)/tests/fuzz/%: $(B)/tests/fuzz/%.o $(B)/tests/models.o $(B)/tests/recfolder.o $(call shared,tests/fuzz,$(FUZZERS)) $(FRONT_OBJ) $(LIB)
# kernels/ comes as objects: of the library, the CPU's; of kernels/*.cu, the executor's
EXEC_WITH   := $(B)/tests/check.o $(EXEC_OBJ) $(filter-out %/ops_cuda.o %/ops_cuda_none.o %.cu.o,$(filter $(B)/kernels/%,$(LIB_OBJ)))
$(filter-out $(EXEC_OPS:%=$(B)/tests/cuda_%),$(EXEC_TESTS)): $(B)/tests/cuda_%: $(B)/tests/cuda_exec/check_%.o $(EXEC_WITH)
$(EXEC_OPS:%=$(B)/tests/cuda_%): $(B)/tests/cuda_%: $(B)/tests/check_%.o $(EXEC_WITH)
$(KERNEL_CHECKS): $(B)/alone/%: $(B)/tests/%.o $(B)/tests/check.o $(filter $(B)/kernels/%,$(LIB_OBJ))
$(TESTS): LINK_WITH := -lcmocka
$(FUZZERS): LINK_WITH := -fsanitize=fuzzer
$(PROGRAMS) $(TESTS) $(EXEC_TESTS) $(BENCHES) $(FUZZERS) $(KERNEL_CHECKS):
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	@$(CC) $(CFLAGS_ALL) $(LDFLAGS) -o $@ $(filter %.o %.a,$^) $(LINK_WITH) $(LDLIBS_ALL)
$(BIN)/libseqmamba.a: $(LIB)
	@mkdir -p $(@D)
	@cp $< $@
$(BIN)/libseqmamba.so: $(LIB)
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	@$(CC) $(CFLAGS_ALL) $(LDFLAGS) -shared -Wl,-soname,libseqmamba.so.$(word 1,$(subst ., ,$(VERSION))) -o $@ $(LIB_OBJ) -Wl,--as-needed $(LDLIBS_ALL)
$(LIB): $(LIB_OBJ) $(B)/members
	@echo "  AR    $@"
	@rm -f $@ && ar rcs $@ $(LIB_OBJ)

define isa_rule
$(B)/%.$(1).o: %.c | $(B)/probed
	@mkdir -p $$(@D)
	@echo "  CC    $$< ($(1))"
	@$(CC) $(CPPFLAGS_ALL) -DMBK_ISA=$(1) -DMBK_ISA_$(1) $(CFLAGS_ALL) $(if $(filter release,$(MODE)),-O3,$(if $(filter asan,$(MODE)),-O2)) $(march.$(1)) -MMD -MP -c $$< -o $$@
endef
$(foreach i,$(ISAS),$(eval $(call isa_rule,$(i))))
$(B)/%.o: %.c | $(B)/probed
	@mkdir -p $(@D)
	@echo "  CC    $<"
	@$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) -MMD -MP -c $< -o $@
$(B)/%.cu.o: %.cu | $(B)/probed
	@mkdir -p $(@D)
	@echo "  NVCC  $<"
	@$(CUDA) $(NVFLAGS) -MMD -MP -MF $(@:.o=.d) -c $< -o $@
$(B)/exec/%.o: %.cu | $(B)/probed
	@mkdir -p $(@D)
	@echo "  EXEC  $<"
	@$(EXEC_CXX) $(EXEC_FLAGS) -MMD -MP -x c++ -c $< -o $@
$(B)/exec/%.o: %.cpp | $(B)/probed
	@mkdir -p $(@D)
	@echo "  EXEC  $<"
	@$(EXEC_CXX) $(EXEC_FLAGS) -MMD -MP -c $< -o $@
$(B)/core/version.o: $(B)/revision
$(B)/core/version.o: CPPFLAGS_ALL += -DMB_VERSION='"$(VERSION)"' -DMB_GIT_REV='"$(GIT_REV)"' -DMB_BUILD_FLAGS='"$(OPT)"'

# Once for each object folder: says what was found, and stops with the names of the packages when something is missing.
$(B)/probed:
	@mkdir -p $(@D)
	@CC='$(CC)' ARCH='$(ARCH)' ISAS='$(ISAS)' GEMM='$(GEMM)' HDF5='$(HDF5)' CAIRO='$(CAIRO)' BIGWIG='$(BIGWIG)' LMDB='$(LMDB)' HTTPD='$(HTTPD)' CUDA='$(CUDA)' CUDA_ARCHS='$(CUDA_ARCHS)' NEEDED='$(NEEDED)' \
	  bash .ci/probe.sh 'seqmamba $(VERSION), $(MODE) build in $(B)' && touch $@
# Files that change only when what they say does.
$(B)/members: SAYS = $(LIB_OBJ)
$(B)/revision: SAYS = $(VERSION) $(GIT_REV)
$(B)/members $(B)/revision: FORCE
	@mkdir -p $(@D)
	@echo '$(SAYS)' | cmp -s - $@ || echo '$(SAYS)' >$@
FORCE:
.SECONDARY:
-include $(shell find $(B) -name '*.d' 2>/dev/null)

# ---- what people ask for ---------------------------------------------------------------------------------------------
.PHONY: help test check asan tsan fuzz fuzz-long bench cover demo format clean install uninstall
test: ## install what is missing, build, run all tests
	@bash .ci/setup.sh build test
	@+bash tests/run.sh
demo: ## install what is missing, build, embed a real genome
	@bash .ci/setup.sh build
	@+$(MAKE) all
	@bash genomics/demo.sh
check: ## style, warnings as errors, static analysis, house rules
	@bash .ci/setup.sh build test check
	@+bash .ci/check.sh
asan tsan: ## tests under the address / thread sanitizer
	@+bash tests/run.sh $@
fuzz: ## each fuzzer for some seconds
	@+bash tests/run.sh fuzz
fuzz-long: ## each fuzzer for ten minutes
	@+SEQMAMBA_FUZZ_SECONDS=600 SEQMAMBA_TEST_TIMEOUT=1200 bash tests/run.sh fuzz
bench: all $(BENCHES) ## measured against this machine's floors
	@for b in $(BENCHES); do $$b || exit 1; done
cover: ## test coverage by file
	@+bash .ci/cover.sh
format: ## clang-format, in place
	@git ls-files -co --exclude-standard '*.c' '*.h' '*.cu' '*.cuh' '*.cpp' | xargs clang-format -i
install: all ## programs, library, headers, pkg-config file under PREFIX (DESTDIR is respected)
	@bash .ci/install.sh install '$(VERSION)' '$(DESTDIR)' '$(PREFIX)' '$(PKGS_LIB)' '$(LIBDEPS)'
uninstall: ## what install put there
	@bash .ci/install.sh uninstall '$(VERSION)' '$(DESTDIR)' '$(PREFIX)'
clean: ## remove all that was built
	rm -rf build bin
help: ## this list
	@echo 'make [TARGET] [CC=clang] [MODE=release|asan|tsan|fuzz|cover] [GEMM=onednn|none] [CFLAGS=...]'
	@sed -n 's/^\([a-z][a-z -]*\):[^#]*## \(.*\)/\1\t\2/p' Makefile | awk -F'\t' '{ printf "  %-12s %s\n", $$1, $$2 }'

# For scripts.
.PHONY: tests benches fuzzers kernel-checks cuda-objects list-kernel-checks list-tests list-fuzzers list-bin list-flags list-left-out
tests: $(TESTS) $(EXEC_TESTS)
benches: $(BENCHES)
fuzzers: $(FUZZERS)
kernel-checks: $(KERNEL_CHECKS)
cuda-objects: $(patsubst %.cu,$(B)/%.cu.o,$(wildcard kernels/*.cu tests/cuda_exec/*.cu))
list-kernel-checks: ; @echo $(KERNEL_CHECKS)
list-tests: ; @echo $(TESTS) $(EXEC_TESTS)
list-fuzzers: ; @echo $(FUZZERS)
list-bin: ; @echo $(BIN)
list-flags: ; $(info $(CPPFLAGS_ALL) $(filter-out $(OPT),$(CFLAGS_ALL)))@:
list-left-out: ; @echo $(filter-out $(CHOSEN),$(OPTIONAL))
