/* proc/config_load.c - settings from file, environment and --set. */
#include "proc/config_load.h"

#include <ctype.h>
#include <errno.h>
#include <yaml.h>

#include "base/suggest.h"
#include "net/listener.h"

#define FILE_MAX_BYTES ((size_t)1024 * 1024)
#define ENV_PREFIX     "ROOST_"

struct reader { /* one YAML text being read */
    struct config *out;
    struct buf *errors;
    const char *path;
    yaml_parser_t parser;
    bool seen[128]; /* keys met, by row */
    int bad;
};

/* A message that cannot be stored for lack of memory is lost; the refusal is not. */
static void report(struct buf *errors, const char *where, const char *text)
{
    if (buf_printf(errors, "%s: %s\n", where, text) == -1)
        return;
}

static void report_at(struct reader *r, yaml_mark_t at, const char *text)
{
    char where[512];

    snprintf(where, sizeof(where), "%s:%zu:%zu", r->path, at.line + 1, at.column + 1);
    report(r->errors, where, text);
    r->bad = -1;
}

const char *config_nearest(struct str name)
{
    struct suggest s;

    suggest_init(&s, name);
    for (size_t i = 0; i < config_row_count(); i++)
        suggest_offer(&s, config_row(i)->name);
    return s.nearest;
}

/* name as it may be shown: printable ASCII, at most 60 characters. */
static void printable(struct str name, char *out, size_t cap)
{
    size_t n = MIN(MIN(name.n, (size_t)60), cap - 1);

    for (size_t i = 0; i < n; i++)
        out[i] = name.p[i] >= 0x20 && name.p[i] < 0x7f ? name.p[i] : '?';
    out[n] = '\0';
}

static void unknown_key(struct str name, char *text, size_t cap)
{
    const char *nearest = config_nearest(name);
    char shown[64];

    printable(name, shown, sizeof(shown));
    if (nearest != NULL)
        snprintf(text, cap, "unknown key \"%s\"; did you mean \"%s\"?", shown, nearest);
    else
        snprintf(text, cap, "unknown key \"%s\"; roostd --print-config lists all", shown);
}

static struct str scalar(const yaml_event_t *e)
{
    return (struct str){(const char *)e->data.scalar.value, e->data.scalar.length};
}

static int next_event(struct reader *r, yaml_event_t *e)
{
    if (yaml_parser_parse(&r->parser, e) == 1)
        return 0;
    report_at(r, r->parser.problem_mark,
              r->parser.problem != NULL ? r->parser.problem : "this is not YAML");
    return -1;
}

static void set_at(struct reader *r, int row, struct str value, yaml_mark_t at)
{
    char err[256], text[384];

    if (row < 0 || config_set_value(r->out, (size_t)row, value, err, sizeof(err)) == 0)
        return;
    snprintf(text, sizeof(text), "%s: %s", config_row((size_t)row)->name, err);
    report_at(r, at, text);
}

/* A sequence of words; `list` collects them for a LIST, anything else refuses the sequence. */
static int read_sequence(struct reader *r, int row, yaml_mark_t at)
{
    bool is_list = row >= 0 && config_row((size_t)row)->type == CONFIG_LIST;
    struct buf list = {0};
    yaml_event_t e;
    int rc = 0;

    if (row >= 0 && !is_list)
        report_at(r, at, "expected one value, not a list");
    for (;;) {
        enum yaml_event_type_e type;

        rc = next_event(r, &e);
        if (rc == -1)
            break;
        type = e.type;
        if (type == YAML_SCALAR_EVENT) {
            if (buf_append(&list, scalar(&e)) == -1 || buf_append_char(&list, '\n') == -1)
                report_at(r, e.start_mark, "out of memory");
        } else if (type != YAML_SEQUENCE_END_EVENT) {
            report_at(r, e.start_mark, "expected a list of words");
            rc = -1;
        }
        yaml_event_delete(&e);
        if (rc == -1 || type == YAML_SEQUENCE_END_EVENT)
            break;
    }
    if (rc == 0 && is_list)
        set_at(r, row, list.len > 0 ? buf_view(&list) : STR_LIT(""), at);
    buf_fini(&list);
    return rc;
}

static int read_value(struct reader *r, int row)
{
    yaml_event_t e;
    yaml_mark_t at;
    int rc = 0;

    if (next_event(r, &e) == -1)
        return -1;
    at = e.start_mark;
    switch (e.type) {
    case YAML_SCALAR_EVENT:
        /* An empty value ("key:") is YAML's null: the same as an empty text. */
        set_at(r, row, scalar(&e), at);
        break;
    case YAML_SEQUENCE_START_EVENT:
        yaml_event_delete(&e);
        return read_sequence(r, row, at);
    case YAML_MAPPING_START_EVENT:
        report_at(r, at, "expected a value; settings do not nest");
        rc = -1;
        break;
    default:
        report_at(r, at, "expected a value; aliases are not supported");
        rc = -1;
        break;
    }
    yaml_event_delete(&e);
    return rc;
}

static int read_key(struct reader *r, const yaml_event_t *e)
{
    int row = config_row_find(scalar(e));
    char text[256];

    if (row < 0) {
        unknown_key(scalar(e), text, sizeof(text));
        report_at(r, e->start_mark, text);
    } else if (r->seen[row]) {
        snprintf(text, sizeof(text), "%s is set twice", config_row((size_t)row)->name);
        report_at(r, e->start_mark, text);
    } else {
        r->seen[row] = true;
    }
    return read_value(r, row);
}

/* One event at the top: the mapping's keys, or the wrapping around it. */
static int read_top(struct reader *r, const yaml_event_t *e, bool *inside)
{
    switch (e->type) {
    case YAML_MAPPING_START_EVENT: /* deeper ones are refused by read_value() */
        *inside = true;
        return 0;
    case YAML_SCALAR_EVENT:
        if (*inside)
            return read_key(r, e);
        if (e->data.scalar.length == 0) /* a file of nothing but comments */
            return 0;
        break;
    case YAML_STREAM_START_EVENT:
    case YAML_STREAM_END_EVENT:
    case YAML_DOCUMENT_START_EVENT:
    case YAML_DOCUMENT_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        return 0;
    default:
        break;
    }
    report_at(r, e->start_mark, "expected settings as \"name: value\" lines");
    return -1;
}

static void read_all(struct reader *r)
{
    bool inside = false;
    yaml_event_t e;

    for (;;) {
        enum yaml_event_type_e type;
        int rc;

        if (next_event(r, &e) == -1)
            return;
        type = e.type;
        rc = read_top(r, &e, &inside);
        yaml_event_delete(&e);
        if (rc == -1 || type == YAML_STREAM_END_EVENT)
            return;
    }
}

int config_load_text(struct config *out, const char *path, struct str text, struct buf *errors)
{
    struct config draft = *out;
    struct reader r = {.out = &draft, .errors = errors, .path = path};

    if (yaml_parser_initialize(&r.parser) == 0) {
        report(errors, path, "out of memory");
        return -1;
    }
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)(text.p ? text.p : ""), text.n);
    read_all(&r);
    yaml_parser_delete(&r.parser);
    if (r.bad == 0)
        *out = draft;
    return r.bad;
}

static int read_file(struct config *out, const char *path, struct buf *errors)
{
    struct buf text = {0};
    FILE *f = fopen(path, "re");
    size_t n = 0;
    int rc = -1;

    if (f == NULL) {
        report(errors, path, strerror(errno));
        return -1;
    }
    if (buf_reserve(&text, FILE_MAX_BYTES) == 0)
        n = fread(text.p, 1, FILE_MAX_BYTES, f);
    if (ferror(f) || n == FILE_MAX_BYTES)
        report(errors, path, ferror(f) ? "cannot be read" : "is larger than 1 MiB");
    else
        rc = config_load_text(out, path, (struct str){text.p, n}, errors);
    fclose(f);
    buf_fini(&text);
    return rc;
}

static int set_named(struct config *out, struct str name, struct str value, const char *where,
                     struct buf *errors)
{
    int row = config_row_find(name);
    char err[256];

    if (row < 0)
        unknown_key(name, err, sizeof(err));
    else if (config_set_value(out, (size_t)row, value, err, sizeof(err)) == 0)
        return 0;
    report(errors, where, err);
    return -1;
}

/* ROOST_MAX_CONNECTIONS=... A few names under the prefix are not settings. */
static int read_environ(struct config *out, char *const *vars, struct buf *errors)
{
    int rc = 0;

    for (; vars != NULL && *vars != NULL; vars++) {
        struct str var = str_from(*vars), name, value;
        char lower[64] = {0}, where[96];
        size_t eq = str_find(var, '=');

        if (!str_starts_with(var, STR_LIT(ENV_PREFIX)) || eq == var.n)
            continue;
        name = str_skip((struct str){var.p, eq}, strlen(ENV_PREFIX));
        value = str_skip(var, eq + 1);
        if (str_equal(name, STR_LIT("HINTS")) || str_equal(name, STR_LIT("CONFIG")))
            continue;
        for (size_t i = 0; i < MIN(name.n, sizeof(lower) - 1); i++)
            lower[i] = (char)tolower((unsigned char)name.p[i]);
        snprintf(where, sizeof(where), "environment " ENV_PREFIX "%.*s",
                 (int)MIN(name.n, (size_t)60), name.p);
        rc |= set_named(out, str_from(lower), value, where, errors);
    }
    return rc;
}

static int read_sets(struct config *out, const struct config_source *src, struct buf *errors)
{
    int rc = 0;

    for (size_t i = 0; i < src->nsets; i++) {
        struct str set = str_from(src->sets[i]);
        size_t eq = str_find(set, '=');
        char shown[64], where[96];

        printable((struct str){set.p, eq}, shown, sizeof(shown));
        snprintf(where, sizeof(where), "--set %s", shown);
        if (eq == set.n) {
            report(errors, where, "expected key=value");
            rc = -1;
            continue;
        }
        rc |= set_named(out, (struct str){set.p, eq}, str_skip(set, eq + 1), where, errors);
    }
    return rc;
}

static int check_address(const char *name, const char *value, struct buf *errors)
{
    struct address a;
    char err[200];

    if (address_parse(str_from(value), &a, err, sizeof(err)) == 0)
        return 0;
    report(errors, name, err);
    return 1;
}

int config_check(const struct config *c, struct buf *errors)
{
    bool admin = !str_equal(str_from(c->admin_listen), STR_LIT("off"));
    struct address a;
    char err[200];
    int bad = check_address("listen", c->listen, errors);

    if (admin)
        bad += check_address("admin_listen", c->admin_listen, errors);
    if (admin && c->api_key[0] == '\0' &&
        address_parse(str_from(c->admin_listen), &a, err, sizeof(err)) == 0 &&
        !address_is_loopback(&a)) {
        report(
            errors, "admin_listen",
            "the admin listener is not on loopback, so anybody who reaches it could publish; set "
            "api_key (ROOST_API_KEY), or admin_listen to 127.0.0.1:8001 or off");
        bad++;
    }
    return bad;
}

int config_load(struct config *out, const struct config_source *src, struct buf *errors)
{
    struct config draft;
    int rc = 0;

    config_defaults(&draft);
    if (src->path != NULL)
        rc |= read_file(&draft, src->path, errors);
    rc |= read_environ(&draft, src->environ_vars, errors);
    rc |= read_sets(&draft, src, errors);
    if (rc == 0 && config_check(&draft, errors) > 0)
        rc = -1;
    if (rc == 0)
        *out = draft;
    return rc == 0 ? 0 : -1;
}
