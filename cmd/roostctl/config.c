/* cmd/roostctl/config.c - config check and config diff: settings in files, and those in force. */
#include <unistd.h>

#include "base/out.h"
#include "base/read_whole_file.h"
#include "ctl.h"
#include "proc/config_load.h"
#include "proc/tls_files.h"

#define FILE_MAX_BYTES ((size_t)1024 * 1024)

/* Exit statuses (commands.def). */
enum { GOOD = 0, UNREADABLE = 1, WRONG = 3, UNUSABLE = 4, DOUBTFUL = 5 };
enum { SAME = 0, NO_ANSWER = 1, DIFFERS = 3, WANTS_RESTART = 4, REFUSED = 5 };

static struct config first, second; /* too large for a stack */

/* ---- check ---- */

/* What the file alone says, in itself: syntax, names, values. */
static int check_text(const char *path, struct buf *errors)
{
    struct buf text = {0};
    char err[256];
    int rc = GOOD;

    config_defaults(&first);
    if (read_whole_file(path, FILE_MAX_BYTES, NULL, &text, err, sizeof(err)) == -1) {
        if (buf_printf(errors, "%s: %s\n", path, err) == -1)
            buf_clear(errors);
        return UNREADABLE;
    }
    if (config_load_text(&first, path, buf_view(&text), NULL, errors) == -1)
        rc = WRONG;
    buf_fini(&text);
    return rc;
}

/* Then all of it together: with the environment, files that it names, this machine. */
static int check_whole(const char *path, struct buf *errors)
{
    struct config_source source = {.path = path, .environ_vars = environ};
    struct config_files files = {.fetch_ca = {0}};
    int rc = config_load(&first, &source, errors);

    if (rc == 0 && config_files_read(&files, &first, NULL, errors) == 0)
        config_files_fini(&files);
    else
        rc = -1;
    if (rc == 0)
        rc = tls_files_check(&first, errors);
    return rc == 0 ? GOOD : UNUSABLE;
}

static int put_lines(struct buf *out, const char *name, struct str lines)
{
    const char *sep = "";
    struct str line;
    int rc = ctl_put_raw(out, name, STR_LIT("["));

    while (lines.n > 0 && str_cut(&lines, '\n', &line)) {
        if (line.n == 0)
            continue;
        rc |= buf_append_lit(out, sep);
        rc |= json_append_string(out, line);
        sep = ",";
    }
    return rc | buf_append_char(out, ']');
}

static void say_lines(const char *before, struct str lines)
{
    struct str line;

    while (lines.n > 0 && str_cut(&lines, '\n', &line))
        if (line.n > 0)
            fprintf(stderr, "%s%.*s\n", before, STR_ARG(line));
}

static const char *name_of(int status)
{
    switch (status) {
    case GOOD:
        return "good";
    case UNREADABLE:
        return "unreadable";
    case WRONG:
        return "wrong";
    case UNUSABLE:
        return "unusable";
    default:
        return "doubtful";
    }
}

static int print_check(int status, const struct buf *errors, const struct buf *warnings)
{
    struct buf out = {0};

    if (ctl.output == CTL_TABLE) {
        say_lines("", buf_view(errors));
        say_lines("warning: ", buf_view(warnings));
        if (status == GOOD || status == DOUBTFUL)
            out_printf("settings are good\n");
        return status;
    }
    if (buf_append_char(&out, '{') == 0 &&
        ctl_put_text(&out, "result", str_from(name_of(status))) == 0 &&
        put_lines(&out, "errors", buf_view(errors)) == 0 &&
        put_lines(&out, "warnings", buf_view(warnings)) == 0 && buf_append_char(&out, '}') == 0)
        (void)ctl_print_json(buf_view(&out));
    buf_fini(&out);
    return status;
}

static int check(const struct ctl_line *line)
{
    struct buf errors = {0}, warnings = {0};
    int status;

    if (line->count != 2) {
        fprintf(stderr, "roostctl: config check FILE: one file\n");
        return 2;
    }
    status = check_text(line->operands[1], &errors);
    if (status == GOOD)
        status = check_whole(line->operands[1], &errors);
    if (status == GOOD && config_warnings(&first, &warnings) == 0 && warnings.len > 0 &&
        line->given[OPTION_CONFIG_STRICT] != NULL)
        status = DOUBTFUL;
    status = print_check(status, &errors, &warnings);
    buf_fini(&errors);
    buf_fini(&warnings);
    return status;
}

/* ---- diff ---- */

/* A file as a reload would take it: what only a start needs is not asked for. -1: said why. */
static int load(struct config *c, const char *path, bool with_environment)
{
    static struct config defaults;
    struct config_source source = {
        .path = path, .environ_vars = with_environment ? environ : NULL, .running = &defaults};
    struct buf errors = {0};
    int rc;

    config_defaults(&defaults);
    rc = config_load(c, &source, &errors);
    say_lines("roostctl: ", buf_view(&errors));
    buf_fini(&errors);
    return rc;
}

/* The settings that differ from their defaults, of a page of config_write_json(). */
static int put_defaults(const struct json_value *page, struct buf *out)
{
    struct json_value list, one, is;
    const char *sep = "";
    struct str rest;
    int rc = ctl_put_raw(out, "defaults", STR_LIT("["));

    if (json_get(page, STR_LIT("settings"), &list)) {
        rest = list.raw;
        while (json_element(&rest, &one)) {
            if (!json_get(&one, STR_LIT("is_default"), &is) || is.type == JSON_TRUE)
                continue;
            rc |= buf_append_lit(out, sep);
            rc |= buf_append(out, one.raw);
            sep = ",";
        }
    }
    return rc | buf_append_char(out, ']');
}

/* The row of that name in a page, or false. */
static bool find_row(const struct json_value *page, const char *name, struct json_value *out)
{
    struct json_value list;
    struct str rest;

    if (!json_get(page, STR_LIT("settings"), &list))
        return false;
    rest = list.raw;
    while (json_element(&rest, out))
        if (str_equal(ctl_text(out, "name"), str_from(name)))
            return true;
    return false;
}

static bool is_true(const struct json_value *object, const char *name)
{
    struct json_value v;

    return json_get(object, str_from(name), &v) && v.type == JSON_TRUE;
}

/* Does first only say that it has one? Secrets, and keys whose PEM stands in the settings. */
static bool is_hidden(const struct table_row *row)
{
    struct str value = str_from((const char *)&first + row->offset);

    return row->type == TABLE_SECRET ? value.n > 0
                                     : row->type == TABLE_KEY && table_key_is_inline(value);
}

/* Row i of what runs and of the file. What is hidden in both is not compared: names in *hidden. */
static int put_row(const struct json_value *running, size_t i, struct buf *out, struct buf *hidden)
{
    const struct table_row *row = config_row(i);
    bool first_one = out->p[out->len - 1] == '[';
    struct json_value value;
    struct buf after = {0};
    int rc = config_value_text(&first, i, &after);

    if (json_get(running, STR_LIT("value"), &value) &&
        json_string_equal(&value, buf_view(&after))) {
        if (is_hidden(row))
            rc |= buf_printf(hidden, "%s%s", hidden->len > 0 ? ", " : "", row->name);
    } else {
        rc |= buf_append_lit(out, first_one ? "{" : ",{");
        rc |= ctl_put_text(out, "name", str_from(row->name));
        rc |= ctl_put_raw(out, "before", value.raw);
        rc |= ctl_put_text(out, "after", buf_view(&after));
        rc |= ctl_put_text(out, "applies", ctl_text(running, "applies"));
        rc |= buf_append_char(out, '}');
    }
    buf_fini(&after);
    return rc;
}

/* What nobody has set on either side is the daemon's own to choose. */
static int put_changes_to_file(const struct json_value *page, struct buf *out)
{
    struct json_value running;
    struct buf hidden = {0};
    int rc = ctl_put_raw(out, "changes", STR_LIT("["));

    for (size_t i = 0; i < config_row_count() && rc == 0; i++)
        if (find_row(page, config_row(i)->name, &running) &&
            (is_true(&running, "set") || table_was_set(&config_table, &first, i)))
            rc = put_row(&running, i, out, &hidden);
    rc |= buf_append_char(out, ']');
    rc |= ctl_put_text(out, "not_compared", buf_view(&hidden));
    buf_fini(&hidden);
    return rc;
}

/* {"changes":[...],"defaults":[...],...} of what was asked for. Exit status NO_ANSWER, or SAME. */
static int diff_files(const char *a, const char *b, struct buf *out)
{
    struct buf reloadable = {0}, restart = {0}, page = {0};
    struct json_value v;
    int rc;

    if (load(&first, a, false) == -1 || load(&second, b, false) == -1)
        return NO_ANSWER;
    rc = config_diff(&first, &second, &reloadable, &restart);
    rc |= ctl_put_raw(out, "changes", STR_LIT(""));
    rc |= config_compare_json(&first, &second, buf_view(&reloadable), out);
    rc |= config_write_json(&second, &page);
    if (rc == 0 && json_parse(buf_view(&page), &v, NULL) == 0)
        rc |= put_defaults(&v, out);
    buf_fini(&reloadable);
    buf_fini(&restart);
    buf_fini(&page);
    return rc == 0 ? SAME : NO_ANSWER;
}

static int ask_running(struct buf *body, struct json_value *page)
{
    if (ctl_ask("/debug/config?format=json", NULL, body, false) == -1)
        return -1;
    if (json_parse(buf_view(body), page, NULL) == -1)
        return ctl_wrong_server("its /debug/config?format=json is no JSON", false);
    return 0;
}

static int diff_file(const char *path, struct buf *out)
{
    struct buf body = {0};
    struct json_value page;
    int rc = NO_ANSWER;

    if (load(&first, path, true) == 0 && ask_running(&body, &page) == 0) {
        rc = put_changes_to_file(&page, out) == 0 ? SAME : NO_ANSWER;
        if (put_defaults(&page, out) == -1)
            rc = NO_ANSWER;
    }
    buf_fini(&body);
    return rc;
}

/* Settings by name alone, of a list of the report's. */
static int put_names(const struct json_value *report, const char *list, const char *applies,
                     struct buf *out)
{
    struct json_value names, name;
    struct str rest = STR_NULL;
    int rc = 0;

    if (json_get(report, str_from(list), &names) && names.type == JSON_ARRAY)
        rest = names.raw;
    while (rest.n > 0 && json_element(&rest, &name) && rc == 0) {
        rc |= buf_append_lit(out, out->p[out->len - 1] == '[' ? "{" : ",{");
        rc |= ctl_put_raw(out, "name", name.raw);
        rc |= ctl_put_text(out, "applies", str_from(applies));
        rc |= buf_append_char(out, '}');
    }
    return rc;
}

/* A report that had no room for the values has the names, if need be not even these. */
static int put_reported(const struct json_value *report, struct buf *out)
{
    struct json_value settings;
    int rc;

    if (reload_is_complete(report) && json_get(report, STR_LIT("settings"), &settings))
        return ctl_put_raw(out, "changes", settings.raw);
    rc = ctl_put_raw(out, "changes", STR_LIT("["));
    rc |= put_names(report, "changed", "reload", out);
    rc |= put_names(report, "restart", "restart", out);
    rc |= buf_append_char(out, ']');
    return rc | ctl_put_raw(out, "complete", STR_LIT("false"));
}

/* What the daemon itself says of the sources that it was started with. */
static int diff_reload(struct buf *out)
{
    static const char *const members[] = {"result", "errors", "warnings", "certificates"};
    struct buf body = {0}, running = {0};
    struct json_value report, page, v;
    int rc = NO_ANSWER;

    if (reload_ask("/debug/reload?look=1", &body, &report) == 0 &&
        ask_running(&running, &page) == 0) {
        bool lost = put_reported(&report, out) != 0;

        for (size_t i = 0; i < ARRAY_LEN(members); i++)
            if (json_get(&report, str_from(members[i]), &v))
                lost |= ctl_put_raw(out, members[i], v.raw) == -1;
        lost |= put_defaults(&page, out) == -1;
        rc = lost ? NO_ANSWER : reload_result_is(&report, "refused") ? REFUSED : SAME;
    }
    buf_fini(&body);
    buf_fini(&running);
    return rc;
}

/* A table of those that a reload applies, or of those that it does not. Number of them. */
static size_t print_changes(const struct json_value *changes, const char *applies,
                            const char *title, int *rc)
{
    static const struct ctl_column columns[] = {CTL_LEFT("setting", 0), CTL_LEFT("before", 40),
                                                CTL_LEFT("after", 40)};
    struct ctl_table t = ctl_table_of(columns, ARRAY_LEN(columns));
    struct str rest = changes->raw;
    struct json_value one;
    size_t n = 0;

    while (json_element(&rest, &one)) {
        if (!str_equal(ctl_text(&one, "applies"), str_from(applies)))
            continue;
        ctl_cell_member(&t, &one, "name");
        ctl_cell_member(&t, &one, "before");
        ctl_cell_member(&t, &one, "after");
        n++;
    }
    if (n > 0 && ctl.output == CTL_TABLE) {
        out_printf("%s\n", title);
        *rc |= ctl_table_print(&t);
        out_printf("\n");
    }
    buf_fini(&t.text);
    return n;
}

static int print_defaults(const struct json_value *list)
{
    static const struct ctl_column columns[] = {CTL_LEFT("setting", 0), CTL_LEFT("value", 40),
                                                CTL_LEFT("default", 40)};
    struct ctl_table t = ctl_table_of(columns, ARRAY_LEN(columns));
    struct str rest = list->raw;
    struct json_value one;

    while (json_element(&rest, &one)) {
        ctl_cell_member(&t, &one, "name");
        ctl_cell_member(&t, &one, "value");
        ctl_cell_member(&t, &one, "default");
    }
    out_printf("differs from the default:\n");
    return ctl_table_print(&t);
}

/* Whatever of the rest there is. */
static void print_words(const struct json_value *whole)
{
    struct str hidden = ctl_text(whole, "not_compared");

    reload_say_lines(whole, "errors", "a reload would be refused: ");
    reload_say_lines(whole, "warnings", "warning: ");
    if (str_equal(ctl_text(whole, "certificates"), STR_LIT("replaced")))
        out_printf("certificates would be replaced\n\n");
    if (hidden.n > 0)
        fprintf(stderr, "roostctl: secrets that are set here and there are not compared: %.*s\n",
                STR_ARG(hidden));
}

/* Of a report without room for everything: its result says whether there is more than what is named. */
static int status_of_incomplete(const struct json_value *whole)
{
    return reload_result_is(whole, "needs_restart") ? WANTS_RESTART
           : reload_result_is(whole, "unchanged")   ? SAME
                                                    : DIFFERS;
}

/* Exit status, unless it is settled. */
static int print_diff(struct str text, int status)
{
    struct json_value whole, changes, defaults;
    size_t restart, reload;
    bool complete;
    int rc = 0;

    if (json_parse(text, &whole, NULL) == -1 || !json_get(&whole, STR_LIT("changes"), &changes) ||
        !json_get(&whole, STR_LIT("defaults"), &defaults)) {
        fprintf(stderr, "roostctl: out of memory\n");
        return NO_ANSWER;
    }
    complete = reload_is_complete(&whole);
    reload = print_changes(&changes, "reload", "a reload applies:", &rc);
    restart = print_changes(&changes, "restart", "needs a restart:", &rc);
    if (ctl.output == CTL_JSON) {
        rc |= ctl_print_json(text);
    } else {
        if (reload + restart == 0 && status == SAME && complete)
            out_printf("no setting differs\n\n");
        reload_say_incomplete(&whole);
        print_words(&whole);
        rc |= print_defaults(&defaults);
    }
    if (rc != 0 || status != SAME)
        return rc != 0 ? NO_ANSWER : status;
    if (!complete)
        return status_of_incomplete(&whole);
    return restart > 0 ? WANTS_RESTART : reload > 0 ? DIFFERS : SAME;
}

static int diff(const struct ctl_line *line)
{
    struct buf out = {0};
    int rc = buf_append_char(&out, '{') == 0 ? SAME : NO_ANSWER;

    if (rc == SAME)
        rc = line->count == 3   ? diff_files(line->operands[1], line->operands[2], &out)
             : line->count == 2 ? diff_file(line->operands[1], &out)
                                : diff_reload(&out);
    if (rc != NO_ANSWER)
        rc = buf_append_char(&out, '}') == 0 ? print_diff(buf_view(&out), rc) : NO_ANSWER;
    buf_fini(&out);
    return rc;
}

bool config_asks_nobody(const struct ctl_line *line)
{
    return str_equal(str_from(line->operands[0]), STR_LIT("check")) || line->count == 3;
}

int cmd_config(const struct ctl_line *line)
{
    struct str what = str_from(line->operands[0]);

    if (str_equal(what, STR_LIT("check")))
        return check(line);
    if (str_equal(what, STR_LIT("diff")))
        return diff(line);
    fprintf(stderr, "roostctl: config %.60s: expected check or diff\n", line->operands[0]);
    return 2;
}
