/* base/channel_table.h - the options of channels, a table from tbl/channel_options.def.
 *
 * A part of struct config, so plain data. core/channel_options.h finds the options of a channel. */
#ifndef ROOST_BASE_CHANNEL_TABLE_H
#define ROOST_BASE_CHANNEL_TABLE_H

#include "base/table.h"

#define CHANNEL_NAMESPACE_MAX  64  /* bytes of a namespace's name */
#define CHANNEL_NAMESPACES_MAX 128 /* entries of the setting `namespaces` */

#define CHANNEL_MEMBER_BOOL(name)     bool name;
#define CHANNEL_MEMBER_INT(name)      int64_t name;
#define CHANNEL_MEMBER_SIZE(name)     int64_t name;
#define CHANNEL_MEMBER_DURATION(name) int64_t name;
#define CHANNEL_MEMBER_RATE(name)     double name;
#define CHANNEL_MEMBER_STRING(name)   char name[256];
#define CHANNEL_MEMBER_TOKENS(name)   char name[64];
#define CHANNEL_MEMBER_CHOICE(name)   int name;

struct channel_options {
    char name[CHANNEL_NAMESPACE_MAX + 1]; /* "" of channel_without_namespace */
#define X(name, type, def, min, max, sentence) CHANNEL_MEMBER_##type(name)
#include "tbl/channel_options.def"
#undef X
};

enum recovery_mode { RECOVERY_STREAM = 0, RECOVERY_CACHE }; /* .force_recovery_mode */
enum publication_format {
    PUBLICATION_ANY = 0,
    PUBLICATION_JSON,
    PUBLICATION_BINARY,
    PUBLICATION_JSON_OBJECT
};

/* The options alone, as in channel_without_namespace; and with the name, as in namespaces. What
 * does not go together is refused where it is read. */
extern const struct table channel_table;
extern const struct table namespace_table;

#endif
