/* options.h - the settings of a server: by name, from text, the environment or the command line. */
#ifndef TURBO_OPTIONS_H
#define TURBO_OPTIONS_H

#include "turbo/export.h"
#include "turbo/types.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Types of a setting. */
enum {
    TURBO_SETTING_UINT = 1, /* a whole number within min..max       */
    TURBO_SETTING_ENUM = 2  /* one of the words that choices() gives */
};

/**
 * How many settings there are. With turbo_setting_*() a program or binding can list them all: flags, keyword
 * arguments and reference pages are made from this one table.
 *
 * @return the number of settings, the same for the life of the process.
 *
 * Owns: nothing.
 * Thread: any.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API size_t turbo_setting_count(void);

/**
 * The name of a setting: "batch_max". Its flag is --batch-max, its environment variable TURBO_BATCH_MAX.
 *
 * @param index  0 .. turbo_setting_count() - 1.
 * @return a static string; NULL when index is out of range.
 *
 * Owns: the library keeps the string.
 * Thread: any.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API const char *turbo_setting_name(size_t index);

/**
 * The type of a setting.
 *
 * @param index  0 .. turbo_setting_count() - 1.
 * @return TURBO_SETTING_*; 0 when index is out of range.
 *
 * Owns: nothing.
 * Thread: any.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API int32_t turbo_setting_type(size_t index);

/**
 * The unit of a setting: "ms", "us", "bytes", "%", "requests", ... or "" when it is a plain count or a word.
 *
 * @param index  0 .. turbo_setting_count() - 1.
 * @return a static string; NULL when index is out of range.
 *
 * Owns: the library keeps the string.
 * Thread: any.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API const char *turbo_setting_unit(size_t index);

/**
 * The words that an ENUM setting takes, separated by '|': "answer|cancel". Their values are 0, 1, 2, ...
 *
 * @param index  0 .. turbo_setting_count() - 1.
 * @return a static string, "" for a UINT setting; NULL when index is out of range.
 *
 * Owns: the library keeps the string.
 * Thread: any.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API const char *turbo_setting_choices(size_t index);

/**
 * The range and the default of a setting. Where a default depends on the machine (shards, io_threads) it is the
 * value for this machine.
 *
 * @param index          0 .. turbo_setting_count() - 1.
 * @param min            smallest allowed value; may be NULL.
 * @param max            largest allowed value; may be NULL.
 * @param default_value  value when unset; may be NULL.
 * @return 0; TURBO_ENOENT when index is out of range.
 *
 * Owns: nothing.
 * Thread: any.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API int turbo_setting_range(size_t index, uint64_t *min, uint64_t *max, uint64_t *default_value);

/**
 * One line of documentation of a setting.
 *
 * @param index  0 .. turbo_setting_count() - 1.
 * @return a static string; NULL when index is out of range.
 *
 * Owns: the library keeps the string.
 * Thread: any.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API const char *turbo_setting_doc(size_t index);

/**
 * A set of settings, all unset: an unset setting has its default, and 0 is a value like any other.
 *
 * @param out  receives the options.
 * @return 0; TURBO_ENOMEM.
 *
 * Owns: the caller frees the result with turbo_options_free().
 * Thread: any; one options object is used by one thread at a time.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API int turbo_options_new(turbo_options **out);

/**
 * Set one setting from text. Numbers are decimal digits only.
 *
 * @param options  not NULL.
 * @param name     "batch_max"; not NULL.
 * @param value    "128"; not NULL.
 * @return 0; TURBO_ENOENT for an unknown name; TURBO_EINVAL for a value that is no number, no known word or out of
 *         range. After an error turbo_options_error() names the setting, the value and what is allowed.
 *
 * Owns: the strings stay the caller's.
 * Thread: one.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API int turbo_options_set(turbo_options *options, const char *name, const char *value);

/**
 * Set one setting from a number; an ENUM setting takes the index of its word.
 *
 * @param options  not NULL.
 * @param name     "batch_max"; not NULL.
 * @param value    within the setting's range.
 * @return 0; TURBO_ENOENT; TURBO_EINVAL. As turbo_options_set().
 *
 * Owns: the string stays the caller's.
 * Thread: one.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API int turbo_options_set_u64(turbo_options *options, const char *name, uint64_t value);

/**
 * Read a setting: the value that was set, else its default.
 *
 * @param options  not NULL.
 * @param name     "batch_max"; not NULL.
 * @param out      receives the value; not NULL.
 * @return 0; TURBO_ENOENT for an unknown name.
 *
 * Owns: nothing.
 * Thread: one.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API int turbo_options_get_u64(const turbo_options *options, const char *name, uint64_t *out);

/**
 * Take settings from the environment: TURBO_BATCH_MAX=64 sets batch_max. Variables that are not set change nothing.
 *
 * @param options  not NULL.
 * @return 0; TURBO_EINVAL for a bad value, with turbo_options_error(); those before it were taken.
 *
 * Owns: nothing.
 * Thread: one, and no other thread may change the environment meanwhile.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API int turbo_options_load_env(turbo_options *options);

/**
 * Take settings from command-line arguments: "--batch-max 64" and "--batch-max=64". What is taken is removed from
 * argv; everything else stays, in order. "--" ends the search.
 *
 * @param options  not NULL.
 * @param argc     number of arguments, argv[0] included; updated.
 * @param argv     as main() got it; updated, still ended by NULL.
 * @return 0; TURBO_EINVAL for a bad or missing value, with turbo_options_error().
 *
 * Owns: the strings stay the caller's.
 * Thread: one.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API int turbo_options_load_args(turbo_options *options, int *argc, char **argv);

/**
 * What was wrong with the last call on these options that failed.
 *
 * @param options  not NULL.
 * @return a sentence, "" when nothing has failed; valid until the next call on the options.
 *
 * Owns: the library keeps the string.
 * Thread: one.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API const char *turbo_options_error(const turbo_options *options);

/**
 * Free the options; a server made from them keeps its own copy.
 *
 * @param options  may be NULL.
 *
 * Owns: frees the options.
 * Thread: one.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API void turbo_options_free(turbo_options *options);

#ifdef __cplusplus
}
#endif
#endif
