/* proc/supervisor_report.c - what became of a reload, as JSON for /debug/reload (proc/reload.h). */
#include "base/clock.h"
#include "codec/json.h"
#include "supervisor_internal.h"

/* `,"name":["a","b"]` of what stands between separators. */
static int put_list(struct buf *out, const char *name, struct str items, char separator)
{
    const char *sep = "";
    struct str item;
    int rc = buf_printf(out, ",\"%s\":[", name);

    while (items.n > 0 && str_cut(&items, separator, &item) && rc == 0) {
        item = str_trim(item);
        if (item.n == 0)
            continue;
        rc |= buf_append_lit(out, sep);
        rc |= json_append_string(out, item);
        sep = ",";
    }
    return rc == 0 ? buf_append_char(out, ']') : -1;
}

static int write_report(const struct reload_report *r, bool all, struct buf *out)
{
    int rc = buf_printf(out, "{\"result\":\"%s\",\"look\":%s,\"at\":%llu,\"certificates\":\"%s\"",
                        r->result, r->look ? "true" : "false",
                        (unsigned long long)(clock_wall_ns() / NS_PER_SEC),
                        r->certificates ? "replaced" : "same");

    rc |= put_list(out, "changed", buf_view(&r->changed), ',');
    rc |= put_list(out, "restart", buf_view(&r->restart), ',');
    rc |= put_list(out, "errors", buf_view(&r->errors), '\n');
    rc |= put_list(out, "warnings", buf_view(&r->warnings), '\n');
    rc |= buf_append_lit(out, ",\"settings\":");
    rc |= buf_append(out, all && r->settings.len > 0 ? buf_view(&r->settings) : STR_LIT("[]"));
    rc |= buf_printf(out, ",\"complete\":%s}\n", all && !r->lost ? "true" : "false");
    return rc == 0 ? 0 : -1;
}

/* Values that are too long for the place are left out, and if need be everything but the result. */
void report_publish(const struct reload_report *r)
{
    struct shm_reload *s = &shm->reload;
    uint32_t next = atomic_load(&s->n) + 1, place = next % RELOAD_REPORTS;
    struct buf text = {0};
    int rc = write_report(r, true, &text);

    if (rc == -1 || text.len > RELOAD_REPORT_MAX) {
        buf_clear(&text);
        rc = write_report(r, false, &text);
    }
    if (rc == -1 || text.len > RELOAD_REPORT_MAX) {
        s->texts[place].len =
            (uint32_t)snprintf(s->texts[place].text, RELOAD_REPORT_MAX,
                               "{\"result\":\"%s\",\"look\":%s,\"complete\":false}\n", r->result,
                               r->look ? "true" : "false");
    } else {
        memcpy(s->texts[place].text, text.p, text.len);
        s->texts[place].len = (uint32_t)text.len;
    }
    atomic_store(&s->n, next);
    buf_fini(&text);
}

void report_clear(struct reload_report *r)
{
    buf_fini(&r->changed);
    buf_fini(&r->restart);
    buf_fini(&r->errors);
    buf_fini(&r->warnings);
    buf_fini(&r->settings);
    *r = (struct reload_report){.result = ""};
}
