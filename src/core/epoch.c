/* core/epoch.c - epochs by chance, and their texts. */
#include "core/epoch.h"

#include <sys/random.h>

#include "base/clock.h"
#include "base/hash.h"

static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
#define LETTERS (sizeof(letters) - 1)

/* A system call brings many. */
static uint64_t chance(void)
{
    static uint64_t stock[32];
    static unsigned left;

    if (left == 0) {
        if (getrandom(stock, sizeof(stock), GRND_NONBLOCK) != (ssize_t)sizeof(stock)) {
            /* UNTESTED: a kernel that has no random numbers after its start. The keyed hash of the
             * time is no worse than the key. */
            uint64_t now = clock_precise_ns();

            return hash_str((struct str){.p = (const char *)&now, .n = sizeof(now)});
        }
        left = (unsigned)(sizeof(stock) / sizeof(stock[0]));
    }
    return stock[--left];
}

uint64_t epoch_new(void)
{
    return chance() % EPOCH_MAX + 1;
}

void epoch_write(uint64_t epoch, char out[EPOCH_TEXT])
{
    uint64_t n = epoch - 1;

    for (unsigned i = EPOCH_TEXT; i-- > 0; n /= LETTERS)
        out[i] = letters[n % LETTERS];
}

bool epoch_read(struct str text, uint64_t *epoch)
{
    uint64_t n = 0;

    if (text.n != EPOCH_TEXT)
        return false;
    for (unsigned i = 0; i < EPOCH_TEXT; i++) {
        char c = text.p[i];

        if (c >= 'A' && c <= 'Z')
            n = n * LETTERS + (uint64_t)(c - 'A');
        else if (c >= 'a' && c <= 'z')
            n = n * LETTERS + (uint64_t)(c - 'a') + LETTERS / 2;
        else
            return false;
    }
    *epoch = n + 1;
    return true;
}
