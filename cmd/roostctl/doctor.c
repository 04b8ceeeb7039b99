/* cmd/roostctl/doctor.c - tells how many connections this machine will hold, and why not more. */
#include "doctor.h"

#include <ctype.h>
#include <limits.h>
#include <unistd.h>

#include "base/out.h"
#include "base/read_whole_file.h"
#include "ctl.h"

#define EXIT_TOO_FEW 3

/* The daemon's number, by --pid or by its pid file while it lives. Else "self": the limits of this
 * shell are taken for the daemon's. */
static const char *whose(const struct ctl_line *line, const char *root)
{
    static struct buf text; /* what is returned points into it */
    char path[PATH_MAX], err[128];
    size_t digits = 0;

    if (line->given[OPTION_DOCTOR_PID] != NULL)
        return line->given[OPTION_DOCTOR_PID];
    if (config.pid_file[0] == '\0' ||
        read_whole_file(config.pid_file, 64, NULL, &text, err, sizeof(err)) == -1)
        return "self";
    while (digits < text.len && isdigit((unsigned char)text.p[digits]))
        digits++;
    text.len = digits;
    if (digits == 0 || buf_append_char(&text, '\0') == -1)
        return "self";
    snprintf(path, sizeof(path), "%s/proc/%s/limits", root, text.p);
    return access(path, R_OK) == 0 ? text.p : "self";
}

/* --- for people --- */

static const struct limit *next_of(const struct verdict *v)
{
    for (size_t i = 0; i < v->nlimits; i++)
        if (v->limits[i].connections > v->connections)
            return &v->limits[i];
    return NULL;
}

static int put_verdict(const struct verdict *v, struct buf *out)
{
    const struct limit *first = &v->limits[0], *next = next_of(v);
    int rc;

    if (v->connections < v->asked)
        rc = buf_printf(
            out,
            "This machine will hold %s of the %s connections that max_connections asks for.\n"
            "What stops it: %s: %s.\n",
            doctor_number(v->connections), doctor_number(v->asked), first->name, first->why);
    else
        rc = buf_printf(out,
                        "This machine will hold the %s connections that max_connections allows.\n",
                        doctor_number(v->connections));
    if (rc == 0 && first->fix[0] != '\0')
        rc = buf_printf(out, "Fix: %s.\n", first->fix);
    if (rc == 0 && v->connections >= v->asked && next != NULL)
        rc = buf_printf(out, "With a higher max_connections it would hold %s; then %s stops it.\n",
                        doctor_number(next->connections), next->name);
    return rc;
}

static int put_limits(const struct verdict *v, struct buf *out)
{
    static const struct ctl_column columns[] = {CTL_RIGHT("connections"), CTL_LEFT("limit", 0),
                                                CTL_LEFT("arithmetic", 0)};
    struct ctl_table t = ctl_table_of(columns, ARRAY_LEN(columns));

    for (size_t i = 0; i < v->nlimits; i++) {
        ctl_cell(&t, "%s", doctor_number(v->limits[i].connections));
        ctl_cell(&t, "%s", v->limits[i].name);
        ctl_cell(&t, "%s", v->limits[i].why);
    }
    if (buf_append_char(out, '\n') == -1 || ctl_table_write(&t, out) == -1)
        return -1;
    for (size_t i = 1; i < v->nlimits; i++)
        if (v->limits[i].fix[0] != '\0' &&
            buf_printf(out, "Then %s: %s.\n", v->limits[i].name, v->limits[i].fix) == -1)
            return -1;
    return 0;
}

static int put_notes(const struct verdict *v, struct buf *out)
{
    for (size_t i = 0; i < v->nnotes; i++) {
        const struct note *n = &v->notes[i];

        if (buf_printf(out, "\n%s%s: %s.\n", n->warning ? "! " : "  ", n->name, n->text) == -1 ||
            (n->fix[0] != '\0' && buf_printf(out, "  Fix: %s.\n", n->fix) == -1))
            return -1;
    }
    return 0;
}

/* --- for programs --- */

static int put_number(struct buf *out, const char *name, uint64_t n)
{
    char text[24];

    snprintf(text, sizeof(text), "%llu", (unsigned long long)n);
    return ctl_put_raw(out, name, str_from(text));
}

static int put_fix(const char *fix, struct buf *out)
{
    if (fix[0] != '\0' && ctl_put_text(out, "fix", str_from(fix)) == -1)
        return -1;
    return buf_append_char(out, '}');
}

static int put_limit(const struct limit *l, struct buf *out)
{
    if (buf_append_char(out, '{') == -1 || ctl_put_text(out, "name", str_from(l->name)) == -1 ||
        put_number(out, "connections", l->connections) == -1 ||
        ctl_put_text(out, "why", str_from(l->why)) == -1)
        return -1;
    return put_fix(l->fix, out);
}

static int put_note(const struct note *n, struct buf *out)
{
    if (buf_append_char(out, '{') == -1 || ctl_put_text(out, "name", str_from(n->name)) == -1 ||
        ctl_put_raw(out, "warning", n->warning ? STR_LIT("true") : STR_LIT("false")) == -1 ||
        ctl_put_text(out, "text", str_from(n->text)) == -1)
        return -1;
    return put_fix(n->fix, out);
}

static int put_json(const struct verdict *v, const char *process, struct buf *out)
{
    if (buf_append_char(out, '{') == -1 || put_number(out, "connections", v->connections) == -1 ||
        put_number(out, "asked", v->asked) == -1 ||
        ctl_put_text(out, "stopped_by", str_from(v->limits[0].name)) == -1 ||
        put_number(out, "workers", v->workers) == -1 ||
        ctl_put_text(out, "process", str_from(process)) == -1 ||
        buf_append_lit(out, ",\"limits\":[") == -1)
        return -1;
    for (size_t i = 0; i < v->nlimits; i++)
        if ((i > 0 && buf_append_char(out, ',') == -1) || put_limit(&v->limits[i], out) == -1)
            return -1;
    if (buf_append_lit(out, "],\"notes\":[") == -1)
        return -1;
    for (size_t i = 0; i < v->nnotes; i++)
        if ((i > 0 && buf_append_char(out, ',') == -1) || put_note(&v->notes[i], out) == -1)
            return -1;
    return buf_append_lit(out, "]}\n");
}

static int put_text(const struct verdict *v, const char *process, struct buf *out)
{
    bool shell = strcmp(process, "self") == 0;

    if (put_verdict(v, out) == -1 || put_limits(v, out) == -1 || put_notes(v, out) == -1)
        return -1;
    return shell ? buf_append_lit(
                       out, "\nLimits are those of this shell; --pid names a daemon that runs.\n")
                 : 0;
}

int cmd_doctor(const struct ctl_line *line)
{
    const char *root = line->given[OPTION_DOCTOR_ROOT], *process;
    static struct verdict v;
    struct machine m = {0};
    struct buf out = {0};
    int rc;

    root = root != NULL ? root : "";
    if (ctl_take_settings(line->given[OPTION_DOCTOR_CONFIG]) == -1)
        return 1;
    process = whose(line, root);
    if (machine_read(&m, root, process) == -1) {
        fprintf(stderr, "roostctl: %s/proc/%s/limits: no such process, or it cannot be read\n",
                root, process);
        return 1;
    }
    doctor_judge(&v, &config, &m);
    rc = ctl.output == CTL_JSON ? put_json(&v, process, &out) : put_text(&v, process, &out);
    if (rc != 0)
        fprintf(stderr, "roostctl: no memory\n");
    else
        out_write(buf_view(&out));
    buf_fini(&out);
    return rc != 0 ? 1 : v.connections < v.asked ? EXIT_TOO_FEW : 0;
}
