/* core/channel_name.c - the alphabet of channel names. */
#include "core/channel_name.h"

#include "codec/utf8.h"

static bool ascii_allowed(unsigned char c)
{
    return c > 0x20 && c < 0x7f && c != '*' && c != '"' && c != '\\';
}

static bool code_point_allowed(uint32_t c)
{
    if (c < 0xa1 || c == 0x2028 || c == 0x2029 || c == 0xfeff)
        return false;
    /* Noncharacters (Unicode 23.7). */
    return !(c >= 0xfdd0 && c <= 0xfdef) && (c & 0xfffe) != 0xfffe;
}

/* The character of two or more bytes at *p, which is valid UTF-8; moves *p behind it. */
static uint32_t decode(const unsigned char **p)
{
    const unsigned char *s = *p;
    unsigned more = s[0] >= 0xf0 ? 3 : s[0] >= 0xe0 ? 2 : 1;
    uint32_t c = s[0] & (0x3fu >> more);

    for (unsigned i = 1; i <= more; i++)
        c = c << 6 | (s[i] & 0x3fu);
    *p = s + more + 1;
    return c;
}

bool channel_name_valid(struct str name)
{
    const unsigned char *p = (const unsigned char *)name.p;
    const unsigned char *end;

    if (name.n == 0 || name.n > CHANNEL_NAME_MAX || !utf8_valid(name))
        return false;
    for (end = p + name.n; p < end;) {
        if (*p < 0x80) {
            if (!ascii_allowed(*p++))
                return false;
        } else if (!code_point_allowed(decode(&p))) {
            return false;
        }
    }
    return true;
}
