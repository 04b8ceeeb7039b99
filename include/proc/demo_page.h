/* proc/demo_page.h - the demo chat page. */
#ifndef ROOST_PROC_DEMO_PAGE_H
#define ROOST_PROC_DEMO_PAGE_H

#include "base/str.h"

/* HTML; lives as long as the program. */
struct str demo_page(void);

#endif
