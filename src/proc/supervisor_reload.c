/* proc/supervisor_reload.c - SIGHUP: read the sources again; apply everything or nothing. */
#include "base/log.h"
#include "proc/orders.h"
#include "supervisor_internal.h"

static void log_lines(enum log_level level, const char *what, struct str text)
{
    struct str line;

    while (text.n > 0 && str_cut(&text, '\n', &line))
        if (line.n > 0)
            LOG(level, what, KV_STR("reason", line));
}

static void count_refused(void)
{
    METRIC_INC(reloads_refused);
    metrics->reload_refused = 1;
}

void supervisor_warn_settings(void)
{
    struct buf lines = {0};

    if (config_warnings(&config, &lines) == 0)
        log_lines(LOG_WARN, "settings that are hardly meant", buf_view(&lines));
    buf_fini(&lines);
}

static void warn_removed(const struct config *fresh)
{
    struct buf lines = {0};

    if (config_removed(&config, fresh, &lines) == 0)
        log_lines(LOG_WARN, "the reload takes a protection away", buf_view(&lines));
    buf_fini(&lines);
}

/* Into the copy that is not in use, then the version makes it the one in use. */
static void publish_config(const struct config *fresh)
{
    uint32_t next = atomic_load(&shm->config_version) + 1;

    shm->configs[next & 1] = *fresh;
    atomic_store(&shm->config_version, next);
    config = *fresh;
}

/* What the files hold now, into the copy that is not in use. -1: refused, said why. */
static int read_tls(const struct config *fresh)
{
    struct buf kept = {0}, errors = {0};
    int rc = tls_files_read(fresh, &config, tls_files_used(shm->tls), tls_files_unused(shm->tls),
                            &kept, &errors);

    log_lines(LOG_ERROR, "certificates are not replaced, the old ones stay", buf_view(&kept));
    metrics->tls_kept = kept.len > 0;
    if (rc == -1)
        log_lines(LOG_ERROR, "reload refused", buf_view(&errors));
    buf_fini(&kept);
    buf_fini(&errors);
    return rc;
}

/* Before the settings: who reads those finds what they name. */
static void publish_tls(void)
{
    if (tls_files_equal(tls_files_used(shm->tls), tls_files_unused(shm->tls)))
        return;
    tls_files_publish(shm->tls);
    children_signal(SIGHUP, false);
    LOG(LOG_INFO, "certificates replaced; connections keep what they began with");
}

/* What children have of files goes to those that run; others are forked with it. */
static void take_files(struct config_files *fresh)
{
    struct config_files before = config_files;
    struct buf tls = {0};

    config_files = *fresh;
    *fresh = (struct config_files){.fetch_ca = {0}};
    if (!str_equal(buf_view(&before.fetch_ca), buf_view(&config_files.fetch_ca)))
        orders_send_text(SHM_EGRESS, ORDER_CERTIFICATES, buf_view(&config_files.fetch_ca));
    if (config_engine_has_tls(&config)) {
        if (config_files_pack_engine(&config_files, &tls) == -1)
            LOG(LOG_ERROR, "no memory for the engine's certificates, the old ones stay");
        else
            orders_send_text(SHM_HUB, ORDER_ENGINE_TLS, buf_view(&tls));
        config_wipe(&tls);
    }
    config_files_fini(&before);
}

static void apply(struct config *fresh, struct config_files *files)
{
    struct buf reloadable = {0}, restart = {0};

    supervisor_fit_capacity(fresh, shm->workers);
    if (config_diff(&config, fresh, &reloadable, &restart) == -1 ||
        config_files_diff(fresh, files, &reloadable) == -1) {
        LOG(LOG_ERROR, "reload refused", KV_S("reason", "out of memory"));
        count_refused();
    } else if (restart.len > 0) {
        LOG(LOG_ERROR, "reload refused", KV_S("reason", "these settings need a restart"),
            KV_STR("settings", buf_view(&restart)));
        count_refused();
    } else if (read_tls(fresh) == -1) {
        count_refused();
    } else if (reloadable.len == 0) {
        publish_tls();
        LOG(LOG_INFO, "reloaded, nothing has changed");
        METRIC_INC(reloads_unchanged);
        metrics->reload_refused = 0;
    } else {
        warn_removed(fresh);
        publish_tls();
        take_files(files);
        publish_config(fresh);
        log_set_level(config_log_level(&config));
        log_set_format((enum log_format)config.log_format);
        children_signal(SIGHUP, false);
        children_reloaded();
        shm_wake(shm->hub_wake_fd);
        LOG(LOG_INFO, "reloaded", KV_STR("changed", buf_view(&reloadable)));
        supervisor_warn_settings();
        METRIC_INC(reloads_applied);
        metrics->reload_refused = 0;
        supervisor_check_capacity(shm->workers);
    }
    buf_fini(&reloadable);
    buf_fini(&restart);
}

void supervisor_reload(void)
{
    struct config_source source = *supervisor.source;
    struct config_files files = {.fetch_ca = {0}};
    struct config fresh;
    struct buf errors = {0};

    source.running = &config;
    if (config_load(&fresh, &source, &errors) == -1 ||
        config_files_read(&files, &fresh, &config, &errors) == -1) {
        log_lines(LOG_ERROR, "reload refused", buf_view(&errors));
        count_refused();
    } else {
        apply(&fresh, &files);
        config_files_fini(&files);
    }
    buf_fini(&errors);
}
