/* sampler.c - see sampler.h. The thread ends with the program: nothing it holds has to be given
 * back. */
#include "sampler.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>

enum sampler_state {
    SAMPLER_NOTHING = 0,
    SAMPLER_ASKED,
    SAMPLER_TAKING,
    SAMPLER_TAKEN /* and not fetched */
};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t asked;
    enum sampler_state state[SAMPLER_NR];
    struct sample taken[SAMPLER_NR];
    const struct options *o; /* borrowed */
} sampler = {.lock = PTHREAD_MUTEX_INITIALIZER, .asked = PTHREAD_COND_INITIALIZER};

/* The next that is wanted, SAMPLER_NR: none. With the lock. */
static unsigned next_kind(void)
{
    unsigned kind = 0;

    while (kind < SAMPLER_NR && sampler.state[kind] != SAMPLER_ASKED)
        kind++;
    return kind;
}

static void *take_samples(void *unused)
{
    struct sample s;

    pthread_mutex_lock(&sampler.lock);
    for (;;) {
        unsigned kind;

        while ((kind = next_kind()) == SAMPLER_NR)
            pthread_cond_wait(&sampler.asked, &sampler.lock);
        sampler.state[kind] = SAMPLER_TAKING;
        pthread_mutex_unlock(&sampler.lock);
        sample_take(sampler.o, kind != SAMPLER_SECOND, &s);
        pthread_mutex_lock(&sampler.lock);
        sampler.taken[kind] = s;
        sampler.state[kind] = SAMPLER_TAKEN;
    }
    return unused;
}

int sampler_start(const struct options *o)
{
    sigset_t all, before;
    pthread_t thread;
    int rc;

    sampler.o = o;
    /* Signals are for the coordinator, whose sleep they end. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    rc = pthread_create(&thread, NULL, take_samples, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc == 0)
        return 0;
    errno = rc; /* UNTESTED: no memory for a stack, or no more threads allowed */
    return -1;
}

void sampler_ask(enum sampler_kind kind)
{
    pthread_mutex_lock(&sampler.lock);
    if (sampler.state[kind] != SAMPLER_TAKING)
        sampler.state[kind] = SAMPLER_ASKED;
    pthread_cond_signal(&sampler.asked);
    pthread_mutex_unlock(&sampler.lock);
}

bool sampler_pending(enum sampler_kind kind)
{
    bool pending;

    pthread_mutex_lock(&sampler.lock);
    pending = sampler.state[kind] == SAMPLER_ASKED || sampler.state[kind] == SAMPLER_TAKING;
    pthread_mutex_unlock(&sampler.lock);
    return pending;
}

bool sampler_fetch(enum sampler_kind kind, struct sample *out)
{
    bool taken;

    pthread_mutex_lock(&sampler.lock);
    taken = sampler.state[kind] == SAMPLER_TAKEN;
    if (taken) {
        *out = sampler.taken[kind];
        sampler.state[kind] = SAMPLER_NOTHING;
    }
    pthread_mutex_unlock(&sampler.lock);
    return taken;
}
