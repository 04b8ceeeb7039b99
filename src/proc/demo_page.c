/* proc/demo_page.c - the demo chat page, put together from src/proc/demo when the daemon is built. */
#include "proc/demo_page.h"

/* The paths are relative to the top folder, where the build runs. */
__asm__(".section .rodata\n"
        "demo_page_start:\n"
        ".incbin \"src/proc/demo/head.html\"\n"
        ".incbin \"src/proc/demo/style.css\"\n"
        ".incbin \"src/proc/demo/body.html\"\n"
        ".incbin \"src/proc/demo/script.html\"\n"
        ".incbin \"src/proc/demo/client.js\"\n"
        ".incbin \"src/proc/demo/page.js\"\n"
        ".incbin \"src/proc/demo/tail.html\"\n"
        "demo_page_end:\n"
        ".previous\n");

extern const char demo_page_start[], demo_page_end[];

struct str demo_page(void)
{
    return (struct str){demo_page_start, (size_t)(demo_page_end - demo_page_start)};
}
