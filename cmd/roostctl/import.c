/* import.c - roostctl import: reads a file, asks nobody. */
#include "proc/import.h"
#include "base/out.h"
#include "base/read_whole_file.h"
#include "ctl.h"

#define IMPORT_FILE_MAX ((size_t)1024 * 1024)

static void say(struct str notes)
{
    struct str line;

    while (notes.n > 0 && str_cut(&notes, '\n', &line))
        if (line.n > 0)
            fprintf(stderr, "roostctl: %.*s\n", STR_ARG(line));
}

static int read_input(const char *name, struct buf *text)
{
    bool pipe;
    char err[256];

    if (read_whole_file(str_equal(str_from(name), STR_LIT("-")) ? "/dev/stdin" : name,
                        IMPORT_FILE_MAX, &pipe, text, err, sizeof(err)) == 0)
        return 0;
    fprintf(stderr, "roostctl: %s: %s\n", name, err);
    return -1;
}

int cmd_import(const struct ctl_line *line)
{
    static const int statuses[] = {
        [IMPORT_DONE] = 0, [IMPORT_UNREADABLE] = 1, [IMPORT_REFUSED] = 1, [IMPORT_UNSAFE] = 3};
    struct buf text = {0}, yaml = {0}, notes = {0};
    enum import_result result = IMPORT_UNREADABLE;

    if (!str_equal(str_from(line->operands[0]), STR_LIT("centrifugo"))) {
        fprintf(stderr, "roostctl: import %s: centrifugo is the only one known\n",
                line->operands[0]);
        return 2;
    }
    if (read_input(line->operands[1], &text) == 0) {
        result = import_centrifugo(line->operands[1], buf_view(&text), &yaml, &notes);
        if (result == IMPORT_UNREADABLE && notes.len == 0)
            fprintf(stderr, "roostctl: out of memory\n");
        say(buf_view(&notes));
        if (result != IMPORT_UNREADABLE) /* what is refused can be mended */
            out_write(buf_view(&yaml));
    }
    buf_fini(&text);
    buf_fini(&yaml);
    buf_fini(&notes);
    return statuses[result];
}
