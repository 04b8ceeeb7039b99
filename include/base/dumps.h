/* base/dumps.h - memory that holds secrets stays out of core dumps, also where those are wanted. */
#ifndef ROOST_BASE_DUMPS_H
#define ROOST_BASE_DUMPS_H

#include "base/common.h"

/* The pages of these bytes, whole, and what else lies there. A new mapping in their place begins
 * anew; a forked process keeps it. */
void dumps_leave_out(const void *at, size_t bytes);

#endif
