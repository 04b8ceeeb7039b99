/* proc/admin_page.h - /admin of the admin listeners: a page for operators, and its parts. They hold
 * nothing secret and need no key; what the page shows it asks /debug, /metrics and /api for, with the
 * key that the operator types in. 404 while config.admin_page is off. */
#ifndef ROOST_PROC_ADMIN_PAGE_H
#define ROOST_PROC_ADMIN_PAGE_H

/* Registers the resources: at start, before listening. */
void admin_page_init(void);

#endif
