/* base/config.c - the rows of tbl/config.def: defaults, reading and writing one value. */
#include "base/config.h"

#include "base/buf.h"
#include "base/units.h"

struct config config;

static const struct config_row rows[] = {
#define X(name, type, def, min, max, reload, sentence, paragraph)                                  \
    {#name,                                                                                        \
     CONFIG_##type,                                                                                \
     def,                                                                                          \
     min,                                                                                          \
     max,                                                                                          \
     CONFIG_##reload,                                                                              \
     sentence,                                                                                     \
     paragraph,                                                                                    \
     offsetof(struct config, name),                                                                \
     sizeof(((struct config *)0)->name)},
#define CONFIG_RELOAD  true
#define CONFIG_RESTART false
#include "tbl/config.def"
#undef CONFIG_RELOAD
#undef CONFIG_RESTART
#undef X
};

size_t config_row_count(void)
{
    return ARRAY_LEN(rows);
}

const struct config_row *config_row(size_t i)
{
    return &rows[i];
}

int config_row_find(struct str name)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (str_equal(str_from(rows[i].name), name))
            return (int)i;
    return -1;
}

/* What the user wrote, fit for a terminal: control characters and quotes become '?'; long text is
 * cut. */
static const char *shown(struct str s, char out[64])
{
    size_t n = MIN(s.n, (size_t)59);

    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s.p[i];

        out[i] = c < 0x20 || c == 0x7f || c == '"' ? '?' : s.p[i];
    }
    snprintf(out + n, 64 - n, "%s", s.n > n ? "..." : "");
    return out;
}

static int expected(const char *what, struct str got, char *err, size_t errcap)
{
    char text[64];

    snprintf(err, errcap, "expected %s, got \"%s\"", what, shown(got, text));
    return -1;
}

static void format_number(enum config_type type, int64_t v, char *out, size_t cap)
{
    if (type == CONFIG_SIZE)
        units_format_size(v, out, cap);
    else if (type == CONFIG_DURATION)
        units_format_duration(v, out, cap);
    else
        snprintf(out, cap, "%lld", (long long)v);
}

static int in_range(const struct config_row *row, int64_t v, struct str got, char *err,
                    size_t errcap)
{
    char lo[32], hi[32], what[96];

    if (v >= row->min && v <= row->max)
        return 0;
    format_number(row->type, row->min, lo, sizeof(lo));
    format_number(row->type, row->max, hi, sizeof(hi));
    snprintf(what, sizeof(what), "a value from %s to %s", lo, hi);
    return expected(what, got, err, errcap);
}

static int parse_whole(struct str s, int64_t *out)
{
    uint64_t v;

    if (str_to_u64(s, &v) == -1 || v > INT64_MAX)
        return -1;
    *out = (int64_t)v;
    return 0;
}

static int set_number(const struct config_row *row, int64_t *member, struct str value, char *err,
                      size_t errcap)
{
    int64_t v = 0;
    char what[96];

    if (row->type == CONFIG_SIZE) {
        if (units_parse_size(value, &v) == -1)
            return expected("a size such as 512, 64KiB, 1MiB or 2GiB", value, err, errcap);
    } else if (row->type == CONFIG_DURATION) {
        if (units_parse_duration(value, &v) == -1)
            return expected("a duration such as 250ms, 10s, 5m or 1h", value, err, errcap);
    } else if (row->type == CONFIG_AUTO_INT && str_equal(value, STR_LIT("auto"))) {
        *member = 0;
        return 0;
    } else if (parse_whole(value, &v) == -1) {
        snprintf(what, sizeof(what), "%sa whole number from %lld to %lld",
                 row->type == CONFIG_AUTO_INT ? "auto or " : "", (long long)row->min,
                 (long long)row->max);
        return expected(what, value, err, errcap);
    }
    if (row->type == CONFIG_AUTO_INT && (v < row->min || v > row->max)) {
        snprintf(what, sizeof(what), "auto or a whole number from %lld to %lld",
                 (long long)row->min, (long long)row->max);
        return expected(what, value, err, errcap);
    }
    if (in_range(row, v, value, err, errcap) == -1)
        return -1;
    *member = v;
    return 0;
}

static int set_bool(bool *member, struct str value, char *err, size_t errcap)
{
    bool yes = str_equal(value, STR_LIT("true"));

    if (!yes && !str_equal(value, STR_LIT("false")))
        return expected("true or false", value, err, errcap);
    *member = yes;
    return 0;
}

static bool has_control(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f)
            return true;
    return false;
}

static int set_string(const struct config_row *row, char *member, struct str value, char *err,
                      size_t errcap)
{
    char what[96];

    if (has_control(value) || value.n < (size_t)row->min || value.n > (size_t)row->max) {
        snprintf(what, sizeof(what), "text of %lld to %lld bytes without control characters",
                 (long long)row->min, (long long)row->max);
        return expected(what, value, err, errcap);
    }
    memset(member, 0, row->size); /* two equal settings are equal bytes */
    return str_copy(value, member, row->size);
}

static bool address_syntax(struct str s)
{
    struct str host, port;
    uint64_t n;
    size_t at = s.n;

    while (at > 0 && s.p[at - 1] != ':')
        at--;
    if (at == 0)
        return false;
    host = (struct str){s.p, at - 1};
    port = str_skip(s, at);
    if (str_to_u64(port, &n) == -1 || n > 65535 || port.n > 5)
        return false;
    if (host.n > 0 && host.p[0] == '[')
        return host.n > 2 && host.p[host.n - 1] == ']';
    return str_find(host, ':') == host.n && str_find(host, ' ') == host.n;
}

static int set_address(const struct config_row *row, char *member, struct str value, char *err,
                       size_t errcap)
{
    bool off = row->min == 0 && str_equal(value, STR_LIT("off"));

    if (!off && (has_control(value) || value.n >= row->size || !address_syntax(value)))
        return expected(row->min == 0
                            ? "an address such as 127.0.0.1:8001, [::1]:8001 or :8001, or off"
                            : "an address such as [::]:8000, 0.0.0.0:8000 or :8000",
                        value, err, errcap);
    memset(member, 0, row->size);
    return str_copy(value, member, row->size);
}

/* Entries are separated by commas or line ends; surrounding blanks and empty entries go. */
static int set_list(const struct config_row *row, char *member, struct str value, char *err,
                    size_t errcap)
{
    char out[CONFIG_LIST_MAX] = {0};
    size_t n = 0;
    struct str lines = value, line, part;

    while (str_cut(&lines, '\n', &line)) {
        while (str_cut(&line, ',', &part)) {
            part = str_trim(part);
            if (part.n == 0)
                continue;
            if (has_control(part) || n + part.n + 2 > sizeof(out))
                return expected("a list of words of at most 2000 bytes together", part, err,
                                errcap);
            if (n > 0)
                out[n++] = '\n';
            memcpy(out + n, part.p, part.n);
            n += part.n;
        }
    }
    memcpy(member, out, row->size);
    return 0;
}

static int set_choice(const struct config_row *row, int *member, struct str value, char *err,
                      size_t errcap)
{
    struct str words = str_from(row->def), word;
    char what[128];
    int i = 0;

    for (; str_cut(&words, '|', &word); i++) {
        if (str_equal(word, value)) {
            *member = i;
            return 0;
        }
    }
    snprintf(what, sizeof(what), "one of %s", row->def);
    return expected(what, value, err, errcap);
}

static int set_member(const struct config_row *row, char *member, struct str value, char *err,
                      size_t errcap)
{
    switch (row->type) {
    case CONFIG_BOOL:
        return set_bool((bool *)member, value, err, errcap);
    case CONFIG_INT:
    case CONFIG_SIZE:
    case CONFIG_DURATION:
    case CONFIG_AUTO_INT:
        return set_number(row, (int64_t *)(void *)member, value, err, errcap);
    case CONFIG_STRING:
        return set_string(row, member, value, err, errcap);
    case CONFIG_LIST:
        return set_list(row, member, value, err, errcap);
    case CONFIG_ADDRESS:
        return set_address(row, member, value, err, errcap);
    case CONFIG_CHOICE:
        return set_choice(row, (int *)(void *)member, value, err, errcap);
    }
    return -1;
}

int config_set_value(struct config *c, size_t i, struct str value, char *err, size_t errcap)
{
    if (set_member(&rows[i], (char *)c + rows[i].offset, value, err, errcap) == -1)
        return -1;
    ((bool *)&c->set)[i] = true;
    return 0;
}

static struct str default_of(const struct config_row *row)
{
    struct str def = str_from(row->def);

    if (row->type == CONFIG_CHOICE)
        def.n = str_find(def, '|');
    return def;
}

void config_defaults(struct config *c)
{
    char err[256];

    memset(c, 0, sizeof(*c));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (config_set_value(c, i, default_of(&rows[i]), err, sizeof(err)) == -1) {
            fprintf(stderr, "roost: default of %s: %s\n", rows[i].name, err);
            abort(); /* a wrong row of the table: the first test finds it */
        }
    }
    memset(&c->set, 0, sizeof(c->set));
}

struct str config_format_value(const struct config *c, size_t i, char *out, size_t cap)
{
    const struct config_row *row = &rows[i];
    const char *member = (const char *)c + row->offset;
    int64_t number = 0;

    switch (row->type) {
    case CONFIG_BOOL:
        snprintf(out, cap, "%s", *(const bool *)member ? "true" : "false");
        break;
    case CONFIG_INT:
    case CONFIG_SIZE:
    case CONFIG_DURATION:
    case CONFIG_AUTO_INT:
        memcpy(&number, member, sizeof(number));
        if (row->type == CONFIG_AUTO_INT && number == 0)
            snprintf(out, cap, "auto");
        else
            format_number(row->type, number, out, cap);
        break;
    case CONFIG_STRING:
    case CONFIG_LIST:
    case CONFIG_ADDRESS:
        snprintf(out, cap, "%s", member);
        break;
    case CONFIG_CHOICE: {
        struct str words = str_from(row->def), word = STR_NULL;
        int choice;

        memcpy(&choice, member, sizeof(choice));
        while (choice-- >= 0 && str_cut(&words, '|', &word))
            ;
        snprintf(out, cap, "%.*s", STR_ARG(word));
        break;
    }
    }
    return str_from(out);
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
