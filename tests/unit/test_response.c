/* test_response.c - status, fields and bodies of answers that are not sent. */
#include "response.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "../support/failing_alloc.h"
#include "../support/guard.h"
#include "turbo/error.h"

TestSuite(response, .timeout = 10);

static turbo_response *response_new(int32_t status) {
    turbo_response *resp;
    cr_assert_eq(turbo_response_new(&resp, status), 0);
    return resp;
}

static int add(turbo_response *resp, const char *name, const char *value) {
    guard n = guard_copy(name, strlen(name)), v = guard_copy(value, strlen(value));
    int rc = turbo_response_field_add(resp, n.data, n.len, v.data, v.len);
    guard_free(&n);
    guard_free(&v);
    return rc;
}

static int is_text(turbo_str str, const char *text) {
    return str.data != NULL && str.len == strlen(text) && memcmp(str.data, text, str.len) == 0;
}

Test(response, status_is_a_final_one) {
    turbo_response *resp = NULL;
    cr_expect_eq(turbo_response_new(&resp, 199), TURBO_EINVAL);
    cr_expect_eq(turbo_response_new(&resp, 600), TURBO_EINVAL);
    cr_expect_eq(turbo_response_new(&resp, -200), TURBO_EINVAL);
    cr_expect_null(resp);
    for (int32_t status = 200; status <= 599; status += status == 201 ? 397 : 1) {
        resp = response_new(status);
        cr_expect_eq(turbo_response_status(resp), status);
        turbo_response_free(resp);
    }
    turbo_response_free(NULL);
}

Test(response, fields_are_lines_in_the_order_they_came) {
    turbo_response *resp = response_new(200);
    cr_expect_eq(add(resp, "Set-Cookie", "a"), 0);
    cr_expect_eq(add(resp, "X", ""), 0);
    cr_expect_eq(add(resp, "set-cookie", "b\t\xff"), 0);
    cr_expect_eq(turbo_response_field_add(resp, "Y", 1, NULL, 0), 0);
    static const char lines[] = "Set-Cookie: a\r\nX: \r\nset-cookie: b\t\xff\r\nY: \r\n";
    cr_expect_eq(resp->fields.len, sizeof lines - 1);
    cr_expect_arr_eq(resp->fields.data, lines, sizeof lines - 1);
    turbo_response_free(resp);
}

Test(response, first_field_of_a_name_is_found_in_any_case) {
    turbo_response *resp = response_new(200);
    cr_expect_null(turbo_response_field(resp, "X").data);
    cr_assert_eq(add(resp, "X-A", "1: 2"), 0);
    cr_assert_eq(add(resp, "Empty", ""), 0);
    cr_assert_eq(add(resp, "x-a", "3"), 0);
    cr_expect(is_text(turbo_response_field(resp, "x-A"), "1: 2"));
    cr_expect(is_text(turbo_response_field(resp, "EMPTY"), ""));
    cr_expect_null(turbo_response_field(resp, "X-").data);
    cr_expect_null(turbo_response_field(resp, "1").data);
    resp->content_type = (turbo_str){"text/plain", 10};
    cr_expect(is_text(turbo_response_field(resp, "content-type"), "text/plain"));
    turbo_response_free(resp);
}

Test(response, malformed_names_and_values_are_refused) {
    turbo_response *resp = response_new(200);
    static const char *const names[] = {"", " ", "A B", "A:", "A\r", "\n", "A\x7f", "\xc3\xa4", "(a)", "A "};
    static const char *const values[] = {"\r", "\n", "a\r\nB: c", "\x01", "a\x7f"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        cr_expect_eq(add(resp, names[i], "v"), TURBO_EINVAL, "name %zu", i);
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        cr_expect_eq(add(resp, "A", values[i]), TURBO_EINVAL, "value %zu", i);
    cr_expect_eq(turbo_response_field_add(resp, "A", 1, "a\0b", 3), TURBO_EINVAL);
    cr_expect_eq(turbo_response_field_add(resp, "A\0B", 3, "a", 1), TURBO_EINVAL);
    cr_expect_eq(resp->fields.len, 0);
    turbo_response_free(resp);
}

Test(response, framing_is_not_the_handlers) {
    turbo_response *resp = response_new(200);
    static const char *const names[] = {"Transfer-Encoding", "transfer-encoding", "Keep-Alive",
                                        "Proxy-Connection"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        cr_expect_eq(add(resp, names[i], "chunked"), TURBO_EINVAL, "%s", names[i]);
    static const char *const connections[] = {"keep-alive", "Upgrade", "", "close, x", "closed"};
    for (size_t i = 0; i < sizeof connections / sizeof *connections; i++)
        cr_expect_eq(add(resp, "Connection", connections[i]), TURBO_EINVAL, "%s", connections[i]);
    cr_expect_eq(resp->close, 0);
    cr_expect_eq(add(resp, "connection", "CLOSE"), 0);
    cr_expect_eq(resp->close, 1);
    cr_expect_eq(resp->fields.len, 0);
    turbo_response_free(resp);
}

Test(response, upgrade_is_a_field_that_is_remembered) {
    turbo_response *resp = response_new(426);
    cr_expect_eq(add(resp, "Upgrades", "x"), 0);
    cr_expect_eq(add(resp, "Upgrade", "a\nb"), TURBO_EINVAL);
    cr_expect_eq(resp->upgrade, 0);
    cr_expect_eq(add(resp, "upgrade", "HTTP/2.0, x"), 0);
    cr_expect_eq(resp->upgrade, 1);
    cr_expect_eq(turbo_response_field(resp, "Upgrade").len, strlen("HTTP/2.0, x"));
    turbo_response_free(resp);
}

Test(response, content_length_is_kept_as_a_number) {
    turbo_response *resp = response_new(304);
    static const char *const bad[] = {"", "-1", "+1", " 1", "1 ", "0x1", "a", "18446744073709551616",
                                      "000000000000000000001"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_expect_eq(add(resp, "Content-Length", bad[i]), TURBO_EINVAL, "\"%s\"", bad[i]);
    cr_expect_eq(resp->has_length, 0);
    cr_expect_eq(add(resp, "content-length", "0"), 0);
    cr_expect(resp->has_length && resp->length == 0);
    cr_expect_eq(add(resp, "Content-Length", "18446744073709551615"), 0);
    cr_expect_eq(resp->length, UINT64_MAX);
    cr_expect_eq(resp->fields.len, 0);
    turbo_response_free(resp);
}

Test(response, fields_together_have_a_limit) {
    static char value[TURBO__RESPONSE_FIELDS_MAX];
    memset(value, 'v', sizeof value);
    for (size_t more = 0; more < 3; more++) {
        turbo_response *resp = response_new(200);
        size_t len = TURBO__RESPONSE_FIELDS_MAX - 1 - sizeof "N: \r\n" + 1 + more; /* 1 below, at, 1 above */
        int rc = turbo_response_field_add(resp, "N", 1, value, len);
        cr_expect_eq(rc, more < 2 ? 0 : TURBO_ETOOBIG, "%zu", more);
        cr_expect_eq(resp->fields.len, rc == 0 ? len + 5 : 0);
        turbo_response_free(resp);
    }
}

Test(response, date_that_was_not_taken_does_not_replace_the_librarys) {
    static char value[TURBO__RESPONSE_FIELDS_MAX];
    turbo_response *resp = response_new(200);
    memset(value, 'v', sizeof value);
    cr_expect_eq(turbo_response_field_add(resp, "Date", 4, value, sizeof value), TURBO_ETOOBIG);
    cr_expect_eq(resp->has_date, 0);
    cr_expect_eq(add(resp, "date", "Sun, 06 Nov 1994 08:49:37 GMT"), 0);
    cr_expect_eq(resp->has_date, 1);
    turbo_response_free(resp);
}

/* ---- bodies ---- */

static int given_back;

static void give_back(void *user) { given_back += *(int *)user; }

static void set_body(turbo_response *resp, int kind) {
    static int one = 1;
    int rc = kind == 0   ? turbo_response_body_copy(resp, "copy", 4)
             : kind == 1 ? turbo_response_body_static(resp, "static", 6)
             : kind == 2 ? turbo_response_body_ref(resp, "ref", 3, give_back, &one)
                         : turbo_response_body_lend(resp, "lent", 4);
    cr_assert_eq(rc, 0);
}

Test(response, second_body_of_any_kind_replaces_the_first) {
    static const char *const texts[] = {"copy", "static", "ref", "lent"};
    for (int first = 0; first < 4; first++)
        for (int second = 0; second < 4; second++) {
            turbo_response *resp = response_new(200);
            given_back = 0;
            set_body(resp, first);
            cr_expect(is_text(turbo_response_body(resp), texts[first]));
            cr_expect_eq(given_back, 0);
            set_body(resp, second);
            cr_expect(is_text(turbo_response_body(resp), texts[second]));
            cr_expect_eq(given_back, first == 2, "%d then %d", first, second);
            turbo_response_free(resp);
            cr_expect_eq(given_back, (first == 2) + (second == 2), "%d then %d", first, second);
        }
    cr_expect_not(failing_alloc_leaks());
}

Test(response, body_may_be_empty) {
    turbo_response *resp = response_new(200);
    cr_expect(turbo_response_body(resp).len == 0);
    cr_expect_eq(turbo_response_body_copy(resp, NULL, 0), 0);
    cr_expect_eq(turbo_response_body(resp).len, 0);
    cr_expect_eq(turbo_response_body_static(resp, NULL, 0), 0);
    cr_expect_eq(turbo_response_body(resp).len, 0);
    turbo_response_free(resp);
}

Test(response, clear_of_an_embedded_one_leaves_it_usable) {
    turbo_response own = {.embedded = 1, .status = 200};
    turbo__buf_init(&own.fields, TURBO__RESPONSE_FIELDS_MAX);
    cr_assert_eq(turbo__response_line(&own, "Allow", "GET, HEAD"), 0);
    cr_expect(is_text(turbo_response_field(&own, "Allow"), "GET, HEAD"));
    set_body(&own, 0);
    turbo_response_free(&own);
    cr_expect(own.fields.len == 0 && own.body_len == 0 && own.body_kind == TURBO__BODY_NONE);
    cr_expect_not(failing_alloc_leaks());
}

Test(response, status_without_body_is_known) {
    for (int32_t status = 100; status < 600; status++)
        cr_expect_eq(turbo__status_has_no_body(status),
                     status < 200 || status == 204 || status == 205 || status == 304, "%d", (int)status);
}

Test(response, failed_allocations_change_nothing) {
    turbo_response *resp = NULL;
    failing_alloc_arm(1);
    cr_expect_eq(turbo_response_new(&resp, 200), TURBO_ENOMEM);
    cr_assert(failing_alloc_disarm());
    cr_expect_null(resp);
    resp = response_new(200);
    failing_alloc_arm(1);
    cr_expect_eq(add(resp, "A", "b"), TURBO_ENOMEM);
    cr_assert(failing_alloc_disarm());
    cr_expect_eq(resp->fields.len, 0);
    set_body(resp, 1);
    failing_alloc_arm(1);
    cr_expect_eq(turbo_response_body_copy(resp, "x", 1), TURBO_ENOMEM);
    cr_assert(failing_alloc_disarm());
    cr_expect(is_text(turbo_response_body(resp), "static"));
    turbo_response_free(resp);
    cr_expect_not(failing_alloc_leaks());
}
