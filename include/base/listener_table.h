/* base/listener_table.h - the options of a listener, a table from tbl/listeners.def.
 *
 * A part of struct config, so plain data. config.listener[] has them all, those of the flat settings
 * too (config_derive()); conn_listener() is a connection's. */
#ifndef ROOST_BASE_LISTENER_TABLE_H
#define ROOST_BASE_LISTENER_TABLE_H

#include "base/table.h"

#define LISTENERS_BITS      4 /* of a connection's id */
#define LISTENERS_MAX       (1 << LISTENERS_BITS)
#define LISTENER_STRING_MAX 256
#define LISTENER_FILES_MAX  1024 /* bytes of a list of files */

#define LISTENER_MEMBER_BOOL(name)    bool name;
#define LISTENER_MEMBER_INT(name)     int64_t name;
#define LISTENER_MEMBER_STRING(name)  char name[LISTENER_STRING_MAX];
#define LISTENER_MEMBER_PATH(name)    char name[LISTENER_STRING_MAX];
#define LISTENER_MEMBER_ADDRESS(name) char name[LISTENER_STRING_MAX];
#define LISTENER_MEMBER_LIST(name)    char name[LISTENER_FILES_MAX];
#define LISTENER_MEMBER_FILES(name)   char name[LISTENER_FILES_MAX];
#define LISTENER_MEMBER_CHOICE(name)  int name;

struct listener_options {
#define X(name, type, def, min, max, reload, sentence) LISTENER_MEMBER_##type(name)
#include "tbl/listeners.def"
#undef X
};

enum listener_kind { LISTENER_CLIENT = 0, LISTENER_ADMIN }; /* .kind */
enum listener_client_certificates {                         /* .tls_client_certificates */
                                    LISTENER_CERTIFICATES_OFF = 0,
                                    LISTENER_CERTIFICATES_OPTIONAL,
                                    LISTENER_CERTIFICATES_REQUIRED
};

/* What does not go together within one is refused where it is read. */
extern const struct table listener_table;

static inline bool listener_is_admin(const struct listener_options *o)
{
    return o->kind == LISTENER_ADMIN;
}
static inline bool listener_has_tls(const struct listener_options *o)
{
    return o->tls_certificate[0] != '\0';
}
/* A UNIX socket: only this machine reaches it, and whoever its file's mode lets. */
bool listener_is_unix(const struct listener_options *o);
/* A socket that was passed to the daemon; its name. n 0: it is none. */
struct str listener_passed(const struct listener_options *o);
/* For logs, metrics and /debug: its name, or its address. */
static inline const char *listener_label(const struct listener_options *o)
{
    return o->name[0] != '\0' ? o->name : o->address;
}

#endif
