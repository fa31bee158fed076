/* Where a program listens: unix:PATH, tcp:HOST:PORT or HOST:PORT, where HOST is a number (127.0.0.1, [::1]) or
 * localhost, and port 0 is any free one. Addresses that other machines reach are refused unless asked for. */
#ifndef REC_ADDRESS_H
#define REC_ADDRESS_H
#include <sys/socket.h>

#include "core/error.h"

typedef struct rec_address {
    struct sockaddr_storage at;
    socklen_t n;
    int loopback;   /* only this machine reaches it */
    char path[108]; /* of a Unix socket; "" otherwise */
} rec_address;

/* MB_USAGE and what is wrong. key: the option's name, for messages. is_public: any address will do. */
int rec_address_parse(rec_address *a, const char *key, const char *text, int is_public, mb_err *e) MB_MUST_USE;
/* A listening socket that does not block. A Unix socket that nobody answers on any more is replaced; it can be used by
 * its owner only. text (128 bytes): where it listens, with the port that it got. */
int rec_address_listen(const rec_address *a, int *fd, char text[128], mb_err *e) MB_MUST_USE;
/* Removes a Unix socket's file. */
void rec_address_remove(const rec_address *a);
#endif
