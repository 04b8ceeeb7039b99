/* proc/accepting.h - which listening sockets this worker accepts from: its own, and those of
 * workers that do not serve.
 *
 * The kernel gives each worker's sockets their share of the connections, whether the worker lives
 * or not, or has no room for one more; to close them would reset whoever waits in them. So every
 * worker holds all of them and looks at the others' slots: the first few that accept behind one that
 * does not do so in its place, until it does again. Nobody has to tell them, so a master that does not move does not
 * matter. */
#ifndef ROOST_PROC_ACCEPTING_H
#define ROOST_PROC_ACCEPTING_H

void accepting_start(unsigned worker);
/* A few times a second, from a turn. */
void accepting_look(void);
/* No new clients: stops all client listeners. */
void accepting_stop_clients(void);
/* There is no master any more: ends all sockets, so that their ports are free. */
void accepting_end(void);

#endif
