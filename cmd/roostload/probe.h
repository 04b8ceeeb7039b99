/* probe.h - what is it that does not answer us? */
#ifndef ROOSTLOAD_PROBE_H
#define ROOSTLOAD_PROBE_H

#include "shared.h"

/* Does a TLS server listen there? One connection and one ClientHello, for a second at most. */
bool probe_is_tls(const struct load_target *t);

#endif
