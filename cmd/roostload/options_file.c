/* options_file.c - a scenario file: YAML mapping of options. */
#include "options.h"

#include <errno.h>
#include <yaml.h>

struct reader {
    struct options *o;
    struct buf *errors;
    const char *path;
    yaml_parser_t parser;
    bool seen[64], scenario; /* by place in the table */
    int bad;
};

static void report(struct reader *r, yaml_mark_t at, const char *text)
{
    r->bad = -1;
    if (buf_printf(r->errors, "%s:%zu:%zu: %s\n", r->path, at.line + 1, at.column + 1, text) == -1)
        return; /* the exit status still tells */
}

static struct str scalar(const yaml_event_t *e)
{
    return (struct str){(const char *)e->data.scalar.value, e->data.scalar.length};
}

static int next_event(struct reader *r, yaml_event_t *e)
{
    if (yaml_parser_parse(&r->parser, e) == 1)
        return 0;
    report(r, r->parser.problem_mark, r->parser.problem != NULL ? r->parser.problem : "not YAML");
    return -1;
}

static void apply(struct reader *r, struct str key, const yaml_event_t *value)
{
    char err[256];

    if (options_key(r->o, key, scalar(value), err, sizeof(err)) == -1)
        report(r, value->start_mark, err);
}

/* An unknown key says so with its first value. */
static bool takes_one_value(struct str key)
{
    return str_equal(key, STR_LIT("scenario")) || (options_find(key) >= 0 && !options_is_list(key));
}

/* The value of one key: a scalar, or a sequence of scalars for options that may be repeated. */
static int read_value(struct reader *r, struct str key)
{
    yaml_event_t e;
    bool sequence = false, more = true;

    while (more) {
        if (next_event(r, &e) == -1)
            return -1;
        if (e.type == YAML_SCALAR_EVENT) {
            apply(r, key, &e);
        } else if (e.type == YAML_SEQUENCE_START_EVENT && !sequence) {
            sequence = true;
            if (takes_one_value(key)) {
                report(r, e.start_mark, "expected one value, not a list of them");
                yaml_event_delete(&e);
                return -1;
            }
        } else if (e.type != YAML_SEQUENCE_END_EVENT) {
            report(r, e.start_mark, "expected a value or a list of values");
            yaml_event_delete(&e);
            return -1;
        }
        more = sequence && e.type != YAML_SEQUENCE_END_EVENT;
        yaml_event_delete(&e);
    }
    return 0;
}

/* YAML has each key once (1.2.2, 3.2.1.3). */
static int note_key(struct reader *r, struct str key, yaml_mark_t at)
{
    int i = options_find(key);
    bool *seen = str_equal(key, STR_LIT("scenario"))        ? &r->scenario
                 : i >= 0 && (size_t)i < ARRAY_LEN(r->seen) ? &r->seen[i]
                                                            : NULL;
    char text[128];

    if (seen == NULL)
        return 0; /* unknown: said with its value */
    if (*seen) {
        snprintf(text, sizeof(text), "%.*s is there twice", STR_ARG(key));
        report(r, at, text);
        return -1;
    }
    *seen = true;
    return 0;
}

static int read_mapping(struct reader *r)
{
    yaml_event_t e;
    char key[64];
    bool inside = false;

    for (;;) {
        enum yaml_event_type_e type;
        int rc = 0;

        if (next_event(r, &e) == -1)
            return -1;
        type = e.type;
        if (type == YAML_MAPPING_START_EVENT && !inside) {
            inside = true;
        } else if (type == YAML_SCALAR_EVENT && inside) {
            snprintf(key, sizeof(key), "%.*s", STR_ARG(scalar(&e))); /* no option is that long */
            rc = note_key(r, str_from(key), e.start_mark);
            if (rc == 0)
                rc = read_value(r, str_from(key));
        } else if (type != YAML_STREAM_START_EVENT && type != YAML_DOCUMENT_START_EVENT &&
                   type != YAML_MAPPING_END_EVENT && type != YAML_DOCUMENT_END_EVENT &&
                   type != YAML_STREAM_END_EVENT) {
            report(r, e.start_mark, "expected a mapping of options");
            rc = -1;
        }
        yaml_event_delete(&e);
        if (rc == -1 || type == YAML_STREAM_END_EVENT)
            return rc;
    }
}

int options_file(struct options *o, const char *path, struct buf *errors)
{
    struct reader r = {.o = o, .errors = errors, .path = path};
    FILE *f = fopen(path, "re");

    if (f == NULL) {
        if (buf_printf(errors, "roostload: %s: %s\n", path, strerror(errno)) == -1)
            return -1;
        return -1;
    }
    if (yaml_parser_initialize(&r.parser) == 0) {
        fclose(f);
        return -1;
    }
    yaml_parser_set_input_file(&r.parser, f);
    if (read_mapping(&r) == -1)
        r.bad = -1;
    yaml_parser_delete(&r.parser);
    fclose(f);
    return r.bad;
}
