/* proc/passed.h - listening sockets that systemd, or whoever starts the daemon, passes to it
 * (sd_listen_fds(3): LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES; the first one is descriptor 3).
 *
 * A listener takes the one whose name its address says (fd:NAME), or the one that is bound to its
 * address. They are the parent's, too: they are closed at the end, and never shut down. */
#ifndef ROOST_PROC_PASSED_H
#define ROOST_PROC_PASSED_H

#include "net/listener_socket.h"

/* Reads and clears the variables. -1 with a sentence in err: what was passed is of no use. */
int passed_init(const struct listener_socket *s, char *err, size_t errcap) MUST_CHECK;
/* The first one of that name that nobody has taken, and its address; -1: none. */
int passed_take_name(struct str name, struct address *a);
/* The same for the one that is bound there. */
int passed_take_address(const struct address *a);
/* What was passed, "web:admin"; borrowed until passed_init(). */
const char *passed_names(void);
/* Closes what nobody has taken, and says so. */
void passed_finish(void);

#endif
