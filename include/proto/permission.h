/* proto/permission.h - who may do what in which channel: one function over a table.
 *
 * Every protocol asks here: Centrifuge sessions as the user they have connected as, plain ones (once
 * config.permissions) as an anonymous client. The first of these that applies decides:
 *
 *   1  the namespace does not exist                                              102
 *   2  the name is none, too long, not ASCII, or not what channel_regex wants    107
 *   3  presence where the namespace has none, history where it keeps none        108
 *   4  subscribing to $...: a valid subscription token                           allowed, else 103
 *   5  subscribing: a valid subscription token, or the user's personal channel   allowed
 *   6  subscribing to ...#... where allow_user_limited_channels is on:
 *      the user is one of those behind the #                                     allowed, else 8
 *   7  allow_X_for_client; allow_X_for_subscriber if subscribed; each for
 *      anonymous users only with allow_X_for_anonymous beside it                 allowed
 *   8  the setting insecure                                                      allowed
 *   9                                                                            103
 */
#ifndef ROOST_PROTO_PERMISSION_H
#define ROOST_PROTO_PERMISSION_H

#include "core/channel_options.h"

enum permission_op {
    PERMISSION_SUBSCRIBE = 0,
    PERMISSION_PUBLISH,
    PERMISSION_PRESENCE,
    PERMISSION_HISTORY,
    PERMISSION_OP_NR
};

enum permission { /* what the Centrifuge protocol calls an error, by its code */
                  PERMISSION_GIVEN = 0,
                  PERMISSION_UNKNOWN = 102,
                  PERMISSION_DENIED = 103,
                  PERMISSION_BAD_NAME = 107,
                  PERMISSION_NOT_AVAILABLE = 108
};

struct permission_ask {
    enum permission_op op;
    struct str channel, user; /* borrowed; user: empty is anonymous */
    bool token;               /* SUBSCRIBE: a token for this channel and user has been verified */
    bool subscribed;          /* the client is in the channel (SUBSCRIBE: does not count) */
};

/* options: of the channel, as channel_options_of(), NULL with UNKNOWN; the pointer may be NULL. */
enum permission permission_check(const struct permission_ask *ask,
                                 const struct channel_options **options);
/* May a client publish this, by publication_data_format? */
bool permission_data(const struct channel_options *o, struct str data);

/* The user's personal channel, into out (CHANNEL_NAME_MAX bytes). Empty: the setting is off, the
 * user is anonymous, or no channel can have that name. */
struct str permission_personal_channel(struct str user, char *out);

#endif
