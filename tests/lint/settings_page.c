/* settings_page.c - prints docs/settings.md, the reference page of the settings, from the library's own table. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "turbo.h"

static void print_upper(const char *name) {
    for (; *name != '\0'; name++)
        putchar(*name >= 'a' && *name <= 'z' ? *name - 'a' + 'A' : *name);
}

static void print_flag(const char *name) {
    for (; *name != '\0'; name++)
        putchar(*name == '_' ? '-' : *name);
}

static void print_words(size_t i, uint64_t default_value) {
    const char *word = turbo_setting_choices(i);
    for (uint64_t n = 0;; n++) {
        size_t len = strcspn(word, "|");
        printf(n == 0 ? "`%.*s`" : ", `%.*s`", (int)len, word);
        if (n == default_value)
            printf(" (default)");
        if (word[len] == '\0')
            return;
        word += len + 1;
    }
}

static void print_setting(size_t i) {
    const char *name = turbo_setting_name(i), *doc = turbo_setting_doc(i), *unit = turbo_setting_unit(i);
    uint64_t min, max, default_value;
    if (turbo_setting_range(i, &min, &max, &default_value) < 0)
        return;
    printf("\n## %s\n\n%s.\n\n`--", name, doc);
    print_flag(name);
    printf("`, `TURBO_");
    print_upper(name);
    printf("`. ");
    if (turbo_setting_type(i) == TURBO_SETTING_ENUM) {
        print_words(i, default_value);
        printf(".\n");
        return;
    }
    printf("%" PRIu64 " to %" PRIu64 "%s%s", min, max, unit[0] == '\0' ? "" : " ", unit);
    if (strstr(doc, "(default:") == NULL)
        printf("; default %" PRIu64, default_value);
    printf(".\n");
}

int main(void) {
    printf("# Settings\n\n"
           "Made from the library's table by `make docs`; a test fails when the two differ. A setting is given as text\n"
           "(`turbo_options_set(options, \"batch_max\", \"64\")`), as a number (`turbo_options_set_u64`), by a command-line\n"
           "flag of programs that call `turbo_options_load_args()`, by an environment variable\n"
           "(`turbo_options_load_env()`), or as a keyword argument in Python (`app.run(batch_max=64)`). A value out of range\n"
           "is refused with a message that names the setting, the value and the range. Routes can have their own value of\n"
           "some of them: see `turbo_route_options_new()`.\n");
    for (size_t i = 0; i < turbo_setting_count(); i++)
        print_setting(i);
    return 0;
}
