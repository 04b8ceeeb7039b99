/* proc/admin_page.c - see admin_page.h. Put together from src/proc/admin_page and src/web when the
 * daemon is built.
 *
 * All addresses in the page are relative, so that it works below any path of a proxy. Styles and
 * scripts are resources of their own, so that the policy allows nothing inline; and no text can
 * become markup or script, as no function that would make it so may be called (Trusted Types). */
#include "proc/admin_page.h"

#include "base/buf.h"
#include "base/config.h"
#include "proto/http.h"

#define GUARDS                                                                                     \
    "Content-Security-Policy: default-src 'none'; style-src 'self'; script-src 'self'; "           \
    "connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; "                    \
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'\r\n"         \
    "X-Content-Type-Options: nosniff\r\nX-Frame-Options: DENY\r\n"                                 \
    "Referrer-Policy: no-referrer\r\nCross-Origin-Resource-Policy: same-origin\r\n"                \
    "Cross-Origin-Opener-Policy: same-origin\r\n"

/* The paths are relative to the top folder, where the build runs. */
__asm__(".section .rodata\n"
        "admin_page_html:\n"
        ".incbin \"src/proc/admin_page/page.html\"\n"
        "admin_page_html_end:\n"
        "admin_page_style:\n"
        ".incbin \"src/web/page.css\"\n"
        ".incbin \"src/proc/admin_page/style.css\"\n"
        "admin_page_style_end:\n"
        "admin_page_script:\n"
        ".incbin \"src/web/charts.js\"\n"
        ".incbin \"src/proc/admin_page/ask.js\"\n"
        ".incbin \"src/proc/admin_page/numbers.js\"\n"
        ".incbin \"src/proc/admin_page/parts.js\"\n"
        ".incbin \"src/proc/admin_page/health.js\"\n"
        ".incbin \"src/proc/admin_page/overview.js\"\n"
        ".incbin \"src/proc/admin_page/connections.js\"\n"
        ".incbin \"src/proc/admin_page/channels.js\"\n"
        ".incbin \"src/proc/admin_page/processes.js\"\n"
        ".incbin \"src/proc/admin_page/actions.js\"\n"
        ".incbin \"src/proc/admin_page/start.js\"\n"
        "admin_page_script_end:\n"
        "admin_page_icon:\n"
        ".incbin \"src/proc/admin_page/icon.svg\"\n"
        "admin_page_icon_end:\n"
        ".previous\n");

extern const char admin_page_html[], admin_page_html_end[], admin_page_style[],
    admin_page_style_end[], admin_page_script[], admin_page_script_end[], admin_page_icon[],
    admin_page_icon_end[];

static void respond(struct http_exchange *x, const char *type, const char *from, const char *end)
{
    http_respond(x, 200, type, STR_LIT(GUARDS), (struct str){.p = from, .n = (size_t)(end - from)});
}

/* Whether a key is needed stands in the page, so that it asks for one without being refused first,
 * which would count as a failure and be logged. It is no secret: whoever asks finds out. */
static void handle_page(struct http_exchange *x)
{
    struct buf out = {0};
    int rc = buf_append_lit(&out, "<!doctype html>\n<html lang=\"en\" data-key=\"");

    rc |= buf_append(&out, config.api_key[0] != '\0' ? STR_LIT("needed") : STR_LIT("none"));
    rc |= buf_append_lit(&out, "\">\n");
    rc |= buf_append(&out, (struct str){.p = admin_page_html,
                                        .n = (size_t)(admin_page_html_end - admin_page_html)});
    if (rc != 0)
        http_refuse(x, CLOSE_NO_MEMORY);
    else
        http_respond(x, 200, "text/html; charset=utf-8", STR_LIT(GUARDS), buf_view(&out));
    buf_fini(&out);
}

static void handle_style(struct http_exchange *x)
{
    respond(x, "text/css; charset=utf-8", admin_page_style, admin_page_style_end);
}

static void handle_script(struct http_exchange *x)
{
    respond(x, "text/javascript; charset=utf-8", admin_page_script, admin_page_script_end);
}

static void handle_icon(struct http_exchange *x)
{
    respond(x, "image/svg+xml", admin_page_icon, admin_page_icon_end);
}

static void handle_root(struct http_exchange *x)
{
    http_respond(x, 302, NULL, STR_LIT("Location: admin\r\n"), STR_LIT(""));
}

/* Relative addresses in the page would be others here. */
static void handle_slash(struct http_exchange *x)
{
    http_respond(x, 302, NULL, STR_LIT("Location: ../admin\r\n"), STR_LIT(""));
}

static bool page_enabled(void)
{
    return config.admin_page;
}

void admin_page_init(void)
{
#define ROW(path_, handle_)                                                                        \
    {                                                                                              \
        .path = path_, .where = HTTP_ON_ADMIN, .methods = 1u << HTTP_GET, .handle = handle_,       \
        .enabled = page_enabled                                                                    \
    }
    static const struct http_resource table[] = {
        ROW("/", handle_root),
        ROW("/admin", handle_page),
        ROW("/admin/", handle_slash),
        ROW("/admin/style.css", handle_style),
        ROW("/admin/app.js", handle_script),
        ROW("/admin/icon.svg", handle_icon),
    };
#undef ROW

    http_register(table, ARRAY_LEN(table));
}
