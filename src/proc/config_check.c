/* proc/config_check.c - what spans several settings, or can be well-formed and of no use. */
#include <sys/stat.h>

#include "config_internal.h"
#include "proc/sandbox.h"

#define KEY_GOOD_LENGTH 16
#define HANG_MIN_NS     INT64_C(2000000000)

/* The folder of a file that will be written must be there. */
int config_check_folder(const char *name, const char *path, struct buf *errors)
{
    char folder[CONFIG_STRING_MAX];
    struct stat st;
    size_t n = str_from(path).n;

    while (n > 0 && path[n - 1] != '/')
        n--;
    if (n == 0)
        return 0; /* where the daemon stands, or no file at all */
    snprintf(folder, sizeof(folder), "%.*s", (int)n, path);
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
        if (buf_printf(errors, "%s: %s is a folder\n", name, path) == -1)
            return 1;
        return 1;
    }
    if (stat(folder, &st) == 0 && S_ISDIR(st.st_mode))
        return 0;
    if (buf_printf(errors, "%s: the folder %s does not exist\n", name, folder) == -1)
        return 1;
    return 1;
}

static int check_keys(const struct config *c, struct buf *errors)
{
    const char *name = "metrics_key", *why = NULL;

    if (c->api_key[0] == '\0' && c->api_key_old[0] != '\0') {
        name = "api_key_old";
        why = "it is good beside an api_key, and there is none; set api_key, or remove this";
    } else if (c->metrics_key[0] == '\0') {
        return 0;
    } else if (c->api_key[0] == '\0') {
        why = "without an api_key everything is open, /metrics too; set api_key, or remove this";
    } else if (strcmp(c->metrics_key, c->api_key) == 0 ||
               strcmp(c->metrics_key, c->api_key_old) == 0) {
        why = "it is the same as api_key or api_key_old, so whoever scrapes could publish; "
              "take another one";
    }
    if (why == NULL)
        return 0;
    config_report(errors, name, why);
    return 1;
}

int config_check(const struct config *c, bool first, struct buf *errors)
{
    int bad = config_check_listeners(c, first, errors) + check_keys(c, errors);

    if (c->hang_timeout > 0 && c->hang_timeout < HANG_MIN_NS) {
        config_report(errors, "hang_timeout",
                      "an idle process moves twice a second, so less than 2s would kill what is "
                      "well; 0 switches it off");
        bad++;
    }
    bad += config_check_clients(c, errors);
    bad += config_check_proxies(c, errors);
    bad += config_check_engine(c, errors);
    if (first) {
        bad += config_check_folder("pid_file", c->pid_file, errors);
        bad += config_check_folder("log_file", c->log_file, errors);
        bad += privileges_check(c, errors);
    }
    return bad;
}

/* A pair of limits of which the greater cannot be reached, when somebody has set one of them. */
struct binding {
    size_t lesser, greater; /* offsets of int64_t members */
    size_t lesser_set, greater_set;
    const char *name, *text;
};
#define BINDING(lesser_, greater_, text_)                                                          \
    {                                                                                              \
        .lesser = offsetof(struct config, lesser_), .greater = offsetof(struct config, greater_),  \
        .lesser_set = offsetof(struct config, set.lesser_),                                        \
        .greater_set = offsetof(struct config, set.greater_), .name = #lesser_,                    \
        .text = "is less than " #greater_ ": " text_                                               \
    }
static const struct binding bindings[] = {
    BINDING(max_frame_size, max_message_size,
            "the larger messages cannot be sent as one frame, as most clients and all browsers do"),
    BINDING(max_message_size, max_frame_size, "frames of that size are refused as messages"),
    BINDING(max_partial_bytes, max_message_size,
            "a message that does not arrive at once is refused before it is complete"),
    BINDING(max_partial_bytes, max_body_size,
            "a request body that does not arrive at once is refused before it is complete"),
    BINDING(max_connections, max_connections_per_address, "the latter cannot be reached"),
    BINDING(max_channels, max_channels_per_connection, "the latter cannot be reached"),
    BINDING(hub_queue, max_message_size,
            "a publication of that size is lost to a worker whose ring is full"),
};

static int64_t limit(const struct config *c, size_t offset)
{
    int64_t v;

    memcpy(&v, (const char *)c + offset, sizeof(v));
    return v;
}

static int warn_limits(const struct config *c, struct buf *lines)
{
    int64_t need = config_body_needed(c->max_message_size);

    for (size_t i = 0; i < ARRAY_LEN(bindings); i++) {
        const struct binding *b = &bindings[i];

        if (limit(c, b->lesser) >= limit(c, b->greater) ||
            (!((const bool *)c)[b->lesser_set] && !((const bool *)c)[b->greater_set]))
            continue;
        if (buf_printf(lines, "%s: %s\n", b->name, b->text) == -1)
            return -1;
    }
    if (c->set.max_body_size && c->max_body_size < need)
        return buf_printf(lines,
                          "max_body_size: the server API cannot take all publications of up to "
                          "max_message_size as base64; that needs %lld, which auto is\n",
                          (long long)need);
    return 0;
}

static int warn_short_key(const char *name, const char *key, struct buf *lines)
{
    if (str_from(key).n >= KEY_GOOD_LENGTH)
        return 0;
    return buf_printf(lines,
                      "%s: it has less than %d characters, and the admin listener is not "
                      "on loopback: it can be guessed\n",
                      name, KEY_GOOD_LENGTH);
}

/* Whoever quotes a value where nothing takes the quotes off has another key than the one meant. */
static int warn_quotes(const struct config *c, struct buf *lines)
{
    for (size_t i = 0; i < config_row_count(); i++) {
        const struct table_row *row = &config_table.rows[i];

        if ((row->type != TABLE_STRING && row->type != TABLE_PATH && row->type != TABLE_SECRET) ||
            !config_in_quotes(str_from((const char *)c + row->offset)))
            continue;
        if (buf_printf(lines, "%s: " CONFIG_QUOTES "\n", row->name) == -1)
            return -1;
    }
    return 0;
}

int config_warnings(const struct config *c, struct buf *lines)
{
    if (warn_limits(c, lines) == -1 || warn_quotes(c, lines) == -1 ||
        config_warn_clients(c, lines) == -1 || config_warn_proxies(c, lines) == -1 ||
        config_warn_keys(c, lines) == -1)
        return -1;
    if (config_listens_locally(c, LISTENER_ADMIN))
        return 0;
    if (warn_short_key("api_key", c->api_key, lines) == -1)
        return -1;
    return c->metrics_key[0] == '\0' ? 0 : warn_short_key("metrics_key", c->metrics_key, lines);
}

int config_removed(const struct config *before, const struct config *after, struct buf *lines)
{
    struct config plain;

    config_defaults(&plain);
    for (size_t i = 0; i < config_row_count(); i++) {
        if (config_row(i)->change != TABLE_GUARD || table_equal(&config_table, before, &plain, i) ||
            !table_equal(&config_table, after, &plain, i))
            continue;
        if (buf_printf(lines, "%s: it was set, and is not any more\n", config_row(i)->name) == -1)
            return -1;
    }
    for (size_t k = 0; k < LISTENERS_MAX; k++)
        if (before->allowed[k].n > 0 && after->allowed[k].n == 0 &&
            buf_printf(lines, "allow: %s is open to all now\n",
                       listener_label(&after->listener[k])) == -1)
            return -1;
    if (config_list_has(after->allowed_origins, STR_LIT("*")) &&
        !config_list_has(before->allowed_origins, STR_LIT("*")))
        return buf_append_lit(lines, "allowed_origins: every web page may connect now\n");
    return 0;
}
