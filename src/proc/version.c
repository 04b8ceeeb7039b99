/* proc/version.c - what was built and with what. */
#include "proc/version.h"

#include <ev.h>
#include <openssl/crypto.h>
#include <yaml.h>

#include "codec/ws_tx.h"

const char *version_string(void)
{
    return ROOST_VERSION;
}

const char *version_revision(void)
{
    return ROOST_REVISION;
}

int version_describe(const char *program, struct buf *out)
{
    return buf_printf(out, "%s %s (%s)\nlibev %d.%d, wslay %s, libyaml %s, %s\n", program,
                      version_string(), version_revision(), ev_version_major(), ev_version_minor(),
                      ws_library_version(), yaml_get_version_string(),
                      OpenSSL_version(OPENSSL_VERSION));
}
