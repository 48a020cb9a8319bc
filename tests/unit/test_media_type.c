/* test_media_type.c - the ends of file names -> media types. */
#include "media_type.h"

#include <criterion/criterion.h>

#include "turbo/file.h"

TestSuite(media_type, .timeout = 10);

#define BYTES "application/octet-stream"

Test(media_type, the_end_behind_the_last_dot_decides) {
    static const char *const cases[][2] = {
        {"a.txt", "text/plain; charset=utf-8"}, {"/x/y.z/a.HTML", "text/html; charset=utf-8"}, {"a.tar.gz", "application/gzip"},
        {"a.7z", "application/x-7z-compressed"}, {"a.zst", "application/zstd"}, {"a.webmanifest", "application/manifest+json"},
        {"a.Js", "text/javascript; charset=utf-8"}, {"a.woff2", "font/woff2"}, {".css", "text/css; charset=utf-8"},
        {"a", BYTES}, {"", BYTES}, {".", BYTES}, {"a.", BYTES}, {"a.unknown", BYTES}, {"x.txt/a", BYTES}, {"txt", BYTES},
        {"a.webmanifests", BYTES}, {"a.txt ", BYTES}, {"a.\xff", BYTES}, {"a.averyveryverylongend", BYTES}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        cr_expect_str_eq(turbo_media_type(cases[i][0]), cases[i][1], "%s", cases[i][0]);
}

/* A table that is not sorted loses entries: each must be found. */
Test(media_type, every_end_that_the_docs_name_is_found) {
    static const char *const ends[] = {
        "aac", "apng", "atom", "avi", "avif", "bmp", "bz2", "c", "csv", "doc", "docx", "eot", "epub", "flac", "gif", "gz", "h",
        "htm", "ico", "ics", "jar", "jpeg", "jpg", "json", "jsonld", "jxl", "log", "m3u8", "m4a", "map", "md", "mid", "mjs",
        "mov", "mp3", "mp4", "mpeg", "odp", "ods", "odt", "oga", "ogg", "ogv", "opus", "otf", "pdf", "png", "ppt", "pptx", "py",
        "rss", "rtf", "svg", "tar", "tif", "tiff", "ts", "ttc", "ttf", "vtt", "wasm", "wav", "weba", "webm", "webp", "woff",
        "xhtml", "xls", "xlsx", "xml", "xz", "zip"};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        char name[32] = "file.";
        cr_expect_str_neq(turbo_media_type(strcat(name, ends[i])), BYTES, "%s", ends[i]);
    }
}
