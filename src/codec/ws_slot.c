/* codec/ws_slot.c - slots and their pool. */
#include "ws_slot.h"

bool ws_slot_is_clean(const struct ws_slot *s)
{
    return s == NULL || (s->phase == SLOT_HEAD && s->raw_len == 0);
}

/* wslay asks for input: hands it what the current step allows. */
static ssize_t slot_recv(uint8_t *buf, size_t len, int flags UNUSED, void *user_data)
{
    struct ws_rx_pool *p = user_data;
    size_t n = MIN(len, p->feed.n);

    if (n == 0)
        return -1; /* to wslay: nothing now */
    memcpy(buf, p->feed.p, n);
    p->feed = str_skip(p->feed, n);
    return (ssize_t)n;
}

static void context_free(struct ws_rx_pool *p)
{
    if (p->wslay != NULL)
        wslay_frame_context_free(p->wslay);
    p->wslay = NULL;
    p->following = NULL;
    p->inside = false;
}

/* Between frames the context is as new; in the middle of one it has no way back. */
static int context_renew(struct ws_rx_pool *p)
{
    static const struct wslay_frame_callbacks callbacks = {.recv_callback = slot_recv};

    if (p->wslay != NULL && !p->inside)
        return 0;
    context_free(p);
    if (wslay_frame_context_init(&p->wslay, &callbacks, p) == 0)
        return 0;
    p->wslay = NULL;
    return -1;
}

/* What is missing is told to wslay as a frame of its own, unmasked, because it unmasks a byte at a
 * time: 11 instructions each, against half of one in ws_rx.c. */
int ws_slot_follow(struct ws_rx_pool *p, const struct ws_slot *s, uint64_t missing)
{
    uint8_t header[WS_HEADER_MAX];
    struct wslay_frame_iocb iocb;

    if (p->following == s)
        return 0;
    if (context_renew(p) == -1)
        return -1;
    p->following = s;
    p->inside = true;
    p->feed = (struct str){(const char *)header, ws_tx_header(s->head.op & 0x0f, missing, header)};
    (void)!wslay_frame_recv(p->wslay, &iocb); /* takes the header and wants more */
    return 0;
}

static struct ws_slot *slot_new(struct ws_rx_pool *p)
{
    struct ws_slot *s = calloc(1, sizeof(*s));

    if (s == NULL)
        return NULL;
    list_init(&s->link);
    p->allocated++;
    return s;
}

static void slot_free(struct ws_rx_pool *p, struct ws_slot *s)
{
    buf_fini(&s->payload);
    buf_fini(&s->rest);
    free(s);
    p->allocated--;
}

void ws_slot_charge(struct ws_rx_pool *p, struct ws_slot *s, uint64_t bytes)
{
    p->bytes = p->bytes - s->charged + bytes;
    s->charged = bytes;
}

int ws_slot_attach(struct ws_rx_pool *p, struct ws_slot **slot)
{
    struct list *spare;
    struct ws_slot *s;

    if (p->bytes + SLOT_BYTES > p->partial_max)
        return -1;
    spare = list_pop(&p->spare);
    if (spare != NULL) {
        p->spare_count--;
        s = LIST_ENTRY(spare, struct ws_slot, link);
    } else {
        s = slot_new(p);
        if (s == NULL)
            return -1;
    }
    ws_slot_charge(p, s, SLOT_BYTES);
    p->in_use++;
    *slot = s;
    return 0;
}

void ws_slot_detach(struct ws_rx_pool *p, struct ws_slot **slot)
{
    struct ws_slot *s = *slot;

    *slot = NULL;
    budget_leave(&s->holder);
    ws_slot_charge(p, s, 0);
    p->in_use--;
    if (p->following == s) /* it stays inside */
        p->following = NULL;
    if (p->spare_count == SLOTS_SPARE) {
        slot_free(p, s);
        return;
    }
    buf_fini(&s->payload);
    buf_fini(&s->rest);
    s->phase = SLOT_HEAD;
    s->raw_len = 0;
    s->op = WS_OP_CONTINUATION;
    list_prepend(&p->spare, &s->link); /* the one used last is the one in the cache */
    p->spare_count++;
}

struct ws_rx_pool *ws_rx_pool_new(enum ws_role role, uint64_t partial_max)
{
    struct ws_rx_pool *p = calloc(1, sizeof(*p));

    if (p == NULL) {
        fputs("out of memory: WebSocket receive pool\n", stderr);
        exit(EXIT_FAILURE);
    }
    p->role = role;
    p->partial_max = partial_max;
    list_init(&p->spare);
    return p;
}

void ws_rx_pool_free(struct ws_rx_pool *p)
{
    struct list *spare;

    if (p == NULL)
        return;
    while ((spare = list_pop(&p->spare)) != NULL)
        slot_free(p, LIST_ENTRY(spare, struct ws_slot, link));
    context_free(p);
    buf_fini(&p->done);
    buf_fini(&p->inflated);
    free(p);
}

size_t ws_rx_pool_slots_in_use(const struct ws_rx_pool *p)
{
    return p->in_use;
}

size_t ws_rx_pool_slots_allocated(const struct ws_rx_pool *p)
{
    return p->allocated;
}

uint64_t ws_rx_pool_odd(const struct ws_rx_pool *p)
{
    return p->odd;
}

uint64_t ws_rx_pool_frames(const struct ws_rx_pool *p)
{
    return p->frames;
}
