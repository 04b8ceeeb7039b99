/* proc/supervisor_reload.c - SIGHUP: read the sources again; apply everything or nothing. */
#include "base/log.h"
#include "supervisor_internal.h"

static void log_refusal(struct str text)
{
    struct str line;

    while (text.n > 0 && str_cut(&text, '\n', &line))
        if (line.n > 0)
            LOG(LOG_ERROR, "reload refused", KV_STR("reason", line));
}

static void count_refused(void)
{
    METRIC_INC(reloads_refused);
    metrics->reload_refused = 1;
}

static void log_warnings(const char *what, struct str text)
{
    struct str line;

    while (text.n > 0 && str_cut(&text, '\n', &line))
        if (line.n > 0)
            LOG(LOG_WARN, what, KV_STR("reason", line));
}

void supervisor_warn_settings(void)
{
    struct buf lines = {0};

    if (config_warnings(&config, &lines) == 0)
        log_warnings("settings that are hardly meant", buf_view(&lines));
    buf_fini(&lines);
}

static void warn_removed(const struct config *fresh)
{
    struct buf lines = {0};

    if (config_removed(&config, fresh, &lines) == 0)
        log_warnings("the reload takes a protection away", buf_view(&lines));
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

static void apply(struct config *fresh)
{
    struct buf reloadable = {0}, restart = {0};

    supervisor_fit_capacity(fresh, shm->workers);
    if (config_diff(&config, fresh, &reloadable, &restart) == -1) {
        LOG(LOG_ERROR, "reload refused", KV_S("reason", "out of memory"));
        count_refused();
    } else if (restart.len > 0) {
        LOG(LOG_ERROR, "reload refused", KV_S("reason", "these settings need a restart"),
            KV_STR("settings", buf_view(&restart)));
        count_refused();
    } else if (reloadable.len == 0) {
        LOG(LOG_INFO, "reloaded, nothing has changed");
        METRIC_INC(reloads_unchanged);
        metrics->reload_refused = 0;
    } else {
        warn_removed(fresh);
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
    struct config fresh;
    struct buf errors = {0};

    source.running = &config;
    if (config_load(&fresh, &source, &errors) == -1) {
        log_refusal(buf_view(&errors));
        count_refused();
    } else {
        apply(&fresh);
    }
    buf_fini(&errors);
}
