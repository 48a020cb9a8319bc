/* test_error.c - every code has a name and a sentence. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <string.h>

#include "turbo/error.h"

TestSuite(error, .timeout = 5);

struct error_case {
    int code;
    int value; /* part of the ABI */
    char name[24];
};

ParameterizedTestParameters(error, code_has_its_value_name_and_sentence) {
    static struct error_case cases[] = {
        {TURBO_EINVAL, -1, "TURBO_EINVAL"},      {TURBO_ENOMEM, -2, "TURBO_ENOMEM"},
        {TURBO_ESTATE, -3, "TURBO_ESTATE"},      {TURBO_EAGAIN, -4, "TURBO_EAGAIN"},
        {TURBO_ECLOSED, -5, "TURBO_ECLOSED"},    {TURBO_EEXIST, -6, "TURBO_EEXIST"},
        {TURBO_ENOENT, -7, "TURBO_ENOENT"},      {TURBO_EADDRINUSE, -8, "TURBO_EADDRINUSE"},
        {TURBO_EADDR, -9, "TURBO_EADDR"},        {TURBO_EACCES, -10, "TURBO_EACCES"},
        {TURBO_EMFILE, -11, "TURBO_EMFILE"},     {TURBO_ESYS, -12, "TURBO_ESYS"},
        {TURBO_ETOOBIG, -13, "TURBO_ETOOBIG"},   {TURBO_ETOONEW, -14, "TURBO_ETOONEW"},
        {TURBO_ENOTSUP, -15, "TURBO_ENOTSUP"},   {TURBO_EUSER, -16, "TURBO_EUSER"},
    };
    return cr_make_param_array(struct error_case, cases, sizeof cases / sizeof *cases);
}

ParameterizedTest(struct error_case *c, error, code_has_its_value_name_and_sentence) {
    const char *sentence = turbo_strerror(c->code);
    cr_expect_eq(c->code, c->value);
    cr_expect_str_eq(turbo_errname(c->code), c->name);
    cr_expect_str_neq(sentence, "unknown error");
    cr_expect_neq(sentence[strlen(sentence) - 1], '.');
}

Test(error, sentences_differ) {
    for (int a = TURBO_EUSER; a <= 0; a++)
        for (int b = TURBO_EUSER; b < a; b++)
            cr_expect_str_neq(turbo_strerror(a), turbo_strerror(b), "%d and %d", a, b);
}

Test(error, zero_is_success) {
    cr_expect_str_eq(turbo_errname(0), "0");
    cr_expect_str_eq(turbo_strerror(0), "success");
}

Test(error, other_numbers_are_unknown) {
    const int others[] = {1, TURBO_EUSER - 1, -2147483647 - 1, 2147483647};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        cr_expect_str_eq(turbo_strerror(others[i]), "unknown error");
        cr_expect_str_eq(turbo_errname(others[i]), "TURBO_EUNKNOWN");
    }
}
