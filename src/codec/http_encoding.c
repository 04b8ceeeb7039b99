/* codec/http_encoding.c - what Accept-Encoding wants (RFC 9110 §12.5.3). */
#include "http_internal.h"

/* Splits "gzip;q=0.5". The weight in thousandths, or -1: malformed. */
static int encoding_split(struct str element, struct str *coding)
{
    size_t semicolon = str_find(element, ';');
    struct str rest = str_skip(element, semicolon), name, value;
    unsigned weight = 1000;
    int rc;

    *coding = str_trim((struct str){element.p, semicolon});
    while ((rc = http_param_next(&rest, &name, &value)) > 0) {
        if (!str_equal_nocase(name, STR_LIT("q")) || http_read_weight(value, &weight) == -1)
            return -1;
    }
    return rc < 0 ? -1 : (int)weight;
}

static bool names_gzip(struct str coding)
{
    return str_equal_nocase(coding, STR_LIT("gzip")) || str_equal_nocase(coding, STR_LIT("x-gzip"));
}

bool http_wants_gzip(const struct http_request *r)
{
    int gzip = -1, any = -1, identity = -1;

    for (size_t i = 0; i < r->nfields; i++) {
        struct str rest = r->fields[i].value, element, coding;

        if (!str_equal_nocase(r->fields[i].name, STR_LIT("Accept-Encoding")))
            continue;
        while (http_list_next(&rest, &element)) {
            int weight = encoding_split(element, &coding);

            if (weight == -1)
                continue;
            if (names_gzip(coding))
                gzip = MAX(gzip, weight);
            else if (str_equal(coding, STR_LIT("*")))
                any = weight;
            else if (str_equal_nocase(coding, STR_LIT("identity")))
                identity = weight;
        }
    }
    if (gzip == -1)
        gzip = any;
    return gzip > 0 && gzip >= identity;
}
