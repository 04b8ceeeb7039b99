/* codec/ws_slot.c - slots and their pool. */
#include "ws_slot.h"

bool ws_slot_is_clean(const struct ws_slot *s)
{
    return s == NULL || (s->phase == SLOT_HEAD && s->raw_len == 0);
}

/* wslay asks for input: hands it what the current step allows. */
static ssize_t slot_recv(uint8_t *buf, size_t len, int flags UNUSED, void *user_data)
{
    struct ws_slot *s = user_data;
    size_t n = MIN(len, s->feed.n);

    if (n == 0)
        return -1; /* to wslay: nothing now */
    memcpy(buf, s->feed.p, n);
    s->feed = str_skip(s->feed, n);
    return (ssize_t)n;
}

static struct ws_slot *slot_new(struct ws_rx_pool *p)
{
    static const struct wslay_frame_callbacks callbacks = {.recv_callback = slot_recv};
    struct ws_slot *s = calloc(1, sizeof(*s));

    if (s == NULL)
        return NULL;
    if (wslay_frame_context_init(&s->wslay, &callbacks, s) != 0) {
        free(s);
        return NULL;
    }
    list_init(&s->link);
    p->allocated++;
    return s;
}

static void slot_free(struct ws_rx_pool *p, struct ws_slot *s)
{
    wslay_frame_context_free(s->wslay);
    buf_fini(&s->payload);
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

/* A slot that is given up inside a frame is freed: wslay has no reset, and is stuck after
 * WSLAY_ERR_PROTO. */
void ws_slot_detach(struct ws_rx_pool *p, struct ws_slot **slot)
{
    struct ws_slot *s = *slot;

    *slot = NULL;
    ws_slot_charge(p, s, 0);
    p->in_use--;
    if (!ws_slot_is_clean(s) || p->spare_count == SLOTS_SPARE) {
        slot_free(p, s);
        return;
    }
    buf_fini(&s->payload);
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
    buf_fini(&p->done);
    free(p);
}

void ws_rx_pool_set_partial_max(struct ws_rx_pool *p, uint64_t partial_max)
{
    p->partial_max = partial_max;
}

size_t ws_rx_pool_slots_in_use(const struct ws_rx_pool *p)
{
    return p->in_use;
}

size_t ws_rx_pool_slots_allocated(const struct ws_rx_pool *p)
{
    return p->allocated;
}

uint64_t ws_rx_pool_frames(const struct ws_rx_pool *p)
{
    return p->frames;
}

uint64_t ws_rx_pool_partial_bytes(const struct ws_rx_pool *p)
{
    return p->bytes;
}
