/* base/config.h - the settings every layer may read, one plain struct from tbl/config.def.
 *
 * Plain data (no pointers), so that the master can hand it to other processes in shared memory. The
 * process-wide copy `config` changes only between turns (reload). proc/config_load.h parses it. */
#ifndef ROOST_BASE_CONFIG_H
#define ROOST_BASE_CONFIG_H

#include "base/channel_table.h"
#include "base/common.h"
#include "base/listener_table.h"
#include "base/log.h"
#include "base/network.h"
#include "base/table.h"

#define CONFIG_STRING_MAX 256
#define CONFIG_LIST_MAX   2048
#define CONFIG_KEY_MAX    2048
#define CONFIG_KEYS_MAX   98304 /* of all keys together */
_Static_assert(CONFIG_LIST_MAX <= TABLE_LIST_MAX, "a list fits the table's copy");

#define CONFIG_MEMBER_BOOL(name)      bool name;
#define CONFIG_MEMBER_INT(name)       int64_t name;
#define CONFIG_MEMBER_SIZE(name)      int64_t name;
#define CONFIG_MEMBER_DURATION(name)  int64_t name;
#define CONFIG_MEMBER_RATE(name)      double name;
#define CONFIG_MEMBER_AUTO_INT(name)  int64_t name;
#define CONFIG_MEMBER_AUTO_SIZE(name) int64_t name;
#define CONFIG_MEMBER_STRING(name)    char name[CONFIG_STRING_MAX];
#define CONFIG_MEMBER_PATH(name)      char name[CONFIG_STRING_MAX];
#define CONFIG_MEMBER_SECRET(name)    char name[CONFIG_STRING_MAX];
#define CONFIG_MEMBER_KEY(name)       char name[CONFIG_KEY_MAX];
#define CONFIG_MEMBER_LIST(name)      char name[CONFIG_LIST_MAX];
#define CONFIG_MEMBER_TOKENS(name)    char name[CONFIG_LIST_MAX];
#define CONFIG_MEMBER_ORIGINS(name)   char name[CONFIG_LIST_MAX];
#define CONFIG_MEMBER_FILES(name)     char name[LISTENER_FILES_MAX];
#define CONFIG_MEMBER_ADDRESS(name)   char name[CONFIG_STRING_MAX];
#define CONFIG_MEMBER_CHOICE(name)    int name;
/* Each has a struct and a table of its own. */
#define CONFIG_MEMBER_MAPS(name) struct config_##name name;
#define CONFIG_MEMBER_MAP(name)  struct channel_options name;

struct config_namespaces TABLE_MAPS_BODY(struct channel_options, CHANNEL_NAMESPACES_MAX);
struct config_listeners TABLE_MAPS_BODY(struct listener_options, LISTENERS_MAX);

/* What tokens are verified with, as text: read from the settings and their files by whoever loads
 * them, so that no other process reads files. By purpose and kind, one behind the other. */
enum config_key {
#define KEY_TEXT(id, text, file) CONFIG_KEY_##id,
#include "tbl/key_texts.def"
    CONFIG_KEY_NR
};
struct config_keys {
    uint32_t len[2][CONFIG_KEY_NR]; /* of token_*, of subscription_token_* */
    char text[CONFIG_KEYS_MAX];
};

struct config_set { /* one bool per row, in the table's order */
#define X(name, type, def, min, max, reload, sentence, paragraph) bool name;
#include "tbl/config.def"
#undef X
};

struct config {
#define X(name, type, def, min, max, reload, sentence, paragraph) CONFIG_MEMBER_##type(name)
#include "tbl/config.def"
#undef X
    /* What the file was when this was read; a reload compares. */
    size_t file_settings; /* rows it set */
    bool file_was_pipe;
    /* Derived: a token key, namespaces or channel_without_namespace is set, so whoever has no token
     * is anonymous, plain clients too, and permissions are looked at. */
    bool permissions;
    /* Derived: the listeners, from listen, admin_listen and listeners. As many as there are, also
     * where the list has no room for them, which is refused. */
    struct listener_options listener[LISTENERS_MAX];
    size_t listeners_count;
    struct networks allowed[LISTENERS_MAX]; /* derived: allow of each; n 0: all may */
    struct networks trusted;                /* derived: trusted_proxies */
    struct config_keys keys;
    /* Said by a file, the environment or --set; else it is the default. */
    struct config_set set;
};

enum engine_kind { ENGINE_IS_MEMORY = 0, ENGINE_IS_REDIS, ENGINE_IS_NATS }; /* config.engine */
enum tls_records { TLS_RECORDS_COMPACT = 0, TLS_RECORDS_OPENSSL };          /* config.tls_records */
enum user_limit_scope {
    USER_LIMIT_OF_A_NODE = 0,
    USER_LIMIT_OF_ALL_NODES
}; /* config.user_connection_limit_scope */
enum slow_consumer { SLOW_DISCONNECT = 0, SLOW_DROP, SLOW_LATEST }; /* config.slow_consumer */

enum user_of_certificate { USER_OF_NONE = 0, USER_OF_COMMON_NAME, USER_OF_SUBJECT };

/* This process's copy; all zero until config_defaults() or a load. */
extern struct config config;

/* Sets every member from the table's defaults (used by tests too); none counts as set. */
void config_defaults(struct config *c);

/* The passwords at the engine's servers are the hub's alone. Overwritten; that there is one stays visible. */
void config_hide_passwords(struct config *c);
/* *to becomes as *from, but keeps its own passwords. */
void config_take(struct config *to, const struct config *from);

extern const struct table config_table;
size_t config_row_count(void);
const struct table_row *config_row(size_t i);
/* Row index of name, or -1. */
int config_row_find(struct str name);
/* The value as table_set() would read it (LIST entries separated by '\n'); a secret is not
 * shown. */
struct str config_format_value(const struct config *c, size_t i, char *out, size_t cap);

/* n 0: there is none. For connection tokens, or of subscription_token_*. */
struct str config_key_text(const struct config *c, bool subscription, enum config_key which);

/* Limits that nobody has set follow from those they are bound to. */
void config_derive(struct config *c);
/* The request body of the largest publication: base64 within JSON. */
int64_t config_body_needed(int64_t max_message_size);

/* Does a '\n'-separated LIST hold word (exactly), or match it as a glob? */
bool config_list_has(const char *list, struct str word);
bool config_list_glob(const char *list, struct str word);

enum log_level config_log_level(const struct config *c);

#endif
