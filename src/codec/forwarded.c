#include "codec/forwarded.h"

#include "http_internal.h"

static const struct str names[FORWARDED_NR] = {
    [FORWARDED_X_FORWARDED_FOR] = {.p = "X-Forwarded-For", .n = 15},
    [FORWARDED_RFC_7239] = {.p = "Forwarded", .n = 9},
};

bool forwarded_said(const struct http_request *r, enum forwarded_field field)
{
    return http_field_get(r, names[field], NULL).p != NULL;
}

/* What stands between a node's quotes may be escaped, which nothing of an address has to be. */
static struct str element_node(struct str pairs, int *rc)
{
    struct str node = STR_NULL, name, value;

    *rc = http_pair_next(&pairs, &name, &value);
    while (*rc > 0) {
        if (name.n > 0 && value.p == NULL) {
            *rc = -1;
            break;
        }
        if (str_equal_nocase(name, STR_LIT("for"))) {
            if (node.p != NULL) { /* RFC 7239 §4: not more than once */
                *rc = -1;
                break;
            }
            node = value;
        }
        *rc = http_param_next(&pairs, &name, &value);
    }
    return node;
}

struct walk { /* from left to right, with what a walk from right to left would find */
    const struct networks *trusted;
    struct forwarded_client client; /* of what has been seen so far */
    bool known;
};

static void walk_step(struct walk *w, struct str node)
{
    struct forwarded_client c;

    if (ip_parse_port(node, c.address, &c.port) == -1) {
        w->known = false;
    } else if (!w->known || !networks_have(w->trusted, c.address)) {
        w->client = c;
        w->known = true;
    } /* else a proxy, and it was asked by whoever stands left of it */
}

/* X-Forwarded-For knows no quotes: one that a client sends must not hide what stands behind it. */
static bool next_element(struct str *rest, struct str *element, enum forwarded_field field)
{
    if (field == FORWARDED_RFC_7239)
        return http_list_next(rest, element);
    while (rest->p != NULL && str_cut(rest, ',', element)) {
        *element = str_trim(*element);
        if (element->n > 0)
            return true;
    }
    return false;
}

static int walk_line(struct walk *w, struct str rest, enum forwarded_field field)
{
    struct str element;
    int rc = 0;

    while (rc == 0 && next_element(&rest, &element, field))
        walk_step(w, field == FORWARDED_RFC_7239 ? element_node(element, &rc) : element);
    return rc;
}

int forwarded_client(const struct http_request *r, enum forwarded_field field,
                     const struct networks *trusted, struct forwarded_client *out)
{
    struct walk w = {.trusted = trusted};

    for (size_t i = 0; i < r->nfields; i++)
        if (str_equal_nocase(r->fields[i].name, names[field]) &&
            walk_line(&w, r->fields[i].value, field) == -1)
            return -1;
    *out = w.client;
    return w.known ? 1 : 0;
}
