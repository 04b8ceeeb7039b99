/* proc/config_internal.h - what the files that load settings share: config_load.c, config_check.c,
 * config_check_clients.c, config_check_engine.c, config_check_listeners.c, config_check_proxies.c,
 * config_compare.c, config_files.c, config_keys.c, config_print.c, tls_files.c. */
#ifndef ROOST_PROC_CONFIG_INTERNAL_H
#define ROOST_PROC_CONFIG_INTERNAL_H

#include "proc/config_load.h"

/* Appends "where: text". A line that cannot be stored for lack of memory is lost. */
void config_report(struct buf *errors, const char *where, const char *text);

/* config_check.c: the folder of a file that will be written must be there. */
int config_check_folder(const char *name, const char *path, struct buf *errors);

/* config_check_listeners.c */
/* first: at the start, when the machine is looked at, too. */
int config_check_listeners(const struct config *c, bool first, struct buf *errors);
/* Can only this machine reach all listeners of the kind? */
bool config_listens_locally(const struct config *c, enum listener_kind kind);
/* Do they differ in what no reload applies? */
bool config_listeners_moved(const struct config *a, const struct config *b);

/* config_check_clients.c: what concerns Centrifuge clients and the server API beside them. */
int config_check_clients(const struct config *c, struct buf *errors);
int config_warn_clients(const struct config *c, struct buf *lines) MUST_CHECK;
/* config_check_proxies.c: whom we believe about others. */
int config_check_proxies(const struct config *c, struct buf *errors);
/* Of the engine. */
int config_check_engine(const struct config *c, struct buf *errors);
int config_warn_proxies(const struct config *c, struct buf *lines) MUST_CHECK;
/* config_keys.c: fills c->keys from the settings and the files they name. running: at a reload what is
 * in force, whose keys stay where a file can no longer be read. -1: said why. */
int config_read_keys(struct config *c, const struct config *running, struct buf *errors) MUST_CHECK;
/* config_load.c: at a reload, after read_whole_file() has failed: may the user of this process no longer
 * read the file, which is the one it was? Then what it held stays, and this says so in a line. */
bool config_keeps(const char *path, const char *path_before);
/* Names of settings whose files hold something else now. */
int config_diff_keys(const struct config *a, const struct config *b, struct buf *out) MUST_CHECK;

/* Of keys that are easily guessed or of no use. */
int config_warn_keys(const struct config *c, struct buf *lines) MUST_CHECK;

#endif
