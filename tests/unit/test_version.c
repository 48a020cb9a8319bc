/* test_version.c - the run-time version agrees with the header. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "turbo/version.h"

TestSuite(version, .timeout = 5);

Test(version, number_is_the_headers) {
    cr_expect_eq(turbo_version(), TURBO_VERSION_NUMBER);
    cr_expect_eq(turbo_version(),
                 TURBO_VERSION_MAJOR * 1000000 + TURBO_VERSION_MINOR * 1000 + TURBO_VERSION_PATCH);
}

Test(version, text_shows_the_three_numbers) {
    char text[32];
    (void)snprintf(text, sizeof text, "%d.%d.%d", TURBO_VERSION_MAJOR, TURBO_VERSION_MINOR, TURBO_VERSION_PATCH);
    cr_expect_str_eq(turbo_version_string(), text);
}
