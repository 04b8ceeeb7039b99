/* proc/tls_files.c - see tls_files.h. */
#include "proc/tls_files.h"

#include "base/log.h"
#include "base/read_whole_file.h"
#include "config_internal.h"

const char *tls_files_name(const char *list, size_t i, char *out)
{
    struct str rest = str_from(list), entry = STR_NULL;

    out[0] = '\0';
    for (size_t n = 0; rest.n > 0 && str_cut(&rest, '\n', &entry); n++)
        if (n == i) {
            if (str_copy(entry, out, LISTENER_FILES_MAX) == -1)
                out[0] = '\0'; /* UNTESTED: an entry is shorter than its list */
            break;
        }
    return out;
}

static size_t count_names(const char *list)
{
    size_t n = list[0] != '\0';

    for (; *list != '\0'; list++)
        n += *list == '\n';
    return n;
}

static struct str text_of(const struct tls_files *f, struct tls_span span)
{
    return (struct str){f->texts + span.at, span.n};
}

/* Texts that came from elsewhere: spans stay within. */
static bool span_fits(const struct tls_span *span)
{
    return span->n <= TLS_TEXTS_MAX && span->at <= TLS_TEXTS_MAX - span->n;
}

static int add_text(struct tls_files *f, struct str text, struct tls_span *span)
{
    if (text.n > TLS_TEXTS_MAX - f->used)
        return -1;
    *span = (struct tls_span){0};
    if (text.n == 0)
        return 0;
    *span = (struct tls_span){f->used, (uint32_t)text.n};
    memcpy(f->texts + f->used, text.p, text.n);
    f->used += (uint32_t)text.n;
    return 0;
}

/* ---- one listener ---- */

static int say(char *err, size_t errcap, const char *path, const char *why)
{
    snprintf(err, errcap, "%s: %s", path, why);
    return -1;
}

static int add_file(struct tls_files *f, const char *path, struct tls_span *span, char *err,
                    size_t errcap)
{
    struct buf text = {0};
    char why[256];
    int rc = read_whole_file(path, TLS_TEXTS_MAX, NULL, &text, why, sizeof(why));

    if (rc == -1)
        say(err, errcap, path, why);
    else if (text.len == 0)
        rc = say(err, errcap, path, "the file is empty");
    else if (add_text(f, buf_view(&text), span) == -1)
        rc = say(err, errcap, path, "all files of TLS together may have 1 MiB");
    if (text.len > 0)
        explicit_bzero(text.p, text.len);
    buf_fini(&text);
    return rc;
}

static int read_pair(const struct listener_options *o, size_t i, struct tls_files *f,
                     struct tls_file_pair *p, char *err, size_t errcap)
{
    char path[LISTENER_FILES_MAX];

    if (add_file(f, tls_files_name(o->tls_certificate, i, path), &p->certificate, err, errcap) ==
            -1 ||
        add_file(f, tls_files_name(o->tls_key, i, path), &p->key, err, errcap) == -1)
        return -1;
    tls_files_name(o->tls_ocsp, i, path);
    if (path[0] == '\0' || strcmp(path, "-") == 0)
        return 0;
    return add_file(f, path, &p->ocsp, err, errcap);
}

static struct tls_server *make_server(const struct tls_files *f, unsigned k, enum tls_clients how,
                                      size_t *pair, char *err, size_t errcap)
{
    const struct tls_listener_files *l = &f->listener[k];
    struct tls_texts t = {.npairs = MIN((size_t)l->npairs, (size_t)TLS_PAIRS_MAX),
                          .clients = how,
                          .client_ca = text_of(f, l->client_ca),
                          .listener = k};

    for (size_t i = 0; i < t.npairs; i++)
        t.pairs[i] = (struct tls_pair){.certificate = text_of(f, l->pairs[i].certificate),
                                       .key = text_of(f, l->pairs[i].key),
                                       .ocsp = text_of(f, l->pairs[i].ocsp)};
    return tls_server_new(&t, pair, err, errcap);
}

/* Do they go together? Says which file does not. */
static int check_listener(const struct listener_options *o, struct tls_files *f, unsigned k,
                          char *err, size_t errcap)
{
    struct tls_listener_files *l = &f->listener[k];
    char path[LISTENER_FILES_MAX], why[256];
    size_t pair;
    struct tls_server *s =
        make_server(f, k, (enum tls_clients)o->tls_client_certificates, &pair, why, sizeof(why));

    if (s == NULL)
        return say(err, errcap,
                   pair < l->npairs ? tls_files_name(o->tls_certificate, pair, path)
                                    : o->tls_client_ca,
                   why);
    for (size_t i = 0; i < l->npairs; i++) {
        l->pairs[i].expires = tls_server_expires(s, i);
        l->pairs[i].ocsp_until = tls_server_ocsp_until(s, i);
    }
    tls_server_free(s);
    return 0;
}

static int read_listener(const struct listener_options *o, unsigned k, struct tls_files *f,
                         char *err, size_t errcap)
{
    struct tls_listener_files *l = &f->listener[k];

    *l = (struct tls_listener_files){.npairs = (uint32_t)count_names(o->tls_certificate)};
    if (l->npairs > TLS_PAIRS_MAX)
        return say(err, errcap, "tls_certificate", "a listener may have 16 at most");
    for (size_t i = 0; i < l->npairs; i++)
        if (read_pair(o, i, f, &l->pairs[i], err, errcap) == -1)
            return -1;
    if (o->tls_client_ca[0] != '\0' &&
        add_file(f, o->tls_client_ca, &l->client_ca, err, errcap) == -1)
        return -1;
    return l->npairs == 0 ? 0 : check_listener(o, f, k, err, errcap);
}

/* ---- all of them ---- */

static bool same_names(const struct listener_options *a, const struct listener_options *b)
{
    return strcmp(a->tls_certificate, b->tls_certificate) == 0 &&
           strcmp(a->tls_key, b->tls_key) == 0 && strcmp(a->tls_ocsp, b->tls_ocsp) == 0 &&
           strcmp(a->tls_client_ca, b->tls_client_ca) == 0 &&
           a->tls_client_certificates == b->tls_client_certificates;
}

static int keep_listener(const struct tls_files *now, unsigned k, struct tls_files *out)
{
    const struct tls_listener_files *from = &now->listener[k];
    struct tls_listener_files *to = &out->listener[k];

    *to = *from;
    for (size_t i = 0; i < from->npairs; i++)
        if (add_text(out, text_of(now, from->pairs[i].certificate), &to->pairs[i].certificate) ==
                -1 ||
            add_text(out, text_of(now, from->pairs[i].key), &to->pairs[i].key) == -1 ||
            add_text(out, text_of(now, from->pairs[i].ocsp), &to->pairs[i].ocsp) == -1)
            return -1;
    return add_text(out, text_of(now, from->client_ca), &to->client_ca);
}

int tls_files_read(const struct config *c, const struct config *running,
                   const struct tls_files *now, struct tls_files *out, struct buf *kept,
                   struct buf *errors)
{
    int rc = 0;

    explicit_bzero(out->texts, out->used);
    out->used = 0;
    memset(out->listener, 0, sizeof(out->listener));
    for (unsigned k = 0; k < c->listeners_count; k++) {
        const struct listener_options *o = &c->listener[k];
        uint32_t before = out->used;
        bool old =
            running != NULL && k < running->listeners_count && same_names(o, &running->listener[k]);
        char err[LISTENER_FILES_MAX + 300];

        if (read_listener(o, k, out, err, sizeof(err)) == 0)
            continue;
        out->used = before;
        if (old && keep_listener(now, k, out) == 0) {
            config_report(kept, listener_label(o), err);
            continue;
        }
        config_report(errors, listener_label(o), err);
        rc = -1;
    }
    return rc;
}

bool tls_files_equal(const struct tls_files *a, const struct tls_files *b)
{
    return a->used == b->used && memcmp(a->listener, b->listener, sizeof(a->listener)) == 0 &&
           memcmp(a->texts, b->texts, a->used) == 0;
}

int tls_files_check(const struct config *c, struct buf *errors)
{
    struct tls_files *f = calloc(1, sizeof(*f));
    int rc;

    if (f == NULL) {
        config_report(errors, "tls_certificate", "out of memory");
        return -1;
    }
    rc = tls_files_read(c, NULL, NULL, f, NULL, errors);
    explicit_bzero(f->texts, f->used);
    free(f);
    return rc;
}

struct tls_files *tls_files_unused(struct tls_area *area)
{
    return &area->copies[(atomic_load(&area->version) + 1) & 1];
}

const struct tls_files *tls_files_used(const struct tls_area *area)
{
    return &area->copies[atomic_load(&area->version) & 1];
}

void tls_files_publish(struct tls_area *area)
{
    atomic_fetch_add(&area->version, 1);
}

/* ---- a worker's ---- */

static bool spans_fit(const struct tls_listener_files *l)
{
    bool fit = l->npairs <= TLS_PAIRS_MAX && span_fits(&l->client_ca);

    for (size_t i = 0; fit && i < l->npairs; i++)
        fit = span_fits(&l->pairs[i].certificate) && span_fits(&l->pairs[i].key) &&
              span_fits(&l->pairs[i].ocsp);
    return fit;
}

/* All or nothing. */
static int use(const struct tls_files *f)
{
    struct tls_server *made[LISTENERS_MAX] = {NULL};
    char err[256];
    size_t pair;

    for (unsigned k = 0; k < LISTENERS_MAX; k++) {
        enum tls_clients how = (enum tls_clients)config.listener[k].tls_client_certificates;

        if (f->listener[k].npairs == 0 || !spans_fit(&f->listener[k]))
            continue;
        made[k] = make_server(f, k, how, &pair, err, sizeof(err));
        if (made[k] != NULL)
            continue;
        LOG(LOG_ERROR, "certificates cannot be used, the old ones stay",
            KV_S("listener", listener_label(&config.listener[k])), KV_S("reason", err));
        while (k > 0)
            tls_server_free(made[--k]);
        return -1;
    }
    for (unsigned k = 0; k < LISTENERS_MAX; k++)
        tls_server_use(k, made[k]);
    return 0;
}

int tls_files_take(const struct tls_area *area)
{
    static uint32_t taken;
    struct tls_files *f;
    int rc;

    if (LIKELY(atomic_load(&area->version) == taken))
        return 0;
    f = malloc(sizeof(*f));
    if (f == NULL) {
        LOG(LOG_ERROR, "no memory for new certificates, the old ones stay");
        return -1;
    }
    do { /* as the settings: a version that is still the same means that the copy is whole */
        taken = atomic_load(&area->version);
        *f = *tls_files_used(area);
        atomic_thread_fence(memory_order_acquire);
    } while (atomic_load(&area->version) != taken);
    f->used = MIN(f->used, (uint32_t)TLS_TEXTS_MAX);
    rc = use(f);
    explicit_bzero(f->texts, f->used);
    free(f);
    return rc;
}
