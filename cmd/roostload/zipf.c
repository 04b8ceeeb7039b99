/* zipf.c - see zipf.h. Rejection-inversion (Hoermann and Derflinger 1996) for the exponent 1:
 * without a table, however many ranks there are. */
#include "zipf.h"

#include <math.h>

uint64_t zipf_pick(uint64_t n, uint64_t (*next)(void))
{
    /* Areas under 1/x, from where that of rank 1 begins to where that of rank n ends. */
    double from = log(1.5) - 1, to = log((double)n + 0.5);
    double squeeze = 2 - exp(log(2.5) - 0.5); /* nearer to a rank than this: taken at once */

    for (;;) {
        double u = to + (double)(next() >> 11) / 9007199254740992.0 * (from - to);
        double x = exp(u), rank = floor(x + 0.5);

        rank = MAX(1.0, MIN(rank, (double)n));
        if (rank - x <= squeeze || u >= log(rank + 0.5) - 1 / rank)
            return (uint64_t)rank - 1;
    }
}

double zipf_sum(uint64_t n)
{
    double sum = 0;

    for (uint64_t r = n; r > 0; r--) /* the small ones first: they would be lost in rounding */
        sum += 1 / (double)r;
    return sum;
}
