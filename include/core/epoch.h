/* core/epoch.h - the name of one life of a channel's history, as a number and as clients see it.
 *
 * Clients know it as eight letters. An epoch is a number from 1 to 52^8, so that each has one text
 * and each text one epoch; 0 is none. */
#ifndef ROOST_CORE_EPOCH_H
#define ROOST_CORE_EPOCH_H

#include "base/str.h"

#define EPOCH_TEXT 8
#define EPOCH_MAX  UINT64_C(53459728531456) /* 52^8 */

/* A new one, by chance. */
uint64_t epoch_new(void);
/* epoch: from 1 to EPOCH_MAX. out is not terminated. */
void epoch_write(uint64_t epoch, char out[EPOCH_TEXT]);
/* False: this is the text of no epoch (of ours). */
bool epoch_read(struct str text, uint64_t *epoch);

#endif
