#include "sim_job.h"

#include "sim_load.h"
#include "sim_store.h"
#include "sim_util.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MINUTE_MS = 60 * 1000, HOUR_MS = 60 * MINUTE_MS };

static const char *const env_names[] = {
        "DATABASE_URL",
        "REDIS_HOST",
        "REDIS_PORT",
        "KAFKA_BROKERS",
        "S3_ENDPOINT",
        "S3_BUCKET",
        "AWS_REGION",
        "LOG_LEVEL",
        "LOG_FORMAT",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "NO_PROXY",
        "SENTRY_DSN",
        "STATSD_HOST",
        "OTEL_SERVICE_NAME",
        "BATCH_SIZE",
        "WORKERS",
        "RETRY_LIMIT",
        "TIMEOUT_SECONDS",
        "FEATURE_FLAGS",
        "CONFIG_PATH",
        "TMPDIR",
        "TZ",
        "LANG",
        "VAULT_ADDR",
        "SMTP_HOST",
        "CURRENCY",
        "EXPORT_FORMAT",
        "MAX_ROWS",
        "CHECKPOINT_DIR",
};

enum { ENV_NAMES = sizeof(env_names) / sizeof(env_names[0]) };

static FILE *text_open(char **text, size_t *length) {
    FILE *file = open_memstream(text, length);

    if (!file)
        abort();
    return file;
}

static void text_close(FILE *file) {
    if (fclose(file) != 0)
        abort();
}

static void env_name(FILE *file, int64_t i) {
    if (i < ENV_NAMES)
        fputs(env_names[i], file);
    else
        fprintf(file, "%s_%" PRId64, env_names[i % ENV_NAMES], i / ENV_NAMES);
}

char *sim_job_env(int64_t count) {
    char *text = NULL;
    size_t length = 0;
    FILE *file = text_open(&text, &length);

    for (int64_t i = 0; i < count; i++) {
        fputs(i ? ",{\"name\":\"" : "{\"name\":\"", file);
        env_name(file, i);
        fprintf(file, "\",\"value\":\"value-of-setting-%" PRId64 "\"}", i);
    }
    text_close(file);
    return text;
}

char *sim_job_managed_env(int64_t count) {
    char *text = NULL;
    size_t length = 0;
    FILE *file = text_open(&text, &length);

    for (int64_t i = 0; i < count; i++) {
        fputs(",\"k:{\\\"name\\\":\\\"", file);
        env_name(file, i);
        fputs("\\\"}\":{\".\":{},\"f:name\":{},\"f:value\":{}}", file);
    }
    text_close(file);
    return text;
}

static void write_time(FILE *file, const char *key, int64_t ms) {
    char text[SIM_TIME_SIZE];

    sim_time_format(ms, text);
    fprintf(file, "\"%s\":\"%s\"", key, text);
}

static void write_labels(FILE *file, const struct sim_job *job, bool owned) {
    fprintf(file, "{\"app.kubernetes.io/name\":\"%s\"", job->app);
    if (owned)
        fprintf(file,
                ",\"batch.kubernetes.io/controller-uid\":\"%s\",\"batch.kubernetes.io/job-name\":\"%s\""
                ",\"controller-uid\":\"%s\",\"job-name\":\"%s\"",
                job->uid, job->name, job->uid, job->name);
    fputc('}', file);
}

static void write_managed_fields(FILE *file, const struct sim_job *job) {
    const char *manager = job->cronjob ? "kube-controller-manager" : "kubectl-create";

    fprintf(file, "[{\"manager\":\"%s\",\"operation\":\"Update\",\"apiVersion\":\"batch/v1\",", manager);
    write_time(file, "time", job->created_ms);
    fputs(",\"fieldsType\":\"FieldsV1\",\"fieldsV1\":{\"f:metadata\":{", file);
    if (job->annotations || job->cronjob)
        fputs("\"f:annotations\":{\".\":{}},", file);
    fputs("\"f:labels\":{\".\":{},\"f:app.kubernetes.io/name\":{}}", file);
    if (job->cronjob)
        fprintf(file, ",\"f:ownerReferences\":{\".\":{},\"k:{\\\"uid\\\":\\\"%s\\\"}\":{}}", job->cronjob_uid);
    fputs("},\"f:spec\":{", file);
    if (job->deadline_s)
        fputs("\"f:activeDeadlineSeconds\":{},", file);
    fputs("\"f:backoffLimit\":{},\"f:completionMode\":{},\"f:completions\":{},\"f:parallelism\":{},\"f:suspend\":{},"
          "\"f:template\":{\"f:metadata\":{\"f:labels\":{\".\":{},\"f:app.kubernetes.io/name\":{}}},\"f:spec\":{"
          "\"f:containers\":{\"k:{\\\"name\\\":\\\"main\\\"}\":{\".\":{},\"f:args\":{},\"f:command\":{},"
          "\"f:env\":{\".\":{}",
            file);
    fputs(job->managed_env, file);
    fputs("},\"f:envFrom\":{},\"f:image\":{},\"f:imagePullPolicy\":{},\"f:name\":{},\"f:resources\":{\".\":{},"
          "\"f:limits\":{\".\":{},\"f:cpu\":{},\"f:memory\":{}},\"f:requests\":{\".\":{},\"f:cpu\":{},\"f:memory\":{}}}"
          ","
          "\"f:securityContext\":{\".\":{},\"f:allowPrivilegeEscalation\":{},\"f:capabilities\":{\".\":{},\"f:drop\":{}"
          "},"
          "\"f:readOnlyRootFilesystem\":{},\"f:runAsNonRoot\":{}},\"f:terminationMessagePath\":{},"
          "\"f:terminationMessagePolicy\":{},\"f:volumeMounts\":{\".\":{},\"k:{\\\"mountPath\\\":\\\"/etc/app\\\"}\":{"
          "\".\":{},\"f:mountPath\":{},\"f:name\":{},\"f:readOnly\":{}},\"k:{\\\"mountPath\\\":\\\"/"
          "tmp\\\"}\":{\".\":{},"
          "\"f:mountPath\":{},\"f:name\":{}}}}},\"f:dnsPolicy\":{},\"f:restartPolicy\":{},\"f:schedulerName\":{},"
          "\"f:securityContext\":{},\"f:serviceAccount\":{},\"f:serviceAccountName\":{},"
          "\"f:terminationGracePeriodSeconds\":{},\"f:volumes\":{\".\":{},\"k:{\\\"name\\\":\\\"config\\\"}\":{\".\":{}"
          ","
          "\"f:configMap\":{\".\":{},\"f:defaultMode\":{},\"f:name\":{}},\"f:name\":{}},\"k:{\\\"name\\\":\\\"tmp\\\"}"
          "\":{"
          "\".\":{},\"f:emptyDir\":{},\"f:name\":{}}}}}}}},{\"manager\":\"kube-controller-manager\",\"operation\":"
          "\"Update\","
          "\"apiVersion\":\"batch/v1\",",
            file);
    write_time(file, "time", job->finished_ms ? job->finished_ms : job->created_ms);
    fputs(",\"fieldsType\":\"FieldsV1\",\"fieldsV1\":{\"f:status\":{\"f:completionTime\":{},\"f:conditions\":{\".\":{},"
          "\"k:{\\\"type\\\":\\\"Complete\\\"}\":{\".\":{},\"f:lastProbeTime\":{},\"f:lastTransitionTime\":{},"
          "\"f:status\":{},\"f:type\":{}}},\"f:ready\":{},\"f:startTime\":{},\"f:succeeded\":{},"
          "\"f:uncountedTerminatedPods\":{}}},\"subresource\":\"status\"}]",
            file);
}

static void write_metadata(FILE *file, const struct sim_job *job) {
    fprintf(file, "{\"name\":\"%s\",\"namespace\":\"%s\",\"uid\":\"%s\",\"resourceVersion\":\"0\",\"generation\":1,",
            job->name, job->ns, job->uid);
    write_time(file, "creationTimestamp", job->created_ms);
    fputs(",\"labels\":", file);
    write_labels(file, job, true);
    if (job->annotations || job->cronjob) {
        fputs(",\"annotations\":{", file);
        if (job->cronjob)
            write_time(file, "batch.kubernetes.io/cronjob-scheduled-timestamp", job->scheduled_ms);
        fprintf(file, "%s%s}", job->cronjob && job->annotations ? "," : "", job->annotations ? job->annotations : "");
    }
    if (job->cronjob)
        fprintf(file,
                ",\"ownerReferences\":[{\"apiVersion\":\"batch/v1\",\"kind\":\"CronJob\",\"name\":\"%s\","
                "\"uid\":\"%s\",\"controller\":true,\"blockOwnerDeletion\":true}]",
                job->cronjob, job->cronjob_uid);
    fputs(",\"managedFields\":", file);
    write_managed_fields(file, job);
    fputc('}', file);
}

static void write_pod_spec(FILE *file, const struct sim_job *job) {
    fprintf(file,
            "{\"volumes\":[{\"name\":\"config\",\"configMap\":{\"name\":\"%s\",\"defaultMode\":420}},"
            "{\"name\":\"tmp\",\"emptyDir\":{}}],\"containers\":[{\"name\":\"main\",\"image\":\"%s\","
            "\"command\":[\"/bin/"
            "sh\",\"-c\"],\"args\":[\"%s\"],\"envFrom\":[{\"secretRef\":{\"name\":\"%s\"}}],\"env\":[%s],"
            "\"resources\":{\"limits\":{\"cpu\":\"2\",\"memory\":\"2Gi\"},\"requests\":{\"cpu\":\"250m\","
            "\"memory\":\"512Mi\"}},\"volumeMounts\":[{\"name\":\"config\",\"readOnly\":true,\"mountPath\":\"/etc/"
            "app\"},"
            "{\"name\":\"tmp\",\"mountPath\":\"/tmp\"}],\"terminationMessagePath\":\"/dev/termination-log\","
            "\"terminationMessagePolicy\":\"File\",\"imagePullPolicy\":\"IfNotPresent\",\"securityContext\":{"
            "\"capabilities\":{\"drop\":[\"ALL\"]},\"runAsNonRoot\":true,\"readOnlyRootFilesystem\":true,"
            "\"allowPrivilegeEscalation\":false}}],\"restartPolicy\":\"Never\",\"terminationGracePeriodSeconds\":30,"
            "\"dnsPolicy\":\"ClusterFirst\",\"serviceAccountName\":\"%s\",\"serviceAccount\":\"%s\","
            "\"securityContext\":{},"
            "\"schedulerName\":\"default-scheduler\"}",
            job->app, job->image, job->command, job->app, job->env, job->app, job->app);
}

static void write_spec(FILE *file, const struct sim_job *job) {
    fputs("{\"parallelism\":1,\"completions\":1,", file);
    if (job->deadline_s)
        fprintf(file, "\"activeDeadlineSeconds\":%" PRId64 ",", job->deadline_s);
    fprintf(file,
            "\"backoffLimit\":%" PRId64 ",\"selector\":{\"matchLabels\":{"
            "\"batch.kubernetes.io/controller-uid\":\"%s\"}},\"template\":{\"metadata\":{\"creationTimestamp\":null,"
            "\"labels\":",
            job->backoff_limit, job->uid);
    write_labels(file, job, true);
    fputs("},\"spec\":", file);
    write_pod_spec(file, job);
    fputc('}', file);
    if (job->ttl_s >= 0)
        fprintf(file, ",\"ttlSecondsAfterFinished\":%" PRId64, job->ttl_s);
    fputs(",\"completionMode\":\"NonIndexed\",\"suspend\":false}", file);
}

static void write_status(FILE *file, const struct sim_job *job) {
    if (!job->finished_ms) {
        fputc('{', file);
        write_time(file, "startTime", job->created_ms);
        fputs(",\"active\":1,\"uncountedTerminatedPods\":{},\"ready\":1}", file);
        return;
    }
    fprintf(file, "{\"conditions\":[{\"type\":\"%s\",\"status\":\"True\",", job->reason ? "Failed" : "Complete");
    write_time(file, "lastProbeTime", job->finished_ms);
    fputc(',', file);
    write_time(file, "lastTransitionTime", job->finished_ms);
    if (job->reason)
        fprintf(file, ",\"reason\":\"%s\",\"message\":\"%s\"", job->reason, job->message);
    fputs("}],", file);
    write_time(file, "startTime", job->created_ms);
    if (!job->reason) {
        fputc(',', file);
        write_time(file, "completionTime", job->finished_ms);
        fputs(",\"succeeded\":1", file);
    } else {
        fprintf(file, ",\"failed\":%" PRId64,
                strcmp(job->reason, "DeadlineExceeded") == 0 ? 1 : job->backoff_limit + 1);
    }
    fputs(",\"uncountedTerminatedPods\":{},\"ready\":0}", file);
}

char *sim_job_write_status(const struct sim_job *job) {
    char *text = NULL;
    size_t length = 0;
    FILE *file = text_open(&text, &length);

    write_status(file, job);
    text_close(file);
    return text;
}

char *sim_job_write(const struct sim_job *job) {
    char *text = NULL;
    size_t length = 0;
    FILE *file = text_open(&text, &length);

    fputs("{\"metadata\":", file);
    write_metadata(file, job);
    fputs(",\"spec\":", file);
    write_spec(file, job);
    fputs(",\"status\":", file);
    write_status(file, job);
    fputc('}', file);
    text_close(file);
    return text;
}

char *sim_job_write_pod(const struct sim_job *job, const char *pod_name, const char *pod_uid) {
    const char *phase = !job->finished_ms ? "Running" : job->reason ? "Failed" : "Succeeded";
    char *text = NULL;
    size_t length = 0;
    FILE *file = text_open(&text, &length);

    fprintf(file,
            "{\"metadata\":{\"name\":\"%s\",\"generateName\":\"%s-\",\"namespace\":\"%s\",\"uid\":\"%s\","
            "\"resourceVersion\":\"0\",",
            pod_name, job->name, job->ns, pod_uid);
    write_time(file, "creationTimestamp", job->created_ms);
    fputs(",\"labels\":", file);
    write_labels(file, job, true);
    fprintf(file,
            ",\"ownerReferences\":[{\"apiVersion\":\"batch/v1\",\"kind\":\"Job\",\"name\":\"%s\",\"uid\":\"%s\","
            "\"controller\":true,\"blockOwnerDeletion\":true}]},\"spec\":",
            job->name, job->uid);
    write_pod_spec(file, job);
    fprintf(file, ",\"status\":{\"phase\":\"%s\",", phase);
    write_time(file, "startTime", job->created_ms);
    fprintf(file,
            ",\"containerStatuses\":[{\"name\":\"main\",\"image\":\"%s\",\"restartCount\":0,\"ready\":%s,\"state\":{",
            job->image, job->finished_ms ? "false" : "true");
    if (job->finished_ms) {
        fprintf(file, "\"terminated\":{\"exitCode\":%d,\"reason\":\"%s\",", job->reason ? 1 : 0,
                job->reason ? "Error" : "Completed");
        write_time(file, "startedAt", job->created_ms);
        fputc(',', file);
        write_time(file, "finishedAt", job->finished_ms);
        fputc('}', file);
    } else {
        fputs("\"running\":{", file);
        write_time(file, "startedAt", job->created_ms);
        fputc('}', file);
    }
    fputs("}}],\"qosClass\":\"Burstable\"}}", file);
    text_close(file);
    return text;
}

/* ---- Jobs for benches ---- */

static void bench_job_insert(struct sim *sim, struct sim_job *job, int64_t i, int64_t now) {
    const struct sim_resource *res = sim_store_resource(sim->store, SIM_JOBS);
    const struct sim_options *opt = &sim->opt;
    char uid[SIM_UID_SIZE];
    char name[40];
    char ns[40];
    json_t *labels;

    sim_uid_make(uid);
    snprintf(name, sizeof(name), "bench-%06" PRId64, i);
    snprintf(ns, sizeof(ns), "bench-%02" PRId64, i % opt->namespaces);
    job->name = name;
    job->ns = ns;
    job->uid = uid;
    job->finished_ms = now - 48 * HOUR_MS - (i * 7919 % (24 * 60)) * MINUTE_MS;
    job->created_ms = job->finished_ms - (30 + i % 600) * 1000;
    /* Each namespace has its share, the same from run to run: 37 and 100 have no common divisor. */
    bool failed = (i / opt->namespaces * 37 + i % opt->namespaces * 61) % 100 < opt->failed_percent;

    job->reason = failed ? "BackoffLimitExceeded" : NULL;
    job->message = "Job has reached the specified backoff limit";
    labels =
            json_pack("{s:s,s:s,s:s,s:s,s:s}", "app.kubernetes.io/name", job->app, "batch.kubernetes.io/controller-uid",
                    uid, "batch.kubernetes.io/job-name", name, "controller-uid", uid, "job-name", name);
    sim_store_insert_text(sim->store, res, ns, name, uid, labels, sim_job_write(job));
    json_decref(labels);
}

/* How many variables make a Job of about this many bytes. */
static int64_t bench_env_count(struct sim_job *job, int64_t bytes) {
    int64_t count = 0;

    for (;; count += 4) {
        char *env = sim_job_env(count);
        char *managed = sim_job_managed_env(count);

        job->env = env;
        job->managed_env = managed;
        char *text = sim_job_write(job);
        bool enough = (int64_t)strlen(text) >= bytes;

        free(text);
        free(env);
        free(managed);
        if (enough)
            return count;
    }
}

void sim_job_generate(struct sim *sim) {
    const struct sim_options *opt = &sim->opt;
    int64_t now = sim_wall_ms();
    struct sim_job job = {.ns = "bench-00",
            .name = "bench-000000",
            .uid = "00000000-0000-0000-0000-000000000000",
            .app = "bench",
            .image = "registry.example.com/bench/worker:1.4.2",
            .command = "exec /app/worker --once",
            .created_ms = now,
            .finished_ms = now,
            .ttl_s = -1,
            .backoff_limit = 3};
    char ns[40];

    int64_t count = bench_env_count(&job, opt->job_bytes);
    char *env = sim_job_env(count);
    char *managed = sim_job_managed_env(count);

    job.env = env;
    job.managed_env = managed;
    for (int64_t k = 0; k < opt->namespaces; k++) {
        snprintf(ns, sizeof(ns), "bench-%02" PRId64, k);
        sim_load_namespace(sim->store, ns, NULL);
    }
    for (int64_t i = 0; i < opt->jobs; i++)
        bench_job_insert(sim, &job, i, now);
    free(env);
    free(managed);
}
