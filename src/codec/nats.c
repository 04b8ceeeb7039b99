#include "codec/nats.h"

#include <inttypes.h>

#include "codec/json.h"

#define FIELDS_MAX 5

/* --- lines --- */

/* Fields of a line, apart by spaces and tabs. More than FIELDS_MAX: FIELDS_MAX + 1. */
static size_t split(struct str line, struct str field[FIELDS_MAX])
{
    size_t n = 0;

    for (;;) {
        size_t len = 0;

        while (line.n > 0 && (line.p[0] == ' ' || line.p[0] == '\t'))
            line = str_skip(line, 1);
        if (line.n == 0)
            return n;
        if (n == FIELDS_MAX)
            return FIELDS_MAX + 1;
        while (len < line.n && line.p[len] != ' ' && line.p[len] != '\t')
            len++;
        field[n++] = (struct str){.p = line.p, .n = len};
        line = str_skip(line, len);
    }
}

static bool read_length(struct str s, size_t *out)
{
    uint64_t v;

    if (str_to_u64(s, &v) == -1 || v > NATS_PAYLOAD_MAX)
        return false;
    *out = (size_t)v;
    return true;
}

/* subject sid [reply] [#headers] #bytes, behind the name of the command. */
static bool read_message(struct str line, bool headers, struct nats_item *out, size_t *header_bytes,
                         size_t *bytes)
{
    struct str field[FIELDS_MAX];
    size_t n = split(line, field), numbers = headers ? 2 : 1;

    if (n < 2 + numbers || n > 3 + numbers)
        return false;
    out->op = NATS_MSG;
    out->subject = field[0];
    out->sid = field[1];
    out->reply = n == 3 + numbers ? field[2] : STR_NULL;
    *header_bytes = 0;
    return read_length(field[n - 1], bytes) &&
           (!headers || read_length(field[n - 2], header_bytes)) && *header_bytes <= *bytes;
}

static struct str unquote(struct str s)
{
    s = str_trim(s);
    if (s.n >= 2 && s.p[0] == '\'' && s.p[s.n - 1] == '\'')
        return (struct str){.p = s.p + 1, .n = s.n - 2};
    return s;
}

/* What begins with this line. bytes: what follows it without its line end, SIZE_MAX: nothing does. */
static bool read_line(struct str line, struct nats_item *out, size_t *header_bytes, size_t *bytes)
{
    size_t len = MIN(str_find(line, ' '), str_find(line, '\t'));
    struct str name = {.p = line.p, .n = len}, rest = str_skip(line, len);

    *out = (struct nats_item){0};
    *bytes = SIZE_MAX;
    if (str_equal_nocase(name, STR_LIT("MSG")))
        return read_message(rest, false, out, header_bytes, bytes);
    if (str_equal_nocase(name, STR_LIT("HMSG")))
        return read_message(rest, true, out, header_bytes, bytes);
    out->text = str_trim(rest);
    if (str_equal_nocase(name, STR_LIT("INFO"))) {
        out->op = NATS_INFO;
        return out->text.n > 0;
    }
    if (str_equal_nocase(name, STR_LIT("-ERR"))) {
        out->op = NATS_ERR;
        out->text = unquote(rest);
        return true;
    }
    if (str_equal_nocase(name, STR_LIT("PING")))
        out->op = NATS_PING;
    else if (str_equal_nocase(name, STR_LIT("PONG")))
        out->op = NATS_PONG;
    else if (str_equal_nocase(name, STR_LIT("+OK")))
        out->op = NATS_OK;
    else
        return false;
    return out->text.n == 0;
}

/* The line at the front, without its end. 1, 0: not yet all of it, -1: not one. */
static int scan_line(struct nats_scan *s, struct str in, struct str *line)
{
    const char *end;

    if (s->bytes == 0) {
        end = memchr(in.p + s->at, '\n', MIN(in.n, NATS_LINE_MAX) - s->at);
        if (end == NULL) {
            s->at = MIN(in.n, NATS_LINE_MAX);
            return in.n < NATS_LINE_MAX ? 0 : -1;
        }
        s->at = (size_t)(end - in.p) + 1;
    }
    if (s->at < 2 || in.p[s->at - 2] != '\r')
        return -1;
    *line = (struct str){.p = in.p, .n = s->at - 2};
    return 1;
}

ssize_t nats_scan(struct nats_scan *s, struct str in, struct nats_item *out)
{
    size_t headers = 0, bytes;
    struct str line;
    const char *body;
    int rc;

    if (in.n == 0 || (s->bytes > 0 && in.n < s->bytes))
        return 0;
    rc = scan_line(s, in, &line);
    if (rc <= 0)
        return rc;
    if (!read_line(line, out, &headers, &bytes))
        return -1;
    s->bytes = s->at + (bytes == SIZE_MAX ? 0 : bytes + 2);
    if (in.n < s->bytes)
        return 0;
    if (bytes != SIZE_MAX) {
        body = in.p + s->at;
        if (body[bytes] != '\r' || body[bytes + 1] != '\n')
            return -1;
        out->headers = (struct str){.p = body, .n = headers};
        out->payload = (struct str){.p = body + headers, .n = bytes - headers};
    }
    bytes = s->bytes;
    *s = (struct nats_scan){0};
    return (ssize_t)bytes;
}

/* --- INFO --- */

static bool read_bool(const struct json_value *v, bool *out)
{
    *out = v->type == JSON_TRUE;
    return v->type == JSON_TRUE || v->type == JSON_FALSE;
}

/* -1: no limit, of the server or of an account; so much is what is understood here. */
static bool read_most(const struct json_value *v, uint64_t *out)
{
    if (v->type != JSON_NUMBER || !str_equal(v->raw, STR_LIT("-1")))
        return v->type == JSON_NUMBER && json_u64(v, out) == 0;
    *out = NATS_PAYLOAD_MAX;
    return true;
}

static bool read_member(const struct json_value *key, const struct json_value *v,
                        struct nats_info *out)
{
    if (json_string_equal(key, STR_LIT("max_payload")))
        return read_most(v, &out->max_payload);
    if (json_string_equal(key, STR_LIT("tls_required")))
        return read_bool(v, &out->tls_required);
    if (json_string_equal(key, STR_LIT("auth_required")))
        return read_bool(v, &out->auth_required);
    if (json_string_equal(key, STR_LIT("ldm")))
        return read_bool(v, &out->lame_duck);
    if (json_string_equal(key, STR_LIT("server_name")) && v->type == JSON_STRING)
        out->name = (struct str){.p = v->raw.p + 1, .n = v->raw.n - 2};
    if (json_string_equal(key, STR_LIT("connect_urls")) && v->type == JSON_ARRAY)
        out->urls = v->raw;
    return true;
}

int nats_read_info(struct str json, struct nats_info *out)
{
    struct json_value v, key, value;
    struct str rest;
    size_t at;

    *out = (struct nats_info){0};
    if (json_parse(json, &v, &at) == -1 || v.type != JSON_OBJECT)
        return -1;
    for (rest = v.raw; json_member(&rest, &key, &value);)
        if (!read_member(&key, &value, out))
            return -1;
    return 0;
}

bool nats_next_url(struct str *urls, struct buf *out)
{
    struct json_value v;

    while (urls->n > 0 && json_element(urls, &v))
        if (v.type == JSON_STRING)
            return json_string(&v, out) == 0;
    return false;
}

/* --- names --- */

static bool is_plain(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
}

bool nats_subject_valid(struct str subject)
{
    struct str token;

    if (subject.n == 0)
        return false;
    while (str_cut(&subject, '.', &token)) {
        if (token.n == 0 || (token.n == 1 && (token.p[0] == '*' || token.p[0] == '>')))
            return false;
        for (size_t i = 0; i < token.n; i++)
            if ((unsigned char)token.p[i] <= ' ' || token.p[i] == 0x7f)
                return false;
    }
    return true;
}

int nats_escape(struct buf *out, struct str bytes)
{
    static const char digits[] = "0123456789ABCDEF";
    char *p;

    if (buf_reserve(out, NATS_ESCAPED(bytes.n)) == -1)
        return -1;
    p = out->p + out->len;
    if (bytes.n == 0)
        *p++ = '=';
    for (size_t i = 0; i < bytes.n; i++) {
        unsigned char c = (unsigned char)bytes.p[i];

        if (is_plain(c)) {
            *p++ = (char)c;
            continue;
        }
        *p++ = '=';
        *p++ = digits[c >> 4];
        *p++ = digits[c & 15];
    }
    out->len = (size_t)(p - out->p);
    return 0;
}

/* Digits as nats_escape() writes them, so that no two tokens are the same name. */
static int digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

int nats_unescape(struct buf *out, struct str token)
{
    char *p;

    if (token.n == 0 || buf_reserve(out, token.n) == -1)
        return -1;
    if (str_equal(token, STR_LIT("=")))
        return 0;
    p = out->p + out->len;
    for (size_t i = 0; i < token.n; i++) {
        unsigned char c = (unsigned char)token.p[i];

        if (c == '=') {
            int high = i + 1 < token.n ? digit(token.p[i + 1]) : -1;
            int low = i + 2 < token.n ? digit(token.p[i + 2]) : -1;

            c = (unsigned char)(high * 16 + low);
            if (high == -1 || low == -1 || is_plain(c))
                return -1;
            i += 2;
        } else if (!is_plain(c)) {
            return -1;
        }
        *p++ = (char)c;
    }
    out->len = (size_t)(p - out->p);
    return 0;
}

/* --- writing --- */

static int add_text(struct buf *out, const char *name, const char *value)
{
    if (value[0] == '\0')
        return 0;
    return buf_printf(out, ",\"%s\":", name) || json_append_string(out, str_from(value)) ? -1 : 0;
}

/* Either all of it or nothing. */
static int ended(struct buf *out, size_t before, int rc)
{
    if (rc == 0)
        return 0;
    out->len = before;
    return -1;
}

int nats_write_connect(struct buf *out, const struct nats_connect *c)
{
    size_t before = out->len;

    return ended(out, before,
                 buf_printf(out,
                            "CONNECT {\"verbose\":false,\"pedantic\":false,\"echo\":true,"
                            "\"headers\":true,\"protocol\":1,\"lang\":\"c\",\"version\":\"1\","
                            "\"tls_required\":%s",
                            c->tls ? "true" : "false") ||
                     add_text(out, "name", c->name) || add_text(out, "user", c->user) ||
                     add_text(out, "pass", c->password) || add_text(out, "auth_token", c->token) ||
                     buf_append_lit(out, "}\r\n"));
}

int nats_write_pub(struct buf *out, struct str subject, struct str payload)
{
    size_t before = out->len;

    if (!nats_subject_valid(subject) || buf_reserve(out, subject.n + payload.n + 40) == -1)
        return -1;
    return ended(out, before,
                 buf_append_lit(out, "PUB ") || buf_append(out, subject) ||
                     buf_printf(out, " %zu\r\n", payload.n) || buf_append(out, payload) ||
                     buf_append_lit(out, "\r\n"));
}

int nats_write_sub(struct buf *out, struct str subject, uint64_t sid)
{
    size_t before = out->len;

    if (!nats_subject_valid(subject))
        return -1;
    return ended(out, before,
                 buf_append_lit(out, "SUB ") || buf_append(out, subject) ||
                     buf_printf(out, " %" PRIu64 "\r\n", sid));
}

int nats_write_unsub(struct buf *out, uint64_t sid)
{
    return buf_printf(out, "UNSUB %" PRIu64 "\r\n", sid);
}

int nats_write_ping(struct buf *out)
{
    return buf_append_lit(out, "PING\r\n");
}

int nats_write_pong(struct buf *out)
{
    return buf_append_lit(out, "PONG\r\n");
}
