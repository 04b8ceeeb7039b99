/* base/suggest.c - the nearest word by edit distance. */
#include "base/suggest.h"

#define PREFIX_MIN 3 /* so many letters of a word count as the word cut short */

static unsigned distance(struct str a, struct str b)
{
    unsigned row[64], diagonal, up;

    if (a.n >= ARRAY_LEN(row) || b.n >= ARRAY_LEN(row))
        return UINT32_MAX;
    for (size_t j = 0; j <= b.n; j++)
        row[j] = (unsigned)j;
    for (size_t i = 1; i <= a.n; i++) {
        diagonal = row[0];
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= b.n; j++) {
            up = row[j];
            row[j] = MIN(MIN(row[j] + 1, row[j - 1] + 1), diagonal + (a.p[i - 1] != b.p[j - 1]));
            diagonal = up;
        }
    }
    return row[b.n];
}

void suggest_init(struct suggest *s, struct str word)
{
    *s = (struct suggest){.word = word, .best = (unsigned)MAX(MIN(word.n, 60) / 2, (size_t)2) + 1};
}

void suggest_offer(struct suggest *s, const char *candidate)
{
    unsigned d = distance(s->word, str_from(candidate));

    if (s->word.n >= PREFIX_MIN && str_starts_with(str_from(candidate), s->word))
        d = MIN(d, 2);
    if (d < s->best) {
        s->best = d;
        s->nearest = candidate;
    }
}
