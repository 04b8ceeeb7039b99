/* proc/admin.h - the daemon's own resources: /, /healthz, /readyz, /metrics, /debug/... */
#ifndef ROOST_PROC_ADMIN_H
#define ROOST_PROC_ADMIN_H

/* Registers them and the API's info callback with proto. Once per worker, before listening. */
void admin_init(unsigned worker);

#endif
