#include "codec/ws_deflate.h"

#include "codec/http.h"

/* What an element says; bits: 0 where there is no value, or no parameter. */
struct params {
    bool server_keeps_nothing, client_keeps_nothing;
    bool server_window, client_window;
    uint8_t server_bits, client_bits;
};

/* §7.1.2: 8 to 15, without leading zeros. Quotes and escapes do not count (RFC 6455 §9.1). 0: it is
 * none. */
static uint8_t window_bits(struct str value)
{
    unsigned bits = 0;

    for (size_t i = 0; i < value.n; i++) {
        char c = value.p[i];

        if (c == '\\')
            continue;
        if (c < '0' || c > '9' || (c == '0' && bits == 0) || bits > 1)
            return 0;
        bits = 10 * bits + (unsigned)(c - '0');
    }
    return bits >= 8 && bits <= 15 ? (uint8_t)bits : 0;
}

/* Once, and without a value. */
static bool set_flag(bool *flag, struct str value)
{
    if (*flag || value.p != NULL)
        return false;
    *flag = true;
    return true;
}

/* Once, and with a good value, or without one if it may. */
static bool set_window(bool *there, uint8_t *bits, struct str value, bool optional)
{
    if (*there)
        return false;
    *there = true;
    *bits = value.p != NULL ? window_bits(value) : 0;
    return *bits != 0 || (optional && value.p == NULL);
}

static bool set_param(struct params *p, struct str name, struct str value)
{
    if (str_equal_nocase(name, STR_LIT("server_no_context_takeover")))
        return set_flag(&p->server_keeps_nothing, value);
    if (str_equal_nocase(name, STR_LIT("client_no_context_takeover")))
        return set_flag(&p->client_keeps_nothing, value);
    if (str_equal_nocase(name, STR_LIT("server_max_window_bits")))
        return set_window(&p->server_window, &p->server_bits, value, false);
    if (str_equal_nocase(name, STR_LIT("client_max_window_bits")))
        return set_window(&p->client_window, &p->client_bits, value, true);
    return false;
}

static bool read_params(struct str rest, struct params *out)
{
    struct str name, value;
    int rc;

    *out = (struct params){0};
    while ((rc = http_param_next(&rest, &name, &value)) > 0)
        if (!set_param(out, name, value))
            return false;
    return rc == 0;
}

/* What the client says of its own window does not matter: what we read with has the largest. */
bool ws_deflate_offered(struct str params, struct ws_deflate *out)
{
    struct params p;

    if (!read_params(params, &p))
        return false;
    *out = (struct ws_deflate){.window = p.server_window ? p.server_bits : 15,
                               .named = p.server_window};
    return true;
}

int ws_deflate_answer(const struct ws_deflate *agreed, struct buf *out)
{
    if (buf_append_lit(out, WS_DEFLATE_OFFER) == -1)
        return -1;
    return agreed->named ? buf_printf(out, "; server_max_window_bits=%u", agreed->window) : 0;
}

/* One element, whose server keeps nothing. Its window may be any; ours must not be bounded, because
 * we have not said that it can be (§7.1.2.2). */
bool ws_deflate_answered(struct str value)
{
    struct params p;
    struct str element, more;

    if (!http_list_next(&value, &element) || http_list_next(&value, &more))
        return false;
    if (!str_equal_nocase(str_trim((struct str){element.p, str_find(element, ';')}),
                          WS_DEFLATE_NAME))
        return false;
    return read_params(str_skip(element, str_find(element, ';')), &p) && p.server_keeps_nothing &&
           !p.client_window;
}
