/* base/table_text.c - members that are text: strings, secrets, addresses, lists. */
#include "table_internal.h"

#define IS_TOKEN(c)                                                                                \
    (((c) >= '0' && (c) <= '9') || (((c) | 0x20) >= 'a' && ((c) | 0x20) <= 'z') ||                 \
     ((c) != 0 && strchr("!#$%&'*+-.^_`|~", (c)) != NULL))

static bool has_control(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f)
            return true;
    return false;
}

static bool is_graphic(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= 0x20 || s.p[i] >= 0x7f)
            return false;
    return true;
}

static bool is_token(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!IS_TOKEN(s.p[i]))
            return false;
    return s.n > 0;
}

/* Two equal settings are equal bytes. */
static int store(const struct table_row *row, char *member, struct str value)
{
    memset(member, 0, row->size);
    return str_copy(value, member, row->size);
}

static int set_string(const struct table_row *row, char *member, struct str value, char *err,
                      size_t errcap)
{
    size_t most = row->max > 0 ? (size_t)row->max : row->size - 1;
    char what[96];

    if (has_control(value) || value.n < (size_t)row->min || value.n > most) {
        snprintf(what, sizeof(what), "text of %lld to %zu bytes without control characters",
                 (long long)row->min, most);
        return table_expected(what, value, err, errcap);
    }
    return store(row, member, value);
}

/* What is refused may be nearly the secret: it is not shown. A key travels in a header field, in a
 * query, through shells and proxies, which agree on printable ASCII without spaces. */
static int set_secret(const struct table_row *row, char *member, struct str value, char *err,
                      size_t errcap)
{
    if (str_equal(value, STR_LIT(TABLE_HIDDEN))) {
        snprintf(err, errcap,
                 "\"" TABLE_HIDDEN
                 "\" only stands for a secret that is not shown; write the secret "
                 "in its place");
        return -1;
    }
    if (!is_graphic(value) || value.n < (size_t)row->min || value.n > (size_t)row->max ||
        value.n >= row->size) {
        snprintf(err, errcap,
                 "expected %lld to %lld characters of printable ASCII without spaces or line ends "
                 "(what was given is not shown)",
                 (long long)row->min, (long long)row->max);
        return -1;
    }
    return store(row, member, value);
}

bool table_key_is_inline(struct str text)
{
    return str_starts_with(text, STR_LIT("-----BEGIN "));
}

/* Lines in PEM may be ended by the characters "\\n", as in files of variables. */
static int set_key(const struct table_row *row, char *member, struct str value, char *err,
                   size_t errcap)
{
    size_t n = 0;

    if (!table_key_is_inline(value))
        return set_string(row, member, value, err, errcap);
    if (value.n >= row->size || memchr(value.p, '\0', value.n) != NULL) {
        snprintf(err, errcap, "expected a key in PEM of at most %zu bytes; a longer one in a file",
                 row->size - 1);
        return -1;
    }
    memset(member, 0, row->size);
    for (size_t i = 0; i < value.n; i++) {
        bool escaped = value.p[i] == '\\' && i + 1 < value.n && value.p[i + 1] == 'n';

        member[n++] = escaped ? '\n' : value.p[i];
        i += escaped;
    }
    return 0;
}

/* What may stand behind the word: a path, or the name of a socket that was passed. */
static bool socket_syntax(struct str s)
{
    struct str word;

    if (!str_cut(&s, ':', &word) || s.n == 0)
        return false;
    return (str_equal(word, STR_LIT("unix")) && s.p[0] == '/' && s.n > 1) ||
           (str_equal(word, STR_LIT("fd")) && str_find(s, ':') == s.n && is_graphic(s));
}

static bool address_syntax(struct str s)
{
    struct str host, port;
    uint64_t n;
    size_t at = s.n;

    if (socket_syntax(s))
        return true;
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

static int set_address(const struct table_row *row, char *member, struct str value, char *err,
                       size_t errcap)
{
    bool off = row->min == 0 &&
               (str_equal_nocase(value, STR_LIT("off")) || str_equal_nocase(value, STR_LIT("no")) ||
                str_equal_nocase(value, STR_LIT("false")));

    if (off)
        return store(row, member, STR_LIT("off"));
    if (has_control(value) || value.n >= row->size || !address_syntax(value))
        return table_expected(
            row->min == 0
                ? "an address such as 127.0.0.1:8001, [::1]:8001, :8001 or unix:/path, or off"
                : "an address such as [::]:8000, 0.0.0.0:8000, :8000 or unix:/path",
            value, err, errcap);
    return store(row, member, value);
}

int table_set_text(const struct table_row *row, char *member, struct str value, char *err,
                   size_t errcap)
{
    if (row->type == TABLE_SECRET)
        return set_secret(row, member, value, err, errcap);
    if (row->type == TABLE_KEY)
        return set_key(row, member, value, err, errcap);
    if (row->type == TABLE_ADDRESS)
        return set_address(row, member, value, err, errcap);
    return set_string(row, member, value, err, errcap);
}

/* Is the entry one of those there? A list is a set but for FILES and LINES, whose entries may repeat. */
static bool has_entry(const char *list, struct str entry)
{
    struct str rest = str_from(list), one;

    while (rest.n > 0 && str_cut(&rest, '\n', &one))
        if (str_equal(one, entry))
            return true;
    return false;
}

int table_add_entry(const struct table_row *row, char *member, struct str entry, char *err,
                    size_t errcap)
{
    size_t used = str_from(member).n;
    bool lines = row->type == TABLE_LINES, repeat = lines || row->type == TABLE_FILES;
    char origin[300], what[96];

    if (row->type == TABLE_TOKENS && !is_token(entry))
        return table_expected("an HTTP token (letters, digits and !#$%&'*+-.^_`|~)", entry, err,
                              errcap);
    if (row->type == TABLE_ORIGINS) {
        const char *wrong = table_origin(entry, origin, sizeof(origin));

        if (wrong != NULL)
            return table_expected(wrong, entry, err, errcap);
        entry = str_from(origin);
    }
    if (!repeat && has_entry(member, entry))
        return 0;
    /* Of LINES their owner knows what may stand in them; '\n' ends one. */
    if (entry.n == 0 || str_find(entry, '\n') < entry.n || (!lines && has_control(entry)) ||
        memchr(entry.p, '\0', entry.n) != NULL || used + entry.n + 2 > row->size) {
        snprintf(what, sizeof(what), "a list of lines of text, together of at most %zu bytes",
                 row->size - 2);
        return table_expected(what, entry, err, errcap);
    }
    if (used > 0)
        member[used++] = '\n';
    memcpy(member + used, entry.p, entry.n);
    return 0;
}

/* Entries are separated by commas or line ends; surrounding blanks and empty entries go. */
static int add_entries(const struct table_row *row, char *member, struct str value, char *err,
                       size_t errcap)
{
    struct str lines = value, line, part;

    while (str_cut(&lines, '\n', &line)) {
        while (str_cut(&line, ',', &part)) {
            part = str_trim(part);
            if (part.n > 0 && table_add_entry(row, member, part, err, errcap) == -1)
                return -1;
        }
    }
    return 0;
}

int table_set_list(const struct table_row *row, char *member, bool replace, struct str value,
                   char *err, size_t errcap)
{
    char before[TABLE_LIST_MAX];
    int rc;

    memcpy(before, member, row->size);
    if (replace)
        memset(member, 0, row->size);
    rc = row->type == TABLE_LINES ? table_add_entry(row, member, value, err, errcap)
                                  : add_entries(row, member, value, err, errcap);
    if (rc == -1)
        memcpy(member, before, row->size);
    return rc;
}
