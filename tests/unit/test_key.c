/* test_key.c - what requests are told apart by. */
#include "key.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "request.h"
#include "turbo/error.h"

TestSuite(key, .timeout = 10);

static turbo__key parsed(const char *text) {
    turbo__key key = {0};
    cr_assert_eq(turbo__key_parse(&key, text), 0, "%s", text);
    return key;
}

Test(key, kinds_and_names) {
    cr_expect(parsed("param:id").kind == TURBO__KEY_PARAM && strcmp(parsed("param:id").name, "id") == 0);
    cr_expect(parsed("field:X-User").kind == TURBO__KEY_FIELD && strcmp(parsed("field:X-User").name, "X-User") == 0);
    cr_expect(parsed("cookie:sid").kind == TURBO__KEY_COOKIE && strcmp(parsed("cookie:sid").name, "sid") == 0);
}

Test(key, what_is_no_key) {
    static const char *const bad[] = {"",       "id",     "param",   "param:",    "param:a b",
                                      "Param:", "body:x", "field:a:b", "cookie:=", "cookie:a;b"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        turbo__key key = {.kind = TURBO__KEY_FIELD, .name = "kept"};
        cr_expect_eq(turbo__key_parse(&key, bad[i]), TURBO_EINVAL, "%s", bad[i]);
        cr_expect(key.kind == TURBO__KEY_FIELD && strcmp(key.name, "kept") == 0);
    }
}

Test(key, name_has_at_most_64_characters) {
    char text[6 + TURBO__KEY_NAME_MAX + 2] = "param:";
    turbo__key key;
    for (size_t len = TURBO__KEY_NAME_MAX - 1; len <= TURBO__KEY_NAME_MAX + 1; len++) {
        memset(text + 6, 'n', len);
        text[6 + len] = '\0';
        cr_expect_eq(turbo__key_parse(&key, text), len <= TURBO__KEY_NAME_MAX ? 0 : TURBO_EINVAL);
    }
}

static void expect_cookie(const char *cookies, const char *name, const char *value) {
    char *copy = malloc(strlen(cookies)); /* exactly as long, so that reading past the end is seen */
    cr_assert(copy != NULL || *cookies == '\0');
    if (*cookies != '\0')
        memcpy(copy, cookies, strlen(cookies));
    turbo_str found = turbo__cookie_find((turbo_str){copy, strlen(cookies)}, name, strlen(name));
    if (value == NULL)
        cr_expect_null(found.data, "%s in \"%s\"", name, cookies);
    else
        cr_expect(found.data != NULL && found.len == strlen(value) && memcmp(found.data, value, found.len) == 0,
                  "%s in \"%s\" is \"%.*s\"", name, cookies, (int)found.len, found.data);
    free(copy);
}

Test(key, cookies) {
    expect_cookie("sid=1", "sid", "1");
    expect_cookie("a=2; sid=1; b=3", "sid", "1");
    expect_cookie("a=2;sid=1;b=3", "sid", "1");
    expect_cookie("sid=first; sid=second", "sid", "first");
    expect_cookie("sid=", "sid", "");
    expect_cookie("sid=a=b", "sid", "a=b");
    expect_cookie("xsid=1", "sid", NULL);
    expect_cookie("sidx=1", "sid", NULL);
    expect_cookie("SID=1", "sid", NULL);
    expect_cookie("sid", "sid", NULL);
    expect_cookie("", "sid", NULL);
    expect_cookie(";;; ;", "sid", NULL);
    expect_cookie("a=sid=1", "sid", NULL);
}

/* A request with these fields, each "name:value". */
static turbo_request *request_with(const char *const fields[], size_t count) {
    static char raw[256];
    static turbo__field spans[8];
    turbo__h1_head head = {.raw = raw, .version = 11, .fields = spans, .field_count = count};
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        size_t name = strcspn(fields[i], ":"), value = strlen(fields[i]) - name - 1;
        memcpy(raw + at, fields[i], strlen(fields[i]));
        spans[i] = (turbo__field){{(uint32_t)at, (uint32_t)name}, {(uint32_t)(at + name + 1), (uint32_t)value}};
        at += strlen(fields[i]);
    }
    head.raw_len = at;
    turbo_request *req = turbo__request_from_head(&head, 0);
    cr_assert_not_null(req);
    return req;
}

static void expect_value(const char *text, const turbo_request *req, const char *value) {
    turbo__key key = parsed(text);
    turbo_str found = turbo__key_value(&key, req);
    if (value == NULL)
        cr_expect_null(found.data, "%s", text);
    else
        cr_expect(found.len == strlen(value) && memcmp(found.data, value, found.len) == 0, "%s", text);
}

Test(key, of_fields_and_cookies) {
    static const char *const fields[] = {"X-User:ann", "Cookie:a=1", "COOKIE:b=2; c=3"};
    turbo_request *req = request_with(fields, 3);
    expect_value("field:x-user", req, "ann");
    expect_value("field:X-Other", req, NULL);
    expect_value("cookie:a", req, "1");
    expect_value("cookie:c", req, "3");
    expect_value("cookie:d", req, NULL);
    expect_value("param:id", req, NULL);
    turbo_request_release(req);
}
