#!/usr/bin/env bash
# The test runner itself, on a small tree of its own: what fails, crashes, counts nothing or does not compile is seen.
# only: cli
. "$(dirname "$0")/lib.sh"
tree=$tmp/tree
mkdir -p "$tree/core" "$tree/tests"
cp -r Makefile .ci "$tree/" && cp tests/run.sh "$tree/tests/"
cd "$tree" || exit 1
cat >core/thing.c <<'C'
int mb_thing(void);
int mb_thing(void) { return MB_THING; }
C
cat >tests/test_good.c <<'C'
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
int mb_thing(void);
static void holds(void **state) { (void)state; assert_int_equal(mb_thing(), MB_THING); }
static void skips(void **state) { (void)state; puts("SKIP: for a reason"); skip(); }
int main(void) { const struct CMUnitTest t[] = {cmocka_unit_test(holds), cmocka_unit_test(skips), cmocka_unit_test(holds)};
    return cmocka_run_group_tests(t, NULL, NULL); }
C
sed -i '1i #include <stdio.h>' tests/test_good.c
cat >tests/check_thing.c <<'C'
#include <stdio.h>
int main(void) { puts("check_thing: 4 passed, 0 failed"); return 0; }
C
runner() { run env -u MAKEFLAGS -u MAKELEVEL -u MFLAGS -u SEQMAMBA_TALLY -u SEQMAMBA_ONLY -u WERROR CPPFLAGS=-DMB_THING=7 bash tests/run.sh "$@"; }
closing() { tail -1 <<<"$out"; }

runner unit
check "all well: exit status 0" [ "$status" = 0 ]
check "all well: the closing line" [ "$(closing)" = "6 passed, 0 failed, 1 skipped" ]
check "a skip's reason is shown" has "$out" "SKIP: for a reason"

sed 's/(mb_thing(), MB_THING)/(mb_thing(), MB_THING + 1)/' tests/test_good.c >tests/test_bad.c
echo 'int main(void) { return 0; }' >tests/test_empty.c
printf '#include <stdlib.h>\nint main(void) { abort(); }\n' >tests/test_crash.c
printf '#include <stdio.h>\nint main(void) { puts("check_liar: 1 passed, 0 failed"); return 3; }\n' >tests/check_liar.c
printf '#include <unistd.h>\nint main(void) { sleep(60); return 0; }\n' >tests/check_hang.c
SEQMAMBA_TEST_TIMEOUT=1 runner unit
check "failures: exit status 1" [ "$status" = 1 ]
check "failures: each counted" [ "$(closing)" = "7 passed, 6 failed, 2 skipped" ]
for t in test_bad test_empty test_crash check_liar check_hang; do
    check "failures: $t is named" grep -q "^  FAIL .* $t " <<<"$out"
done

rm tests/test_*.c tests/check_*.c
runner unit
check "no test at all is a failure" [ "$status" = 1 ]
echo 'int main(void) { return x; }' >tests/test_broken.c
runner unit
check "a test that does not compile is a failure" [ "$status" = 1 ]
check "and is counted" [ "$(closing)" = "0 passed, 1 failed, 0 skipped" ]
finish
