/* proc/config_keys.c - keys of tokens, from the settings and the files that they name. */
#include "base/read_whole_file.h"
#include "config_internal.h"

#define SECRET_GOOD_LENGTH 16

struct key_row {             /* of tbl/key_texts.def, for one kind of tokens */
    char text[64], file[64]; /* names of settings; "" for none */
};

static const struct {
    const char *text, *file;
} names[CONFIG_KEY_NR] = {
#define KEY_TEXT(id, text, file) {text, file},
#include "tbl/key_texts.def"
};

/* Value of a setting that is text; "" where there is no such setting. */
static struct str value_of(const struct config *c, const char *name, enum table_type *type)
{
    int row = config_row_find(str_from(name));

    if (row < 0)
        return STR_LIT("");
    *type = config_row((size_t)row)->type;
    return str_from((const char *)c + config_row((size_t)row)->offset);
}

static int append(struct config_keys *keys, size_t used, size_t i, struct str text,
                  const char *where, struct buf *errors)
{
    if (text.n > CONFIG_KEYS_MAX - used) {
        config_report(errors, where, "all keys together may have 96 KiB");
        return -1;
    }
    if (text.n > 0)
        memcpy(keys->text + used, text.p, text.n);
    (&keys->len[0][0])[i] = (uint32_t)text.n;
    return 0;
}

/* At a reload: the key that the same setting had from the same file, which is closed now. */
static bool kept(const struct config *running, const char *name, struct str path, size_t i,
                 struct str *key)
{
    enum table_type ignored;
    struct str before;

    if (running == NULL)
        return false;
    before = value_of(running, name, &ignored);
    if (!config_keeps(path.p, before.p))
        return false;
    *key = config_key_text(running, i >= CONFIG_KEY_NR, (enum config_key)(i % CONFIG_KEY_NR));
    return true;
}

static int append_file(struct config_keys *keys, size_t used, size_t i, const char *name,
                       struct str path, bool secret, const struct config *running,
                       struct buf *errors)
{
    struct buf text = {0};
    struct str key;
    char where[CONFIG_STRING_MAX + 80], err[256];
    int rc = -1;

    snprintf(where, sizeof(where), "%s: %.*s", name, STR_ARG(path));
    if (read_whole_file(path.p, CONFIG_KEYS_MAX, NULL, &text, err, sizeof(err)) == -1) {
        if (kept(running, name, path, i, &key))
            rc = append(keys, used, i, key, where, errors);
        else
            config_report(errors, where, err);
        goto out;
    }
    key = secret ? str_trim_line_end(buf_view(&text)) : buf_view(&text);
    if (key.n == 0)
        config_report(errors, where, "the file is empty");
    else
        rc = append(keys, used, i, key, where, errors);
out:
    buf_fini(&text);
    return rc;
}

static int read_one(struct config *c, const struct key_row *row, size_t used, size_t i,
                    const struct config *running, struct buf *errors)
{
    enum table_type type = TABLE_STRING, ignored;
    struct str text = value_of(c, row->text, &type), file = value_of(c, row->file, &ignored);

    if (text.n > 0 && file.n > 0) {
        config_report(errors, row->file,
                      "the setting without _file is set as well; remove one of them, or it is "
                      "unclear which counts");
        return -1;
    }
    if (type == TABLE_KEY && text.n > 0 && !table_key_is_inline(text))
        return append_file(&c->keys, used, i, row->text, text, false, running, errors);
    if (file.n > 0)
        return append_file(&c->keys, used, i, row->file, file, type == TABLE_SECRET, running,
                           errors);
    return append(&c->keys, used, i, text, row->text, errors);
}

static void make_row(size_t prefix, size_t key, struct key_row *row)
{
    static const char *const prefixes[] = {"token_", "subscription_token_"};

    *row = (struct key_row){"", ""};
    if (names[key].text[0] != '\0')
        snprintf(row->text, sizeof(row->text), "%s%s", prefixes[prefix], names[key].text);
    if (names[key].file[0] != '\0')
        snprintf(row->file, sizeof(row->file), "%s%s", prefixes[prefix], names[key].file);
}

int config_read_keys(struct config *c, const struct config *running, struct buf *errors)
{
    size_t used = 0;

    memset(&c->keys, 0, sizeof(c->keys));
    for (size_t i = 0; i < 2 * CONFIG_KEY_NR; i++) {
        struct key_row row;

        make_row(i / CONFIG_KEY_NR, i % CONFIG_KEY_NR, &row);
        if (read_one(c, &row, used, i, running, errors) == -1)
            return -1;
        used += (&c->keys.len[0][0])[i];
    }
    return 0;
}

int config_diff_keys(const struct config *a, const struct config *b, struct buf *out)
{
    for (size_t i = 0; i < 2 * CONFIG_KEY_NR; i++) {
        enum config_key key = (enum config_key)(i % CONFIG_KEY_NR);
        bool subscription = i >= CONFIG_KEY_NR;
        enum table_type type;
        struct key_row row;

        make_row(subscription, key, &row);
        /* Another value of the setting is told by its row. */
        if (str_equal(config_key_text(a, subscription, key),
                      config_key_text(b, subscription, key)) ||
            !str_equal(value_of(a, row.text, &type), value_of(b, row.text, &type)) ||
            !str_equal(value_of(a, row.file, &type), value_of(b, row.file, &type)))
            continue;
        if (buf_printf(out, "%s%s", out->len > 0 ? ", " : "",
                       row.file[0] != '\0' ? row.file : row.text) == -1)
            return -1;
    }
    return 0;
}

/* From one token a secret can be tried as fast as a machine computes. */
static int warn_secret(const struct config *c, bool subscription, struct buf *lines)
{
    size_t n = config_key_text(c, subscription, CONFIG_KEY_HMAC).n;

    if (n == 0 || n >= SECRET_GOOD_LENGTH)
        return 0;
    return buf_printf(
        lines,
        "%stoken_hmac_secret_key: it has less than %d characters: whoever has a token "
        "can find it out\n",
        subscription ? "subscription_" : "", SECRET_GOOD_LENGTH);
}

int config_warn_keys(const struct config *c, struct buf *lines)
{
    bool unused = false;

    for (int k = 0; k < CONFIG_KEY_NR; k++)
        unused |= !c->subscription_token_enabled && c->keys.len[1][k] > 0;
    if (warn_secret(c, false, lines) == -1 || warn_secret(c, true, lines) == -1)
        return -1;
    if (unused && buf_append_lit(lines, "subscription_token_enabled: it is false, so the keys of "
                                        "subscription_token_... are of no use\n") == -1)
        return -1;
    if (c->insecure_skip_token_signature_verify)
        return buf_append_lit(lines,
                              "insecure_skip_token_signature_verify: everybody who reaches the "
                              "client listener can be any user; for development only\n");
    return 0;
}
