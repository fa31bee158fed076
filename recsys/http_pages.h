/* What serve answers about itself and about items: health, metrics (Prometheus' text form 0.0.4), similar items. */
#ifndef REC_HTTP_PAGES_H
#define REC_HTTP_PAGES_H
#include "recsys/wire.h"

enum { REC_HTTP_CODES = 12, REC_HTTP_TIMES = 12 };

typedef struct rec_http_counts { /* answers by code */
    int64_t code[REC_HTTP_CODES];
} rec_http_counts;

typedef struct rec_http_shown { /* as of the latest transaction */
    rec_live_counts live;
    int64_t users, store_bytes;
    int failing;                  /* something could not be stored */
    int64_t time[REC_HTTP_TIMES]; /* requests by the time from their arrival to their commit */
    double time_sum;
    char digest[REC_STORE_DIGEST + 1];
} rec_http_shown;

void rec_http_count_code(rec_http_counts *c, int code);
void rec_http_count_time(rec_http_shown *s, double seconds);
/* Each returns the code of the answer. */
int rec_http_health(rec_buffer *t, const rec_http_shown *s);
void rec_http_metrics(rec_buffer *t, const rec_http_shown *s, const rec_http_counts *c);
/* The k items whose vectors have the largest cosine with the item's. */
int rec_http_similar(rec_buffer *t, const rec_model *m, rec_id id, int k);
#endif
