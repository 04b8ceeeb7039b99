/* proc/import_write.c - what follows from several options, and our file. */
#include "base/utf8.h"
#include "import_internal.h"
#include "net/address.h"
#include "proc/config_load.h"

/* In double quotes, where everything can be escaped (YAML 1.1 §5.7). */
static int write_quoted(struct str s, struct buf *out)
{
    int rc = buf_append_char(out, '"');

    while (s.n > 0 && rc == 0) {
        uint32_t c;
        size_t n = utf8_decode(s, &c);

        if (n == 0)
            return -1; /* UNTESTED: YAML is UTF-8 */
        if (c == '"' || c == '\\')
            rc = buf_printf(out, "\\%c", (int)c);
        else if (c == '\n')
            rc = buf_append_lit(out, "\\n");
        else if (c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x2028 || c == 0x2029 || c == 0xfeff ||
                 c == 0xfffe || c == 0xffff)
            rc = buf_printf(out, "\\u%04x", (unsigned)c);
        else
            rc = buf_append(out, (struct str){s.p, n});
        s = str_skip(s, n);
    }
    return rc == 0 ? buf_append_char(out, '"') : -1;
}

static bool is_word(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!((s.p[i] >= '0' && s.p[i] <= '9') ||
              ((s.p[i] | 0x20) >= 'a' && (s.p[i] | 0x20) <= 'z') || s.p[i] == '.' || s.p[i] == '_'))
            return false;
    return s.n > 0;
}

int import_write_value(enum table_type type, const struct import_item *item, struct buf *out)
{
    bool bare = type == TABLE_BOOL || type == TABLE_INT || type == TABLE_SIZE ||
                type == TABLE_DURATION || type == TABLE_RATE || type == TABLE_CHOICE;

    if (!item->list) {
        /* null in plain style would not be the word. */
        if (bare && is_word(item->values[0]) && !str_equal_nocase(item->values[0], STR_LIT("null")))
            return buf_append(out, item->values[0]);
        return write_quoted(item->values[0], out);
    }
    if (buf_append_char(out, '[') == -1)
        return -1;
    for (size_t i = 0; i < item->n; i++)
        if ((i > 0 && buf_append_lit(out, ", ") == -1) || write_quoted(item->values[i], out) == -1)
            return -1;
    return buf_append_char(out, ']');
}

void import_end_namespace(struct import *im)
{
    const char *lead = "- ";

    import_default_format(im, &im->one);
    for (size_t i = 0; i < im->one.table->n; i++) {
        struct buf *text = &im->one.text[i];

        if (text->len == 0)
            continue;
        if (buf_printf(&im->namespaces, "%s%s: %.*s\n", lead, im->one.table->rows[i].name,
                       STR_ARG(buf_view(text))) == -1)
            im->no_memory = true;
        lead = "  ";
        buf_clear(text);
    }
}

struct str import_kept(const struct import *im, const char *name)
{
    for (size_t i = 0; i < import_row_count; i++) {
        const struct import_row *row = &import_rows[i];

        if (!row->channel && strcmp(row->v6[0] != '\0' ? row->v6 : row->v5, name) == 0)
            return buf_view(&im->kept[i]);
    }
    return STR_NULL; /* UNTESTED: every name that is asked for has a row */
}

static bool kept_true(const struct import *im, const char *v6)
{
    struct str v = import_kept(im, v6);

    return str_equal_nocase(v, STR_LIT("true")) || str_equal(v, STR_LIT("1"));
}

void import_set_text(struct import *im, bool security, const char *path, const char *setting,
                     const char *text)
{
    const struct import_item item = {.path = path, .n = 1, .values = {str_from(text)}};

    import_set(im, security, path, setting, &item);
}

/* host:port; "" where neither is said. */
static void compose(struct str host, struct str port, const char *otherwise, char *out, size_t cap)
{
    bool v6 = str_find(host, ':') < host.n && host.n > 0 && host.p[0] != '[';

    out[0] = '\0';
    if (host.n == 0 && port.n == 0)
        return;
    if (port.n == 0)
        port = str_from(otherwise);
    snprintf(out, cap, "%s%.*s%s:%.*s", v6 ? "[" : "", STR_ARG(host), v6 ? "]" : "", STR_ARG(port));
}

static bool on_loopback(const char *address)
{
    struct address a;
    char err[200];

    return address_parse(str_from(address), &a, err, sizeof(err)) == 0 && address_is_loopback(&a);
}

static const struct config *draft(const struct import *im)
{
    return im->settings.draft;
}

static void finish_listen(struct import *im)
{
    char text[300];

    compose(import_kept(im, "http_server.address"), import_kept(im, "http_server.port"), "8000",
            text, sizeof(text));
    if (text[0] != '\0')
        import_set_text(im, true, "http_server.address and port", "listen", text);
}

/* The internal port is our admin listener, which off loopback has a key. */
static void finish_admin(struct import *im)
{
    struct str port = import_kept(im, "http_server.internal_port");
    char text[300];

    if (port.n == 0)
        return;
    compose(import_kept(im, "http_server.internal_address"), port, "", text, sizeof(text));
    if (!on_loopback(text) && draft(im)->api_key[0] == '\0') {
        import_note(im, false, "http_server.internal_address",
                    "the admin listener needs an api_key off loopback; it is on loopback now");
        compose(STR_LIT("127.0.0.1"), port, "", text, sizeof(text));
    }
    import_set_text(im, true, "http_server.internal_address and internal_port", "admin_listen",
                    text);
}

/* Where Centrifugo serves the API beside clients, and lets somebody in. */
static void finish_api(struct import *im)
{
    bool internal = import_kept(im, "http_server.internal_port").n > 0;
    bool beside =
        !kept_true(im, "http_api.disabled") && (!internal || kept_true(im, "http_api.external"));
    bool insecure = kept_true(im, "http_api.insecure");
    bool loopback = on_loopback(draft(im)->listen);

    if (insecure && !loopback) {
        import_note(
            im, true, "http_api.insecure",
            "clients' listener is not on loopback, so everybody could publish; set api_key, "
            "or http_server.address to 127.0.0.1");
        insecure = false;
    }
    if (insecure)
        import_set_text(im, false, "http_api.insecure", "api_insecure", "true");
    if (beside && (insecure || draft(im)->api_key[0] != '\0'))
        import_set_text(im, false, "http_api", "api_on_client_listener", "true");
}

static void finish_error_mode(struct import *im)
{
    struct str mode = import_kept(im, "http_api.error_mode");
    bool transport = str_equal(mode, STR_LIT("transport"));

    if (mode.n > 0 && !transport)
        import_note(im, false, "http_api.error_mode", "expected transport or nothing");
    import_set_text(im, false, "http_api.error_mode", "api_error_mode",
                    transport ? "transport" : "centrifugo");
}

void import_finish(struct import *im)
{
    import_default_format(im, &im->channels);
    if (kept_true(im, "websocket.disabled"))
        import_set_text(im, true, "websocket.disabled", "websocket", "false");
    finish_listen(im);
    finish_admin(im);
    finish_api(im);
    finish_error_mode(im);
    import_finish_tls(im);
    import_finish_engine(im);
    import_set_text(im, true, "plain", "plain", "false");
    import_set_text(im, false, "demo_page", "demo_page", "false");
}

static int write_values(const struct import_values *v, const char *indent, struct buf *out)
{
    for (size_t i = 0; i < v->table->n; i++)
        if (v->text[i].len > 0 && buf_printf(out, "%s%s: %.*s\n", indent, v->table->rows[i].name,
                                             STR_ARG(buf_view(&v->text[i]))) == -1)
            return -1;
    return 0;
}

static bool has_values(const struct import_values *v)
{
    for (size_t i = 0; i < v->table->n; i++)
        if (v->text[i].len > 0)
            return true;
    return false;
}

int import_write(struct import *im, const char *name, struct buf *yaml)
{
    int rc = buf_append_lit(yaml, "# Settings of roostd, by roostctl import centrifugo");

    if (rc == 0 && str_find(str_from(name), '\n') == str_from(name).n)
        rc = buf_printf(yaml, " from %s", name);
    rc |= buf_append_char(yaml, '\n');
    rc |= write_values(&im->settings, "", yaml);
    if (has_values(&im->channels)) {
        rc |= buf_append_lit(yaml, "\nchannel_without_namespace:\n");
        rc |= write_values(&im->channels, "  ", yaml);
    }
    if (im->namespaces.len > 0) {
        rc |= buf_append_lit(yaml, "\nnamespaces:\n");
        rc |= buf_append(yaml, buf_view(&im->namespaces));
    }
    return rc == 0 ? 0 : -1;
}

/* As roostd would read it. */
static bool is_accepted(struct import *im, struct str yaml)
{
    struct config *c = calloc(1, sizeof(*c));
    bool good = false;

    if (c == NULL) {
        im->no_memory = true;
        return false;
    }
    config_defaults(c);
    good = config_load_text(c, "the result", yaml, NULL, im->notes) == 0 &&
           config_check(c, false, im->notes) == 0;
    free(c);
    return good;
}

static void values_fini(struct import_values *v)
{
    for (size_t i = 0; i < v->table->n; i++)
        buf_fini(&v->text[i]);
    free(v->draft);
}

static int values_init(struct import_values *v, const struct table *t)
{
    v->table = t;
    v->draft = calloc(1, t->size);
    if (v->draft == NULL)
        return -1;
    table_defaults(t, v->draft);
    return 0;
}

static enum import_result run(struct import *im, const char *name, struct str text,
                              struct buf *yaml)
{
    int rc = 0;

    rc |= values_init(&im->settings, &config_table);
    rc |= values_init(&im->channels, &channel_table);
    rc |= values_init(&im->one, &namespace_table);
    if (rc != 0)
        return IMPORT_UNREADABLE;
    if (import_read(im, name, text) == -1)
        return IMPORT_UNREADABLE;
    import_finish(im);
    if (import_write(im, name, yaml) == -1 || im->no_memory)
        return IMPORT_UNREADABLE;
    if (!is_accepted(im, buf_view(yaml)))
        return IMPORT_REFUSED;
    return im->unsafe ? IMPORT_UNSAFE : IMPORT_DONE;
}

enum import_result import_centrifugo(const char *name, struct str text, struct buf *yaml,
                                     struct buf *notes)
{
    struct import *im = calloc(1, sizeof(*im));
    enum import_result result = IMPORT_UNREADABLE;

    if (im == NULL)
        return IMPORT_UNREADABLE;
    im->notes = notes;
    result = run(im, name, text, yaml);
    values_fini(&im->settings);
    values_fini(&im->channels);
    values_fini(&im->one);
    for (size_t i = 0; i < import_row_count; i++)
        buf_fini(&im->kept[i]);
    buf_fini(&im->namespaces);
    free(im);
    return result;
}
