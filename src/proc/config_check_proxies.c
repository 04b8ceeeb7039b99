/* proc/config_check_proxies.c - who may say on whose behalf it comes. */
#include "config_internal.h"

#define IPV4_BITS 96 /* before those of the address: 0.0.0.0/0 has no more */

int config_check_proxies(const struct config *c, struct buf *errors)
{
    struct str rest = str_from(c->trusted_proxies), one;
    struct network n;
    char err[200];
    int bad = 0;

    while (rest.n > 0 && str_cut(&rest, '\n', &one)) {
        if (str_equal(one, STR_LIT("unix:")) || network_parse(one, &n, err, sizeof(err)) == 0)
            continue;
        config_report(errors, "trusted_proxies", err);
        bad++;
    }
    return bad;
}

int config_warn_proxies(const struct config *c, struct buf *lines)
{
    for (uint32_t i = 0; i < c->trusted.n; i++)
        if (c->trusted.items[i].bits == 0 || c->trusted.items[i].bits == IPV4_BITS)
            return buf_append_lit(lines,
                                  "trusted_proxies: everybody is trusted, so clients may say "
                                  "that they are whoever they like\n");
    return 0;
}
