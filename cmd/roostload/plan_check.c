/* plan_check.c - options that cannot work, found before anything starts: a test of an hour must not
 * end with "no such directory". */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "adapter.h"
#include "base/clock.h"
#include "codec/http.h"
#include "codec/ws_tx.h"
#include "failif.h"
#include "plan.h"
#include "sample.h"

#define STORM_AFTER (2 * (int64_t)NS_PER_SEC) /* of scenario storm */

static int complain(struct buf *errors, const char *option, const char *value, const char *why)
{
    char text[640];

    snprintf(text, sizeof(text), "--%s %.200s: %s", option, value, why);
    options_complain(errors, text);
    return -1;
}

int64_t plan_storm_after(const struct options *o)
{
    return o->scenario == SCENARIO_STORM && o->storm_after == 0 ? STORM_AFTER : o->storm_after;
}

static int check_scenario(const struct options *o, struct buf *errors)
{
    if (adapter_find(str_from(o->adapter)) == NULL)
        return complain(errors, "adapter", o->adapter, "expected raw, centrifuge, mqtt or nats");
    if (!str_equal(str_from(o->distribution), STR_LIT("uniform")) &&
        !str_equal(str_from(o->distribution), STR_LIT("zipf")))
        return complain(errors, "distribution", o->distribution, "expected uniform or zipf");
    if (o->channel[0] == '\0')
        return complain(errors, "channel", o->channel, "expected a name, with {c} for its number");
    for (const char *p = o->channel; *p != '\0'; p++)
        if ((unsigned char)*p < ' ' || *p == 0x7f ||
            (*p == ' ' && str_equal(str_from(o->adapter), STR_LIT("nats"))))
            return complain(errors, "channel", o->channel,
                            "control characters, and blanks in a NATS subject, are not possible");
    if (o->scenario == SCENARIO_CHAT && o->connections % o->room != 0) {
        options_complain(errors, "chat: --connections must be a multiple of --room");
        return -1;
    }
    if (plan_storm_after(o) != 0 && plan_storm_after(o) >= o->duration) {
        options_complain(errors, "the storm would come after the end: --storm-after (2s in "
                                 "scenario storm) must be shorter than --duration");
        return -1;
    }
    if (plan_storm_after(o) != 0 && o->storm_share <= 0) {
        options_complain(errors, "a storm in which nobody drops: --storm-share must be above 0");
        return -1;
    }
    return 0;
}

/* Options that only one adapter has. */
static int check_adapter(const struct options *o, struct buf *errors)
{
    const struct adapter *a = adapter_of(o);
    const char *option = o->token_key[0] != '\0' ? "token-key"
                         : o->recover            ? "recover"
                         : o->delta              ? "delta"
                         : o->history > 0        ? "history"
                         : o->protocol != 0      ? "protocol"
                                                 : NULL;

    if (option != NULL && a->ask_history == NULL)
        return complain(errors, option, "", "only adapter centrifuge has that");
    return 0;
}

static int check_thresholds(const struct options *o, struct buf *errors)
{
    struct str rest = str_from(o->fail_if), e;
    static const struct load_metrics nothing;
    struct failif unused;
    char err[256];

    while (rest.n > 0 && str_cut(&rest, '\n', &e))
        if (failif_check(e, o->scenario, &nothing, -1, &unused, err, sizeof(err)) == -1) {
            options_complain(errors, err);
            return -1;
        } else if (plan_storm_after(o) == 0 && str_starts_with(str_trim(e), STR_LIT("storm"))) {
            return complain(errors, "fail-if", "storm_recovery", "there is no --storm-after");
        }
    return 0;
}

/* Can the file be written? It is made, and not touched if it is there. */
static int check_output(const char *option, const char *path, struct buf *errors)
{
    struct stat st;
    int fd;

    if (path[0] == '\0' || strcmp(path, "-") == 0 ||
        (stat(path, &st) == 0 && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)))
        return 0; /* a pipe or a device says it at the end */
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    if (fd == -1)
        return complain(errors, option, path, strerror(errno));
    close(fd);
    return 0;
}

static int check_outputs(const struct options *o, struct buf *errors)
{
    if (o->json[0] != '\0' && strcmp(o->json, o->html) == 0)
        return complain(errors, "html", o->html, "that is where --json goes");
    if (check_output("json", o->json, errors) == -1 || check_output("html", o->html, errors) == -1)
        return -1;
    return 0;
}

static int check_source(const char *text, struct buf *errors)
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    int fd, rc, why, one = 1;

    if (inet_pton(AF_INET, text, &a.sin_addr) != 1)
        return complain(errors, "source", text, "expected an IPv4 address");
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    /* As the load processes bind: the address is in question, not whether a port is free now. */
    rc = fd == -1 ? -1 : setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
    if (rc == 0)
        rc = bind(fd, (const struct sockaddr *)&a, sizeof(a));
    why = errno;
    if (fd != -1)
        close(fd);
    return rc == 0 ? 0 : complain(errors, "source", text, strerror(why));
}

static int check_sources(const struct options *o, struct buf *errors)
{
    struct str rest = str_from(o->source), source;
    char text[OPTION_TEXT_MAX];

    while (rest.n > 0 && str_cut(&rest, '\n', &source))
        if (str_copy(source, text, sizeof(text)) == -1 || check_source(text, errors) == -1)
            return -1;
    return 0;
}

/* A field of the handshake is ours to send, except Host and a key that all connections share. */
static const char *bad_header(struct str line)
{
    static const char *const ours[] = {"Upgrade", "Connection", "Sec-WebSocket-Version",
                                       "Sec-WebSocket-Extensions"};
    struct str name = {line.p, str_find(line, ':')};

    if (name.n == line.n || !http_is_token(name))
        return "expected \"Name: value\"";
    for (size_t i = 0; i < line.n; i++)
        if (((unsigned char)line.p[i] < ' ' && line.p[i] != '\t') || line.p[i] == 0x7f)
            return "a line break or another control character cannot be sent";
    if (str_equal_nocase(name, STR_LIT("Sec-WebSocket-Protocol")))
        return "that is what --subprotocol is for";
    if (str_equal_nocase(name, STR_LIT("Sec-WebSocket-Key")) &&
        str_trim(str_skip(line, name.n + 1)).n != WS_KEY_LEN)
        return "a key has 24 characters (RFC 6455 section 4.1)";
    for (size_t i = 0; i < ARRAY_LEN(ours); i++)
        if (str_equal_nocase(name, str_from(ours[i])))
            return "the handshake has it already";
    return NULL;
}

static int check_request(const struct options *o, struct buf *errors)
{
    struct str rest = str_from(o->header), line;
    char text[OPTION_TEXT_MAX];

    while (rest.n > 0 && str_cut(&rest, '\n', &line)) {
        const char *why = bad_header(line);

        snprintf(text, sizeof(text), "%.*s", (int)MIN(line.n, sizeof(text) - 1), line.p);
        if (why != NULL)
            return complain(errors, "header", text, why);
    }
    for (rest = str_from(o->subprotocol); rest.n > 0 && str_cut(&rest, ',', &line);)
        if (!http_is_token(str_trim(line)))
            return complain(errors, "subprotocol", o->subprotocol,
                            "expected names with commas between them");
    return 0;
}

int plan_check(const struct options *o, struct buf *errors)
{
    char err[256];

    if (check_scenario(o, errors) == -1 || check_adapter(o, errors) == -1 ||
        check_thresholds(o, errors) == -1 || check_sources(o, errors) == -1 ||
        check_request(o, errors) == -1)
        return -1;
    if (sample_check(o, err, sizeof(err)) == -1) {
        options_complain(errors, err);
        return -1;
    }
    return check_outputs(o, errors);
}
