#include "suites.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/options.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static const struct command_spec spec = {
        .name = "dig",
        .synopsis = "[-n NS] [FILE...]",
        .about = "Dig a hole.",
        .options =
                (const struct option_spec[]){
                        {"namespace", 'n', "NS", "only there"},
                        {"output", 'o', "FORMAT", "how"},
                        {"dry-run", 0, NULL, "change nothing"},
                        {"deep", 0, "METERS", "how deep"},
                        {0},
                },
        .more = "Exit codes: 0 done.",
};

/* "name=value;" of each option that was set. */
struct taken {
    char text[400];
    bool refuse;
};

static int take(void *arg, const struct option_spec *option, const char *value, struct error *err) {
    struct taken *taken = arg;
    if (taken->refuse)
        return error_set(err, ERROR_USAGE, "not this one: %s", option->name);
    size_t len = strlen(taken->text);
    snprintf(taken->text + len, sizeof taken->text - len, "%s=%s;", option->name, value ? value : "(flag)");
    return 0;
}

#define ARGS_MAX 10

/* Parses words separated by one blank, after the command's name. */
static int parse(const char *line, struct taken *taken, char rest[200], struct error *err) {
    static char words[400];
    char *argv[ARGS_MAX + 1] = {words};
    int argc = 1, first = -77;
    snprintf(words, sizeof words, "dig %s", line);
    for (char *at = words; (at = strchr(at, ' ')) && argc < ARGS_MAX;) {
        *at++ = '\0';
        argv[argc++] = at;
    }
    if (!*line)
        argc = 1;
    argv[argc] = NULL;
    taken->text[0] = rest[0] = '\0';
    int result = options_parse(&spec, argc, argv, take, taken, &first, err);
    for (int i = first; result == 0 && i < argc; i++) {
        size_t len = strlen(rest);
        snprintf(rest + len, 200 - len, "%s;", argv[i]);
    }
    return result;
}

START_TEST(options_are_taken_in_order_as_kubectl_spells_them) {
    static const struct {
        const char *line, *taken, *rest;
    } cases[] = {{"", "", ""}, {"-n ml", "namespace=ml;", ""}, {"-nml", "namespace=ml;", ""},
            {"--namespace ml", "namespace=ml;", ""}, {"--namespace=ml", "namespace=ml;", ""},
            {"--names=ml", "namespace=ml;", ""}, {"--namespace=", "namespace=;", ""},
            {"--dry-run -o json", "dry-run=(flag);output=json;", ""},
            {"-o json -n a -n b", "output=json;namespace=a;namespace=b;", ""}, {"a b", "", "a;b;"},
            {"a -n ml b", "namespace=ml;", "a;b;"}, {"-- -n ml", "", "-n;ml;"}, {"-", "", "-;"},
            {"--deep -5", "deep=-5;", ""}, {"-n -", "namespace=-;", ""}, {"-o=json", "output=json;", ""},
            {"-n=", "namespace=;", ""}, {"-n =ml", "namespace==ml;", ""}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct taken taken = {.refuse = false};
        char rest[200];
        struct error err = {0};
        ck_assert_msg(parse(cases[i].line, &taken, rest, &err) == 0, "'%s': %s", cases[i].line, err.text);
        ck_assert_str_eq(taken.text, cases[i].taken);
        ck_assert_str_eq(rest, cases[i].rest);
    }
}
END_TEST

START_TEST(what_is_wrong_on_the_command_line_is_named) {
    static const struct {
        const char *line, *why;
    } cases[] = {{"--nope", "unknown option '--nope' (see 'sexton dig --help')"}, {"-x", "unknown option '-x'"},
            {"-n", "option '-n' needs a value"}, {"--deep", "option '--deep' needs a value"},
            {"--dry-run=yes", "option '--dry-run' takes no value"}, {"--dry=", "option '--dry' takes no value"},
            {"--help=me", "option '--help' takes no value"}, {"-o json --bad=1", "unknown option '--bad=1'"},
            {"--de", NULL}, {"--d", "--d"}, {"-xn ml", "unknown option '-x'"}, {"-n a --nope b", "'--nope'"}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct taken taken = {.refuse = false};
        char rest[200];
        struct error err = {0};
        ck_assert_msg(parse(cases[i].line, &taken, rest, &err) == -1, "'%s' was taken", cases[i].line);
        ck_assert_int_eq(err.kind, ERROR_USAGE);
        ck_assert_msg(!cases[i].why || strstr(err.text, cases[i].why), "'%s': %s", cases[i].line, err.text);
    }
}
END_TEST

START_TEST(a_value_that_is_refused_ends_the_parsing) {
    struct taken taken = {.refuse = true};
    char rest[200];
    struct error err = {0};
    ck_assert_int_eq(parse("-n ml", &taken, rest, &err), -1);
    ck_assert_str_eq(err.text, "not this one: namespace");
}
END_TEST

/* What was written to standard output during call. Static. */
static const char *printed_by(int (*call)(void), int *ret_result) {
    static char text[4000];
    FILE *file = tmpfile();
    ck_assert_ptr_nonnull(file);
    fflush(stdout);
    int saved = dup(STDOUT_FILENO);
    dup2(fileno(file), STDOUT_FILENO);
    *ret_result = call();
    fflush(stdout);
    dup2(saved, STDOUT_FILENO);
    close(saved);
    rewind(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    return text;
}

static int ask_help(void) {
    struct taken taken = {.refuse = false};
    char rest[200];
    return parse("-n ml --help --nope", &taken, rest, NULL);
}

static int ask_short_help(void) {
    struct taken taken = {.refuse = false};
    char rest[200];
    return parse("-h", &taken, rest, NULL);
}

START_TEST(help_shows_every_option_of_the_table) {
    static const char help[] = "Usage: sexton dig [-n NS] [FILE...]\n\nDig a hole.\n\nOptions:\n"
                               "  -n, --namespace NS           only there\n"
                               "  -o, --output FORMAT          how\n"
                               "      --dry-run                change nothing\n"
                               "      --deep METERS            how deep\n"
                               "  -h, --help                   show this\n"
                               "\nExit codes: 0 done.\n";
    int result = 0;
    ck_assert_str_eq(printed_by(ask_help, &result), help);
    ck_assert_int_eq(result, OPTIONS_DONE);
    ck_assert_str_eq(printed_by(ask_short_help, &result), help);
    ck_assert_int_eq(result, OPTIONS_DONE);
}
END_TEST

START_TEST(numbers_are_whole_and_within_their_range) {
    static const struct {
        const char *text;
        int64_t number;
    } good[] = {{"0", 0}, {"10", 10}, {"-3", -3}, {"007", 7}};
    static const char *const bad[] = {
            "", "x", "11", "-4", "1.5", "1e1", " 1", "1 ", "0x1", "99999999999999999999", "--1", "1,0"};
    for (size_t i = 0; i < COUNT(good); i++) {
        int64_t number = -77;
        ck_assert_msg(options_parse_number("--n", good[i].text, -3, 10, &number, NULL) == 0, "%s", good[i].text);
        ck_assert_int_eq(number, good[i].number);
    }
    for (size_t i = 0; i < COUNT(bad); i++) {
        int64_t number = -77;
        struct error err = {0};
        ck_assert_msg(options_parse_number("--n", bad[i], -3, 10, &number, &err) == -1, "'%s' was taken", bad[i]);
        ck_assert_int_eq(number, -77);
        ck_assert_int_eq(err.kind, ERROR_USAGE);
        ck_assert_ptr_nonnull(strstr(err.text, "whole number from -3 to 10"));
    }
}
END_TEST

START_TEST(a_table_of_options_may_be_long) {
    enum { MANY = 60 };
    static char names[MANY][16];
    struct option_spec rows[MANY + 1] = {0};
    for (int i = 0; i < MANY; i++) {
        snprintf(names[i], sizeof names[i], "option-%02d", i % 100);
        rows[i] = (struct option_spec){names[i], i < 26 ? (char)('a' + i) : '\0', i % 2 ? "N" : NULL, "help"};
    }
    rows['h' - 'a'].letter = '\0';
    const struct command_spec many = {.name = "many", .synopsis = "", .about = "", .options = rows};
    char *argv[] = {(char[]){"many"}, (char[]){"--option-00"}, (char[]){"--option-59=x"}, (char[]){"-yz7"}, NULL};
    struct taken taken = {.refuse = false};
    struct error err = {0};
    int rest;
    ck_assert_msg(options_parse(&many, 4, argv, take, &taken, &rest, &err) == 0, "%s", err.text);
    ck_assert_ptr_nonnull(strstr(taken.text, "option-00=(flag);option-59=x;option-24=(flag);option-25=7;"));
}
END_TEST

START_TEST(output_formats_are_table_wide_json_and_csv) {
    static const char *const names[] = {"table", "wide", "json", "csv"};
    enum output_format format;
    for (int i = 0; i < 4; i++) {
        ck_assert_int_eq(options_parse_output(names[i], &format, NULL), 0);
        ck_assert_int_eq((int)format, i);
    }
    struct error err = {0};
    ck_assert_int_eq(options_parse_output("yaml", &format, &err), -1);
    ck_assert_int_eq(err.kind, ERROR_USAGE);
    ck_assert_ptr_nonnull(strstr(err.text, "'yaml' is not table, wide, json or csv"));
}
END_TEST

Suite *suite_options(void) {
    Suite *suite = suite_create("options");
    TCase *tcase = tcase_create("options");
    static const TTest *const *const all[] = {&options_are_taken_in_order_as_kubectl_spells_them,
            &what_is_wrong_on_the_command_line_is_named, &a_value_that_is_refused_ends_the_parsing,
            &help_shows_every_option_of_the_table, &numbers_are_whole_and_within_their_range,
            &a_table_of_options_may_be_long, &output_formats_are_table_wide_json_and_csv};
    for (size_t i = 0; i < COUNT(all); i++)
        tcase_add_test(tcase, *all[i]);
    suite_add_tcase(suite, tcase);
    return suite;
}
