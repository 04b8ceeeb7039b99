/* proc/demo_page.c - the demo chat page, embedded when the daemon is built. */
#include "proc/demo_page.h"

/* The path is relative to the top folder, where the build runs. */
__asm__(".section .rodata\n"
        "demo_page_start:\n"
        ".incbin \"src/proc/demo.html\"\n"
        "demo_page_end:\n"
        ".previous\n");

extern const char demo_page_start[], demo_page_end[];

struct str demo_page(void)
{
    return (struct str){demo_page_start, (size_t)(demo_page_end - demo_page_start)};
}
