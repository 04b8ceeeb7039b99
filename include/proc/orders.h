/* proc/orders.h - what the master hands to a child that runs: open files, which it may not open
 * itself.
 *
 * Happy path: 1. orders_open() makes the pair, the child is forked 2. orders_keep_child() there,
 * orders_keep_master() here 3. orders_send() 4. the child's loop takes the descriptor. Nobody waits:
 * a child that takes nothing gets what it has room for (some hundred orders), the rest is said in
 * a line. What a child is forked with it has without an order. */
#ifndef ROOST_PROC_ORDERS_H
#define ROOST_PROC_ORDERS_H

#include <ev.h>

#include "base/buf.h"

enum order {
    ORDER_LOG = 1,      /* where lines go from now on */
    ORDER_CERTIFICATES, /* egress: PEM of those it verifies servers with, in a sealed file in memory */
    ORDER_ENGINE_TLS    /* hub: likewise, what engine_wires_pack_tls() made */
};

/* In the master, before it forks the child of a slot. -1: errno. */
int orders_open(unsigned slot) MUST_CHECK;
void orders_keep_master(void);
/* In the child: nothing of other children's stays. */
void orders_keep_child(void);

/* fd: borrowed. */
void orders_send(unsigned slot, enum order what, int fd);
/* The same with a text; empty is one, too. */
void orders_send_text(unsigned slot, enum order what, struct str text);

/* In the child: from now on. ORDER_LOG is done here; on_text gets others' texts, borrowed, and may
 * be NULL. */
void orders_watch(struct ev_loop *loop, void (*on_text)(enum order what, struct str text));

#endif
