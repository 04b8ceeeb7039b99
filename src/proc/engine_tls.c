/* proc/engine_tls.c - TLS to the engine's servers: from texts that the master has read (proc/config_files.c).
 *
 * Happy path of a new certificate: 1 SIGHUP · 2 the master reads the files and makes a context of them, which is
 * the check · 3 ORDER_ENGINE_TLS with the texts · 4 the hub makes its own, for connections from now on.
 * can fail: no memory (the old one stays, said in a line). */
#include "base/config.h"
#include "base/log.h"
#include "engine_wires_internal.h"
#include "net/tls.h"
#include "proc/config_load.h"
#include "proc/engine_wires.h"

static struct tls_context *context; /* owned; NULL: none */

struct tls_context *engine_tls(void)
{
    return context;
}

static int make(const struct tls_client_texts *texts)
{
    struct tls_context *fresh;
    char err[256];

    fresh = tls_client_context_from(texts, err, sizeof(err));
    if (fresh == NULL) {
        LOG(LOG_ERROR, "no TLS to the engine's servers", KV_S("why", err));
        return -1;
    }
    tls_context_free(context);
    context = fresh;
    return 0;
}

int engine_tls_begin(void)
{
    const struct tls_client_texts texts = {.trusted = buf_view(&config_files.engine_ca),
                                           .certificate =
                                               buf_view(&config_files.engine_certificate),
                                           .key = buf_view(&config_files.engine_key),
                                           .verify = config.engine_tls_verify};
    int rc = config_engine_has_tls(&config) ? make(&texts) : 0;

    config_files_fini(&config_files);
    return rc;
}

void engine_tls_take(struct str packed)
{
    struct tls_client_texts texts = {.verify = config.engine_tls_verify};

    if (config_files_unpack_engine(packed, &texts) == 0 && make(&texts) == 0)
        LOG(LOG_INFO, "certificates for the engine's servers replaced; connections keep what they "
                      "began with");
}
