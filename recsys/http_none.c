/* No HTTP server in this build: says what is missing. */
#include "recsys/http.h"

int rec_http_present(mb_err *e) {
    return mb_fail(e, MB_NOTSUP,
                   "this build has no libmicrohttpd: install it (apt-get install libmicrohttpd-dev) and build again; "
                   "recmamba stream --listen serves sockets without it");
}

int rec_http_run(rec_live *l, const rec_http_options *o, mb_err *e) {
    (void)l, (void)o;
    return rec_http_present(e);
}
