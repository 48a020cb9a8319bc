/* export.h - what is exported and what is deprecated: the only compiler ifs in public headers. */
#ifndef TURBO_EXPORT_H
#define TURBO_EXPORT_H

#if defined(__GNUC__) || defined(__clang__)
#define TURBO_API __attribute__((visibility("default")))
#define TURBO_DEPRECATED(text) __attribute__((deprecated(text)))
#else
#define TURBO_API
#define TURBO_DEPRECATED(text)
#endif

#endif
