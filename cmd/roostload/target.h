/* target.h - the servers under test: --url, resolved and allowed. */
#ifndef ROOSTLOAD_TARGET_H
#define ROOSTLOAD_TARGET_H

#include "shared.h"

/* Fills targets (LOAD_TARGETS_MAX of them) and *n. Where a host has several addresses, the first
 * one that takes a connection is used. -1: lines for the user in errors. */
int targets_make(const struct options *o, struct load_target *targets, unsigned *n,
                 struct buf *errors) MUST_CHECK;
/* In 127.0.0.0/8, where every address is ours to connect from? */
bool target_is_loopback4(const struct load_target *t);

#endif
