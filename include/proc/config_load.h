/* proc/config_load.h - file (YAML), environment (ROOST_*) and --set, in rising precedence, into
 * struct config. Printing it is in config_print.c, the manual page in config_manual.c.
 *
 * All or nothing: *out is written only on success. Errors are complete lines for a person:
 *   roost.yaml:3:10: ping_interval: expected a duration such as 250ms, 10s, 5m or 1h, got "fast"
 *   roost.yaml:5:1: unknown key "max_conections"; did you mean "max_connections"?
 *   environment ROOST_WORKERS: expected auto or a whole number from 1 to 128, got "0"
 * Secrets are in no message. What is null in a file, or null, ~ or empty in the environment, is as
 * if it were not there.
 *
 * Absence is not consent: a reload refuses a file that is no regular file, that was a pipe, or that
 * sets nothing any more ("{}" says that this is meant). At the first start a pipe may be read
 * (--config <(...)), for at most a few seconds. No open(2) here waits for a writer. */
#ifndef ROOST_PROC_CONFIG_LOAD_H
#define ROOST_PROC_CONFIG_LOAD_H

#include "base/buf.h"
#include "base/config.h"
#include "net/listener_socket.h"

struct config_source {
    const char *path;        /* NULL: no file */
    const char *const *sets; /* "key=value" strings from --set, in order */
    size_t nsets;
    char *const *environ_vars;    /* like environ(7) */
    const struct config *running; /* at a reload: what is in force; NULL: the first start */
};

/* Reads all sources and api_key_file, derives, then checks what spans settings (config_check). -1:
 * one or more lines, '\n'-separated, in *errors. */
int config_load(struct config *out, const struct config_source *src, struct buf *errors) MUST_CHECK;
/* What stands in files that only the master opens and that another process needs whole. */
struct config_files {    /* owned */
    struct buf fetch_ca; /* egress: of token_fetch_ca_file; empty: the system's count */
    struct buf engine_ca, engine_certificate,
        engine_key; /* hub: of engine_tls_*; or the system's */
};
extern struct config_files config_files; /* in force; a forked child has it, too */
/* running: at a reload; a file that can no longer be read keeps what it held. -1: lines in errors,
 * nothing in *out. */
int config_files_read(struct config_files *out, const struct config *c,
                      const struct config *running, struct buf *errors) MUST_CHECK;
/* Appends the names of settings whose files hold something else now. */
int config_files_diff(const struct config *fresh, struct config_files *read,
                      struct buf *names) MUST_CHECK;
/* What the hub needs of them in one text, and back; views into it. -1: no memory, or it is none. */
struct tls_client_texts;
int config_files_pack_engine(const struct config_files *f, struct buf *out) MUST_CHECK;
int config_files_unpack_engine(struct str packed, struct tls_client_texts *out) MUST_CHECK;
/* In a child: what is another's goes, overwritten; with it passwords among the settings. */
void config_files_keep_for(bool hub, bool egress);
/* Does an address of the engine's ask for TLS? */
bool config_engine_has_tls(const struct config *c);
/* Both overwrite what was there. */
void config_files_fini(struct config_files *f);
void config_wipe(struct buf *secret);
/* Parses YAML text only, on top of what *out holds, and derives. seen: what was in it; may
 * be NULL. */
struct table_yaml_seen;
int config_load_text(struct config *out, const char *path, struct str text,
                     struct table_yaml_seen *seen, struct buf *errors) MUST_CHECK;
/* Is NAME (without ROOST_) one that Kubernetes gives to pods beside a Service called roost or
 * roost-...? */
bool config_is_service_variable(struct str name, struct str value);
/* Does a value begin and end with the same quote? Then it is likely that they were meant for a shell. */
bool config_in_quotes(struct str value);
#define CONFIG_QUOTES                                                                              \
    "it begins and ends with a quote, which is a part of it: docker's --env-file, and lists in "   \
    "compose files, take none off"

/* Rules across settings, what no machine can satisfy. first: also what only matters at a start.
 * Appends lines to errors; number of errors. */
int config_check(const struct config *c, bool first, struct buf *errors);
/* What works and is hardly meant: limits that others make unreachable, a short key. Appends lines;
 * -1: no memory. */
int config_warnings(const struct config *c, struct buf *lines) MUST_CHECK;
/* Mode, owner and group of a UNIX socket. -1 with a sentence in err: there is no such user or
 * group. */
int config_listener_file(const struct listener_options *o, struct listener_file *out, char *err,
                         size_t errcap) MUST_CHECK;
/* Lines about settings that protect and that `after` no longer has. */
int config_removed(const struct config *before, const struct config *after,
                   struct buf *lines) MUST_CHECK;

/* The whole configuration, annotated, as YAML that config_load_text() reads back to the same
 * values, but for secrets, which are neither shown nor read back. */
int config_print(const struct config *c, struct buf *out) MUST_CHECK;
/* Markdown reference of all settings (for deploy/CONFIGURATION.md; `make lint` compares). */
int config_reference(struct buf *out) MUST_CHECK;
/* roost.yaml(5), in roff. */
int config_manual(struct buf *out) MUST_CHECK;
/* A setting as people read it: "(set)" for a secret or a key in PEM, lists with commas. */
int config_value_text(const struct config *c, size_t i, struct buf *out) MUST_CHECK;
/* {"settings":[{"name","value","default","set","is_default","applies"},...]}: applies says "reload" or
 * "restart". */
int config_write_json(const struct config *c, struct buf *out) MUST_CHECK;
/* Would a reload that leads from a to b apply this row? */
bool config_row_reloads(const struct config *a, const struct config *b, size_t i);
/* [{"name","before","after","applies"},...] of all that differ; contents: names as config_diff() writes
 * them, those among them count of which only the files hold something else. */
int config_compare_json(const struct config *a, const struct config *b, struct str contents,
                        struct buf *out) MUST_CHECK;
/* Names of settings whose values differ, comma-separated, split by whether a reload may
 * apply them. */
int config_diff(const struct config *a, const struct config *b, struct buf *reloadable,
                struct buf *restart) MUST_CHECK;

#endif
