/* proto/http_date.c - the Date line of responses, made once a second. */
#include <time.h>

#include "base/clock.h"
#include "proto/http.h"

struct str http_date_line(void)
{
    static const char days[] = "SunMonTueWedThuFriSat";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    static char line[64];
    static size_t length;
    static time_t made = -1;
    time_t now = (time_t)(clock_wall_ns() / NS_PER_SEC);
    struct tm t;

    if (now != made && gmtime_r(&now, &t) != NULL) {
        length = (size_t)snprintf(line, sizeof(line),
                                  "Date: %.3s, %02d %.3s %04d %02d:%02d:%02d GMT\r\n",
                                  days + 3 * t.tm_wday, t.tm_mday, months + 3 * t.tm_mon,
                                  1900 + t.tm_year, t.tm_hour, t.tm_min, t.tm_sec);
        made = now;
    }
    return (struct str){.p = line, .n = length};
}
