/* codec/centrifuge/tags_filter.c - filters as flat programs. */
#include "codec/tags_filter.h"

enum operand { NONE, ONE, MANY };
enum node_kind {
    NODE_AND = 0,
    NODE_OR,
    NODE_NOT,
#define X(NAME, text, operand) NODE_##NAME,
#include "tbl/tags_filter.def"
#undef X
    NODE_KIND_NR
};

static const struct {
    struct str text;
    enum operand operand;
} comparisons[NODE_KIND_NR] = {
#define X(NAME, text_, operand_)                                                                   \
    [NODE_##NAME] = {.text = {text_, sizeof(text_) - 1}, .operand = operand_},
#include "tbl/tags_filter.def"
#undef X
};

struct piece { /* of the bytes */
    uint16_t at, n;
};
/* A node stands before the nodes in it. */
struct node {
    uint8_t kind;           /* enum node_kind */
    uint8_t end;            /* place of the first node behind it and all in it */
    uint16_t first, values; /* its values */
    struct piece key;
};
struct tags_filter {
    uint16_t nodes, values, bytes;
    struct node node[]; /* then values, then bytes */
};

_Static_assert(TAGS_FILTER_NODES_MAX <= UINT8_MAX && TAGS_FILTER_BYTES_MAX <= UINT16_MAX,
               "struct node has room for them");

/* ---- making ---- */

struct maker {
    enum cf_encoding encoding;
    struct buf text; /* of the node that is being read */
    uint16_t nodes, values, bytes;
    struct node node[TAGS_FILTER_NODES_MAX];
    struct piece value[TAGS_FILTER_VALUES_MAX];
    char byte[TAGS_FILTER_BYTES_MAX];
};

static int keep(struct maker *m, struct str s, struct piece *out)
{
    if (s.n > (size_t)TAGS_FILTER_BYTES_MAX - m->bytes)
        return CF_MALFORMED;
    *out = (struct piece){.at = m->bytes, .n = (uint16_t)s.n};
    if (s.n > 0)
        memcpy(m->byte + m->bytes, s.p, s.n);
    m->bytes = (uint16_t)(m->bytes + s.n);
    return 0;
}

static int keep_value(struct maker *m, struct node *n, struct str s)
{
    if (m->values == TAGS_FILTER_VALUES_MAX)
        return CF_MALFORMED;
    n->values++;
    return keep(m, s, &m->value[m->values++]);
}

/* vals, which only MANY may have, and must. */
static int keep_values(struct maker *m, struct node *n, struct str vals)
{
    bool many = comparisons[n->kind].operand == MANY;
    struct str value;
    int rc;

    while ((rc = cf_each_filter_node_vals(m->encoding, &vals, &m->text, &value)) > 0) {
        if (!many || keep_value(m, n, value) < 0)
            return CF_MALFORMED;
    }
    return rc == 0 && many && n->values == 0 ? CF_MALFORMED : rc;
}

static int make_comparison(struct maker *m, struct node *n, const struct cf_filter_node *in)
{
    enum operand operand;
    int rc;

    for (n->kind = NODE_NOT + 1; n->kind < NODE_KIND_NR; n->kind++) {
        if (str_equal(in->cmp, comparisons[n->kind].text))
            break;
    }
    if (n->kind == NODE_KIND_NR)
        return CF_MALFORMED;
    operand = comparisons[n->kind].operand;
    if ((in->val.n > 0) != (operand == ONE) || (in->key.n == 0 && operand != NONE))
        return CF_MALFORMED;
    n->first = m->values;
    rc = keep(m, in->key, &n->key);
    if (rc == 0 && operand == ONE)
        rc = keep_value(m, n, in->val);
    return rc < 0 ? rc : keep_values(m, n, in->vals); /* last, as it takes the text's place */
}

static int make_node(struct maker *m, struct str in, unsigned depth);

static int make_nodes(struct maker *m, struct str nodes, unsigned depth, unsigned *n)
{
    struct str in;
    int rc;

    *n = 0;
    while ((rc = cf_each_filter_node_nodes(m->encoding, &nodes, &m->text, &in)) > 0) {
        rc = make_node(m, in, depth);
        if (rc < 0)
            return rc;
        (*n)++;
    }
    return rc;
}

/* Calls itself at most TAGS_FILTER_DEPTH_MAX times. */
static int make_node(struct maker *m, struct str in, unsigned depth)
{
    struct cf_filter_node node;
    struct node *n;
    unsigned inner;
    int rc;

    if (depth == TAGS_FILTER_DEPTH_MAX || m->nodes == TAGS_FILTER_NODES_MAX)
        return CF_MALFORMED;
    rc = cf_decode_filter_node(m->encoding, in, &m->text, &node);
    if (rc < 0)
        return rc;
    n = &m->node[m->nodes++];
    *n = (struct node){0};
    if (node.op.n == 0) {
        rc = make_comparison(m, n, &node);
    } else {
        if (str_equal(node.op, STR_LIT("and")))
            n->kind = NODE_AND;
        else if (str_equal(node.op, STR_LIT("or")))
            n->kind = NODE_OR;
        else if (str_equal(node.op, STR_LIT("not")))
            n->kind = NODE_NOT;
        else
            return CF_MALFORMED;
        rc = make_nodes(m, node.nodes, depth + 1, &inner);
        if (rc == 0 && (inner == 0 || (n->kind == NODE_NOT && inner > 1)))
            rc = CF_MALFORMED;
    }
    n->end = (uint8_t)m->nodes;
    return rc;
}

static struct piece *values_of(const struct tags_filter *f)
{
    return (struct piece *)(void *)(uintptr_t)(f->node + f->nodes);
}

static char *bytes_of(const struct tags_filter *f)
{
    return (char *)(values_of(f) + f->values);
}

size_t tags_filter_size(const struct tags_filter *f)
{
    return sizeof(*f) + f->nodes * sizeof(struct node) + f->values * sizeof(struct piece) +
           f->bytes;
}

static struct tags_filter *pack(const struct maker *m)
{
    struct tags_filter head = {.nodes = m->nodes, .values = m->values, .bytes = m->bytes},
                       *f = malloc(tags_filter_size(&head));

    if (f == NULL)
        return NULL;
    *f = head;
    memcpy(f->node, m->node, m->nodes * sizeof(struct node));
    memcpy(values_of(f), m->value, m->values * sizeof(struct piece));
    memcpy(bytes_of(f), m->byte, m->bytes);
    return f;
}

int tags_filter_new(enum cf_encoding e, struct str node, struct tags_filter **out)
{
    struct maker m; /* some 12 KiB, of which only what is used is touched */
    int rc;

    m.encoding = e;
    m.text = (struct buf){0};
    m.nodes = m.values = m.bytes = 0;
    rc = make_node(&m, node, 0);
    buf_fini(&m.text);
    if (rc < 0)
        return rc;
    *out = pack(&m);
    return *out != NULL ? 0 : CF_NO_MEMORY;
}

void tags_filter_free(struct tags_filter *f)
{
    free(f);
}

/* The last one with that key counts. */
static bool find_tag(const struct tags *t, struct str key, struct str *value)
{
    *value = STR_LIT("");
    for (size_t i = t->n; i > 0; i--) {
        if (str_equal(t->list[i - 1].key, key)) {
            *value = t->list[i - 1].value;
            return true;
        }
    }
    return false;
}

/* ---- numbers ---- */

struct decimal {
    bool negative;
    struct str whole, fraction; /* without zeros at their outer ends */
};

static struct str take_digits(struct str *rest)
{
    size_t n = 0;
    struct str digits;

    while (n < rest->n && rest->p[n] >= '0' && rest->p[n] <= '9')
        n++;
    digits = (struct str){.p = rest->p, .n = n};
    *rest = str_skip(*rest, n);
    return digits;
}

static bool read_decimal(struct str s, struct decimal *out)
{
    *out = (struct decimal){0};
    if (s.n > 0 && (*s.p == '-' || *s.p == '+')) {
        out->negative = *s.p == '-';
        s = str_skip(s, 1);
    }
    out->whole = take_digits(&s);
    if (out->whole.n == 0)
        return false;
    if (s.n > 0 && *s.p == '.') {
        s = str_skip(s, 1);
        out->fraction = take_digits(&s);
        if (out->fraction.n == 0)
            return false;
    }
    while (out->whole.n > 0 && *out->whole.p == '0')
        out->whole = str_skip(out->whole, 1);
    while (out->fraction.n > 0 && out->fraction.p[out->fraction.n - 1] == '0')
        out->fraction.n--;
    if (out->whole.n == 0 && out->fraction.n == 0)
        out->negative = false; /* there is one zero only */
    return s.n == 0;
}

static int compare_text(struct str a, struct str b)
{
    size_t n = MIN(a.n, b.n);
    int rc = n > 0 ? memcmp(a.p, b.p, n) : 0;

    return rc != 0 ? rc : (a.n > b.n) - (a.n < b.n);
}

static int compare_decimals(const struct decimal *a, const struct decimal *b)
{
    int rc;

    if (a->negative != b->negative)
        return a->negative ? -1 : 1;
    rc = (a->whole.n > b->whole.n) - (a->whole.n < b->whole.n);
    if (rc == 0)
        rc = compare_text(a->whole, b->whole);
    if (rc == 0)
        rc = compare_text(a->fraction, b->fraction);
    return a->negative ? -rc : rc;
}

static bool match_number(enum node_kind kind, struct str value, struct str bound)
{
    struct decimal a, b;
    int rc;

    if (!read_decimal(value, &a) || !read_decimal(bound, &b))
        return false;
    rc = compare_decimals(&a, &b);
    if (kind == NODE_LT || kind == NODE_GT)
        return kind == NODE_LT ? rc < 0 : rc > 0;
    return kind == NODE_LTE ? rc <= 0 : rc >= 0;
}

/* ---- matching ---- */

static struct str text_at(const struct tags_filter *f, struct piece p)
{
    return (struct str){.p = bytes_of(f) + p.at, .n = p.n};
}

static struct str value_at(const struct tags_filter *f, unsigned i)
{
    return text_at(f, values_of(f)[i]);
}

static bool is_among(const struct tags_filter *f, const struct node *n, struct str value)
{
    for (unsigned i = n->first; i < n->first + (unsigned)n->values; i++) {
        if (str_equal(value, value_at(f, i)))
            return true;
    }
    return false;
}

static bool ends_with(struct str s, struct str end)
{
    return s.n >= end.n && str_equal(str_skip(s, s.n - end.n), end);
}

static bool contains(struct str s, struct str part)
{
    return s.n >= part.n && memmem(s.p, s.n, part.p, part.n) != NULL;
}

static bool match_comparison(const struct tags_filter *f, const struct node *n,
                             const struct tags *t)
{
    struct str value, operand = STR_LIT("");
    bool there = find_tag(t, text_at(f, n->key), &value);

    if (comparisons[n->kind].operand == ONE)
        operand = value_at(f, n->first);
    switch ((enum node_kind)n->kind) {
    case NODE_EQ:
        return there && str_equal(value, operand);
    case NODE_NEQ:
        return !there || !str_equal(value, operand);
    case NODE_IN:
        return is_among(f, n, value);
    case NODE_NIN:
        return !is_among(f, n, value);
    case NODE_EX:
        return there;
    case NODE_NEX:
        return !there;
    case NODE_SW:
        return there && str_starts_with(value, operand);
    case NODE_EW:
        return there && ends_with(value, operand);
    case NODE_CT:
        return there && contains(value, operand);
    case NODE_LT:
    case NODE_LTE:
    case NODE_GT:
    case NODE_GTE:
        return there && match_number((enum node_kind)n->kind, value, operand);
    case NODE_AND:
    case NODE_OR:
    case NODE_NOT:
    case NODE_KIND_NR:
        break;
    }
    return false;
}

/* Calls itself at most TAGS_FILTER_DEPTH_MAX times. */
static bool match_node(const struct tags_filter *f, unsigned at, const struct tags *t)
{
    const struct node *n = &f->node[at];

    if (n->kind > NODE_NOT)
        return match_comparison(f, n, t);
    if (n->kind == NODE_NOT)
        return !match_node(f, at + 1, t);
    for (unsigned i = at + 1; i < n->end; i = f->node[i].end) {
        if (match_node(f, i, t) == (n->kind == NODE_OR))
            return n->kind == NODE_OR;
    }
    return n->kind == NODE_AND;
}

bool tags_filter_match(const struct tags_filter *f, const struct tags *t)
{
    return match_node(f, 0, t);
}
