/* media_type.h - the ends of file names -> media types. */
#ifndef TURBO_MEDIA_TYPE_INTERNAL_H
#define TURBO_MEDIA_TYPE_INTERNAL_H

#include "turbo/types.h"

/** The media type of a file's name, by what follows the last '.' behind the last '/', without regard to case.
 *  @return "application/octet-stream" when it is not known. */
const char *turbo__media_type(turbo_str name);

#endif
