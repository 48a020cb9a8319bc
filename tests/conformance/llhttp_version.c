/* llhttp_version.c - which llhttp the tests of this build run on: what its header says, and whether its code agrees.
 * Prints the version. usage: llhttp_version [VERSION, which it must be] */
#include <llhttp.h>
#include <stdio.h>
#include <string.h>

/* llhttp 9 is the first that wants the CR of a request line's end. libturbo refuses a bare LF whichever it has. */
static int takes_bare_lf(void) {
    static const char head[] = "GET / HTTP/1.1\nA: b\r\n\r\n";
    llhttp_settings_t settings;
    llhttp_t parser;
    llhttp_settings_init(&settings);
    llhttp_init(&parser, HTTP_REQUEST, &settings);
    return llhttp_execute(&parser, head, sizeof head - 1) == HPE_OK;
}

int main(int argc, char **argv) {
    char version[32];
    (void)snprintf(version, sizeof version, "%d.%d.%d", LLHTTP_VERSION_MAJOR, LLHTTP_VERSION_MINOR,
                   LLHTTP_VERSION_PATCH);
    puts(version);
    if (takes_bare_lf() != (LLHTTP_VERSION_MAJOR < 9)) {
        (void)fprintf(stderr, "llhttp's header says %s, but its code is of another version\n", version);
        return 1;
    }
    if (argc > 1 && strcmp(argv[1], version) != 0) {
        (void)fprintf(stderr, "llhttp %s was asked for\n", argv[1]);
        return 1;
    }
    return 0;
}
