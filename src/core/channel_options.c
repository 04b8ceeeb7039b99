/* core/channel_options.c - an index of the namespaces, and the names their channels may have. */
#include "core/channel_options.h"

#include "base/regex.h"
#include "core/channel_name.h"

#define SLOTS 512 /* a power of two, and at least twice the namespaces */
_Static_assert(SLOTS >= 2 * CHANNEL_NAMESPACES_MAX, "lookups end soon");

static struct {
    uint8_t at[SLOTS]; /* index in config.namespaces, + 1; 0: free */
    /* Compiled when first needed: the hub never does. The last is channel_without_namespace's. */
    struct regex *regex[CHANNEL_NAMESPACES_MAX + 1];
} names;
_Static_assert(CHANNEL_NAMESPACES_MAX < 255, "an index and one more fit a byte");

bool channel_some_history;

/* Nobody outside chooses the names that are in the index. */
static size_t slot_of(struct str name)
{
    uint32_t h = 2166136261u;

    for (size_t i = 0; i < name.n; i++)
        h = (h ^ (unsigned char)name.p[i]) * 16777619u;
    return h & (SLOTS - 1);
}

void channel_options_changed(void)
{
    memset(names.at, 0, sizeof(names.at));
    for (size_t i = 0; i < ARRAY_LEN(names.regex); i++) {
        regex_free(names.regex[i]);
        names.regex[i] = NULL;
    }
    channel_some_history = channel_has_history(&config.channel_without_namespace);
    for (size_t i = 0; i < config.namespaces.n; i++) {
        size_t at = slot_of(str_from(config.namespaces.items[i].name));

        channel_some_history |= channel_has_history(&config.namespaces.items[i]);

        while (names.at[at] != 0)
            at = (at + 1) & (SLOTS - 1);
        names.at[at] = (uint8_t)(i + 1);
    }
}

static struct str without_mark(struct str channel)
{
    return channel.n > 0 && channel.p[0] == CHANNEL_PRIVATE ? str_skip(channel, 1) : channel;
}

struct str channel_rest(struct str channel)
{
    struct str s = without_mark(channel);
    size_t n = str_find(s, CHANNEL_NAMESPACE);

    return n < s.n ? str_skip(s, n + 1) : s;
}

const struct channel_options *channel_options_of(struct str channel)
{
    struct str name = without_mark(channel);
    size_t n = str_find(name, CHANNEL_NAMESPACE);

    if (n == name.n)
        return &config.channel_without_namespace;
    name.n = n;
    if (config.namespaces.n == 0)
        return NULL;
    for (size_t at = slot_of(name); names.at[at] != 0; at = (at + 1) & (SLOTS - 1)) {
        const struct channel_options *o = &config.namespaces.items[names.at[at] - 1];

        if (str_equal(str_from(o->name), name))
            return o;
    }
    return NULL;
}

static const struct regex *regex_of(const struct channel_options *o)
{
    size_t i = o == &config.channel_without_namespace ? CHANNEL_NAMESPACES_MAX
                                                      : (size_t)(o - config.namespaces.items);
    char err[160];

    if (names.regex[i] == NULL)
        names.regex[i] = regex_new(str_from(o->channel_regex), err, sizeof(err));
    return names.regex[i];
}

static bool is_ascii(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] >= 0x80)
            return false;
    return true;
}

bool channel_name_permitted(const struct channel_options *o, struct str channel)
{
    const struct regex *re;

    if (channel.n > (size_t)config.channel_max_length || !channel_name_valid(channel))
        return false;
    if (o->channel_regex[0] == '\0')
        return is_ascii(channel);
    re = regex_of(o);
    return re != NULL && regex_match(re, channel_rest(channel)); /* no memory: refused */
}

bool channel_names_user(struct str channel, struct str user)
{
    struct str users, one;
    size_t at = channel.n;

    while (at > 0 && channel.p[at - 1] != CHANNEL_USERS)
        at--;
    if (at == 0 || user.n == 0)
        return false;
    users = str_skip(channel, at);
    while (str_cut(&users, CHANNEL_USER_SEP, &one))
        if (str_equal(one, user))
            return true;
    return false;
}
