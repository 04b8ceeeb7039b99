/* proc/egress.c - the process that fetches key sets. */
#include "proc/egress.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "codec/jwks.h"
#include "egress_internal.h"
#include "proc/orders.h"
#include "proc/sandbox.h"
#include "proc/shm.h"
#include "proc/supervisor.h"
#include "proc/usage.h"

_Static_assert(CURL_ERROR_SIZE <= sizeof(((struct fetch *)0)->detail), "room for libcurl's reason");

#define TICK_S         0.25
#define ASKED_LEAST_NS (10 * NS_PER_SEC) /* between two requests that tokens have caused */
#define RETRY_FIRST_NS NS_PER_SEC
#define RETRY_MAX_NS   (60 * NS_PER_SEC)

struct source { /* of one kind of tokens */
    struct fetch fetch;
    char url[CONFIG_STRING_MAX]; /* "": none */
    uint64_t started_ns, next_ns;
    unsigned failures; /* in a row */
};

static struct {
    struct ev_loop *loop;
    struct source sources[2]; /* of token_jwks_url, subscription_token_jwks_url */
    struct shm_key_set sets[2];
    ev_timer tick;
    struct buf ca; /* owned; PEM of whom to trust; empty: the system's */
    ev_signal term, hup;
    ev_io master;
} e;

static const char *url_of(const struct config *c, unsigned kind)
{
    if (kind == 0)
        return c->token_jwks_url;
    return c->subscription_token_enabled ? c->subscription_token_jwks_url : "";
}

bool egress_wanted(const struct config *c)
{
    return url_of(c, 0)[0] != '\0' || url_of(c, 1)[0] != '\0';
}

static bool is_loopback(const char *host)
{
    struct in_addr v4;

    return strcmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0 ||
           (inet_pton(AF_INET, host, &v4) == 1 && ntohl(v4.s_addr) >> 24 == 127);
}

static const char *check_parts(CURLU *u)
{
    char *scheme = NULL, *host = NULL, *user = NULL;
    const char *why = NULL;

    if (curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK ||
        curl_url_get(u, CURLUPART_HOST, &host, 0) != CURLUE_OK)
        why = "is no URL of a host";
    else if (curl_url_get(u, CURLUPART_USER, &user, 0) == CURLUE_OK)
        why = "has a user's name, which would be shown with the setting";
    else if (strcmp(scheme, "https") != 0 && (strcmp(scheme, "http") != 0 || !is_loopback(host)))
        why = "is neither https nor on this machine: whoever is on the way could put in a key";
    curl_free(scheme);
    curl_free(host);
    curl_free(user);
    return why;
}

const char *egress_refusal(const char *url)
{
    CURLU *u = curl_url();
    const char *why = "is no URL";

    if (u == NULL)
        return "cannot be looked at: no memory";
    if (strpbrk(url, "{}") != NULL)
        why = "has a template; what a token says cannot choose where keys are fetched";
    else if (curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK)
        why = check_parts(u);
    curl_url_cleanup(u);
    return why;
}

/* Without a query, which may have a secret. */
static struct str shown(const struct source *s)
{
    struct str url = str_from(s->url);

    url.n = str_find(url, '?');
    return url;
}

static const char *setting_of(const struct source *s)
{
    return s == &e.sources[0] ? "token_jwks_url" : "subscription_token_jwks_url";
}

static void failed(struct source *s, const char *why)
{
    uint64_t pause = RETRY_FIRST_NS << MIN(s->failures, 6u);

    s->failures++;
    s->next_ns = clock_ns() + MIN(MIN(pause, RETRY_MAX_NS), (uint64_t)config.token_fetch_interval);
    METRIC_INC(key_fetches_failed);
    LOG(LOG_WARN, "keys cannot be fetched", KV_S("setting", setting_of(s)), KV_STR("url", shown(s)),
        KV_S("reason", why), KV_U("failures", s->failures),
        KV_NS("again_in", s->next_ns - clock_ns()));
}

static void publish(struct source *s)
{
    unsigned kind = (unsigned)(s - e.sources);
    struct shm_key_set *set = &e.sets[kind];
    struct str body = buf_view(&s->fetch.body);
    bool same = strcmp(set->url, s->url) == 0 && str_equal((struct str){set->text, set->len}, body);

    memcpy(set->url, s->url, sizeof(set->url));
    memcpy(set->text, body.p, body.n);
    set->len = (uint32_t)body.n;
    set->fetched_ns = s->started_ns;
    shm_put_keys(kind, set);
    if (same) {
        METRIC_INC(key_fetches_same);
        return;
    }
    METRIC_INC(key_fetches_new);
    LOG(LOG_INFO, "keys fetched", KV_S("setting", setting_of(s)), KV_STR("url", shown(s)),
        KV_U("bytes", body.n));
}

static void on_fetched(struct fetch *f, const char *why)
{
    struct source *s = CONTAINER_OF(f, struct source, fetch);
    struct jwks set = {0};
    const char *wrong;
    char reason[160];

    clock_refresh();
    if (why == NULL && jwks_add_document(&set, buf_view(&f->body), false, &wrong) == -1) {
        snprintf(reason, sizeof(reason), "the key %s", wrong);
        why = reason;
    }
    jwks_fini(&set);
    if (why != NULL) {
        failed(s, why);
        return;
    }
    if (s->failures > 0)
        LOG(LOG_INFO, "keys can be fetched again", KV_S("setting", setting_of(s)));
    s->failures = 0;
    s->next_ns = clock_ns() + (uint64_t)config.token_fetch_interval;
    publish(s);
}

/* Other settings: at once. */
static void take_url(struct source *s, const char *url)
{
    if (strcmp(s->url, url) == 0)
        return;
    fetch_cancel(&s->fetch);
    snprintf(s->url, sizeof(s->url), "%s", url);
    s->failures = 0;
    s->started_ns = s->next_ns = 0;
}

/* With no memory for them nobody is trusted whom the old ones would not let in. */
static void take_certificates(struct str pem)
{
    struct buf fresh = {0};

    if (buf_append(&fresh, pem) == -1) {
        LOG(LOG_ERROR, "no memory for certificates, the old ones stay");
        return;
    }
    buf_fini(&e.ca);
    e.ca = fresh;
}

static void take_config(void)
{
    for (unsigned k = 0; k < 2; k++) {
        take_url(&e.sources[k], url_of(&config, k));
        e.sources[k].next_ns =
            MIN(e.sources[k].next_ns, clock_ns() + (uint64_t)config.token_fetch_interval);
    }
    log_set_level(config_log_level(&config));
    log_set_format((enum log_format)config.log_format);
}

/* When a token last wanted a key that no worker has. */
static uint64_t wanted_ns(void)
{
    uint64_t latest = 0;

    for (unsigned i = 0; i < shm->workers; i++)
        latest = MAX(latest, atomic_load(&shm->slots[SHM_WORKER + i].keys_wanted_ns));
    return latest;
}

/* Its time has come, or a token wants a key that may have come since it was asked for last. */
static bool is_due(const struct source *s, uint64_t now, uint64_t wanted)
{
    return now >= s->next_ns ||
           (wanted > s->started_ns && s->failures == 0 && now >= s->started_ns + ASKED_LEAST_NS);
}

static void look(struct source *s)
{
    if (s->url[0] == '\0' || fetch_busy(&s->fetch) || !is_due(s, clock_ns(), wanted_ns()))
        return;
    s->started_ns = clock_ns();
    if (fetch_start(&s->fetch, s->url, buf_view(&e.ca)) == -1)
        failed(s, "no memory");
}

static void on_tick(struct ev_loop *loop UNUSED, ev_timer *t UNUSED, int revents UNUSED)
{
    clock_refresh();
    shm_heartbeat(SHM_EGRESS);
    usage_look();
    log_say_suppressed(false);
    metrics->turns++;
    if (shm_take_config())
        take_config();
    for (unsigned k = 0; k < 2; k++)
        look(&e.sources[k]);
}

static void on_hup(struct ev_loop *loop UNUSED, ev_signal *s UNUSED, int revents UNUSED)
{
    on_tick(NULL, NULL, 0);
}

static void on_order(enum order what, struct str text)
{
    if (what == ORDER_CERTIFICATES)
        take_certificates(text);
}

static void on_term(struct ev_loop *loop, ev_signal *s UNUSED, int revents UNUSED)
{
    ev_break(loop, EVBREAK_ALL);
}

static void on_master_gone(struct ev_loop *loop, ev_io *io UNUSED, int revents UNUSED)
{
    ev_break(loop, EVBREAK_ALL);
}

static void watch_orders(int master_fd)
{
    ev_signal_init(&e.term, on_term, SIGTERM);
    ev_signal_init(&e.hup, on_hup, SIGHUP);
    ev_io_init(&e.master, on_master_gone, master_fd, EV_READ);
    ev_timer_init(&e.tick, on_tick, 0., TICK_S);
    ev_signal_start(e.loop, &e.term);
    ev_signal_start(e.loop, &e.hup);
    ev_io_start(e.loop, &e.master);
    orders_watch(e.loop, on_order);
    ev_timer_start(e.loop, &e.tick);
    signal(SIGINT, SIG_IGN); /* a terminal's Ctrl-C and Ctrl-\ are the master's to handle */
    signal(SIGQUIT, SIG_IGN);
    signal(SIGUSR1, SIG_IGN); /* as is the log file */
    signal(SIGPIPE, SIG_IGN);
    child_take_signals();
}

/* What an earlier incarnation has fetched is good until its time. */
static void take_over(void)
{
    uint32_t none = 0;

    if (!shm_take_keys(&none, e.sets))
        return;
    for (unsigned k = 0; k < 2; k++)
        if (e.sets[k].len > 0 && strcmp(e.sets[k].url, e.sources[k].url) == 0) {
            e.sources[k].started_ns = e.sets[k].fetched_ns;
            e.sources[k].next_ns = e.sets[k].fetched_ns + (uint64_t)config.token_fetch_interval;
        }
}

void egress_main(int master_fd)
{
    prctl(PR_SET_NAME, "roost: egress");
    log_set_process("egress");
    shm_enter(SHM_EGRESS);
    shm_confine(SHM_EGRESS);
    hash_seed_random();
    e.loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
    if (e.loop == NULL || fetch_init(e.loop) == -1) {
        LOG(LOG_ERROR, "no memory for fetching");
        exit(1);
    }
    for (unsigned k = 0; k < 2; k++) {
        e.sources[k].fetch.done = on_fetched;
        e.sources[k].fetch.max = SHM_KEYS_MAX;
    }
    take_certificates(buf_view(&config_files.fetch_ca));
    take_config();
    take_over();
    watch_orders(master_fd);
    usage_open(SHM_EGRESS);
    atomic_store(&shm->slots[SHM_EGRESS].open_fds, shm_count_fds());
    sandbox_enter(SANDBOX_EGRESS);
    clock_refresh();
    shm_heartbeat(SHM_EGRESS);
    shm_set_phase(SHM_EGRESS, SHM_READY);
    ev_run(e.loop, 0);
    log_say_suppressed(true);
    exit(0);
}
