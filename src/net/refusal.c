#include "net/refusal.h"

#include "base/config.h"
#include "net/tls_server.h"
#include "net_internal.h"

#define REFUSAL_BURST     3
#define REFUSAL_WINDOW_NS (10 * NS_PER_SEC)
#define PAIRS_MAX         16
#define TEXT_MAX          100 /* bytes of one text of the peer's, or of a setting */

struct line {
    struct log_kv kv[PAIRS_MAX];
    size_t n;
    char address[CONN_ADDRESS_MAX];
    char setting[CONFIG_LIST_MAX];
};

static struct log_site *site_of(enum close_reason why)
{
    static struct log_site sites[CLOSE_NR];
    struct log_site *site = &sites[why];

    site->burst = REFUSAL_BURST;
    site->window_ns = REFUSAL_WINDOW_NS;
    site->subject = KV_S("reason", close_row(why)->label);
    return site;
}

/* Nothing is formatted for a line that would not be written. */
static bool silent(enum close_reason why, enum log_level level, const char *what)
{
    return level < log_level() || log_suppressed(site_of(why), level, what);
}

static enum log_level level_of(enum close_reason why)
{
    return reactor->cfg.tell_refusals && close_row(why)->fix[0] != '\0' ? LOG_WARN : LOG_DEBUG;
}

/* However much a peer sends, the pairs behind it must fit the line. */
static void add(struct line *l, struct log_kv kv)
{
    if (l->n == PAIRS_MAX)
        return;
    if (kv.type == LOG_KV_STR)
        kv.s.n = MIN(kv.s.n, (size_t)TEXT_MAX);
    l->kv[l->n++] = kv;
}

static void add_setting(struct line *l, const char *name)
{
    int row = config_row_find(str_from(name));
    struct str value;

    if (row < 0)
        return;
    value = config_format_value(&config, (size_t)row, l->setting, sizeof(l->setting));
    for (char *p = l->setting; p < l->setting + value.n; p++)
        if (*p == '\n') /* between the entries of a list */
            *p = ',';
    add(l, KV_STR(name, value));
}

static void add_cause(struct line *l, enum close_reason why)
{
    const struct close_row *row = close_row(why);

    l->n = 0;
    add(l, KV_S("reason", row->label));
    l->kv[l->n++] = KV_S("cause", row->text);
    if (row->fix[0] != '\0')
        l->kv[l->n++] = KV_S("fix", row->fix);
    if (row->setting[0] != '\0')
        add_setting(l, row->setting);
}

static void add_conn(struct line *l, const struct conn *c)
{
    conn_format_address(c, l->address, sizeof(l->address));
    add(l, KV_S("peer", l->address));
    add(l, KV_U("conn", c->id));
    if (tls_subject(c) != NULL)
        add(l, KV_S("certificate", tls_subject(c)));
}

static void say(struct line *l, enum close_reason why, enum log_level level, const char *what)
{
    log_write(level, site_of(why), what, l->kv, l->n);
}

void refusal_say(struct conn *c, enum close_reason why, const char *what, const struct log_kv *more,
                 size_t nmore)
{
    bool said = (c->flags & CONN_REFUSED) && c->refusal == why; /* when it was accepted */
    enum log_level level = said ? LOG_DEBUG : level_of(why);
    struct line l;

    c->refusal = (uint8_t)why;
    if (silent(why, level, what))
        return;
    add_cause(&l, why);
    add_conn(&l, c);
    for (size_t i = 0; i < nmore; i++)
        add(&l, more[i]);
    say(&l, why, level, what);
}

void refusal_say_peer(const struct sockaddr *peer, enum close_reason why)
{
    enum log_level level = level_of(why);
    const char *what = "connection refused";
    uint8_t address[16];
    uint16_t port;
    struct line l;

    if (silent(why, level, what))
        return;
    add_cause(&l, why);
    address_bytes(peer, address, &port);
    address_format_bytes(address, port, l.address, sizeof(l.address));
    add(&l, KV_S("peer", l.address));
    say(&l, why, level, what);
}

void refusal_say_end(const struct conn *c)
{
    enum close_reason why = (enum close_reason)c->reason;
    enum log_level level = c->refusal == c->reason ? LOG_DEBUG : level_of(why);
    const char *what = "connection ended";
    struct line l;

    if (silent(why, level, what))
        return;
    add_cause(&l, why);
    add_conn(&l, c);
    add(&l, KV_NS("age", (uint64_t)(reactor->tick - c->since) * WHEEL_TICK_NS));
    add(&l, KV_U("queued", conn_queued(c)));
    say(&l, why, level, what);
}
