/* cmd/roostctl/node.c - where the daemon listens, from its own settings, and whether it is well.
 *
 * In a container and under systemd roostctl sees the environment of the daemon: ROOST_ADMIN_LISTEN,
 * ROOST_CONFIG and the rest say where to ask. */
#include <unistd.h>

#include "ctl.h"
#include "proc/config_load.h"

static struct config node; /* ctl.key may point into it */

int ctl_take_settings(const char *path)
{
    static struct config defaults;
    struct config_source source = {.path = path != NULL ? path : getenv("ROOST_CONFIG"),
                                   .environ_vars = environ,
                                   .running = &defaults};
    struct buf errors = {0};
    int rc;

    config_defaults(&defaults);
    rc = config_load(&config, &source, &errors);
    if (rc == -1)
        fprintf(stderr, "%.*sroostctl: these are no good settings of roostd\n",
                STR_ARG(buf_view(&errors)));
    buf_fini(&errors);
    return rc;
}

/* Settings that do not load now may have been good when the daemon started: it is looked for where
 * it is without any. What only a start needs (folders, free addresses) is not asked for. */
static bool read_settings(bool quiet)
{
    static struct config defaults;
    struct config_source source = {
        .path = getenv("ROOST_CONFIG"), .environ_vars = environ, .running = &defaults};
    struct buf errors = {0};
    bool good;

    config_defaults(&defaults);
    good = config_load(&node, &source, &errors) == 0;
    if (!good) {
        if (!quiet)
            fprintf(stderr,
                    "%.*sroostctl: these are no good settings of roostd; its defaults count\n",
                    STR_ARG(buf_view(&errors)));
        config_defaults(&node);
    }
    buf_fini(&errors);
    return good;
}

const struct config *ctl_node_settings(bool *good)
{
    *good = read_settings(true);
    return &node;
}

/* A daemon that listens on every address can be asked on loopback; [::] takes IPv4 too. */
static int set_address(const struct listener_options *o)
{
    const char *name = listener_label(o), *value = o->address, *certificates = o->tls_certificate;
    const char *scheme = certificates[0] != '\0' ? "https" : "http";
    struct address a;
    char text[ADDRESS_TEXT_MAX], url[ADDRESS_TEXT_MAX + 16], err[200];
    struct str port;

    if (address_parse(str_from(value), &a, err, sizeof(err)) == -1) {
        fprintf(stderr, "roostctl: %s: %s\n", name, err);
        return 1;
    }
    address_format(&a, text, sizeof(text));
    if (address_is_unix(&a))
        return ctl_set_admin(text) == -1;
    port = str_from(strrchr(text, ':'));
    if (str_equal(port, STR_LIT(":0"))) {
        fprintf(stderr,
                "roostctl: %s is \"%s\", and port 0 is chosen at the daemon's start: name "
                "it with --admin http://HOST:PORT\n",
                name, value);
        return 1;
    }
    if (str_starts_with(str_from(text), STR_LIT("0.0.0.0:")) ||
        str_starts_with(str_from(text), STR_LIT("[::]:")))
        snprintf(url, sizeof(url), "%s://127.0.0.1%.*s", scheme, STR_ARG(port));
    else
        snprintf(url, sizeof(url), "%s://%s", scheme, text);
    /* Who shows the certificate that the settings name is who is meant, whatever its name. */
    if (certificates[0] != '\0' && ctl.ca[0] == '\0') {
        ctl.ca = certificates;
        ctl.any_name = true;
    }
    return ctl_set_admin(url) == -1;
}

/* The first listener of a kind whose address the settings say: of sockets that are passed to the
 * daemon they do not, and by a UNIX socket with TLS nobody asks. NULL: there is none. */
static const struct listener_options *find(enum listener_kind kind)
{
    for (size_t i = 0; i < MIN(node.listeners_count, (size_t)LISTENERS_MAX); i++) {
        const struct listener_options *o = &node.listener[i];

        if (o->kind == (int)kind && listener_passed(o).n == 0 &&
            !(listener_is_unix(o) && listener_has_tls(o)))
            return o;
    }
    return NULL;
}

int ctl_find_node(bool client_will_do)
{
    const struct listener_options *o;

    (void)read_settings(false);
    if (ctl.key[0] == '\0')
        ctl.key = node.api_key;
    o = find(LISTENER_ADMIN);
    if (o == NULL && client_will_do)
        o = find(LISTENER_CLIENT);
    if (o != NULL)
        return set_address(o);
    fprintf(stderr, "roostctl: by the daemon's settings there is no admin listener that could be "
                    "asked (admin_listen: off?); --admin URL names one\n");
    return 1;
}

/* {"healthy":true,"status":200,"text":"ok"} of what was answered; without an answer status is 0. */
static void print_state(const char *what, int status, const struct buf *body)
{
    struct str text = buf_view(body);
    struct buf out = {0};
    char number[16];

    while (text.n > 0 && (text.p[text.n - 1] == '\n' || text.p[text.n - 1] == '\r'))
        text.n--;
    snprintf(number, sizeof(number), "%d", MAX(status, 0));
    if (buf_append_char(&out, '{') == 0 &&
        ctl_put_raw(&out, what, status == 200 ? STR_LIT("true") : STR_LIT("false")) == 0 &&
        ctl_put_raw(&out, "status", str_from(number)) == 0 &&
        ctl_put_text(&out, "text", text) == 0 && buf_append_char(&out, '}') == 0)
        (void)ctl_print_json(buf_view(&out));
    buf_fini(&out);
}

int cmd_health(const struct ctl_line *cmdline UNUSED)
{
    struct buf body = {0};
    int status = ctl_http("/healthz", NULL, &body, false);

    if (ctl.output == CTL_JSON)
        print_state("healthy", status, &body);
    buf_fini(&body);
    return status == 200 ? 0 : 1;
}

int cmd_ready(const struct ctl_line *cmdline UNUSED)
{
    struct buf body = {0};
    int status = ctl_http("/readyz", NULL, &body, false);

    if (ctl.output == CTL_JSON)
        print_state("ready", status, &body);
    else if (status != 200 && status != -1)
        fprintf(stderr, "roostctl: %.*s (status %d from %s/readyz)\n",
                STR_ARG(ctl_line_of(buf_view(&body))), status, ctl_url());
    buf_fini(&body);
    return status == 200 ? 0 : 1;
}
