/* report_page.c - the HTML report: a head and a tail with the JSON document between them, embedded
 * at build time. Colors and charts are those of the admin page (src/web). */
__asm__(".section .rodata\n"
        ".globl report_page_head, report_page_head_end, report_page_tail, report_page_tail_end\n"
        "report_page_head:\n"
        ".incbin \"cmd/roostload/report_head.html\"\n"
        ".incbin \"src/web/page.css\"\n"
        ".incbin \"cmd/roostload/report_body.html\"\n"
        "report_page_head_end:\n"
        "report_page_tail:\n"
        ".incbin \"cmd/roostload/report_script.html\"\n"
        ".incbin \"src/web/charts.js\"\n"
        ".incbin \"cmd/roostload/report_tail.html\"\n"
        "report_page_tail_end:\n"
        ".previous\n");
