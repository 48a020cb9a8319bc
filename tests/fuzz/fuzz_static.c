/* fuzz_static.c - what is asked of a static route, from the bytes of its path to an open file: never one outside the root, and
 * the same one by openat2() and by steps.
 *
 * Input: a byte for dot_files, then a path as it stands in a request line. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* nftw */
#endif
#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz.h"
#include "os/os.h"
#include "route.h"
#include "router.h"
#include "static_files.h"
#include "turbo/error.h"

#define PATH_BYTES 4096

static char top[] = "/tmp/turbo-fuzz-XXXXXX";
static int root = -1;
static turbo__router *router;
static turbo__route route;
static ino_t secrets[2];

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *where) {
    (void)info, (void)kind, (void)where;
    return remove(path);
}

static void remove_tree(void) { (void)nftw(top, remove_one, 16, FTW_DEPTH | FTW_PHYS); }

static const char *below(const char *name) {
    static char path[256];
    (void)snprintf(path, sizeof path, "%s/%s", top, name);
    return path;
}

static ino_t make_file(const char *name) {
    struct stat info;
    int fd = open(below(name), O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
    MUST(fd >= 0 && fstat(fd, &info) == 0, "%s", name);
    close(fd);
    return info.st_ino;
}

static void make_link(const char *to, const char *name) { MUST(symlink(to, below(name)) == 0, "%s", name); }

/* Names are short, so that they are met by chance. */
static void set_up(void) {
    static const char *const dirs[] = {"r", "r/d", "r/d/d", "o", "r/.h"};
    static const char *const files[] = {"r/a", "r/d/a", "r/d/d/a", "r/.a", "r/.h/a", "r/%", "r/a b"};
    char where[300];
    MUST(mkdtemp(top) != NULL, "no directory");
    (void)atexit(remove_tree);
    for (size_t i = 0; i < sizeof dirs / sizeof *dirs; i++)
        MUST(mkdir(below(dirs[i]), 0755) == 0, "%s", dirs[i]);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        (void)make_file(files[i]);
    secrets[0] = make_file("a");
    secrets[1] = make_file("o/a");
    make_link("a", "r/l");
    make_link("../a", "r/x");
    make_link("..", "r/u");
    make_link("../o", "r/o");
    make_link("/", "r/s");
    make_link("../../..", "r/d/u");
    make_link("..", "r/d/p");
    make_link("/proc/self/root", "r/m");
    make_link("c", "r/c");
    (void)snprintf(where, sizeof where, "%s", below("r"));
    MUST(turbo__os_root_open(&root, where) == 0, "no root");
    MUST(turbo__router_new(&router) == 0, "no router");
    MUST(turbo__router_add(router, "GET", "/{path...}", &route, &route.pattern, where, sizeof where) == 0, "%s", where);
}

/* @return 0 when nothing was opened. */
static ino_t open_one(const char *path, int by_steps) {
    struct stat info, inside;
    int fd;
    turbo__os_beneath_by_steps(by_steps);
    int rc = turbo__os_file_open_beneath(&fd, root, path);
    MUST(rc == 0 || rc == TURBO_ENOENT || rc == TURBO_EACCES || rc == TURBO_ESYS, "%d", rc);
    if (rc < 0)
        return 0;
    MUST(fstat(fd, &info) == 0 && fstat(root, &inside) == 0, "no stat");
    MUST(info.st_dev == inside.st_dev, "%s: another file system", path);
    MUST(info.st_ino != secrets[0] && info.st_ino != secrets[1], "%s is outside", path);
    close(fd);
    return info.st_ino;
}

static void check_path(const char *path, turbo_str bound, int dot_files) {
    MUST(strlen(path) == bound.len && memcmp(path, bound.data, bound.len) == 0, "another path");
    MUST(strchr(path, '\\') == NULL && *path != '/' && strstr(path, "//") == NULL, "%s", path);
    for (const char *at = path; *at != '\0';) {
        size_t len = strcspn(at, "/");
        MUST(!(len == 1 && *at == '.') && !(len == 2 && memcmp(at, "..", 2) == 0), "%s", path);
        MUST(dot_files || *at != '.', "%s", path);
        at += len + (at[len] == '/');
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char path[PATH_BYTES];
    turbo_str params[1];
    turbo__match match;
    if (root < 0)
        set_up();
    int dot_files = size > 0 && (data[0] & 1);
    size_t len = size > 0 ? size : 1;
    char *raw = calloc(1, len + 1), *scratch = calloc(1, len + 1);
    MUST(raw != NULL && scratch != NULL, "out of memory");
    raw[0] = '/';
    if (size > 1)
        memcpy(raw + 1, data + 1, size - 1);
    turbo_str whole = {raw, len};
    turbo__router_match(router, (turbo_str){"GET", 3}, whole, params, scratch, &match);
    if (match.status == 200 && turbo__static_path(path, sizeof path, params[0], whole, dot_files) == 0) {
        check_path(path, params[0], dot_files);
        if (*path != '\0' && path[strlen(path) - 1] != '/') {
            ino_t by_call = open_one(path, 0), by_steps = open_one(path, 1);
            MUST(by_steps == 0 || by_steps == by_call, "%s: two files", path);
        }
    }
    free(raw);
    free(scratch);
    return 0;
}
