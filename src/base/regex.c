/* base/regex.c - PCRE2 behind limits. */
#include "base/regex.h"

#include <pcre2.h>

/* Text is a name or a claim, so of a few hundred bytes: an honest pattern needs a fraction. */
#define MATCH_LIMIT 20000
#define DEPTH_LIMIT 250
#define HEAP_LIMIT  64 /* KiB */

struct regex {
    pcre2_code *code;
    pcre2_match_data *data;
    pcre2_match_context *limits;
};

static bool make(struct regex *re, struct str pattern, char *err, size_t errcap)
{
    PCRE2_UCHAR text[128];
    PCRE2_SIZE at = 0;
    int code = 0;

    re->code =
        pcre2_compile((PCRE2_SPTR)(pattern.p != NULL ? pattern.p : ""), pattern.n,
                      PCRE2_UTF | PCRE2_DOLLAR_ENDONLY | PCRE2_NEVER_BACKSLASH_C, &code, &at, NULL);
    if (re->code == NULL) {
        pcre2_get_error_message(code, text, sizeof(text));
        snprintf(err, errcap, "%s, at its byte %zu", (const char *)text, at + 1);
        return false;
    }
    re->data = pcre2_match_data_create(1, NULL);
    re->limits = pcre2_match_context_create(NULL);
    if (re->data == NULL || re->limits == NULL) {
        snprintf(err, errcap, "out of memory");
        return false;
    }
    pcre2_set_match_limit(re->limits, MATCH_LIMIT);
    pcre2_set_depth_limit(re->limits, DEPTH_LIMIT);
    pcre2_set_heap_limit(re->limits, HEAP_LIMIT);
    return true;
}

struct regex *regex_new(struct str pattern, char *err, size_t errcap)
{
    struct regex *re = calloc(1, sizeof(*re));

    if (re == NULL) {
        snprintf(err, errcap, "out of memory");
        return NULL;
    }
    if (make(re, pattern, err, errcap))
        return re;
    regex_free(re);
    return NULL;
}

void regex_free(struct regex *re)
{
    if (re == NULL)
        return;
    pcre2_match_context_free(re->limits);
    pcre2_match_data_free(re->data);
    pcre2_code_free(re->code);
    free(re);
}

bool regex_match(const struct regex *re, struct str text)
{
    return pcre2_match(re->code, (PCRE2_SPTR)(text.p != NULL ? text.p : ""), text.n, 0, 0, re->data,
                       re->limits) >= 0;
}
