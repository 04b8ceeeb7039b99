/* cmd/roostctl/bundle_archive.c - see bundle.h. */
#include "bundle.h"

#define BLOCK        512
#define SECRET_LEAST 6
#define REMOVED      "(removed)"

struct header { /* ustar */
    char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], sum[8], type, link[100], magic[6],
        version[2], user[32], group[32], major[8], minor[8], prefix[155], rest[12];
};
_Static_assert(sizeof(struct header) == BLOCK, "as POSIX has it");

void bundle_hide(struct bundle *b, struct str secret)
{
    if (secret.n < SECRET_LEAST)
        return;
    if (buf_append(&b->secrets, secret) == -1 || buf_append_char(&b->secrets, '\0') == -1)
        b->failed = true;
}

void bundle_hide_all(struct bundle *b, const struct config *c)
{
    for (size_t i = 0; i < config_row_count(); i++)
        if (config_row(i)->type == TABLE_SECRET)
            bundle_hide(b, str_from((const char *)c + config_row(i)->offset));
}

/* How long the longest secret is that text begins with; 0: it does with none. */
static size_t secret_at(const struct bundle *b, struct str text)
{
    struct str rest = buf_view(&b->secrets), secret;
    size_t longest = 0;

    while (rest.n > 0 && str_cut(&rest, '\0', &secret))
        if (secret.n > longest && str_starts_with(text, secret))
            longest = secret.n;
    return longest;
}

static bool ends_url(char c)
{
    return (unsigned char)c <= ' ' || strchr("\"'<>\\,]", c) != NULL;
}

/* Of a URL that begins at "://": the name of a user before '@', and what stands behind '?', may be secrets. */
static int put_url(struct str *text, struct buf *out)
{
    size_t end = 3, at = 0, query;
    int rc = buf_append_lit(out, "://");

    while (end < text->n && !ends_url(text->p[end]) && text->p[end] != '?' && text->p[end] != '/') {
        if (text->p[end] == '@')
            at = end;
        end++;
    }
    if (at > 0)
        rc |= buf_append_lit(out, REMOVED);
    rc |= buf_append(out, (struct str){text->p + (at > 0 ? at : 3), end - (at > 0 ? at : 3)});
    query = end;
    while (query < text->n && !ends_url(text->p[query]) && text->p[query] != '?')
        query++;
    rc |= buf_append(out, (struct str){text->p + end, query - end});
    end = query;
    while (end < text->n && !ends_url(text->p[end]))
        end++;
    if (end > query + 1)
        rc |= buf_append_lit(out, "?" REMOVED);
    *text = str_skip(*text, end);
    return rc;
}

int bundle_clean(const struct bundle *b, struct str text, struct buf *out)
{
    struct buf without = {0};
    int rc = 0;

    while (text.n > 0 && rc == 0) {
        size_t n = secret_at(b, text);

        rc = n > 0 ? buf_append_lit(&without, REMOVED) : buf_append_char(&without, text.p[0]);
        text = str_skip(text, n > 0 ? n : 1);
    }
    text = buf_view(&without);
    while (text.n > 0 && rc == 0) {
        if (str_starts_with(text, STR_LIT("://"))) {
            rc = put_url(&text, out);
            continue;
        }
        rc = buf_append_char(out, text.p[0]);
        text = str_skip(text, 1);
    }
    buf_fini(&without);
    return rc == 0 ? 0 : -1;
}

static int put_header(struct bundle *b, const char *name, size_t size)
{
    struct header h = {.type = '0', .magic = "ustar", .version = {'0', '0'}};
    unsigned sum = 0;

    snprintf(h.name, sizeof(h.name), "%s/%s", b->folder, name);
    snprintf(h.mode, sizeof(h.mode), "%07o", 0644u);
    snprintf(h.uid, sizeof(h.uid), "%07o", 0u);
    snprintf(h.gid, sizeof(h.gid), "%07o", 0u);
    snprintf(h.size, sizeof(h.size), "%011llo", (unsigned long long)size);
    snprintf(h.mtime, sizeof(h.mtime), "%011llo", (unsigned long long)b->time_s);
    memset(h.sum, ' ', sizeof(h.sum));
    for (size_t i = 0; i < sizeof(h); i++)
        sum += ((const unsigned char *)&h)[i];
    snprintf(h.sum, sizeof(h.sum), "%06o", sum & 0777777);
    return buf_append(&b->tar, (struct str){(const char *)&h, sizeof(h)});
}

static int put_zeros(struct buf *out, size_t n)
{
    static const char zeros[BLOCK];

    return buf_append(out, (struct str){zeros, n});
}

static void put_file(struct bundle *b, const char *name, struct str text)
{
    if (put_header(b, name, text.n) == -1 || buf_append(&b->tar, text) == -1 ||
        put_zeros(&b->tar, (BLOCK - text.n % BLOCK) % BLOCK) == -1)
        b->failed = true;
}

void bundle_add(struct bundle *b, const char *name, struct str text)
{
    struct buf clean = {0};

    if (bundle_clean(b, text, &clean) == -1 ||
        buf_printf(&b->manifest, "%-28s %zu bytes\n", name, clean.len) == -1)
        b->failed = true;
    else
        put_file(b, name, buf_view(&clean));
    buf_fini(&clean);
}

void bundle_missing(struct bundle *b, const char *name, const char *why)
{
    if (buf_printf(&b->manifest, "%-28s missing: %s\n", name, why) == -1)
        b->failed = true;
}

int bundle_end(struct bundle *b)
{
    struct buf clean = {0};

    if (bundle_clean(b, buf_view(&b->manifest), &clean) == -1)
        b->failed = true;
    put_file(b, "MANIFEST", buf_view(&clean));
    if (put_zeros(&b->tar, BLOCK) == -1 || put_zeros(&b->tar, BLOCK) == -1)
        b->failed = true;
    buf_fini(&clean);
    return b->failed ? -1 : 0;
}

void bundle_fini(struct bundle *b)
{
    if (b->secrets.cap > 0)
        explicit_bzero(b->secrets.p, b->secrets.cap);
    buf_fini(&b->secrets);
    buf_fini(&b->tar);
    buf_fini(&b->manifest);
}
