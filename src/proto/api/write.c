/* proto/api/write.c - results and errors, and how each error mode says them.
 *
 * native: an error is an object with HTTP 200, and says what is wrong with the request; what was not
 * done is 503, what may have been is 504. centrifugo: always 200, errors in the original's words.
 * transport: the object alone, with the status of tbl/api.def. Within a batch errors are objects. */
#include "api_internal.h"
#include "base/config.h"
#include "codec/base64.h"
#include "core/epoch.h"
#include "core/tags.h"
#include "proto/payload.h"

static const struct error_row {
    enum api_code code;
    int status;
    const char *text;
} errors[] = {
#define ERROR(NAME, code_, status_, text_) {.code = (code_), .status = (status_), .text = (text_)},
#include "tbl/api.def"
};

static const struct error_row *error_row(enum api_code code)
{
    size_t i = 0;

    while (i + 1 < ARRAY_LEN(errors) && errors[i].code != code)
        i++;
    return &errors[i];
}

/* ---- results ---- */

int api_open(struct api_op *op)
{
    const char *key = op->call->form == API_MANY ? api_method_name(op->method) : "result";

    if (blob_begin(&op->out, 64) == -1)
        return -1;
    return buf_printf(&op->out, "{\"%s\":", key);
}

int api_close(struct api_op *op)
{
    return buf_append_char(&op->out, '}');
}

int api_append_position(struct buf *out, struct position at)
{
    char epoch[EPOCH_TEXT];

    if (buf_printf(out, "\"offset\":%llu", (unsigned long long)at.offset) == -1)
        return -1;
    if (at.epoch == 0 || at.epoch > EPOCH_MAX)
        return buf_append_lit(out, ",\"epoch\":\"\"");
    epoch_write(at.epoch, epoch);
    return buf_printf(out, ",\"epoch\":\"%.*s\"", EPOCH_TEXT, epoch);
}

/* What should be JSON; what is none becomes a string. */
static int append_raw(struct buf *out, struct str raw)
{
    struct json_value v;
    size_t at;

    if (json_parse(raw, &v, &at) == 0)
        return buf_append(out, raw);
    return json_append_string(out, raw);
}

int api_append_client_info(struct buf *out, const struct client_info *info)
{
    if (buf_append_lit(out, "{\"user\":") == -1 || json_append_string(out, info->user) == -1 ||
        buf_append_lit(out, ",\"client\":") == -1 || json_append_string(out, info->client) == -1)
        return -1;
    if (info->conn_info.n > 0 &&
        (buf_append_lit(out, ",\"conn_info\":") == -1 || append_raw(out, info->conn_info) == -1))
        return -1;
    if (info->chan_info.n > 0 &&
        (buf_append_lit(out, ",\"chan_info\":") == -1 || append_raw(out, info->chan_info) == -1))
        return -1;
    return buf_append_char(out, '}');
}

static int append_base64(struct buf *out, struct str s)
{
    if (buf_append_char(out, '"') == -1 || base64_append(out, s) == -1)
        return -1;
    return buf_append_char(out, '"');
}

int api_append_data(struct buf *out, uint8_t flags, struct str data)
{
    if (payload_is_json(flags, data))
        return buf_append(out, data);
    return flags & RECORD_BINARY ? append_base64(out, data) : json_append_string(out, data);
}

int api_append_tags(struct buf *out, struct str tags)
{
    struct str name, value;
    char before = '{';

    while (tags_next(&tags, &name, &value)) {
        if (buf_append_char(out, before) == -1 || json_append_string(out, name) == -1 ||
            buf_append_char(out, ':') == -1 || json_append_string(out, value) == -1)
            return -1;
        before = ',';
    }
    return buf_append_lit(out, before == '{' ? "{}" : "}");
}

/* ---- errors ---- */

/* The original's words are all that the other modes say, but where it has none of its own. */
static int append_message(struct buf *out, enum api_mode mode, enum api_code code, const char *name,
                          const char *detail)
{
    const char *text = error_row(code)->text;
    struct buf message = {0};
    int rc;

    if (code == API_INTERNAL && detail != NULL)
        return json_append_string(out, str_from(detail));
    if (mode != API_NATIVE || detail == NULL)
        return json_append_string(out, str_from(text));
    rc = buf_printf(&message, "%s: %s%s%s", text, name == NULL ? "" : name, name == NULL ? "" : " ",
                    detail);
    if (rc == 0)
        rc = json_append_string(out, buf_view(&message));
    buf_fini(&message);
    return rc;
}

static int append_inner(struct buf *out, enum api_mode mode, enum api_code code, const char *name,
                        const char *detail)
{
    if (buf_printf(out, "{\"code\":%d,\"message\":", (int)code) == -1 ||
        append_message(out, mode, code, name, detail) == -1)
        return -1;
    return buf_append_char(out, '}');
}

int api_append_error(struct buf *out, enum api_mode mode, enum api_code code, const char *name,
                     const char *detail)
{
    if (buf_append_lit(out, "{\"error\":") == -1 ||
        append_inner(out, mode, code, name, detail) == -1)
        return -1;
    return buf_append_char(out, '}');
}

/* Which channels of a broadcast are in doubt: they are handed over in the request's order. */
static int append_doubt(const struct api_op *op, struct buf *text)
{
    size_t all = op->req.channels.n;
    struct str rest = op->rest;
    struct json_value next;

    if (!json_element(&rest, &next))
        return buf_printf(text, "; it concerns all %zu channels", all);
    if (buf_printf(text, "; it concerns the first %zu of %zu channels, for the others", op->placed,
                   all) == -1)
        return -1;
    if (next.raw.n <= CHANNEL_NAME_MAX &&
        buf_printf(text, ", from %.*s on,", STR_ARG(next.raw)) == -1)
        return -1;
    return buf_append_lit(text, " it is not done");
}

/* What is said of an op that has no result. text: "" where there is nothing beside the code. */
static int describe(const struct api_op *op, enum api_code *code, const char **name,
                    struct buf *text)
{
    const char *detail = op->detail;
    int rc = 0;

    *code = op->code;
    *name = NULL;
    if (op->outcome == API_UNREAD) {
        *code = API_BAD_REQUEST;
        *name = op->fault.name;
        detail = op->fault.message;
    } else if (op->outcome == API_FAILED || op->outcome == API_UNKNOWN) {
        *code = API_INTERNAL;
        detail = NULL;
        rc = buf_printf(text, "%s: %s",
                        op->outcome == API_FAILED ? "not done, retry" : "outcome unknown",
                        close_row(op->why)->text);
    }
    if (rc == 0 && op->outcome == API_UNKNOWN && op->method == API_BROADCAST)
        rc = append_doubt(op, text);
    if (rc == 0 && detail != NULL)
        rc = buf_append_lit(text, detail);
    return rc == -1 ? -1 : buf_append_char(text, '\0');
}

static int append_failure(const struct api_op *op, bool inner, struct buf *out)
{
    enum api_mode mode = op->call->mode;
    struct buf text = {0};
    enum api_code code;
    const char *name;
    int rc;

    rc = describe(op, &code, &name, &text);
    if (rc == 0 && inner)
        rc = append_inner(out, mode, code, name, text.len > 1 ? text.p : NULL);
    else if (rc == 0)
        rc = api_append_error(out, mode, code, name, text.len > 1 ? text.p : NULL);
    buf_fini(&text);
    return rc;
}

int api_append_outcome(struct api_op *op, struct buf *out)
{
    if (op->outcome == API_RESULT)
        return buf_append(out, str_skip(buf_view(&op->out), BLOB_HEAD));
    return append_failure(op, false, out);
}

/* ---- the response of a call with one op ---- */

static void respond_unread(struct http_exchange *x, const struct api_fault *f)
{
    char text[160];
    int n;

    if (f->name == NULL)
        n = snprintf(text, sizeof(text), "the body is %s (byte %zu)\n", f->message, f->at);
    else
        n = snprintf(text, sizeof(text), "bad request: %s %s\n", f->name, f->message);
    http_respond(x, 400, "text/plain; charset=utf-8", STR_LIT(""),
                 (struct str){.p = text, .n = (size_t)n});
}

static int status_of(const struct api_op *op)
{
    enum api_outcome o = op->outcome;

    if (op->call->mode == API_CENTRIFUGO)
        return 200;
    if (op->call->mode == API_TRANSPORT)
        return error_row(o == API_ERROR    ? op->code
                         : o == API_UNREAD ? API_BAD_REQUEST
                                           : API_INTERNAL)
            ->status;
    return o == API_UNKNOWN ? 504 : 200;
}

static void respond_failure(struct http_exchange *x, const struct api_op *op)
{
    struct buf out = {0};

    x->error_object = true;
    if (op->outcome == API_FAILED || op->outcome == API_UNKNOWN) {
        x->keep_alive = false;
        x->counts_as = op->outcome == API_FAILED ? 503 : 504;
    }
    if (append_failure(op, op->call->mode == API_TRANSPORT, &out) == -1)
        conn_kill(x->conn, CLOSE_NO_MEMORY); /* no answer says as much */
    else
        http_respond(x, status_of(op), API_JSON, STR_LIT(""), buf_view(&out));
    buf_fini(&out);
}

void api_respond_one(struct api_call *call, struct api_op *op)
{
    struct http_exchange *x = call->x;
    struct blob *body;

    if (op->outcome == API_RESULT) {
        body = blob_finish(&op->out);
        http_respond_blob(x, 200, API_JSON, body);
        blob_put(&body);
    } else if (op->outcome == API_UNREAD && op->fault.code == API_NO_ERROR) {
        x->error_object = true;
        respond_unread(x, &op->fault);
    } else if (op->outcome == API_FAILED && call->mode == API_NATIVE) {
        http_refuse(x, op->why);
    } else {
        respond_failure(x, op);
    }
}
