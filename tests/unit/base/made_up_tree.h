/* tests/unit/base/made_up_tree.h - a folder that stands for the root of the file system: made-up proc and sys. */
#ifndef ROOST_TESTS_MADE_UP_TREE_H
#define ROOST_TESTS_MADE_UP_TREE_H

#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/common.h"

static char tree[64];

static void file(const char *path, const char *text)
{
    char full[PATH_MAX];
    FILE *f;

    snprintf(full, sizeof(full), "%s%s", tree, path);
    for (char *p = full + strlen(tree) + 1; (p = strchr(p, '/')) != NULL; p++) {
        *p = '\0';
        mkdir(full, 0755);
        *p = '/';
    }
    f = fopen(full, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static int make_tree(void **state UNUSED)
{
    snprintf(tree, sizeof(tree), "/tmp/roost-tree-XXXXXX");
    return mkdtemp(tree) == NULL ? -1 : 0;
}

static int rm(const char *path, const struct stat *st, int flag, struct FTW *w)
{
    (void)st;
    (void)flag;
    (void)w;
    return remove(path);
}

static int remove_tree(void **state UNUSED)
{
    return nftw(tree, rm, 16, FTW_DEPTH | FTW_PHYS);
}

#endif
