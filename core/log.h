/* People read stderr: levelled lines and one progress line. Data goes to stdout or files, never through here.
 * A line is one write, so that lines of several processes do not mix. Control characters are shown as \xNN: text from
 * hostile files cannot drive the terminal. */
#ifndef MB_LOG_H
#define MB_LOG_H
#include "core/error.h"

typedef enum mb_log_level { MB_LOG_QUIET = 0, MB_LOG_ERROR, MB_LOG_WARN, MB_LOG_INFO, MB_LOG_DEBUG } mb_log_level;

void mb_log_set_level(mb_log_level level);
mb_log_level mb_log_get_level(void);
void mb_error(const char *fmt, ...) MB_PRINTF(1, 2);
void mb_warn(const char *fmt, ...) MB_PRINTF(1, 2);
void mb_info(const char *fmt, ...) MB_PRINTF(1, 2);
void mb_debug(const char *fmt, ...) MB_PRINTF(1, 2);
/* As it is, without label and date: what is told about a wrong command line. Hidden at MB_LOG_QUIET only. */
void mb_log_plain(const char *fmt, ...) MB_PRINTF(1, 2);

/* Between dated progress lines when stderr is no terminal: 30 s unless set. */
void mb_log_set_interval(double seconds);

/* Progress of one job: on a terminal one line redrawn at most ten times a second, with rate and time left;
 * elsewhere a dated line every 30 s. Thread-safe: add from any worker. */
typedef struct mb_progress mb_progress;
/* total <= 0: unknown. unit: "bp", "tokens", ...; the rate is printed with k/M/G. NULL is returned when there is no
 * memory, and every call accepts NULL. */
mb_progress *mb_progress_start(const char *what, const char *unit, double total);
void mb_progress_add(mb_progress *p, double n);
void mb_progress_finish(mb_progress *p); /* prints the closing line (done, time, rate) and frees */

/* "1.2k", "4.6M"; "1.5 GiB"; "2 h 05 min". out must hold 32 bytes. Returns out. */
char *mb_human_count(double n, char *out);
char *mb_human_bytes(double n, char *out);
char *mb_human_seconds(double s, char *out);
double mb_clock_seconds(void); /* monotonic */
double mb_cpu_seconds(void);   /* of the whole process */
size_t mb_peak_rss_bytes(void);
#endif
