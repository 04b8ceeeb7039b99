/* proc/supervisor_reload.c - SIGHUP: read the sources again; apply everything or nothing. */
#include "base/log.h"
#include "proc/orders.h"
#include "proc/reload.h"
#include "supervisor_internal.h"

static struct reload_report report;

/* Each line into the log, unless it is only asked what a reload would do; and into the report. */
static void say_lines(enum log_level level, const char *what, struct str text, struct buf *list)
{
    struct str line;

    while (text.n > 0 && str_cut(&text, '\n', &line)) {
        if (line.n == 0)
            continue;
        if (!report.look)
            LOG(level, what, KV_STR("reason", line));
        report.lost |= buf_append(list, line) == -1 || buf_append_char(list, '\n') == -1;
    }
}

static void refuse(const char *result)
{
    report.result = result;
    if (report.look)
        return;
    METRIC_INC(reloads_refused);
    metrics->reload_refused = 1;
}

static void warn_settings(const struct config *c)
{
    struct buf lines = {0};

    if (config_warnings(c, &lines) == 0)
        say_lines(LOG_WARN, "settings that are hardly meant", buf_view(&lines), &report.warnings);
    buf_fini(&lines);
}

void supervisor_warn_settings(void)
{
    warn_settings(&config);
}

static void warn_removed(const struct config *fresh)
{
    struct buf lines = {0};

    if (config_removed(&config, fresh, &lines) == 0)
        say_lines(LOG_WARN, "the reload takes a protection away", buf_view(&lines),
                  &report.warnings);
    buf_fini(&lines);
}

/* What the files hold now, into the copy that is not in use. -1: refused, said why. */
static int read_tls(const struct config *fresh)
{
    struct buf kept = {0}, errors = {0};
    int rc = tls_files_read(fresh, &config, tls_files_used(shm->tls), tls_files_unused(shm->tls),
                            &kept, &errors);

    say_lines(LOG_ERROR, "certificates are not replaced, the old ones stay", buf_view(&kept),
              &report.warnings);
    if (!report.look)
        metrics->tls_kept = kept.len > 0;
    say_lines(LOG_ERROR, "reload refused", buf_view(&errors), &report.errors);
    if (rc == 0 && !tls_files_equal(tls_files_used(shm->tls), tls_files_unused(shm->tls)))
        report.certificates = true;
    buf_fini(&kept);
    buf_fini(&errors);
    return rc;
}

/* Before the settings: who reads those finds what they name. */
static void publish_tls(void)
{
    if (!report.certificates)
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
    publish_tls();
    metrics->reload_refused = 0;
    if (report.changed.len == 0) {
        LOG(LOG_INFO, "reloaded, nothing has changed");
        METRIC_INC(reloads_unchanged);
        return;
    }
    take_files(files);
    shm_put_config(atomic_load(&shm->config_version) + 1, fresh);
    config = *fresh;
    log_set_level(config_log_level(&config));
    log_set_format((enum log_format)config.log_format);
    children_signal(SIGHUP, false);
    children_reloaded();
    shm_wake(shm->hub_wake_fd);
    LOG(LOG_INFO, "reloaded", KV_STR("changed", buf_view(&report.changed)));
    METRIC_INC(reloads_applied);
}

/* The settings are good by themselves; are they for a daemon that runs? */
static void weigh(struct config *fresh, struct config_files *files)
{
    supervisor_fit_capacity(fresh, shm->workers);
    if (config_diff(&config, fresh, &report.changed, &report.restart) == -1 ||
        config_files_diff(fresh, files, &report.changed) == -1 ||
        config_compare_json(&config, fresh, buf_view(&report.changed), &report.settings) == -1) {
        say_lines(LOG_ERROR, "reload refused", STR_LIT("out of memory"), &report.errors);
        refuse("refused");
    } else if (report.restart.len > 0) {
        if (!report.look)
            LOG(LOG_ERROR, "reload refused", KV_S("reason", "these settings need a restart"),
                KV_STR("settings", buf_view(&report.restart)));
        refuse("needs_restart");
    } else if (read_tls(fresh) == -1) {
        refuse("refused");
    } else {
        bool changed = report.changed.len > 0;

        report.result = changed || report.certificates ? "applied" : "unchanged";
        if (changed)
            warn_removed(fresh);
        if (!report.look)
            apply(fresh, files);
        if (changed)
            warn_settings(fresh);
        if (changed && !report.look)
            supervisor_check_capacity(shm->workers);
    }
}

static void reload(bool look)
{
    static struct config fresh; /* not for the stack */
    struct config_source source = *supervisor.source;
    struct config_files files = {.fetch_ca = {0}};
    struct buf errors = {0};

    source.running = &config;
    report_clear(&report); /* of what was said at the start */
    report.look = look;
    if (config_load(&fresh, &source, &errors) == -1 ||
        config_files_read(&files, &fresh, &config, &errors) == -1) {
        say_lines(LOG_ERROR, "reload refused", buf_view(&errors), &report.errors);
        refuse("refused");
    } else {
        weigh(&fresh, &files);
        config_files_fini(&files);
    }
    explicit_bzero(&fresh, sizeof(fresh));
    buf_fini(&errors);
    report_publish(&report);
    report_clear(&report);
}

void supervisor_reload(void)
{
    bool serves = supervisor.said_ready && !supervisor.draining;

    if (serves)
        notify_reloading();
    reload(false);
    if (serves)
        notify_ready(metrics->reload_refused
                         ? "reload refused, the old settings stay; the log says why"
                         : "reloaded");
}

/* One in a tick, of each worker in turn: its report is there to be read before there are many others, and a worker
 * out of its mind costs no more than that. */
void supervisor_reload_wished(void)
{
    static unsigned turn;

    for (unsigned k = 0; k < shm->workers; k++) {
        unsigned i = (turn + k) % shm->workers;
        const struct shm_slot *s = &shm->slots[SHM_WORKER + i];
        uint32_t n = atomic_load(&s->reload_wish);

        if (n == atomic_load(&shm->reload.taken[i]))
            continue;
        if (atomic_load(&s->reload_what) == RELOAD_LOOK)
            reload(true);
        else
            supervisor_reload();
        atomic_store(&shm->reload.told[i], atomic_load(&shm->reload.n));
        atomic_store(&shm->reload.taken[i], n);
        shm_wake(shm->worker_wake_fd[i]);
        turn = i + 1;
        return;
    }
}
