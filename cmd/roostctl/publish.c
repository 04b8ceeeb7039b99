/* cmd/roostctl/publish.c - publish, tail, get. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include "base/out.h"
#include "codec/http.h"
#include "codec/json.h"
#include "codec/ws_tx.h"
#include "ctl.h"

#define STDIN_MAX     ((size_t)16 * 1024 * 1024)
#define CLOSE_WAIT_MS 5000

static volatile sig_atomic_t stop;

static void on_stop(int sig UNUSED)
{
    stop = 1;
}

static int read_stdin(struct buf *out)
{
    ssize_t n;

    do {
        if (out->len > STDIN_MAX || buf_reserve(out, 65536) == -1)
            return -1;
        n = read(STDIN_FILENO, out->p + out->len, out->cap - out->len);
        if (n > 0)
            out->len += (size_t)n;
    } while (n > 0);
    return n == 0 ? 0 : -1;
}

/* With -o json: what was published, and where it stands when the server has said so; else nothing. */
static int print_published(struct str channel, const struct json_value *result)
{
    struct str rest = result != NULL ? result->raw : STR_NULL;
    struct json_value key, value;
    struct buf out = {0};
    int rc;

    if (ctl.output == CTL_TABLE)
        return 0;
    rc = buf_append_char(&out, '{');
    rc |= ctl_put_text(&out, "channel", channel);
    while (rest.n > 0 && json_member(&rest, &key, &value)) {
        rc |= buf_append_char(&out, ',');
        rc |= buf_append(&out, key.raw);
        rc |= buf_append_char(&out, ':');
        rc |= buf_append(&out, value.raw);
    }
    rc |= buf_append_char(&out, '}');
    if (rc == 0)
        rc = ctl_print_json(buf_view(&out));
    buf_fini(&out);
    return rc;
}

/* By a WebSocket, so that the text arrives as exactly that text. The server answers our close frame
 * only when what we sent has been ordered by the hub: so success means published. */
static int publish_text(struct str channel, struct str data)
{
    static struct ctl_ws ws;
    struct buf path = {0};
    struct ws_item item;
    uint8_t close_payload[WS_CONTROL_MAX];
    size_t n = ws_tx_close_payload(1000, STR_NULL, close_payload);
    int rc = -1, got;
    bool sent;

    if (buf_append_lit(&path, "/ws/") == -1 || http_percent_encode(channel, &path) == -1 ||
        buf_append(&path, (struct str){"?mode=pub", sizeof("?mode=pub")}) == -1)
        goto out;
    if (ctl_ws_open(&ws, path.p, false) == -1)
        goto out;
    /* Who refuses the text may have ended before it has been sent, with a reason to be read. */
    sent = ctl_ws_send(&ws, WS_OP_TEXT, data) == 0 &&
           ctl_ws_send(&ws, WS_OP_CLOSE, (struct str){(char *)close_payload, n}) == 0;
    got = ctl_ws_next(&ws, &item, CLOSE_WAIT_MS);
    if (sent && got > 0 && item.kind == WS_ITEM_CLOSE && item.close_code == 1000)
        rc = print_published(channel, NULL);
    else if (got > 0 && item.kind == WS_ITEM_CLOSE)
        fprintf(stderr, "roostctl: refused: %u %.*s\n", item.close_code, STR_ARG(item.data));
    else
        fprintf(stderr, "roostctl: the server did not confirm\n");
    ctl_ws_close(&ws);
out:
    buf_fini(&path);
    return rc;
}

static int publish_json(struct str channel, struct str data)
{
    struct buf request = {0}, body = {0};
    struct json_value v, result;
    struct str view;
    size_t at;
    int rc = -1;

    if (json_parse(data, &v, &at) == -1) {
        fprintf(stderr, "roostctl: --json: this is %s (byte %zu)\n", json_refusal(data), at);
        return -1;
    }
    if (buf_append_lit(&request, "{\"channel\":") == 0 &&
        json_append_string(&request, channel) == 0 && buf_append_lit(&request, ",\"data\":") == 0 &&
        buf_append(&request, data) == 0 && buf_append_char(&request, '}') == 0) {
        view = buf_view(&request);
        if (ctl_ask("/api/publish", &view, &body, false) == 0) {
            rc = json_parse(buf_view(&body), &v, &at) == 0 &&
                         json_get(&v, STR_LIT("result"), &result)
                     ? 0
                     : -1;
            if (rc == -1)
                fprintf(stderr, "roostctl: %.*s\n", STR_ARG(ctl_line_of(buf_view(&body))));
        }
    }
    if (rc == 0)
        rc = print_published(channel, &result);
    buf_fini(&request);
    buf_fini(&body);
    return rc;
}

int cmd_publish(const struct ctl_line *cmdline)
{
    struct str channel = str_from(cmdline->operands[0]), data = str_from(cmdline->operands[1]);
    struct buf in = {0};
    int rc;

    if (str_equal(data, STR_LIT("-"))) {
        if (read_stdin(&in) == -1) {
            fprintf(stderr, "roostctl: standard input: %s\n", strerror(errno));
            buf_fini(&in);
            return 1;
        }
        data = in.len > 0 ? buf_view(&in) : STR_LIT("");
    }
    rc = cmdline->given[OPTION_PUBLISH_JSON] != NULL ? publish_json(channel, data)
                                                     : publish_text(channel, data);
    buf_fini(&in);
    return rc == 0 ? 0 : 1;
}

static int tail_path(const struct ctl_line *cmdline, bool raw, struct buf *path)
{
    int rc = 0;

    if (raw) {
        rc = buf_append_lit(path, "/ws/");
        rc |= http_percent_encode(str_from(cmdline->operands[0]), path);
        rc |= buf_append_lit(path, "?mode=sub");
    } else {
        rc = buf_append_lit(path, "/ws?mode=sub");
        for (int i = 0; i < cmdline->count; i++) {
            rc |= buf_append_lit(path, "&channel=");
            rc |= http_percent_encode(str_from(cmdline->operands[i]), path);
        }
    }
    return (rc | buf_append_char(path, '\0')) == 0 ? 0 : -1;
}

/* A line, whatever the text holds. */
static void print_shown(struct str text)
{
    struct buf shown = {0};

    if (ctl_append_shown(&shown, text) == 0)
        out_write(buf_view(&shown));
    out_write(STR_LIT("\n"));
    buf_fini(&shown);
}

/* A terminal would obey what is in it; into a pipe it goes unchanged. */
static void print_text(struct str s)
{
    if (isatty(STDOUT_FILENO)) {
        print_shown(s);
        return;
    }
    out_write(s);
    out_write(STR_LIT("\n"));
}

/* {"channel":...,"data":...} as the channel's name and the data behind it. */
static void print_publication(struct str text)
{
    struct json_value v, channel, data;
    struct buf line = {0};

    if (json_parse(text, &v, NULL) == 0 && json_get(&v, STR_LIT("channel"), &channel) &&
        json_get(&v, STR_LIT("data"), &data) && json_string(&channel, &line) == 0 &&
        buf_append_lit(&line, "  ") == 0 &&
        (data.type == JSON_STRING ? json_string(&data, &line) : buf_append(&line, data.raw)) == 0)
        text = buf_view(&line);
    print_shown(text);
    buf_fini(&line);
}

static void print_item(const struct ws_item *item, bool raw)
{
    if (item->kind == WS_ITEM_TEXT && !raw && ctl.output == CTL_TABLE)
        print_publication(item->data);
    else if (item->kind == WS_ITEM_TEXT)
        print_text(item->data);
    else if (item->kind == WS_ITEM_BINARY)
        out_printf("(%zu bytes, binary)\n", item->data.n);
    out_flush();
}

static bool over(void)
{
    return stop || out_is_gone();
}

/* 101 means subscribed: what is published from now on will be printed. */
static void say_subscribed(const struct ctl_line *cmdline, bool again)
{
    fprintf(stderr, "roostctl: subscribed%s to", again ? " again" : "");
    for (int i = 0; i < cmdline->count; i++)
        fprintf(stderr, " %s", cmdline->operands[i]);
    fputc('\n', stderr);
}

/* Until the connection ends. False: it could not be opened. */
static bool tail_once(const struct ctl_line *cmdline, const char *path, bool again)
{
    static struct ctl_ws ws;
    struct ws_item item;
    int rc = -1;

    if (ctl_ws_open(&ws, path, again) == -1)
        return false;
    say_subscribed(cmdline, again);
    while (!over() && rc != 0) {
        rc = ctl_ws_next(&ws, &item, 500);
        if (rc > 0 && item.kind == WS_ITEM_CLOSE)
            break;
        if (rc > 0)
            print_item(&item, cmdline->given[OPTION_TAIL_RAW] != NULL);
    }
    if (!over() && rc > 0)
        fprintf(stderr, "roostctl: closed by the server (%u %.*s), reconnecting\n", item.close_code,
                STR_ARG(item.data));
    else if (!over())
        fprintf(stderr, "roostctl: connection lost, reconnecting\n");
    ctl_ws_close(&ws);
    return true;
}

int cmd_tail(const struct ctl_line *cmdline)
{
    struct sigaction sa = {.sa_handler = on_stop};
    bool raw = cmdline->given[OPTION_TAIL_RAW] != NULL;
    struct buf path = {0};
    int wait_ms = 250;

    if (raw && cmdline->count > 1) {
        fprintf(stderr, "roostctl: tail: --raw takes one channel\n");
        return 2;
    }
    sigaction(SIGINT, &sa, NULL);
    sigaction(SIGTERM, &sa, NULL);
    if (tail_path(cmdline, raw, &path) == -1 || !tail_once(cmdline, path.p, false)) {
        buf_fini(&path);
        return stop ? 0 : 1; /* told to stop while it connected */
    }
    while (!over()) {
        poll(NULL, 0, wait_ms);
        wait_ms = !over() && tail_once(cmdline, path.p, true) ? 250 : MIN(wait_ms * 2, 5000);
    }
    buf_fini(&path);
    return 0;
}

int cmd_get(const struct ctl_line *cmdline)
{
    const char *path = cmdline->operands[0];
    struct buf body = {0};
    int status;

    if (path[0] != '/') {
        fprintf(stderr, "roostctl: get: PATH begins with /, for example /debug/rings; got \"%s\"\n",
                path);
        return 2;
    }
    status = ctl_http(path, NULL, &body, false);
    if (status == 200)
        out_write(buf_view(&body));
    else if (status != -1 && status != 401)
        fprintf(stderr, "roostctl: %s%s: %d %s: %.*s\n", ctl_url(), path, status,
                http_status_phrase(status), STR_ARG(ctl_line_of(buf_view(&body))));
    buf_fini(&body);
    return status == 200 ? 0 : 1;
}
