/* tests/fuzz/fuzz_config.c - the settings file: any bytes are accepted or refused with a reason;
 * what is accepted reads back from its own print-out. The same bytes as lines of mountinfo and
 * cgroup, which say how many workers there are. */
#include "base/cgroup.c"
#include "proc/config_load.h"
#include "tests/fuzz/fuzz.h"

static void fuzz_mounts(struct str rest)
{
    static struct cgroup_mount m;
    struct str line;

    while (rest.n > 0 && str_cut(&rest, '\n', &line)) {
        const char *below;

        if (!parse_mount(line, str_from(cpu.name), &m))
            continue;
        below = below_mount(m.point, m.root);
        REQUIRE(strlen(m.root) <= line.n && strlen(m.point) <= line.n);
        REQUIRE(strstr(below, "/..") == NULL && (*below == '\0' || *below == '/'));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct config a, b;
    struct buf errors = {0}, text = {0}, x = {0}, y = {0};

    fuzz_mounts((struct str){(const char *)data, size});
    config_defaults(&a);
    if (config_load_text(&a, "fuzz", (struct str){(const char *)data, size}, NULL, &errors) == -1) {
        if (errors.len == 0)
            abort(); /* a refusal without a reason */
    } else {
        memset(a.api_key, 0, sizeof(a.api_key)); /* is not shown, so not read back */
        config_defaults(&b);
        if (config_print(&a, &text) == -1 ||
            config_load_text(&b, "again", buf_view(&text), NULL, &errors) == -1 ||
            config_diff(&a, &b, &x, &y) == -1 || x.len + y.len != 0)
            abort();
    }
    buf_fini(&errors);
    buf_fini(&text);
    buf_fini(&x);
    buf_fini(&y);
    return 0;
}
