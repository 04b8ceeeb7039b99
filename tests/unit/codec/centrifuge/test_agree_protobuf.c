/* codec/centrifuge against protobuf-c, which is made from agree.proto: random commands and replies are
 * the same bytes, and what Roost takes of broken ones protobuf-c reads in the same way. */
#include "cf_random.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#include "agree.pb-c.c"
#pragma GCC diagnostic pop

static struct buf store; /* of the texts and lists of a message; reserved, so that none moves */

static struct str stored(const char *p, size_t n)
{
    size_t at = store.len;

    assert_true(store.cap - store.len >= n); /* of the reserve */
    assert_int_equal(buf_append(&store, (struct str){p, n}), 0);
    return (struct str){store.p + at, n};
}

static struct str random_text(void)
{
    static const char *const pieces[] = {"a", "Z", "\"", "\n", "\xc3\xa9", "\xf0\x9f\x98\x80", " "};
    char text[64];
    size_t n = 0;

    for (uint32_t i = random_below(6); i > 0; i--) {
        const char *p = pieces[random_below(ARRAY_LEN(pieces))];

        memcpy(text + n, p, strlen(p));
        n += strlen(p);
    }
    return stored(text, n);
}

static void random_message(enum cf_message m, void *out, unsigned depth);

/* Some items, written by the function under test: they have to be read by the other side. */
static struct str random_items(const struct cf_field *f, unsigned depth)
{
    struct buf b = {0};
    struct str s;

    for (uint32_t i = random_below(3); i > 0; i--) {
        struct cf_writer w = {.out = &b};
        union cf_item item;
        struct str key = random_text();
        bool message = cf_item_kind(f) == CF_MESSAGE_OF;
        size_t n, entry;

        if (message)
            random_message((enum cf_message)f->of, &item, depth + 1);
        else
            item.text = random_text();
        n = message ? cf_protobuf_size((enum cf_message)f->of, &item) : item.text.n;
        entry = 2 + cf_varint_size(key.n) + key.n + cf_varint_size(n) + n;
        if (cf_is_map(f)) {
            assert_int_equal(cf_protobuf_put_head(&w, f->number, entry), 0);
            assert_int_equal(cf_protobuf_put_head(&w, 1, key.n), 0);
            assert_int_equal(cf_protobuf_put(&w, key), 0);
        }
        assert_int_equal(cf_protobuf_put_head(&w, cf_is_map(f) ? 2 : f->number, n), 0);
        if (message)
            assert_int_equal(cf_protobuf_write(&w, (enum cf_message)f->of, &item), 0);
        else
            assert_int_equal(cf_protobuf_put(&w, item.text), 0);
    }
    s = stored(b.p, b.len);
    buf_fini(&b);
    return s;
}

static void random_member(const struct cf_field *f, void *message, unsigned depth)
{
    void *member = cf_member(f, message);

    switch ((enum cf_kind)f->kind) {
    case CF_BOOL:
        *(bool *)member = random_below(2);
        break;
    case CF_U32:
    case CF_I32:
        *(uint32_t *)member = (uint32_t)random_number(32);
        break;
    case CF_U64:
    case CF_I64:
        *(uint64_t *)member = random_number(64);
        break;
    case CF_TEXT:
    case CF_RAW:
        *(struct str *)member = random_text();
        break;
    case CF_SPAN:
        *(struct str *)member = stored("\x12\1k\x2a\0", 5);
        break;
    case CF_MESSAGE_OF:
        *cf_has(f, message) = true;
        random_message((enum cf_message)f->of, member, depth + 1);
        break;
    case CF_LIST_OF:
    case CF_TEXTS_OF:
    case CF_SPANS_OF:
    case CF_MAP_OF:
    case CF_TEXT_MAP_OF:
        if (depth < 4)
            *(struct str *)member = random_items(f, depth);
        break;
    }
}

static void random_message(enum cf_message m, void *out, unsigned depth)
{
    cf_clear(m, out);
    for (unsigned i = cf_layouts[m].first; i < cf_layouts[m].end; i++) {
        if (random_below(3) == 0)
            random_member(&cf_fields[i], out, depth);
    }
}

/* Drops what the other side does not know, everywhere; how much there was. */
static unsigned drop_unknown(ProtobufCMessage *m)
{
    unsigned n = m->n_unknown_fields;

    for (unsigned i = 0; i < m->n_unknown_fields; i++)
        free(m->unknown_fields[i].data);
    free(m->unknown_fields);
    m->unknown_fields = NULL;
    m->n_unknown_fields = 0;
    for (unsigned i = 0; i < m->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &m->descriptor->fields[i];
        char *member = (char *)m + f->offset;

        if (f->type != PROTOBUF_C_TYPE_MESSAGE)
            continue;
        if (f->label == PROTOBUF_C_LABEL_REPEATED) {
            for (size_t k = *(size_t *)(void *)((char *)m + f->quantifier_offset); k > 0; k--)
                n += drop_unknown((*(ProtobufCMessage ***)(void *)member)[k - 1]);
        } else if (*(ProtobufCMessage **)(void *)member != NULL) {
            n += drop_unknown(*(ProtobufCMessage **)(void *)member);
        }
    }
    return n;
}

/* Read and written by the other side, without what it does not know. */
static bool theirs(const ProtobufCMessageDescriptor *d, struct str bytes, struct buf *out,
                   unsigned *unknown)
{
    ProtobufCMessage *m =
        protobuf_c_message_unpack(d, NULL, bytes.n, (const uint8_t *)(bytes.n > 0 ? bytes.p : ""));
    size_t n;

    if (m == NULL)
        return false;
    *unknown = drop_unknown(m);
    n = protobuf_c_message_get_packed_size(m);
    buf_clear(out);
    assert_int_equal(buf_reserve(out, n + 1), 0);
    out->len = protobuf_c_message_pack(m, (uint8_t *)out->p);
    assert_int_equal(out->len, n);
    protobuf_c_message_free_unpacked(m, NULL);
    return true;
}

/* Both write a map's key and value also when they are empty, but protobuf-c leaves them out: a second
 * reading by us makes them comparable. */
static void ours(enum cf_message m, struct str bytes, struct buf *out)
{
    struct cf_writer w = {.out = out};
    union {
        struct cf_command command;
        struct cf_reply reply;
    } any;

    assert_int_equal(cf_protobuf_read(m, bytes, &any), 0);
    buf_clear(out);
    assert_int_equal(cf_protobuf_write(&w, m, &any), 0);
}

static void same_bytes(enum cf_message m, const ProtobufCMessageDescriptor *d)
{
    struct buf mine = {0}, other = {0}, back = {0};
    struct cf_writer w = {.out = &mine};
    union {
        struct cf_command command;
        struct cf_reply reply;
    } any;
    unsigned unknown;

    for (unsigned round = 0; round < 3000; round++) {
        buf_clear(&store);
        assert_int_equal(buf_reserve(&store, 1 << 20), 0);
        random_message(m, &any, 0);
        buf_clear(&mine);
        assert_int_equal(cf_protobuf_write(&w, m, &any), 0);
        assert_int_equal(mine.len, cf_protobuf_size(m, &any));
        assert_true(theirs(d, buf_view(&mine), &other, &unknown));
        assert_int_equal(unknown, 0); /* every number, every wire type */
        ours(m, buf_view(&mine), &back);
        assert_true(str_equal(buf_view(&back), buf_view(&mine)));
        ours(m, buf_view(&other), &back);
        assert_true(theirs(d, buf_view(&back), &mine, &unknown));
        assert_true(str_equal(buf_view(&other), buf_view(&mine)));
    }
    buf_fini(&mine);
    buf_fini(&other);
    buf_fini(&back);
    buf_fini(&store);
}

static void commands(void **state)
{
    (void)state;
    same_bytes(CF_MESSAGE_command, &agree__command__descriptor);
}

static void replies(void **state)
{
    (void)state;
    same_bytes(CF_MESSAGE_reply, &agree__reply__descriptor);
}

/* Filters are not looked into yet. */
static bool all_read(const struct cf_command *c)
{
    return c->connect.subs.n == 0 && c->subscribe.tf.n == 0;
}

/* protobuf-c ends its strings with a NUL. */
static bool has_nul(enum cf_message m, const void *message)
{
    for (unsigned i = cf_layouts[m].first; i < cf_layouts[m].end; i++) {
        const struct cf_field *f = &cf_fields[i];
        const void *member = cf_member_of(f, message);
        const struct str *s = member;

        if (f->kind == CF_TEXT && s->n > 0 && memchr(s->p, '\0', s->n) != NULL)
            return true;
        if (f->kind == CF_MESSAGE_OF && has_nul((enum cf_message)f->of, member))
            return true;
    }
    return false;
}

static void broken_commands(void **state)
{
    struct buf mine = {0}, other = {0}, back = {0};
    struct cf_writer w = {.out = &mine};
    unsigned taken = 0, refused = 0, unknown;
    struct cf_command c;

    (void)state;
    for (unsigned round = 0; round < 20000; round++) {
        char *copy;

        buf_clear(&store);
        assert_int_equal(buf_reserve(&store, 1 << 20), 0);
        random_message(CF_MESSAGE_command, &c, 0);
        buf_clear(&mine);
        assert_int_equal(cf_protobuf_write(&w, CF_MESSAGE_command, &c), 0);
        for (uint32_t i = random_below(3); i > 0 && mine.len > 0; i--)
            mine.p[random_below((uint32_t)mine.len)] = (char)random_bits();
        if (random_below(4) == 0 && mine.len > 0)
            mine.len -= random_below((uint32_t)mine.len);
        copy = exact_copy(buf_view(&mine));
        if (cf_protobuf_read(CF_MESSAGE_command, (struct str){copy, mine.len}, &c) == 0) {
            taken++;
            if (all_read(&c))
                assert_true(theirs(&agree__command__descriptor, (struct str){copy, mine.len},
                                   &other, &unknown));
            /* Lists of a message that comes twice are joined by others, and by us the last counts. */
            if (all_read(&c) && c.connect.headers.n == 0 && !has_nul(CF_MESSAGE_command, &c)) {
                buf_clear(&back);
                w.out = &back;
                assert_int_equal(cf_protobuf_write(&w, CF_MESSAGE_command, &c), 0);
                w.out = &mine;
                assert_true(str_equal(buf_view(&back), buf_view(&other)));
            }
        } else {
            refused++;
        }
        free(copy);
    }
    assert_true(taken > 2000 && refused > 2000);
    buf_fini(&mine);
    buf_fini(&other);
    buf_fini(&back);
    buf_fini(&store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commands),
        cmocka_unit_test(replies),
        cmocka_unit_test(broken_commands),
    };

    return cmocka_run_group_tests_name("codec/centrifuge/agree_protobuf", tests, NULL, NULL);
}
