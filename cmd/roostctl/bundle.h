/* cmd/roostctl/bundle.h - what bundle.c puts together (bundle_archive.c): texts without secrets, as files of
 * an archive (ustar, POSIX.1-2017 pax), and what is missing. */
#ifndef ROOSTCTL_BUNDLE_H
#define ROOSTCTL_BUNDLE_H

#include "base/buf.h"
#include "base/config.h"

struct bundle {
    const char *folder; /* borrowed; all files are in it */
    uint64_t time_s;    /* of all files */
    struct buf tar, manifest;
    struct buf secrets; /* one behind the other, each with a NUL behind it */
    bool failed;        /* no memory */
};

/* Wherever it appears from now on it is removed; one shorter than 6 characters would be in other words, too,
 * and is none of ours: settings want longer ones. */
void bundle_hide(struct bundle *b, struct str secret);
/* All that these settings hold. */
void bundle_hide_all(struct bundle *b, const struct config *c);
/* Appends text without what is hidden, and without queries and names of users in URLs. */
int bundle_clean(const struct bundle *b, struct str text, struct buf *out) MUST_CHECK;
/* A file, cleaned. */
void bundle_add(struct bundle *b, const char *name, struct str text);
/* It is not there, and why: a line of the manifest. */
void bundle_missing(struct bundle *b, const char *name, const char *why);
/* The manifest becomes a file, and the archive ends. -1: no memory, also in any step before. */
int bundle_end(struct bundle *b) MUST_CHECK;
/* Overwrites the secrets. */
void bundle_fini(struct bundle *b);

#endif
