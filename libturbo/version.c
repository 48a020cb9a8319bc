/* version.c - the version numbers of the library that runs. */
#include "turbo/version.h"

int turbo_version(void) { return TURBO_VERSION_NUMBER; }

const char *turbo_version_string(void) { return TURBO_VERSION_STRING; }
