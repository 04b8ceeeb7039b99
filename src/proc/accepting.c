/* proc/accepting.c - see accepting.h. */
#include "proc/accepting.h"

#include <sys/socket.h>

#include "base/log.h"
#include "net/listener.h"
#include "proc/shm.h"
#include "proc/supervisor.h"
#include "proto/http.h"

#define STAND_INS                                                                                  \
    4 /* so many accept for one that does not serve: each connection wakes them all                \
       */

static struct {
    unsigned worker;
    bool no_clients;
    struct listener listener[LISTENERS_MAX][HUB_WORKERS_MAX]; /* as supervisor_listeners */
    bool accepts[HUB_WORKERS_MAX];                            /* from that worker's */
} a;

/* Nobody has to stand in: all accept from it anyway. */
static void start_shared(unsigned k, unsigned i)
{
    if (i != a.worker)
        return;
    listener_start(&a.listener[k][i], supervisor_listeners.fd[k][0], k, &http_conn_ops);
    a.listener[k][i].shared = true;
}

static void start(unsigned i)
{
    a.accepts[i] = true;
    for (unsigned k = 0; k < supervisor_listeners.n; k++) {
        if (a.no_clients && !listener_is_admin(&config.listener[k]))
            continue;
        if (supervisor_listeners.shared[k])
            start_shared(k, i);
        else
            listener_start(&a.listener[k][i], supervisor_listeners.fd[k][i], k, &http_conn_ops);
        a.listener[k][i].stand_in = i != a.worker;
    }
}

static void stop(unsigned i)
{
    a.accepts[i] = false;
    for (unsigned k = 0; k < supervisor_listeners.n; k++)
        listener_stop(&a.listener[k][i]);
}

void accepting_start(unsigned worker)
{
    a.worker = worker;
    start(worker);
}

/* Is this worker one of the first STAND_INS that accept behind worker i? */
static bool is_next(unsigned i)
{
    unsigned before = 0;

    for (unsigned n = 1; n < shm->workers && before < STAND_INS; n++) {
        unsigned k = (i + n) % shm->workers;

        if (k == a.worker)
            return true;
        if (shm_accepts(SHM_WORKER + k))
            before++;
    }
    return false;
}

void accepting_look(void)
{
    for (unsigned i = 0; i < shm->workers; i++) {
        bool wanted = i != a.worker && !shm_accepts(SHM_WORKER + i) &&
                      shm_accepts(SHM_WORKER + a.worker) && is_next(i);

        if (i == a.worker || wanted == a.accepts[i])
            continue;
        LOG(LOG_DEBUG, wanted ? "accepts in place of another worker" : "that worker accepts again",
            KV_U("worker", i));
        if (wanted)
            start(i);
        else
            stop(i);
    }
}

/* The sockets stay open, as other processes hold them too: libev takes a descriptor out of its
 * epoll set only at the next event, and cannot once it is closed. The master shuts them down. */
void accepting_stop_clients(void)
{
    a.no_clients = true;
    for (unsigned k = 0; k < supervisor_listeners.n; k++)
        for (unsigned i = 0; i < shm->workers && !listener_is_admin(&config.listener[k]); i++)
            listener_stop(&a.listener[k][i]);
}

void accepting_end(void)
{
    accepting_stop_clients();
    for (unsigned i = 0; i < shm->workers; i++) {
        stop(i);
        for (unsigned k = 0; k < supervisor_listeners.n; k++)
            if (supervisor_listeners.fd[k][i] != -1 && !supervisor_listeners.passed[k])
                shutdown(supervisor_listeners.fd[k][i], SHUT_RDWR);
    }
}
