/* codec/tags_filter.h - which publications a subscriber wants, by their tags: a FilterNode of the
 * Centrifuge protocol.
 *
 * A node compares one tag (op "": cmp is eq neq in nin ex nex sw ew ct lt lte gt gte), or combines
 * nodes (and, or, not). It is checked and made a flat program once; a match then allocates nothing
 * and takes at most one step for each node. lt, lte, gt and gte compare decimal numbers of any
 * length; where either is none, they are false. Of a tag that is not there only nex, neq and nin are
 * true. */
#ifndef ROOST_CODEC_TAGS_FILTER_H
#define ROOST_CODEC_TAGS_FILTER_H

#include "codec/centrifuge.h"

#define TAGS_FILTER_NODES_MAX  64   /* comparisons and combinations */
#define TAGS_FILTER_DEPTH_MAX  16   /* of combinations within each other */
#define TAGS_FILTER_VALUES_MAX 256  /* of all in and nin */
#define TAGS_FILTER_BYTES_MAX  8192 /* of all keys and values */

struct tags_filter; /* owned by whoever made it; immutable */

/* node: cf_subscribe_request.tf. 0; CF_MALFORMED: not a filter, or one beyond the limits;
 * CF_NO_MEMORY. */
int tags_filter_new(enum cf_encoding e, struct str node, struct tags_filter **out) MUST_CHECK;
void tags_filter_free(struct tags_filter *f);
/* Bytes of memory it holds. */
size_t tags_filter_size(const struct tags_filter *f);

/* The tags of one publication, read once for all subscribers. Zeroed before the first use. */
struct tags {
    struct tag {
        struct str key, value;
    } * list;
    size_t n, cap;
    struct buf text;
};
/* in: as cf_publication.tags, which may be absent; borrowed until the next call. 0, or enum
 * cf_failure: then there are none. */
int tags_read(struct tags *t, enum cf_encoding e, struct str in) MUST_CHECK;
void tags_fini(struct tags *t);
bool tags_filter_match(const struct tags_filter *f, const struct tags *t);

#endif
