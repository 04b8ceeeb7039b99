/* base/log.h - one line per event, key=value (logfmt) or JSON, to stderr or a file.
 *
 *   LOG(LOG_INFO, "worker started", KV_U("worker", 3), KV_U("pid", pid));
 *   ts=2026-11-23T18:33:12.123Z level=info proc=worker3 msg="worker started" worker=3 pid=811
 *
 * Values are escaped: control characters, quotes, and bytes that are not UTF-8 never reach the log
 * raw. Never log payloads or tokens. Each call site may write 10 warnings or errors a second, a
 * site of its owner's (LOG_AT: one per reason, say) as many as that one wants; what is suppressed
 * is counted and said in the site's next line, or, when none comes, in a closing line once the
 * window is over (suppressed=N). Does not wait for a reader that has stopped, and never fails:
 * lines nobody took are counted and said in the next one (lost=N). */
#ifndef ROOST_BASE_LOG_H
#define ROOST_BASE_LOG_H

#include "base/str.h"

enum log_level { LOG_DEBUG = 0, LOG_INFO, LOG_WARN, LOG_ERROR, LOG_LEVEL_NR };
enum log_format { LOG_FORMAT_LOGFMT = 0, LOG_FORMAT_JSON, LOG_FORMAT_NR };

enum log_kv_type { LOG_KV_STR = 0, LOG_KV_U64, LOG_KV_I64, LOG_KV_SECONDS, LOG_KV_BOOL };
struct log_kv {
    const char *key;
    enum log_kv_type type;
    struct str s;
    uint64_t u;
    int64_t i;
};
#define KV_S(k, cstr)   ((struct log_kv){.key = (k), .type = LOG_KV_STR, .s = str_from(cstr)})
#define KV_STR(k, view) ((struct log_kv){.key = (k), .type = LOG_KV_STR, .s = (view)})
#define KV_U(k, v)      ((struct log_kv){.key = (k), .type = LOG_KV_U64, .u = (uint64_t)(v)})
#define KV_I(k, v)      ((struct log_kv){.key = (k), .type = LOG_KV_I64, .i = (int64_t)(v)})
#define KV_B(k, v)      ((struct log_kv){.key = (k), .type = LOG_KV_BOOL, .u = (v) ? 1 : 0})
/* v in ns, printed as decimal seconds. */
#define KV_NS(k, v) ((struct log_kv){.key = (k), .type = LOG_KV_SECONDS, .u = (uint64_t)(v)})
/* strerror of errno-like v under the key "error". */
#define KV_ERRNO(v)                                                                                \
    ((struct log_kv){.key = "error", .type = LOG_KV_STR, .s = str_from(strerror(v))})

struct log_site {          /* static, zeroed; one limit */
    uint64_t window_ns;    /* 0: a second */
    uint32_t burst;        /* warnings and errors in a window; 0: 10 */
    struct log_kv subject; /* what the closing line names; key NULL: nothing */
    /* private to log.c */
    uint32_t written, suppressed;
    uint64_t window_start_ns;
    bool listed;           /* in the list of those with something to say */
    uint8_t level;         /* of what was suppressed last */
    const char *msg;       /* the same; static text */
    struct log_site *next; /* in that list */
};

/* Sets level, format, destination. path NULL or "" = stderr. -1: the file cannot be opened (errno);
 * the old destination stays. */
int log_open(enum log_level level, enum log_format format, const char *path) MUST_CHECK;
/* Opens the same path again (SIGUSR1 after logrotate). -1: kept the old file. */
int log_reopen(void) MUST_CHECK;
/* Where lines go. */
int log_fd(void);
/* Lines go to this from now on; owned. It is what another process has opened for log_open()'s
 * path. */
void log_take(int fd);
void log_set_level(enum log_level level);
enum log_level log_level(void);
void log_set_format(enum log_format format);
/* "master", "worker3", "hub"; copied. What was suppressed until now is forgotten: it is the
 * parent's. */
void log_set_process(const char *name);
/* Tests: lines go to fn instead. NULL restores. */
void log_set_sink(void (*fn)(struct str line, void *arg), void *arg);

void log_write(enum log_level level, struct log_site *site, const char *msg,
               const struct log_kv *kv, size_t nkv);

/* True: a line of this site would be suppressed now, and has been counted as that. For what costs
 * something to say; false promises nothing. */
bool log_suppressed(struct log_site *site, enum log_level level, const char *msg);

/* Closing lines of the sites whose window is over; with `all` of every site (end of the process).
 * About once a second. */
void log_say_suppressed(bool all);

/* By a limit that several places or values share, or that has another window. */
#define LOG_AT(site, level, msg, ...)                                                              \
    do {                                                                                           \
        if ((level) >= log_level()) {                                                              \
            const struct log_kv log_kv_[] = {{0}, ##__VA_ARGS__};                                  \
            log_write((level), (site), (msg), log_kv_ + 1, ARRAY_LEN(log_kv_) - 1);                \
        }                                                                                          \
    } while (0)

#define LOG(level, msg, ...)                                                                       \
    do {                                                                                           \
        if ((level) >= log_level()) {                                                              \
            static struct log_site log_site_;                                                      \
            const struct log_kv log_kv_[] = {{0}, ##__VA_ARGS__};                                  \
            log_write((level), &log_site_, (msg), log_kv_ + 1, ARRAY_LEN(log_kv_) - 1);            \
        }                                                                                          \
    } while (0)

/* Names as in the configuration: "debug", "info", "warn", "error". */
const char *log_level_name(enum log_level level);

#endif
