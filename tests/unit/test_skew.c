#include "suites.h"

#include "base/backoff.h"
#include "base/clock.h"
#include "jobs/skew.h"

#define START_MS 1767323045000 /* a whole second */

START_TEST(nothing_is_known_before_the_first_answer) {
    struct skew skew = {0};
    ck_assert_int_eq(skew_server_now(&skew, 1000), TIME_NONE);
    ck_assert_int_eq(skew_safe_now(&skew, START_MS, 1000), TIME_NONE);
    ck_assert_int_eq(skew_from_wall(&skew, START_MS, 1000), 0);
}
END_TEST

START_TEST(the_server_is_at_least_where_its_date_was_when_the_answer_came) {
    struct skew skew = {0};
    skew_sample(&skew, 1000, 1400, START_MS);
    /* it may have written the Date at the last moment */
    ck_assert_int_eq(skew_server_now(&skew, 1400), START_MS);
    ck_assert_int_ge(skew_server_now(&skew, 2400), START_MS + 999);
    ck_assert_int_le(skew_server_now(&skew, 2400), START_MS + 1000);
}
END_TEST

START_TEST(age_widens_what_is_known) {
    struct skew skew = {0};
    skew_sample(&skew, 0, 0, START_MS);
    int64_t day_ms = 86400000;
    ck_assert_int_eq(skew_server_now(&skew, day_ms), START_MS + day_ms - 4320);
    /* a moment before the sample has no age */
    ck_assert_int_eq(skew_server_now(&skew, -5), START_MS - 5);
}
END_TEST

START_TEST(the_slower_of_both_clocks_counts) {
    struct skew skew = {0};
    skew_sample(&skew, 1000, 1000, START_MS);
    ck_assert_int_eq(skew_safe_now(&skew, START_MS + 60000, 1000), START_MS);
    ck_assert_int_eq(skew_safe_now(&skew, START_MS - 60000, 1000), START_MS - 60000);
}
END_TEST

START_TEST(a_difference_is_told_only_as_far_as_it_is_sure) {
    struct skew skew = {0};
    skew_sample(&skew, 1000, 1200, START_MS); /* the server's clock was in START .. START + 1000 within 1000 .. 1200 */
    ck_assert_int_eq(skew_from_wall(&skew, START_MS + 300, 1200), 0);
    ck_assert_int_eq(skew_from_wall(&skew, START_MS, 1200), 0);
    ck_assert_int_eq(skew_from_wall(&skew, START_MS - 5000, 1200), 5000);
    ck_assert_int_eq(skew_from_wall(&skew, START_MS + 61200, 1200), -60000);
}
END_TEST

START_TEST(answers_narrow_each_other) {
    struct skew skew = {0};
    /* The server is 300 ms into a second at monotonic 0; an answer takes no time. */
    skew_sample(&skew, 0, 0, START_MS);
    ck_assert_int_eq(skew.high_ms - skew.low_ms, 1000);
    skew_sample(&skew, 700, 700, START_MS + 1000); /* a second begins just here */
    ck_assert_int_eq(skew.low_ms, START_MS + 300);
    ck_assert_int_le(skew.high_ms - skew.low_ms, 700 + 1);
}
END_TEST

START_TEST(a_worse_answer_takes_nothing_away) {
    struct skew skew = {0};
    skew_sample(&skew, 700, 700, START_MS + 1000);
    int64_t low_ms = skew.low_ms;
    skew_sample(&skew, 1000, 9000, START_MS + 2000); /* eight seconds on the way */
    ck_assert_int_ge(skew.low_ms, low_ms - 1);
}
END_TEST

START_TEST(an_answer_that_contradicts_starts_anew) {
    struct skew skew = {0};
    skew_sample(&skew, 0, 0, START_MS);
    skew_sample(&skew, 1000, 1000, START_MS - 3600000); /* the server's clock was put back by an hour */
    ck_assert_int_eq(skew_server_now(&skew, 1000), START_MS - 3600000);
    skew_sample(&skew, 2000, 2000, START_MS + 3600000);
    ck_assert_int_eq(skew_server_now(&skew, 2000), START_MS + 3600000);
}
END_TEST

/* A server whose clock runs faster or slower than ours by up to SKEW_DRIFT_PPM, and is stepped now and then. */
struct server {
    int64_t offset_ms; /* at since_ms */
    int64_t since_ms;
    int64_t drift_ppm;
};

static int64_t true_time(const struct server *server, int64_t mono_ms) {
    return mono_ms + server->offset_ms + (mono_ms - server->since_ms) * server->drift_ppm / 1000000;
}

/* Between: what is expected of skew while time goes on. Rounding of the true time and of the drift: a millisecond each.
 */
static void check(const struct skew *skew, const struct server *server, int64_t mono_ms) {
    ck_assert_msg(skew_server_now(skew, mono_ms) <= true_time(server, mono_ms) + 2,
            "at %lld: believed %lld, true %lld, drift %lld", (long long)mono_ms,
            (long long)skew_server_now(skew, mono_ms), (long long)true_time(server, mono_ms),
            (long long)server->drift_ppm);
}

START_TEST(it_is_never_later_at_the_server_than_it_truly_is) {
    random_seed((uint64_t)_i + 1);
    struct server server = {.offset_ms = START_MS + (int64_t)random_below(1000),
            .drift_ppm = (int64_t)random_below(2 * SKEW_DRIFT_PPM + 1) - SKEW_DRIFT_PPM};
    struct skew skew = {0};
    int64_t mono_ms = 1000;
    for (int answers = 0; answers < 2000; answers++) {
        mono_ms += (int64_t)random_below(random_below(10) ? 5000 : 3600000);
        if (skew.known)
            check(&skew, &server, mono_ms);
        /* Sent, written by the server at some moment on the way, received: all of it in whole milliseconds. */
        int64_t sent_ms = mono_ms, written_ms = sent_ms + (int64_t)random_below(300);
        int64_t received_ms = written_ms + (int64_t)random_below(random_below(20) ? 300 : 20000);
        int64_t date_ms = true_time(&server, written_ms);
        date_ms -= date_ms % 1000;
        skew_sample(&skew, sent_ms, received_ms, date_ms);
        mono_ms = received_ms;
        check(&skew, &server, mono_ms);
        /* and not so careful that it is useless: within what a Date and the way of its answer leave open */
        ck_assert_int_ge(skew_server_now(&skew, mono_ms), true_time(&server, mono_ms) - 1002 - (received_ms - sent_ms));
    }
}
END_TEST

START_TEST(drift_counts_however_often_the_server_answers) {
    struct server server = {.offset_ms = START_MS + 250, .drift_ppm = -SKEW_DRIFT_PPM};
    struct skew skew = {0};
    for (int64_t mono_ms = 0; mono_ms < 6 * 3600000; mono_ms += 1000 + (int64_t)_i) {
        int64_t date_ms = true_time(&server, mono_ms);
        skew_sample(&skew, mono_ms, mono_ms + 50, date_ms - date_ms % 1000);
        check(&skew, &server, mono_ms + 50);
    }
}
END_TEST

START_TEST(an_old_answer_that_ends_late_adds_and_never_undoes) {
    /* A watch has its headers, with the Date, long before it ends. */
    struct server server = {.offset_ms = START_MS + 250, .drift_ppm = -SKEW_DRIFT_PPM};
    struct skew skew = {0};
    for (int64_t mono_ms = 0; mono_ms < 3600000; mono_ms += 7003) {
        int64_t old_ms = mono_ms - (int64_t)random_below(600000), date_ms = true_time(&server, mono_ms);
        skew_sample(&skew, mono_ms, mono_ms + 20, date_ms - date_ms % 1000);
        int64_t before_ms = skew_server_now(&skew, mono_ms + 20);
        date_ms = true_time(&server, old_ms);
        skew_sample(&skew, old_ms, old_ms + 20, date_ms - date_ms % 1000);
        check(&skew, &server, mono_ms + 20);
        ck_assert_int_ge(skew_server_now(&skew, mono_ms + 20), before_ms - 1);
    }
    /* An old one that contradicts is from before a step. */
    server.offset_ms -= 60000;
    int64_t mono_ms = 3700000, date_ms = true_time(&server, mono_ms);
    skew_sample(&skew, mono_ms, mono_ms, date_ms - date_ms % 1000);
    check(&skew, &server, mono_ms);
    date_ms = true_time(&server, mono_ms - 90000) + 60000;
    skew_sample(&skew, mono_ms - 90000, mono_ms - 90000, date_ms - date_ms % 1000);
    check(&skew, &server, mono_ms);
}
END_TEST

START_TEST(of_two_answers_that_were_under_way_at_once_and_contradict_the_lesser_counts) {
    /* The server's clock is stepped back; an answer from before it takes longer than one from after it. */
    struct skew skew = {0};
    skew_sample(&skew, 2000, 2010, START_MS + 2000 - 157000);
    skew_sample(&skew, 1000, 2020, START_MS + 1000);
    ck_assert_int_le(skew_server_now(&skew, 2020), START_MS + 2020 - 157000);
    /* An answer that was asked for later settles it, whichever way. */
    skew_sample(&skew, 3000, 3010, START_MS + 3000);
    ck_assert_int_ge(skew_server_now(&skew, 3010), START_MS + 2000);
}
END_TEST

START_TEST(an_answer_from_while_the_clock_was_ahead_is_older_than_one_that_agreed_since) {
    struct skew skew = {0};
    skew_sample(&skew, 1000, 1010, START_MS);
    /* Ahead by a minute, a watch begins, which ends much later. Back again, an answer agrees, but says nothing better.
     */
    skew_sample(&skew, 89900, 90500, START_MS + 89000);
    skew_sample(&skew, 60000, 60010, START_MS + 59000 + 60000);
    ck_assert_int_le(skew_server_now(&skew, 91000), START_MS + 90000);
    /* A new one that says so is believed. */
    skew_sample(&skew, 92000, 92010, START_MS + 91000 + 60000);
    ck_assert_int_ge(skew_server_now(&skew, 92010), START_MS + 91000 + 60000);
}
END_TEST

START_TEST(after_a_step_backwards_one_answer_puts_it_right) {
    random_seed((uint64_t)_i + 1);
    struct server server = {.offset_ms = START_MS};
    struct skew skew = {0};
    int64_t mono_ms = 1000;
    for (int answers = 0; answers < 500; answers++) {
        mono_ms += (int64_t)random_below(60000);
        /* Steps below what a Date can show (two seconds) cannot be noticed at once. */
        if (random_below(10) == 0)
            server.offset_ms += (random_below(2) ? 1 : -1) * (3000 + (int64_t)random_below(100000));
        int64_t date_ms = true_time(&server, mono_ms);
        skew_sample(&skew, mono_ms, mono_ms, date_ms - date_ms % 1000);
        check(&skew, &server, mono_ms);
    }
}
END_TEST

/* A lease that is renewed every five seconds at the latest, and what its answers teach. */
struct pupil {
    struct server server;
    struct skew skew;
    struct skew_lessons lessons;
    int64_t mono_ms;
    int64_t way_ms; /* there, and the server's work; as much again, back */
};

#define RENEW_MS 5000

static int64_t pupil_ask(struct pupil *p) {
    int64_t at_ms = skew_ask_at(&p->lessons, &p->skew, p->mono_ms, p->mono_ms + RENEW_MS);
    ck_assert_int_ge(at_ms, p->mono_ms);
    ck_assert_int_le(at_ms, p->mono_ms + RENEW_MS);
    int64_t waited_ms = at_ms - p->mono_ms, date_ms = true_time(&p->server, at_ms + p->way_ms);
    p->mono_ms = at_ms + 2 * p->way_ms;
    skew_sample(&p->skew, at_ms, p->mono_ms, date_ms - date_ms % 1000);
    check(&p->skew, &p->server, p->mono_ms);
    return waited_ms;
}

static struct pupil pupil_of(int64_t way_ms) {
    return (struct pupil){.server = {.offset_ms = START_MS + (int64_t)random_below(1000),
                                  .drift_ppm = (int64_t)random_below(2 * SKEW_DRIFT_PPM + 1) - SKEW_DRIFT_PPM},
            .mono_ms = 1000,
            .way_ms = way_ms};
}

START_TEST(a_dozen_questions_at_the_right_moments_tell_the_time_and_a_few_keep_it_known) {
    random_seed((uint64_t)_i + 1);
    struct pupil p = pupil_of((int64_t)random_below(4));
    (void)pupil_ask(&p); /* of the first nobody knows when it is best */
    int early = 0;
    for (int questions = 0; questions < 12; questions++)
        early += pupil_ask(&p) <= RENEW_MS - 1000;
    ck_assert_int_le(early, 8);
    ck_assert_int_le(skew_width_ms(&p.skew, p.mono_ms), SKEW_SHARP_MS);
    /* A day later it is as sharp, and nothing was asked for it alone. */
    while (p.mono_ms < 86400000) {
        ck_assert_int_gt(pupil_ask(&p), RENEW_MS - 1000);
        ck_assert_int_ge(skew_server_now(&p.skew, p.mono_ms), true_time(&p.server, p.mono_ms) - SKEW_BLUNT_MS);
    }
}
END_TEST

START_TEST(what_the_way_to_the_server_hides_is_not_asked_for_again_and_again) {
    random_seed((uint64_t)_i + 1);
    struct pupil p = pupil_of(40 + (int64_t)random_below(100));
    for (int questions = 0; questions < 30; questions++)
        (void)pupil_ask(&p);
    ck_assert_int_le(skew_width_ms(&p.skew, p.mono_ms), 4 * p.way_ms + 10);
    int early = 0;
    for (int questions = 0; questions < 100; questions++)
        early += pupil_ask(&p) <= RENEW_MS / 2;
    ck_assert_int_le(early, 10);
}
END_TEST

START_TEST(a_clock_that_was_stepped_is_learnt_anew) {
    random_seed((uint64_t)_i + 1);
    struct pupil p = pupil_of(1);
    for (int questions = 0; questions < 20; questions++)
        (void)pupil_ask(&p);
    p.server.offset_ms -= 3700;
    p.skew.known = false; /* the step itself is another test's: here the first answer after it */
    for (int questions = 0; questions < 13; questions++)
        (void)pupil_ask(&p);
    ck_assert_int_le(skew_width_ms(&p.skew, p.mono_ms), SKEW_SHARP_MS);
}
END_TEST

START_TEST(without_a_date_a_question_comes_when_it_has_to) {
    struct skew skew = {0};
    struct skew_lessons lessons = {0};
    ck_assert_int_eq(skew_width_ms(&skew, 1000), INT64_MAX);
    ck_assert_int_eq(skew_ask_at(&lessons, &skew, 1000, 6000), 6000);
    skew_sample(&skew, 1000, 1010, START_MS);
    /* nor ever later, or in the past */
    ck_assert_int_eq(skew_ask_at(&lessons, &skew, 1010, 1200), 1200);
    ck_assert_int_eq(skew_ask_at(&lessons, &skew, 1010, 900), 900);
}
END_TEST

Suite *suite_skew(void) {
    Suite *suite = suite_create("skew");
    TCase *cases = tcase_create("skew");
    tcase_add_test(cases, nothing_is_known_before_the_first_answer);
    tcase_add_test(cases, the_server_is_at_least_where_its_date_was_when_the_answer_came);
    tcase_add_test(cases, age_widens_what_is_known);
    tcase_add_test(cases, the_slower_of_both_clocks_counts);
    tcase_add_test(cases, a_difference_is_told_only_as_far_as_it_is_sure);
    tcase_add_test(cases, answers_narrow_each_other);
    tcase_add_test(cases, a_worse_answer_takes_nothing_away);
    tcase_add_test(cases, an_answer_that_contradicts_starts_anew);
    tcase_add_loop_test(cases, it_is_never_later_at_the_server_than_it_truly_is, 0, 50);
    tcase_add_loop_test(cases, drift_counts_however_often_the_server_answers, 0, 5);
    tcase_add_test(cases, an_old_answer_that_ends_late_adds_and_never_undoes);
    tcase_add_test(cases, of_two_answers_that_were_under_way_at_once_and_contradict_the_lesser_counts);
    tcase_add_test(cases, an_answer_from_while_the_clock_was_ahead_is_older_than_one_that_agreed_since);
    tcase_add_loop_test(cases, after_a_step_backwards_one_answer_puts_it_right, 0, 20);
    tcase_add_loop_test(cases, a_dozen_questions_at_the_right_moments_tell_the_time_and_a_few_keep_it_known, 0, 50);
    tcase_add_loop_test(cases, what_the_way_to_the_server_hides_is_not_asked_for_again_and_again, 0, 50);
    tcase_add_loop_test(cases, a_clock_that_was_stepped_is_learnt_anew, 0, 20);
    tcase_add_test(cases, without_a_date_a_question_comes_when_it_has_to);
    suite_add_tcase(suite, cases);
    return suite;
}
