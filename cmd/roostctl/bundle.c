/* cmd/roostctl/bundle.c - one file with what a report of a fault needs: what the node says of itself, its
 * settings, its log, this machine. Each part that cannot be had is named in the MANIFEST, with the reason. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/out.h"
#include "bundle.h"
#include "ctl.h"
#include "proc/gzip.h"
#include "proc/version.h"

#define PART_MAX ((size_t)16 * 1024 * 1024)
#define LOG_MAX  ((off_t)1024 * 1024) /* the end of it */
#define NOTE     "# "                 /* begins a line of the manifest that is about no file */

/* ---- what the daemon says ---- */

/* "/debug/turns" is in the file debug/turns.json. */
static void add_page(struct bundle *b, const char *path, const char *name)
{
    struct buf body = {0};
    int status = ctl_http(path, NULL, &body, true);
    char why[128];

    if (status == 200) {
        bundle_add(b, name, buf_view(&body));
    } else {
        if (status == -1)
            snprintf(why, sizeof(why), "no answer from %.90s", ctl_url());
        else
            snprintf(why, sizeof(why), "status %d%s", status,
                     status == 401 ? ", the key is wrong or missing: --key" : "");
        bundle_missing(b, name, why);
    }
    buf_fini(&body);
}

/* When the node is not well the answer says why: it counts whatever its status. */
static void add_state(struct bundle *b, const char *path, const char *name)
{
    struct buf body = {0}, text = {0};
    int status = ctl_http(path, NULL, &body, true);
    char why[128];

    if (status == -1) {
        snprintf(why, sizeof(why), "no answer from %.90s", ctl_url());
        bundle_missing(b, name, why);
    } else if ((status != 200 && buf_printf(&text, "status %d\n", status) == -1) ||
               buf_append(&text, buf_view(&body)) == -1) {
        b->failed = true;
    } else {
        bundle_add(b, name, buf_view(&text));
    }
    buf_fini(&body);
    buf_fini(&text);
}

/* Those that need no more than their name, as the index has them. */
static void add_debug_pages(struct bundle *b)
{
    struct buf index = {0};
    struct str rest, line;

    if (ctl_http("/debug", NULL, &index, true) != 200) {
        bundle_missing(b, "debug/", "the index of /debug cannot be had");
        buf_fini(&index);
        return;
    }
    rest = buf_view(&index);
    while (rest.n > 0 && str_cut(&rest, '\n', &line)) {
        struct str path = {line.p, str_find(line, ' ')};
        char url[128], name[128];

        if (!str_starts_with(path, STR_LIT("/debug/")) || str_find(path, '?') < path.n ||
            str_equal(path, STR_LIT("/debug/trace")) || str_equal(path, STR_LIT("/debug/config")))
            continue;
        snprintf(name, sizeof(name), "%.*s.json", STR_ARG(str_skip(path, 1)));
        snprintf(url, sizeof(url), "%.*s%s", STR_ARG(path),
                 str_equal(path, STR_LIT("/debug/connections")) ? "?worker=all&limit=1000" : "");
        add_page(b, url, name);
    }
    buf_fini(&index);
}

static void add_status(struct bundle *b)
{
    struct ctl_view view = {0};
    struct buf out = {0};

    if (view_read(&view, true) == 0 && view_draw(&view, NULL, &out) == 0)
        bundle_add(b, "status.txt", buf_view(&out));
    else
        bundle_missing(b, "status.txt", "no answer, or not from roostd's admin listener");
    view_fini(&view);
    buf_fini(&out);
}

/* ---- this machine ---- */

/* Of a file its first PART_MAX bytes, or those lines that begin in its last `tail`: half a line could begin
 * with half a secret. -1: errno. */
static int read_part(const char *path, off_t tail, struct buf *out)
{
    bool cut = false;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat st;
    ssize_t n = -1;

    if (fd == -1)
        return -1;
    if (fstat(fd, &st) == 0 && !S_ISREG(st.st_mode)) {
        errno = EINVAL; /* a pipe would be waited for */
    } else {
        cut = tail > 0 && st.st_size > tail && lseek(fd, st.st_size - tail - 1, SEEK_SET) != -1;
        do {
            if (buf_reserve(out, 65536) == -1)
                break;
            n = read(fd, out->p + out->len, 65536);
            out->len += n > 0 ? (size_t)n : 0;
        } while (n > 0 && out->len < PART_MAX);
    }
    close(fd);
    if (cut)
        buf_drop(out, MIN(str_find(buf_view(out), '\n') + 1, out->len));
    return n >= 0 ? 0 : -1;
}

static void add_file(struct bundle *b, const char *path, off_t tail, const char *name)
{
    struct buf text = {0};

    if (read_part(path, tail, &text) == 0) {
        bundle_add(b, name, buf_view(&text));
    } else {
        char why[300];

        snprintf(why, sizeof(why), "%.200s: %s", path, strerror(errno));
        bundle_missing(b, name, why);
    }
    buf_fini(&text);
}

static void add_machine(struct bundle *b)
{
    static const char *const files[] = {"/etc/os-release",
                                        "/proc/cpuinfo",
                                        "/proc/meminfo",
                                        "/proc/loadavg",
                                        "/proc/uptime",
                                        "/proc/self/limits",
                                        "/proc/self/cgroup",
                                        "/proc/net/sockstat",
                                        "/proc/net/sockstat6",
                                        "/proc/net/netstat",
                                        "/proc/sys/fs/file-nr",
                                        "/proc/sys/fs/nr_open",
                                        "/proc/sys/net/core/somaxconn",
                                        "/proc/sys/net/core/rmem_max",
                                        "/proc/sys/net/core/wmem_max",
                                        "/proc/sys/net/ipv4/ip_local_port_range",
                                        "/proc/sys/net/ipv4/tcp_mem",
                                        "/proc/sys/net/ipv4/tcp_rmem",
                                        "/proc/sys/net/ipv4/tcp_wmem",
                                        "/proc/sys/net/ipv4/tcp_max_syn_backlog",
                                        "/proc/pressure/cpu",
                                        "/proc/pressure/memory"};
    struct utsname u;
    char text[sizeof(u) + 8], name[128];

    if (uname(&u) == 0) { /* without the name of the host */
        snprintf(text, sizeof(text), "%s %s %s %s\n", u.sysname, u.release, u.version, u.machine);
        bundle_add(b, "system/uname", str_from(text));
    }
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        snprintf(name, sizeof(name), "system%s", files[i]);
        add_file(b, files[i], 0, name);
    }
}

/* A process of the daemon's that is one of this machine's, too. */
static void add_process(struct bundle *b, const struct json_value *p)
{
    static const char *const files[] = {"limits", "status", "cgroup", "smaps_rollup"};
    struct str process = ctl_text(p, "name");
    char path[64], name[128];

    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        snprintf(path, sizeof(path), "/proc/%.0f/%s", ctl_number(p, "pid"), files[i]);
        snprintf(name, sizeof(name), "process/%.*s/%s", (int)MIN(process.n, (size_t)32), process.p,
                 files[i]);
        add_file(b, path, 0, name);
    }
}

static bool is_here(const struct json_value *p)
{
    struct buf text = {0};
    char path[64];
    bool here;

    snprintf(path, sizeof(path), "/proc/%.0f/comm", ctl_number(p, "pid"));
    here = read_part(path, 0, &text) == 0 && str_starts_with(buf_view(&text), STR_LIT("roost"));
    buf_fini(&text);
    return here;
}

static void add_processes(struct bundle *b)
{
    struct buf body = {0};
    struct json_value page, list, p;
    struct str rest = STR_NULL;

    if (ctl_http("/debug/processes", NULL, &body, true) == 200 &&
        json_parse(buf_view(&body), &page, NULL) == 0 &&
        json_get(&page, STR_LIT("processes"), &list))
        rest = list.raw;
    while (rest.n > 0 && json_element(&rest, &p)) {
        if (!is_here(&p)) {
            bundle_missing(b, "process/", "the daemon runs elsewhere, or roostctl does not see it");
            break;
        }
        add_process(b, &p);
    }
    buf_fini(&body);
}

/* ---- doctor, log ---- */

/* What another command of this program prints. */
static void add_command(struct bundle *b, const char *command, const char *name)
{
    struct buf text = {0};
    ssize_t n = 1;
    int pipes[2], status = 0;
    pid_t pid;

    if (pipe2(pipes, O_CLOEXEC) == -1 || (pid = fork()) == -1) {
        bundle_missing(b, name, strerror(errno));
        return;
    }
    if (pid == 0) {
        dup2(pipes[1], STDOUT_FILENO);
        dup2(pipes[1], STDERR_FILENO);
        execl("/proc/self/exe", "roostctl", command, (char *)NULL);
        _exit(127);
    }
    close(pipes[1]);
    while (n > 0 && text.len < PART_MAX && buf_reserve(&text, 65536) == 0) {
        n = read(pipes[0], text.p + text.len, 65536);
        text.len += n > 0 ? (size_t)n : 0;
    }
    close(pipes[0]);
    waitpid(pid, &status, 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) != 127 && text.len > 0)
        bundle_add(b, name, buf_view(&text));
    else
        bundle_missing(b, name, "the command could not be run");
    buf_fini(&text);
}

/* The value of a setting in force, or "". */
static void setting(const struct json_value *page, const char *name, char *out, size_t cap)
{
    struct json_value list, one;
    struct str rest = STR_NULL;

    out[0] = '\0';
    if (json_get(page, STR_LIT("settings"), &list))
        rest = list.raw;
    while (rest.n > 0 && json_element(&rest, &one))
        if (str_equal(ctl_text(&one, "name"), str_from(name)) &&
            str_copy(ctl_text(&one, "value"), out, cap) == -1)
            out[0] = '\0';
}

static bool settings_are_named(void)
{
    bool named = false;

    for (char **v = environ; *v != NULL && !named; v++)
        named = str_starts_with(str_from(*v), STR_LIT("ROOST_"));
    return named;
}

/* Names of secrets that the daemon says it has, and these settings do not have. False: it says nothing. */
static bool find_unknown(const struct config *c, struct buf *names)
{
    struct buf body = {0};
    struct json_value page;
    bool answers = ctl_http("/debug/config?format=json", NULL, &body, true) == 200 &&
                   json_parse(buf_view(&body), &page, NULL) == 0;

    for (size_t i = 0; i < config_row_count() && answers; i++) {
        const struct table_row *row = config_row(i);
        const char *own = (const char *)c + row->offset;
        char value[64];

        if (row->type != TABLE_SECRET || own[0] != '\0' ||
            (ctl.key[0] != '\0' && strcmp(row->name, "api_key") == 0))
            continue;
        setting(&page, row->name, value, sizeof(value));
        if (value[0] != '\0' &&
            buf_printf(names, "%s%s", names->len > 0 ? ", " : "", row->name) == -1)
            answers = false;
    }
    buf_fini(&body);
    return answers;
}

/* From now on what is known here as a secret is removed, and the manifest says what that is. False: it is not
 * all that the daemon has; said why, there and on stderr. */
static bool hide_secrets(struct bundle *b)
{
    bool good, answers, all;
    const struct config *c = ctl_node_settings(&good);
    const char *path = getenv("ROOST_CONFIG");
    struct buf unknown = {0}, why = {0};
    int rc;

    bundle_hide(b, str_from(ctl.key));
    bundle_hide_all(b, c);
    answers = find_unknown(c, &unknown);
    all = good && unknown.len == 0 && (answers || settings_are_named());
    if (!good)
        rc = buf_append_lit(&why, "these are no good settings of roostd");
    else if (unknown.len > 0)
        rc = buf_printf(&why, "the daemon has some that are not set here: %.*s",
                        STR_ARG(buf_view(&unknown)));
    else
        rc = buf_append_lit(&why, "no settings are named here");
    rc |= buf_printf(&b->manifest,
                     NOTE "removed: the key, and secrets of the settings in %s and the "
                          "environment (ROOST_...)\n",
                     path != NULL ? path : "no file (ROOST_CONFIG)");
    if (!all) {
        rc |= buf_printf(&b->manifest, NOTE "not all secrets are known: %.*s\n",
                         STR_ARG(buf_view(&why)));
        fprintf(stderr,
                "roostctl: warning: secrets of the daemon are not known here, so they are not "
                "looked for, and the log is left out: %.*s; run it with the daemon's ROOST_CONFIG "
                "and ROOST_...\n",
                STR_ARG(buf_view(&why)));
    }
    b->failed |= rc != 0;
    buf_fini(&unknown);
    buf_fini(&why);
    return all;
}

static void add_log(struct bundle *b, const char *given, bool all_known)
{
    struct buf body = {0};
    struct json_value page;
    char path[512] = "";

    if (given == NULL && ctl_http("/debug/config?format=json", NULL, &body, true) == 200 &&
        json_parse(buf_view(&body), &page, NULL) == 0)
        setting(&page, "log_file", path, sizeof(path));
    if (!all_known && (given != NULL || path[0] != '\0'))
        bundle_missing(b, "log", "secrets that may be in it are not known here: see above");
    else if (given != NULL || path[0] != '\0')
        add_file(b, given != NULL ? given : path, LOG_MAX, "log");
    else
        bundle_missing(b, "log",
                       "it goes to the daemon's standard error: whoever keeps that has it "
                       "(journalctl -u roost, docker logs, kubectl logs), --log FILE adds "
                       "it");
    buf_fini(&body);
}

/* ---- the command ---- */

static void add_everything(struct bundle *b, const char *log)
{
    bool all_known = hide_secrets(b);
    struct buf text = {0};

    if (version_describe("roostctl", &text) == 0)
        bundle_add(b, "roostctl.txt", buf_view(&text));
    buf_fini(&text);
    add_status(b);
    add_state(b, "/healthz", "healthz.txt");
    add_state(b, "/readyz", "readyz.txt");
    add_page(b, "/debug/config", "config.yaml");
    add_page(b, "/debug/config?format=json", "config.json");
    add_page(b, "/metrics", "metrics.txt");
    add_debug_pages(b);
    add_command(b, "doctor", "doctor.txt");
    add_log(b, log, all_known);
    add_processes(b);
    add_machine(b);
}

/* A file of this name must not be there yet: nobody's is overwritten, no link followed. -1: said why. */
static int write_archive(const char *path, struct str packed)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    size_t done = 0;
    ssize_t n = 0;

    while (fd != -1 && done < packed.n && n >= 0) {
        n = write(fd, packed.p + done, packed.n - done);
        done += n > 0 ? (size_t)n : 0;
    }
    if (fd != -1 && close(fd) == 0 && n >= 0)
        return 0;
    fprintf(stderr, "roostctl: %s: %s\n", path, strerror(errno));
    return -1;
}

static int print_result(const char *path, const struct bundle *b, size_t bytes)
{
    struct buf out = {0};
    struct str rest = buf_view(&b->manifest), line;
    size_t files = 0, missing = 0;
    int rc = 1;

    while (rest.n > 0 && str_cut(&rest, '\n', &line)) {
        bool lacks = memmem(line.p, line.n, " missing: ", 10) != NULL;

        missing += lacks;
        files += !lacks && line.n > 0 && !str_starts_with(line, STR_LIT(NOTE));
    }
    if (ctl.output == CTL_TABLE) {
        out_printf(
            "%s: %zu files, %zu missing (see MANIFEST in it); look it through before you give "
            "it away: users' names and addresses of clients are in it\n",
            path, files, missing);
        return 0;
    }
    if (buf_append_char(&out, '{') == 0 && ctl_put_text(&out, "file", str_from(path)) == 0 &&
        buf_printf(&out, ",\"bytes\":%zu,\"files\":%zu,\"missing\":%zu}", bytes, files, missing) ==
            0)
        rc = ctl_print_json(buf_view(&out));
    buf_fini(&out);
    return rc;
}

int cmd_bundle(const struct ctl_line *line)
{
    const char *given = line->given[OPTION_BUNDLE_FILE];
    time_t now = time(NULL);
    char folder[64], path[96];
    struct tm tm;
    struct bundle b = {.folder = folder, .time_s = (uint64_t)now};
    struct buf packed = {0};
    int rc = 1;

    gmtime_r(&now, &tm);
    strftime(folder, sizeof(folder), "roost-%Y%m%dT%H%M%SZ", &tm);
    snprintf(path, sizeof(path), "%s.tar.gz", folder);
    add_everything(&b, line->given[OPTION_BUNDLE_LOG]);
    if (bundle_end(&b) == -1 || gzip_append(buf_view(&b.tar), &packed) == -1)
        fprintf(stderr, "roostctl: out of memory\n");
    else if (write_archive(given != NULL ? given : path, buf_view(&packed)) == 0)
        rc = print_result(given != NULL ? given : path, &b, packed.len);
    bundle_fini(&b);
    buf_fini(&packed);
    return rc;
}
