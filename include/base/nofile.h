/* base/nofile.h - how many descriptors this process may have. */
#ifndef ROOST_BASE_NOFILE_H
#define ROOST_BASE_NOFILE_H

#include "base/common.h"

/* Raises the soft limit to the hard one. Returns what there is after that. */
uint64_t nofile_raise(void);

#endif
