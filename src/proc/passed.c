#include "proc/passed.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"

#define FIRST_FD   3
#define PASSED_MAX 64

static struct {
    size_t n;
    struct {
        char name[256]; /* FDNAME_MAX of systemd */
        struct address address;
        bool taken;
    } socket[PASSED_MAX]; /* FIRST_FD + i */
    char names[1024];
} passed;

/* LISTEN_PID says for whom they are: a child of the one that was meant may have the variables. */
static bool for_us(void)
{
    const char *pid = getenv("LISTEN_PID");
    uint64_t n;

    return pid != NULL && str_to_u64(str_from(pid), &n) == 0 && n == (uint64_t)getpid();
}

static int adopt(size_t i, struct str *names, const struct listener_socket *s, char *err,
                 size_t errcap)
{
    struct str name = STR_LIT("unknown"); /* as sd_listen_fds_with_names(3) has it */

    if (names->n > 0)
        (void)!str_cut(names, ':', &name);
    if (str_copy(name, passed.socket[i].name, sizeof(passed.socket[i].name)) == -1) {
        snprintf(err, errcap, "a name in LISTEN_FDNAMES has more than 255 bytes");
        return -1;
    }
    return listener_adopt(FIRST_FD + (int)i, s, &passed.socket[i].address, err, errcap);
}

static int adopt_all(const struct listener_socket *s, char *err, size_t errcap)
{
    const char *fds = getenv("LISTEN_FDS"), *listed = getenv("LISTEN_FDNAMES");
    struct str names = listed != NULL ? str_from(listed) : STR_NULL;
    uint64_t n;

    if (fds == NULL)
        return 0;
    if (str_to_u64(str_from(fds), &n) == -1 || n > PASSED_MAX) {
        snprintf(err, errcap, "LISTEN_FDS: expected a number up to %d", PASSED_MAX);
        return -1;
    }
    snprintf(passed.names, sizeof(passed.names), "%.*s", STR_ARG(names));
    for (size_t i = 0; i < n; i++, passed.n++)
        if (adopt(i, &names, s, err, errcap) == -1)
            return -1;
    return 0;
}

int passed_init(const struct listener_socket *s, char *err, size_t errcap)
{
    int rc;

    memset(&passed, 0, sizeof(passed));
    rc = for_us() ? adopt_all(s, err, errcap) : 0;
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    return rc;
}

int passed_take_name(struct str name, struct address *a)
{
    for (size_t i = 0; i < passed.n; i++) {
        if (passed.socket[i].taken || !str_equal(str_from(passed.socket[i].name), name))
            continue;
        passed.socket[i].taken = true;
        *a = passed.socket[i].address;
        return FIRST_FD + (int)i;
    }
    return -1;
}

int passed_take_address(const struct address *a)
{
    for (size_t i = 0; i < passed.n; i++) {
        if (passed.socket[i].taken || !address_equal(&passed.socket[i].address, a))
            continue;
        passed.socket[i].taken = true;
        return FIRST_FD + (int)i;
    }
    return -1;
}

const char *passed_names(void)
{
    return passed.names;
}

void passed_finish(void)
{
    char text[ADDRESS_TEXT_MAX];

    for (size_t i = 0; i < passed.n; i++) {
        if (passed.socket[i].taken)
            continue;
        address_format(&passed.socket[i].address, text, sizeof(text));
        LOG(LOG_WARN, "a socket that was passed belongs to no listener",
            KV_S("name", passed.socket[i].name), KV_S("address", text));
        close(FIRST_FD + (int)i);
    }
}
