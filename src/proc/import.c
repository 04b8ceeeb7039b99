/* proc/import.c - which row of tbl/centrifugo.def an option is, and what the row says. */
#include "import_internal.h"
#include "proc/egress.h"

static void import_keep(struct import *im, const struct import_row *row,
                        const struct import_item *item);
static void import_keep_list(struct import *im, const struct import_row *row,
                             const struct import_item *item);
static void import_log_level(struct import *im, const struct import_row *row,
                             const struct import_item *item);

#define ROW(v6_, v5_, kind_, security_, channel_, handle_, setting_, text_)                        \
    {v6_, v5_, IMPORT_##kind_, security_, channel_, handle_, setting_, text_},

const struct import_row import_rows[] = {
#define CARRY(v6, v5, row, remark)         ROW(v6, v5, CARRY, false, false, NULL, #row, remark)
#define PROTECT(v6, v5, row, remark)       ROW(v6, v5, CARRY, true, false, NULL, #row, remark)
#define HANDLE(v6, v5, f, row, remark)     ROW(v6, v5, HANDLE, false, false, import_##f, row, remark)
#define WITHOUT(v6, v5, why)               ROW(v6, v5, WITHOUT, false, false, NULL, "", why)
#define SECURITY(v6, v5, why)              ROW(v6, v5, WITHOUT, true, false, NULL, "", why)
#define FIXED(v6, v5, value, why)          ROW(v6, v5, FIXED, false, false, NULL, value, why)
#define FIXED_SECURITY(v6, v5, value, why) ROW(v6, v5, FIXED, true, false, NULL, value, why)
#define CHANNEL_WITHOUT(v6, v5, why)       ROW(v6, v5, WITHOUT, false, true, NULL, "", why)
#define CHANNEL_SECURITY(v6, v5, why)      ROW(v6, v5, WITHOUT, true, true, NULL, "", why)
#define CHANNEL_FIXED(v6, v5, value, why)  ROW(v6, v5, FIXED, false, true, NULL, value, why)
#include "tbl/centrifugo.def"
};
const size_t import_row_count = ARRAY_LEN(import_rows);
_Static_assert(ARRAY_LEN(import_rows) <= IMPORT_ROWS_MAX, "one flag for each");

void import_note(struct import *im, bool security, const char *path, const char *reason)
{
    im->unsafe = im->unsafe || security;
    if (buf_printf(im->notes, "%s: not carried over%s: %s\n", path,
                   security ? ", and it protects" : "", reason) == -1)
        im->no_memory = true;
}

/* As nobody has set it. */
static bool is_off(const struct import_item *item)
{
    static const char *const words[] = {"", "false", "0", "0s", "no", "off"};

    if (item->opaque)
        return false;
    if (item->list)
        return item->n == 0;
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (str_equal_nocase(item->values[0], str_from(words[i])))
            return true;
    return false;
}

/* One text for a list: its words are separated by blanks. */
static int set_words(const struct table *t, void *draft, size_t row, struct import_item *item,
                     char *err, size_t errcap)
{
    struct str rest = item->values[0], word;

    item->n = 0;
    while (str_cut(&rest, ' ', &word))
        if (word.n > 0 && item->n < IMPORT_ITEMS_MAX)
            item->values[item->n++] = word;
    item->list = true;
    table_list_clear(t, draft, row);
    for (size_t i = 0; i < item->n; i++)
        if (table_list_add(t, draft, row, item->values[i], err, errcap) == -1)
            return -1;
    return 0;
}

/* What the table alone does not see: from where keys may be fetched. */
static int check_url(const struct import_values *v, size_t row, char *err, size_t errcap)
{
    static const struct str end = {"_jwks_url", sizeof("_jwks_url") - 1};
    struct str name = str_from(v->table->rows[row].name);
    const char *url = (const char *)v->draft + v->table->rows[row].offset, *why;

    if (name.n < end.n || !str_equal(str_skip(name, name.n - end.n), end) || url[0] == '\0')
        return 0;
    why = egress_refusal(url);
    if (why == NULL)
        return 0;
    snprintf(err, errcap, "the address %s", why);
    return -1;
}

/* Into the draft, which says whether it is a value for the row. */
static int try_value(struct import_values *v, size_t row, struct import_item *item, char *err,
                     size_t errcap)
{
    bool list = table_is_list(v->table->rows[row].type);

    if (item->opaque || (item->list && !list)) {
        snprintf(err, errcap, "expected one value");
        return -1;
    }
    if (!list)
        return table_set(v->table, v->draft, row, item->values[0], err, errcap) == -1
                   ? -1
                   : check_url(v, row, err, errcap);
    if (!item->list)
        return set_words(v->table, v->draft, row, item, err, errcap);
    table_list_clear(v->table, v->draft, row);
    for (size_t i = 0; i < item->n; i++)
        if (table_list_add(v->table, v->draft, row, item->values[i], err, errcap) == -1)
            return -1;
    return 0;
}

static void set_row(struct import *im, struct import_values *v, size_t row, bool security,
                    const char *path, const struct import_item *item)
{
    struct import_item copy = *item;
    char err[384];

    if (try_value(v, row, &copy, err, sizeof(err)) == -1) {
        table_default(v->table, v->draft, row);
        import_note(im, security, path, err);
        return;
    }
    buf_clear(&v->text[row]);
    if (import_write_value(v->table->rows[row].type, &copy, &v->text[row]) == -1)
        im->no_memory = true;
}

void import_set(struct import *im, bool security, const char *path, const char *setting,
                const struct import_item *item)
{
    int row = config_row_find(str_from(setting));

    if (row >= 0)
        set_row(im, &im->settings, (size_t)row, security, path, item);
    else
        import_note(im, security, path, "roostd has no such setting yet");
}

static bool matches(const char *pattern, struct str path)
{
    struct str p = str_from(pattern);

    if (p.n > 0 && p.p[p.n - 1] == '*')
        return str_starts_with(path, (struct str){p.p, p.n - 1});
    return p.n > 0 && str_equal(p, path);
}

/* The first row that fits. */
static const struct import_row *find_row(struct str path, bool channel)
{
    for (size_t i = 0; i < import_row_count; i++)
        if (import_rows[i].channel == channel &&
            (matches(import_rows[i].v6, path) || matches(import_rows[i].v5, path)))
            return &import_rows[i];
    return NULL;
}

/* Is it the only value that is possible? None at all is another one where that protects. */
static bool is_the_value(const struct import_row *row, const struct import_item *item)
{
    return row->kind == IMPORT_FIXED && !item->opaque && !item->list &&
           str_equal(item->values[0], str_from(row->setting));
}

/* One note for all that a row with * stands for. */
static void without(struct import *im, const struct import_row *row, const struct import_item *item,
                    const char *path)
{
    bool group = strchr(row->v6, '*') != NULL || strchr(row->v5, '*') != NULL;
    bool *said = &im->said[row - import_rows];

    if (is_the_value(row, item) || (group && *said))
        return;
    if (is_off(item) && !(row->kind == IMPORT_FIXED && row->security))
        return;
    *said = true;
    import_note(im, row->security, path, row->text);
}

static void by_row(struct import *im, const struct import_row *row, const struct import_item *item,
                   const char *path)
{
    switch (row->kind) {
    case IMPORT_CARRY:
        if (!is_off(item) || !row->security) /* as off as the default */
            import_set(im, row->security, path, row->setting, item);
        break;
    case IMPORT_HANDLE:
        row->handle(im, row, item);
        break;
    case IMPORT_WITHOUT:
    case IMPORT_FIXED:
        without(im, row, item, path);
        break;
    }
}

/* The empty texts of these options are the words of our default. */
static bool is_empty_choice(const struct table_row *row, const struct import_item *item)
{
    return row->type == TABLE_CHOICE && !item->list && !item->opaque && item->values[0].n == 0;
}

/* An option of channels that has our name. False: there is none. */
static bool carry_channel_option(struct import *im, struct import_values *v, struct str name,
                                 const char *path, const struct import_item *item)
{
    int row = table_find(v->table, name);

    if (row < 0)
        return false;
    if (!is_empty_choice(&v->table->rows[row], item))
        set_row(im, v, (size_t)row, true, path, item);
    return true;
}

static void unknown(struct import *im, const char *path)
{
    import_note(im, true, path, "it is no option of Centrifugo 5 or 6 that is known here");
}

/* "channel.without_namespace.presence", or version 5's "presence": the name behind the prefix. */
static bool is_channel_path(struct str path, struct str *name)
{
    static const struct str prefix = STR_LIT("channel.without_namespace.");

    if (str_starts_with(path, prefix)) {
        *name = str_skip(path, prefix.n);
        return true;
    }
    *name = path;
    return str_find(path, '.') == path.n && table_find(&channel_table, path) >= 0;
}

static void option_of_channels(struct import *im, struct import_values *v, struct str name,
                               const char *path, const struct import_item *item)
{
    const struct import_row *row;

    if (carry_channel_option(im, v, name, path, item))
        return;
    row = find_row(name, true);
    if (row != NULL)
        by_row(im, row, item, path);
    else
        unknown(im, path);
}

void import_default_format(struct import *im, struct import_values *v)
{
    static const char path[] = "channel.publication_data_format";
    const struct import_item item = {.path = path, .n = 1, .values = {import_kept(im, path)}};
    int row = table_find(v->table, STR_LIT("publication_data_format"));

    if (row >= 0 && v->text[row].len == 0 && !is_off(&item))
        set_row(im, v, (size_t)row, true, path, &item);
}

void import_option(struct import *im, const struct import_item *item, bool ns)
{
    struct str path = str_from(item->path), name;
    const struct import_row *row;
    char shown[400];

    if (ns) {
        snprintf(shown, sizeof(shown), "namespace %s: %s",
                 ((struct channel_options *)im->one.draft)->name, item->path);
        option_of_channels(im, &im->one, path, shown, item);
        return;
    }
    if (is_channel_path(path, &name)) {
        option_of_channels(im, &im->channels, name, item->path, item);
        return;
    }
    row = find_row(path, false);
    if (row == NULL && str_find(path, '.') == path.n)
        row = find_row(path, true); /* version 5 */
    if (row != NULL)
        by_row(im, row, item, item->path);
    else
        unknown(im, item->path);
}

/* What depends on others waits for import_finish(). */
static void import_keep(struct import *im, const struct import_row *row,
                        const struct import_item *item)
{
    struct buf *kept = &im->kept[row - import_rows];

    if (item->opaque || item->list) {
        import_note(im, true, item->path, "expected one value");
        return;
    }
    buf_clear(kept);
    if (buf_append(kept, item->values[0]) == -1)
        im->no_memory = true;
}

static void import_keep_list(struct import *im, const struct import_row *row,
                             const struct import_item *item)
{
    struct buf *kept = &im->kept[row - import_rows];
    size_t n = item->list ? item->n : 1;

    if (item->opaque) {
        import_note(im, true, item->path, "expected a list of addresses");
        return;
    }
    buf_clear(kept);
    for (size_t i = 0; i < n; i++)
        if ((i > 0 && buf_append_char(kept, '\n') == -1) || buf_append(kept, item->values[i]) == -1)
            im->no_memory = true;
}

static void import_log_level(struct import *im, const struct import_row *row,
                             const struct import_item *item)
{
    struct import_item ours = *item;

    if (!ours.opaque && !ours.list && str_equal_nocase(ours.values[0], STR_LIT("trace")))
        ours.values[0] = STR_LIT("debug");
    else if (!ours.opaque && !ours.list &&
             (str_equal_nocase(ours.values[0], STR_LIT("fatal")) ||
              str_equal_nocase(ours.values[0], STR_LIT("none"))))
        ours.values[0] = STR_LIT("error");
    if (!is_off(&ours))
        import_set(im, false, ours.path, row->setting, &ours);
}
