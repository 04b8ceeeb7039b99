/* base/config.c - the rows of tbl/config.def, and what follows from them. */
#include "base/config.h"

_Alignas(4096) struct config config; /* pages of its own: it holds secrets */

#define HISTORY_MEMORY ((int64_t)1024 * 1024 * 1024)
#define BODY_LEAST     ((int64_t)1024 * 1024)
/* Room for the names of the members and of a few hundred channels. */
#define BODY_FRAME 65536

/* Which table reads a setting's mappings. */
#define OF_BOOL(name)      NULL
#define OF_INT(name)       NULL
#define OF_SIZE(name)      NULL
#define OF_DURATION(name)  NULL
#define OF_RATE(name)      NULL
#define OF_AUTO_INT(name)  NULL
#define OF_AUTO_SIZE(name) NULL
#define OF_STRING(name)    NULL
#define OF_PATH(name)      NULL
#define OF_SECRET(name)    NULL
#define OF_KEY(name)       NULL
#define OF_LIST(name)      NULL
#define OF_TOKENS(name)    NULL
#define OF_ORIGINS(name)   NULL
#define OF_FILES(name)     NULL
#define OF_ADDRESS(name)   NULL
#define OF_CHOICE(name)    NULL
#define OF_MAPS(name)      &CONFIG_TABLE_##name
#define OF_MAP(name)       &CONFIG_TABLE_##name

#define CONFIG_TABLE_namespaces                namespace_table
#define CONFIG_TABLE_channel_without_namespace channel_table
#define CONFIG_TABLE_listeners                 listener_table

static const struct table_row rows[] = {
#define X(name, type, def, min, max, reload, sentence, paragraph)                                  \
    {#name,                                                                                        \
     TABLE_##type,                                                                                 \
     def,                                                                                          \
     min,                                                                                          \
     max,                                                                                          \
     TABLE_##reload,                                                                               \
     sentence,                                                                                     \
     paragraph,                                                                                    \
     offsetof(struct config, name),                                                                \
     sizeof(((struct config *)0)->name),                                                           \
     OF_##type(name)},
#include "tbl/config.def"
#undef X
};
_Static_assert(ARRAY_LEN(rows) <= TABLE_ROWS_MAX, "more settings than a table may have");

const struct table config_table = {.rows = rows,
                                   .n = ARRAY_LEN(rows),
                                   .size = sizeof(struct config),
                                   .set = offsetof(struct config, set),
                                   .help = "roostd --print-config lists all"};

size_t config_row_count(void)
{
    return ARRAY_LEN(rows);
}

const struct table_row *config_row(size_t i)
{
    return &rows[i];
}

int config_row_find(struct str name)
{
    return table_find(&config_table, name);
}

struct str config_key_text(const struct config *c, bool subscription, enum config_key which)
{
    size_t at = 0, row = (size_t)subscription * CONFIG_KEY_NR + which;
    const uint32_t *len = &c->keys.len[0][0];

    for (size_t i = 0; i < row; i++)
        at += len[i];
    return (struct str){c->keys.text + at, len[row]};
}

/* Base64 is a third longer; "/" may come as "\/", as PHP writes it. */
int64_t config_body_needed(int64_t max_message_size)
{
    int64_t base64 = (max_message_size + 2) / 3 * 4;

    return base64 + base64 / 32 + BODY_FRAME;
}

/* token_hmac_secret_key, token_jwks_file, ...: what tokens are verified with, which is text. */
static bool is_token_key(struct str name)
{
    struct str rest = name, word = STR_NULL;
    bool token = str_starts_with(name, STR_LIT("token_")) ||
                 str_starts_with(name, STR_LIT("subscription_token_"));

    while (token && str_cut(&rest, '_', &word))
        if (str_equal(word, STR_LIT("key")) || str_equal(word, STR_LIT("jwks")))
            return true;
    return false;
}

static bool has_permissions(const struct config *c)
{
    struct channel_options none;

    table_defaults(&channel_table, &none);
    if (c->namespaces.n > 0 || memcmp(&none, &c->channel_without_namespace, sizeof(none)) != 0)
        return true;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (rows[i].type != TABLE_INT && is_token_key(str_from(rows[i].name)) &&
            ((const char *)c + rows[i].offset)[0] != '\0')
            return true;
    return false;
}

_Static_assert(LISTENER_STRING_MAX == CONFIG_STRING_MAX, "an address is copied whole");

static void add_listener(struct config *c, const struct listener_options *o)
{
    if (c->listeners_count < LISTENERS_MAX)
        c->listener[c->listeners_count] = *o;
    c->listeners_count++;
}

static bool has_kind(const struct config *c, enum listener_kind kind)
{
    for (size_t i = 0; i < c->listeners.n; i++)
        if (c->listeners.items[i].kind == (int)kind)
            return true;
    return false;
}

/* The flat settings are a short form: one counts if somebody has set it, or nothing else has been
 * said of its kind. */
static void derive_listeners(struct config *c)
{
    struct listener_options client, admin;

    table_defaults(&listener_table, &client);
    table_defaults(&listener_table, &admin);
    snprintf(client.name, sizeof(client.name), "listen");
    snprintf(admin.name, sizeof(admin.name), "admin_listen");
    memcpy(client.address, c->listen, sizeof(client.address));
    client.accept_rate = c->accept_rate;
    memcpy(client.tls_certificate, c->tls_certificate, sizeof(client.tls_certificate));
    memcpy(client.tls_key, c->tls_key, sizeof(client.tls_key));
    admin.kind = LISTENER_ADMIN;
    memcpy(admin.address, c->admin_listen, sizeof(admin.address));
    memcpy(admin.tls_certificate, c->admin_tls_certificate, sizeof(admin.tls_certificate));
    memcpy(admin.tls_key, c->admin_tls_key, sizeof(admin.tls_key));
    memset(c->listener, 0, sizeof(c->listener));
    c->listeners_count = 0;
    if (c->set.listen || !has_kind(c, LISTENER_CLIENT))
        add_listener(c, &client);
    if (!str_equal(str_from(c->admin_listen), STR_LIT("off")) &&
        (c->set.admin_listen || !has_kind(c, LISTENER_ADMIN)))
        add_listener(c, &admin);
    for (size_t i = 0; i < c->listeners.n; i++)
        add_listener(c, &c->listeners.items[i]);
    for (size_t i = 0; i < LISTENERS_MAX; i++)
        networks_read(&c->allowed[i], c->listener[i].allow);
}

void config_derive(struct config *c)
{
    derive_listeners(c);
    c->permissions = has_permissions(c);
    if (!c->set.plain)
        c->plain = !c->permissions;

    networks_read(&c->trusted, c->trusted_proxies);
    if (!c->set.max_frame_size)
        c->max_frame_size = c->max_message_size;
    if (!c->set.history_memory)
        c->history_memory = HISTORY_MEMORY; /* the master goes by the limits of its control group */
    if (!c->set.worker_memory)
        c->worker_memory = 0;
    if (!c->set.max_body_size)
        c->max_body_size = MAX(BODY_LEAST, config_body_needed(c->max_message_size));
}

void config_defaults(struct config *c)
{
    table_defaults(&config_table, c);
    config_derive(c);
}

/* Of a secret that is not known: pages say of it what they say of others. */
static void hide(char secret[CONFIG_STRING_MAX])
{
    bool set = secret[0] != '\0';

    explicit_bzero(secret, CONFIG_STRING_MAX);
    secret[0] = set ? '*' : '\0';
}

void config_hide_passwords(struct config *c)
{
    hide(c->engine_password);
    hide(c->engine_sentinel_password);
}

void config_take(struct config *to, const struct config *from)
{
    char engine[CONFIG_STRING_MAX], sentinel[CONFIG_STRING_MAX];

    memcpy(engine, to->engine_password, sizeof(engine));
    memcpy(sentinel, to->engine_sentinel_password, sizeof(sentinel));
    *to = *from;
    memcpy(to->engine_password, engine, sizeof(engine));
    memcpy(to->engine_sentinel_password, sentinel, sizeof(sentinel));
    explicit_bzero(engine, sizeof(engine));
    explicit_bzero(sentinel, sizeof(sentinel));
}

struct str config_format_value(const struct config *c, size_t i, char *out, size_t cap)
{
    return table_format(&config_table, c, i, out, cap);
}

static bool list_any(const char *list, struct str word, bool (*match)(struct str, struct str))
{
    struct str rest = str_from(list), entry;

    while (rest.n > 0 && str_cut(&rest, '\n', &entry))
        if (match(entry, word))
            return true;
    return false;
}

bool config_list_has(const char *list, struct str word)
{
    return list_any(list, word, str_equal);
}

bool config_list_glob(const char *list, struct str word)
{
    return list_any(list, word, str_glob);
}

enum log_level config_log_level(const struct config *c)
{
    /* In the order of the row's words: the default stands first. */
    static const enum log_level levels[] = {LOG_INFO, LOG_DEBUG, LOG_WARN, LOG_ERROR};

    return levels[c->log_level];
}
