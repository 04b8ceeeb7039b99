/* proc/sandbox_files.c - Landlock: which files a process may open, whom it may signal. By system calls
 * of its own, as libc has none for it. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/landlock.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "proc/sandbox.h"

/* Of versions after the first one, which the headers that this is built with may not have. */
#define RIGHT_REFER     (UINT64_C(1) << 13) /* 2 */
#define RIGHT_TRUNCATE  (UINT64_C(1) << 14) /* 3 */
#define RIGHT_IOCTL_DEV (UINT64_C(1) << 15) /* 5 */
#define RIGHT_BIND_TCP  (UINT64_C(1) << 0)  /* 4 */
#define RIGHT_CONN_TCP  (UINT64_C(1) << 1)
#define SCOPE_ABSTRACT  (UINT64_C(1) << 0) /* 6 */
#define SCOPE_SIGNAL    (UINT64_C(1) << 1)

#define READING  (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define OF_FIRST ((UINT64_C(1) << 13) - 1) /* all rights of version 1 */
#define OF_FILES                                                                                   \
    (LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_READ_FILE |   \
     RIGHT_TRUNCATE | RIGHT_IOCTL_DEV)

struct ruleset { /* struct landlock_ruleset_attr of version 6 */
    uint64_t files, network, scoped;
};

/* How names are looked up; random numbers for the questions. */
static const char *const names_reads[] = {
    "/etc/resolv.conf",     "/etc/hosts",      "/etc/host.conf",      "/etc/nsswitch.conf",
    "/run/systemd/resolve", "/run/resolvconf", "/run/NetworkManager", "/dev/urandom"};

static const char *const egress_reads[] = {
    /* By libc, */
    "/etc/gai.conf", "/etc/services", "/etc/protocols", "/etc/ld.so.cache", "/etc/localtime",
    "/usr/share/zoneinfo", "/run/nscd",
    /* by which modules, */
    "/usr/lib", "/usr/lib64", "/usr/local/lib", "/lib", "/lib64",
    /* and whom to trust. /etc/ssl/private is not among them. */
    "/etc/ssl/certs", "/etc/ssl/cert.pem", "/etc/ssl/openssl.cnf", "/etc/pki/tls/certs",
    "/etc/pki/ca-trust", "/etc/ca-certificates", "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates", "/var/lib/ca-certificates", "/dev/null"};

int sandbox_files_version(void)
{
    long v = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);

    return v > 0 ? (int)v : 0;
}

static uint64_t all_rights(int version)
{
    return OF_FIRST | (version >= 2 ? RIGHT_REFER : 0) | (version >= 3 ? RIGHT_TRUNCATE : 0) |
           (version >= 5 ? RIGHT_IOCTL_DEV : 0);
}

/* A path that is not there needs no rule. */
static int allow(int ruleset, const char *path, uint64_t rights)
{
    int fd = open(path, O_PATH | O_CLOEXEC), rc;
    struct landlock_path_beneath_attr rule;
    struct stat st;

    if (fd == -1)
        return 0;
    if (fstat(fd, &st) == 0 && !S_ISDIR(st.st_mode))
        rights &= OF_FILES;
    rule = (struct landlock_path_beneath_attr){.allowed_access = rights, .parent_fd = fd};
    rc = (int)syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
    close(fd);
    return rc;
}

/* The folder in which the file is, also behind a link. */
static int allow_folder_of(int ruleset, const char *path, uint64_t rights)
{
    char real[PATH_MAX], *slash;

    if (path[0] == '\0')
        return 0;
    if (realpath(path, real) == NULL)
        snprintf(real, sizeof(real), "%s", path);
    slash = strrchr(real, '/');
    if (slash == NULL)
        return allow(ruleset, ".", rights);
    slash[slash == real ? 1 : 0] = '\0';
    return allow(ruleset, real, rights);
}

static int allow_for(enum sandbox_kind kind, int ruleset, uint64_t handled)
{
    const uint64_t writing = (LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_MAKE_REG |
                              LANDLOCK_ACCESS_FS_REMOVE_FILE | RIGHT_TRUNCATE) &
                             handled;
    int rc = 0;

    if (kind == SANDBOX_EGRESS || kind == SANDBOX_HUB_ENGINE)
        for (size_t i = 0; i < ARRAY_LEN(names_reads) && rc == 0; i++)
            rc = allow(ruleset, names_reads[i], READING);
    if (kind == SANDBOX_EGRESS)
        for (size_t i = 0; i < ARRAY_LEN(egress_reads) && rc == 0; i++)
            rc = allow(ruleset, egress_reads[i], READING);
    if (kind != SANDBOX_MASTER)
        return rc;
    for (size_t k = 0; k < config.listeners_count && rc == 0; k++)
        if (str_starts_with(str_from(config.listener[k].address), STR_LIT("unix:")))
            rc = allow_folder_of(ruleset, config.listener[k].address + strlen("unix:"), writing);
    if (rc == 0)
        rc = allow_folder_of(ruleset, config.log_file, writing);
    return rc == 0 ? allow_folder_of(ruleset, config.pid_file, writing) : rc;
}

/* The master reads what it is told to by the settings, wherever that is, and signals its children. */
int sandbox_files_restrict(enum sandbox_kind kind)
{
    int version = sandbox_files_version(), fd, rc;
    struct ruleset set = {.files = all_rights(version)};
    size_t size = offsetof(struct ruleset, network);

    if (kind == SANDBOX_MASTER)
        set.files &= ~(uint64_t)READING;
    if (version >= 4 && kind != SANDBOX_MASTER) {
        set.network = RIGHT_BIND_TCP |
                      (kind == SANDBOX_EGRESS || kind == SANDBOX_HUB_ENGINE ? 0 : RIGHT_CONN_TCP);
        size = offsetof(struct ruleset, scoped);
    }
    if (version >= 6 && kind != SANDBOX_MASTER) {
        set.scoped = SCOPE_ABSTRACT | SCOPE_SIGNAL;
        size = sizeof(set);
    }
    fd = (int)syscall(SYS_landlock_create_ruleset, &set, size, 0);
    if (fd == -1)
        return -1;
    rc = allow_for(kind, fd, set.files);
    if (rc == 0)
        rc = (int)syscall(SYS_landlock_restrict_self, fd, 0);
    close(fd);
    return rc;
}
