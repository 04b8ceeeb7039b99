/* tests/unit/base/table_sample.h - a table with a row of every type, for tests. */
#ifndef ROOST_TESTS_TABLE_SAMPLE_H
#define ROOST_TESTS_TABLE_SAMPLE_H

#include "base/table.h"

struct sample_item {
    char name[20];
    int64_t port;
    bool tls;
    char words[100];
};
#define ITEM(member, type_, def_, min_, max_)                                                      \
    {                                                                                              \
        .name = #member, .type = TABLE_##type_, .def = def_, .min = min_, .max = max_,             \
        .sentence = "s", .paragraph = "", .offset = offsetof(struct sample_item, member),          \
        .size = sizeof(((struct sample_item *)0)->member)                                          \
    }
static const struct table_row sample_item_rows[] = {
    ITEM(name, STRING, NULL, 1, 10),
    ITEM(port, INT, "80", 1, 65535),
    ITEM(tls, BOOL, "false", 0, 0),
    ITEM(words, LIST, "a", 0, 0),
};
#undef ITEM
static inline int sample_check(const void *item, char *err, size_t errcap)
{
    if (((const struct sample_item *)item)->port != 13)
        return 0;
    snprintf(err, errcap, "port: 13 is none");
    return -1;
}
static const struct table sample_items = {.rows = sample_item_rows,
                                          .n = ARRAY_LEN(sample_item_rows),
                                          .size = sizeof(struct sample_item),
                                          .set = TABLE_NO_SET,
                                          .key = true,
                                          .check = sample_check,
                                          .help = "items have four"};
static const struct table sample_one = {.rows = sample_item_rows + 1,
                                        .n = ARRAY_LEN(sample_item_rows) - 1,
                                        .size = sizeof(struct sample_item),
                                        .set = TABLE_NO_SET,
                                        .check = sample_check,
                                        .help = "it has three"};

struct sample {
    bool flag;
    int64_t count, bytes, time, many, room;
    double rate;
    char text[32], file[32], secret[32], words[64], tokens[64], origins[64], lines[64], where[32];
    int choice;
    TABLE_MAPS_OF(struct sample_item, 2) items;
    struct sample_item one;
    bool set[18];
};
#define ROW(member, type_, def_, min_, max_)                                                       \
    {                                                                                              \
        .name = #member, .type = TABLE_##type_, .def = def_, .min = min_, .max = max_,             \
        .sentence = "s", .paragraph = "", .offset = offsetof(struct sample, member),               \
        .size = sizeof(((struct sample *)0)->member),                                              \
        .of = TABLE_##type_ == TABLE_MAP ? &sample_one : &sample_items                             \
    }
static const struct table_row sample_rows[] = {
    ROW(flag, BOOL, "false", 0, 0),       ROW(count, INT, "7", 1, 100),
    ROW(bytes, SIZE, "1KiB", 1, 1 << 20), ROW(time, DURATION, "1s", 0, 60000000000),
    ROW(many, AUTO_INT, "auto", 1, 9),    ROW(room, AUTO_SIZE, "auto", 1, 1 << 20),
    ROW(rate, RATE, "2.5", 0, 10),        ROW(text, STRING, "", 0, 20),
    ROW(file, PATH, "", 0, 20),           ROW(secret, SECRET, "", 0, 20),
    ROW(words, LIST, "", 0, 0),           ROW(tokens, TOKENS, "", 0, 0),
    ROW(origins, ORIGINS, "", 0, 0),      ROW(lines, LINES, "", 0, 0),
    ROW(where, ADDRESS, "off", 0, 0),     ROW(choice, CHOICE, "low|middle=mid|high", 0, 0),
    ROW(items, MAPS, "", 0, 2),           ROW(one, MAP, "", 0, 0),
};
#undef ROW
static const struct table sample_table = {.rows = sample_rows,
                                          .n = ARRAY_LEN(sample_rows),
                                          .size = sizeof(struct sample),
                                          .set = offsetof(struct sample, set),
                                          .help = "there are eighteen"};

static inline size_t sample_row(const char *name)
{
    int i = table_find(&sample_table, str_from(name));

    return i >= 0 ? (size_t)i : SIZE_MAX;
}

#endif
