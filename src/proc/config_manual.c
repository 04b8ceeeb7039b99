/* proc/config_manual.c - roost.yaml(5), from the tables of settings. */
#include "base/program.h"
#include "proc/config_load.h"
#include "proc/version.h"

/* The row as one item: "name", then what it is. */
static int put_row(const struct table_row *row, bool reloads, struct buf *out)
{
    struct str def = row->def != NULL ? table_default_text(row) : STR_LIT("none, it must be given");
    struct buf text = {0};
    int rc = buf_printf(&text, "%s.%s%s\n\n", row->sentence, row->paragraph[0] != '\0' ? " " : "",
                        row->paragraph);

    rc |= table_write_type(row, &text);
    rc |= buf_printf(&text, "; default %.*s%s", STR_ARG(def.n > 0 ? def : STR_LIT("empty")),
                     !reloads                       ? ""
                     : row->change != TABLE_RESTART ? "; reload applies it"
                                                    : "; needs a restart");
    rc |= manual_item(str_from(row->name), buf_view(&text), out);
    buf_fini(&text);
    return rc == 0 ? 0 : -1;
}

static int put_table(const struct table *t, bool reloads, struct buf *out)
{
    int rc = 0;

    for (size_t i = 0; i < t->n && rc == 0; i++)
        rc = put_row(&t->rows[i], reloads, out);
    return rc;
}

int config_manual(struct buf *out)
{
    int rc = manual_title("roost.yaml", 5, version_string(), "settings of roostd", out);

    rc |= manual_section("DESCRIPTION", out);
    rc |= manual_text(
        STR_LIT("A YAML mapping of names to values, which roostd(8) reads with --config FILE or "
                "from ROOST_CONFIG. The same names are variables of the environment, with ROOST_ "
                "and in capitals, and of --set name=value; the later one of these wins.\n\n"
                "  listen: \"[::]:8000\"\n"
                "  max_connections: 200000\n"
                "  allowed_origins: [\"https://*.example.com\"]\n"
                "  namespaces:\n"
                "  - name: chat\n"
                "    presence: true\n\n"
                "Sizes: 512, 64KiB, 1.5MiB, 1MB (a million). Durations: 250ms, 0.5s, 1m30s, 1h. "
                "Truth: true, false, yes, no, on, off. Lists: a sequence in the file, in the "
                "environment and --set words with commas between them, or JSON. What is null or ~, "
                "or an empty variable, is not set.\n\n"
                "roostd --check says what is wrong, with line and column; roostd --print-config "
                "shows what is in force."),
        out);
    rc |= manual_section("SETTINGS", out);
    rc |= put_table(&config_table, true, out);
    rc |= manual_section("OPTIONS OF LISTENERS", out);
    rc |= manual_text(STR_LIT("Of each entry of listeners."), out);
    rc |= put_table(&listener_table, true, out);
    rc |= manual_section("OPTIONS OF CHANNELS", out);
    rc |= manual_text(STR_LIT("Of each entry of namespaces, beside its name, and of "
                              "channel_without_namespace."),
                      out);
    rc |= put_table(&channel_table, false, out);
    rc |= manual_section("SEE ALSO", out);
    rc |= manual_text(STR_LIT("roostd(8), roostctl(1)"), out);
    return rc == 0 ? 0 : -1;
}
