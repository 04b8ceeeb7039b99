/* cmd/roostctl/top.c - status, live. */
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "base/out.h"
#include "ctl.h"

#define ROWS_DEFAULT 24

static volatile sig_atomic_t stop, resized;
static struct termios saved;

static void on_stop(int sig UNUSED)
{
    stop = 1;
}

static void on_resize(int sig UNUSED)
{
    resized = 1;
}

/* A screen of our own without a cursor; what is too wide is cut, not wrapped. */
static void raw_terminal(bool on)
{
    struct termios t;

    if (!on) {
        tcsetattr(STDIN_FILENO, TCSANOW, &saved);
        out_write(STR_LIT("\033[?7h\033[?25h\033[?1049l"));
    } else if (tcgetattr(STDIN_FILENO, &saved) == 0) {
        t = saved;
        t.c_lflag &= (tcflag_t) ~(ICANON | ECHO);
        tcsetattr(STDIN_FILENO, TCSANOW, &t);
        out_write(STR_LIT("\033[?1049h\033[?25l\033[?7l"));
    }
    out_flush();
}

/* A second's pause. Live, q ends it and everything, and a new size of the window it alone: then
 * false. */
static bool pause_a_second(bool live)
{
    struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};
    char c;

    resized = 0;
    if (poll(&p, live ? 1 : 0, 1000) > 0 &&
        (read(STDIN_FILENO, &c, 1) != 1 || c == 'q' || c == 'Q'))
        stop = 1; /* also when the terminal has gone */
    return !(live && resized);
}

static size_t rows_of_terminal(void)
{
    struct winsize size = {0};

    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 0 ? size.ws_row
                                                                           : ROWS_DEFAULT;
}

/* The lines that fit, and a last one that says how to leave, and what was left out. */
static void draw_live(struct str text)
{
    size_t rows = rows_of_terminal(), shown = 0, left_out = 0;
    struct str line;

    out_write(STR_LIT("\033[H"));
    while (text.n > 0 && str_cut(&text, '\n', &line)) {
        if (shown + 1 >= rows) {
            left_out++;
            continue;
        }
        out_printf("%.*s\033[K\r\n", STR_ARG(line));
        shown++;
    }
    out_printf("q quits");
    if (left_out > 0)
        out_printf("; %zu more lines do not fit, roostctl status has them", left_out);
    out_printf("\033[K\033[J");
}

static bool draw(struct str text, bool live)
{
    if (live) {
        draw_live(text);
    } else {
        out_write(text);
        if (ctl.output == CTL_TABLE)
            out_write(STR_LIT("\n"));
    }
    return out_flush();
}

/* Reads into the older of two readings. */
static int look(struct ctl_view *view, int *current, bool once, struct buf *text)
{
    struct ctl_view *then = &view[*current], *now = &view[!*current];

    buf_clear(text);
    if (view_read(now, !once) == 0) {
        *current = !*current;
        return ctl.output == CTL_JSON ? view_write_json(now, then, text)
                                      : view_draw(now, then, text);
    }
    if (once)
        return -1;
    if (ctl.output == CTL_TABLE)
        return buf_printf(text, "no answer from %s, trying again\n", ctl_url());
    fprintf(stderr, "roostctl: no answer from %s, trying again\n", ctl_url());
    return 0;
}

/* Until it is told to stop, or, once: one block. */
static int watch(bool once, bool live, struct ctl_view *view)
{
    struct buf text = {0};
    int current = 0, rc = 0;

    do {
        bool anew = pause_a_second(live);

        if (stop)
            break;
        if (anew) /* else what was there, in the new size */
            rc = look(view, &current, once, &text);
    } while (rc == 0 && draw(buf_view(&text), live) && !once);
    buf_fini(&text);
    return rc == 0 ? 0 : 1;
}

int cmd_top(const struct ctl_line *cmdline)
{
    bool once = cmdline->given[OPTION_TOP_ONCE] != NULL;
    bool live = !once && ctl.output == CTL_TABLE && isatty(STDOUT_FILENO) && isatty(STDIN_FILENO);
    struct sigaction sa = {.sa_handler = on_stop}, winch = {.sa_handler = on_resize};
    struct ctl_view view[2] = {0};
    int rc = 1;

    sigaction(SIGINT, &sa, NULL);
    sigaction(SIGTERM, &sa, NULL);
    sigaction(SIGWINCH, &winch, NULL);
    if (view_read(&view[0], false) == 0) {
        if (live)
            raw_terminal(true);
        rc = watch(once, live, view);
        if (live)
            raw_terminal(false);
    }
    view_fini(&view[0]);
    view_fini(&view[1]);
    return rc;
}
