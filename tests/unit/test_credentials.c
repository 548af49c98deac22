#include <check.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/strbuf.h"
#include "base/text.h"
#include "kube/credentials.h"

Suite *suite_credentials(void);

/* Made for these tests; they guard nothing. The certificate is the first key's, and ends in 2126. */
static const char cert_pem[] = "-----BEGIN CERTIFICATE-----\n"
                               "MIIBczCCARmgAwIBAgIUIeSW04qMrCx7a6pG+V0Ha05oajIwCgYIKoZIzj0EAwIw\n"
                               "DjEMMAoGA1UEAwwDb25lMCAXDTI2MTEyMTA0NDczM1oYDzIxMjYxMDI4MDQ0NzMz\n"
                               "WjAOMQwwCgYDVQQDDANvbmUwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAATg4IeR\n"
                               "XM97bEXKLBiPjK8r8OtcifFNFuu8ENuasWm0w0Gj8etArBIcEzAJPYl+1jtgyyvB\n"
                               "YQxmBMqzbDvc51Ado1MwUTAdBgNVHQ4EFgQUJ3JlRv74p3ZFRwPyewS6USicmLEw\n"
                               "HwYDVR0jBBgwFoAUJ3JlRv74p3ZFRwPyewS6USicmLEwDwYDVR0TAQH/BAUwAwEB\n"
                               "/zAKBggqhkjOPQQDAgNIADBFAiA+Vmueu0ZgzSnuU+IvL7P7ZdUHGXWBotTt/voM\n"
                               "AWdp7wIhAIYsQGuuutQtbEgJE40L8I1NnloSpn33wNG+TuZA42r2\n"
                               "-----END CERTIFICATE-----\n";
static const char key_pem[] = "-----BEGIN PRIVATE KEY-----\n"
                              "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg8k7C8OzSaAElc7Rl\n"
                              "4GcGvVDLimX94BGmQJ6VZq2NwP2hRANCAATg4IeRXM97bEXKLBiPjK8r8OtcifFN\n"
                              "Fuu8ENuasWm0w0Gj8etArBIcEzAJPYl+1jtgyyvBYQxmBMqzbDvc51Ad\n"
                              "-----END PRIVATE KEY-----\n";
static const char other_key_pem[] = "-----BEGIN PRIVATE KEY-----\n"
                                    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgr6Kx86U0l6ZmDjT0\n"
                                    "9PTyTgDbYj38khEajm3lbnyxbamhRANCAASSQ38+PSzMpeNVpd9iDI9bMX27wM4I\n"
                                    "BAGMtp+gZRY1lB2fL00hOBpXhhFe7ybOegmRoeltUW6sAoyAtYz5aY7Q\n"
                                    "-----END PRIVATE KEY-----\n";
#define NOW_MS 1800000000000 /* 2027-01-15T08:00:00Z */
#define ANSWERS_MAX 8

/* What one ask got. */
struct answer {
    int calls;
    bool ok;
    char authorization[128], cert[1024], key[1024];
    uint64_t generation;
    struct error err;
};

static char folder[64];
static int64_t wall_ms, mono_ms;
static struct loop *loop;
static struct credentials *credentials;
static struct answer answers[ANSWERS_MAX];
static int answers_wanted; /* the loop stops when none is left */

static int64_t read_wall(void) {
    return wall_ms;
}

static int64_t read_mono(void) {
    return mono_ms;
}

static const struct clock_source fake = {read_wall, read_mono};

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *ftw) {
    (void)status;
    (void)kind;
    (void)ftw;
    return remove(path);
}

static void set_up(void) {
    strcpy(folder, "/tmp/sexton-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    setenv("FOLDER", folder, 1);
    wall_ms = NOW_MS;
    mono_ms = 1000;
    clock_use(&fake);
    log_configure(LOG_OFF, LOG_LOGFMT);
    memset(answers, 0, sizeof answers);
    answers_wanted = 0;
    loop = loop_create(NULL);
    ck_assert_ptr_nonnull(loop);
    credentials = NULL;
}

static void tear_down(void) {
    credentials_destroy(credentials);
    loop_destroy(loop);
    clock_use(NULL);
    log_configure(LOG_INFO, LOG_LOGFMT);
    nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static const char *in_folder(const char *name) {
    static char paths[8][128];
    static unsigned at;
    char *path = paths[at++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static void put(const char *name, const char *text) {
    FILE *file = fopen(in_folder(name), "w");
    ck_assert_ptr_nonnull(file);
    fputs(text, file);
    fclose(file);
}

static char *text_of(const char *name) {
    static char text[200000];
    FILE *file = fopen(in_folder(name), "r");
    ck_assert_ptr_nonnull(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    return text;
}

static bool is_there(const char *name) {
    return access(in_folder(name), F_OK) == 0;
}

static void note(struct answer *answer, const struct kube_auth *auth, const struct error *err) {
    ck_assert(!auth != !err);
    answer->calls++;
    answer->ok = auth;
    if (auth) {
        snprintf(answer->authorization, sizeof answer->authorization, "%s",
                auth->authorization ? auth->authorization : "");
        snprintf(answer->cert, sizeof answer->cert, "%s", auth->cert_pem ? auth->cert_pem : "");
        snprintf(answer->key, sizeof answer->key, "%s", auth->key_pem ? auth->key_pem : "");
        answer->generation = auth->generation;
    } else {
        answer->err = *err;
    }
}

static void on_ready(void *arg, const struct kube_auth *auth, const struct error *err) {
    note(arg, auth, err);
    if (--answers_wanted == 0)
        loop_stop(loop);
}

/* Several asks at once, answered in any way. */
static void ask_all(int count) {
    memset(answers, 0, sizeof answers);
    answers_wanted = count;
    for (int i = 0; i < count; i++)
        credentials_ask(credentials, on_ready, &answers[i]);
    if (answers_wanted > 0)
        loop_run(loop);
    for (int i = 0; i < count; i++)
        ck_assert_int_eq(answers[i].calls, 1);
}

static void expect_login(const char *authorization) {
    ask_all(1);
    ck_assert_msg(answers[0].ok, "failed: %s", answers[0].err.text);
    ck_assert_str_eq(answers[0].authorization, authorization);
}

static void expect_failure(enum error_kind kind, const char *reason) {
    ask_all(1);
    ck_assert(!answers[0].ok);
    ck_assert_msg(strstr(answers[0].err.text, reason), "'%s' does not say '%s'", answers[0].err.text, reason);
    ck_assert_int_eq(answers[0].err.kind, kind);
    ck_assert_ptr_null(strchr(answers[0].err.text, '\n'));
}

static void use(const struct kube_config *config) {
    credentials = credentials_create(loop, config, NULL);
    ck_assert_ptr_nonnull(credentials);
}

static char *no_texts[] = {NULL};
static struct kube_exec exec = {.command = (char *)"sh"};
static struct kube_config exec_config = {.exec = &exec};

#define V1 "client.authentication.k8s.io/v1"

/* A plugin that is this shell script; it counts its runs. */
static void use_script(const char *script) {
    static char body[4096];
    static char *args[] = {(char *)"-c", body, NULL};
    snprintf(body, sizeof body, "echo x >> $FOLDER/runs\n%s", script);
    exec = (struct kube_exec){.api_version = (char *)V1, .command = (char *)"sh", .args = args, .env = no_texts};
    exec_config = (struct kube_config){.exec = &exec};
    use(&exec_config);
}

static int count_runs(void) {
    return is_there("runs") ? (int)strlen(text_of("runs")) / 2 : 0;
}

static void put_credential(const char *status) {
    struct strbuf json = STRBUF_INIT(100000);
    strbuf_add_format(&json, "{\"apiVersion\":\"" V1 "\",\"kind\":\"ExecCredential\",\"status\":%s}\n", status);
    put("answer", strbuf_text(&json));
    strbuf_finish(&json);
}

static void put_certificate(const char *cert, const char *key, const char *more) {
    struct strbuf json = STRBUF_INIT(100000);
    strbuf_add_text(&json, "{\"clientCertificateData\":");
    text_add_json(&json, cert);
    strbuf_add_text(&json, ",\"clientKeyData\":");
    text_add_json(&json, key);
    strbuf_add_format(&json, "%s}", more);
    put_credential(strbuf_text(&json));
    strbuf_finish(&json);
}

#define PRINT_ANSWER "cat $FOLDER/answer"

/* ---- What does not change ---- */

START_TEST(a_token_is_sent_as_bearer) {
    struct kube_config config = {.token = (char *)"secret", .username = (char *)"ignored"};
    use(&config);
    expect_login("Bearer secret");
    ck_assert_uint_eq(answers[0].generation, 1);
    ck_assert(!credentials_refused(credentials, 1));
}
END_TEST

START_TEST(user_name_and_password_are_sent_as_basic) {
    struct kube_config config = {.username = (char *)"Aladdin", .password = (char *)"open sesame"};
    use(&config);
    expect_login("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    credentials_destroy(credentials);
    config.password = NULL;
    use(&config);
    expect_login("Basic QWxhZGRpbjo=");
}
END_TEST

START_TEST(a_client_certificate_alone_needs_no_header) {
    struct kube_config config = {.cert_file = (char *)"c", .key_file = (char *)"k"};
    use(&config);
    expect_login("");
    ck_assert_str_eq(answers[0].cert, "");
}
END_TEST

START_TEST(a_token_that_no_header_can_hold_is_refused) {
    struct kube_config config = {.token = (char *)"a\r\nX-Evil: 1"};
    struct error err;
    ck_assert_ptr_null(credentials_create(loop, &config, &err));
    ck_assert_str_eq(err.text, "the token has a space or a control character in it");
}
END_TEST

/* ---- Token files ---- */

START_TEST(a_token_file_is_read_again_each_minute) {
    char path[128];
    snprintf(path, sizeof path, "%s", in_folder("token"));
    struct kube_config config = {.token_file = path};
    put("token", " one\n");
    use(&config);
    expect_login("Bearer one");
    uint64_t generation = answers[0].generation;
    put("token", "two");
    mono_ms += TOKEN_REREAD_MS - 1;
    expect_login("Bearer one");
    ck_assert_uint_eq(answers[0].generation, generation);
    mono_ms++;
    expect_login("Bearer two");
    ck_assert_uint_ne(answers[0].generation, generation);
    generation = answers[0].generation;
    mono_ms += TOKEN_REREAD_MS;
    expect_login("Bearer two");
    ck_assert_uint_eq(answers[0].generation, generation);
}
END_TEST

START_TEST(a_refused_token_is_read_again_at_once) {
    char path[128];
    snprintf(path, sizeof path, "%s", in_folder("token"));
    struct kube_config config = {.token_file = path};
    put("token", "one");
    use(&config);
    expect_login("Bearer one");
    put("token", "two");
    ck_assert(credentials_refused(credentials, answers[0].generation));
    expect_login("Bearer two");
    /* A late 401 to the old token says nothing of the new one. */
    put("token", "three");
    ck_assert(credentials_refused(credentials, answers[0].generation - 1));
    expect_login("Bearer two");
}
END_TEST

START_TEST(a_token_file_that_is_gone_for_once_keeps_the_token) {
    char path[128];
    snprintf(path, sizeof path, "%s", in_folder("token"));
    struct kube_config config = {.token_file = path};
    put("token", "one");
    use(&config);
    expect_login("Bearer one");
    unlink(path);
    mono_ms += TOKEN_REREAD_MS;
    expect_login("Bearer one");
    ck_assert(credentials_refused(credentials, answers[0].generation));
    expect_failure(ERROR_USAGE, "token file: ");
    expect_failure(ERROR_USAGE, "/token: cannot be read: No such file");
    put("token", "two");
    expect_login("Bearer two");
}
END_TEST

START_TEST(a_token_file_with_rubbish_is_told) {
    char path[128];
    snprintf(path, sizeof path, "%s", in_folder("token"));
    struct kube_config config = {.token_file = path};
    use(&config);
    put("token", " \n");
    expect_failure(ERROR_USAGE, "/token': the token is empty");
    put("token", "<html>Bad gateway</html>");
    expect_failure(ERROR_USAGE, "/token': the token has a space or a control character in it");
}
END_TEST

/* ---- Plugins that work ---- */

START_TEST(a_plugin_gives_a_token) {
    use_script(PRINT_ANSWER);
    put_credential("{\"token\":\"t1\"}");
    ask_all(3);
    for (int i = 0; i < 3; i++) {
        ck_assert(answers[i].ok);
        ck_assert_str_eq(answers[i].authorization, "Bearer t1");
        ck_assert_uint_eq(answers[i].generation, 1);
    }
    mono_ms += 24 * 3600 * 1000LL;
    wall_ms += 24 * 3600 * 1000LL;
    expect_login("Bearer t1");
    ck_assert_int_eq(count_runs(), 1);
}
END_TEST

START_TEST(a_plugin_gives_a_client_certificate) {
    use_script(PRINT_ANSWER);
    put_certificate(cert_pem, key_pem, ",\"expirationTimestamp\":\"2200-01-01T00:00:00Z\"");
    expect_login("");
    ck_assert_str_eq(answers[0].cert, cert_pem);
    ck_assert_str_eq(answers[0].key, key_pem);
    /* Its own end is the login's. */
    wall_ms = 4948836453000 - EXEC_REFRESH_MS - 1;
    mono_ms += 100000;
    expect_login("");
    ck_assert_int_eq(count_runs(), 1);
    wall_ms++;
    expect_login("");
    ck_assert_int_eq(count_runs(), 2);
}
END_TEST

START_TEST(a_plugin_runs_again_before_its_token_expires) {
    use_script(PRINT_ANSWER);
    put_credential("{\"token\":\"t1\",\"expirationTimestamp\":\"2027-01-15T08:15:00Z\"}");
    expect_login("Bearer t1");
    wall_ms = NOW_MS + 15 * 60000 - EXEC_REFRESH_MS - 1;
    mono_ms += 15 * 60000;
    put_credential("{\"token\":\"t2\",\"expirationTimestamp\":null}");
    expect_login("Bearer t1");
    wall_ms++;
    expect_login("Bearer t2");
    ck_assert_uint_eq(answers[0].generation, 2);
    ck_assert_int_eq(count_runs(), 2);
}
END_TEST

START_TEST(a_refused_login_runs_the_plugin_again) {
    use_script(PRINT_ANSWER);
    put_credential("{\"token\":\"t1\"}");
    expect_login("Bearer t1");
    put_credential("{\"token\":\"t2\"}");
    ck_assert(credentials_refused(credentials, 1));
    /* Not at once, if it has only just run. */
    expect_login("Bearer t1");
    mono_ms += EXEC_HOLD_MS;
    expect_login("Bearer t2");
    ck_assert_int_eq(count_runs(), 2);
    ck_assert(credentials_refused(credentials, 1));
    mono_ms += EXEC_HOLD_MS;
    expect_login("Bearer t2");
    ck_assert_int_eq(count_runs(), 2);
}
END_TEST

START_TEST(short_lived_logins_do_not_make_a_busy_loop) {
    use_script(PRINT_ANSWER);
    put_credential("{\"token\":\"t1\",\"expirationTimestamp\":\"2027-01-15T08:00:01Z\"}");
    expect_login("Bearer t1");
    for (int i = 0; i < 20; i++)
        expect_login("Bearer t1");
    wall_ms += 2000;
    mono_ms += 2000;
    expect_login("Bearer t1");
    ck_assert_int_eq(count_runs(), 1);
    /* And what has expired from the start is no login. */
    mono_ms += EXEC_HOLD_MS;
    for (int i = 0; i < 20; i++)
        expect_failure(ERROR_USAGE, "exec plugin 'sh': answered with credentials that expired on 2027-01-15T08:00:01Z");
    ck_assert_int_eq(count_runs(), 2);
}
END_TEST

START_TEST(a_plugin_that_fails_does_not_take_away_a_good_login) {
    use_script("test -e $FOLDER/fail && exit 1\n" PRINT_ANSWER);
    put_credential("{\"token\":\"t1\",\"expirationTimestamp\":\"2027-01-15T08:15:00Z\"}");
    expect_login("Bearer t1");
    put("fail", "");
    wall_ms += 15 * 60000 - EXEC_REFRESH_MS;
    mono_ms += 15 * 60000;
    expect_login("Bearer t1");
    expect_login("Bearer t1");
    ck_assert_int_eq(count_runs(), 2);
    wall_ms += EXEC_REFRESH_MS;
    expect_failure(ERROR_USAGE, "failed with exit code 1");
    ck_assert_int_eq(count_runs(), 2);
    mono_ms += EXEC_HOLD_MS;
    unlink(in_folder("fail"));
    put_credential("{\"token\":\"t2\"}");
    expect_login("Bearer t2");
}
END_TEST

START_TEST(a_plugin_gets_what_the_protocol_promises) {
    char *env[] = {(char *)"FROM_CONFIG=yes", (char *)"FOLDER_TOO=$FOLDER", (char *)"OURS=theirs",
            (char *)"KUBERNETES_EXEC_INFO=nonsense", NULL};
    setenv("OURS", "ours", 1);
    signal(SIGPIPE, SIG_IGN);
    int ours = open("/dev/null", O_RDONLY); /* and not close-on-exec */
    use_script("tr '\\0' '\\n' < /proc/$$/environ | grep -c '^OURS=' > $FOLDER/times\n"
               "printf '%s' \"$KUBERNETES_EXEC_INFO\" > $FOLDER/info\n"
               "printf '%s' \"$FROM_CONFIG $FOLDER_TOO $OURS\" > $FOLDER/env\n"
               "readlink /proc/self/fd/0 > $FOLDER/stdin\n"
               "ls /proc/$$/fd > $FOLDER/fds\n" /* not in a pipeline: the shell would have its ends */
               "cut -d ' ' -f 5 /proc/$$/stat > $FOLDER/group; echo $$ > $FOLDER/pid\n"
               "sh -c 'kill -PIPE $$; touch $FOLDER/pipe-ignored'\n" PRINT_ANSWER);
    exec.env = env;
    exec_config.cluster_info = (char *)"{\"server\":\"https://h\"}";
    put_credential("{\"token\":\"t\"}");
    expect_login("Bearer t");
    close(ours);
    ck_assert_str_eq(text_of("times"), "1\n");
    ck_assert_str_eq(text_of("info"), "{\"apiVersion\":\"" V1 "\",\"kind\":\"ExecCredential\",\"spec\":{\"cluster\":"
                                      "{\"server\":\"https://h\"},\"interactive\":false}}");
    ck_assert_str_eq(text_of("env"), "yes $FOLDER theirs");
    ck_assert_str_eq(text_of("stdin"), "/dev/null\n");
    ck_assert_msg(strncmp(text_of("fds"), "0\n1\n", 4) == 0 && strstr(text_of("fds"), "\n2\n") &&
                          !strstr(text_of("fds"), "\n3\n"),
            "%s", text_of("fds"));
    char group[32];
    snprintf(group, sizeof group, "%s", text_of("group"));
    ck_assert_str_eq(text_of("pid"), group);
    ck_assert(!is_there("pipe-ignored"));
}
END_TEST

START_TEST(a_plugin_is_told_nothing_of_the_cluster_unasked) {
    use_script("printf '%s' \"$KUBERNETES_EXEC_INFO\" > $FOLDER/info\n" PRINT_ANSWER);
    put_credential("{\"token\":\"t\"}");
    expect_login("Bearer t");
    ck_assert_str_eq(text_of("info"),
            "{\"apiVersion\":\"" V1 "\",\"kind\":\"ExecCredential\",\"spec\":{\"interactive\":false}}");
}
END_TEST

START_TEST(a_helper_left_in_the_background_is_not_waited_for) {
    use_script("sleep 600 &\necho $! > $FOLDER/helper\n" PRINT_ANSWER);
    put_credential("{\"token\":\"t\"}");
    expect_login("Bearer t");
    pid_t helper = atoi(text_of("helper"));
    ck_assert_int_gt(helper, 1);
    ck_assert_int_eq(kill(helper, SIGKILL), 0);
}
END_TEST

START_TEST(long_answers_are_read_in_full) {
    use_script(PRINT_ANSWER "\nhead -c 200000 /dev/zero | tr '\\0' ' '");
    put_credential("{\"token\":\"t\"}");
    expect_login("Bearer t");
}
END_TEST

START_TEST(an_early_end_of_output_is_not_the_end_of_the_plugin) {
    use_script(PRINT_ANSWER "\nexec >&- 2>&-\ntouch $FOLDER/late");
    put_credential("{\"token\":\"t\"}");
    expect_login("Bearer t");
    ck_assert(is_there("late"));
}
END_TEST

/* ---- Plugins that do not ---- */

START_TEST(a_missing_plugin_is_told_with_its_hint) {
    use_script("");
    exec.command = (char *)"sexton-no-such-plugin";
    exec.install_hint = (char *)"\n  Install it:\n\n    apt install \x1b[31mplugin\n";
    expect_failure(
            ERROR_USAGE, "exec plugin 'sexton-no-such-plugin': not found: Install it: apt install \\x1b[31mplugin");
    exec.install_hint = NULL;
    mono_ms += EXEC_HOLD_MS;
    expect_failure(ERROR_USAGE, "exec plugin 'sexton-no-such-plugin': not found");
    mono_ms += EXEC_HOLD_MS;
    exec.command = folder;
    expect_failure(ERROR_USAGE, "': cannot be started: Permission denied");
}
END_TEST

START_TEST(a_failing_plugin_is_told_with_its_last_words) {
    use_script("echo first >&2; printf 'not \\033[31mlogged in\\n\\n' >&2; exit 3");
    expect_failure(ERROR_USAGE, "exec plugin 'sh': failed with exit code 3: not \\x1b[31mlogged in");
    mono_ms += EXEC_HOLD_MS - 1;
    expect_failure(ERROR_USAGE, "failed with exit code 3");
    ck_assert_int_eq(count_runs(), 1);
    mono_ms++;
    ask_all(2);
    ck_assert_int_eq(answers[0].err.kind, ERROR_USAGE);
    ck_assert_int_eq(answers[1].err.kind, ERROR_USAGE);
    ck_assert_int_eq(count_runs(), 2);
}
END_TEST

START_TEST(a_flood_of_last_words_is_cut) {
    use_script("head -c 300000 /dev/zero | tr '\\0' 'y' >&2; printf '\\0z' >&2; exit 1");
    expect_failure(ERROR_USAGE, "failed with exit code 1: yyyyyyyy");
    ck_assert_uint_lt(strlen(answers[0].err.text), 300);
}
END_TEST

START_TEST(a_killed_plugin_is_told) {
    use_script("kill -TERM $$");
    expect_failure(ERROR_USAGE, "was ended by signal 15");
}
END_TEST

START_TEST(a_plugin_that_hangs_is_killed_with_all_its_children) {
    int fd;
    char byte;
    ck_assert_int_eq(mkfifo(in_folder("alive"), 0600), 0);
    ck_assert_int_eq(mkfifo(in_folder("never"), 0600), 0);
    fd = open(in_folder("alive"), O_RDONLY | O_NONBLOCK);
    use_script("exec 9> $FOLDER/alive; sleep 600 & touch $FOLDER/ready; cat $FOLDER/never");
    credentials_set_exec_timeout(credentials, 500);
    expect_failure(ERROR_REMOTE, "exec plugin 'sh': did not end within 1 s");
    ck_assert(is_there("ready"));
    /* The end comes when the last of them that has the FIFO open is dead. */
    fcntl(fd, F_SETFL, 0);
    ck_assert_int_eq(read(fd, &byte, 1), 0);
    close(fd);
}
END_TEST

START_TEST(a_plugin_that_prints_without_end_is_stopped) {
    use_script("exec cat /dev/zero");
    expect_failure(ERROR_LIMIT, "exec plugin 'sh': printed more than 256 kB");
}
END_TEST

static const struct {
    const char *answer, *reason;
} rubbish[] = {
        {"", "printed nothing"},
        {"<html>secret-token</html>", "printed what is not JSON (line 1)"},
        {"{\n\"token\": secret-token", "printed what is not JSON (line 2)"},
        {"{} {}", "printed what is not JSON"},
        {"[]", "printed JSON that is not an ExecCredential"},
        {"{}", "answered with kind '', not ExecCredential"},
        {"{\"kind\":7}", "answered with a kind that is not a text"},
        {"{\"kind\":\"a\\u001bb\"}", "answered with kind 'a\\x1bb', not ExecCredential"},
        {"{\"kind\":\"ExecCredential\"}", "answered with apiVersion '', but the kubeconfig says " V1},
        {"{\"kind\":\"ExecCredential\",\"apiVersion\":\"" V1 "beta1\"}", "answered with apiVersion '" V1 "beta1'"},
        {"{\"kind\":\"ExecCredential\",\"apiVersion\":\"" V1 "\"}", "answered without a status"},
        {"{\"kind\":\"ExecCredential\",\"kind\":\"x\",\"apiVersion\":\"" V1 "\"}", "not JSON"},
};

START_TEST(rubbish_from_a_plugin_is_told_and_never_shown) {
    use_script(PRINT_ANSWER);
    put("answer", rubbish[_i].answer);
    expect_failure(ERROR_USAGE, rubbish[_i].reason);
    ck_assert_ptr_null(strstr(answers[0].err.text, "secret-token"));
}
END_TEST

static const struct {
    const char *status, *reason;
} bad_status[] = {
        {"[]", "answered without a status"},
        {"{}", "neither a token nor a client certificate"},
        {"{\"token\":\"\"}", "neither a token nor a client certificate"},
        {"{\"token\":1}", "a token that is not a text"},
        {"{\"token\":\"a\\nb\"}", "the token has a space or a control character"},
        {"{\"token\":\"t\",\"expirationTimestamp\":\"tomorrow\"}", "expirationTimestamp that is not an RFC 3339 time"},
        {"{\"token\":\"t\",\"expirationTimestamp\":7}", "a expirationTimestamp that is not a text"},
        {"{\"token\":\"t\",\"expirationTimestamp\":\"2027-01-15T08:00:00Z\"}",
                "credentials that expired on 2027-01-15T08:00:00Z"},
        {"{\"clientCertificateData\":\"x\"}", "only one of clientCertificateData and clientKeyData"},
        {"{\"token\":\"t\",\"clientKeyData\":\"x\"}", "only one of clientCertificateData and clientKeyData"},
        {"{\"clientCertificateData\":\"x\",\"clientKeyData\":\"y\"}", "do not serve: no certificate in PEM form"},
        {"{\"clientCertificateData\":{}}", "a clientCertificateData that is not a text"},
};

START_TEST(a_status_that_is_no_login_is_told) {
    use_script(PRINT_ANSWER);
    put_credential(bad_status[_i].status);
    expect_failure(ERROR_USAGE, bad_status[_i].reason);
}
END_TEST

START_TEST(a_certificate_with_anothers_key_is_told) {
    use_script(PRINT_ANSWER);
    put_certificate(cert_pem, other_key_pem, "");
    expect_failure(ERROR_USAGE, "do not serve: the private key is not that of the certificate");
}
END_TEST

START_TEST(a_plugin_may_give_both_token_and_certificate) {
    use_script(PRINT_ANSWER);
    put_certificate(cert_pem, key_pem, ",\"token\":\"t\",\"expirationTimestamp\":\"2027-01-15T09:00:00Z\"");
    expect_login("Bearer t");
    ck_assert_str_eq(answers[0].key, key_pem);
    mono_ms += 3600000;
    wall_ms += 3600000 - EXEC_REFRESH_MS - 1;
    expect_login("Bearer t");
    ck_assert_int_eq(count_runs(), 1);
}
END_TEST

/* ---- Lifetimes ---- */

static void must_not_be_called(void *arg, const struct kube_auth *auth, const struct error *err) {
    (void)arg;
    (void)auth;
    (void)err;
    ck_abort_msg("called after destroy or forget");
}

static void stop_loop(void *arg) {
    (void)arg;
    loop_stop(loop);
}

START_TEST(destroying_while_a_plugin_runs_calls_nobody) {
    use_script("mkfifo $FOLDER/never; exec cat $FOLDER/never");
    credentials_ask(credentials, must_not_be_called, NULL);
    credentials_ask(credentials, must_not_be_called, NULL);
    credentials_destroy(credentials);
    credentials = NULL;
    /* The process was killed: nothing is left to wait for. */
    int status;
    pid_t pid = waitpid(-1, &status, 0);
    ck_assert_int_gt(pid, 0);
    ck_assert(WIFSIGNALED(status));
    struct loop_timer *timer = loop_timer_create(loop, stop_loop, NULL, NULL);
    loop_timer_start(timer, 0);
    loop_run(loop);
    loop_timer_destroy(timer);
}
END_TEST

START_TEST(a_forgotten_ask_is_not_called) {
    use_script(PRINT_ANSWER);
    put_credential("{\"token\":\"t\"}");
    int a, b;
    answers_wanted = 1;
    credentials_ask(credentials, must_not_be_called, &a);
    credentials_ask(credentials, on_ready, &answers[0]);
    credentials_ask(credentials, must_not_be_called, &b);
    credentials_ask(credentials, must_not_be_called, &a);
    credentials_forget(credentials, &a);
    credentials_forget(credentials, &b);
    credentials_forget(credentials, &answers[1]);
    loop_run(loop);
    ck_assert_int_eq(answers[0].calls, 1);
    ck_assert(answers[0].ok);
}
END_TEST

static void on_ready_destroy(void *arg, const struct kube_auth *auth, const struct error *err) {
    note(arg, auth, err);
    credentials_destroy(credentials);
    credentials = NULL;
    loop_stop(loop);
}

START_TEST(credentials_may_be_destroyed_by_the_one_they_answer) {
    use_script(PRINT_ANSWER);
    put_credential("{\"token\":\"t\"}");
    credentials_ask(credentials, on_ready_destroy, &answers[0]);
    credentials_ask(credentials, must_not_be_called, NULL);
    loop_run(loop);
    ck_assert_int_eq(answers[0].calls, 1);
    ck_assert_ptr_null(credentials);
    /* From within the ask itself, too. */
    use_script("");
    exec.command = (char *)"sexton-no-such-plugin";
    credentials_ask(credentials, on_ready_destroy, &answers[1]);
    ck_assert_int_eq(answers[1].calls, 1);
    ck_assert_ptr_null(credentials);
}
END_TEST

static void on_ready_ask_again(void *arg, const struct kube_auth *auth, const struct error *err) {
    note(arg, auth, err);
    /* Time for a new run, in the middle of the answers to the last one. */
    mono_ms += EXEC_HOLD_MS;
    credentials_refused(credentials, 1);
    credentials_ask(credentials, on_ready, &answers[3]);
    credentials_forget(credentials, &answers[2]);
}

START_TEST(asking_again_from_an_answer_waits_for_the_next_run) {
    use_script("wc -l < $FOLDER/runs > $FOLDER/count\n"
               "printf '{\"apiVersion\":\"" V1
               "\",\"kind\":\"ExecCredential\",\"status\":{\"token\":\"t%d\"}}' $(cat $FOLDER/count)");
    answers_wanted = 2;
    credentials_ask(credentials, on_ready_ask_again, &answers[0]);
    credentials_ask(credentials, on_ready, &answers[1]);
    credentials_ask(credentials, must_not_be_called, &answers[2]);
    loop_run(loop);
    ck_assert_str_eq(answers[0].authorization, "Bearer t1");
    ck_assert_str_eq(answers[1].authorization, "Bearer t1");
    ck_assert_str_eq(answers[3].authorization, "Bearer t2");
    ck_assert_uint_eq(answers[3].generation, 2);
}
END_TEST

static void on_ready_fail_and_destroy(void *arg, const struct kube_auth *auth, const struct error *err) {
    note(arg, auth, err);
    mono_ms += EXEC_HOLD_MS;
    exec.command = (char *)"sexton-no-such-plugin";
    credentials_refused(credentials, 1);
    credentials_ask(credentials, on_ready_destroy, &answers[1]);
}

START_TEST(destroying_in_an_answer_within_an_answer_is_safe) {
    use_script(PRINT_ANSWER);
    put_credential("{\"token\":\"t\"}");
    credentials_ask(credentials, on_ready_fail_and_destroy, &answers[0]);
    /* The run has ended when the inner ask fails, so this one hears of it before that does, or not at all. */
    credentials_ask(credentials, on_ready_destroy, &answers[2]);
    loop_run(loop);
    ck_assert_int_eq(answers[0].calls, 1);
    ck_assert_int_eq(answers[1].calls + answers[2].calls, 1);
    ck_assert_ptr_null(credentials);
}
END_TEST

START_TEST(destroying_nothing_is_allowed) {
    credentials_destroy(NULL);
}
END_TEST

Suite *suite_credentials(void) {
    Suite *suite = suite_create("credentials");
    TCase *tcase = tcase_create("credentials");
    tcase_set_timeout(tcase, 30);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, a_token_is_sent_as_bearer);
    tcase_add_test(tcase, user_name_and_password_are_sent_as_basic);
    tcase_add_test(tcase, a_client_certificate_alone_needs_no_header);
    tcase_add_test(tcase, a_token_that_no_header_can_hold_is_refused);
    tcase_add_test(tcase, a_token_file_is_read_again_each_minute);
    tcase_add_test(tcase, a_refused_token_is_read_again_at_once);
    tcase_add_test(tcase, a_token_file_that_is_gone_for_once_keeps_the_token);
    tcase_add_test(tcase, a_token_file_with_rubbish_is_told);
    tcase_add_test(tcase, a_plugin_gives_a_token);
    tcase_add_test(tcase, a_plugin_gives_a_client_certificate);
    tcase_add_test(tcase, a_plugin_runs_again_before_its_token_expires);
    tcase_add_test(tcase, a_refused_login_runs_the_plugin_again);
    tcase_add_test(tcase, short_lived_logins_do_not_make_a_busy_loop);
    tcase_add_test(tcase, a_plugin_that_fails_does_not_take_away_a_good_login);
    tcase_add_test(tcase, a_plugin_gets_what_the_protocol_promises);
    tcase_add_test(tcase, a_plugin_is_told_nothing_of_the_cluster_unasked);
    tcase_add_test(tcase, a_helper_left_in_the_background_is_not_waited_for);
    tcase_add_test(tcase, long_answers_are_read_in_full);
    tcase_add_test(tcase, an_early_end_of_output_is_not_the_end_of_the_plugin);
    tcase_add_test(tcase, a_missing_plugin_is_told_with_its_hint);
    tcase_add_test(tcase, a_failing_plugin_is_told_with_its_last_words);
    tcase_add_test(tcase, a_flood_of_last_words_is_cut);
    tcase_add_test(tcase, a_killed_plugin_is_told);
    tcase_add_test(tcase, a_plugin_that_hangs_is_killed_with_all_its_children);
    tcase_add_test(tcase, a_plugin_that_prints_without_end_is_stopped);
    tcase_add_loop_test(
            tcase, rubbish_from_a_plugin_is_told_and_never_shown, 0, (int)(sizeof rubbish / sizeof *rubbish));
    tcase_add_loop_test(tcase, a_status_that_is_no_login_is_told, 0, (int)(sizeof bad_status / sizeof *bad_status));
    tcase_add_test(tcase, a_certificate_with_anothers_key_is_told);
    tcase_add_test(tcase, a_plugin_may_give_both_token_and_certificate);
    tcase_add_test(tcase, destroying_while_a_plugin_runs_calls_nobody);
    tcase_add_test(tcase, a_forgotten_ask_is_not_called);
    tcase_add_test(tcase, credentials_may_be_destroyed_by_the_one_they_answer);
    tcase_add_test(tcase, asking_again_from_an_answer_waits_for_the_next_run);
    tcase_add_test(tcase, destroying_in_an_answer_within_an_answer_is_safe);
    tcase_add_test(tcase, destroying_nothing_is_allowed);
    suite_add_tcase(suite, tcase);
    return suite;
}
