/* turbo.h - everything that is stable: HTTP by loop sharding. See docs/ for the guide. */
#ifndef TURBO_H
#define TURBO_H

#include "turbo/error.h"
#include "turbo/executor.h"
#include "turbo/export.h"
#include "turbo/file.h"
#include "turbo/log.h"
#include "turbo/options.h"
#include "turbo/request.h"
#include "turbo/response.h"
#include "turbo/route.h"
#include "turbo/server.h"
#include "turbo/stats.h"
#include "turbo/types.h"
#include "turbo/version.h"

#endif
