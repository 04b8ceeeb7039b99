/* proc/import_engine.c - TLS and the engine, which follow from several options. */
#include "core/engine_address.h"
#include "import_internal.h"

static struct str kept_of(const struct import *im, const char *group, const char *name,
                          const char *suffix)
{
    char path[100];

    snprintf(path, sizeof(path), "%s.%s%s", group, name, suffix);
    return import_kept(im, path);
}

static bool is_true(struct str v)
{
    return str_equal_nocase(v, STR_LIT("true")) || str_equal(v, STR_LIT("1"));
}

/* Centrifugo takes PEM, or base64 of it, in place of a file's name. */
static bool is_file(struct str v)
{
    return memmem(v.p, v.n, "-----BEGIN", 10) == NULL && !str_starts_with(v, STR_LIT("LS0t")) &&
           str_find(v, '\n') == v.n;
}

/* The file that GROUP.NAME_file or GROUP.NAME says; none: empty, with a note if there is something
 * else. */
static struct str file_of(struct import *im, const char *group, const char *name)
{
    struct str v = kept_of(im, group, name, "_file");
    char path[100];

    if (v.n > 0)
        return v;
    v = kept_of(im, group, name, "");
    if (v.n == 0 || is_file(v))
        return v;
    snprintf(path, sizeof(path), "%s.%s", group, name);
    import_note(im, true, path, "it is PEM; write that into a file and say its name");
    return STR_NULL;
}

static void set_str(struct import *im, const char *path, const char *setting, struct str value,
                    bool list)
{
    const struct import_item item = {.path = path, .n = 1, .list = list, .values = {value}};

    if (value.n > 0)
        import_set(im, true, path, setting, &item);
}

/* A listener's certificate and key, from an enabled group. */
static void set_listener(struct import *im, const char *group, const char *certificate,
                         const char *key)
{
    struct str cert = file_of(im, group, "cert_pem"), private_key = file_of(im, group, "key_pem");

    if (cert.n == 0 || private_key.n == 0) {
        char text[160];

        snprintf(text, sizeof(text),
                 "without files of a certificate and its key the listener speaks no TLS; set %s "
                 "and %s",
                 certificate, key);
        import_note(im, true, group, text);
        return;
    }
    set_str(im, group, certificate, cert, true);
    set_str(im, group, key, private_key, true);
}

void import_finish_tls(struct import *im)
{
    bool tls = is_true(import_kept(im, "http_server.tls.enabled"));
    bool external = is_true(import_kept(im, "http_server.tls_external"));
    const char *internal = NULL;

    if (tls)
        set_listener(im, "http_server.tls", "tls_certificate", "tls_key");
    if (is_true(import_kept(im, "http_server.internal_tls.enabled")))
        internal = "http_server.internal_tls";
    else if (tls && !external)
        internal = "http_server.tls";
    if (internal != NULL && import_kept(im, "http_server.internal_port").n > 0)
        set_listener(im, internal, "admin_tls_certificate", "admin_tls_key");
}

struct servers {
    struct import *im;
    const char *path;   /* for notes */
    const char *scheme; /* of those that say none */
    enum engine_scheme kind;
    bool tls;
    uint64_t database;
    struct str master; /* of Sentinel */
    struct buf text;   /* the entries of engine_address, a line each */
    char user[128], password[256];
    bool credentials; /* are those in an address */
    size_t n;
};

static int refuse(struct servers *s, const char *reason)
{
    import_note(s->im, false, s->path, reason);
    return -1;
}

/* nats://TOKEN@host: a token is a password without a user here, and as secret. */
static void take_token(struct engine_address *a)
{
    if (a->scheme != ENGINE_SCHEME_NATS || a->user[0] == '\0' || a->password[0] != '\0')
        return;
    memcpy(a->password, a->user, sizeof(a->user));
    a->user[0] = '\0';
}

/* All servers here have the same. Those of NATS that say none have what another one says. */
static int take_credentials(struct servers *s, const struct engine_address *a)
{
    bool has = a->user[0] != '\0' || a->password[0] != '\0';
    bool nats = a->scheme == ENGINE_SCHEME_NATS;

    if (nats && !has)
        return 0;
    if (s->n == 0 || (nats && !s->credentials)) {
        memcpy(s->user, a->user, sizeof(s->user));
        memcpy(s->password, a->password, sizeof(s->password));
        s->credentials = has;
        return 0;
    }
    if (strcmp(s->user, a->user) == 0 && strcmp(s->password, a->password) == 0)
        return 0;
    return refuse(s, "servers have different users or passwords; here all have the same");
}

/* Letters, digits and what else stands in names and paths; the rest would be read as marks. */
static bool is_plain_host(const char *host)
{
    for (; *host != '\0'; host++)
        if (!((*host >= '0' && *host <= '9') || ((*host | 0x20) >= 'a' && (*host | 0x20) <= 'z') ||
              strchr("._-:/", *host) != NULL))
            return false;
    return true;
}

/* "/0?master=NAME" behind a Sentinel. */
static int put_master(struct servers *s)
{
    int rc = buf_printf(&s->text, "/%u?master=", (unsigned)s->database);

    for (size_t i = 0; i < s->master.n; i++) {
        char c[2] = {s->master.p[i], '\0'};

        if (c[0] != ':' && c[0] != '/' && is_plain_host(c))
            rc |= buf_append_char(&s->text, c[0]);
        else
            rc |= buf_printf(&s->text, "%%%02X", (unsigned)(unsigned char)c[0]);
    }
    return rc;
}

static int put_address(struct servers *s, const struct engine_address *a)
{
    char text[ENGINE_ADDRESS_TEXT];
    uint64_t database = a->database > 0 ? a->database : s->database;
    bool can = a->scheme == ENGINE_SCHEME_REDIS && a->host[0] != '/';
    int rc;

    if (database > UINT8_MAX || (a->host[0] == '/' && database > 0))
        return refuse(s, "there is no such number of a database for it");
    engine_address_format(a, text, sizeof(text));
    rc = buf_printf(&s->text, s->n > 0 ? "\n%s" : "%s", text);
    if (a->scheme == ENGINE_SCHEME_SENTINEL)
        rc |= put_master(s);
    else if (can && database > 0)
        rc |= buf_printf(&s->text, "/%u", (unsigned)database);
    s->n++;
    s->im->no_memory = s->im->no_memory || rc != 0;
    return rc == 0 ? 0 : -1;
}

/* One server as Centrifugo writes it. Errors of the parser are not told: they may hold what was
 * meant as a password. */
static int add_server(struct servers *s, struct str text)
{
    static const char unknown[] =
        "there is no such form of an address here; write engine_address yourself";
    struct engine_address a[ENGINE_ADDRESSES_MAX];
    char address[600], err[256];
    struct str rest = text;
    const char *scheme = s->scheme;
    unsigned n;

    if (str_starts_with(text, STR_LIT("tcp://"))) {
        rest = str_skip(text, 6);
    } else if (str_starts_with(text, STR_LIT("unix://"))) {
        rest = str_skip(text, 7);
        scheme = "unix:";
    } else if (memmem(text.p, text.n, "://", 3) != NULL) {
        scheme = "";
    }
    if (rest.n == 0 || rest.n > 500 || str_find(rest, '?') < rest.n || s->n == IMPORT_ITEMS_MAX)
        return refuse(s, unknown);
    snprintf(address, sizeof(address), "%s%.*s%s", scheme, STR_ARG(rest),
             s->master.n > 0 ? "?master=x" : "");
    if (engine_addresses_parse(str_from(address), a, &n, err, sizeof(err)) == -1 || n != 1 ||
        a[0].scheme != s->kind || !is_plain_host(a[0].host))
        return refuse(s, unknown);
    take_token(&a[0]);
    if (take_credentials(s, &a[0]) == -1)
        return -1;
    a[0].tls = a[0].tls || s->tls;
    return put_address(s, &a[0]);
}

static int add_servers(struct servers *s, struct str list)
{
    struct str line, one;

    while (list.n > 0 && str_cut(&list, '\n', &line))
        while (line.n > 0 && str_cut(&line, ',', &one))
            if (str_trim(one).n > 0 && add_server(s, str_trim(one)) == -1)
                return -1;
    return 0;
}

static void set_credentials(struct servers *s, struct str user, struct str password)
{
    if (s->credentials) {
        user = str_from(s->user);
        password = str_from(s->password);
    }
    set_str(s->im, s->credentials ? s->path : "engine.redis.user", "engine_user", user, false);
    set_str(s->im, s->credentials ? s->path : "engine.redis.password", "engine_password", password,
            false);
}

static void set_engine(struct servers *s, const char *engine)
{
    const struct config *draft = s->im->settings.draft;
    struct import_item item = {.path = s->path, .list = true};
    struct str rest = buf_view(&s->text);

    while (rest.n > 0 && item.n < IMPORT_ITEMS_MAX && str_cut(&rest, '\n', &item.values[item.n]))
        item.n++;
    import_set(s->im, false, s->path, "engine_address", &item);
    if (draft->engine_address[0] != '\0') /* else a note says why */
        import_set_text(s->im, false, s->path, "engine", engine);
}

/* TLS towards the engine: GROUP.tls. */
static void set_engine_tls(struct import *im, const char *group)
{
    struct str cert = file_of(im, group, "cert_pem"), key = file_of(im, group, "key_pem");

    set_str(im, group, "engine_tls_ca", file_of(im, group, "server_ca_pem"), false);
    if (is_true(kept_of(im, group, "insecure_skip_verify", "")))
        import_set_text(im, false, group, "engine_tls_verify", "false");
    if ((cert.n > 0) != (key.n > 0)) {
        import_note(im, true, group, "a certificate to show and its key go together");
        return;
    }
    set_str(im, group, "engine_tls_cert", cert, false);
    set_str(im, group, "engine_tls_key", key, false);
}

static int add_sentinels(struct servers *s, struct str list)
{
    bool tls = is_true(import_kept(s->im, "engine.redis.sentinel_tls.enabled"));

    s->path = "engine.redis.sentinel_address";
    s->scheme = "redis+sentinel://";
    s->kind = ENGINE_SCHEME_SENTINEL;
    s->master = import_kept(s->im, "engine.redis.sentinel_master_name");
    if (s->master.n == 0)
        return refuse(s, "the name of the master is missing: sentinel_master_name");
    if (tls != s->tls)
        import_note(s->im, false, "engine.redis.sentinel_tls.enabled",
                    "TLS is spoken to Sentinels and servers alike, as it is to one of them");
    s->tls = s->tls || tls;
    return add_servers(s, list);
}

static int add_cluster(struct servers *s, struct str list)
{
    s->path = "engine.redis.cluster_address";
    s->scheme = "redis+cluster://";
    s->kind = ENGINE_SCHEME_CLUSTER;
    if (str_find(list, '\n') < list.n && str_find(list, ',') < list.n)
        return refuse(s, "these are several clusters, and there may be one");
    return add_servers(s, list);
}

static void finish_redis(struct import *im)
{
    struct servers s = {.im = im, .path = "engine.redis.address", .scheme = "redis://"};
    struct str cluster = import_kept(im, "engine.redis.cluster_address"),
               sentinel = import_kept(im, "engine.redis.sentinel_address"),
               address = import_kept(im, "engine.redis.address"),
               database = import_kept(im, "engine.redis.db");
    int rc;

    s.tls = is_true(import_kept(im, "engine.redis.tls.enabled"));
    if (database.n > 0 && str_to_u64(database, &s.database) == -1)
        s.database = UINT64_MAX; /* is refused */
    if (cluster.n > 0)
        rc = add_cluster(&s, cluster);
    else if (sentinel.n > 0)
        rc = add_sentinels(&s, sentinel);
    else
        rc = add_servers(&s, address.n > 0 ? address : STR_LIT("127.0.0.1:6379"));
    if (rc == 0 && s.n > 0) {
        set_engine(&s, "redis");
        set_credentials(&s, import_kept(im, "engine.redis.user"),
                        import_kept(im, "engine.redis.password"));
        set_str(im, "engine.redis.prefix", "engine_prefix", import_kept(im, "engine.redis.prefix"),
                false);
        if (s.tls || memmem(s.text.p, s.text.len, "rediss", 6) != NULL)
            set_engine_tls(im, "engine.redis.tls");
    }
    if (rc == 0 && sentinel.n > 0 && cluster.n == 0) {
        set_str(im, "engine.redis.sentinel_user", "engine_sentinel_user",
                import_kept(im, "engine.redis.sentinel_user"), false);
        set_str(im, "engine.redis.sentinel_password", "engine_sentinel_password",
                import_kept(im, "engine.redis.sentinel_password"), false);
    }
    buf_fini(&s.text);
}

static void finish_nats(struct import *im)
{
    struct servers s = {
        .im = im, .path = "broker.nats.url", .scheme = "nats://", .kind = ENGINE_SCHEME_NATS};
    struct str url = import_kept(im, "broker.nats.url");

    s.tls = is_true(import_kept(im, "broker.nats.tls.enabled"));
    if (add_servers(&s, url.n > 0 ? url : STR_LIT("nats://127.0.0.1:4222")) == 0 && s.n > 0) {
        set_engine(&s, "nats");
        set_credentials(&s, STR_NULL, STR_NULL);
        set_str(im, "broker.nats.prefix", "engine_prefix", import_kept(im, "broker.nats.prefix"),
                false);
        if (s.tls || memmem(s.text.p, s.text.len, "tls:", 4) != NULL)
            set_engine_tls(im, "broker.nats.tls");
    }
    buf_fini(&s.text);
}

void import_finish_engine(struct import *im)
{
    struct str type = import_kept(im, "engine.type"), broker = import_kept(im, "broker");
    bool other = false; /* the broker is another one than the engine */

    if (is_true(import_kept(im, "broker.enabled")))
        broker = import_kept(im, "broker.type");
    if (broker.n > 0) {
        other = !str_equal(broker, type);
        type = broker;
    }
    if (str_equal(type, STR_LIT("nats")))
        finish_nats(im);
    else if (str_equal(type, STR_LIT("redis")) && !other)
        finish_redis(im);
    else if (other && !str_equal(type, STR_LIT("memory")))
        import_note(im, false, "broker.type",
                    "an engine is broker and keeper of presence at once; say it with engine.type");
    else if (type.n > 0 && !str_equal(type, STR_LIT("memory")))
        import_note(im, false, "engine.type", "memory, redis and nats are what there is");
}
