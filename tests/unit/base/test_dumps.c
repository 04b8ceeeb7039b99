/* base/dumps: the kernel's own word for what a dump will leave out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/dumps.c"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

/* Does the mapping at this place have the flag dd (/proc/self/smaps)? */
static bool left_out(const void *p)
{
    FILE *f = fopen("/proc/self/smaps", "re");
    char line[1024];
    unsigned long low, high;
    bool here = false, found = false;

    assert_non_null(f);
    while (fgets(line, sizeof(line), f) != NULL) {
        if (sscanf(line, "%lx-%lx ", &low, &high) == 2)
            here = (uintptr_t)p >= low && (uintptr_t)p < high;
        else if (here && strncmp(line, "VmFlags:", 8) == 0)
            found = strstr(line, " dd") != NULL;
    }
    fclose(f);
    return found;
}

static void whole_pages_and_no_others(void **state UNUSED)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *p = mmap(NULL, 4 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int status;
    pid_t pid;

    assert_ptr_not_equal(p, MAP_FAILED);
    assert_false(left_out(p + page));
    dumps_leave_out(p + 2 * page - 1, 2); /* a byte on each of two pages */
    assert_false(left_out(p));
    assert_true(left_out(p + page));
    assert_true(left_out(p + 2 * page));
    assert_false(left_out(p + 3 * page));
    pid = fork();
    if (pid == 0)
        _exit(left_out(p + page) ? 0 : 1);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    munmap(p, 4 * page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_pages_and_no_others),
    };

    return cmocka_run_group_tests_name("base/dumps", tests, NULL, NULL);
}
