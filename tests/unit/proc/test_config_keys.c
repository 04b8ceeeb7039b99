/* proc/config_keys: keys from settings and files; what is refused; what a reload tells. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proc/config_keys.c"

#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/codec/pem_keys.h"
#include "tests/unit/codec/rfc_tokens.h"

static struct config c;
static struct buf errors;
static char folder[] = "/tmp/roost-keys-XXXXXX", path[64], other[64];

static void write_file(const char *name, const char *text)
{
    FILE *f = fopen(name, "w");

    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static int set_up(void **state UNUSED)
{
    snprintf(folder, sizeof(folder), "/tmp/roost-keys-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/key", folder);
    snprintf(other, sizeof(other), "%s/other", folder);
    buf_clear(&errors);
    return 0;
}

static int tear_down(void **state UNUSED)
{
    unlink(path);
    unlink(other);
    rmdir(folder);
    buf_fini(&errors);
    return 0;
}

/* "name=value" each, up to NULL. */
static int load(struct config *out, const char *const *sets)
{
    struct config_source source = {.sets = sets, .nsets = 0};

    while (sets[source.nsets] != NULL)
        source.nsets++;
    buf_clear(&errors);
    return config_load(out, &source, &errors);
}

static void says(const char *text)
{
    if (memmem(errors.p, errors.len, text, strlen(text)) == NULL)
        fail_msg("not said: %s; but: %.*s", text, (int)errors.len, errors.p);
}

static void assert_key(bool subscription, enum config_key which, const char *text)
{
    struct str s = config_key_text(&c, subscription, which);

    if (!str_equal(s, str_from(text)))
        fail_msg("%.*s, not %s", STR_ARG(s), text);
}

static void from_settings(void **state UNUSED)
{
    const char *sets[] = {"token_hmac_secret_key=abc",
                          "subscription_token_hmac_secret_key=def",
                          "token_hmac_previous_secret_key=old",
                          "token_rsa_public_key=" PEM_RSA,
                          "subscription_token_ecdsa_public_key=" PEM_EC,
                          NULL};

    assert_int_equal(load(&c, sets), 0);
    assert_key(false, CONFIG_KEY_HMAC, "abc");
    assert_key(false, CONFIG_KEY_HMAC_PREVIOUS, "old");
    assert_key(false, CONFIG_KEY_RSA, PEM_RSA);
    assert_key(false, CONFIG_KEY_ECDSA, "");
    assert_key(true, CONFIG_KEY_HMAC, "def");
    assert_key(true, CONFIG_KEY_ECDSA, PEM_EC);
    assert_true(c.permissions); /* a token key is set */
}

/* As files of variables have it. */
static void line_ends_may_be_escaped(void **state UNUSED)
{
    char one_line[1024] = "token_ecdsa_public_key=";
    size_t n = strlen(one_line);
    const char *sets[] = {one_line, NULL};

    for (const char *at = PEM_EC; *at != '\0'; at++) {
        if (*at == '\n')
            one_line[n++] = '\\';
        one_line[n++] = *at == '\n' ? 'n' : *at;
    }
    assert_int_equal(load(&c, sets), 0);
    assert_key(false, CONFIG_KEY_ECDSA, PEM_EC);
}

static void from_files(void **state UNUSED)
{
    char secret[100], pem[100];
    const char *sets[] = {secret, pem, NULL};

    snprintf(secret, sizeof(secret), "token_hmac_secret_key_file=%s", path);
    snprintf(pem, sizeof(pem), "token_eddsa_public_key=%s", other);
    write_file(path, "a secret with blanks \xc3\xa4 \r\n");
    write_file(other, PEM_ED25519);
    assert_int_equal(load(&c, sets), 0);
    assert_key(false, CONFIG_KEY_HMAC, "a secret with blanks \xc3\xa4 ");
    assert_key(false, CONFIG_KEY_EDDSA, PEM_ED25519);
    snprintf(pem, sizeof(pem), "token_jwks_file=%s", other);
    write_file(other, SET(A3_KEY));
    assert_int_equal(load(&c, sets), 0);
    assert_key(false, CONFIG_KEY_JWKS, SET(A3_KEY));
}

static void what_is_refused(void **state UNUSED)
{
    char file[100], long_pem[CONFIG_KEY_MAX + 100] = "token_rsa_public_key=-----BEGIN ";
    const char *sets[] = {file, NULL, NULL};
    static const struct {
        const char *setting, *text, *why;
    } rows[] = {
        {"token_rsa_public_key", PEM_EC, "the key is not an RSA key"},
        {"token_ecdsa_public_key", PEM_PRIVATE, "is a private key"},
        {"token_eddsa_public_key", "", "the file is empty"},
        {"token_hmac_secret_key_file", "\n", "the file is empty"},
        {"subscription_token_jwks_file", "{\"keys\":[]}", "the key set has no key in it"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        write_file(path, rows[i].text);
        snprintf(file, sizeof(file), "%s=%s", rows[i].setting, path);
        if (i == 4)
            sets[1] = "subscription_token_enabled=true";
        assert_int_equal(load(&c, sets), -1);
        says(rows[i].setting);
        says(rows[i].why);
    }
    snprintf(file, sizeof(file), "token_hmac_secret_key_file=%s", path);
    sets[1] = "token_hmac_secret_key=hunter2";
    assert_int_equal(load(&c, sets), -1);
    says("the setting without _file is set as well");
    assert_null(memmem(errors.p, errors.len, "hunter", 6));
    sets[1] = NULL;
    unlink(path);
    assert_int_equal(load(&c, sets), -1);
    says("No such file");
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(load(&c, sets), -1);
    says("is not a regular file");
    memset(long_pem + strlen(long_pem), 'A', CONFIG_KEY_MAX);
    sets[0] = long_pem;
    assert_int_equal(load(&c, sets), -1);
    says("a longer one in a file");
}

static void all_together_are_bounded(void **state UNUSED)
{
    struct buf text = {0};
    char file[2][100];
    const char *sets[] = {file[0], file[1], NULL};

    while (text.len < CONFIG_KEYS_MAX * 2 / 3)
        assert_int_equal(buf_append_lit(&text, "key "), 0);
    assert_int_equal(buf_append_char(&text, '\0'), 0);
    write_file(path, text.p);
    buf_fini(&text);
    snprintf(file[0], sizeof(file[0]), "token_hmac_secret_key_file=%s", path);
    snprintf(file[1], sizeof(file[1]), "token_hmac_previous_secret_key_file=%s", path);
    assert_int_equal(load(&c, sets), -1);
    says("all keys together may have 96 KiB");
}

static void a_reload_tells_which(void **state UNUSED)
{
    static struct config before;
    struct buf changed = {0}, restart = {0};
    char file[100];
    const char *sets[] = {file, "token_hmac_secret_key=abc", NULL};

    snprintf(file, sizeof(file), "token_jwks_file=%s", path);
    write_file(path, SET(A3_KEY));
    assert_int_equal(load(&before, sets), 0);
    assert_int_equal(load(&c, sets), 0);
    assert_int_equal(config_diff(&before, &c, &changed, &restart), 0);
    assert_int_equal(changed.len + restart.len, 0);
    write_file(path, SET(A4_KEY));
    sets[1] = "token_hmac_secret_key=abcd";
    assert_int_equal(load(&c, sets), 0);
    assert_int_equal(config_diff(&before, &c, &changed, &restart), 0);
    assert_true(str_equal(buf_view(&changed), STR_LIT("token_hmac_secret_key, token_jwks_file")));
    assert_int_equal(restart.len, 0);
    buf_fini(&changed);
}

static void assert_warns(const char *const *sets, const char *text)
{
    struct buf lines = {0};

    assert_int_equal(load(&c, sets), 0);
    assert_int_equal(config_warn_keys(&c, &lines), 0);
    if (!str_equal(buf_view(&lines), str_from(text)))
        fail_msg("%.*s", (int)lines.len, lines.p);
    buf_fini(&lines);
}

static void warnings(void **state UNUSED)
{
    const char *good[] = {"token_hmac_secret_key=0123456789abcdef", NULL},
               *brief[] = {"token_hmac_secret_key=secret", NULL},
               *idle[] = {"subscription_token_rsa_public_key=" PEM_RSA, NULL},
               *skip[] = {"insecure_skip_token_signature_verify=true", NULL};

    assert_warns(good, "");
    assert_warns(brief, "token_hmac_secret_key: it has less than 16 characters: whoever has a "
                        "token can find it out\n");
    assert_warns(idle, "subscription_token_enabled: it is false, so the keys of "
                       "subscription_token_... are of no use\n");
    assert_warns(skip, "insecure_skip_token_signature_verify: everybody who reaches the client "
                       "listener can be any user; for development only\n");
}

/* What is printed is read back as the same, without secrets. */
static void printed_and_read_again(void **state UNUSED)
{
    static struct config again;
    const char *sets[] = {"token_rsa_public_key=" PEM_RSA, "token_ecdsa_public_key=/etc/it's",
                          NULL};
    struct buf text = {0};

    config_defaults(&c);
    for (int i = 0; i < 2; i++) {
        struct str set = str_from(sets[i]);
        size_t eq = str_find(set, '=');
        char err[128];

        assert_int_equal(table_set(&config_table, &c,
                                   (size_t)config_row_find((struct str){set.p, eq}),
                                   str_skip(set, eq + 1), err, sizeof(err)),
                         0);
    }
    assert_int_equal(config_print(&c, &text), 0);
    config_defaults(&again);
    if (config_load_text(&again, "f", buf_view(&text), NULL, &errors) == -1)
        fail_msg("%.*s", (int)errors.len, errors.p);
    assert_string_equal(again.token_rsa_public_key, PEM_RSA);
    assert_string_equal(again.token_ecdsa_public_key, "/etc/it's");
    buf_fini(&text);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(from_settings),   T(line_ends_may_be_escaped), T(from_files),
        T(what_is_refused), T(all_together_are_bounded), T(a_reload_tells_which),
        T(warnings),        T(printed_and_read_again),
    };

    return cmocka_run_group_tests_name("proc/config_keys", tests, NULL, NULL);
}
