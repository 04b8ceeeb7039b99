/* base/log.c - building and writing log lines. */
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/utf8.h"

#define LINE_MAX_BYTES 2048
#define MARK_BYTES     16 /* kept for the mark and the end */
#define COUNTS_BYTES   64 /* and for the counts */
#define SITE_LINES     10

static enum log_level level_now = LOG_INFO;
static enum log_format format_now = LOG_FORMAT_LOGFMT;
static int fd_now = STDERR_FILENO;
static int own_now = -1; /* standard error, opened again; -1: not yet, or it cannot be */
static bool own_tried;
static char path_now[4096];
static char process_now[32] = "main";
static void (*sink)(struct str line, void *arg);
static void *sink_arg;
static uint64_t lost;                /* lines nobody took */
static struct log_site *suppressing; /* sites with something to say */

struct line { /* text being built; `cut` once something did not fit */
    size_t n, max;
    bool cut;
    char p[LINE_MAX_BYTES];
};

const char *log_level_name(enum log_level level)
{
    static const char *const names[LOG_LEVEL_NR] = {"debug", "info", "warn", "error"};

    return names[level];
}

static int open_path(const char *path)
{
    /* O_NONBLOCK: a pipe in the file's place would be waited for until somebody reads it. */
    return open(path, O_WRONLY | O_CREAT | O_APPEND | O_NONBLOCK | O_CLOEXEC | O_NOCTTY, 0640);
}

static void use_fd(int fd)
{
    if (fd_now != STDERR_FILENO)
        close(fd_now);
    if (own_now != -1)
        close(own_now);
    fd_now = fd;
    own_now = -1;
    own_tried = false;
}

static bool is_regular(int fd)
{
    struct stat st;

    return fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
}

/* An open file description of our own may be non-blocking; that of a log file is. A pipe or terminal
 * that belongs to another user cannot be opened again, nor can anything without /proc, or by a
 * process that is confined: it is tried once, early, and children have the same. */
static int own_fd(void)
{
    char path[32];

    if (path_now[0] != '\0')
        return fd_now;
    if (!own_tried) {
        own_tried = true;
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd_now);
        own_now = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    }
    return own_now;
}

int log_open(enum log_level level, enum log_format format, const char *path)
{
    int fd = STDERR_FILENO;

    if (path != NULL && path[0] != '\0') {
        if (str_copy(str_from(path), path_now, sizeof(path_now)) == -1) {
            errno = ENAMETOOLONG;
            return -1;
        }
        fd = open_path(path);
        if (fd == -1)
            return -1;
    } else {
        path_now[0] = '\0';
    }
    use_fd(fd);
    level_now = level;
    format_now = format;
    if (!is_regular(fd_now))
        (void)own_fd(); /* while files may be opened */
    return 0;
}

int log_reopen(void)
{
    int fd;

    if (path_now[0] == '\0')
        return 0;
    fd = open_path(path_now);
    if (fd == -1)
        return -1;
    use_fd(fd);
    return 0;
}

int log_fd(void)
{
    return fd_now;
}

void log_take(int fd)
{
    use_fd(fd);
}

void log_set_level(enum log_level level)
{
    level_now = level;
}

enum log_level log_level(void)
{
    return level_now;
}

void log_set_format(enum log_format format)
{
    format_now = format;
}

/* What another process has suppressed, before it forked this one, is its own to say. */
static void forget_suppressed(void)
{
    for (; suppressing != NULL; suppressing = suppressing->next) {
        suppressing->listed = false;
        suppressing->suppressed = 0;
    }
}

void log_set_process(const char *name)
{
    forget_suppressed();
    /* Names are our own and short; one that is not is shown cut. */
    snprintf(process_now, sizeof(process_now), "%s", name);
}

void log_set_sink(void (*fn)(struct str line, void *arg), void *arg)
{
    sink = fn;
    sink_arg = arg;
}

static void put(struct line *l, const char *s, size_t n)
{
    if (l->cut || n > l->max - l->n) {
        l->cut = true;
        return;
    }
    memcpy(l->p + l->n, s, n);
    l->n += n;
}

static void put_cstr(struct line *l, const char *s)
{
    put(l, s, strlen(s));
}

/* Length of the character at the start of s if it may be shown as it is, or 0. */
static size_t printable(struct str s)
{
    uint32_t code;
    size_t n = utf8_decode(s, &code);

    /* Control characters, line separators and direction overrides can forge what a terminal shows. */
    if (code < 0x20 || (code >= 0x7f && code < 0xa0) || (code >= 0x2028 && code <= 0x202e) ||
        (code >= 0x2066 && code <= 0x2069))
        return 0;
    return n;
}

/* A quoted string, good as logfmt and as JSON. */
static void put_quoted(struct line *l, struct str s)
{
    char esc[8];

    put(l, "\"", 1);
    for (size_t i = 0; i < s.n && !l->cut;) {
        unsigned char c = (unsigned char)s.p[i];
        size_t n = printable(str_skip(s, i));

        if (n == 0) {
            put(l, esc, (size_t)snprintf(esc, sizeof(esc), "\\u%04x", (unsigned)c));
            i++;
            continue;
        }
        if (c == '"' || c == '\\')
            put(l, "\\", 1);
        put(l, s.p + i, n);
        i += n;
    }
    put(l, "\"", 1);
}

static bool is_bare(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];

        if (c <= ' ' || c >= 0x7f || c == '"' || c == '=' || c == '\\')
            return false;
    }
    return s.n > 0;
}

static void put_string(struct line *l, struct str s)
{
    if (format_now == LOG_FORMAT_LOGFMT && is_bare(s))
        put(l, s.p, s.n);
    else
        put_quoted(l, s);
}

static void put_key(struct line *l, const char *key)
{
    if (format_now == LOG_FORMAT_JSON) {
        put_cstr(l, l->n == 0 ? "{\"" : ",\"");
        put_cstr(l, key);
        put_cstr(l, "\":");
        return;
    }
    if (l->n > 0)
        put(l, " ", 1);
    put_cstr(l, key);
    put(l, "=", 1);
}

static void put_value(struct line *l, const struct log_kv *kv)
{
    char num[48];

    switch (kv->type) {
    case LOG_KV_STR:
        put_string(l, kv->s);
        return;
    case LOG_KV_U64:
        snprintf(num, sizeof(num), "%llu", (unsigned long long)kv->u);
        break;
    case LOG_KV_I64:
        snprintf(num, sizeof(num), "%lld", (long long)kv->i);
        break;
    case LOG_KV_SECONDS:
        snprintf(num, sizeof(num), "%llu.%06llu", (unsigned long long)(kv->u / NS_PER_SEC),
                 (unsigned long long)(kv->u % NS_PER_SEC / 1000));
        break;
    case LOG_KV_BOOL:
        snprintf(num, sizeof(num), "%s", kv->u ? "true" : "false");
        break;
    }
    put_cstr(l, num);
}

static void put_kv(struct line *l, struct log_kv kv)
{
    put_key(l, kv.key);
    put_value(l, &kv);
}

static void put_time(struct line *l)
{
    char text[48], ts[64];
    uint64_t ns = clock_wall_ns();
    time_t sec;
    struct tm tm;

    if (ns == 0) { /* before the first turn */
        clock_refresh();
        ns = clock_wall_ns();
    }
    sec = (time_t)(ns / NS_PER_SEC);
    gmtime_r(&sec, &tm);
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(ts, sizeof(ts), "%s.%03uZ", text, (unsigned)(ns / NS_PER_MS % 1000));
    put_kv(l, KV_S("ts", ts));
}

static bool window_is_over(const struct log_site *site, uint64_t now)
{
    return now - site->window_start_ns >= (site->window_ns > 0 ? site->window_ns : NS_PER_SEC);
}

static void suppress(struct log_site *site, enum log_level level, const char *msg)
{
    if (site->suppressed++ == 0 && !site->listed) {
        site->listed = true;
        site->next = suppressing;
        suppressing = site;
    }
    site->level = (uint8_t)level;
    site->msg = msg;
}

bool log_suppressed(struct log_site *site, enum log_level level, const char *msg)
{
    if (level < LOG_WARN || site->written < (site->burst > 0 ? site->burst : SITE_LINES) ||
        window_is_over(site, clock_ns()))
        return false;
    suppress(site, level, msg);
    return true;
}

/* May this site write a line now? Starts a new window when the last one is over. */
static bool site_admits(struct log_site *site, enum log_level level, const char *msg)
{
    uint64_t now = clock_ns();

    if (level < LOG_WARN)
        return true;
    if (log_suppressed(site, level, msg))
        return false;
    if (site->written == 0 || window_is_over(site, now)) {
        site->window_start_ns = now;
        site->written = 0;
    }
    site->written++;
    return true;
}

static void finish_line(struct line *l)
{
    const char *mark = format_now == LOG_FORMAT_JSON ? ",\"cut\":true" : " cut=true";

    if (l->cut) {
        memcpy(l->p + l->n, mark, strlen(mark));
        l->n += strlen(mark);
    }
    if (format_now == LOG_FORMAT_JSON)
        l->p[l->n++] = '}';
    l->p[l->n++] = '\n';
}

/* A pair that does not fit is left out whole, so that a cut JSON line is still JSON. */
static void put_kv_whole(struct line *l, struct log_kv kv)
{
    size_t before = l->n;

    put_kv(l, kv);
    if (l->cut)
        l->n = before;
}

/* The last resort: between the answer and the write other processes may take the room, and a
 * terminal may have room for a part of the line. */
static ssize_t write_if_polled(const char *p, size_t n)
{
    struct pollfd out = {.fd = fd_now, .events = POLLOUT};

    if (poll(&out, 1, 0) != 1 || !(out.revents & POLLOUT))
        return -1;
    return write(fd_now, p, n);
}

/* Only this call is not to wait: O_NONBLOCK would be every program's whose stderr this is too. A
 * regular file has no reader, and may take less than all without waiting. */
static ssize_t write_at_once(const char *p, size_t n)
{
    struct iovec v = {.iov_base = (void *)(uintptr_t)p, .iov_len = n};
    ssize_t rc;

    if (is_regular(fd_now))
        return write(fd_now, p, n);
    rc = pwritev2(fd_now, &v, 1, -1, RWF_NOWAIT);
    if (rc != -1 || (errno != EOPNOTSUPP && errno != ENOSYS && errno != EINVAL))
        return rc;
    /* A terminal, a FIFO, an older kernel. */
    return own_fd() != -1 ? write(own_fd(), p, n) : write_if_polled(p, n);
}

/* A reader that has stopped (a stuck pipe, Ctrl-S) must not stop a worker: its lines are lost, and
 * the next one that is taken says how many. */
static void write_line(const struct line *l)
{
    if (write_at_once(l->p, l->n) == (ssize_t)l->n)
        lost = 0;
    else
        lost++;
}

static void begin_line(struct line *l, enum log_level level, const char *msg)
{
    l->n = 0;
    l->max = sizeof(l->p) - MARK_BYTES - COUNTS_BYTES;
    l->cut = false;
    put_time(l);
    put_kv(l, KV_S("level", log_level_name(level)));
    put_kv(l, KV_S("proc", process_now));
    put_key(l, "msg");
    put_quoted(l, str_from(msg));
}

/* The counts have room of their own: they are said also when the pairs did not all fit. */
static void end_line(struct line *l, struct log_site *site)
{
    bool cut = l->cut;

    l->cut = false;
    l->max = sizeof(l->p) - MARK_BYTES;
    if (site->suppressed > 0)
        put_kv_whole(l, KV_U("suppressed", site->suppressed));
    site->suppressed = 0;
    if (lost > 0)
        put_kv_whole(l, KV_U("lost", lost));
    l->cut = cut;
    finish_line(l);
    if (sink != NULL)
        sink((struct str){l->p, l->n}, sink_arg);
    else
        write_line(l);
}

void log_write(enum log_level level, struct log_site *site, const char *msg,
               const struct log_kv *kv, size_t nkv)
{
    struct line l;

    if (level < level_now || !site_admits(site, level, msg))
        return;
    begin_line(&l, level, msg);
    for (size_t i = 0; i < nkv && !l.cut; i++)
        put_kv_whole(&l, kv[i]);
    end_line(&l, site);
}

static void say_site(struct log_site *site)
{
    struct line l;

    begin_line(&l, (enum log_level)site->level, site->msg);
    if (site->subject.key != NULL)
        put_kv_whole(&l, site->subject);
    end_line(&l, site);
}

void log_say_suppressed(bool all)
{
    struct log_site **at = &suppressing, *site;
    uint64_t now = clock_ns();

    while ((site = *at) != NULL) {
        if (site->suppressed > 0 && !all && !window_is_over(site, now)) {
            at = &site->next;
            continue;
        }
        *at = site->next;
        site->listed = false;
        if (site->suppressed > 0 && site->level >= level_now)
            say_site(site);
        site->suppressed = 0;
    }
}
