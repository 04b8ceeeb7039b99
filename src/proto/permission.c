/* proto/permission.c - the ladder of proto/permission.h. */
#include "proto/permission.h"

#include "codec/json.h"
#include "core/channel_name.h"

#define AT(option) offsetof(struct channel_options, option)

/* Which options allow it. subscriber: 0, which is no option, where only clients are asked about. */
static const struct {
    size_t client, subscriber, anonymous;
} allow[PERMISSION_OP_NR] = {
    [PERMISSION_SUBSCRIBE] = {AT(allow_subscribe_for_client), 0, AT(allow_subscribe_for_anonymous)},
    [PERMISSION_PUBLISH] = {AT(allow_publish_for_client), AT(allow_publish_for_subscriber),
                            AT(allow_publish_for_anonymous)},
    [PERMISSION_PRESENCE] = {AT(allow_presence_for_client), AT(allow_presence_for_subscriber),
                             AT(allow_presence_for_anonymous)},
    [PERMISSION_HISTORY] = {AT(allow_history_for_client), AT(allow_history_for_subscriber),
                            AT(allow_history_for_anonymous)},
};
_Static_assert(AT(name) == 0, "0 is no option");

static bool is_on(const struct channel_options *o, size_t option)
{
    return option != 0 && ((const bool *)(const void *)o)[option];
}

static bool by_options(const struct permission_ask *ask, const struct channel_options *o)
{
    if (ask->user.n == 0 && !is_on(o, allow[ask->op].anonymous))
        return false;
    return is_on(o, allow[ask->op].client) ||
           (ask->subscribed && is_on(o, allow[ask->op].subscriber));
}

static bool is_personal(const struct permission_ask *ask)
{
    char name[CHANNEL_NAME_MAX];
    struct str personal = permission_personal_channel(ask->user, name);

    return personal.n > 0 && str_equal(personal, ask->channel);
}

static enum permission subscribe(const struct permission_ask *ask, const struct channel_options *o)
{
    bool limited =
        o->allow_user_limited_channels && str_find(ask->channel, CHANNEL_USERS) < ask->channel.n;

    if (ask->token)
        return PERMISSION_GIVEN;
    if (ask->channel.p[0] == CHANNEL_PRIVATE)
        return PERMISSION_DENIED;
    if (is_personal(ask) ||
        (limited ? channel_names_user(ask->channel, ask->user) : by_options(ask, o)))
        return PERMISSION_GIVEN;
    return config.insecure ? PERMISSION_GIVEN : PERMISSION_DENIED;
}

static bool is_available(enum permission_op op, const struct channel_options *o)
{
    return op == PERMISSION_PRESENCE  ? o->presence
           : op == PERMISSION_HISTORY ? channel_has_history(o)
                                      : true;
}

enum permission permission_check(const struct permission_ask *ask,
                                 const struct channel_options **options)
{
    const struct channel_options *o = channel_options_of(ask->channel);

    if (options != NULL)
        *options = o;
    if (o == NULL)
        return PERMISSION_UNKNOWN;
    if (!channel_name_permitted(o, ask->channel))
        return PERMISSION_BAD_NAME;
    if (!is_available(ask->op, o))
        return PERMISSION_NOT_AVAILABLE;
    if (ask->op == PERMISSION_SUBSCRIBE)
        return subscribe(ask, o);
    return by_options(ask, o) || config.insecure ? PERMISSION_GIVEN : PERMISSION_DENIED;
}

bool permission_data(const struct channel_options *o, struct str data)
{
    struct json_value v;
    size_t at;

    switch ((enum publication_format)o->publication_data_format) {
    case PUBLICATION_ANY:
        return data.n > 0;
    case PUBLICATION_JSON:
        return json_parse(data, &v, &at) == 0;
    case PUBLICATION_JSON_OBJECT:
        return json_parse(data, &v, &at) == 0 && v.type == JSON_OBJECT;
    case PUBLICATION_BINARY:
        break;
    }
    return true;
}

struct str permission_personal_channel(struct str user, char *out)
{
    char name[CONFIG_STRING_MAX + CHANNEL_NAME_MAX + 2];
    const char *ns = config.personal_channel_namespace;
    int n;

    if (!config.subscribe_to_user_personal_channel || user.n == 0 || user.n > CHANNEL_NAME_MAX)
        return STR_NULL;
    n = snprintf(name, sizeof(name), "%s%s%c%.*s", ns, ns[0] != '\0' ? ":" : "", CHANNEL_USERS,
                 STR_ARG(user));
    if (n < 0 || !channel_name_valid((struct str){.p = name, .n = (size_t)n}))
        return STR_NULL; /* nobody can have it: a space in the user's id, for instance */
    memcpy(out, name, (size_t)n);
    return (struct str){.p = out, .n = (size_t)n};
}
