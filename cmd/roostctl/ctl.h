/* cmd/roostctl/ctl.h - what the commands of roostctl (*.c) share. It waits, with time limits: this is a
 * tool for people. */
#ifndef ROOSTCTL_CTL_H
#define ROOSTCTL_CTL_H

#include "base/buf.h"
#include "base/str.h"
#include "codec/json.h"
#include "codec/ws_rx.h"
#include "commands.h"
#include "net/address.h"
#include "net/dial.h"
#include "table.h"

struct ctl {
    struct address socket; /* of the admin listener, if that is a UNIX socket; len 0: it is not */
    char host[256], port[16]; /* of the admin listener */
    char authority[256 + 24]; /* as it stands in a URL: "[::1]:8001"; "localhost" */
    const char *key;          /* "" = none */
    bool tls;
    const char *ca;         /* file of certificates to trust; "": the system's */
    enum ctl_output output; /* -o: what commands print, see table.h */
    bool any_name; /* ca: files of the certificates that may be shown, whatever their names */
};
extern struct ctl ctl;

/* "http://127.0.0.1:8001", "https://gateway.example", "[::1]:8001",
 * "unix:/run/roost.sock" into ctl. -1: said why. */
int ctl_set_admin(const char *url) MUST_CHECK;

/* node.c: the same from the daemon's own settings (ROOST_...), with its key if none was given. An
 * admin_listen that is off leaves the client listener, where that will do. Exit status: 0, or 1
 * (said why). */
int ctl_find_node(bool client_will_do) MUST_CHECK;

/* The daemon's settings into config, from that file or NULL as above; what only a start needs (folders,
 * free addresses) is not asked for. -1: said why. */
int ctl_take_settings(const char *path) MUST_CHECK;

/* node.c: the daemon's own settings as they stand here, without a word. *good is false, and they are the
 * defaults, where they do not load. */
struct config;
const struct config *ctl_node_settings(bool *good);

/* http.c: one exchange. Status code, or -1 when there was none (said why, unless quiet). body:
 * owned by the caller; request NULL: GET. */
int ctl_http(const char *path, const struct str *request, struct buf *body, bool quiet) MUST_CHECK;
/* The same, of what may take longer than others: the answer is waited for so long. -1 with ENOTCONN: nobody was asked. */
int ctl_http_within(const char *path, const struct str *request, struct buf *body, bool quiet,
                    const struct dial_limits *l) MUST_CHECK;
/* The same for a page that only an admin listener of roostd has: -1 (said why) for everything but
 * 200. */
int ctl_ask(const char *path, const struct str *request, struct buf *body, bool quiet) MUST_CHECK;
/* channels.c: a method of the server API. -1: said why, an error of the method's, too. *result: a view into
 * *body. */
int ctl_api(const char *method, struct str request, struct buf *body,
            struct json_value *result) MUST_CHECK;
/* Says that a key is missing, or that the one that was given is none. */
void ctl_wants_key(void);
/* Says that what answered is not what we talk to: "no such resource", "no JSON". Returns -1. */
int ctl_wrong_server(const char *what, bool quiet);
/* The first line of a response's body. */
struct str ctl_line_of(struct str text);
/* The URL of what is asked, without a path: for people. Borrowed until the next call. */
const char *ctl_url(void);
int ctl_connect(struct dialed *d, bool quiet) MUST_CHECK; /* -1: said why; quiet: errno */
extern const struct dial_limits ctl_patience;

/* ws.c: a WebSocket client on the admin listener. */
struct ctl_ws {
    struct dialed peer;
    struct ws_rx_pool *pool;
    struct ws_rx rx;
    struct str in; /* unread part of buffer */
    char buffer[65536];
};
/* path: e.g. "/ws/lobby?mode=pub". -1: said why, unless quiet. */
int ctl_ws_open(struct ctl_ws *ws, const char *path, bool quiet) MUST_CHECK;
int ctl_ws_send(struct ctl_ws *ws, enum ws_opcode op, struct str payload) MUST_CHECK;
/* Next item; answers pings itself. >0 an item, 0 the connection has ended, -1 nothing within
 * timeout_ms. */
int ctl_ws_next(struct ctl_ws *ws, struct ws_item *item, int timeout_ms) MUST_CHECK;
void ctl_ws_close(struct ctl_ws *ws);

/* Commands: exit status. */
#define COMMAND(name, operands, least, most, line, more)                                           \
    int cmd_##name(const struct ctl_line *cmdline);
#include "commands.def"

/* reload.c: POST to path, and what the daemon reports of the reload, a view into *body. -1: said why. */
int reload_ask(const char *path, struct buf *body, struct json_value *report) MUST_CHECK;
bool reload_result_is(const struct json_value *report, const char *result);
/* False: it was too long, and values (if need be names, too) were left out of it; that is said on stderr. */
bool reload_is_complete(const struct json_value *report);
void reload_say_incomplete(const struct json_value *report);
/* The lines of a list in the report, on stderr. */
void reload_say_lines(const struct json_value *report, const char *name, const char *before);
/* config.c: is no listener needed for it? */
bool config_asks_nobody(const struct ctl_line *line);

/* status.c: what status and top show, and where top reads it. */
struct ctl_view { /* a reading; two give rates */
    double at_s;
    double upgrades, publications, deliveries, in_bytes, out_bytes, cpu;
    struct buf page, node; /* owned: /metrics, /debug/processes */
    struct json_value processes;
};
/* -1: said why, unless quiet. */
int view_read(struct ctl_view *v, bool quiet) MUST_CHECK;
/* Appends the screen; then NULL: totals instead of rates. No line is wider than 79 columns. */
int view_draw(const struct ctl_view *now, const struct ctl_view *then, struct buf *out) MUST_CHECK;
/* The same as an object on one line. */
int view_write_json(const struct ctl_view *now, const struct ctl_view *then,
                    struct buf *out) MUST_CHECK;
void view_fini(struct ctl_view *v);

/* status.c: numbers for people, at most 8 columns wide so that lines fit 80. Return out. */
#define CTL_NUMBER_MAX 32
const char *ctl_amount(double v, char *out);
const char *ctl_bytes(double v, char *out);
const char *ctl_span(double seconds, char *out);
/* A member of an object: 0 or "" when it has none of that kind. */
double ctl_number(const struct json_value *object, const char *name);
struct str ctl_text(const struct json_value *object, const char *name);

/* status.c: the value of a metric in a page of /metrics; label_match NULL or text that must stand
 * in the braces. Sums all lines that match. */
double ctl_metric(struct str page, const char *name, const char *label_match);

#endif
