/* zipf.h - random ranks: rank r of n comes with the probability (1/r) / (1/1 + ... + 1/n). */
#ifndef ROOSTLOAD_ZIPF_H
#define ROOSTLOAD_ZIPF_H

#include "base/str.h"

/* A rank from 0 to n - 1. next: 64 random bits. */
uint64_t zipf_pick(uint64_t n, uint64_t (*next)(void));
/* The share of rank r (from 0) of n is 1 / (r + 1) / zipf_sum(n). */
double zipf_sum(uint64_t n);

#endif
