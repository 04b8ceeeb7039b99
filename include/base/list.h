/* base/list.h - intrusive circular doubly-linked list. A node is in at most one list; an unlinked
 * node points at itself, so list_remove() is safe to repeat after list_node_init(). */
#ifndef ROOST_BASE_LIST_H
#define ROOST_BASE_LIST_H

#include "base/common.h"

struct list {
    struct list *prev, *next;
};

#define LIST_INIT(name)                                                                            \
    {                                                                                              \
        &(name), &(name)                                                                           \
    }
#define LIST_ENTRY(node, type, member) CONTAINER_OF(node, type, member)

static inline void list_init(struct list *l)
{
    l->prev = l->next = l;
}

static inline bool list_empty(const struct list *l)
{
    return l->next == l;
}

/* Is the node in a list? */
static inline bool list_linked(const struct list *n)
{
    return n->next != n;
}

static inline void list_remove(struct list *n)
{
    n->prev->next = n->next;
    n->next->prev = n->prev;
    n->prev = n->next = n;
}

static inline void list_append(struct list *l, struct list *n)
{
    n->prev = l->prev;
    n->next = l;
    l->prev->next = n;
    l->prev = n;
}

static inline void list_prepend(struct list *l, struct list *n)
{
    list_append(l->next, n);
}

/* Moves everything from src to the front of l, in its order; src becomes empty. */
static inline void list_prepend_all(struct list *l, struct list *src)
{
    if (list_empty(src))
        return;
    src->prev->next = l->next;
    l->next->prev = src->prev;
    l->next = src->next;
    src->next->prev = l;
    list_init(src);
}

/* First node removed from the list, or NULL. */
static inline struct list *list_pop(struct list *l)
{
    struct list *n = l->next;

    if (n == l)
        return NULL;
    list_remove(n);
    return n;
}

/* Moves everything from src to the (initialised, empty) dst; src becomes empty. */
static inline void list_take(struct list *dst, struct list *src)
{
    if (list_empty(src)) {
        list_init(dst);
        return;
    }
    *dst = *src;
    dst->prev->next = dst;
    dst->next->prev = dst;
    list_init(src);
}

#endif
