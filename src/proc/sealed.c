/* proc/sealed.c - see sealed.h. */
#include "proc/sealed.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/dumps.h"
#include "base/log.h"

static struct {
    char *at;
    size_t bytes;
    int fd;
} mapping = {.fd = -1};

/* At a multiple of SEALED_ALIGN: pages of any machine begin there. What is reserved around it stays
 * reserved; it costs nothing. */
static char *reserve(size_t bytes)
{
    char *p = mmap(NULL, bytes + SEALED_ALIGN, PROT_NONE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (p == MAP_FAILED)
        return NULL;
    return p + (SEALED_ALIGN - (uintptr_t)p % SEALED_ALIGN) % SEALED_ALIGN;
}

void *sealed_map(size_t bytes)
{
    char *at = reserve(bytes);
    int fd;

    if (at == NULL)
        return NULL;
    fd = memfd_create("roost", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd == -1)
        return NULL;
    if (ftruncate(fd, (off_t)bytes) == -1 ||
        mmap(at, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED) {
        close(fd);
        return NULL;
    }
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) ==
        -1)
        LOG(LOG_WARN,
            "shared memory cannot be sealed: a process that was taken over could make it writable "
            "again (Linux 5.1 and later can)",
            KV_ERRNO(errno));
    dumps_leave_out(at, bytes);
    mapping.at = at;
    mapping.bytes = bytes;
    mapping.fd = fd;
    return at;
}

void sealed_unmap(void)
{
    munmap(mapping.at, mapping.bytes);
    sealed_close();
}

static void refuse(const char *what)
{
    LOG(LOG_ERROR, "shared memory cannot be confined", KV_S("step", what), KV_ERRNO(errno));
    exit(1);
}

static size_t page_size(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

void sealed_read_only(void *at, size_t bytes)
{
    /* A new mapping, not mprotect(): that one could be taken back. */
    if (mmap(at, bytes, PROT_READ, MAP_SHARED | MAP_FIXED, mapping.fd, (char *)at - mapping.at) ==
        MAP_FAILED)
        refuse("read-only");
    dumps_leave_out(at, bytes);
}

void sealed_remove(void *at, size_t bytes)
{
    size_t skip = (page_size() - (uintptr_t)at % page_size()) % page_size();

    /* Nothing else shall ever come to lie there. */
    if (skip < bytes &&
        mmap((char *)at + skip, bytes - skip, PROT_NONE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED)
        refuse("remove");
}

void sealed_close(void)
{
    if (mapping.fd != -1)
        close(mapping.fd);
    mapping.fd = -1;
}
