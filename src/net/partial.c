#include "net/partial.h"

#include "base/clock.h"
#include "base/config.h"
#include "base/log.h"
#include "base/metrics.h"
#include "net_internal.h"

void partial_config_changed(void)
{
    uint64_t largest =
        (uint64_t)(MAX(config.max_message_size, config.max_body_size) + config.max_header_size);

    /* A growing buffer has up to half as much again. Who may use the admin listener often has one
     * address. */
    for (size_t i = 0; i < ARRAY_LEN(reactor->partial); i++)
        budget_set(&reactor->partial[i], (uint64_t)config.max_partial_bytes, largest / 2 * 3,
                   i == 0);
}

void partial_init(void)
{
    budget_init(&reactor->partial[0], "partial_address");
    budget_init(&reactor->partial[1], "partial_address_admin");
    partial_config_changed();
}

void partial_fini(void)
{
    for (size_t i = 0; i < ARRAY_LEN(reactor->partial); i++)
        budget_fini(&reactor->partial[i]);
}

static void partial_end(struct holder *h, const char *bound)
{
    struct conn *c = h->owner;
    char address[CONN_ADDRESS_MAX];

    METRIC_INC(partial_ends);
    conn_format_address(c, address, sizeof(address));
    LOG(LOG_WARN, "incomplete input takes more than its share of max_partial_bytes",
        KV_S("peer", address), KV_S("share_of", bound), KV_U("bytes", h->bytes),
        KV_NS("age", clock_ns() - h->since_ns), KV_B("admin", (c->flags & CONN_ADMIN) != 0));
    budget_leave(h);
}

/* c has to end for what h held; that may be kept below what is spoken on it. */
static void end_holder(struct conn *c, const struct holder *h)
{
    const struct transport_ops *t = transport_of(c);

    if (t->holder != NULL && t->holder(c) == h)
        conn_kill(c, CLOSE_PARTIAL);
    else
        conn_ops(c)->partial_over(c, CLOSE_PARTIAL);
}

enum close_reason partial_hold(struct conn *c, struct holder *h, uint64_t bytes)
{
    struct budget *b = &reactor->partial[c->flags & CONN_ADMIN ? 1 : 0];
    struct holder *over;
    uint8_t key[BUDGET_KEY_SIZE];
    const char *bound = "";

    address_key(c->address, key);
    h->owner = c;
    if (budget_hold(b, h, key, bytes) == -1)
        return CLOSE_NO_MEMORY;
    while (UNLIKELY((over = budget_excess(b, h, &bound)) != NULL)) {
        struct conn *other = over->owner;

        partial_end(over, bound);
        if (over == h)
            return CLOSE_PARTIAL;
        end_holder(other, over);
    }
    return CLOSE_NONE;
}

bool partial_end_worst(void)
{
    struct holder *worst = budget_worst(&reactor->partial[0]);
    struct conn *c;

    if (worst == NULL)
        return false;
    c = worst->owner;
    partial_end(worst, "worker_memory");
    end_holder(c, worst);
    return true;
}

uint64_t partial_bytes(bool admin)
{
    return reactor->partial[admin ? 1 : 0].all.bytes;
}
