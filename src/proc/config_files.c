/* proc/config_files.c - files that other processes need whole, and that the settings do not carry. */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>

#include "base/log.h"
#include "base/read_whole_file.h"
#include "config_internal.h"

#define CERTIFICATES_MAX ((size_t)4 * 1024 * 1024)

struct config_files config_files;

static bool has_certificate(struct str pem)
{
    BIO *bio = BIO_new_mem_buf(pem.p, (int)pem.n);
    X509 *x = bio != NULL ? PEM_read_bio_X509_AUX(bio, NULL, NULL, NULL) : NULL;
    bool found = x != NULL;

    X509_free(x);
    BIO_free(bio);
    ERR_clear_error();
    return found;
}

static int keep(struct buf *out, const struct buf *before)
{
    return before->len > 0 ? buf_append(out, buf_view(before)) : 0;
}

int config_files_read(struct config_files *out, const struct config *c,
                      const struct config *running, struct buf *errors)
{
    const char *path = c->token_fetch_ca_file;
    char err[256];

    *out = (struct config_files){.fetch_ca = {0}};
    if (path[0] == '\0')
        return 0;
    if (read_whole_file(path, CERTIFICATES_MAX, NULL, &out->fetch_ca, err, sizeof(err)) == -1) {
        if (running != NULL && config_keeps(path, running->token_fetch_ca_file))
            return keep(&out->fetch_ca, &config_files.fetch_ca);
        config_report(errors, path, err);
    } else if (!has_certificate(buf_view(&out->fetch_ca))) {
        config_report(errors, path, "token_fetch_ca_file has no certificate in PEM");
    } else {
        return 0;
    }
    config_files_fini(out);
    return -1;
}

void config_files_fini(struct config_files *f)
{
    buf_fini(&f->fetch_ca);
}
