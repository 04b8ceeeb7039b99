/* url.h - the URLs of the command line (RFC 3986, as far as ws, wss and http need it). */
#ifndef ROOSTLOAD_URL_H
#define ROOSTLOAD_URL_H

#include "base/str.h"

struct url {              /* views of the text, or of static text */
    struct str authority; /* host[:port] as written */
    struct str host;      /* without brackets */
    struct str port;      /* decimal, 1 to 65535 */
    struct str path;      /* with its query; may be empty */
};

bool url_has_scheme(struct str text, struct str scheme); /* "ws://"; "WS://" is the same */
/* text must begin with scheme ("ws://"); port: used when the text has none. User information and
 * fragments are refused (RFC 6455 §3 has none), as are blanks and control characters: they would
 * end up in the request line. -1: *why is a sentence. */
int url_split(struct str text, struct str scheme, struct str port, struct url *out,
              const char **why) MUST_CHECK;

#endif
