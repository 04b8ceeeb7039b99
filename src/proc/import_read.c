/* proc/import_read.c - the options of a YAML or JSON file, one by one with their paths. */
#include <yaml.h>

#include "import_internal.h"

/* A file has a few hundred nodes. Aliases may name one node often: what is visited counts. */
#define VISITS_MAX 50000
#define DEPTH_MAX  12

struct reader {
    struct import *im;
    yaml_document_t doc;
    unsigned visits;
    bool ns; /* within a namespace */
    bool too_much;
};

static struct str text_of(const yaml_node_t *n)
{
    return (struct str){(const char *)n->data.scalar.value, n->data.scalar.length};
}

static bool is_null(const yaml_node_t *n)
{
    return n->type == YAML_SCALAR_NODE && n->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
           (n->data.scalar.length == 0 || str_equal(text_of(n), STR_LIT("~")) ||
            str_equal_nocase(text_of(n), STR_LIT("null")));
}

/* NULL: the file is larger than any configuration. */
static yaml_node_t *node(struct reader *r, int id)
{
    if (++r->visits > VISITS_MAX)
        r->too_much = true;
    return r->too_much ? NULL : yaml_document_get_node(&r->doc, id);
}

/* A list of words; anything else is opaque. */
static void take_list(struct reader *r, const char *path, const yaml_node_t *list)
{
    struct import_item item = {.path = path, .list = true};
    const yaml_node_item_t *i = list->data.sequence.items.start;

    for (; i < list->data.sequence.items.top; i++) {
        const yaml_node_t *n = node(r, *i);

        if (n == NULL)
            return;
        if (n->type != YAML_SCALAR_NODE || item.n == IMPORT_ITEMS_MAX)
            item.opaque = true;
        else
            item.values[item.n++] = text_of(n);
    }
    import_option(r->im, &item, r->ns);
}

static void take_mapping(struct reader *r, const char *prefix, const yaml_node_t *map, int depth);

static yaml_node_t *value_of(struct reader *r, const yaml_node_t *map, const char *name)
{
    const yaml_node_pair_t *p = map->data.mapping.pairs.start;
    yaml_node_t *found = NULL;

    for (; p < map->data.mapping.pairs.top; p++) {
        const yaml_node_t *key = node(r, p->key);

        if (key != NULL && key->type == YAML_SCALAR_NODE && str_equal(text_of(key), str_from(name)))
            found = node(r, p->value);
    }
    return found;
}

/* The name is known first, so that notes can say it. */
static void take_namespaces(struct reader *r, const yaml_node_t *list)
{
    const yaml_node_item_t *i = list->data.sequence.items.start;

    for (; i < list->data.sequence.items.top && !r->too_much; i++) {
        const yaml_node_t *n = node(r, *i), *name;
        struct import_item item = {.path = "name", .n = 1};

        if (n == NULL || n->type != YAML_MAPPING_NODE)
            continue;
        table_defaults(&namespace_table, r->im->one.draft);
        r->ns = true;
        name = value_of(r, n, "name");
        if (name != NULL && name->type == YAML_SCALAR_NODE) {
            item.values[0] = text_of(name);
            import_option(r->im, &item, true);
        }
        take_mapping(r, "", n, 1);
        r->ns = false;
        import_end_namespace(r->im);
    }
}

static bool is_namespaces(const struct reader *r, const char *path)
{
    return !r->ns && (str_equal(str_from(path), STR_LIT("channel.namespaces")) ||
                      str_equal(str_from(path), STR_LIT("namespaces")));
}

static void take_value(struct reader *r, const char *path, const yaml_node_t *n, int depth)
{
    struct import_item item = {.path = path, .n = 1};

    switch (n->type) {
    case YAML_SCALAR_NODE:
        if (is_null(n) || (r->ns && str_equal(str_from(path), STR_LIT("name"))))
            return;
        item.values[0] = text_of(n);
        import_option(r->im, &item, r->ns);
        break;
    case YAML_SEQUENCE_NODE:
        if (is_namespaces(r, path))
            take_namespaces(r, n);
        else
            take_list(r, path, n);
        break;
    case YAML_MAPPING_NODE:
        take_mapping(r, path, n, depth + 1);
        break;
    case YAML_NO_NODE:
        break;
    }
}

/* What says "enabled: false" does nothing, whatever else it says. */
static bool is_switched_off(struct reader *r, const yaml_node_t *map)
{
    const yaml_node_t *enabled = value_of(r, map, "enabled");

    return enabled != NULL && enabled->type == YAML_SCALAR_NODE &&
           str_equal_nocase(text_of(enabled), STR_LIT("false"));
}

static void take_mapping(struct reader *r, const char *prefix, const yaml_node_t *map, int depth)
{
    const yaml_node_pair_t *p = map->data.mapping.pairs.start;
    bool off = is_switched_off(r, map);
    char path[256];

    if (depth > DEPTH_MAX)
        r->too_much = true;
    for (; p < map->data.mapping.pairs.top && !r->too_much; p++) {
        const yaml_node_t *key = node(r, p->key), *value = node(r, p->value);
        int n;

        if (key == NULL || value == NULL || key->type != YAML_SCALAR_NODE ||
            (off && !str_equal(text_of(key), STR_LIT("enabled"))))
            continue;
        n = snprintf(path, sizeof(path), "%s%s%.*s", prefix, prefix[0] != '\0' ? "." : "",
                     (int)MIN(key->data.scalar.length, sizeof(path)),
                     (const char *)key->data.scalar.value);
        for (char *c = path; *c != '\0'; c++) /* they stand in lines of notes */
            if ((unsigned char)*c < 0x20 || *c == 0x7f)
                *c = '?';
        if (n < (int)sizeof(path))
            take_value(r, path, value, depth);
        else
            import_note(r->im, true, path, "no option has so long a name");
    }
}

static void refuse(struct import *im, const char *name, size_t line, const char *what)
{
    if (buf_printf(im->notes, "%s:%zu: %s\n", name, line + 1, what) == -1)
        im->no_memory = true;
}

/* `name = value` is no YAML mapping, but what TOML looks like. */
static bool is_toml(const char *name, struct str text)
{
    struct str n = str_from(name), line;

    if (n.n >= 5 && str_equal_nocase(str_skip(n, n.n - 5), STR_LIT(".toml")))
        return true;
    while (text.n > 0 && str_cut(&text, '\n', &line)) {
        struct str s = str_trim(line);

        if (s.n == 0 || s.p[0] == '#')
            continue;
        if (s.n > 1 && s.p[0] == '[' && (s.p[1] | 0x20) >= 'a' && (s.p[1] | 0x20) <= 'z')
            return true; /* [section] */
        return s.p[0] != '{' && str_find(s, '=') < s.n && str_find(s, '=') < str_find(s, ':');
    }
    return false;
}

/* What counts for namespaces, wherever it stands. */
static void take_default_format(struct reader *r, const yaml_node_t *root)
{
    const yaml_node_t *channel = value_of(r, root, "channel"), *format = NULL;

    if (channel != NULL && channel->type == YAML_MAPPING_NODE)
        format = value_of(r, channel, "publication_data_format");
    if (format != NULL)
        take_value(r, "channel.publication_data_format", format, 1);
}

int import_read(struct import *im, const char *name, struct str text)
{
    struct reader r = {.im = im};
    yaml_parser_t parser;
    yaml_node_t *root;
    int rc = -1;

    if (is_toml(name, text)) {
        refuse(
            im, name, 0,
            "this is TOML; convert it first: python3 -c 'import json,sys,tomllib; "
            "json.dump(tomllib.load(sys.stdin.buffer), sys.stdout)' < config.toml > config.json");
        return -1;
    }
    if (yaml_parser_initialize(&parser) == 0) {
        im->no_memory = true;
        return -1;
    }
    yaml_parser_set_input_string(&parser, (const unsigned char *)(text.p != NULL ? text.p : ""),
                                 text.n);
    if (yaml_parser_load(&parser, &r.doc) == 0) {
        refuse(im, name, parser.problem_mark.line,
               parser.problem != NULL ? parser.problem : "this is neither YAML nor JSON");
        goto err_after_parser;
    }
    root = yaml_document_get_root_node(&r.doc);
    if (root == NULL || root->type != YAML_MAPPING_NODE)
        refuse(im, name, 0, "expected options as \"name: value\" lines, or a JSON object");
    else {
        take_default_format(&r, root);
        take_mapping(&r, "", root, 0);
        rc = r.too_much ? -1 : 0;
        if (r.too_much)
            refuse(im, name, 0, "it is larger, or nested more deeply, than a configuration");
    }
    yaml_document_delete(&r.doc);
err_after_parser:
    yaml_parser_delete(&parser);
    return rc;
}
