/* Batch schedulers announce the end of a job with one of these signals (USR2 where the user asks for it), sometimes
 * twice, from two sides: the flag may be set any number of times within a second. */
#include "genomics/stop.h"

#include <signal.h>
#include <stddef.h>
#include <time.h>
#include <unistd.h>

#include "core/file.h"

static atomic_int stop;
static volatile sig_atomic_t seen;
static volatile time_t first;

static void on_signal(int signal) {
    time_t now = time(NULL);
    if (seen && now > first + 1 && (signal == SIGINT || signal == SIGTERM)) {
        mb_out_abort_all();
        _exit(128 + signal);
    }
    if (!seen) {
        static const char text[] = "\nstopping at the next safe place; once more to stop at once\n";
        first = now;
        seen = 1;
        (void)!write(STDERR_FILENO, text, sizeof text - 1);
    }
    atomic_store(&stop, 1);
}

const atomic_int *dna_stop_install(void) {
    static const int signals[] = {SIGINT, SIGTERM, SIGUSR2, SIGXCPU};
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        sigaction(signals[i], &action, NULL);
    return &stop;
}
