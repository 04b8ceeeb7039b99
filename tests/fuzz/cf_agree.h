/* cf_agree.h - what has to hold of any frame of the Centrifuge protocol, for both fuzz targets.
 *
 * What is read and written again is read as the same, in the same encoding and in the other one (but
 * for lists, which stay as they are); items of lists can be read, and written one by one they are the
 * same list; views lie within the frame or in the text. */
#ifndef CF_AGREE_H
#define CF_AGREE_H

#include "codec/centrifuge.h"
#include "tests/fuzz/fuzz.h"

/* One message of every kind that is read. */
union cf_any {
    struct cf_command command;
    struct cf_reply reply;
    struct cf_push push;
};
struct cf_way {
    int (*next)(struct cf_input *in, void *out);
    int (*encode)(enum cf_encoding e, const void *m, struct buf *out);
    void (*without_lists)(void *m);
};

#define WAY(name)                                                                                  \
    static int next_##name(struct cf_input *in, void *out)                                         \
    {                                                                                              \
        return cf_next_##name(in, out);                                                            \
    }                                                                                              \
    static int encode_##name(enum cf_encoding e, const void *m, struct buf *out)                   \
    {                                                                                              \
        return cf_encode_##name(e, m, out);                                                        \
    }
WAY(command)
WAY(reply)
WAY(push)
#undef WAY

static inline void push_without_lists(void *m)
{
    struct cf_push *p = m;

    p->pub.tags = p->connect.subs = STR_NULL;
}

static inline void command_without_lists(void *m)
{
    struct cf_command *c = m;

    c->connect.subs = c->connect.headers = c->subscribe.tf = STR_NULL;
}

static inline void reply_without_lists(void *m)
{
    struct cf_reply *r = m;

    push_without_lists(&r->push);
    r->connect.subs = r->subscribe.publications = STR_NULL;
    r->presence.presence = r->history.publications = STR_NULL;
}

/* Written, read, written: the same. *text stays for what is read. */
static inline void cf_again(const struct cf_way *way, enum cf_encoding e, const void *m,
                            union cf_any *back, struct buf *text, struct buf *out)
{
    struct buf second = {0};
    struct cf_input in;

    buf_clear(out);
    REQUIRE(way->encode(e, m, out) == 0);
    cf_input_init(&in, e, buf_view(out), text);
    REQUIRE(way->next(&in, back) == 1);
    REQUIRE(way->encode(e, back, &second) == 0);
    REQUIRE(str_equal(buf_view(out), buf_view(&second)));
    REQUIRE(way->next(&in, &(union cf_any){0}) == 0);
    buf_fini(&second);
}

static inline void cf_check_ways(const struct cf_way *way, enum cf_encoding e, union cf_any *m)
{
    struct buf text = {0}, other_text = {0}, out = {0}, other = {0}, third = {0};
    union cf_any back, there;

    cf_again(way, e, m, &back, &text, &out);
    way->without_lists(m);
    cf_again(way, e, m, &back, &text, &out);
    /* There and back again. */
    cf_again(way, !e, m, &there, &other_text, &other);
    REQUIRE(way->encode(e, &there, &third) == 0);
    REQUIRE(str_equal(buf_view(&out), buf_view(&third)));
    buf_fini(&text);
    buf_fini(&other_text);
    buf_fini(&out);
    buf_fini(&other);
    buf_fini(&third);
}

/* Items as they are, written one by one, are the same items. */
static inline void cf_check_subs(enum cf_encoding e, struct str subs)
{
    struct buf list = {0}, again = {0}, text = {0};
    struct cf_subscribe_request r;
    struct str rest = subs, key;
    struct cf_items items;
    size_t n = 0;
    int rc;

    cf_items_begin(&items, e, &list);
    while ((rc = cf_each_connect_request_subs(e, &rest, &text, &key, &r)) > 0) {
        REQUIRE(cf_add_connect_request_subs(&items, key, &r) == 0);
        n++;
    }
    REQUIRE(rc == 0 && cf_items_end(&items) == 0);
    cf_items_begin(&items, e, &again);
    for (rest = buf_view(&list); cf_each_connect_request_subs(e, &rest, &text, &key, &r) > 0; n--)
        REQUIRE(cf_add_connect_request_subs(&items, key, &r) == 0);
    REQUIRE(n == 0 && cf_items_end(&items) == 0);
    REQUIRE(str_equal(buf_view(&list), buf_view(&again)));
    buf_fini(&list);
    buf_fini(&again);
    buf_fini(&text);
}

static inline void cf_check_publications(enum cf_encoding e, struct str publications)
{
    struct buf text = {0}, tag_text = {0};
    struct cf_publication p;
    struct str rest = publications, tags, key, value;
    int rc;

    while ((rc = cf_each_history_result_publications(e, &rest, &text, &p)) > 0) {
        for (tags = p.tags; (rc = cf_each_publication_tags(e, &tags, &tag_text, &key, &value)) > 0;)
            ;
        REQUIRE(rc == 0);
    }
    REQUIRE(rc == 0);
    buf_fini(&text);
    buf_fini(&tag_text);
}

/* ways: of a command, a reply, a push. */
static inline void cf_check_frame(const struct cf_way ways[3], enum cf_encoding e, struct str frame)
{
    struct buf text = {0};

    for (size_t w = 0; w < 3; w++) {
        struct cf_input in;
        union cf_any m;
        int rc;

        cf_input_init(&in, e, frame, &text);
        while ((rc = ways[w].next(&in, &m)) > 0) {
            if (w == 0)
                cf_check_subs(e, m.command.connect.subs);
            if (w == 1)
                cf_check_publications(e, m.reply.history.publications);
            cf_check_ways(&ways[w], e, &m);
        }
        REQUIRE(rc == 0 || rc == CF_MALFORMED);
        /* No more than what is escaped. */
        REQUIRE(e == CF_JSON ? text.cap <= MAX(frame.n, 64) * 2 : text.cap == 0);
    }
    buf_fini(&text);
}

#endif
