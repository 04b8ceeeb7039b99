/* cmd/roostctl/token.c - tokens for development, by the daemon's own settings. */
#include <time.h>

#include "base/clock.h"
#include "base/out.h"
#include "base/units.h"
#include "ctl.h"
#include "proto/tokens.h"

#define EXPIRE_DEFAULT "24h"

static int take_settings(const char *path)
{
    if (ctl_take_settings(path) == -1)
        return -1;
    clock_refresh();
    return tokens_init(NULL);
}

static int no_key(enum token_kind kind, const char *what)
{
    const char *prefix =
        kind == TOKEN_SUBSCRIPTION && config.subscription_token_enabled ? "SUBSCRIPTION_" : "";

    fprintf(stderr,
            "roostctl: %s: set ROOST_%sTOKEN_HMAC_SECRET_KEY, or name the daemon's settings with "
            "--config FILE\n",
            what, prefix);
    return 2;
}

static int write_text(struct buf *out, const char *name, const char *value)
{
    return buf_printf(out, "%s\"%s\":", out->len > 1 ? "," : "", name) == -1
               ? -1
               : json_append_string(out, str_from(value));
}

/* The claims of the options. */
static int write_claims(const struct ctl_line *line, int64_t valid_s, struct buf *out)
{
    const char *user = line->given[OPTION_TOKEN_USER], *info = line->given[OPTION_TOKEN_INFO],
               *channel = line->given[OPTION_TOKEN_CHANNEL];
    long long now = (long long)(clock_wall_ns() / NS_PER_SEC);

    if (buf_append_char(out, '{') == -1 || (user != NULL && write_text(out, "sub", user) == -1) ||
        (channel != NULL && write_text(out, "channel", channel) == -1) ||
        buf_printf(out, "%s\"iat\":%lld", out->len > 1 ? "," : "", now) == -1 ||
        (valid_s > 0 && buf_printf(out, ",\"exp\":%lld", now + valid_s) == -1) ||
        (info != NULL && buf_printf(out, ",\"info\":%s", info) == -1))
        return -1;
    return buf_append_char(out, '}');
}

static int print_token(struct str token)
{
    struct buf out = {0};
    int rc = 1;

    if (ctl.output == CTL_TABLE) {
        out_printf("%.*s\n", STR_ARG(token));
        return 0;
    }
    if (buf_append_char(&out, '{') == 0 && ctl_put_text(&out, "token", token) == 0 &&
        buf_append_char(&out, '}') == 0)
        rc = ctl_print_json(buf_view(&out));
    buf_fini(&out);
    return rc;
}

static int make(const struct ctl_line *line)
{
    const char *info = line->given[OPTION_TOKEN_INFO], *expire = line->given[OPTION_TOKEN_EXPIRE];
    enum token_kind kind =
        line->given[OPTION_TOKEN_CHANNEL] != NULL ? TOKEN_SUBSCRIPTION : TOKEN_CONNECTION;
    struct buf claims = {0}, token = {0};
    struct json_value v;
    int64_t valid_ns;
    int rc = 0;

    if (units_parse_duration(str_from(expire != NULL ? expire : EXPIRE_DEFAULT), &valid_ns) == -1 ||
        (valid_ns > 0 && valid_ns < (int64_t)NS_PER_SEC)) {
        fprintf(stderr, "roostctl: --expire takes a duration of a second or more, such as 1h, or "
                        "0 for ever\n");
        return 2;
    }
    if (info != NULL && json_parse(str_from(info), &v, NULL) == -1) {
        fprintf(stderr, "roostctl: --info is %s\n", json_refusal(str_from(info)));
        return 2;
    }
    if (write_claims(line, valid_ns / (int64_t)NS_PER_SEC, &claims) == -1 ||
        token_make(kind, buf_view(&claims), &token) == -1)
        rc = no_key(kind, tokens_configured(kind)
                              ? "the settings have keys to verify tokens with, and no secret to "
                                "sign one"
                              : "no token key is set");
    else
        rc = print_token(buf_view(&token));
    buf_fini(&claims);
    buf_fini(&token);
    return rc;
}

static int put_end(struct buf *out, int64_t at)
{
    time_t t = (time_t)at;
    char text[32] = "never";
    struct tm tm;

    if (at != 0) {
        gmtime_r(&t, &tm);
        strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
    }
    return ctl_put_text(out, "expires", str_from(text));
}

static int put_any(struct buf *out, const char *name, struct str json)
{
    return json.n > 0 ? ctl_put_raw(out, name, json) : 0;
}

static int put_channels(struct buf *out, const struct token_connection *c)
{
    struct str rest = c->subs, channel;
    struct token_options options;
    const char *sep = "";
    int rc = ctl_put_raw(out, "channels", STR_LIT("["));

    while (token_next_sub(c, &rest, &channel, &options)) {
        rc |= buf_append_lit(out, sep);
        rc |= json_append_string(out, channel);
        sep = ",";
    }
    return rc | buf_append_char(out, ']');
}

/* What it says, as members of an object. *rc: -1 without memory. */
static enum token_fault check_connection(struct str token, struct buf *out, int *rc)
{
    struct token_connection c;
    enum token_fault fault = token_verify_connection(token, &c);

    if (fault != TOKEN_GOOD)
        return fault;
    *rc |= ctl_put_text(out, "kind", STR_LIT("connection"));
    *rc |= ctl_put_text(out, "user", c.user);
    *rc |= put_end(out, c.expire_at);
    *rc |= put_any(out, "info", c.info);
    *rc |= put_any(out, "meta", c.meta);
    *rc |= put_channels(out, &c);
    return fault;
}

static enum token_fault check_subscription(struct str token, struct buf *out, int *rc)
{
    struct token_subscription s;
    enum token_fault fault = token_read_subscription(token, &s);

    if (fault != TOKEN_GOOD)
        return fault;
    *rc |= ctl_put_text(out, "kind", STR_LIT("subscription"));
    *rc |= ctl_put_text(out, "channel", s.channel);
    *rc |= ctl_put_text(out, "user", s.user);
    if (s.client.n > 0)
        *rc |= ctl_put_text(out, "client", s.client);
    *rc |= put_end(out, s.expire_at);
    *rc |= put_any(out, "info", s.options.info);
    *rc |= put_any(out, "data", s.options.data);
    return fault;
}

static int check(struct str token)
{
    enum token_kind kind = token_kind_of(token);
    struct buf out = {0};
    enum token_fault fault;
    int rc;

    if (!tokens_configured(kind))
        return no_key(kind, "no token key is set");
    rc = buf_append_char(&out, '{');
    fault = kind == TOKEN_SUBSCRIPTION ? check_subscription(token, &out, &rc)
                                       : check_connection(token, &out, &rc);
    rc |= buf_append_char(&out, '}');
    if (fault != TOKEN_GOOD)
        fprintf(stderr, "roostctl: the token is no good: %s\n", token_reason());
    else
        rc = rc == 0 ? ctl_print_object(buf_view(&out)) : 1;
    buf_fini(&out);
    return fault == TOKEN_GOOD ? rc : 1;
}

int cmd_token(const struct ctl_line *line)
{
    static const enum ctl_option making[] = {OPTION_TOKEN_USER, OPTION_TOKEN_CHANNEL,
                                             OPTION_TOKEN_EXPIRE, OPTION_TOKEN_INFO};
    const char *token = line->given[OPTION_TOKEN_CHECK];
    int status = 2;

    for (size_t i = 0; i < ARRAY_LEN(making) && token != NULL; i++) {
        if (line->given[making[i]] != NULL) {
            fprintf(stderr, "roostctl: --check takes a token as it is, without options that make "
                            "one\n");
            return 2;
        }
    }
    if (take_settings(line->given[OPTION_TOKEN_CONFIG]) == 0)
        status = token != NULL ? check(str_trim(str_from(token))) : make(line);
    tokens_fini();
    return status;
}
