#include "proc/node.h"

#include <unistd.h>

#include "base/config.h"
#include "base/utf8.h"
#include "proc/shm.h"

static char name[CONFIG_STRING_MAX], uid[40];

/* It goes into JSON and into metrics, whose readers refuse a page for one bad byte. */
static void make_printable(char *s)
{
    bool valid = utf8_valid(str_from(s));

    for (; *s != '\0'; s++)
        if ((unsigned char)*s < ' ' || *s == 0x7f || (!valid && (unsigned char)*s >= 0x80))
            *s = '?';
}

void node_init(void)
{
    uint64_t started = atomic_load(&shm->slots[SHM_MASTER].started_ns);

    if (config.node_name[0] != '\0')
        snprintf(name, sizeof(name), "%s", config.node_name);
    else if (gethostname(name, sizeof(name) - 1) == -1)
        snprintf(name, sizeof(name), "roost");
    make_printable(name);
    snprintf(uid, sizeof(uid), "%016llx%08x", (unsigned long long)started,
             (unsigned)atomic_load(&shm->slots[SHM_MASTER].pid));
}

const char *node_name(void)
{
    return name;
}

const char *node_uid(void)
{
    return uid;
}
