/* plan.c - see plan.h. */
#include "plan.h"

#include <netdb.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "adapter.h"
#include "base/clock.h"
#include "net/tls.h"

#define NOFILE_RESERVE 64
#define STORM_AFTER    (2 * (int64_t)NS_PER_SEC) /* of scenario storm */
#define SENT_MAX                                                                                   \
    (UINT64_C(64) * 1024 * 1024) /* (publisher, channel) pairs checked to the last message */

int plan_parse_url(struct str text, struct plan_url *out, const char **why)
{
    struct str rest, authority;
    size_t colon;

    out->tls = str_starts_with(text, STR_LIT("wss://"));
    *why = "expected ws://host:port/path or wss://host:port/path";
    if (!out->tls && !str_starts_with(text, STR_LIT("ws://")))
        return -1;
    rest = str_skip(text, out->tls ? 6 : 5);
    authority = (struct str){rest.p, str_find(rest, '/')};
    out->path = str_skip(rest, authority.n);
    out->port = out->tls ? STR_LIT("443") : STR_LIT("80");
    if (authority.n > 0 && authority.p[0] == '[') {
        size_t end = str_find(authority, ']');

        out->host = (struct str){authority.p + 1, end > 0 ? end - 1 : 0};
        authority = str_skip(authority, MIN(end + 1, authority.n));
        if (authority.n > 1)
            out->port = str_skip(authority, 1);
    } else {
        colon = str_find(authority, ':');
        out->host = (struct str){authority.p, colon};
        if (colon < authority.n)
            out->port = str_skip(authority, colon + 1);
    }
    return out->host.n == 0 || out->port.n == 0 ? -1 : 0;
}

static bool is_loopback(const struct sockaddr_storage *a)
{
    if (a->ss_family == AF_INET)
        return (ntohl(((const struct sockaddr_in *)(const void *)a)->sin_addr.s_addr) >> 24) == 127;
    return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)(const void *)a)->sin6_addr);
}

static int resolve(const struct plan_url *url, struct load_target *t, char *err, size_t errcap)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
    char *h = t->name, p[16];
    int rc;

    if (str_copy(url->host, h, sizeof(t->name)) == -1 || str_copy(url->port, p, sizeof(p)) == -1) {
        snprintf(err, errcap, "host or port is too long");
        return -1;
    }
    rc = getaddrinfo(h, p, &hints, &found);
    if (rc != 0) {
        snprintf(err, errcap, "%s", gai_strerror(rc));
        return -1;
    }
    memcpy(&t->address, found->ai_addr, found->ai_addrlen);
    t->address_len = found->ai_addrlen;
    freeaddrinfo(found);
    snprintf(t->host, sizeof(t->host), strchr(h, ':') != NULL ? "[%s]:%s" : "%s:%s", h, p);
    t->tls = url->tls;
    return 0;
}

static int add_target(struct load_target *t, const struct options *o, struct str url,
                      struct buf *errors)
{
    const struct adapter *adapter = adapter_find(str_from(o->adapter));
    struct plan_url parts;
    const char *why = "";
    char err[256], text[512];

    if (plan_parse_url(url, &parts, &why) == -1) {
        snprintf(text, sizeof(text), "--url %.*s: %s", STR_ARG(url), why);
        options_complain(errors, text);
        return -1;
    }
    if (resolve(&parts, t, err, sizeof(err)) == -1) {
        snprintf(text, sizeof(text), "--url %.*s: %s", STR_ARG(url), err);
        options_complain(errors, text);
        return -1;
    }
    if (parts.path.n == 0)
        parts.path = str_from(adapter->default_path);
    if (str_copy(parts.path, t->path, sizeof(t->path)) == -1) {
        options_complain(errors, "--url: the path is too long");
        return -1;
    }
    if (!is_loopback(&t->address) && !o->i_own_the_target) {
        snprintf(text, sizeof(text),
                 "%.*s is not on this machine. A load test of somebody else's server is an attack; "
                 "if this one "
                 "is yours, add --i-own-the-target",
                 STR_ARG(parts.host));
        options_complain(errors, text);
        return -1;
    }
    return 0;
}

void plan_limits_read(struct plan_limits *l)
{
    struct rlimit r;
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned lo = 32768, hi = 60999;
    FILE *f = fopen("/proc/sys/net/ipv4/ip_local_port_range", "re");

    if (f != NULL) {
        if (fscanf(f, "%u %u", &lo, &hi) != 2 || hi < lo) {
            lo = 32768;
            hi = 60999;
        }
        fclose(f);
    }
    if (getrlimit(RLIMIT_NOFILE, &r) == 0) {
        r.rlim_cur = r.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &r) == -1 || getrlimit(RLIMIT_NOFILE, &r) == -1)
            r.rlim_cur = 1024;
    } else {
        r.rlim_cur = 1024;
    }
    l->nofile = r.rlim_cur;
    l->ports = hi - lo + 1;
    l->cores = cores > 0 ? (unsigned)cores : 1;
}

static unsigned count_lines(const char *list)
{
    struct str rest = str_from(list), line;
    unsigned n = 0;

    while (rest.n > 0 && str_cut(&rest, '\n', &line))
        n++;
    return n;
}

unsigned plan_processes(const struct options *o, uint64_t users, const struct plan_limits *l,
                        unsigned targets, bool loopback, struct buf *errors)
{
    uint64_t usable = l->nofile > 2 * NOFILE_RESERVE ? l->nofile - NOFILE_RESERVE : 1;
    uint64_t need = (users + usable - 1) / usable, processes, sources, capacity;
    char text[512];

    /* One process more than descriptors need, up to one per core, only when there is work for it.
     */
    processes = o->processes > 0 ? (uint64_t)o->processes
                                 : MAX(need, users >= 2000 ? (uint64_t)MIN(l->cores, 2u) : 1);
    sources = count_lines(o->source);
    if (sources == 0)
        sources = loopback ? processes : 1;
    capacity = sources * l->ports * targets;
    if (processes > LOAD_PROCESSES_MAX || processes * usable < users) {
        snprintf(
            text, sizeof(text),
            "%llu connections need %llu processes of %llu descriptors each (RLIMIT_NOFILE %llu "
            "less %d), "
            "and --processes is %llu; raise it, leave it away, or raise the limit with ulimit -n",
            (unsigned long long)users, (unsigned long long)need, (unsigned long long)usable,
            (unsigned long long)l->nofile, NOFILE_RESERVE, (unsigned long long)processes);
        options_complain(errors, text);
        return 0;
    }
    if (capacity < users) {
        snprintf(text, sizeof(text),
                 "%llu connections need as many local ports, and there are %llu: %llu source "
                 "addresses x %llu "
                 "ports (net.ipv4.ip_local_port_range) x %u targets; add --source addresses or "
                 "widen the range",
                 (unsigned long long)users, (unsigned long long)capacity,
                 (unsigned long long)sources, (unsigned long long)l->ports, targets);
        options_complain(errors, text);
        return 0;
    }
    return (unsigned)processes;
}

static bool has_publishers(const struct options *o)
{
    return o->scenario == SCENARIO_BROADCAST || o->scenario == SCENARIO_SLOW;
}

static int check_options(const struct options *o, struct buf *errors)
{
    if (adapter_find(str_from(o->adapter)) == NULL) {
        options_complain(errors, "--adapter: expected raw, centrifuge, mqtt or nats");
        return -1;
    }
    if (!str_equal(str_from(o->distribution), STR_LIT("uniform")) &&
        !str_equal(str_from(o->distribution), STR_LIT("zipf"))) {
        options_complain(errors, "--distribution: expected uniform or zipf");
        return -1;
    }
    if (o->scenario == SCENARIO_CHAT && o->connections % o->room != 0) {
        options_complain(errors, "chat: --connections must be a multiple of --room");
        return -1;
    }
    return 0;
}

/* After which time connections drop; 0: never. */
static int64_t storm_after(const struct options *o)
{
    return o->scenario == SCENARIO_STORM && o->storm_after == 0 ? STORM_AFTER : o->storm_after;
}

static int check_storm(const struct options *o, struct buf *errors)
{
    if (storm_after(o) == 0 || storm_after(o) < o->duration)
        return 0;
    options_complain(errors,
                     "the storm would come after the end: --storm-after (2s in scenario storm) "
                     "must be shorter than --duration");
    return -1;
}

/* Each load process makes its own; whether one can be made is known before. */
static int check_tls(const struct options *o, struct buf *errors)
{
    char err[256], text[1400];
    struct tls_context *t = tls_client_context(o->ca, !o->insecure, err, sizeof(err));

    if (t == NULL) {
        snprintf(text, sizeof(text), "--ca %s: %s", o->ca, err);
        options_complain(errors, text);
        return -1;
    }
    tls_context_free(t);
    return 0;
}

/* Pairs (publisher, channel) whose last sequence is shared, 0 when there are too many. */
static uint64_t pairs(const struct options *o, uint64_t users, uint64_t channels)
{
    uint64_t n = 0;

    if (o->scenario == SCENARIO_CHAT)
        n = users;
    else if (has_publishers(o))
        n = (uint64_t)o->publishers * channels;
    return n <= SENT_MAX ? n : 0;
}

int plan_make(const struct options *o, struct buf *errors)
{
    static struct load_target targets[LOAD_TARGETS_MAX];
    struct str urls = str_from(o->url), url;
    uint64_t users = (uint64_t)o->connections + (has_publishers(o) ? (uint64_t)o->publishers : 0);
    uint64_t channels = (uint64_t)o->channels;
    struct plan_limits limits;
    unsigned n = 0, processes;

    if (check_options(o, errors) == -1 || check_storm(o, errors) == -1)
        return -1;
    while (urls.n > 0 && n < LOAD_TARGETS_MAX && str_cut(&urls, '\n', &url))
        if (add_target(&targets[n++], o, url, errors) == -1 ||
            (targets[n - 1].tls && check_tls(o, errors) == -1))
            return -1;
    plan_limits_read(&limits);
    processes = plan_processes(o, users, &limits, n, is_loopback(&targets[0].address), errors);
    if (processes == 0)
        return -1;
    if (load_shared_create(o, processes, pairs(o, users, channels)) == -1) {
        options_complain(errors, "no memory for the shared results");
        return -1;
    }
    memcpy(load_shared->targets, targets, sizeof(targets));
    load_shared->ntargets = n;
    load_shared->options.storm_after = storm_after(o);
    load_shared->users = users;
    load_shared->publishers = users - (uint64_t)o->connections;
    load_shared->channels = channels;
    load_shared->run_id = (uint32_t)((uint64_t)time(NULL) * 2654435761u) ^ (uint32_t)getpid();
    return 0;
}
