/* cmd/roostctl/table.c - see table.h. Cells are kept as lines of one text. */
#include "ctl.h"

#include <stdarg.h>
#include <unistd.h>

#include "base/out.h"
#include "base/utf8.h"

#define GAP  "  "
#define MOST 16             /* columns of a table */
#define DOTS "\xe2\x80\xa6" /* one character that says "cut" */

struct ctl_table ctl_table_of(const struct ctl_column *columns, size_t n)
{
    return (struct ctl_table){
        .columns = columns, .n = MIN(n, (size_t)MOST), .cut = isatty(STDOUT_FILENO) != 0};
}

/* C0, DEL, C1, and what has no shape of its own but turns or hides what stands beside it: Unicode's
 * format characters (Cf), and its separators of lines and paragraphs. */
static bool is_obeyed(uint32_t c)
{
    static const struct {
        uint32_t first, last;
    } ranges[] = {{0x00, 0x1f},       {0x7f, 0x9f},       {0xad, 0xad},       {0x600, 0x605},
                  {0x61c, 0x61c},     {0x6dd, 0x6dd},     {0x70f, 0x70f},     {0x890, 0x891},
                  {0x8e2, 0x8e2},     {0x180e, 0x180e},   {0x200b, 0x200f},   {0x2028, 0x202e},
                  {0x2060, 0x206f},   {0xfeff, 0xfeff},   {0xfff9, 0xfffb},   {0x110bd, 0x110bd},
                  {0x110cd, 0x110cd}, {0x13430, 0x1343f}, {0x1bca0, 0x1bca3}, {0x1d173, 0x1d17a},
                  {0xe0001, 0xe0001}, {0xe0020, 0xe007f}};

    for (size_t i = 0; i < ARRAY_LEN(ranges); i++)
        if (c >= ranges[i].first && c <= ranges[i].last)
            return true;
    return false;
}

int ctl_append_shown(struct buf *out, struct str text)
{
    int rc = 0;

    while (text.n > 0 && rc == 0) {
        uint32_t code = 0;
        size_t n = utf8_decode(text, &code);

        if (n == 0 || is_obeyed(code))
            rc = buf_append_char(out, '?');
        else
            rc = buf_append(out, (struct str){text.p, n});
        text = str_skip(text, MAX(n, (size_t)1));
    }
    return rc;
}

void ctl_cell_text(struct ctl_table *t, struct str text)
{
    if (ctl_append_shown(&t->text, text) == -1 || buf_append_char(&t->text, '\n') == -1)
        t->failed = true;
    t->count++;
}

void ctl_cell(struct ctl_table *t, const char *fmt, ...)
{
    char text[512];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    ctl_cell_text(t, str_from(text));
}

/* A string's characters, anything else as it is written. */
static int append_value(struct buf *out, const struct json_value *v)
{
    size_t before = out->len;

    if (v->type == JSON_STRING && json_string(v, out) == 0)
        return 0;
    out->len = before; /* a lone surrogate is no text */
    return buf_append(out, v->raw);
}

void ctl_cell_member(struct ctl_table *t, const struct json_value *object, const char *name)
{
    struct json_value v;
    struct buf text = {0};

    if (json_get(object, str_from(name), &v) && v.type != JSON_NULL &&
        append_value(&text, &v) == -1)
        t->failed = true;
    ctl_cell_text(t, text.len > 0 ? buf_view(&text) : STR_LIT("-"));
    buf_fini(&text);
}

/* Characters, one column each. */
static size_t width_of(struct str text)
{
    size_t n = 0;

    for (size_t i = 0; i < text.n; i++)
        n += ((unsigned char)text.p[i] & 0xc0) != 0x80;
    return n;
}

/* Its first n characters. */
static struct str first_of(struct str text, size_t n)
{
    size_t i = 0;

    while (i < text.n && (n > 0 || ((unsigned char)text.p[i] & 0xc0) == 0x80)) {
        n -= ((unsigned char)text.p[i] & 0xc0) != 0x80;
        i++;
    }
    return (struct str){text.p, i};
}

static size_t shown_width(const struct ctl_table *t, size_t column, struct str text)
{
    size_t width = width_of(text), most = t->columns[column].most;

    return t->cut && most > 0 ? MIN(width, most) : width;
}

/* Nothing follows the last cell of a line, not even blanks. */
static int put_cell(const struct ctl_table *t, size_t column, struct str text, size_t width,
                    struct buf *out)
{
    size_t shown = shown_width(t, column, text), pad = width - shown;
    bool right = t->columns[column].right, last = column + 1 == t->n;
    int rc = column > 0 ? buf_append_lit(out, GAP) : 0;

    if (right)
        rc |= buf_printf(out, "%*s", (int)pad, "");
    if (shown < width_of(text)) {
        rc |= buf_append(out, first_of(text, shown - 1));
        rc |= buf_append_lit(out, DOTS);
    } else {
        rc |= buf_append(out, text);
    }
    if (!right && !last)
        rc |= buf_printf(out, "%*s", (int)pad, "");
    return rc | (last ? buf_append_char(out, '\n') : 0);
}

static bool has_titles(const struct ctl_table *t)
{
    return t->columns[0].title != NULL;
}

static void measure(const struct ctl_table *t, size_t *widths)
{
    struct str rest = buf_view(&t->text), cell;

    for (size_t i = 0; i < t->n; i++)
        widths[i] = has_titles(t) ? width_of(str_from(t->columns[i].title)) : 0;
    for (size_t i = 0; i < t->count && str_cut(&rest, '\n', &cell); i++)
        widths[i % t->n] = MAX(widths[i % t->n], shown_width(t, i % t->n, cell));
}

int ctl_table_write(struct ctl_table *t, struct buf *out)
{
    struct str rest = buf_view(&t->text), cell;
    size_t widths[MOST];
    int rc = t->failed ? -1 : 0;

    while (rc == 0 && t->count % t->n != 0)
        ctl_cell_text(t, STR_LIT("")); /* a row that ended early */
    rest = buf_view(&t->text);
    measure(t, widths);
    for (size_t i = 0; i < t->n && rc == 0 && has_titles(t); i++) {
        struct ctl_table whole = *t;

        whole.cut = false;
        rc = put_cell(&whole, i, str_from(t->columns[i].title), widths[i], out);
    }
    for (size_t i = 0; i < t->count && rc == 0 && str_cut(&rest, '\n', &cell); i++)
        rc = put_cell(t, i % t->n, cell, widths[i % t->n], out);
    buf_fini(&t->text);
    t->count = 0;
    return rc;
}

int ctl_table_print(struct ctl_table *t)
{
    struct buf out = {0};
    int rc = ctl_table_write(t, &out);

    if (rc == 0)
        out_write(buf_view(&out));
    else
        fprintf(stderr, "roostctl: out of memory\n");
    buf_fini(&out);
    return rc == 0 ? 0 : 1;
}

int ctl_print_json(struct str document)
{
    out_write(document);
    if (document.n == 0 || document.p[document.n - 1] != '\n')
        out_write(STR_LIT("\n"));
    return 0;
}

static int append_list(struct buf *out, const struct json_value *list)
{
    struct str rest = list->raw;
    struct json_value v;
    int rc = 0;

    for (bool first = true; json_element(&rest, &v) && rc == 0; first = false) {
        rc |= first ? 0 : buf_append_lit(out, ", ");
        rc |= append_value(out, &v);
    }
    return rc;
}

static void put_fact(struct ctl_table *t, const struct json_value *name,
                     const struct json_value *value)
{
    struct buf text = {0};

    if (append_value(&text, name) == -1)
        t->failed = true;
    ctl_cell_text(t, buf_view(&text));
    buf_clear(&text);
    if ((value->type == JSON_ARRAY ? append_list(&text, value) : append_value(&text, value)) == -1)
        t->failed = true;
    ctl_cell_text(t, text.len > 0 ? buf_view(&text) : STR_LIT("-"));
    buf_fini(&text);
}

int ctl_print_object(struct str object)
{
    static const struct ctl_column columns[] = {CTL_LEFT(NULL, 0), CTL_LEFT(NULL, 0)};
    struct ctl_table t = ctl_table_of(columns, ARRAY_LEN(columns));
    struct json_value v, name, value;

    if (ctl.output == CTL_JSON)
        return ctl_print_json(object);
    if (json_parse(object, &v, NULL) == -1) {
        fprintf(stderr, "roostctl: out of memory\n"); /* it was cut */
        return 1;
    }
    for (struct str rest = v.raw; json_member(&rest, &name, &value);)
        put_fact(&t, &name, &value);
    return ctl_table_print(&t);
}

int ctl_append_line(struct buf *out, struct str document)
{
    int rc = 0;

    /* Inside a JSON string a line end is written as \n. */
    for (size_t i = 0; i < document.n && rc == 0; i++)
        if (document.p[i] != '\n' && document.p[i] != '\r')
            rc = buf_append_char(out, document.p[i]);
    return rc == 0 ? buf_append_char(out, '\n') : -1;
}

static int put_name(struct buf *out, const char *name)
{
    bool first = out->len > 0 && out->p[out->len - 1] == '{';

    return buf_printf(out, "%s\"%s\":", first ? "" : ",", name);
}

int ctl_put_text(struct buf *out, const char *name, struct str value)
{
    return put_name(out, name) == -1 ? -1 : json_append_string(out, value);
}

int ctl_put_raw(struct buf *out, const char *name, struct str json)
{
    return put_name(out, name) == -1 ? -1 : buf_append(out, json);
}
