/* proto/api/many.c - several commands in one exchange: POST /api/batch, and the legacy POST /api.
 *
 * Happy path: 1 the body's commands are counted · 2 a task begins as many as may be under way (one,
 * or API_MAX_PARALLEL), a few per step · 3 one ends: the task writes it, when all before it are
 * written, and begins the next · 4 the response. can fail: a command (its answer says so), the time
 * (what is under way ends, what has not begun is not done), memory (the connection ends). */
#include <inttypes.h>

#include "api_internal.h"
#include "base/config.h"

#define SLICE 64 /* commands begun or answers written in one step */

/* A command of the batch: the first method, in the table's order, that it has. */
static enum api_method batch_command(struct str command, struct json_value *body)
{
    enum api_method first = API_METHOD_NR;
    struct json_value key, value;

    while (json_member(&command, &key, &value)) {
        enum api_method m = api_method_find(&key);

        if (m < first && m != API_BATCH && value.type != JSON_NULL) {
            first = m;
            *body = value;
        }
    }
    return first;
}

/* In whatever case: clients may write PUBLISH. */
static enum api_method legacy_method(struct json_value name)
{
    char text[32];

    if (name.raw.n > sizeof(text))
        return API_METHOD_NR;
    for (size_t i = 0; i < name.raw.n; i++) {
        char c = name.raw.p[i];

        text[i] = c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
    }
    name.raw.p = text;
    return api_method_find(&name);
}

/* The number that the answer says, so that it is known whose it is. */
static uint32_t legacy_id(const struct json_value *command)
{
    struct json_value id;
    uint64_t n;

    if (!json_get(command, STR_LIT("id"), &id) || json_u64(&id, &n) == -1 || n > UINT32_MAX)
        return 0;
    return (uint32_t)n;
}

/* {"id":1,"method":"publish","params":{...}}; the id may be absent. */
static enum api_method legacy_command(const struct json_value *command, struct json_value *body)
{
    struct json_value name;
    enum api_method m;

    if (!json_get(command, STR_LIT("method"), &name) || name.type != JSON_STRING)
        return API_METHOD_NR;
    if (!json_get(command, STR_LIT("params"), body) || body->type == JSON_NULL)
        body->raw = STR_LIT("{}");
    m = legacy_method(name);
    return m == API_BATCH ? API_METHOD_NR : m;
}

/* The next command, if there is one. */
static bool next_command(struct api_call *call, struct json_value *command)
{
    if (call->form == API_LEGACY)
        return json_take(&call->rest, command) == 0;
    return json_element(&call->rest, command);
}

/* One more answer begins. */
static int separate(struct api_call *call)
{
    if (call->written++ == 0)
        return 0;
    return buf_append_char(&call->out, call->form == API_LEGACY ? '\n' : ',');
}

static int begin(struct api_call *call, const struct json_value *command)
{
    struct json_value body = {0};
    enum api_method m = call->form == API_LEGACY ? legacy_command(command, &body)
                                                 : batch_command(command->raw, &body);

    if (call->form == API_LEGACY)
        call->id = legacy_id(command);
    return api_op_new(call, m, body.raw);
}

/* In a stream of lines a line end ends an answer; within JSON it is white space. */
static void to_one_line(struct buf *out, size_t from)
{
    for (size_t i = from; i < out->len; i++)
        if (out->p[i] == '\n' || out->p[i] == '\r')
            out->p[i] = ' ';
}

/* Writes the first op, which has ended. */
static int write_first(struct api_call *call)
{
    struct api_op *op = LIST_ENTRY(call->ops.next, struct api_op, link);
    size_t from;
    int rc = separate(call);

    if (rc == 0 && call->id != 0)
        rc = buf_printf(&call->out, "{\"id\":%" PRIu32, call->id);
    from = call->out.len;
    if (rc == 0 && call->out.len + op->out.len > API_MAX_ANSWER)
        rc = api_append_error(&call->out, call->mode, API_INTERNAL, NULL, api_too_much);
    else if (rc == 0)
        rc = api_append_outcome(op, &call->out);
    if (rc == 0 && call->id != 0)
        call->out.p[from] = ','; /* the brace; an answer has members */
    if (rc == 0 && call->form == API_LEGACY)
        to_one_line(&call->out, from);
    api_op_free(op);
    return rc;
}

static bool first_has_ended(const struct api_call *call)
{
    return !list_empty(&call->ops) &&
           LIST_ENTRY(call->ops.next, struct api_op, link)->outcome != API_UNDER_WAY;
}

/* 1: there may be more to do at once, 0: not now, -1: no memory. */
static int many_slice(struct api_call *call)
{
    struct json_value command;

    for (int i = 0; i < SLICE; i++) {
        if (first_has_ended(call)) {
            if (write_first(call) == -1)
                return -1;
            continue;
        }
        if (call->held == call->window || !next_command(call, &command))
            return 0;
        if (begin(call, &command) == -1)
            return -1;
    }
    return 1;
}

enum task_result api_many_step(struct task *t)
{
    struct api_call *call = CONTAINER_OF(t, struct api_call, task);
    int rc;

    call->inside = true;
    rc = many_slice(call);
    call->inside = false;
    if (rc > 0)
        return TASK_MORE;
    if (rc == 0 && !list_empty(&call->ops))
        return TASK_DONE;
    if (rc == 0 && call->form == API_MANY && call->written > 0)
        rc = buf_append_lit(&call->out, "]}");
    if (rc == -1)
        api_call_no_memory(call);
    else
        api_call_finish(call);
    return TASK_DONE;
}

/* ---- how it begins ---- */

static int become_many(struct api_call *call, enum api_form form, struct str commands,
                       size_t window, const char *text)
{
    call->form = form;
    call->rest = commands.p == NULL ? STR_LIT("[]") : commands;
    call->window = window;
    if (blob_begin(&call->out, 256) == -1)
        return -1;
    return buf_append_lit(&call->out, text);
}

/* The body has been read as that of a command; from here on its commands are what counts. */
static void batch_begin(struct api_op *op)
{
    struct api_call *call = op->call;
    struct api_list commands = op->req.commands;
    size_t window = op->req.parallel ? API_MAX_PARALLEL : 1;

    if (become_many(call, API_MANY, commands.raw, window,
                    commands.n == 0 ? "{}" : "{\"replies\":[") == -1) {
        call->form = API_ONE;
        api_op_failed(op, CLOSE_NO_MEMORY);
    } else {
        api_op_free(op);
    }
}

const struct api_method_ops api_batch_ops = {.begin = batch_begin};

static struct str trim(struct str s)
{
    while (s.n > 0 && strchr(" \t\r\n", s.p[0]) != NULL && s.p[0] != '\0')
        s = str_skip(s, 1);
    return s;
}

/* Objects, one after another? */
static bool is_stream(struct str body)
{
    struct json_value v;
    size_t n = 0;

    for (body = trim(body); body.n > 0; n++) {
        if (json_take(&body, &v) == -1 || v.type != JSON_OBJECT)
            return false;
        body = trim(body);
    }
    return n > 0;
}

void api_handle_legacy(struct http_exchange *x)
{
    struct api_call *call;

    if (!is_stream(buf_view(&x->body))) {
        x->error_object = true;
        http_respond(x, 400, "text/plain; charset=utf-8", STR_LIT(""),
                     STR_LIT("the body is no stream of JSON objects\n"));
        return;
    }
    call = api_call_new(x, API_LEGACY);
    if (call == NULL)
        return;
    if (become_many(call, API_LEGACY, buf_view(&x->body), 1, "") == -1)
        api_call_no_memory(call);
    else
        api_call_begun(call);
}
