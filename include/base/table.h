/* base/table.h - typed tables: each row says how one member of a plain struct is written, bounded,
 * stored and shown. The daemon's settings and roostload's options are such tables.
 *
 * TYPE       C type of the member          written as
 * BOOL       bool                          true, false; also yes, no, on, off, 1, 0
 * INT        int64_t                       42
 * SIZE       int64_t, bytes                512, 64KiB, 1.5MiB, 1MB (a million)
 * DURATION   int64_t, nanoseconds          250ms, 0.5s, 1m30s, 1h
 * RATE       double                        10, 0.5
 * AUTO_INT   int64_t, 0 = auto             auto, 8
 * AUTO_SIZE  int64_t                       auto (the owner derives the value), 1MiB
 * STRING     char[n]                       text; min..max is the length in bytes (max 0: what the
 * member holds) PATH       char[n]                       as STRING: a file's name SECRET char[n]
 * printable ASCII without spaces; never shown KEY        char[n]                       a public key
 * in PEM, or the name of a file that holds it LIST       char[n], '\n' between entries words, by
 * comma or as a sequence TOKENS     as LIST                       HTTP tokens ORIGINS    as LIST
 * web origins, which may be globs; stored as browsers send them FILES      as LIST names of files,
 * which may repeat LINES      as LIST lines of text: each text is one entry more; wants marks of
 * what is set ADDRESS char[n] host:port, [v6]:port, :port, unix:/path, fd:NAME, or "off" where min
 * is 0 CHOICE int, index into the words     one of the words of `def`,
 * separated by '|', the first is the default; "warn=warning" has a second spelling MAPS
 * TABLE_MAPS_OF(struct x, n)    a sequence of mappings, each read by the table `of`
 * MAP        struct x                      one such mapping
 *
 * Texts are views; nothing is kept. Errors are sentences "expected ..., got ..." without the row's
 * name. */
#ifndef ROOST_BASE_TABLE_H
#define ROOST_BASE_TABLE_H

#include "base/buf.h"

enum table_type {
    TABLE_BOOL = 0,
    TABLE_INT,
    TABLE_SIZE,
    TABLE_DURATION,
    TABLE_RATE,
    TABLE_AUTO_INT,
    TABLE_AUTO_SIZE,
    TABLE_STRING,
    TABLE_PATH,
    TABLE_SECRET,
    TABLE_KEY,
    TABLE_LIST,
    TABLE_TOKENS,
    TABLE_ORIGINS,
    TABLE_FILES,
    TABLE_LINES,
    TABLE_ADDRESS,
    TABLE_CHOICE,
    TABLE_MAPS,
    TABLE_MAP
};

/* May a reload change it? GUARD: it may, and taking the setting away is worth a warning. */
enum table_change { TABLE_RESTART = 0, TABLE_RELOAD, TABLE_GUARD };

struct table_row {
    const char *name;
    enum table_type type;
    const char *def; /* as a user would write it; NULL: must be given (items of MAPS) */
    int64_t min, max;
    enum table_change change;
    const char *sentence, *paragraph;
    size_t offset, size;    /* of the member */
    const struct table *of; /* MAPS, MAP */
};

#define TABLE_ROWS_MAX 256
#define TABLE_LIST_MAX 4096 /* bytes of a list's member, at most */
struct table {
    const struct table_row *rows;
    size_t n;    /* at most TABLE_ROWS_MAX */
    size_t size; /* of the struct */
    size_t set;  /* offset in the struct of n bools: which rows somebody has set; or TABLE_NO_SET */
    bool key;    /* items of MAPS: the first row, a text, is another in each */
    /* Items of MAPS, MAP: what spans rows; NULL: nothing does. -1: a sentence in err. */
    int (*check)(const void *item, char *err, size_t errcap);
    const char *help; /* where all names are listed, for whoever wrote an unknown one */
};
#define TABLE_NO_SET SIZE_MAX

/* A member of type MAPS: n items in use. */
#define TABLE_MAPS_BODY(item_type, max)                                                            \
    {                                                                                              \
        size_t n;                                                                                  \
        item_type items[max];                                                                      \
    }
#define TABLE_MAPS_OF(item_type, max) struct TABLE_MAPS_BODY(item_type, max)
size_t *table_maps_count(const struct table_row *row, void *obj);
/* Room for one more item, set to its defaults and counted; NULL: the row's max are there. */
void *table_maps_add(const struct table_row *row, void *obj);
void *table_maps_item(const struct table_row *row, void *obj, size_t i);

#define TABLE_HIDDEN "(hidden)" /* stands for a secret in everything that is shown */

bool table_is_list(enum table_type type);
/* Is the text of a KEY the key itself, not a file's name? */
bool table_key_is_inline(struct str text);
/* MAPS or MAP: read by codec/table_yaml.h alone. */
bool table_is_map(enum table_type type);
/* Index of the row, or -1. */
int table_find(const struct table *t, struct str name);
/* Sets every member to its row's default; none counts as set. A wrong default aborts. */
void table_defaults(const struct table *t, void *obj);
void table_default(const struct table *t, void *obj, size_t i);

/* One value from text; a list's text replaces the list (LINES: adds an entry). -1 with a sentence
 * in err, *obj unchanged. */
int table_set(const struct table *t, void *obj, size_t i, struct str value, char *err,
              size_t errcap) MUST_CHECK;
/* For lists: empties, and adds one entry as it is (no commas). */
void table_list_clear(const struct table *t, void *obj, size_t i);
int table_list_add(const struct table *t, void *obj, size_t i, struct str entry, char *err,
                   size_t errcap) MUST_CHECK;
bool table_was_set(const struct table *t, const void *obj, size_t i);
void table_mark(const struct table *t, void *obj, size_t i, bool set);

/* A scalar or list as table_set() reads it; not for MAPS and MAP. A secret is TABLE_HIDDEN or empty. */
struct str table_format(const struct table *t, const void *obj, size_t i, char *out, size_t cap);
/* The value as YAML on one line, which codec/table_yaml.h reads back; secrets are hidden. */
int table_write(const struct table *t, const void *obj, size_t i, struct buf *out) MUST_CHECK;
/* "whole number, 1 to 128", "one of a, b". */
int table_write_type(const struct table_row *row, struct buf *out) MUST_CHECK;
/* Equal as values? Secrets are compared, not shown. */
bool table_equal(const struct table *t, const void *a, const void *b, size_t i);
/* The row's default as text, "" for none. */
struct str table_default_text(const struct table_row *row);

#endif
