#include "suites.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/duration.h"
#include "base/strbuf.h"
#include "cmd/config.h"
#include "cmd/config_options.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define DAY 86400000LL

static char folder[64], path[128];

static void make_folder(void) {
    snprintf(folder, sizeof folder, "/tmp/sexton-config-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/sexton.ini", folder);
}

static void remove_folder(void) {
    unlink(path);
    rmdir(folder);
}

static void write_bytes(const char *text, size_t len) {
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(text, 1, len, file), len);
    ck_assert_int_eq(fclose(file), 0);
}

static struct config *load_bytes(const char *text, size_t len) {
    write_bytes(text, len);
    struct config *config = NULL;
    struct error err = {0};
    ck_assert_msg(config_load(path, &config, &err) == 0, "%s: %s", text, err.text);
    ck_assert_ptr_nonnull(config);
    return config;
}

static struct config *load(const char *text) {
    return load_bytes(text, strlen(text));
}

/* The file must be refused as "PATH:WANTED"; a * at the end of wanted stands for more. */
static void refuse_bytes(const char *text, size_t len, const char *wanted) {
    write_bytes(text, len);
    struct config *config = (struct config *)folder;
    struct error err = {0};
    ck_assert_msg(config_load(path, &config, &err) == -1, "taken: %s", text);
    ck_assert_ptr_eq(config, folder);
    ck_assert_int_eq(err.kind, ERROR_USAGE);
    char full[1000];
    snprintf(full, sizeof full, "%s:%s", path, wanted);
    size_t compared = strlen(full);
    if (compared && full[compared - 1] == '*')
        ck_assert_msg(strncmp(err.text, full, compared - 1) == 0, "%s\n%s\nwanted: %s", text, err.text, full);
    else
        ck_assert_str_eq(err.text, full);
}

static void refuse(const char *text, const char *wanted) {
    refuse_bytes(text, strlen(text), wanted);
}

/* ---- what is understood ---- */

START_TEST(without_a_file_the_built_in_defaults_serve) {
    struct config *c = NULL;
    ck_assert_int_eq(config_load(NULL, &c, NULL), 0);
    ck_assert_str_eq(c->cluster, "");
    ck_assert_str_eq(c->namespaces, "*");
    ck_assert_str_eq(c->selector, "");
    ck_assert_str_eq(c->policy.prefix, "sexton.dev");
    ck_assert_int_eq(c->delete_qps, 50);
    ck_assert_int_eq(c->max_in_flight, 32);
    ck_assert_int_eq(c->log_level, LOG_INFO);
    ck_assert_int_eq(c->log_format, LOG_LOGFMT);
    ck_assert_str_eq(c->store, "sqlite:/var/lib/sexton/history.db");
    ck_assert_int_eq(c->retention_ms, 400 * DAY);
    ck_assert(!c->manifest);
    ck_assert_str_eq(c->labels, "*");
    ck_assert_str_eq(c->annotations, "batch.kubernetes.io/* cronjob.kubernetes.io/*");
    ck_assert_ptr_null(c->path);
    ck_assert_uint_eq(c->policy.n_sections, 0);
    /* The defaults of the table are those of the policy. */
    struct policy policy;
    policy_init(&policy);
    ck_assert_str_eq(c->policy.success.text, policy.success.text);
    ck_assert_int_eq(c->policy.success.ms, policy.success.ms);
    ck_assert_int_eq(c->policy.success.line, 0);
    ck_assert_str_eq(c->policy.failure.text, policy.failure.text);
    ck_assert_int_eq(c->policy.failure.ms, policy.failure.ms);
    ck_assert_int_eq(c->policy.failure.line, 0);
    ck_assert_int_eq(c->policy.cronjob_settle_ms, policy.cronjob_settle_ms);
    ck_assert_int_eq(c->policy.cronjob_settle_line, 0);
    ck_assert(c->policy.keep_hooks && policy.keep_hooks);
    ck_assert_str_eq(c->policy.owners, "");
    ck_assert_int_eq(c->policy.recreate_limit, policy.recreate_limit);
    ck_assert_int_eq(c->policy.recreate_limit_line, 0);
    ck_assert_str_eq(c->policy.prefix, policy.prefix);
    config_destroy(c);
    config_destroy(NULL);
}
END_TEST

START_TEST(every_option_can_be_set_and_remembers_its_line) {
    struct config *c = load("[sexton]\n"
                            "cluster = prod-eu\n"
                            "namespaces = ml, web  jobs-2\n"
                            "selector = app=web,tier!=test,team in (a, b),!old\n"
                            "annotation-prefix = cleanup.example.com\n"
                            "delete-qps = 0\n"
                            "max-in-flight = 1000\n"
                            "cronjob-settle = 10s\n"
                            "log-level = debug\n"
                            "log-format = json\n"
                            "[policy]\n"
                            "ttl-after-success = 1d12h\n"
                            "ttl-after-failure = never\n"
                            "[namespace ml-*]\n"
                            "ttl-after-failure = 7d\n"
                            "[namespace team-[a-c]?]\n"
                            "ttl-after-success = 0\n"
                            "ttl-after-failure = 2w\n"
                            "[history]\n"
                            "store = sqlite:/data/runs.db\n"
                            "retention = never\n"
                            "manifest = true\n"
                            "labels = app team/*\n"
                            "annotations =\n");
    ck_assert_str_eq(c->path, path);
    ck_assert_str_eq(c->cluster, "prod-eu");
    ck_assert_str_eq(c->namespaces, "ml, web  jobs-2");
    ck_assert_str_eq(c->selector, "app=web,tier!=test,team in (a, b),!old");
    ck_assert_str_eq(c->policy.prefix, "cleanup.example.com");
    ck_assert_int_eq(c->delete_qps, 0);
    ck_assert_int_eq(c->max_in_flight, 1000);
    ck_assert_int_eq(c->policy.cronjob_settle_ms, 10000);
    ck_assert_int_eq(c->policy.cronjob_settle_line, 8);
    ck_assert_int_eq(c->log_level, LOG_DEBUG);
    ck_assert_int_eq(c->log_format, LOG_JSON);
    ck_assert_int_eq(c->policy.success.ms, DAY + DAY / 2);
    ck_assert_str_eq(c->policy.success.text, "1d12h");
    ck_assert_int_eq(c->policy.success.line, 12);
    ck_assert_int_eq(c->policy.failure.ms, DURATION_NEVER);
    ck_assert_int_eq(c->policy.failure.line, 13);
    ck_assert_uint_eq(c->policy.n_sections, 2);
    const struct policy_section *ml = &c->policy.sections[0], *team = &c->policy.sections[1];
    ck_assert_str_eq(ml->glob, "ml-*");
    ck_assert_int_eq(ml->line, 14);
    ck_assert_ptr_null(ml->success.text);
    ck_assert_int_eq(ml->success.line, 0);
    ck_assert_int_eq(ml->failure.ms, 7 * DAY);
    ck_assert_int_eq(ml->failure.line, 15);
    ck_assert_str_eq(team->glob, "team-[a-c]?");
    ck_assert_int_eq(team->success.ms, 0);
    ck_assert_str_eq(team->success.text, "0");
    ck_assert_int_eq(team->failure.line, 18);
    ck_assert_str_eq(c->store, "sqlite:/data/runs.db");
    ck_assert_int_eq(c->retention_ms, DURATION_NEVER);
    ck_assert(c->manifest);
    ck_assert_str_eq(c->labels, "app team/*");
    ck_assert_str_eq(c->annotations, "");
    config_destroy(c);
}
END_TEST

START_TEST(every_guard_can_be_switched_and_remembers_its_line) {
    struct config *c = load("[sexton]\nhooks = delete\nowners = JobSet.jobset.x-k8s.io,\n  Workflow.*\n  Flow\n"
                            "recreate-limit = 7\ncronjob-settle = 0s\n");
    ck_assert(!c->policy.keep_hooks);
    ck_assert_str_eq(c->policy.owners, "JobSet.jobset.x-k8s.io, Workflow.* Flow");
    ck_assert_int_eq(c->policy.recreate_limit, 7);
    ck_assert_int_eq(c->policy.recreate_limit_line, 6);
    ck_assert_int_eq(c->policy.cronjob_settle_ms, 0);
    ck_assert_int_eq(c->policy.cronjob_settle_line, 7);
    struct config *fresh = load("[sexton]\n\nrecreate-limit = 0\nowners = *\n");
    config_reload(c, fresh);
    ck_assert(c->policy.keep_hooks);
    ck_assert_str_eq(c->policy.owners, "*");
    ck_assert_int_eq(c->policy.recreate_limit, 0);
    ck_assert_int_eq(c->policy.recreate_limit_line, 3);
    ck_assert_int_eq(c->policy.cronjob_settle_line, 0);
    config_destroy(fresh);
    config_destroy(c);
}
END_TEST

START_TEST(comments_blank_lines_and_other_line_ends_do_not_matter) {
    struct config *c = load("\xef\xbb\xbf; a comment\r\n# another\r\n\r\n[ sexton ]\t; with a comment\r\n"
                            "cluster = a;b\r\nselector = a=b ;c\r\n");
    ck_assert_str_eq(c->cluster, "a;b");
    ck_assert_str_eq(c->selector, "a=b");
    config_destroy(c);
}
END_TEST

START_TEST(an_indented_key_is_a_key_and_not_more_of_the_value_above) {
    struct config *c = load("\xef\xbb\xbf; a comment\r\n"
                            "# another\r\n"
                            "   \r\n"
                            "  [ sexton ]\t; with a comment\r\n"
                            "\tdelete-qps=7 ; less\r\n"
                            "    max-in-flight : 9\r\n"
                            " ; indented comment\r\n"
                            "  [policy]\r\n"
                            "      ttl-after-success=5m\t;x");
    ck_assert_int_eq(c->delete_qps, 7);
    ck_assert_int_eq(c->max_in_flight, 9);
    ck_assert_str_eq(c->policy.success.text, "5m");
    ck_assert_int_eq(c->policy.success.line, 9);
    config_destroy(c);
}
END_TEST

START_TEST(a_list_can_go_on_in_indented_lines) {
    struct config *c = load("[sexton]\n"
                            "namespaces = a,\n"
                            "   b c ; three of them\n"
                            "; a comment between\n"
                            "\n"
                            "\td\n"
                            "  delete-qps = 3\n"
                            "[history]\n"
                            "labels =\n"
                            "  app\n"
                            "  team/*\n");
    ck_assert_str_eq(c->namespaces, "a, b c d");
    ck_assert_int_eq(c->delete_qps, 3);
    ck_assert_str_eq(c->labels, "app team/*");
    config_destroy(c);
    /* However long it gets, and checked as a whole. */
    struct strbuf text = STRBUF_INIT(100000);
    strbuf_add_text(&text, "[sexton]\nnamespaces = n0\n");
    for (int i = 1; i < 1000; i++)
        strbuf_add_format(&text, "  namespace-number-%d\n", i);
    c = load(strbuf_text(&text));
    ck_assert_uint_gt(strlen(c->namespaces), 20000);
    ck_assert_ptr_nonnull(strstr(c->namespaces, " namespace-number-999"));
    config_destroy(c);
    strbuf_finish(&text);
    refuse("[sexton]\nnamespaces = a\n  b\n  Bad_Name\n", "4: namespaces: 'a b Bad_Name' is not a list of namespaces*");
    refuse("[sexton]\nnamespaces = a\n  b\n  a\n", "4: namespaces: 'a b a' names a namespace twice");
    /* Only a list, and only indented. */
    refuse("[sexton]\ncluster = a\n  b\n", "3: neither [section] nor key = value");
    refuse("[sexton]\nnamespaces = a\nb\n", "3: neither [section] nor key = value");
    refuse("[sexton]\nnamespaces = a\n[policy]\n  b\n", "4: neither [section] nor key = value");
}
END_TEST

START_TEST(empty_files_and_empty_sections_are_fine) {
    static const char *const texts[] = {
            "", "\n", "\xef\xbb\xbf", "; nothing", "[policy]", "[namespace *]\n", "[sexton]\n[history]"};
    for (size_t i = 0; i < COUNT(texts); i++) {
        struct config *c = load(texts[i]);
        ck_assert_int_eq(c->delete_qps, 50);
        config_destroy(c);
    }
}
END_TEST

START_TEST(a_comment_may_be_as_long_as_it_likes) {
    struct strbuf text = STRBUF_INIT(100000);
    strbuf_add_text(&text, "[sexton]\n  ; ");
    for (int i = 0; i < 5000; i++)
        strbuf_add_text(&text, "blah ");
    strbuf_add_text(&text, "\ndelete-qps = 5\n");
    struct config *c = load(strbuf_text(&text));
    ck_assert_int_eq(c->delete_qps, 5);
    config_destroy(c);
    strbuf_finish(&text);
}
END_TEST

/* ---- what is refused ---- */

START_TEST(unknown_keys_and_sections_are_errors_with_a_suggestion) {
    refuse("[sexton]\nclustr = x\n", "2: unknown key 'clustr' in [sexton]; did you mean 'cluster'?");
    refuse("[sexton]\n\ndelete_qps = 5\n", "3: unknown key 'delete_qps' in [sexton]; did you mean 'delete-qps'?");
    refuse("[sexton]\nqps = 5\n", "2: unknown key 'qps' in [sexton]; did you mean 'delete-qps'?");
    refuse("[sexton]\nLog-Level = info\n", "2: unknown key 'Log-Level' in [sexton]; did you mean 'log-level'?");
    refuse("[policy]\nttl-after-falure = 1d\n", "2: unknown key 'ttl-after-falure' in [policy]; did you mean "
                                                "'ttl-after-failure'?");
    refuse("[namespace ml-*]\nttl-after-sucess = 1d\n",
            "2: unknown key 'ttl-after-sucess' in [namespace ml-*]; did you mean 'ttl-after-success'?");
    refuse("[sexton]\nretention = 1d\n", "2: unknown key 'retention' in [sexton]; it belongs in [history]");
    refuse("[history]\nttl-after-success = 1d\n",
            "2: unknown key 'ttl-after-success' in [history]; it belongs in [policy]");
    refuse("[sexton]\nentirely-different = x\n", "2: unknown key 'entirely-different' in [sexton]");
    refuse("[sexton]\n= x\n", "2: unknown key '' in [sexton]");
    refuse("[sexton]\n\xe2\x80\xaex = 1\n", "2: unknown key '\\u202ex' in [sexton]");
    refuse("[sexton]\nxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx = 1\n",
            "2: unknown key 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...' in [sexton]");
    refuse("[histroy]\n", "1: unknown section [histroy]; did you mean [history]?");
    refuse("[Sexton]\n", "1: unknown section [Sexton]; did you mean [sexton]?");
    refuse("[database]\nx = 1\n", "1: unknown section [database]");
    refuse("[a\tb\xe2\x80\xae]\n", "1: unknown section [a\\tb\\u202e]");
    refuse("[]\n", "1: unknown section []");
    refuse("[namespaces ml]\n", "1: unknown section [namespaces ml]");
}
END_TEST

START_TEST(a_key_before_any_section_is_an_error) {
    refuse("\n\ndelete-qps = 5\n", "3: before the first section: which one is this for?");
}
END_TEST

START_TEST(duplicates_are_errors_that_name_the_first) {
    refuse("[sexton]\ndelete-qps = 5\nlog-level = info\ndelete-qps = 5\n",
            "4: 'delete-qps' is set twice, first in line 2");
    refuse("[sexton]\nnamespaces = a\nnamespaces = b\n", "3: 'namespaces' is set twice, first in line 2");
    refuse("[namespace a]\nttl-after-success = 1h\nttl-after-success = 1h\n",
            "3: 'ttl-after-success' is set twice, first in line 2");
    refuse("[namespace a]\n[namespace b]\n[namespace a]\n", "3: [namespace a] is there twice, first in line 1");
    refuse("[policy]\n[sexton]\n[policy]\n", "3: [policy] is there twice, first in line 1");
    struct config *c = load("[namespace a]\nttl-after-success = 1h\n[namespace b]\nttl-after-success = 2h\n"
                            "[policy]\nttl-after-success = 3h\n");
    ck_assert_uint_eq(c->policy.n_sections, 2);
    config_destroy(c);
}
END_TEST

START_TEST(lines_that_are_neither_section_nor_key_are_errors) {
    refuse("[sexton]\ndelete-qps 5\n", "2: neither [section] nor key = value");
    refuse("[sexton]\ndelete-qps 5", "2: neither [section] nor key = value");
    refuse("[sexton]\ndelete-qps ;= 5\n", "2: neither [section] nor key = value");
    refuse("[sexton\ndelete-qps = 5\n", "1: a section is written [NAME], alone in its line");
    refuse("[sexton] delete-qps = 5\n", "1: a section is written [NAME], alone in its line");
    refuse("[sexton] # comment\n", "1: a section is written [NAME], alone in its line");
    refuse("[", "1: a section is written [NAME], alone in its line");
    refuse("[sexton;]", "1: unknown section [sexton;]; did you mean [sexton]?");
}
END_TEST

START_TEST(the_first_error_counts_and_its_line_is_right) {
    refuse("[sexton]\r\n# x\r\n\r\n   \r\n;\r\nnope = 1\r\nnope2 = 2\r\n", "6: unknown key 'nope' in [sexton]*");
    refuse("[sexton]\nnothing\nnope = 1\n", "2: neither [section] nor key = value");
    refuse("[sexton]\nnamespaces = a\n\n b\n\nnope = 1", "6: unknown key*");
}
END_TEST

START_TEST(bad_values_are_errors_that_say_what_would_do) {
    static const struct {
        const char *line, *wanted;
    } cases[] = {
            {"[sexton]\ndelete-qps = -1", "2: delete-qps: '-1' is not a whole number from 0 to 10000"},
            {"[sexton]\ndelete-qps = 10001", "2: delete-qps: '10001' is not a whole number from 0 to 10000"},
            {"[sexton]\ndelete-qps = ten", "2: delete-qps: 'ten' is not a whole number from 0 to 10000"},
            {"[sexton]\ndelete-qps =", "2: delete-qps: '' is not a whole number from 0 to 10000"},
            {"[sexton]\nmax-in-flight = 0", "2: max-in-flight: '0' is not a whole number from 1 to 1000"},
            {"[sexton]\ncronjob-settle = 61m", "2: cronjob-settle: '61m' is not from 0s to 1h"},
            {"[sexton]\ncronjob-settle = never", "2: cronjob-settle: 'never' is not from 0s to 1h"},
            {"[sexton]\ncronjob-settle = 60", "2: cronjob-settle: '60' is not understood: the duration has no unit*"},
            {"[sexton]\nhooks = true", "2: hooks: 'true' is neither keep nor delete"},
            {"[sexton]\nowners = JobSet jobsets", "2: owners: 'JobSet jobsets' is not a list of kinds*"},
            {"[sexton]\nowners = Job/Set", "2: owners: 'Job/Set' is not a list of kinds*"},
            {"[sexton]\nowners = *, JobSet.jobset.x-k8s.io [A-C]*.example.com ?ow", NULL},
            {"[sexton]\nrecreate-limit = -1", "2: recreate-limit: '-1' is not a whole number from 0 to 1000"},
            {"[sexton]\nlog-level = verbose", "2: log-level: 'verbose' is not debug, info, warn or error"},
            {"[sexton]\nlog-format = xml", "2: log-format: 'xml' is neither logfmt nor json"},
            {"[sexton]\nannotation-prefix = Sexton.dev", "2: annotation-prefix: 'Sexton.dev' is not a DNS name*"},
            {"[sexton]\nannotation-prefix =", "2: annotation-prefix: '' is not a DNS name*"},
            {"[sexton]\nannotation-prefix = a..b", "2: annotation-prefix: 'a..b' is not a DNS name*"},
            {"[sexton]\nannotation-prefix = a.b.", "2: annotation-prefix: 'a.b.' is not a DNS name*"},
            {"[sexton]\nannotation-prefix = a/b", "2: annotation-prefix: 'a/b' is not a DNS name*"},
            {"[sexton]\nannotation-prefix = -a.b", "2: annotation-prefix: '-a.b' is not a DNS name*"},
            {"[sexton]\nnamespaces =", "2: namespaces: '' names no namespace: write * for all"},
            {"[sexton]\nnamespaces = * ml", "2: namespaces: '* ml' has * beside other names*"},
            {"[sexton]\nnamespaces = ml-*", "2: namespaces: 'ml-*' is not a list of namespaces*"},
            {"[sexton]\nnamespaces = -a", "2: namespaces: '-a' is not a list of namespaces*"},
            {"[sexton]\nnamespaces = a-", "2: namespaces: 'a-' is not a list of namespaces*"},
            {"[sexton]\nnamespaces = a.b", "2: namespaces: 'a.b' is not a list of namespaces*"},
            {"[sexton]\nnamespaces = 0123456789012345678901234567890123456789012345678901234567890123",
                    "2: namespaces: '012345678901234567890123456789012345678901234567890123456789...' is not a list*"},
            {"[sexton]\nselector = app=", NULL},
            {"[sexton]\nselector = app in (a,b", "2: selector: 'app in (a,b' is not a label selector*"},
            {"[sexton]\nselector = app in a)", "2: selector: 'app in a)' is not a label selector*"},
            {"[sexton]\nselector = a in ((b))", "2: selector: 'a in ((b))' is not a label selector*"},
            {"[sexton]\nselector = a,,b", "2: selector: 'a,,b' is not a label selector*"},
            {"[sexton]\nselector = ,a", "2: selector: ',a' is not a label selector*"},
            {"[sexton]\nselector = a,", "2: selector: 'a,' is not a label selector*"},
            {"[sexton]\nselector = a=\"b\"", "2: selector: 'a=\"b\"' is not a label selector*"},
            {"[sexton]\nselector = a&b", "2: selector: 'a&b' is not a label selector*"},
            {"[policy]\nttl-after-success = 24",
                    "2: ttl-after-success: '24' is not understood: the duration has no unit*"},
            {"[policy]\nttl-after-failure = 1h1h", "2: ttl-after-failure: '1h1h' is not understood: units must come*"},
            {"[policy]\nttl-after-failure = 200y", "2: ttl-after-failure: '200y' is not understood: not a duration*"},
            {"[policy]\nttl-after-failure =", "2: ttl-after-failure: '' is not understood: the duration is empty*"},
            {"[namespace a]\nttl-after-failure = -5s",
                    "2: ttl-after-failure: '-5s' is not understood: the duration is negative*"},
            {"[history]\nretention = 59m", "2: retention: '59m' is not from 1h to never"},
            {"[history]\nretention = 0", "2: retention: '0' is not from 1h to never"},
            {"[history]\nmanifest = yes", "2: manifest: 'yes' is neither true nor false"},
            {"[history]\nstore =", "2: store must be like sqlite:/path/to/history.db"},
            {"[history]\nstore = sqlite:", "2: store must be like sqlite:/path/to/history.db"},
            {"[history]\nstore = /var/lib/x.db", "2: store must be like sqlite:/path/to/history.db"},
            {"[sexton]\ndelete-qps = 5 # five", "2: a comment behind a value starts with ';', not '#'"},
            {"[sexton]\ncluster = # none", "2: a comment behind a value starts with ';', not '#'"},
            {"[sexton]\ncluster = a\t# none", "2: a comment behind a value starts with ';', not '#'"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        if (cases[i].wanted)
            refuse(cases[i].line, cases[i].wanted);
        else
            config_destroy(load(cases[i].line));
    }
}
END_TEST

START_TEST(a_password_in_a_location_is_not_repeated) {
    refuse("[history]\nstore = postgres://me:secret@db/runs\n", "2: store must be like sqlite:/path/to/history.db");
}
END_TEST

START_TEST(a_section_for_namespaces_takes_one_glob) {
    refuse("[namespace]\n", "1: [namespace GLOB] needs a GLOB, such as [namespace ml-*]");
    refuse("[namespace  ]\n", "1: [namespace GLOB] needs a GLOB, such as [namespace ml-*]");
    refuse("[namespace a b]\n", "1: [namespace GLOB] takes one name*");
    refuse("[namespace Team]\n", "1: [namespace GLOB] takes one name*");
    refuse("[namespace a,b]\n", "1: [namespace GLOB] takes one name*");
    refuse("[namespace a_b]\n", "1: [namespace GLOB] takes one name*");
    refuse("[namespace a[b]\n", "1: [namespace GLOB] has brackets that do not match");
    refuse("[namespace a]b]\n", "1: [namespace GLOB] has brackets that do not match");
    refuse("[namespace [[a]]]\n", "1: [namespace GLOB] has brackets that do not match");
    refuse("[namespace a\n", "1: a section is written [NAME], alone in its line");
    struct config *c =
            load("[namespace\t [!a-z]?-* ]\n[namespace 0123456789012345678901234567890123456789012345678901234567"
                 "89012]\nttl-after-success = 1h\n");
    ck_assert_str_eq(c->policy.sections[0].glob, "[!a-z]?-*");
    ck_assert_uint_eq(strlen(c->policy.sections[1].glob), 63);
    config_destroy(c);
}
END_TEST

START_TEST(a_thousand_namespace_sections_are_enough) {
    for (int n = 1000; n <= 1001; n++) {
        struct strbuf text = STRBUF_INIT(100000);
        for (int i = 0; i < n; i++)
            strbuf_add_format(&text, "[namespace n%d]\nttl-after-success=%ds\n", i, i);
        if (n == 1000) {
            struct config *c = load(strbuf_text(&text));
            ck_assert_uint_eq(c->policy.n_sections, 1000);
            ck_assert_int_eq(c->policy.sections[999].success.ms, 999000);
            config_destroy(c);
        } else {
            refuse(strbuf_text(&text), "2001: more than 1000 sections [namespace GLOB]");
        }
        strbuf_finish(&text);
    }
}
END_TEST

START_TEST(a_line_that_is_too_long_is_refused_not_cut) {
    for (size_t len = 150; len < 250; len++) {
        char text[300] = "[sexton]\ncluster = ";
        size_t at = strlen(text);
        memset(text + at, 'x', len);
        text[at + len] = '\0';
        if (strlen(text) - 9 > 199) {
            refuse(text, "2: the line is longer than 199 bytes; a list can go on in the next line, indented");
            continue;
        }
        struct config *c = load(text);
        ck_assert_uint_eq(strlen(c->cluster), len);
        config_destroy(c);
    }
}
END_TEST

START_TEST(what_is_not_text_is_refused) {
    refuse_bytes("[sexton]\ndelete-qps\0 = 5\n", 25, "2: a control character: this is not a text file in UTF-8");
    refuse_bytes("\x7f"
                 "ELF\x02\x01",
            6, "1: a control character: this is not a text file in UTF-8");
    refuse_bytes("\xff\xfe[\0s\0", 6, "1: a control character: this is not a text file in UTF-8");
    refuse("[sexton]\ncluster = \xe4\n", "2: this is not UTF-8");
    refuse("[sexton]\ncluster = a\rlog-level = info\n", "2: a control character: this is not a text file in UTF-8");
    refuse("; \x1b[2J\n", "1: a control character: this is not a text file in UTF-8");
    struct config *c = load("[sexton]\ncluster = M\xc3\xbcnchen\n");
    ck_assert_str_eq(c->cluster, "M\xc3\xbcnchen");
    config_destroy(c);
}
END_TEST

START_TEST(files_that_cannot_be_read_are_named) {
    struct config *config = NULL;
    struct error err = {0};
    ck_assert_int_eq(config_load(path, &config, &err), -1);
    ck_assert_int_eq(err.kind, ERROR_USAGE);
    ck_assert_msg(strstr(err.text, path) && strstr(err.text, "cannot be opened: No such file"), "%s", err.text);
    ck_assert_int_eq(config_load(folder, &config, &err), -1);
    ck_assert_msg(strstr(err.text, folder) && strstr(err.text, "cannot be read: Is a directory"), "%s", err.text);
    ck_assert_int_eq(err.kind, ERROR_USAGE);
    write_bytes("", 0);
    ck_assert_int_eq(chmod(path, 0), 0);
    bool root = geteuid() == 0;
    if (root)
        ck_assert(chmod(folder, 0755) == 0 && seteuid(65534) == 0);
    int result = config_load(path, &config, &err);
    if (root)
        ck_assert_int_eq(seteuid(0), 0);
    ck_assert_int_eq(result, -1);
    ck_assert_msg(strstr(err.text, "cannot be opened: Permission denied"), "%s", err.text);
    ck_assert_int_eq(err.kind, ERROR_USAGE);
    ck_assert_ptr_null(config);
}
END_TEST

START_TEST(a_file_over_a_megabyte_is_refused) {
    size_t len = 1u << 20;
    char *text = malloc(len + 1);
    ck_assert_ptr_nonnull(text);
    memset(text, '\n', len + 1);
    config_destroy(load_bytes(text, len));
    write_bytes(text, len + 1);
    struct config *config = NULL;
    struct error err = {0};
    ck_assert_int_eq(config_load(path, &config, &err), -1);
    ck_assert_ptr_nonnull(strstr(err.text, "larger than 1048576 bytes"));
    ck_assert_int_eq(err.kind, ERROR_USAGE);
    free(text);
}
END_TEST

START_TEST(a_configuration_can_come_through_a_pipe) {
    int ends[2];
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    static const char text[] = "[sexton]\ndelete-qps = 9\n";
    ck_assert_int_eq(write(ends[1], text, sizeof text - 1), (int)sizeof text - 1);
    close(ends[1]);
    char name[64];
    snprintf(name, sizeof name, "/proc/self/fd/%d", ends[0]);
    struct config *config = NULL;
    struct error err = {0};
    ck_assert_msg(config_load(name, &config, &err) == 0, "%s", err.text);
    ck_assert_int_eq(config->delete_qps, 9);
    config_destroy(config);
    close(ends[0]);
}
END_TEST

START_TEST(an_error_that_nobody_reads_is_still_an_error) {
    write_bytes("[sexton]\nnope = 1\n", 18);
    struct config *config = NULL;
    ck_assert_int_eq(config_load(path, &config, NULL), -1);
    ck_assert_ptr_null(config);
}
END_TEST

/* ---- set, reload, reference ---- */

START_TEST(an_option_of_the_command_line_is_checked_like_one_of_the_file) {
    struct config *c = NULL;
    ck_assert_int_eq(config_load(NULL, &c, NULL), 0);
    struct error err = {0};
    ck_assert_int_eq(config_set(c, "sexton", "namespaces", "a,b", &err), 0);
    ck_assert_str_eq(c->namespaces, "a,b");
    ck_assert_int_eq(config_set(c, "sexton", "cronjob-settle", "5s", &err), 0);
    ck_assert_int_eq(c->policy.cronjob_settle_ms, 5000);
    ck_assert_int_eq(config_set(c, "policy", "ttl-after-failure", "never", &err), 0);
    ck_assert_int_eq(c->policy.failure.ms, DURATION_NEVER);
    ck_assert_int_eq(config_set(c, "sexton", "namespaces", "A", &err), -1);
    ck_assert_msg(strncmp(err.text, "namespaces: 'A' is not", 22) == 0, "%s", err.text);
    ck_assert_int_eq(err.kind, ERROR_USAGE);
    ck_assert_str_eq(c->namespaces, "a,b");
    ck_assert_int_eq(config_set(c, "sexton", "nope", "1", &err), -1);
    ck_assert_str_eq(err.text, "there is no option nope in [sexton]");
    /* These belong to a section that is not said. */
    ck_assert_int_eq(config_set(c, "namespace GLOB", "ttl-after-failure", "1h", &err), -1);
    config_destroy(c);
}
END_TEST

/* What a reload wrote on standard error. Static. */
static const char *reload(struct config *config, struct config *fresh) {
    static char text[4000];
    FILE *file = tmpfile();
    ck_assert_ptr_nonnull(file);
    int saved = dup(STDERR_FILENO);
    dup2(fileno(file), STDERR_FILENO);
    config_reload(config, fresh);
    dup2(saved, STDERR_FILENO);
    close(saved);
    rewind(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    return text;
}

START_TEST(a_reload_takes_what_can_be_reloaded_and_names_the_rest) {
    struct config *c = load("[sexton]\ncluster=a\nnamespaces=b\nselector=c\nannotation-prefix=d.e\ndelete-qps=1\n"
                            "max-in-flight=2\ncronjob-settle=3s\nlog-level=warn\nlog-format=logfmt\n[policy]\n"
                            "ttl-after-success=4s\n[namespace f]\nttl-after-success=5s\n[history]\nstore=sqlite:g\n"
                            "retention=6h\nmanifest=false\nlabels=h\nannotations=i\n");
    struct config *fresh =
            load("[sexton]\ncluster=z\nnamespaces=y\nselector=x\nannotation-prefix=w.v\ndelete-qps=11\n"
                 "max-in-flight=12\n\ncronjob-settle=13s\nlog-level=error\nlog-format=json\n[policy]\n"
                 "ttl-after-failure=14s\n[namespace u]\n[namespace t]\nttl-after-failure=15s\n[history]\n"
                 "store=sqlite:s\nretention=16h\nmanifest=true\nlabels=r\nannotations=q\n");
    const char *log = reload(c, fresh);
    static const char *const named[] = {"section=sexton key=cluster\n", "section=sexton key=namespaces\n",
            "section=sexton key=selector\n", "section=sexton key=annotation-prefix\n", "section=history key=store\n"};
    size_t lines = 0;
    for (const char *at = log; *at; at++)
        lines += *at == '\n';
    ck_assert_uint_eq(lines, COUNT(named));
    for (size_t i = 0; i < COUNT(named); i++)
        ck_assert_msg(strstr(log, named[i]) != NULL, "%s", log);
    ck_assert_ptr_nonnull(strstr(log, "level=warn msg=\"this change of the configuration waits for a restart\""));
    ck_assert_str_eq(c->cluster, "a");
    ck_assert_str_eq(c->namespaces, "b");
    ck_assert_str_eq(c->selector, "c");
    ck_assert_str_eq(c->policy.prefix, "d.e");
    ck_assert_str_eq(c->store, "sqlite:g");
    ck_assert_int_eq(c->delete_qps, 11);
    ck_assert_int_eq(c->max_in_flight, 12);
    ck_assert_int_eq(c->policy.cronjob_settle_ms, 13000);
    ck_assert_int_eq(c->policy.cronjob_settle_line, 9);
    ck_assert_int_eq(c->log_level, LOG_ERROR);
    ck_assert_int_eq(c->log_format, LOG_JSON);
    ck_assert_int_eq(c->policy.success.ms, 0);
    ck_assert_int_eq(c->policy.success.line, 0);
    ck_assert_str_eq(c->policy.failure.text, "14s");
    ck_assert_int_eq(c->policy.failure.line, 13);
    ck_assert_uint_eq(c->policy.n_sections, 2);
    ck_assert_str_eq(c->policy.sections[1].glob, "t");
    ck_assert_str_eq(c->policy.sections[1].failure.text, "15s");
    ck_assert_int_eq(c->retention_ms, 16 * 3600000LL);
    ck_assert(c->manifest);
    ck_assert_str_eq(c->labels, "r");
    ck_assert_str_eq(c->annotations, "q");
    /* fresh has the old ones, and takes them with it. */
    ck_assert_int_eq(fresh->delete_qps, 1);
    ck_assert_uint_eq(fresh->policy.n_sections, 1);
    config_destroy(fresh);
    ck_assert_str_eq(c->policy.sections[1].glob, "t");
    ck_assert_int_eq(config_load(path, &fresh, NULL), 0);
    config_destroy(c);
    c = NULL;
    ck_assert_int_eq(config_load(path, &c, NULL), 0);
    ck_assert_str_eq(reload(c, fresh), "");
    config_destroy(fresh);
    config_destroy(c);
}
END_TEST

START_TEST(the_reference_shows_every_option_with_type_default_and_meaning) {
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    ck_assert_int_eq(config_print_reference(out, NULL), 0);
    fclose(out);
    static const char *const needed[] = {"SECTION", "RELOAD", "[namespace GLOB]  ttl-after-failure", "0..10000",
            "0s..1h", "1h..never", "true|false", "debug|info|warn|error", "logfmt|json", "DNS name", "duration|never",
            "sqlite:/var/lib/sexton/history.db", "batch.kubernetes.io/* cronjob.kubernetes.io/*"};
    for (size_t i = 0; i < COUNT(needed); i++)
        ck_assert_msg(strstr(text, needed[i]) != NULL, "%s is not in\n%s", needed[i], text);
    /* Each line of a section and a key is an option that can be set: its default is taken back as it stands there. */
    size_t lines = 0, set = 0;
    struct config *c = NULL;
    ck_assert_int_eq(config_load(NULL, &c, NULL), 0);
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"), lines++) {
        char section[32], key[32];
        if (sscanf(line, "[%31[a-z]] %31s", section, key) != 2)
            continue;
        set++;
        struct error err = {0};
        ck_assert_int_eq(config_set(c, section, key, "\x01", &err),
                -1 * (strcmp(key, "cluster") != 0 && strcmp(key, "labels") != 0 && strcmp(key, "annotations") != 0));
        ck_assert_ptr_null(strstr(err.text, "there is no option"));
    }
    /* A line of headers; and the two of a [namespace GLOB] cannot be set alone. */
    ck_assert_uint_eq(lines, config_options_count + 1);
    ck_assert_uint_eq(set, config_options_count - 2);
    config_destroy(c);
    free(text);
}
END_TEST

Suite *suite_config(void) {
    Suite *suite = suite_create("config");
    TCase *tcase = tcase_create("config");
    tcase_add_checked_fixture(tcase, make_folder, remove_folder);
    tcase_set_timeout(tcase, 60);
    static const TTest *const *const all[] = {&without_a_file_the_built_in_defaults_serve,
            &every_option_can_be_set_and_remembers_its_line, &every_guard_can_be_switched_and_remembers_its_line,
            &comments_blank_lines_and_other_line_ends_do_not_matter,
            &an_indented_key_is_a_key_and_not_more_of_the_value_above, &a_list_can_go_on_in_indented_lines,
            &empty_files_and_empty_sections_are_fine, &a_comment_may_be_as_long_as_it_likes,
            &unknown_keys_and_sections_are_errors_with_a_suggestion, &a_key_before_any_section_is_an_error,
            &duplicates_are_errors_that_name_the_first, &lines_that_are_neither_section_nor_key_are_errors,
            &the_first_error_counts_and_its_line_is_right, &bad_values_are_errors_that_say_what_would_do,
            &a_password_in_a_location_is_not_repeated, &a_section_for_namespaces_takes_one_glob,
            &a_thousand_namespace_sections_are_enough, &a_line_that_is_too_long_is_refused_not_cut,
            &what_is_not_text_is_refused, &files_that_cannot_be_read_are_named, &a_file_over_a_megabyte_is_refused,
            &a_configuration_can_come_through_a_pipe, &an_error_that_nobody_reads_is_still_an_error,
            &an_option_of_the_command_line_is_checked_like_one_of_the_file,
            &a_reload_takes_what_can_be_reloaded_and_names_the_rest,
            &the_reference_shows_every_option_with_type_default_and_meaning};
    for (size_t i = 0; i < COUNT(all); i++)
        tcase_add_test(tcase, *all[i]);
    suite_add_tcase(suite, tcase);
    return suite;
}
