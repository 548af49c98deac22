/* Protobuf that breaks off, lies or is rubbish; and API servers that speak it, do not, or change their mind. */
#include "suites.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "../protobuf/encode.h"

/* After all of that, is a Job that finishes now still seen, and deleted? */
static void expect_at_work(void) {
    static int serial;
    struct job job = put_job(.name = format("canary-%d", ++serial), .ended_s = 60);
    wait_until(row_is(&job, "deleted", "ttl"));
    expect_number(deletions_of(&job).count, 1);
}

static const char *base64_of(const void *data, size_t len) {
    char *text = malloc(len / 3 * 4 + 8);
    EVP_EncodeBlock((unsigned char *)text, data, (int)len);
    return keep(text);
}

/* The list of Jobs as it is sent now, without its last `less` bytes. */
static const char *list_without(size_t less) {
    struct proto_encoder enc = {0};
    size_t len = 0;
    char *data = proto_encode_object(&enc, sim_get("/apis/batch/v1/jobs"), &len);
    expect(data, "%s", enc.why);
    const char *text = base64_of(data, len - less);
    free(data);
    return text;
}

static void fail_list(const char *base64) {
    sim_faults(format("[{'match': {'verb': 'list', 'resource': 'jobs'}, 'times': 1, 'action': {'bodyBase64': '%s', "
                      "'contentType': '" PROTO_CONTENT_TYPE "'}}]",
            base64));
}

/* Before the items of the next list; before the next event. */
static void put_into_list(const void *data, size_t len) {
    sim_faults(format("[{'match': {'verb': 'list', 'resource': 'jobs'}, 'times': 1, 'action': {'rawBase64': '%s'}}]",
            base64_of(data, len)));
}

static void put_into_watch(const void *data, size_t len) {
    sim_clear_faults();
    sim_faults(format("[{'match': {'verb': 'watch', 'resource': 'jobs'}, 'times': 1, 'live': true, 'action': "
                      "{'rawBase64': '%s'}}]",
            base64_of(data, len)));
}

/* ---- what breaks off ---- */

START_TEST(a_list_whose_protobuf_stops_short_in_good_order_deletes_nothing_until_it_is_whole) {
    /* Its tail, its last item, and all but its beginning. */
    static const size_t less[] = {1, PROTO_TAIL_LENGTH + 1, 200};
    const char *bodies[sizeof less / sizeof less[0]];
    sim_start(NULL);
    struct job job = put_job(.name = "due", .ended_s = 60);
    for (size_t i = 0; i < sizeof less / sizeof less[0]; i++)
        bodies[i] = list_without(less[i]);
    for (size_t i = 0; i < sizeof less / sizeof less[0]; i++)
        fail_list(bodies[i]);
    configure(WITHOUT_LEASE);
    struct process *controller = controller_start_with_clock(0, 4);
    wait_until(count_of(process_err(controller), "list failed") >= 3);
    expect_number(deletions_of(&job).count, 0);
    expect_recorded_and_deleted(&job, 0);
    controller_stop(controller);
}
END_TEST

START_TEST(a_watch_that_is_cut_anywhere_in_a_frame_goes_on_and_loses_nothing) {
    sim_start(NULL);
    configure(WITHOUT_LEASE);
    struct process *controller = controller_start_with_clock(0, 8);
    wait_until_synced(controller);
    for (int cut = 1; cut <= 161; cut += 32) {
        sim_clear_faults();
        sim_faults(format("[{'match': {'verb': 'watch', 'resource': 'jobs'}, 'times': 1, 'live': true, 'action': "
                          "{'truncateAfter': %d}}]",
                cut));
        expect_at_work();
    }
    expect_number(sim_count("jobs", "list"), 1);
    controller_stop(controller);
}
END_TEST

/* ---- what lies ---- */

#define HUGE_LENGTH "\xff\xff\xff\xff\xff\xff\xff\xff\x7f"
#define NEGATIVE_LENGTH "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"
#define TEXT(bytes) \
    { bytes, sizeof(bytes) - 1 }

START_TEST(a_length_that_lies_in_a_list_deletes_nothing_until_it_is_whole) {
    static const struct {
        const char *data;
        size_t len;
    } lies[] = {
            TEXT("\x12" HUGE_LENGTH), TEXT("\x12" NEGATIVE_LENGTH),
            TEXT("\x12\xff\xff\xff\x7f"),                                     /* past the end of the list */
            TEXT("\x12\x03\x0a\x7f\x01"),                                     /* metadata past the end of its item */
            TEXT("\x12\x04\x0a\x02\x0a" HUGE_LENGTH),                         /* a name past the end of metadata */
            TEXT("\x12\x02\x0b\x0c"),                                         /* a group */
            TEXT("\x12\x02\x00\x00"),                                         /* a field 0 */
            TEXT("\x12\x0c\x38\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), /* a number that does not end */
    };
    sim_start(NULL);
    struct job job = put_job(.name = "due", .ended_s = 60);
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++)
        put_into_list(lies[i].data, lies[i].len);
    configure(WITHOUT_LEASE);
    struct process *controller = controller_start_with_clock(0, 20);
    wait_until(count_of(process_err(controller), "list failed") >= (int)(sizeof lies / sizeof lies[0]));
    expect_number(deletions_of(&job).count, 0);
    expect_recorded_and_deleted(&job, 0);
    controller_stop(controller);
}
END_TEST

START_TEST(a_frame_that_lies_or_is_rubbish_ends_the_watch_and_nothing_else) {
    static const struct {
        const char *data;
        size_t len;
    } frames[] = {
            TEXT("\xff\xff\xff\xff"),
            TEXT("\x80\x00\x00\x00"),
            TEXT("\x7f\xff\xff\xff\x0a"),
            TEXT("\x00\x00\x00\x04\x0a\xff\xff\x7f"), /* a type past the end of its frame */
            TEXT("{\"type\":\"ADDED\",\"object\":{}}\n"),
    };
    sim_start(NULL);
    configure(WITHOUT_LEASE);
    struct process *controller = controller_start_with_clock(0, 8);
    wait_until_synced(controller);
    for (size_t i = 0; i < sizeof frames / sizeof frames[0]; i++) {
        put_into_watch(frames[i].data, frames[i].len);
        expect_at_work();
        wait_until(count_of(process_err(controller), "watch failed") > (int)i);
    }
    expect_number(sim_count("jobs", "list"), 1);
    controller_stop(controller);
}
END_TEST

START_TEST(an_item_that_cannot_be_read_is_left_alone_and_nothing_else) {
    /* metadata twice; and as an event, after which nothing but a new list tells what is. */
    static const char item[] = "\x12\x04\x0a\x00\x0a\x00";
    static const char frame[] = "\x00\x00\x00\x2a\x0a\x05"
                                "ADDED\x12\x21\x0a\x1fk8s\x00\x0a\x0f\x0a\x08"
                                "batch/v1\x12\x03"
                                "Job\x12\x04\x0a\x00\x0a\x00\x1a\x00\x22\x00";
    sim_start(NULL);
    struct job due = put_job(.name = "due", .ended_s = 60);
    put_into_list(item, sizeof item - 1);
    struct process *controller = controller_start();
    expect_recorded_and_deleted(&due, 0);
    wait_until_synced(controller);
    expect_contains(process_err(controller), "is left alone");
    int told = count_of(process_err(controller), "is left alone");
    put_into_watch(frame, sizeof frame - 1);
    expect_at_work();
    wait_until(count_of(process_err(controller), "is left alone") > told);
    expect_at_work();
    expect(sim_count("jobs", "list") <= 2, "%d lists", (int)sim_count("jobs", "list"));
    controller_stop(controller);
}
END_TEST

START_TEST(what_comes_byte_by_byte_is_the_same) {
    sim_start(NULL);
    struct job listed = put_job(.name = "listed", .ended_s = 60);
    sim_faults("[{'match': {'resource': 'jobs', 'verb': 'list'}, 'action': {'bytesPerWrite': 1}},"
               " {'match': {'resource': 'jobs', 'verb': 'watch'}, 'action': {'bytesPerWrite': 1}}]");
    struct process *controller = controller_start();
    expect_recorded_and_deleted(&listed, 0);
    wait_until_synced(controller);
    expect_at_work();
    expect_number(sim_count("jobs", "list"), 1);
    expect(sim_protobuf_sent() > 0, "it was JSON");
    controller_stop(controller);
}
END_TEST

/* ---- who speaks it ---- */

START_TEST(jobs_come_as_protobuf_unless_their_manifests_are_wanted) {
    sim_start(NULL);
    struct job job = put_job(.name = "first", .ended_s = 60);
    struct process *controller = controller_start();
    expect_recorded_and_deleted(&job, 0);
    wait_until_synced(controller);
    wait_until(sim_protobuf_sent() == 2); /* the list and the watch */
    expect_text(row_text(&job, "manifest"), "");
    expect_text(row_text(&job, "images"), "[\"busybox:1\"]");
    controller_stop(controller);
    configure("[history]\nmanifest = true\n");
    job = put_job(.name = "second", .ended_s = 60);
    controller = controller_start();
    expect_recorded_and_deleted(&job, 0);
    wait_until_synced(controller);
    expect_number(sim_protobuf_sent(), 2);
    expect_contains(row_text(&job, "manifest"), "busybox:1");
    expect_text(row_text(&job, "images"), "[\"busybox:1\"]");
    controller_stop(controller);
}
END_TEST

START_TEST(a_server_that_speaks_json_only_is_understood) {
    sim_start(SIM_JSON_ONLY);
    struct job job = put_job(.name = "due", .ended_s = 60);
    struct process *controller = controller_start();
    expect_recorded_and_deleted(&job, 0);
    wait_until_synced(controller);
    expect_at_work();
    expect_number(sim_protobuf_sent(), 0);
    controller_stop(controller);
}
END_TEST

START_TEST(a_server_that_forgets_protobuf_and_learns_it_again_costs_nothing) {
    const char *journal = in_folder("journal");
    const char *const speaks[] = {"--journal", journal, NULL}, *const does_not[] = {
                                                                       "--journal", journal, "--no-protobuf", NULL};
    sim_start(speaks);
    struct process *controller = controller_start();
    wait_until_synced(controller);
    expect_at_work();
    int port = sim_port();
    for (int i = 0; i < 2; i++) {
        sim_stop();
        sim_start_at(port, i ? speaks : does_not);
        expect_at_work();
        expect_number(sim_protobuf_sent() > 0, i);
    }
    expect_number(sim_count("jobs", "list"), 0); /* since then */
    controller_stop(controller);
}
END_TEST

START_TEST(a_refusal_in_protobuf_is_told_in_its_words) {
    sim_start(NULL);
    sim_faults("[{'match': {'verb': 'list', 'resource': 'jobs'}, 'action': {'deny': true}}]");
    struct result result = sexton_here("plan");
    expect_number(result.code, 1);
    expect_contains(result.err, "cannot list resource \"jobs\" in API group \"batch\" at the cluster scope");
    expect(sim_protobuf_sent() > 0, "it was JSON");
}
END_TEST

Suite *suite_protobuf(void) {
    const TTest *const tests[] = {
            a_list_whose_protobuf_stops_short_in_good_order_deletes_nothing_until_it_is_whole,
            a_watch_that_is_cut_anywhere_in_a_frame_goes_on_and_loses_nothing,
            a_length_that_lies_in_a_list_deletes_nothing_until_it_is_whole,
            a_frame_that_lies_or_is_rubbish_ends_the_watch_and_nothing_else,
            an_item_that_cannot_be_read_is_left_alone_and_nothing_else,
            what_comes_byte_by_byte_is_the_same,
            jobs_come_as_protobuf_unless_their_manifests_are_wanted,
            a_server_that_speaks_json_only_is_understood,
            a_server_that_forgets_protobuf_and_learns_it_again_costs_nothing,
            a_refusal_in_protobuf_is_told_in_its_words,
            NULL,
    };
    return suite_of("protobuf", tests);
}
