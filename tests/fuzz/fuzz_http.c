/* fuzz_http - HTTP request heads and bodies, response heads, and what is done with their parts:
 * parameters, Accept, the handshake, the channels of a query.
 *
 * Properties: views lie within the input (or are the two static paths); the outcome does not depend
 * on how the input was split; what is accepted holds what the header promises. */
#include "base/config.h"
#include "codec/http.h"
#include "proto/plain/plain_internal.h"
#include "proto/upgrade.h"
#include "tests/fuzz/fuzz.h"

#define HEAD_MAX   1024
#define FIELDS_MAX 20
#define BODY_MAX   4096

static struct http_request req;
static struct http_response rsp;

static bool within(struct str part, struct str whole)
{
    return part.p == NULL || (part.p >= whole.p && part.p + part.n <= whole.p + whole.n);
}

static void check_params(struct str element)
{
    struct str rest = str_skip(element, str_find(element, ';')), name, value;
    size_t left = rest.n;

    while (http_param_next(&rest, &name, &value) > 0) {
        REQUIRE(rest.n < left && within(name, element) && within(value, element));
        REQUIRE(name.n == 0 || http_is_token(name));
        left = rest.n;
    }
}

static void check_fields(const struct http_field *fields, size_t n, size_t max, struct str head)
{
    REQUIRE(n <= max);
    for (size_t i = 0; i < n; i++) {
        struct str rest = fields[i].value, element;

        REQUIRE(http_is_token(fields[i].name) && within(fields[i].name, head));
        REQUIRE(within(rest, head) && rest.p != NULL);
        for (size_t k = 0; k < rest.n; k++)
            REQUIRE((uint8_t)rest.p[k] >= 0x20 || rest.p[k] == '\t');
        while (http_list_next(&rest, &element)) {
            REQUIRE(element.n > 0 && within(element, fields[i].value));
            check_params(element);
        }
    }
}

static void check_target(struct str head)
{
    struct str rest = req.query, key, value;
    char decoded[HEAD_MAX];
    size_t n;

    REQUIRE(req.path.n > 0 && (req.path.p[0] == '/' || str_equal(req.path, STR_LIT("*"))));
    REQUIRE(within(req.path, head) || req.path.n == 1);
    REQUIRE(within(req.query, head) && within(req.host, head));
    if (http_percent_decode(req.path, decoded, sizeof(decoded), &n) == 0)
        REQUIRE(n <= req.path.n);
    while (http_query_next(&rest, &key, &value))
        REQUIRE(within(key, req.query) && within(value, req.query));
}

static void check_accept(void)
{
    unsigned precision,
        weight = http_accept_weight(&req, STR_LIT("text/plain"), STR_LIT("0.0.4"), &precision);

    REQUIRE(weight <= 1000 && precision <= 4);
    if (precision == 0)
        REQUIRE(weight == 0 || http_field_get(&req, STR_LIT("Accept"), NULL).p == NULL);
}

static void check_extensions(struct str rest)
{
    struct str element, name, value;
    size_t n = 0;

    for (; http_list_next(&rest, &element); n++) {
        struct str params = str_skip(element, str_find(element, ';'));
        int rc;

        REQUIRE(http_is_token(str_trim((struct str){element.p, element.n - params.n})));
        while ((rc = http_param_next(&params, &name, &value)) > 0)
            REQUIRE(http_is_token(name) && (value.p == NULL || value.n > 0));
        REQUIRE(rc == 0);
    }
    REQUIRE(n > 0);
}

/* What the guard and the handshake take for a page of this host has a scheme and that host. */
static void check_origins(void)
{
    for (size_t i = 0; i < req.nfields; i++) {
        struct str origin = req.fields[i].value;

        if (!str_equal_nocase(req.fields[i].name, STR_LIT("Origin")) ||
            !upgrade_origin_same(origin, req.host))
            continue;
        REQUIRE(upgrade_origin_allowed(origin, req.host));
        REQUIRE(req.host.n > 0 && str_find(origin, ':') < origin.n);
    }
}

/* What is accepted has been looked at whole. */
static void check_upgrade(void)
{
    struct upgrade up;
    enum close_reason why;

    if (upgrade_check(&req, config.subprotocols, &up, &why) == -1) {
        REQUIRE(close_row(why)->status >= 400);
        return;
    }
    REQUIRE(req.minor == 1 && req.method == HTTP_GET);
    REQUIRE(
        up.subprotocol[0] == '\0' ||
        http_field_has_token(&req, STR_LIT("Sec-WebSocket-Protocol"), str_from(up.subprotocol)));
    for (size_t i = 0; i < req.nfields; i++)
        if (str_equal_nocase(req.fields[i].name, STR_LIT("Sec-WebSocket-Extensions")))
            check_extensions(req.fields[i].value);
}

/* The names found one by one and by their hash are the same. */
static void check_channels(void)
{
    static struct plain_query q;
    struct str rest, name, other, behind;
    enum close_reason why;
    unsigned n = 0;

    if (plain_query_parse(STR_NULL, req.query, &q, &why) == -1)
        return;
    REQUIRE(q.n >= 1 && q.n <= (unsigned)config.max_channels_per_connection);
    rest = (struct str){.p = q.names, .n = q.bytes};
    while (plain_name_next(&rest, &name)) {
        REQUIRE(channel_name_valid(name));
        behind = rest;
        while (plain_name_next(&behind, &other))
            REQUIRE(!str_equal(name, other));
        n++;
    }
    REQUIRE(n == q.n);
}

static void check_request(struct str head)
{
    bool repeated;

    REQUIRE(http_is_token(req.method_name) && within(req.method_name, head));
    REQUIRE(req.minor <= 1);
    check_target(head);
    check_fields(req.fields, req.nfields, FIELDS_MAX, head);
    http_field_get(&req, STR_LIT("host"), &repeated);
    REQUIRE(!repeated && (req.minor == 0 || req.host.n > 0));
    if (http_field_get(&req, STR_LIT("transfer-encoding"), NULL).p != NULL)
        REQUIRE(req.body == HTTP_BODY_CHUNKED &&
                http_field_get(&req, STR_LIT("content-length"), NULL).p == NULL);
    if (http_field_has_token(&req, STR_LIT("connection"), STR_LIT("close")))
        REQUIRE(!req.keep_alive);
    check_accept();
    check_origins();
    check_upgrade();
    check_channels();
}

/* Parses every prefix; a decision must be the same for all longer ones. Leaves the whole's
 * in req. */
static int parse_request(struct str *in)
{
    enum close_reason why = CLOSE_NONE, decided_why = CLOSE_NONE;
    size_t consumed = 0;
    int rc = 0, decided = 0;

    for (size_t n = 0; n <= in->n; n++) {
        struct str part = {in->p, n};

        if (n > 300 && n < in->n && n % 61 != 0) /* bounds the quadratic work */
            continue;
        rc = http_request_parse(&part, HEAD_MAX, FIELDS_MAX, &req, &why);
        if (decided != 0) {
            REQUIRE(rc == decided && (rc > 0 || why == decided_why));
            REQUIRE(rc < 0 || n - part.n == consumed);
        } else if (rc != 0) {
            decided = rc;
            decided_why = why;
            consumed = n - part.n;
        }
        if (rc > 0)
            check_request((struct str){in->p, consumed});
        else
            REQUIRE(part.p == in->p && part.n == n);
        REQUIRE(rc != 0 || n < HEAD_MAX);
        if (rc < 0)
            REQUIRE(close_row(why)->status >= 400);
    }
    *in = (struct str){in->p + consumed, in->n - consumed};
    return rc;
}

struct body_end {
    uint64_t sum, received;
    size_t left;
    int rc;
    bool done;
    enum close_reason why;
};

/* Receives a body in pieces of `step` bytes. */
static struct body_end run_body(const struct http_body *start, struct str in, size_t step)
{
    struct http_body b = *start;
    struct body_end e = {.sum = 5381};
    struct str data;

    while (in.n > 0 && e.rc == 0 && !http_body_done(&b)) {
        struct str piece = {in.p, MIN(step, in.n)}, part = piece;

        while ((e.rc = http_body_next(&b, BODY_MAX, &part, &data, &e.why)) > 0) {
            REQUIRE(within(data, piece));
            for (size_t i = 0; i < data.n; i++)
                e.sum = e.sum * 33 + (uint8_t)data.p[i];
        }
        REQUIRE(e.rc < 0 || part.n == 0 || http_body_done(&b));
        in = (struct str){in.p + (piece.n - part.n), in.n - (piece.n - part.n)};
    }
    REQUIRE(b.received <= BODY_MAX);
    e.done = http_body_done(&b);
    e.received = b.received;
    e.left = in.n;
    return e;
}

static void check_body(const struct http_body *start, struct str in)
{
    struct body_end whole = run_body(start, in, SIZE_MAX);

    for (size_t step = 1; step < 8; step++) {
        struct body_end e = run_body(start, in, step);

        REQUIRE(e.rc == whole.rc && e.done == whole.done);
        if (e.rc < 0) {
            REQUIRE(e.why == whole.why);
            REQUIRE(e.why == CLOSE_BAD_CHUNK || e.why == CLOSE_BODY_TOO_BIG);
        } else {
            REQUIRE(e.sum == whole.sum && e.received == whole.received && e.left == whole.left);
        }
    }
}

static void check_response(struct str in)
{
    enum close_reason why;
    struct str rest = in;
    struct http_body b;

    if (http_response_parse(&rest, HEAD_MAX, &rsp, &why) <= 0)
        return;
    REQUIRE(rsp.status >= 100 && rsp.status <= 999 && within(rsp.reason, in));
    check_fields(rsp.fields, rsp.nfields, HTTP_RESPONSE_FIELDS, (struct str){in.p, in.n - rest.n});
    http_body_init_response(&b, &rsp);
    if (rsp.body != HTTP_BODY_NONE)
        check_body(&b, rest);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str in = {(const char *)data, size};
    const struct http_request chunked = {.body = HTTP_BODY_CHUNKED};
    struct http_body b;

    if (size == 0)
        return 0;
    if (config.max_message_size == 0) {
        config_defaults(&config);
        snprintf(config.subprotocols, sizeof(config.subprotocols), "b\none");
    }
    check_response(in);
    http_body_init(&b, &chunked);
    check_body(&b, in);
    if (parse_request(&in) > 0) {
        http_body_init(&b, &req);
        check_body(&b, in);
    }
    return 0;
}
