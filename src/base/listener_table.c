/* base/listener_table.c - the rows of tbl/listeners.def, and what goes together. */
#include "base/listener_table.h"

#include "base/network.h"

#define UNIX_PREFIX   "unix:"
#define PASSED_PREFIX "fd:"

static const struct table_row rows[] = {
#define X(name_, type_, def_, min_, max_, reload_, sentence_)                                      \
    {.name = #name_,                                                                               \
     .type = TABLE_##type_,                                                                        \
     .def = def_,                                                                                  \
     .min = min_,                                                                                  \
     .max = max_,                                                                                  \
     .change = TABLE_##reload_,                                                                    \
     .sentence = sentence_,                                                                        \
     .paragraph = "",                                                                              \
     .offset = offsetof(struct listener_options, name_),                                           \
     .size = sizeof(((struct listener_options *)0)->name_)},
#include "tbl/listeners.def"
#undef X
};

bool listener_is_unix(const struct listener_options *o)
{
    return str_starts_with(str_from(o->address), STR_LIT(UNIX_PREFIX));
}

struct str listener_passed(const struct listener_options *o)
{
    struct str address = str_from(o->address), prefix = STR_LIT(PASSED_PREFIX);

    return str_starts_with(address, prefix) ? str_skip(address, prefix.n) : STR_NULL;
}

static size_t entries(const char *list)
{
    size_t n = list[0] != '\0';

    for (; *list != '\0'; list++)
        n += *list == '\n';
    return n;
}

/* It becomes a label of metrics. */
static const char *wrong_name(const struct listener_options *o)
{
    for (const char *p = o->name; *p != '\0'; p++)
        if (!((*p >= '0' && *p <= '9') || ((*p | 0x20) >= 'a' && (*p | 0x20) <= 'z') || *p == '-' ||
              *p == '_' || *p == '.'))
            return "name: letters, digits and the characters - _ . are possible";
    return NULL;
}

static const char *wrong_socket(const struct listener_options *o)
{
    for (const char *p = o->mode; *p != '\0'; p++)
        if (*p < '0' || *p > '7')
            return "mode: three or four octal digits are possible, such as 0660";
    if (o->mode[3] != '\0' && o->mode[0] != '0')
        return "mode: a socket has no set-id or sticky bits; write it such as 0660";
    if (!listener_is_unix(o) && (o->owner[0] != '\0' || o->group[0] != '\0'))
        return "owner and group: only a UNIX socket of the daemon's own has them";
    if (listener_is_unix(o) && o->allow[0] != '\0')
        return "allow: who may connect to a UNIX socket, its mode, owner and group say";
    if (o->ipv6_only && (o->address[0] != '[' && o->address[0] != ':'))
        return "ipv6_only: the address is not IPv6";
    return NULL;
}

static int check_allow(const struct listener_options *o, char *err, size_t errcap)
{
    struct str rest = str_from(o->allow), one;
    struct network n;
    char text[160];

    while (rest.n > 0 && str_cut(&rest, '\n', &one)) {
        if (network_parse(one, &n, text, sizeof(text)) == 0)
            continue;
        snprintf(err, errcap, "allow: %s", text);
        return -1;
    }
    return 0;
}

static const char *wrong_tls(const struct listener_options *o)
{
    if (entries(o->tls_certificate) != entries(o->tls_key))
        return "tls_certificate and tls_key: each certificate needs its key, in the same order";
    if (entries(o->tls_ocsp) > entries(o->tls_certificate))
        return "tls_ocsp: there are more than certificates";
    if (!listener_has_tls(o) && o->tls_client_certificates != (int)LISTENER_CERTIFICATES_OFF)
        return "tls_client_certificates: it needs tls_certificate and tls_key";
    if ((o->tls_client_certificates == (int)LISTENER_CERTIFICATES_OFF) !=
        (o->tls_client_ca[0] == '\0'))
        return "tls_client_certificates and tls_client_ca: one does nothing without the other";
    return NULL;
}

static int check(const void *obj, char *err, size_t errcap)
{
    static const char *(*const wrong[])(const struct listener_options *) = {
        wrong_name, wrong_socket, wrong_tls};

    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        const char *sentence = wrong[i](obj);

        if (sentence != NULL) {
            snprintf(err, errcap, "%s", sentence);
            return -1;
        }
    }
    return check_allow(obj, err, errcap);
}

const struct table listener_table = {.rows = rows,
                                     .n = ARRAY_LEN(rows),
                                     .size = sizeof(struct listener_options),
                                     .set = TABLE_NO_SET,
                                     .check = check,
                                     .help = "deploy/CONFIGURATION.md lists the options of "
                                             "listeners"};
