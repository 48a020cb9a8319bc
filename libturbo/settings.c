/* settings.c - the one table of settings: parsing and checking of values, defaults, and reading the table. */
#include "settings.h"

#include <stdio.h>
#include <string.h>

#include "os/os.h"
#include "turbo/error.h"
#include "turbo/options.h"

#define QUOTED_MAX "64" /* bytes of a bad value that a sentence repeats */
#define SPILL_PERCENT_LEAST 100

static const turbo__setting table[] = {
#define TURBO__X(name, type, unit, choices, min, max, def, doc)                                                        \
    {#name, TURBO_SETTING_##type, unit, choices, min, max, def, doc},
    TURBO__SETTINGS(TURBO__X)
#undef TURBO__X
};

enum {
#define TURBO__X(name, type, unit, choices, min, max, def, doc) INDEX_##name,
    TURBO__SETTINGS(TURBO__X)
#undef TURBO__X
    SETTING_COUNT
};

_Static_assert(sizeof(turbo__settings) == SETTING_COUNT * sizeof(uint64_t), "turbo__settings is an array of uint64_t");

static uint64_t clamp(const turbo__setting *row, uint64_t value) {
    if (value < row->min)
        return row->min;
    return value > row->max ? row->max : value;
}

static uint64_t default_of(size_t index) {
    uint64_t cpus;
    if (table[index].def != TURBO__AUTO)
        return table[index].def;
    cpus = turbo__os_cpu_count();
    if (index == INDEX_io_threads)
        cpus = cpus < 4 ? 1 : cpus / 4;
    return clamp(&table[index], cpus);
}

/* A share below the mean would have every shard pass its requests on. */
static int in_gap(const turbo__setting *row, uint64_t value) {
    return row == &table[INDEX_spill_percent] && value > 0 && value < SPILL_PERCENT_LEAST;
}

static void describe_bad_choice(const turbo__setting *row, const char *text, char *err, size_t size) {
    int used = snprintf(err, size, "%s: \"%." QUOTED_MAX "s\" is not one of ", row->name, text);
    for (const char *p = row->choices; *p != '\0' && used >= 0 && (size_t)used < size; p++)
        used += snprintf(err + used, size - (size_t)used, *p == '|' ? ", " : "%c", *p);
}

const turbo__setting *turbo__settings_row(size_t index) { return &table[index]; }

int turbo__setting_check(const turbo__setting *row, uint64_t value, char *err, size_t size) {
    int gap = in_gap(row, value);
    if (value >= row->min && value <= row->max && !gap)
        return 0;
    (void)snprintf(err, size, "%s: %llu is out of range, allowed are %s%llu to %llu", row->name,
                   (unsigned long long)value, gap ? "0 and " : "",
                   gap ? (unsigned long long)SPILL_PERCENT_LEAST : (unsigned long long)row->min,
                   (unsigned long long)row->max);
    return TURBO_EINVAL;
}

static int parse_choice(const turbo__setting *row, const char *text, uint64_t *out, char *err, size_t size) {
    int choice = turbo__parse_choice(row->choices, text, strlen(text));
    if (choice < 0) {
        describe_bad_choice(row, text, err, size);
        return TURBO_EINVAL;
    }
    *out = (uint64_t)choice;
    return 0;
}

int turbo__setting_parse(const turbo__setting *row, const char *text, uint64_t *out, char *err, size_t size) {
    uint64_t value;
    if (row->type == TURBO_SETTING_ENUM)
        return parse_choice(row, text, out, err, size);
    if (turbo__parse_u64(text, &value) < 0) {
        (void)snprintf(err, size, "%s: \"%." QUOTED_MAX "s\" is not a whole number from %llu to %llu", row->name, text,
                       (unsigned long long)row->min, (unsigned long long)row->max);
        return TURBO_EINVAL;
    }
    if (turbo__setting_check(row, value, err, size) < 0)
        return TURBO_EINVAL;
    *out = value;
    return 0;
}

void turbo__settings_default(turbo__settings *out) {
    uint64_t values[SETTING_COUNT];
    for (size_t i = 0; i < SETTING_COUNT; i++)
        values[i] = default_of(i);
    memcpy(out, values, sizeof values);
}

int turbo__settings_find(const char *name, size_t len) {
    for (int i = 0; i < SETTING_COUNT; i++)
        if (strlen(table[i].name) == len && memcmp(table[i].name, name, len) == 0)
            return i;
    return TURBO_ENOENT;
}

int turbo__settings_check(size_t index, uint64_t value, char *err, size_t size) {
    return turbo__setting_check(&table[index], value, err, size);
}

int turbo__settings_parse(size_t index, const char *text, uint64_t *out, char *err, size_t size) {
    return turbo__setting_parse(&table[index], text, out, err, size);
}

int turbo__parse_u64(const char *text, uint64_t *out) {
    uint64_t value = 0;
    if (*text == '\0')
        return TURBO_EINVAL;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9')
            return TURBO_EINVAL;
        uint64_t digit = (uint64_t)(*text - '0');
        if (value > (UINT64_MAX - digit) / 10)
            return TURBO_EINVAL;
        value = value * 10 + digit;
    }
    *out = value;
    return 0;
}

int turbo__parse_choice(const char *choices, const char *word, size_t len) {
    for (int place = 0;; place++) {
        size_t choice_len = strcspn(choices, "|");
        if (choice_len == len && memcmp(choices, word, len) == 0)
            return place;
        if (choices[choice_len] == '\0')
            return TURBO_ENOENT;
        choices += choice_len + 1;
    }
}

size_t turbo_setting_count(void) { return SETTING_COUNT; }

const char *turbo_setting_name(size_t index) { return index < SETTING_COUNT ? table[index].name : NULL; }

int32_t turbo_setting_type(size_t index) { return index < SETTING_COUNT ? table[index].type : 0; }

const char *turbo_setting_unit(size_t index) { return index < SETTING_COUNT ? table[index].unit : NULL; }

const char *turbo_setting_choices(size_t index) { return index < SETTING_COUNT ? table[index].choices : NULL; }

int turbo_setting_range(size_t index, uint64_t *min, uint64_t *max, uint64_t *default_value) {
    if (index >= SETTING_COUNT)
        return TURBO_ENOENT;
    if (min != NULL)
        *min = table[index].min;
    if (max != NULL)
        *max = table[index].max;
    if (default_value != NULL)
        *default_value = default_of(index);
    return 0;
}

const char *turbo_setting_doc(size_t index) { return index < SETTING_COUNT ? table[index].doc : NULL; }
