/* proc/config_check_clients.c - settings of Centrifuge clients that span, and that open doors. */
#include "config_internal.h"
#include "proc/egress.h"

static int refuse(struct buf *errors, const char *where, const char *text)
{
    config_report(errors, where, text);
    return 1;
}

static bool has_namespace(const struct config *c, const char *name)
{
    for (size_t i = 0; i < c->namespaces.n; i++)
        if (strcmp(c->namespaces.items[i].name, name) == 0)
            return true;
    return false;
}

static int check_personal(const struct config *c, struct buf *errors)
{
    int bad = 0;

    if (c->personal_channel_namespace[0] != '\0' &&
        !has_namespace(c, c->personal_channel_namespace))
        bad += refuse(errors, "personal_channel_namespace", "there is no such namespace");
    if (c->personal_channel_single_connection && !c->subscribe_to_user_personal_channel)
        bad += refuse(errors, "personal_channel_single_connection",
                      "it does nothing without subscribe_to_user_personal_channel");
    return bad;
}

/* Publications that outlive their channel's position. */
static int check_meta_ttl(const struct config *c, const struct channel_options *o, const char *name,
                          struct buf *errors)
{
    if (o->history_meta_ttl != 0 || o->history_ttl <= c->history_meta_ttl)
        return 0;
    if (buf_printf(errors, "history_meta_ttl: it is less than the history_ttl of %s\n", name) == -1)
        return 1;
    return 1;
}

static int check_api(const struct config *c, struct buf *errors)
{
    if (c->api_insecure && !config_listens_locally(c, LISTENER_CLIENT))
        return refuse(errors, "api_insecure",
                      "listen is not on loopback, so anybody who reaches it could publish; set "
                      "api_key, or listen to 127.0.0.1:8000");
    if (c->api_on_client_listener && c->api_key[0] == '\0' &&
        !config_listens_locally(c, LISTENER_CLIENT))
        return refuse(errors, "api_on_client_listener",
                      "listen is not on loopback, so anybody who reaches it could publish; set "
                      "api_key (ROOST_API_KEY) or api_key_file");
    return 0;
}

static int check_url(const char *setting, const char *url, struct buf *errors)
{
    const char *why = url[0] != '\0' ? egress_refusal(url) : NULL;
    char text[160];

    if (why == NULL)
        return 0;
    snprintf(text, sizeof(text), "the address %s", why);
    return refuse(errors, setting, text);
}

int config_check_clients(const struct config *c, struct buf *errors)
{
    int bad = check_personal(c, errors) + check_api(c, errors);

    bad += check_url("token_jwks_url", c->token_jwks_url, errors);
    bad += check_url("subscription_token_jwks_url", c->subscription_token_jwks_url, errors);

    bad += check_meta_ttl(c, &c->channel_without_namespace, "channel_without_namespace", errors);
    for (size_t i = 0; i < c->namespaces.n; i++)
        bad += check_meta_ttl(c, &c->namespaces.items[i], c->namespaces.items[i].name, errors);
    return bad;
}

int config_warn_clients(const struct config *c, struct buf *lines)
{
    const struct {
        bool on;
        const char *line;
    } doors[] = {
        {c->insecure,
         "insecure: everybody who reaches the client listener may connect, subscribe to every "
         "channel and publish; for development only\n"},
        {c->allow_anonymous_connect_without_token && !c->insecure,
         "allow_anonymous_connect_without_token: everybody who reaches the client listener may "
         "connect, and do what the options ..._for_anonymous allow\n"},
        {c->user_id_http_header[0] != '\0',
         "user_id_http_header: whoever reaches the client listener can say to be any user, unless "
         "a proxy in front sets or removes that field\n"},
        {c->api_insecure,
         "api_insecure: whoever reaches the client listener may publish and disconnect by the "
         "server API\n"},
    };

    for (size_t i = 0; i < ARRAY_LEN(doors); i++)
        if (doors[i].on && buf_append(lines, str_from(doors[i].line)) == -1)
            return -1;
    return 0;
}
