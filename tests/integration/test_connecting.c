/* TLS, tokens, plugins, and what is no API server. */
#include "suites.h"

#include <string.h>
#include <sys/stat.h>

#include "proxy.h"

#define DONE_JOB \
    "{'kind': 'Job', 'apiVersion': 'batch/v1', 'metadata': {'namespace': 'shop', 'name': '%s', 'uid': " \
    "'5ec70000-0000-4000-8000-0000000000%s'}, 'status': {'conditions': [{'type': 'Complete', 'status': 'True', " \
    "'lastTransitionTime': '2026-01-01T00:00:00Z'}]}}"

START_TEST(an_api_server_that_is_down_at_the_start_is_waited_for) {
    sim_start(NULL);
    int port = sim_port();
    sim_stop();
    struct process *controller = controller_start();
    wait_until(count_of(process_err(controller), "does not answer") == 2);
    expect_contains(process_err(controller), "retry_in=");
    expect_contains(process_err(controller), format("127.0.0.1:%d", port));
    sim_start_at(port, NULL);
    struct job job = put_job(.name = "one", .ended_s = 60);
    expect_recorded_and_deleted(&job, 0);
    expect(count_of(process_err(controller), "does not answer") <= 6, "it says so too often");
    controller_stop(controller);
}
END_TEST

START_TEST(a_proxys_html_page_is_named_and_waited_out) {
    sim_start(NULL);
    struct job job = put_job(.name = "one", .ended_s = 60);
    sim_faults(
            "[{'match': {'path': '/version'}, 'times': 1, 'action': {'body': '<html><body>Sign in</body></html>', "
            "'contentType': 'text/html'}},"
            " {'match': {'verb': 'list', 'resource': 'jobs'}, 'times': 1, 'action': {'body': '<html>Sign in</html>', "
            "'contentType': 'text/html'}},"
            " {'match': {'verb': 'delete'}, 'times': 1, 'action': {'status': 502, 'body': '<html>Bad Gateway</html>', "
            "'contentType': 'text/html'}}]");
    struct process *controller = controller_start();
    wait_until(row_is(&job, "deleted", "ttl"));
    const char *log = process_err(controller);
    expect_contains(log, "is this a Kubernetes API server?");
    expect_contains(log, "list failed");
    expect_contains(log, "HTTP status 502 with an HTML page");
    expect_lacks(log, "<html>");
    controller_stop(controller);
    sim_clear_faults();
    sim_faults("[{'action': {'body': '<html>Sign in</html>', 'contentType': 'text/html'}}]");
    struct result result = sexton_here("plan");
    expect_number(result.code, 1);
    expect_contains(result.err, "Kubernetes API server?");
    expect_text(result.out, "");
}
END_TEST

static const char *edit_kubeconfig(const char *name, const char *from, const char *to) {
    const char *text = read_file(sim_kubeconfig()), *at = strstr(text, from);
    expect(at, "%s: %s", from, text);
    return write_file(name, format("%.*s%s%s", (int)(at - text), text, to, at + strlen(from)));
}

START_TEST(a_server_that_does_not_speak_tls_is_an_error_with_one_line) {
    sim_start(NULL);
    const char *path = edit_kubeconfig("tls.yaml", "http://", "https://");
    struct job job = put_job(.name = "one", .ended_s = 60);
    struct result result = sexton("plan", "--kubeconfig", path);
    expect_number(result.code, 1);
    expect_contains(result.err, "SSL");
    expect_number(count_of(result.err, "\n"), 1);
    struct process *controller = controller_start("--kubeconfig", path);
    wait_until(has_logged(controller, "does not answer"));
    controller_stop(controller);
    expect(job_exists(&job), "it is gone");
}
END_TEST

START_TEST(what_is_no_kubeconfig_exits_2_with_one_line) {
    sim_start(NULL);
    const struct {
        const char *path, *context, *part;
    } cases[] = {
            {in_folder("nosuch.yaml"), NULL, "nosuch.yaml"},
            {in_folder("."), NULL, ""},
            {write_file("empty.yaml", ""), NULL, "empty.yaml"},
            {write_file("rubbish.yaml", "{{{{"), NULL, "rubbish.yaml"},
            {write_file("binary.yaml", "\x7f"
                                       "ELF\x01\x02"),
                    NULL, "binary.yaml"},
            {sim_kubeconfig(), "nosuch", "nosuch"},
            {edit_kubeconfig("user.yaml", "user: kubesim\n", "user: nobody\n"), NULL, "nobody"},
            {edit_kubeconfig("url.yaml", "http://", "ftp://"), NULL, "ftp"},
            {edit_kubeconfig("ca.yaml", "    server:", "    certificate-authority-data: '!!'\n    server:"), NULL,
                    "certificate-authority-data"},
            {edit_kubeconfig("cert.yaml", "user: {}", "user: {client-certificate: nosuch.pem, client-key: nosuch.pem}"),
                    NULL, "nosuch.pem"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct result result = sexton(
                "plan", "--kubeconfig", cases[i].path, "--context", cases[i].context ? cases[i].context : "kubesim");
        expect(result.code == 2, "case %zu: %d: %s", i, result.code, result.err);
        expect_number(count_of(result.err, "\n"), 1);
        expect_contains(result.err, cases[i].part);
    }
    expect_number(sim_total(), 0);
}
END_TEST

/* ---- tokens ---- */

START_TEST(a_token_that_is_rotated_is_read_again) {
    const char *path = write_file("token", "first-token\n");
    sim_start((const char *const[]){"--token-file", path, NULL});
    expect_contains(read_file(sim_kubeconfig()), "tokenFile");
    struct process *controller = controller_start();
    wait_until(has_logged(controller, "in sync"));
    write_file("token", "second-token\n");
    sim_load(json_format(DONE_JOB, "one", "f1"));
    struct job job = {.ns = "shop", .name = "one", .uid = "5ec70000-0000-4000-8000-0000000000f1"};
    wait_until(row_is(&job, "deleted", "ttl"));
    int64_t refused = sim_count_code("401");
    expect(refused >= 1 && refused <= 4, "%d requests with the old token", (int)refused);
    expect_lacks(process_err(controller), "first-token");
    expect_lacks(process_err(controller), "second-token");
    controller_stop(controller);
}
END_TEST

START_TEST(a_token_that_is_rotated_late_is_waited_for_without_a_loop) {
    const char *theirs = write_file("token", "first-token\n");
    sim_start((const char *const[]){"--token-file", theirs, NULL});
    const char *ours = write_file("our-token", "first-token\n");
    const char *path = edit_kubeconfig("late.yaml", theirs, ours);
    configure(WITHOUT_LEASE);
    struct process *controller = controller_start_with_clock(0, 1, "--kubeconfig", path);
    wait_until(has_logged(controller, "in sync"));
    /* The old one is taken no more, and the new one is not there yet. */
    write_file("token", "second-token\n");
    sim_load(json_format(DONE_JOB, "one", "f3"));
    struct job job = {.ns = "shop", .name = "one", .uid = "5ec70000-0000-4000-8000-0000000000f3"};
    wait_until(sim_count_code("401") >= 2);
    clock_speed(60);
    int64_t until_ms = clock_controllers_ms() + 60000;
    wait_until(clock_controllers_ms() > until_ms);
    /* The Job's deletion, 8 times in a minute at most, and once more with a token that was read again; and looks. */
    expect(sim_count_code("401") <= 32, "%d requests that were refused", (int)sim_count_code("401"));
    write_file("our-token", "second-token\n");
    wait_until(row_is(&job, "deleted", "ttl"));
    expect_lacks(process_err(controller), "-token");
    controller_stop(controller);
}
END_TEST

START_TEST(a_token_that_is_not_taken_is_an_error_and_no_loop) {
    sim_start((const char *const[]){"--token", "right", NULL});
    const char *path = edit_kubeconfig("wrong.yaml", "\"right\"", "\"wrong-token\"");
    struct result result = sexton("plan", "--kubeconfig", path);
    expect_number(result.code, 1);
    expect_contains(result.err, "Unauthorized");
    expect_lacks(result.err, "wrong-token");
    expect(sim_total() <= 3, "%d requests", (int)sim_total());
    result = sexton("plan", "--kubeconfig", sim_kubeconfig());
    expect_number(result.code, 0);
}
END_TEST

START_TEST(a_plugin_logs_in) {
    sim_start((const char *const[]){"--token", "from-the-plugin", NULL});
    const char *plugin = write_file("plugin",
            "#!/bin/sh\ntouch \"$0.ran\"\nprintf '%s' '{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"kind\":"
            "\"ExecCredential\",\"status\":{\"token\":\"from-the-plugin\"}}'\n");
    chmod(plugin, 0755);
    const char *path = edit_kubeconfig("exec.yaml", "token: \"from-the-plugin\"",
            format("exec: {apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never, command: %s}", plugin));
    struct result result = sexton("plan", "--kubeconfig", path);
    expect(result.code == 0, "%s", result.err);
    expect(file_exists(format("%s.ran", plugin)), "it was not run");
    const struct {
        const char *script, *part;
    } bad[] = {
            {"#!/bin/sh\necho 'no login today' >&2\nexit 3\n", "no login today"},
            {"#!/bin/sh\necho rubbish\n", ""},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        write_file("plugin", bad[i].script);
        chmod(plugin, 0755);
        result = sexton("plan", "--kubeconfig", path);
        expect(result.code == 1 || result.code == 2, "case %zu: %d", i, result.code);
        expect_contains(result.err, bad[i].part);
        expect_contains(result.err, "plugin");
        expect_number(count_of(result.err, "\n"), 1);
    }
}
END_TEST

START_TEST(several_kubeconfigs_are_merged_and_a_context_is_chosen) {
    sim_start(NULL);
    put_job(.name = "one", .ended_s = 60);
    const char *clusters = write_file(
            "clusters.yaml", format("apiVersion: v1\nkind: Config\nclusters:\n- name: here\n  cluster: {server: '%s'}\n"
                                    "- name: away\n  cluster: {server: 'http://127.0.0.1:1'}\n",
                                     sim_url()));
    const char *contexts = write_file("contexts.yaml",
            "apiVersion: v1\nkind: Config\ncurrent-context: there\ncontexts:\n- name: there\n  context: {cluster: "
            "away, user: me}\n"
            "- name: good\n  context: {cluster: here, user: me}\nusers:\n- name: me\n  user: {}\n");
    struct result result = process_run(
            &(struct start){.argv = (const char *const[]){sexton_binary(), "plan", "--context", "good", NULL},
                    .env = (const char *const[]){format("KUBECONFIG=%s:%s", clusters, contexts), NULL}});
    expect(result.code == 0, "%s", result.err);
    expect_contains(result.out, "one");
    result = process_run(&(struct start){.argv = (const char *const[]){sexton_binary(), "plan", NULL},
            .env = (const char *const[]){format("KUBECONFIG=%s:%s", clusters, contexts), NULL}});
    expect_number(result.code, 1);
}
END_TEST

START_TEST(a_proxy_is_asked_instead_of_the_server) {
    sim_start(NULL);
    /* kubesim is no proxy, and says so; but it was asked. */
    const char *path = edit_kubeconfig("proxy.yaml", format("server: %s", sim_url()),
            format("server: http://kube.example.invalid:8080\n    proxy-url: %s", sim_url()));
    struct result result = sexton("plan", "--kubeconfig", path);
    expect_number(result.code, 1);
    expect(sim_total() > 0, "the proxy was not asked: %s", result.err);
    expect_contains(result.err, "404");
}
END_TEST

/* ---- TLS ---- */

START_TEST(tls_with_a_ca_and_a_client_certificate) {
    make_certificate("server", "kubesim", "-addext subjectAltName=IP:127.0.0.1,DNS:kube.example.com");
    make_certificate("client", "me", "");
    make_certificate("other", "kubesim", "-addext subjectAltName=IP:127.0.0.1");
    sim_start((const char *const[]){"--tls-cert", in_folder("server.crt"), "--tls-key", in_folder("server.key"),
            "--client-ca", in_folder("client.crt"), NULL});
    sim_load(json_format(DONE_JOB, "one", "f2"));
    const char *text = read_file(sim_kubeconfig());
    const char *ca = strstr(text, "    certificate-authority-data: ");
    expect(ca, "%s", text);
    const char *ca_line = format("%.*s", (int)strcspn(ca, "\n"), ca);
    const char *login = "user: {client-certificate: client.crt, client-key: client.key}";
    const char *good = edit_kubeconfig("client.yaml", "user: {}", login);
    /* Nobody, and then somebody: by certificate, over one connection for many requests. */
    struct result result = sexton("plan", "--kubeconfig", sim_kubeconfig());
    expect_number(result.code, 1);
    expect_contains(result.err, "Unauthorized");
    result = sexton("sweep", "--kubeconfig", good, "--store", store_option());
    expect(result.code == 0, "%s", result.err);
    expect_number(sim_objects("jobs"), 0);
    /* Another CA, and no CA. */
    text = read_file(good);
    ca = strstr(text, ca_line);
    const struct {
        const char *line;
        int code;
        const char *part;
    } cases[] = {
            {"    certificate-authority: other.crt", 1, "certificate"},
            {"", 1, "certificate"},
            {"    insecure-skip-tls-verify: true", 0, "warning: insecure-skip-tls-verify"},
            {"    certificate-authority: server.crt\n    tls-server-name: kube.example.com", 0, ""},
            {"    certificate-authority: server.crt\n    tls-server-name: other.example.com", 1, "other.example.com"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *path = write_file(
                "case.yaml", format("%.*s%s%s", (int)(ca - text), text, cases[i].line, ca + strlen(ca_line)));
        result = sexton("plan", "--kubeconfig", path);
        expect(result.code == cases[i].code, "case %zu: %d: %s", i, result.code, result.err);
        expect_contains(result.err, cases[i].part);
    }
    /* A key that is another certificate's. */
    write_file("case.yaml", format("%s", read_file(good)));
    const char *path =
            edit_kubeconfig("pair.yaml", "user: {}", "user: {client-certificate: client.crt, client-key: other.key}");
    result = sexton("plan", "--kubeconfig", path);
    expect_number(result.code, 2);
    expect_contains(result.err, "key");
}
END_TEST

START_TEST(with_a_ca_in_the_kubeconfig_no_other_ca_is_trusted) {
    make_certificate("server", "kubesim", "-addext subjectAltName=IP:127.0.0.1");
    sim_start((const char *const[]){"--tls-cert", in_folder("server.crt"), "--tls-key", in_folder("server.key"), NULL});
    const char *data = sim_kubeconfig(), *text = read_file(data), *at = strstr(text, "certificate-authority-data: ");
    const char *file = write_file("file.yaml",
            format("%.*scertificate-authority: server.crt%s", (int)(at - text), text, at + strcspn(at, "\n")));
    const char *none = write_file("none.yaml", format("%.*s%s", (int)(at - text), text, at + strcspn(at, "\n")));
    /* Those of the machine are for a kubeconfig that names none. */
    const struct {
        const char *path;
        int code;
        bool trusts;
    } cases[] = {{data, 0, false}, {file, 0, false}, {none, 1, true}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct result result =
                sexton_run_with_shim("trust", (const char *const[]){"plan", "--kubeconfig", cases[i].path, NULL});
        expect(result.code == cases[i].code, "case %zu: %d: %s", i, result.code, result.err);
        expect((strstr(result.err, "trusts /") != NULL) == cases[i].trusts, "case %zu: %s", i, result.err);
    }
}
END_TEST

START_TEST(many_deletions_take_turns_on_few_connections) {
    make_certificate("server", "kubesim", "-addext subjectAltName=IP:127.0.0.1");
    sim_start((const char *const[]){"--tls-cert", in_folder("server.crt"), "--tls-key", in_folder("server.key"),
            "--jobs", "300", "--job-bytes", "700", "--failed-percent", "0", NULL});
    configure("[sexton]\ndelete-qps = 0\nmax-in-flight = 6\n");
    proxy_start();
    struct process *controller = controller_start();
    wait_until(sim_objects("jobs") == 0);
    wait_until(sql_number("SELECT count(*) FROM runs WHERE delete_state = 'deleted'") == 300);
    expect_number(sim_count("jobs", "delete"), 300);
    /* Discovery, three watches, and six deletions at a time. */
    expect(proxy_connections() <= 1 + 3 + 6, "%d connections", proxy_connections());
    controller_stop(controller);
}
END_TEST

/* The server's certificate and the CA in the file are replaced, in this order, by others that share nothing with them.
 */
static void rotate_ca(bool server_first) {
    static const char *const subject = "-addext subjectAltName=IP:127.0.0.1";
    make_certificate("old", "kubesim", subject);
    make_certificate("new", "kubesim", subject);
    const char *ca = write_file("ca.crt", read_file(in_folder("old.crt")));
    const char *const old_options[] = {"--tls-cert", in_folder("old.crt"), "--tls-key", in_folder("old.key"),
            "--journal", in_folder("journal"), NULL};
    const char *const new_options[] = {"--tls-cert", in_folder("new.crt"), "--tls-key", in_folder("new.key"),
            "--journal", in_folder("journal"), NULL};
    sim_start(old_options);
    const char *text = read_file(sim_kubeconfig()), *data = strstr(text, "certificate-authority-data: ");
    const char *path = write_file("file.yaml",
            format("%.*scertificate-authority: %s%s", (int)(data - text), text, ca, data + strcspn(data, "\n")));
    configure(WITHOUT_LEASE);
    struct process *controller = controller_start_with_clock(0, 1, "--kubeconfig", path);
    wait_until_synced(controller);
    sim_load(json_format(DONE_JOB, "one", "f4"));
    struct job one = {.ns = "shop", .name = "one", .uid = "5ec70000-0000-4000-8000-0000000000f4"};
    wait_until(row_is(&one, "deleted", "ttl"));
    int port = sim_port();
    if (!server_first)
        write_file("ca.crt", read_file(in_folder("new.crt")));
    sim_stop();
    sim_start_at(port, new_options);
    sim_load(json_format(DONE_JOB, "two", "f5"));
    struct job two = {.ns = "shop", .name = "two", .uid = "5ec70000-0000-4000-8000-0000000000f5"};
    if (server_first) {
        /* Who answers cannot be trusted: nothing is sent. */
        wait_until(has_logged(controller, "certificate"));
        clock_speed(20);
        int64_t until_ms = clock_controllers_ms() + 20000;
        wait_until(clock_controllers_ms() > until_ms);
        expect_number(sim_total(), 0);
        write_file("ca.crt", read_file(in_folder("new.crt")));
    }
    wait_until(row_is(&two, "deleted", "ttl"));
    expect_number(sim_count("jobs", "list"), 0);
    controller_stop(controller);
}

START_TEST(a_ca_that_was_replaced_before_the_servers_certificate_is_picked_up_without_a_restart) {
    rotate_ca(false);
}
END_TEST

START_TEST(a_ca_that_is_replaced_after_the_servers_certificate_is_picked_up_without_a_restart) {
    rotate_ca(true);
}
END_TEST

START_TEST(a_client_certificate_that_has_expired_is_said_to_have) {
    make_certificate("client", "me", "");
    openssl("x509 -x509toreq -in client.crt -signkey client.key -out client.csr");
    openssl("x509 -req -in client.csr -signkey client.key -days -1 -out expired.crt");
    sim_start(NULL);
    const char *path = edit_kubeconfig(
            "expired.yaml", "user: {}", "user: {client-certificate: expired.crt, client-key: client.key}");
    struct result result = sexton("plan", "--kubeconfig", path);
    expect_number(result.code, 2);
    expect_contains(result.err, "expired");
    expect_number(count_of(result.err, "\n"), 1);
}
END_TEST

Suite *suite_connecting(void) {
    const TTest *const tests[] = {
            an_api_server_that_is_down_at_the_start_is_waited_for,
            a_proxys_html_page_is_named_and_waited_out,
            a_server_that_does_not_speak_tls_is_an_error_with_one_line,
            what_is_no_kubeconfig_exits_2_with_one_line,
            a_token_that_is_rotated_is_read_again,
            a_token_that_is_rotated_late_is_waited_for_without_a_loop,
            a_token_that_is_not_taken_is_an_error_and_no_loop,
            a_plugin_logs_in,
            several_kubeconfigs_are_merged_and_a_context_is_chosen,
            a_proxy_is_asked_instead_of_the_server,
            tls_with_a_ca_and_a_client_certificate,
            with_a_ca_in_the_kubeconfig_no_other_ca_is_trusted,
            many_deletions_take_turns_on_few_connections,
            a_ca_that_was_replaced_before_the_servers_certificate_is_picked_up_without_a_restart,
            a_ca_that_is_replaced_after_the_servers_certificate_is_picked_up_without_a_restart,
            a_client_certificate_that_has_expired_is_said_to_have,
            NULL,
    };
    return suite_of("connecting", tests);
}
