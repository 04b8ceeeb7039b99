/* proc/egress_fetch.c - libcurl's multi interface on libev.
 *
 * Happy path: 1. fetch_start() 2. libcurl says which sockets and which timeout it waits for
 * (on_socket_wanted(), on_timeout_wanted()) 3. the loop tells it of them 4. look_for_ends() finds
 * the transfer complete: done(). What can fail on the way (names, TLS, time, size, status) ends it
 * the same way, with a reason. */
#include <curl/curl.h>

#include "egress_internal.h"

#define CONNECT_TIMEOUT_MS 5000L
#define TIMEOUT_MS         10000L

static struct {
    struct ev_loop *loop;
    CURLM *multi;
    ev_timer timer;
} curl;

static void finish(struct fetch *f, CURLcode code)
{
    CURL *easy = f->easy;
    char why[300];
    long status = 0;

    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    curl_multi_remove_handle(curl.multi, easy);
    curl_easy_cleanup(easy);
    f->easy = NULL;
    if (f->too_large)
        snprintf(why, sizeof(why), "the answer has more than %zu bytes", f->max);
    else if (code != CURLE_OK)
        snprintf(why, sizeof(why), "%s",
                 f->detail[0] != '\0' ? f->detail : curl_easy_strerror(code));
    else
        snprintf(why, sizeof(why), "the answer's status is %ld, not 200", status);
    f->done(f, code == CURLE_OK && status == 200 && !f->too_large ? NULL : why);
}

static void look_for_ends(void)
{
    CURLMsg *msg;
    int left;

    while ((msg = curl_multi_info_read(curl.multi, &left)) != NULL) {
        struct fetch *f = NULL;
        CURLcode code = msg->data.result;

        if (msg->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, (char **)(void *)&f);
        finish(f, code);
    }
}

static void on_io(struct ev_loop *loop UNUSED, ev_io *io, int revents)
{
    int running, what = (revents & EV_READ ? CURL_CSELECT_IN : 0) |
                        (revents & EV_WRITE ? CURL_CSELECT_OUT : 0);

    curl_multi_socket_action(curl.multi, io->fd, what, &running);
    look_for_ends();
}

static void on_timer(struct ev_loop *loop UNUSED, ev_timer *t UNUSED, int revents UNUSED)
{
    int running;

    curl_multi_socket_action(curl.multi, CURL_SOCKET_TIMEOUT, 0, &running);
    look_for_ends();
}

static int on_socket_wanted(CURL *easy UNUSED, curl_socket_t fd, int what, void *arg UNUSED,
                            void *watcher)
{
    ev_io *io = watcher;
    int events = (what & CURL_POLL_IN ? EV_READ : 0) | (what & CURL_POLL_OUT ? EV_WRITE : 0);

    if (io != NULL)
        ev_io_stop(curl.loop, io);
    if (what == CURL_POLL_REMOVE) {
        free(io);
        curl_multi_assign(curl.multi, fd, NULL);
        return 0;
    }
    if (io == NULL)
        io = calloc(1, sizeof(*io));
    if (io == NULL)
        return -1; /* the transfer ends */
    ev_io_init(io, on_io, fd, events);
    curl_multi_assign(curl.multi, fd, io);
    ev_io_start(curl.loop, io);
    return 0;
}

static int on_timeout_wanted(CURLM *multi UNUSED, long ms, void *arg UNUSED)
{
    ev_timer_stop(curl.loop, &curl.timer);
    if (ms < 0)
        return 0;
    ev_timer_set(&curl.timer, (double)ms / 1000, 0.);
    ev_timer_start(curl.loop, &curl.timer);
    return 0;
}

static size_t on_body(char *data, size_t size, size_t n, void *arg)
{
    struct fetch *f = arg;
    size_t bytes = size * n;

    f->too_large = bytes > f->max - f->body.len;
    if (f->too_large || buf_append(&f->body, (struct str){data, bytes}) == -1)
        return 0;
    return bytes;
}

int fetch_init(struct ev_loop *loop)
{
    curl.loop = loop;
    ev_timer_init(&curl.timer, on_timer, 0., 0.);
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return -1;
    curl.multi = curl_multi_init();
    if (curl.multi == NULL)
        return -1;
    curl_multi_setopt(curl.multi, CURLMOPT_SOCKETFUNCTION, on_socket_wanted);
    curl_multi_setopt(curl.multi, CURLMOPT_TIMERFUNCTION, on_timeout_wanted);
    return 0;
}

/* libcurl refuses what it was built without: then nothing is fetched. */
static bool set_options(CURL *easy, struct fetch *f, const char *url, struct str ca)
{
    struct curl_blob blob = {.data = (void *)(uintptr_t)ca.p, .len = ca.n, .flags = CURL_BLOB_COPY};
    bool good = true;

#define SET(option, value) good &= curl_easy_setopt(easy, CURLOPT_##option, value) == CURLE_OK
    SET(URL, url);
    SET(PRIVATE, (char *)f);
    SET(PROTOCOLS_STR, "http,https"); /* http only where egress_refusal() lets it pass */
    SET(FOLLOWLOCATION, 0L);
    SET(SSL_VERIFYPEER, 1L);
    SET(SSL_VERIFYHOST, 2L);
    SET(SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    SET(CONNECTTIMEOUT_MS, CONNECT_TIMEOUT_MS);
    SET(TIMEOUT_MS, TIMEOUT_MS);
    SET(MAXFILESIZE, (long)f->max);
    SET(NOSIGNAL, 1L);
    SET(NOPROXY, "localhost,127.0.0.1,::1");
    SET(USERAGENT, "roost");
    SET(WRITEFUNCTION, on_body);
    SET(WRITEDATA, f);
    SET(ERRORBUFFER, f->detail);
    if (ca.n > 0) {
        SET(CAINFO_BLOB, &blob);
        SET(CAPATH, NULL); /* nobody else */
    }
#undef SET
    return good;
}

int fetch_start(struct fetch *f, const char *url, struct str ca)
{
    CURL *easy = curl_easy_init();

    if (easy == NULL)
        return -1;
    f->easy = easy;
    f->detail[0] = '\0';
    f->too_large = false;
    buf_clear(&f->body);
    if (set_options(easy, f, url, ca) && curl_multi_add_handle(curl.multi, easy) == CURLM_OK)
        return 0;
    curl_easy_cleanup(easy);
    f->easy = NULL;
    return -1;
}

void fetch_cancel(struct fetch *f)
{
    if (f->easy == NULL)
        return;
    curl_multi_remove_handle(curl.multi, f->easy);
    curl_easy_cleanup(f->easy);
    f->easy = NULL;
}
