/* tests/fuzz/fuzz_import.c - another server's configuration: any bytes are refused with a reason, or
 * become settings that roostd reads, unless it is said that it would refuse them. */
#include "proc/config_load.h"
#include "proc/import.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct config c;
    struct buf yaml = {0}, notes = {0}, errors = {0};
    enum import_result result =
        import_centrifugo("f", (struct str){(const char *)data, size}, &yaml, &notes);

    switch (result) {
    case IMPORT_UNREADABLE:
        REQUIRE(yaml.len == 0 && notes.len > 0);
        break;
    case IMPORT_REFUSED:
        REQUIRE(notes.len > 0);
        break;
    case IMPORT_UNSAFE:
        REQUIRE(notes.len > 0);
        /* fall through */
    case IMPORT_DONE:
        config_defaults(&c);
        REQUIRE(config_load_text(&c, "f", buf_view(&yaml), NULL, &errors) == 0);
        REQUIRE(!c.plain && errors.len == 0);
        break;
    }
    buf_fini(&yaml);
    buf_fini(&notes);
    buf_fini(&errors);
    return 0;
}
