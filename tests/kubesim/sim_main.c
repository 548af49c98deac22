#include "sim.h"

#include "sim_gc.h"
#include "sim_http.h"
#include "sim_job.h"
#include "sim_journal.h"
#include "sim_load.h"
#include "sim_stats.h"
#include "sim_store.h"
#include "sim_faults.h"
#include "sim_util.h"
#include "sim_world.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { TICK_MS = 20, EXIT_USAGE = 2 };

static const char usage_text[] =
        "usage: kubesim [options]\n"
        "  --port N                 listen on 127.0.0.1:N (0: any free port)\n"
        "  --kubeconfig-out FILE    write a kubeconfig that reaches this server\n"
        "  --load FILE              load objects from JSON; may be given several times\n"
        "  --demo                   a small world that lives for about ten seconds\n"
        "  --jobs N                 N finished Jobs, for benches\n"
        "  --job-bytes B            of about B bytes of JSON each (13000)\n"
        "  --namespaces K           in K namespaces (1)\n"
        "  --failed-percent P       P of 100 of them failed (10)\n"
        "  --cronjob-version V      v1 or v1beta1 (v1)\n"
        "  --cronjob-settle-ms N    CronJob status follows a finished Job after N ms (0: never; with --demo 1000)\n"
        "  --bookmark-ms N          a bookmark every N ms (2000)\n"
        "  --watch-window N         events remembered for each resource (10000)\n"
        "  --first-rv N             the first resourceVersion (1000)\n"
        "  --journal F              every change goes to F, and what is in F is there again at the start\n"
        "  --token T                requests must bear this token\n"
        "  --token-file F           or one of the lines of F, which is read for each request\n"
        "  --tls-cert F --tls-key F speak TLS\n"
        "  --tls-ca F               the CA for the kubeconfig (the certificate itself)\n"
        "  --client-ca F            a certificate signed by this CA serves instead of a token\n"
        "  --no-protobuf            whoever asks for protobuf gets JSON\n"
        "  --die-with-parent        end when the parent process does\n";

void sim_wait(struct sim *sim, int64_t until_ms) {
    struct timespec ts = {.tv_sec = until_ms / 1000, .tv_nsec = until_ms % 1000 * 1000000};

    pthread_cond_timedwait(&sim->changed, &sim->lock, &ts);
}

void sim_sleep(struct sim *sim, int64_t ms) {
    int64_t until = sim_mono_ms() + ms;

    pthread_mutex_lock(&sim->lock);
    while (!sim->stopping && sim_mono_ms() < until)
        sim_wait(sim, until);
    pthread_mutex_unlock(&sim->lock);
}

/* ---- options ---- */

struct option_entry {
    const char *name;
    size_t offset;
    int64_t least;
    int64_t most;
};

#define NUMBER(name, field, least, most) \
    { name, offsetof(struct sim_options, field), least, most }
#define TEXT(name, field) \
    { name, offsetof(struct sim_options, field), -1, -1 }

static const struct option_entry entries[] = {
        NUMBER("port", port, 0, 65535),
        NUMBER("jobs", jobs, 0, 10000000),
        NUMBER("job-bytes", job_bytes, 0, 1500000),
        NUMBER("namespaces", namespaces, 1, 100000),
        NUMBER("failed-percent", failed_percent, 0, 100),
        NUMBER("bookmark-ms", bookmark_ms, 1, 86400000),
        NUMBER("watch-window", watch_window, 1, 10000000),
        NUMBER("cronjob-settle-ms", settle_ms, 0, 86400000),
        NUMBER("first-rv", first_rv, 1, INT64_MAX / 2),
        TEXT("token", token),
        TEXT("token-file", token_file),
        TEXT("tls-cert", tls_cert),
        TEXT("tls-key", tls_key),
        TEXT("tls-ca", tls_ca),
        TEXT("client-ca", client_ca),
        TEXT("kubeconfig-out", kubeconfig_out),
        TEXT("cronjob-version", cronjob_version),
        TEXT("journal", journal),
};

enum {
    ENTRY_COUNT = sizeof(entries) / sizeof(entries[0]),
    OPTION_LOAD = 1000,
    OPTION_DEMO,
    OPTION_PARENT,
    OPTION_NO_PROTOBUF,
    OPTION_HELP
};

static bool option_take(struct sim_options *opt, const struct option_entry *entry, const char *value) {
    char *field = (char *)opt + entry->offset;
    uint64_t number = 0;

    if (entry->least < 0) {
        memcpy(field, &value, sizeof(value));
        return true;
    }
    if (!sim_parse_uint(value, &number) || number > (uint64_t)entry->most || (int64_t)number < entry->least) {
        fprintf(stderr, "kubesim: --%s: not a number of its range: %s\n", entry->name, value);
        return false;
    }
    memcpy(field, &number, sizeof(number));
    return true;
}

static bool options_check(const struct sim_options *opt) {
    const char *problem = NULL;

    if (strcmp(opt->cronjob_version, "v1") != 0 && strcmp(opt->cronjob_version, "v1beta1") != 0)
        problem = "--cronjob-version is v1 or v1beta1";
    else if (!opt->tls_cert != !opt->tls_key)
        problem = "--tls-cert and --tls-key go together";
    else if (opt->client_ca && !opt->tls_cert)
        problem = "--client-ca needs --tls-cert";
    if (problem)
        fprintf(stderr, "kubesim: %s\n", problem);
    return !problem;
}

/* -1: go on; otherwise the exit status. */
static int options_parse(struct sim_options *opt, int argc, char **argv) {
    struct option list[ENTRY_COUNT + 6] = {{0}};
    int which;

    for (int i = 0; i < ENTRY_COUNT; i++)
        list[i] = (struct option){entries[i].name, required_argument, NULL, i};
    list[ENTRY_COUNT] = (struct option){"load", required_argument, NULL, OPTION_LOAD};
    list[ENTRY_COUNT + 1] = (struct option){"demo", no_argument, NULL, OPTION_DEMO};
    list[ENTRY_COUNT + 2] = (struct option){"die-with-parent", no_argument, NULL, OPTION_PARENT};
    list[ENTRY_COUNT + 3] = (struct option){"help", no_argument, NULL, OPTION_HELP};
    list[ENTRY_COUNT + 4] = (struct option){"no-protobuf", no_argument, NULL, OPTION_NO_PROTOBUF};
    while ((which = getopt_long(argc, argv, "", list, NULL)) != -1) {
        if (which == OPTION_HELP) {
            fputs(usage_text, stdout);
            return 0;
        }
        if (which == OPTION_DEMO) {
            opt->demo = true;
        } else if (which == OPTION_NO_PROTOBUF) {
            opt->no_protobuf = true;
        } else if (which == OPTION_PARENT) {
            prctl(PR_SET_PDEATHSIG, SIGTERM);
        } else if (which == OPTION_LOAD && opt->load_count < SIM_MAX_LOADS) {
            opt->loads[opt->load_count++] = optarg;
        } else if (which < 0 || which >= ENTRY_COUNT || !option_take(opt, &entries[which], optarg)) {
            return EXIT_USAGE;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "kubesim: unexpected argument: %s\n", argv[optind]);
        return EXIT_USAGE;
    }
    return options_check(opt) ? -1 : EXIT_USAGE;
}

/* ---- kubeconfig ---- */

static void kubeconfig_write(FILE *file, const struct sim_options *opt, const char *url) {
    size_t length = 0;
    char *ca = opt->tls_cert ? sim_file_read(opt->tls_ca ? opt->tls_ca : opt->tls_cert, &length) : NULL;

    fprintf(file, "apiVersion: v1\nkind: Config\nclusters:\n- name: kubesim\n  cluster:\n    server: %s\n", url);
    if (ca) {
        char *encoded = sim_base64_encode(ca, length);

        fprintf(file, "    certificate-authority-data: %s\n", encoded);
        free(encoded);
    }
    fputs("contexts:\n- name: kubesim\n  context:\n    cluster: kubesim\n    user: kubesim\ncurrent-context: kubesim\n"
          "users:\n- name: kubesim\n",
            file);
    if (opt->token)
        fprintf(file, "  user:\n    token: \"%s\"\n", opt->token);
    else if (opt->token_file)
        fprintf(file, "  user:\n    tokenFile: \"%s\"\n", opt->token_file);
    else
        fputs("  user: {}\n", file);
    free(ca);
}

/* Written whole or not at all: who waits for the file may read it as soon as it is there. */
static bool kubeconfig_create(const struct sim_options *opt, const char *url) {
    char *temporary;
    FILE *file = NULL;
    bool good;
    int fd;

    if (!opt->kubeconfig_out)
        return true;
    temporary = sim_format("%s.new", opt->kubeconfig_out);
    fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd >= 0)
        file = fdopen(fd, "w");
    good = file != NULL;
    if (file) {
        kubeconfig_write(file, opt, url);
        good = fclose(file) == 0;
    }
    good = good && rename(temporary, opt->kubeconfig_out) == 0;
    if (!good)
        fprintf(stderr, "kubesim: %s: %s\n", opt->kubeconfig_out, strerror(errno));
    free(temporary);
    return good;
}

/* ---- life ---- */

static void *ticker_run(void *cls) {
    struct sim *sim = cls;

    pthread_mutex_lock(&sim->lock);
    while (!sim->stopping) {
        sim_gc_tick(sim->gc);
        sim_store_expire_snapshots(sim->store);
        if (sim->world)
            sim_world_tick(sim->world);
        pthread_mutex_unlock(&sim->lock);
        /* Not woken by changes: chores are done in batches. */
        nanosleep(&(struct timespec){.tv_nsec = TICK_MS * 1000000L}, NULL);
        pthread_mutex_lock(&sim->lock);
    }
    pthread_mutex_unlock(&sim->lock);
    return NULL;
}

static bool sim_populate(struct sim *sim) {
    bool known = false;
    char *problem = NULL;

    if (sim->opt.journal) {
        sim->journal = sim_journal_open(sim->store, sim->opt.journal, &known, &problem);
        if (!sim->journal) {
            fprintf(stderr, "kubesim: %s\n", problem);
            free(problem);
            return false;
        }
    }
    sim_load_namespace(sim->store, "default", NULL);
    sim_load_namespace(sim->store, "kube-system", NULL);
    for (size_t i = 0; i < sim->opt.load_count; i++) {
        char *error = NULL;
        size_t count = 0;

        if (!sim_load_file(sim->store, sim->opt.loads[i], &count, &error)) {
            fprintf(stderr, "kubesim: %s\n", error);
            free(error);
            return false;
        }
    }
    if (sim->opt.jobs > 0)
        sim_job_generate(sim);
    if (sim->opt.demo)
        sim->world = sim_world_create(sim);
    /* What was there before we listened is no event, unless it was one in an earlier life. */
    if (!known)
        sim_store_compact(sim->store);
    return true;
}

static bool sim_init(struct sim *sim) {
    pthread_condattr_t attr;

    pthread_mutex_init(&sim->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&sim->changed, &attr);
    pthread_condattr_destroy(&attr);
    /* Before there are threads: jansson seeds its hash tables once. */
    json_object_seed(0);
    if (sim->opt.demo && sim->opt.settle_ms == 0)
        sim->opt.settle_ms = SIM_WORLD_SETTLE_MS;
    sim->store = sim_store_create(
            sim->opt.cronjob_version, (size_t)sim->opt.watch_window, (uint64_t)sim->opt.first_rv, &sim->changed);
    sim->faults = sim_faults_create();
    sim->stats = sim_stats_create();
    sim->gc = sim_gc_create(sim->store, sim->opt.settle_ms);
    sim_store_set_gc(sim->store, sim->gc);
    return sim_populate(sim);
}

static void sim_finish(struct sim *sim) {
    sim_world_destroy(sim->world);
    sim_gc_destroy(sim->gc);
    sim_stats_destroy(sim->stats);
    sim_faults_destroy(sim->faults);
    sim_store_destroy(sim->store);
    sim_journal_close(sim->journal);
    pthread_cond_destroy(&sim->changed);
    pthread_mutex_destroy(&sim->lock);
}

/* Serves until a signal of the set comes. */
static int sim_serve(struct sim *sim, const sigset_t *signals) {
    char *error = NULL;
    struct sim_http *http = sim_http_start(sim, &error);
    pthread_t ticker;
    char *url;
    int signal_number;

    if (!http) {
        fprintf(stderr, "kubesim: %s\n", error);
        free(error);
        return EXIT_FAILURE;
    }
    pthread_create(&ticker, NULL, ticker_run, sim);
    url = sim_format("%s://127.0.0.1:%d", sim->opt.tls_cert ? "https" : "http", sim_http_port(http));
    bool good = kubeconfig_create(&sim->opt, url);

    if (good) {
        printf("kubesim listening on %s\n", url);
        fflush(stdout);
        sigwait(signals, &signal_number);
    }
    free(url);
    pthread_mutex_lock(&sim->lock);
    sim->stopping = true;
    pthread_cond_broadcast(&sim->changed);
    pthread_mutex_unlock(&sim->lock);
    sim_http_stop(http);
    pthread_join(ticker, NULL);
    return good ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv) {
    struct sim sim = {.opt = {.job_bytes = 13000,
                              .namespaces = 1,
                              .failed_percent = 10,
                              .bookmark_ms = 2000,
                              .watch_window = 10000,
                              .first_rv = 1000,
                              .cronjob_version = "v1"}};
    sigset_t signals;
    int status = options_parse(&sim.opt, argc, argv);

    if (status >= 0)
        return status;
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    status = sim_init(&sim) ? sim_serve(&sim, &signals) : EXIT_FAILURE;
    sim_finish(&sim);
    return status;
}
