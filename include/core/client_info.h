/* core/client_info.h - who a client is, in a form that every encoding of a protocol can be written
 * from without parsing: what FIELD_INFO and the parts of a presence listing hold. */
#ifndef ROOST_CORE_CLIENT_INFO_H
#define ROOST_CORE_CLIENT_INFO_H

#include "base/buf.h"
#include "base/str.h"

struct client_info {
    struct str user, client;         /* ids; user is empty for an anonymous one */
    struct str conn_info, chan_info; /* as the session has them, raw; n == 0: none */
};

#define CLIENT_INFO_ID_MAX UINT8_MAX /* bytes of client */

/* Is it short enough for a field of a record? */
bool client_info_fits(const struct client_info *info);
/* Appends it to out. -1: no memory, or it does not fit (out is unchanged). */
int client_info_write(struct buf *out, const struct client_info *info) MUST_CHECK;
/* Takes the next one off *rest: views into it. >0 there it is, 0 the end, -1 malformed. */
int client_info_next(struct str *rest, struct client_info *out) MUST_CHECK;
/* The only one in s. -1: malformed, or there is something else. */
int client_info_read(struct str s, struct client_info *out) MUST_CHECK;

#endif
