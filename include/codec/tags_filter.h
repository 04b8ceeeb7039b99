/* codec/tags_filter.h - which publications a subscriber wants, by their tags: a FilterNode of the
 * Centrifuge protocol.
 *
 * A node compares one tag (op is empty, cmp a row of tbl/tags_filter.def), or combines others: and,
 * or, not. It is checked and made a flat program once; a match allocates nothing and takes at most
 * one step for each node. lt, lte, gt, gte compare decimal numbers of any length (a sign, digits, a
 * point and digits) and are false where either is none. Of a tag that is missing only neq and nex are
 * true; to in and nin it is an empty one.
 *
 * Refused, as Centrifugo does: an unknown op or cmp; a comparison without a key (but ex, nex), or with
 * another operand than it needs, or an empty one; and, or without nodes, not with other than one.
 * Refused beyond that: what exceeds the limits below.
 *
 * The code is centrifuge/tags_filter.c. */
#ifndef ROOST_CODEC_TAGS_FILTER_H
#define ROOST_CODEC_TAGS_FILTER_H

#include "codec/centrifuge.h"

#define TAGS_FILTER_NODES_MAX  64   /* comparisons and combinations */
#define TAGS_FILTER_DEPTH_MAX  16   /* of nodes within each other */
#define TAGS_FILTER_VALUES_MAX 256  /* of all comparisons */
#define TAGS_FILTER_BYTES_MAX  8192 /* of all keys and values */

struct tags_filter; /* owned by whoever made it; immutable */

/* node: cf_subscribe_request.tf. 0; CF_MALFORMED: refused; CF_NO_MEMORY. */
int tags_filter_new(enum cf_encoding e, struct str node, struct tags_filter **out) MUST_CHECK;
void tags_filter_free(struct tags_filter *f);
/* Bytes of memory it takes. */
size_t tags_filter_size(const struct tags_filter *f);

struct tag {
    struct str key, value;
};
/* The tags of one publication, read once for all subscribers; of two with the same key the last one
 * counts. */
struct tags {
    struct tag *list; /* owned by whoever reads them */
    size_t n, cap;
};
bool tags_filter_match(const struct tags_filter *f, const struct tags *t);

#endif
