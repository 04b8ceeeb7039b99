/* proc/sealed.h - one mapping that is shared with children, who lose their hold on parts of it.
 *
 * A file in memory (memfd), mapped writable once and then sealed: nobody can map it writable again.
 * So what a child has made read-only it cannot make writable any more, whoever runs in it. */
#ifndef ROOST_PROC_SEALED_H
#define ROOST_PROC_SEALED_H

#include "base/common.h"

/* Zeroed, aligned to SEALED_ALIGN. One at a time. NULL with errno. */
#define SEALED_ALIGN 65536
void *sealed_map(size_t bytes) MUST_CHECK;
void sealed_unmap(void);
/* In a child; they exit with a sentence when it cannot be done. From a page's beginning to the end
 * of that in which the range ends. */
void sealed_read_only(void *at, size_t bytes);
/* Cannot be touched any more; a page in which the range begins is left as it is. */
void sealed_remove(void *at, size_t bytes);
/* Nothing of it can be mapped again, nor read from the file. */
void sealed_close(void);

#endif
