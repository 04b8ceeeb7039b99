/* proc/import_reference.c - deploy/MIGRATING.md, from the rows. */
#include "import_internal.h"

static const char intro[] =
    "# From Centrifugo to Roost\n\n"
    "Written by `roostd --reference=migrating` from `include/tbl/centrifugo.def`.\n\n"
    "Clients and servers that speak to Centrifugo speak to Roost as they are. Its configuration "
    "becomes ours by\n\n"
    "```sh\n"
    "roostctl import centrifugo config.json > roost.yaml\n"
    "roostd --check --config roost.yaml\n"
    "```\n\n"
    "which reads the files of Centrifugo 6 (nested) and 5 (flat), YAML and JSON. TOML becomes JSON "
    "by\n\n"
    "```sh\n"
    "python3 -c 'import json,sys,tomllib; json.dump(tomllib.load(sys.stdin.buffer), sys.stdout)' < "
    "config.toml > config.json\n"
    "```\n\n"
    "Options from the environment (`CENTRIFUGO_...`) and the command line are not seen: put them "
    "into the file first.\n"
    "What is not carried over is told on standard error, a line each with the reason. The exit "
    "status is 3 when an option that\n"
    "protects was among them, or one that is not known: **none** and a setting's refusal below. 1: "
    "the file is none, or the\n"
    "result is refused.\n\n"
    "## What else is different\n\n"
    "- The server API answers on the admin listener (`admin_listen`, 127.0.0.1:8001), and where "
    "the clients connect only with\n"
    "  `api_on_client_listener`. Import sets that where Centrifugo would serve it there, which is "
    "without `internal_port` or with\n"
    "  `http_api.external`, and with a key or `http_api.insecure`.\n"
    "- `api_error_mode` is `centrifugo` after an import, `plain` and `demo_page` are `false`.\n"
    "- A channel's name has no space, `*`, `\"` or `\\` and at most 255 bytes; a user whose id has "
    "one of them has no personal channel.\n"
    "- `SIGHUP` applies more than channel options: [CONFIGURATION.md](CONFIGURATION.md) says of "
    "each setting whether a reload does.\n"
    "- History and presence are in the hub process, or in Redis with `engine: redis`; NATS keeps "
    "neither. What Centrifugo has written into\n"
    "  Redis is not read, and nodes of both do not meet there: they cannot share channels. While "
    "both run, give Roost another\n"
    "  `engine_prefix` or database.\n"
    "- Certificates and keys are in files: what stands in the configuration as PEM or base64 goes "
    "into one first.\n\n"
    "## Options\n\n";

/* A cell: code, or nothing. */
static int put_code(const char *text, struct buf *out)
{
    if (text[0] == '\0')
        return buf_append_lit(out, "| ");
    return buf_printf(out, "| `%s` ", text);
}

static int put_row(const struct import_row *row, struct buf *out)
{
    bool ours = row->kind == IMPORT_CARRY || row->kind == IMPORT_HANDLE;

    if (put_code(row->v6, out) == -1 || put_code(row->v5, out) == -1)
        return -1;
    if (ours ? put_code(row->setting, out) == -1
             : buf_append_lit(out, row->security ? "| **none** " : "| none ") == -1)
        return -1;
    if (row->kind == IMPORT_FIXED)
        return buf_printf(out, "| only `%s`: %s |\n", row->setting, row->text);
    return buf_printf(out, "| %s |\n", row->text);
}

static int put_rows(bool channel, struct buf *out)
{
    if (buf_append_lit(out, "| Centrifugo 6 | Centrifugo 5 | Roost | |\n|---|---|---|---|\n") == -1)
        return -1;
    for (size_t i = 0; i < import_row_count; i++)
        if (import_rows[i].channel == channel && put_row(&import_rows[i], out) == -1)
            return -1;
    return 0;
}

static int put_channel_options(struct buf *out)
{
    if (buf_append_lit(
            out, "\n## Options of channels\n\nThose of `channel.without_namespace` go into "
                 "`channel_without_namespace`, those of `channel.namespaces` into\n"
                 "`namespaces` (version 5 has the first at the top). These have the same name "
                 "on both sides, or are Roost's own:\n\n") == -1)
        return -1;
    for (size_t i = 0; i < channel_table.n; i++)
        if (buf_printf(out, "%s`%s`", i > 0 ? ", " : "", channel_table.rows[i].name) == -1)
            return -1;
    return buf_append_lit(out, ".\n\nThese there are not:\n\n");
}

int import_reference(struct buf *out)
{
    if (buf_append(out, str_from(intro)) == -1 || put_rows(false, out) == -1 ||
        put_channel_options(out) == -1)
        return -1;
    return put_rows(true, out);
}
