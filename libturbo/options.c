/* options.c - reading size-prefixed structs from older and newer callers, and turbo_options. */
#include "options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"
#include "settings.h"
#include "turbo/error.h"
#include "turbo/options.h"

#define SETTING_COUNT (sizeof(turbo__settings) / sizeof(uint64_t))
#define NAME_MAX_BYTES 64 /* longer than the name of any setting */
#define ENV_PREFIX "TURBO_"

struct turbo_options {
    uint64_t values[SETTING_COUNT];
    uint8_t set[SETTING_COUNT];
    char error[256];
};

static int all_zero(const unsigned char *p, size_t n) {
    while (n > 0 && *p == 0) {
        p++;
        n--;
    }
    return n == 0;
}

int turbo__options_read(void *dst, size_t known, size_t oldest, const void *src) {
    const unsigned char *from = src;
    size_t given;
    memcpy(&given, src, sizeof given);
    if (given < oldest)
        return TURBO_EINVAL;
    if (given > known && !all_zero(from + known, given - known))
        return TURBO_ETOONEW; /* asks for something this build cannot do */
    memset(dst, 0, known);
    memcpy(dst, src, given < known ? given : known);
    memcpy(dst, &known, sizeof known);
    return 0;
}

void turbo__options_settings(const turbo_options *options, turbo__settings *out) {
    uint64_t values[SETTING_COUNT];
    turbo__settings_default(out);
    if (options == NULL)
        return;
    memcpy(values, out, sizeof values);
    for (size_t i = 0; i < SETTING_COUNT; i++)
        if (options->set[i])
            values[i] = options->values[i];
    memcpy(out, values, sizeof values);
}

int turbo_options_new(turbo_options **out) {
    turbo_options *options = turbo__calloc(1, sizeof *options);
    if (options == NULL)
        return TURBO_ENOMEM;
    *out = options;
    return 0;
}

static void keep(turbo_options *options, size_t index, uint64_t value) {
    options->values[index] = value;
    options->set[index] = 1;
}

static int find_named(turbo_options *options, const char *name) {
    int index = turbo__settings_find(name, strlen(name));
    if (index < 0)
        (void)snprintf(options->error, sizeof options->error, "unknown setting \"%.64s\"", name);
    return index;
}

static int set_parsed(turbo_options *options, size_t index, const char *text) {
    uint64_t value;
    int rc = turbo__settings_parse(index, text, &value, options->error, sizeof options->error);
    if (rc < 0)
        return rc;
    keep(options, index, value);
    return 0;
}

int turbo_options_set(turbo_options *options, const char *name, const char *value) {
    int index = find_named(options, name);
    return index < 0 ? index : set_parsed(options, (size_t)index, value);
}

int turbo_options_set_u64(turbo_options *options, const char *name, uint64_t value) {
    int rc, index = find_named(options, name);
    if (index < 0)
        return index;
    if ((rc = turbo__settings_check((size_t)index, value, options->error, sizeof options->error)) < 0)
        return rc;
    keep(options, (size_t)index, value);
    return 0;
}

int turbo_options_get_u64(const turbo_options *options, const char *name, uint64_t *out) {
    int index = turbo__settings_find(name, strlen(name));
    if (index < 0)
        return index;
    if (!options->set[index])
        return turbo_setting_range((size_t)index, NULL, NULL, out);
    *out = options->values[index];
    return 0;
}

static void write_env_name(char out[NAME_MAX_BYTES], const char *name) {
    size_t len = (size_t)snprintf(out, NAME_MAX_BYTES, ENV_PREFIX "%s", name);
    for (size_t i = sizeof ENV_PREFIX - 1; i < len; i++)
        if (out[i] >= 'a' && out[i] <= 'z') /* toupper() depends on the locale: Turkish has another I */
            out[i] = (char)(out[i] - 'a' + 'A');
}

int turbo_options_load_env(turbo_options *options) {
    char name[NAME_MAX_BYTES];
    for (size_t i = 0; i < SETTING_COUNT; i++) {
        write_env_name(name, turbo_setting_name(i));
        const char *value = getenv(name);
        int rc = value == NULL ? 0 : set_parsed(options, i, value);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* The setting that "--batch-max" or "--batch-max=64" means. Returns its index, or TURBO_ENOENT for anything else. */
static int find_flag(const char *arg) {
    char name[NAME_MAX_BYTES];
    size_t len;
    if (strncmp(arg, "--", 2) != 0)
        return TURBO_ENOENT;
    len = strcspn(arg + 2, "=");
    if (len >= sizeof name || memchr(arg + 2, '_', len) != NULL)
        return TURBO_ENOENT;
    for (size_t i = 0; i < len; i++)
        name[i] = (char)(arg[i + 2] == '-' ? '_' : arg[i + 2]);
    return turbo__settings_find(name, len);
}

/* Takes the setting that argv begins with. Returns how many arguments that were, 0 when it is none of ours, or an
 * error. */
static int take_flag(turbo_options *options, char *const *argv) {
    int index = find_flag(argv[0]);
    const char *value;
    int rc, used = 1;
    if (index < 0)
        return 0;
    value = strchr(argv[0], '=');
    if (value != NULL) {
        value++;
    } else {
        value = argv[1];
        used = 2;
    }
    if (value == NULL) {
        (void)snprintf(options->error, sizeof options->error, "%s: the value behind %s is missing",
                       turbo_setting_name((size_t)index), argv[0]);
        return TURBO_EINVAL;
    }
    rc = set_parsed(options, (size_t)index, value);
    return rc < 0 ? rc : used;
}

int turbo_options_load_args(turbo_options *options, int *argc, char **argv) {
    int at = *argc > 0, kept = at, used = 0;
    while (at < *argc && strcmp(argv[at], "--") != 0 && (used = take_flag(options, argv + at)) >= 0) {
        if (used == 0)
            argv[kept++] = argv[at++];
        at += used;
    }
    while (at < *argc) /* "--" and what is behind it, or a flag that failed and the rest */
        argv[kept++] = argv[at++];
    argv[kept] = NULL;
    *argc = kept;
    return used < 0 ? used : 0;
}

const char *turbo_options_error(const turbo_options *options) { return options->error; }

void turbo_options_free(turbo_options *options) { turbo__free(options); }
