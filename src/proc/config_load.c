/* proc/config_load.c - settings from file, environment and --set. */
#include "proc/config_load.h"

#include <ctype.h>
#include <errno.h>

#include "base/log.h"
#include "base/read_whole_file.h"
#include "codec/table_yaml.h"
#include "config_internal.h"
#include "proto/tokens.h"

#define FILE_MAX_BYTES ((size_t)1024 * 1024)
#define KEY_MAX        4096
#define ENV_PREFIX     "ROOST_"

void config_report(struct buf *errors, const char *where, const char *text)
{
    if (buf_printf(errors, "%s: %s\n", where, text) == -1)
        return;
}

int config_load_text(struct config *out, const char *path, struct str text,
                     struct table_yaml_seen *seen, struct buf *errors)
{
    struct config draft = *out;
    int rc = table_yaml(&config_table, &draft, path, text, seen, errors);

    if (rc == 0) {
        config_derive(&draft);
        *out = draft;
    }
    explicit_bzero(&draft, sizeof(draft)); /* with the secrets in it */
    return rc;
}

/* At a reload the file must be there and say something, or what it said would be taken back by an
 * accident: a truncated file, a mount that is gone. */
static int read_settings(struct config *out, const struct config_source *src, struct buf *errors)
{
    const struct config *running = src->running;
    struct table_yaml_seen seen = {0};
    struct buf text = {0};
    char err[256];
    int rc;

    if (running != NULL && running->file_was_pipe) {
        config_report(
            errors, src->path,
            "the settings came through a pipe, which cannot be read again; a reload needs "
            "a regular file");
        return -1;
    }
    rc = read_whole_file(src->path, FILE_MAX_BYTES, running == NULL ? &out->file_was_pipe : NULL,
                         &text, err, sizeof(err));
    if (rc == -1)
        config_report(errors, src->path, err);
    if (rc == 0 && out->file_was_pipe && text.len == 0) {
        config_report(errors, src->path, "the pipe ended without a setting");
        rc = -1;
    }
    if (rc == 0)
        rc = config_load_text(out, src->path, buf_view(&text), &seen, errors);
    if (rc == 0 && running != NULL && running->file_settings > 0 && !seen.mapping) {
        config_report(errors, src->path, "sets nothing any more; write {} if that is meant");
        rc = -1;
    }
    out->file_settings = seen.keys;
    config_wipe(&text); /* there may be secrets in it */
    return rc;
}

static int set_named(struct config *out, struct str name, struct str value, const char *where,
                     struct buf *errors)
{
    int row = config_row_find(name);
    char err[256];

    if (row >= 0)
        return table_yaml_value(&config_table, out, (size_t)row, where, value, errors);
    table_unknown(&config_table, name, err, sizeof(err));
    config_report(errors, where, err);
    return -1;
}

static bool ends_with(struct str s, struct str end)
{
    return s.n >= end.n && str_equal(str_skip(s, s.n - end.n), end);
}

/* Does s end with the word, which stands alone or behind "_"? */
static bool ends_with_word(struct str s, struct str word)
{
    return ends_with(s, word) && (s.n == word.n || s.p[s.n - word.n - 1] == '_');
}

/* "6379_TCP", "6379_TCP_ADDR" */
static bool is_port_and_protocol(struct str s)
{
    static const char *const protocols[] = {"TCP", "UDP", "SCTP"};
    struct str port, protocol, what = STR_NULL;
    uint64_t n;

    if (!str_cut(&s, '_', &port) || str_to_u64(port, &n) == -1 || !str_cut(&s, '_', &protocol))
        return false;
    if (s.p != NULL)
        what = s;
    if (what.p != NULL && !str_equal(what, STR_LIT("ADDR")) && !str_equal(what, STR_LIT("PORT")) &&
        !str_equal(what, STR_LIT("PROTO")))
        return false;
    for (size_t i = 0; i < ARRAY_LEN(protocols); i++)
        if (str_equal(protocol, str_from(protocols[i])))
            return true;
    return false;
}

bool config_is_service_variable(struct str name, struct str value)
{
    const struct str service = STR_LIT("SERVICE_PORT_"), port = STR_LIT("PORT_");

    if (ends_with_word(name, STR_LIT("SERVICE_HOST")) ||
        ends_with_word(name, STR_LIT("SERVICE_PORT")))
        return true;
    if (ends_with_word(name, STR_LIT("PORT")) &&
        (str_starts_with(value, STR_LIT("tcp://")) || str_starts_with(value, STR_LIT("udp://")) ||
         str_starts_with(value, STR_LIT("sctp://"))))
        return true;
    for (size_t i = 0; i < name.n; i++) {
        struct str rest = str_skip(name, i);

        if (i > 0 && name.p[i - 1] != '_')
            continue;
        if (str_starts_with(rest, service) && rest.n > service.n)
            return true;
        if (str_starts_with(rest, port) && is_port_and_protocol(str_skip(rest, port.n)))
            return true;
    }
    return false;
}

bool config_in_quotes(struct str value)
{
    return value.n > 1 && (value.p[0] == '"' || value.p[0] == '\'') &&
           value.p[value.n - 1] == value.p[0];
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
        value = str_trim_line_end(str_skip(var, eq + 1));
        if (str_equal(name, STR_LIT("HINTS")) || str_equal(name, STR_LIT("CONFIG")) ||
            config_is_service_variable(name, value))
            continue;
        for (size_t i = 0; i < MIN(name.n, sizeof(lower) - 1); i++)
            lower[i] = (char)tolower((unsigned char)name.p[i]);
        if (value.n == 0 && config_row_find(str_from(lower)) >= 0)
            continue; /* as compose files and charts write what is not set */
        snprintf(where, sizeof(where), "environment " ENV_PREFIX "%.*s",
                 (int)MIN(name.n, (size_t)60), name.p);
        if (set_named(out, str_from(lower), value, where, errors) == 0)
            continue;
        rc = -1;
        if (config_in_quotes(value))
            config_report(errors, where, CONFIG_QUOTES);
    }
    return rc;
}

static int read_sets(struct config *out, const struct config_source *src, struct buf *errors)
{
    int rc = 0;

    for (size_t i = 0; i < src->nsets; i++) {
        struct str set = str_from(src->sets[i]);
        size_t eq = str_find(set, '='), n = 0;
        char where[96];

        /* No more than may be a name: "api_key:SECRET" is a slip like others. */
        while (n < MIN(eq, (size_t)60) && (set.p[n] == '_' || isalnum((unsigned char)set.p[n])))
            n++;
        snprintf(where, sizeof(where), "--set %.*s", (int)n, set.p);
        if (eq == set.n) {
            config_report(errors, where, "expected key=value");
            rc = -1;
            continue;
        }
        rc |= set_named(out, (struct str){set.p, eq}, str_skip(set, eq + 1), where, errors);
    }
    return rc;
}

bool config_keeps(const char *path, const char *path_before)
{
    int error = errno;

    if ((error != EACCES && error != EPERM) || strcmp(path, path_before) != 0)
        return false;
    LOG(LOG_WARN, "a file can no longer be read; what it held stays in force", KV_S("file", path),
        KV_ERRNO(error));
    return true;
}

/* A secret that has a file. */
struct secret {
    const char *name, *file_name;
    size_t value, path, set; /* offsets in struct config */
};
#define SECRET(name_, file_)                                                                       \
    {                                                                                              \
#name_, #file_, offsetof(struct config, name_), offsetof(struct config, file_),            \
            offsetof(struct config, set.name_)                                                     \
    }
static const struct secret secrets[] = {
    SECRET(api_key, api_key_file), SECRET(metrics_key, metrics_key_file),
    SECRET(engine_password, engine_password_file),
    SECRET(engine_sentinel_password, engine_sentinel_password_file)};

/* At a reload a file that can no longer be read keeps what it held. */
static int keep_secret(struct config *c, const struct config *running, const struct secret *s)
{
    if (running == NULL ||
        !config_keeps((const char *)c + s->path, (const char *)running + s->path))
        return -1;
    memcpy((char *)c + s->value, (const char *)running + s->value, CONFIG_STRING_MAX);
    return 0;
}

/* The file's text into the setting. */
static int read_secret(struct config *c, const struct secret *s, const struct config *running,
                       struct buf *errors)
{
    bool *set = (bool *)((char *)c + s->set);
    const char *path = (const char *)c + s->path, *present = (const char *)c + s->value;
    int row = config_row_find(str_from(s->name));
    struct buf text = {0};
    struct str key;
    char err[256];
    int rc = -1;

    if (path[0] == '\0')
        return 0;
    if (*set && present[0] != '\0') {
        snprintf(err, sizeof(err),
                 "%s is set as well; remove one of them, or it is unclear which counts", s->name);
        config_report(errors, s->file_name, err);
        return -1;
    }
    if (read_whole_file(path, KEY_MAX, NULL, &text, err, sizeof(err)) == -1) {
        rc = keep_secret(c, running, s);
        if (rc == -1)
            config_report(errors, path, err);
        goto out;
    }
    key = buf_view(&text);
    if (key.n > 0 && key.p[key.n - 1] == '\n')
        key.n--;
    if (key.n > 0 && key.p[key.n - 1] == '\r')
        key.n--;
    snprintf(err, sizeof(err), "%s is empty", s->file_name);
    if (key.n == 0 || table_set(&config_table, c, (size_t)row, key, err, sizeof(err)) == -1)
        config_report(errors, path, err);
    else
        rc = 0;
out:
    *set = false; /* the file is what is set */
    config_wipe(&text);
    return rc;
}

static int read_secrets(struct config *c, const struct config *running, struct buf *errors)
{
    for (size_t i = 0; i < ARRAY_LEN(secrets); i++)
        if (read_secret(c, &secrets[i], running, errors) == -1)
            return -1;
    return 0;
}

int config_load(struct config *out, const struct config_source *src, struct buf *errors)
{
    struct config draft;
    int rc = 0;

    config_defaults(&draft);
    if (src->path != NULL)
        rc |= read_settings(&draft, src, errors);
    rc |= read_environ(&draft, src->environ_vars, errors);
    rc |= read_sets(&draft, src, errors);
    if (rc == 0)
        rc = read_secrets(&draft, src->running, errors);
    if (rc == 0)
        rc = config_read_keys(&draft, src->running, errors);
    if (rc == 0 && tokens_check(&draft, errors) == -1)
        rc = -1;
    config_derive(&draft);
    if (rc == 0 && config_check(&draft, src->running == NULL, errors) > 0)
        rc = -1;
    if (rc == 0)
        *out = draft;
    explicit_bzero(&draft, sizeof(draft));
    return rc == 0 ? 0 : -1;
}
