/* core/channel_options.h - the options of a channel, by its name.
 *
 * The namespace is the text before the first ':', a '$' in front of it not counted; a name without
 * ':' has the options of channel_without_namespace. What is returned is borrowed from `config` and
 * valid until the next reload, so within a turn: never keep it in an object. */
#ifndef ROOST_CORE_CHANNEL_OPTIONS_H
#define ROOST_CORE_CHANNEL_OPTIONS_H

#include "base/config.h"
#include "base/str.h"

#define CHANNEL_PRIVATE   '$' /* in front: a subscription needs a token */
#define CHANNEL_NAMESPACE ':' /* the first one ends the namespace */
#define CHANNEL_USERS     '#' /* the last one begins the list of users */
#define CHANNEL_USER_SEP  ','

/* NULL: no such namespace. One look into a hash; cheap enough for each publication. */
const struct channel_options *channel_options_of(struct str channel);
/* The name behind the namespace, which channel_regex must match; the whole one without. */
struct str channel_rest(struct str channel);
/* May there be a channel of this name? By channel_name_valid(), channel_max_length and
 * channel_regex, or ASCII where there is none. */
bool channel_name_permitted(const struct channel_options *o, struct str channel);
/* Is the user one of those behind '#'? Never where there is no '#', and never without a name. */
bool channel_names_user(struct str channel, struct str user);
static inline bool channel_has_history(const struct channel_options *o)
{
    return o->history_size > 0 && o->history_ttl > 0;
}
static inline bool channel_allows_fossil(const struct channel_options *o)
{
    return o->allowed_delta_types[0] != '\0'; /* it is the only kind */
}
/* False: no channel has one. Known to channel_options_changed(). */
extern bool channel_some_history;
/* Nanoseconds. */
static inline int64_t channel_meta_ttl(const struct channel_options *o)
{
    return o->history_meta_ttl > 0 ? o->history_meta_ttl : config.history_meta_ttl;
}

/* After `config` has changed: builds the index anew. shm_take_config() calls it. */
void channel_options_changed(void);

#endif
