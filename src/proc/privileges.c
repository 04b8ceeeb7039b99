/* proc/privileges.c - from root to an ordinary user, and from any user to one without capabilities. */
#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"
#include "config_internal.h"
#include "proc/sandbox.h"
#include "supervisor_internal.h"

struct target {
    uid_t uid;
    gid_t gid;
    const char *name; /* of the user, for its other groups; NULL: a number that has none */
};

static bool number(const char *text, uint32_t *out)
{
    uint64_t n;

    if (str_to_u64(str_from(text), &n) == -1 || n >= UINT32_MAX)
        return false;
    *out = (uint32_t)n;
    return true;
}

/* NULL, or what is wrong, with the setting's name. */
static const char *find_user(const struct config *c, struct target *t)
{
    uint32_t n;
    bool is_number = number(c->user, &n);
    const struct passwd *p = is_number ? getpwuid(n) : getpwnam(c->user);

    if (p == NULL && !is_number)
        return "user: there is none of this name";
    if (p == NULL && c->group[0] == '\0')
        return "user: there is none of this number, so its group must be set";
    t->uid = p != NULL ? p->pw_uid : n;
    if (p != NULL)
        t->gid = p->pw_gid;
    t->name = p != NULL ? c->user : NULL;
    return NULL;
}

static const char *find_group(const struct config *c, struct target *t)
{
    uint32_t n;
    bool is_number = number(c->group, &n);
    const struct group *g = is_number ? NULL : getgrnam(c->group);

    if (g == NULL && !is_number)
        return "group: there is none of this name";
    t->gid = g != NULL ? g->gr_gid : n;
    return NULL;
}

static const char *find(const struct config *c, struct target *t)
{
    const char *wrong = NULL;

    *t = (struct target){.uid = geteuid(), .gid = getegid()};
    if (c->user[0] != '\0')
        wrong = find_user(c, t);
    if (wrong == NULL && c->group[0] != '\0')
        wrong = find_group(c, t);
    if (wrong == NULL && geteuid() != 0 && (t->uid != geteuid() || t->gid != getegid()))
        wrong = t->uid != geteuid() ? "user: only root can become another user"
                                    : "group: only root can take another group";
    return wrong;
}

int privileges_check(const struct config *c, struct buf *errors)
{
    struct target t;
    const char *wrong = find(c, &t);

    if (wrong == NULL)
        return 0;
    if (buf_printf(errors, "%s\n", wrong) == -1)
        return 1;
    return 1;
}

static int refuse(const char *what)
{
    fprintf(stderr, "roostd: user %s, group %s: %s: %s\n", config.user, config.group, what,
            strerror(errno));
    return -1;
}

static int become(const struct target *t)
{
    /* Its groups first: afterwards this process may no longer. */
    if (t->name != NULL ? initgroups(t->name, t->gid) == -1 : setgroups(0, NULL) == -1)
        return refuse("groups");
    if (setresgid(t->gid, t->gid, t->gid) == -1)
        return refuse("group");
    if (setresuid(t->uid, t->uid, t->uid) == -1)
        return refuse("user");
    return 0;
}

/* What programs started from here could still have. Only root may shrink it; who may not starts
 * none: no_new_privs. */
static void drop_bounding_set(void)
{
    for (unsigned long n = 0; prctl(PR_CAPBSET_DROP, n, 0, 0, 0) == 0; n++)
        continue;
}

static int drop_capabilities(void)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2] = {{0}, {0}};

    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) == -1 && errno != EINVAL)
        return refuse("ambient capabilities");
    if (syscall(SYS_capset, &head, none) == -1)
        return refuse("capabilities");
    return 0;
}

/* So that it can be opened again. */
static void give(int fd, const struct target *t)
{
    struct stat st;

    if (fd == -1 || fstat(fd, &st) == -1 || !S_ISREG(st.st_mode) || st.st_uid == t->uid)
        return;
    if (fchown(fd, t->uid, t->gid) == -1)
        LOG(LOG_WARN, "a file of the daemon cannot be given to its user", KV_ERRNO(errno));
}

int privileges_drop(void)
{
    bool was_root = geteuid() == 0, other;
    const char *wrong;
    struct target t;

    wrong = find(&config, &t);
    if (wrong != NULL) {
        fprintf(stderr, "roostd: %s\n", wrong);
        return -1;
    }
    other = was_root && (t.uid != 0 || t.gid != getegid());
    drop_bounding_set();
    if (other) {
        give(log_fd(), &t);
        give(pid_file_fd(), &t);
        if (become(&t) == -1)
            return -1;
        LOG(LOG_INFO, "is no longer root", KV_U("uid", t.uid), KV_U("gid", t.gid));
    } else if (was_root && config.user[0] == '\0') {
        LOG(LOG_INFO, "runs as root, without root's capabilities; set user to one who owns little");
    }
    return drop_capabilities();
}
