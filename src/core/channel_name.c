/* core/channel_name.c - the alphabet of channel names. */
#include "core/channel_name.h"

#include "base/utf8.h"

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

bool channel_name_valid(struct str name)
{
    if (name.n == 0 || name.n > CHANNEL_NAME_MAX)
        return false;
    while (name.n > 0) {
        uint32_t c;
        size_t n = utf8_decode(name, &c);

        if (n == 0 || !(c < 0x80 ? ascii_allowed((unsigned char)c) : code_point_allowed(c)))
            return false;
        name = str_skip(name, n);
    }
    return true;
}
