/* handshake.c - the opening handshake of RFC 6455 §4.1, the client's side: the request, with its
 * templates filled, and what the answer must be. */
#include "base/clock.h"
#include "codec/http.h"
#include "codec/ws_deflate.h"
#include "codec/ws_tx.h"
#include "engine.h"
#include "net/reactor.h"

/* Replaces {n} and {c}. */
void user_render(struct str text, uint32_t id, uint32_t channel, struct buf *out)
{
    while (text.n > 0) {
        size_t brace = str_find(text, '{');
        int rc = buf_append(out, (struct str){text.p, brace});

        text = str_skip(text, brace);
        if (rc == 0 && str_starts_with(text, STR_LIT("{n}"))) {
            rc = buf_printf(out, "%u", id);
            text = str_skip(text, 3);
        } else if (rc == 0 && str_starts_with(text, STR_LIT("{c}"))) {
            rc = buf_printf(out, "%u", channel);
            text = str_skip(text, 3);
        } else if (rc == 0 && text.n > 0) {
            rc = buf_append(out, (struct str){text.p, 1});
            text = str_skip(text, 1);
        }
        if (rc == -1)
            return; /* the request is then malformed and refused: counted */
    }
}

/* The same and {channel}, which is percent-encoded: a name may have any byte. */
static void render(struct str text, const struct user *u, struct buf *out)
{
    static const struct str channel = STR_LIT("{channel}");
    struct buf name = {0};

    user_render(str_from(engine.o->channel), u->id, u->channel, &name);
    while (text.n > 0) {
        size_t at = 0;

        while (at < text.n && !str_starts_with(str_skip(text, at), channel))
            at++;
        user_render((struct str){text.p, at}, u->id, u->channel, out);
        if (at < text.n && http_percent_encode(buf_view(&name), out) == -1)
            break; /* the request is then malformed and refused: counted */
        text = str_skip(text, at < text.n ? at + channel.n : at);
    }
    buf_fini(&name);
}

static bool is_field(struct str header, struct str name)
{
    return header.n > name.n && header.p[name.n] == ':' &&
           str_equal_nocase((struct str){header.p, name.n}, name);
}

/* --header may give the key, for servers that know one answer only; else it is empty. */
static struct str given_key(void)
{
    static const struct str name = STR_LIT("Sec-WebSocket-Key");
    struct str headers = str_from(engine.o->header), header;

    while (headers.n > 0 && str_cut(&headers, '\n', &header))
        if (is_field(header, name))
            return str_trim(str_skip(header, name.n + 1));
    return STR_NULL;
}

/* RFC 6455 §4.1 has a nonce for each connection: made of when the attempt began, so that it need
 * not be kept for the answer. */
static struct str make_key(const struct user *u, char out[WS_KEY_LEN])
{
    struct str given = given_key();
    uint64_t a = (u->since ^ (uint64_t)u->id << 40) * UINT64_C(0x9e3779b97f4a7c15);
    uint64_t nonce[2] = {a ^ a >> 31, (a ^ a >> 29) * UINT64_C(0xbf58476d1ce4e5b9)};

    if (given.n > 0)
        return given;
    ws_make_key((const uint8_t *)nonce, out);
    return (struct str){out, WS_KEY_LEN};
}

static struct str offered_subprotocols(void)
{
    return str_from(engine.o->subprotocol[0] ? engine.o->subprotocol : engine.adapter->subprotocol);
}

void handshake_request(const struct user *u, const struct load_target *t, struct buf *out)
{
    struct str headers = str_from(engine.o->header), header;
    char key[WS_KEY_LEN];
    bool host = false;
    int rc;

    buf_clear(out);
    rc = buf_append_lit(out, "GET ");
    render(str_from(t->path), u, out);
    rc |= buf_append_lit(out, " HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                              "Sec-WebSocket-Version: 13\r\n");
    if (given_key().n == 0)
        rc |= buf_printf(out, "Sec-WebSocket-Key: %.*s\r\n", STR_ARG(make_key(u, key)));
    if (offered_subprotocols().n > 0)
        rc |= buf_printf(out, "Sec-WebSocket-Protocol: %.*s\r\n", STR_ARG(offered_subprotocols()));
    if (engine.o->compression)
        rc |= buf_append_lit(out, "Sec-WebSocket-Extensions: " WS_DEFLATE_OFFER "\r\n");
    while (headers.n > 0 && str_cut(&headers, '\n', &header)) {
        host = host || is_field(header, STR_LIT("Host"));
        render(header, u, out);
        rc |= buf_append_lit(out, "\r\n");
    }
    if (!host)
        rc |= buf_printf(out, "Host: %s\r\n", t->host);
    if ((rc | buf_append_lit(out, "\r\n")) != 0)
        buf_clear(out);
}

static void upgraded(struct conn *c, struct str rest)
{
    struct user *u = user_of(c);

    u->flags &= (uint16_t)~USER_HANDSHAKE;
    if (engine.o->compression)
        conn_set_deflate(c, DEFLATE_32K);
    conn_set_state(c, CONN_OPEN);
    hdr_record(&engine.slot->m.upgrade, clock_precise_ns() - u->since);
    if (engine.adapter->hello != NULL) {
        struct adapter_user as = user_for_adapter(u);
        struct buf name = {0}, who = {0};

        buf_clear(&engine.text);
        user_render(str_from(engine.o->channel), u->id, u->channel, &name);
        user_render(str_from(engine.o->token_user), u->id, u->channel, &who);
        as.token_user = buf_view(&who);
        if (engine.adapter->hello(&as, buf_view(&name), &engine.text) == -1 ||
            user_send_data(c, buf_view(&engine.text)) == -1)
            conn_kill(c, CLOSE_NO_MEMORY);
        buf_fini(&name);
        buf_fini(&who);
    }
    if (engine.adapter->ready_at_upgrade && !conn_dead(c))
        user_ready(c);
    if (rest.n > 0 && !conn_dead(c))
        user_frames(c, rest);
}

static bool list_has(struct str list, struct str token)
{
    struct str one;

    while (list.n > 0 && str_cut(&list, ',', &one))
        if (str_equal_nocase(str_trim(one), token))
            return true;
    return false;
}

/* What RFC 6455 §4.1 has a client check in a 101: NULL, or what is wrong. */
static const char *wrong_answer(const struct user *u, const struct http_response *r)
{
    struct str extensions = http_response_field(r, STR_LIT("Sec-WebSocket-Extensions"));
    struct str sub = http_response_field(r, STR_LIT("Sec-WebSocket-Protocol"));
    char key[WS_KEY_LEN], accept[WS_ACCEPT_LEN];

    ws_accept_key(make_key(u, key), accept);
    if (!str_equal(http_response_field(r, STR_LIT("Sec-WebSocket-Accept")),
                   (struct str){accept, sizeof(accept)}))
        return "Sec-WebSocket-Accept does not answer the key";
    if (!str_equal_nocase(http_response_field(r, STR_LIT("Upgrade")), STR_LIT("websocket")))
        return "a 101 without Upgrade: websocket";
    if (!list_has(http_response_field(r, STR_LIT("Connection")), STR_LIT("Upgrade")))
        return "a 101 without Connection: Upgrade";
    if (engine.o->compression && extensions.n == 0)
        return "no compression: permessage-deflate was declined";
    if (engine.o->compression ? !ws_deflate_answered(extensions) : extensions.n > 0)
        return "an extension that was not offered";
    if (sub.n > 0 && !list_has(offered_subprotocols(), sub))
        return "a subprotocol that was not offered";
    return NULL;
}

/* An alert (RFC 8446 §5.1), which is how some servers answer what is no ClientHello. */
static bool is_tls_record(struct str in)
{
    return in.n >= 2 && in.p[0] == 0x15 && in.p[1] == 0x03;
}

/* Others answer in HTTP, that they were spoken to in HTTP: the word is in the page. */
static void note_tls_there(struct str body)
{
    char *first = engine.slot->protocol_error;

    if (first[0] == '\0' && memmem(body.p, body.n, "HTTPS", 5) != NULL)
        snprintf(first, sizeof(engine.slot->protocol_error), "%s", HANDSHAKE_TLS_THERE);
}

static void handshake_answer(struct conn *c, const struct http_response *r, struct str rest)
{
    const char *wrong = r->status == 101 ? wrong_answer(user_of(c), r) : NULL;
    uint32_t none = 0;

    if (r->status != 101) {
        note_tls_there(rest);
        engine.slot->m.upgrade_refused++;
        atomic_compare_exchange_strong(&engine.slot->first_status, &none, (uint32_t)r->status);
        conn_kill(c, CLOSE_UPGRADE_REQUIRED);
    } else if (wrong != NULL) {
        user_broke(c, CLOSE_UPGRADE_KEY, wrong);
    } else {
        upgraded(c, rest);
    }
}

void handshake_free_head(struct user *u)
{
    if (u->head != NULL)
        buf_fini(u->head);
    free(u->head);
    u->head = NULL;
}

/* The response head comes whole in one read, or is put together in u->head. */
void user_handshake(struct conn *c, struct str in)
{
    struct user *u = user_of(c);
    struct buf head = {0};
    struct http_response r;
    enum close_reason why;
    int rc;

    if (u->head != NULL) {
        if (buf_append(u->head, in) == -1) {
            conn_kill(c, CLOSE_NO_MEMORY);
            return;
        }
        in = buf_view(u->head);
    }
    rc = http_response_final(&in, 16384, &r, &why);
    if (rc < 0) {
        user_broke(c, why,
                   is_tls_record(in) ? HANDSHAKE_TLS_THERE
                                     : "not an HTTP/1.1 response head of at most 16 KiB");
    } else if (rc > 0) {
        if (u->head != NULL) { /* the views must outlive it */
            head = *u->head;
            *u->head = (struct buf){0};
            handshake_free_head(u);
        }
        handshake_answer(c, &r, in);
        buf_fini(&head);
    } else if (u->head == NULL) {
        u->head = calloc(1, sizeof(*u->head));
        if (u->head == NULL || buf_append(u->head, in) == -1)
            conn_kill(c, CLOSE_NO_MEMORY);
    }
}
