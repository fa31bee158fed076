/* See split_options.h. */
#include "recsys/split_options.h"

#include "recsys/filter.h"

enum { AUTO, LEAVE_ONE_OUT, BY_TIME, GIVEN };

static int by_time(rec_split *out, const rec_log *l, const rec_split_values *v, double scale, mb_err *e) {
    int64_t valid = 0, test = 0;
    int rc = v->test_from ? rec_parse_moment("--test-from", v->test_from, scale, &test, e)
                          : mb_fail(e, MB_USAGE, "--split time: when does the test begin? --test-from TIME");
    if (rc == MB_OK)
        rc = v->valid_from ? rec_parse_moment("--valid-from", v->valid_from, scale, &valid, e) : MB_OK;
    return rc == MB_OK ? rec_split_time(out, l, v->valid_from ? valid : test, test, e) : rc;
}

int rec_split_make(rec_split *out, const rec_log *l, const rec_split_values *v, double time_scale, mb_err *e) {
    int rule = v->split;
    if (rule == AUTO)
        rule = rec_log_given_test(l) ? GIVEN : v->test_from ? BY_TIME : LEAVE_ONE_OUT;
    if (rule != BY_TIME && (v->valid_from || v->test_from))
        return mb_fail(e, MB_USAGE, "--valid-from and --test-from are of --split time");
    return rule == GIVEN     ? rec_split_given(out, l, e)
           : rule == BY_TIME ? by_time(out, l, v, time_scale, e)
                             : rec_split_leave_one_out(out, l, e);
}
