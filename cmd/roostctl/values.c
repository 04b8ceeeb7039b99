/* values.c - what the values of options may be. */
#include "values.h"

#include "base/network.h"
#include "base/suggest.h"
#include "base/units.h"
#include "proc/drain.h"

#define WORDS_TOLD 16 /* more are too many for a sentence */

static const char *const sorts[] = {"queued", "age", "idle", "in", "out"};
static const char *const protocols[] = {
#define WS_SESSION(NAME, name, label) label,
#define SPOKEN(name, label)           label,
#include "tbl/protocols.def"
};
static const char *const states[] = {
#define X(NAME, label, gauge, deadline, takes, successors) label,
#include "tbl/states.def"
#undef X
};
static const char *const reasons[] = {
#define X(NAME, code, status, label, use, text, setting, fix) label,
#include "tbl/close.def"
#undef X
};

static int expected(const char *what, const char *text, struct buf *error)
{
    if (buf_printf(error, "expected %s, got \"%.60s\"", what, text) == -1)
        buf_clear(error);
    return -1;
}

/* "a, b or c"; of very many the nearest. */
static int expected_word(const char *const *words, size_t n, const char *text, struct buf *error)
{
    char what[256];
    size_t len = 0;
    struct suggest s;

    suggest_init(&s, str_from(text));
    for (size_t i = 0; i < n; i++)
        suggest_offer(&s, words[i]);
    if (n > WORDS_TOLD)
        snprintf(what, sizeof(what), "one of those in deploy/METRICS.md%s%s",
                 s.nearest != NULL ? ", such as " : "", s.nearest != NULL ? s.nearest : "");
    else
        for (size_t i = 0; i < n && len < sizeof(what); i++)
            len += (size_t)snprintf(what + len, sizeof(what) - len, "%s%s",
                                    i == 0      ? ""
                                    : i + 1 < n ? ", "
                                                : " or ",
                                    words[i]);
    return expected(what, text, error);
}

static int check_word(const char *const *words, size_t n, const char *text, struct buf *error)
{
    for (size_t i = 0; i < n; i++)
        if (str_equal(str_from(words[i]), str_from(text)))
            return 0;
    return expected_word(words, n, text, error);
}

static bool is_count(const char *text, uint64_t least)
{
    uint64_t n;

    return str_to_u64(str_from(text), &n) == 0 && n >= least;
}

static bool is_time(const char *text)
{
    int64_t ns;

    return units_parse_duration(str_from(text), &ns) == 0 && ns >= 0 && ns <= DRAIN_TIME_MAX_NS;
}

static bool is_network(const char *text)
{
    struct network network;
    char err[128];

    return network_parse(str_from(text), &network, err, sizeof(err)) == 0;
}

static bool is_conn(const char *text, bool whole)
{
    struct str rest = str_from(text), worker;
    bool has_worker = str_find(rest, ':') < rest.n;
    uint64_t n;

    if (has_worker && (!str_cut(&rest, ':', &worker) || str_to_u64(worker, &n) == -1))
        return false;
    return (has_worker || !whole) && str_to_u64(rest, &n) == 0;
}

int values_check(enum value_kind kind, const char *text, struct buf *error)
{
    switch (kind) {
    case VALUE_TEXT:
        return text[0] != '\0' ? 0 : expected("some text", text, error);
    case VALUE_COUNT:
        return is_count(text, 0) ? 0 : expected("a whole number", text, error);
    case VALUE_POSITIVE:
        return is_count(text, 1) ? 0 : expected("a whole number above 0", text, error);
    case VALUE_TIME:
        return is_time(text)
                   ? 0
                   : expected("a time up to " DRAIN_TIME_MAX ", such as 30s or 5m", text, error);
    case VALUE_NETWORK:
        return is_network(text)
                   ? 0
                   : expected("an address or a network, such as 10.0.0.0/8", text, error);
    case VALUE_FROM:
        return str_find(str_from(text), '/') == strlen(text) || is_network(text)
                   ? 0
                   : expected("an address, a network, or how an address begins", text, error);
    case VALUE_CONN:
        return is_conn(text, true) ? 0 : expected("W:ID, as roostctl conns says it", text, error);
    case VALUE_CONN_ANY:
        return is_conn(text, false) ? 0 : expected("W:ID, as roostctl conns says it", text, error);
    case VALUE_SORT:
        return check_word(sorts, ARRAY_LEN(sorts), text, error);
    case VALUE_PROTOCOL:
        return check_word(protocols, ARRAY_LEN(protocols), text, error);
    case VALUE_STATE:
        return check_word(states, ARRAY_LEN(states), text, error);
    case VALUE_REASON:
        return check_word(reasons, ARRAY_LEN(reasons), text, error);
    case VALUE_ANY:
    default:
        return 0;
    }
}
