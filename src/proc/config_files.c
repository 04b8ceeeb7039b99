/* proc/config_files.c - files that other processes need whole, and that the settings do not carry. */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/pem.h>

#include "base/log.h"
#include "base/read_whole_file.h"
#include "config_internal.h"
#include "core/engine_address.h"
#include "net/tls.h"

#define CERTIFICATES_MAX ((size_t)4 * 1024 * 1024)

struct config_files config_files;

static const struct named { /* a setting whose file this is */
    const char *setting;
    size_t path, text; /* offsets in struct config, in struct config_files */
} files[] = {
#define FILE_OF(setting_, text_)                                                                   \
    {                                                                                              \
#setting_, offsetof(struct config, setting_), offsetof(struct config_files, text_)         \
    }
    FILE_OF(token_fetch_ca_file, fetch_ca),
    FILE_OF(engine_tls_ca, engine_ca),
    FILE_OF(engine_tls_cert, engine_certificate),
    FILE_OF(engine_tls_key, engine_key),
};

static struct buf *text_in(struct config_files *f, size_t i)
{
    return (struct buf *)((char *)f + files[i].text);
}

static const char *path_in(const struct config *c, size_t i)
{
    return (const char *)c + files[i].path;
}

void config_wipe(struct buf *secret)
{
    if (secret->cap > 0)
        explicit_bzero(secret->p, secret->cap);
    buf_fini(secret);
}

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

static int read_one(struct config_files *out, size_t i, const struct config *c,
                    const struct config *running, struct buf *errors)
{
    const char *path = path_in(c, i);
    struct buf *text = text_in(out, i);
    char err[256];

    if (path[0] == '\0' ||
        read_whole_file(path, CERTIFICATES_MAX, NULL, text, err, sizeof(err)) == 0)
        return 0;
    if (running != NULL && config_keeps(path, path_in(running, i))) {
        buf_clear(text);
        return buf_append(text, buf_view(text_in(&config_files, i)));
    }
    config_report(errors, path, err);
    return -1;
}

/* ---- the system's ---- */

/* By which OpenSSL finds it: 8 hexadecimal digits, a dot, a number. */
static bool is_hashed(const char *name)
{
    return strspn(name, "0123456789abcdef") == 8 && name[8] == '.' && name[9] != '\0' &&
           strspn(name + 9, "0123456789") == strlen(name + 9);
}

/* What cannot be read or is too much is not trusted; who needs it says so when it is missing. */
static void add_file(const char *path, struct buf *out)
{
    char err[256];

    size_t before = out->len;

    if (before < CERTIFICATES_MAX &&
        (read_whole_file(path, CERTIFICATES_MAX - before, NULL, out, err, sizeof(err)) == -1 ||
         buf_append_char(out, '\n') == -1))
        out->len = before;
}

/* Whom OpenSSL would trust by files it opens when it needs them. */
static void read_system(struct buf *out)
{
    const char *file = getenv(X509_get_default_cert_file_env()),
               *folder = getenv(X509_get_default_cert_dir_env());
    struct dirent *entry;
    char path[PATH_MAX];
    DIR *d;

    add_file(file != NULL ? file : X509_get_default_cert_file(), out);
    folder = folder != NULL ? folder : X509_get_default_cert_dir();
    d = opendir(folder);
    while (d != NULL && (entry = readdir(d)) != NULL)
        if (is_hashed(entry->d_name) &&
            snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name) < (int)sizeof(path))
            add_file(path, out);
    if (d != NULL)
        closedir(d);
}

/* ---- the engine's ---- */

bool config_engine_has_tls(const struct config *c)
{
    struct engine_address a[ENGINE_ADDRESSES_MAX];
    char err[256];
    unsigned n = 0;

    if (c->engine == ENGINE_IS_MEMORY ||
        engine_addresses_parse(str_from(c->engine_address), a, &n, err, sizeof(err)) == -1)
        return false;
    for (unsigned i = 0; i < n; i++)
        if (a[i].tls)
            return true;
    return false;
}

static int check_engine(struct config_files *f, const struct config *c, struct buf *errors)
{
    const struct tls_client_texts texts = {.trusted = buf_view(&f->engine_ca),
                                           .certificate = buf_view(&f->engine_certificate),
                                           .key = buf_view(&f->engine_key),
                                           .verify = c->engine_tls_verify};
    struct tls_context *t;
    char err[256];

    if (!config_engine_has_tls(c))
        return 0;
    t = tls_client_context_from(&texts, err, sizeof(err));
    if (t == NULL)
        config_report(errors, "TLS to the engine's servers", err);
    tls_context_free(t);
    return t != NULL ? 0 : -1;
}

int config_files_read(struct config_files *out, const struct config *c,
                      const struct config *running, struct buf *errors)
{
    int rc = 0;

    *out = (struct config_files){.fetch_ca = {0}};
    for (size_t i = 0; i < ARRAY_LEN(files); i++)
        rc |= read_one(out, i, c, running, errors);
    if (rc == 0 && out->fetch_ca.len > 0 && !has_certificate(buf_view(&out->fetch_ca))) {
        config_report(errors, c->token_fetch_ca_file,
                      "token_fetch_ca_file has no certificate in PEM");
        rc = -1;
    }
    if (rc == 0 && config_engine_has_tls(c) && c->engine_tls_verify && c->engine_tls_ca[0] == '\0')
        read_system(&out->engine_ca);
    if (rc == 0)
        rc = check_engine(out, c, errors);
    if (rc != 0)
        config_files_fini(out);
    return rc == 0 ? 0 : -1;
}

int config_files_diff(const struct config *fresh, struct config_files *read, struct buf *names)
{
    int rc = 0;

    for (size_t i = 0; i < ARRAY_LEN(files) && rc == 0; i++)
        if (strcmp(path_in(fresh, i), path_in(&config, i)) == 0 &&
            !str_equal(buf_view(text_in(read, i)), buf_view(text_in(&config_files, i))))
            rc = buf_printf(names, "%s%s", names->len > 0 ? ", " : "", files[i].setting);
    return rc;
}

int config_files_pack_engine(const struct config_files *f, struct buf *out)
{
    const struct buf *parts[] = {&f->engine_ca, &f->engine_certificate, &f->engine_key};
    int rc = 0;

    for (size_t i = 0; i < ARRAY_LEN(parts) && rc == 0; i++)
        rc =
            buf_printf(out, "%zu\n", parts[i]->len) || buf_append(out, buf_view(parts[i])) ? -1 : 0;
    return rc;
}

int config_files_unpack_engine(struct str packed, struct tls_client_texts *out)
{
    struct str *parts[] = {&out->trusted, &out->certificate, &out->key}, line;
    uint64_t n;

    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        if (!str_cut(&packed, '\n', &line) || str_to_u64(line, &n) == -1 || n > packed.n)
            return -1;
        *parts[i] = (struct str){packed.p, (size_t)n};
        packed = str_skip(packed, (size_t)n);
    }
    return packed.n == 0 ? 0 : -1;
}

void config_files_keep_for(bool hub, bool egress)
{
    if (!egress)
        config_wipe(&config_files.fetch_ca);
    if (hub)
        return;
    config_hide_passwords(&config);
    config_wipe(&config_files.engine_ca);
    config_wipe(&config_files.engine_certificate);
    config_wipe(&config_files.engine_key);
}

void config_files_fini(struct config_files *f)
{
    for (size_t i = 0; i < ARRAY_LEN(files); i++)
        config_wipe(text_in(f, i));
}
