/* proc/node.h - what this node is called. */
#ifndef ROOST_PROC_NODE_H
#define ROOST_PROC_NODE_H

/* Once per process, when the settings and shared memory are there. */
void node_init(void);
/* The setting node_name, else the host's name; UTF-8. */
const char *node_name(void);
/* The same in every process of one start of the node, another after the next start. */
const char *node_uid(void);

#endif
