#include "suites.h"

#include <string.h>

#include "serve/address.h"

START_TEST(an_address_is_read_as_people_write_it) {
    static const struct {
        const char *text;
        int family, port;
        bool both;
    } good[] = {
            {":8080", AF_INET6, 8080, true},
            {":0", AF_INET6, 0, true},
            {"127.0.0.1:8080", AF_INET, 8080, false},
            {"0.0.0.0:65535", AF_INET, 65535, false},
            {"[::1]:8080", AF_INET6, 8080, false},
            {"[::]:1", AF_INET6, 1, false},
            {"[fd00:1234:5678:9abc:def0:1234:5678:9abc]:8080", AF_INET6, 8080, false},
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct address address;
        struct error err = {0};
        char again[ADDRESS_TEXT_MAX];
        ck_assert_msg(address_parse(good[i].text, &address, &err) == 0, "%s", err.text);
        ck_assert_int_eq(address.socket.any.sa_family, good[i].family);
        ck_assert_int_eq(ntohs(good[i].family == AF_INET ? address.socket.v4.sin_port : address.socket.v6.sin6_port),
                good[i].port);
        ck_assert_int_eq(address.both, good[i].both);
        address_format(&address, again);
        ck_assert_str_eq(again, good[i].text);
    }
}
END_TEST

START_TEST(what_is_no_address_is_refused_with_examples_and_leaves_the_other_alone) {
    static const char *const bad[] = {"", "8080", "localhost:8080", "127.0.0.1", "127.0.0.1:", "127.0.0.1:http",
            "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:99999999999999999999", "127.0.0.1:80 ", " :80", "::1:8080",
            "[::1]", "[::1]8080", "[::1:8080", "[127.0.0.1]:8080", "[]:8080", "[::1]x:8080", "256.0.0.1:80", "1.2.3:80",
            "[fe80::1%eth0]:8080", "http://127.0.0.1:8080",
            "111111111111111111111111111111111111111111111111111111111111111111:8080", ":", "[", "[:", "]:1"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct address address = {.len = 42};
        struct error err = {0};
        ck_assert_msg(address_parse(bad[i], &address, &err) < 0, "'%s' was taken", bad[i]);
        ck_assert_int_eq(err.kind, ERROR_USAGE);
        ck_assert_msg(strstr(err.text, "write :8080, 127.0.0.1:8080 or [::1]:8080"), "%s", err.text);
        ck_assert_int_eq(address.len, 42);
    }
}
END_TEST

Suite *suite_address(void) {
    Suite *suite = suite_create("address");
    TCase *cases = tcase_create("address");
    tcase_add_test(cases, an_address_is_read_as_people_write_it);
    tcase_add_test(cases, what_is_no_address_is_refused_with_examples_and_leaves_the_other_alone);
    suite_add_tcase(suite, cases);
    return suite;
}
