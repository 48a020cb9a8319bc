/* settings.h - the table of settings as Python sees it, and setting values from Python objects. */
#ifndef TURBOPY_SETTINGS_H
#define TURBOPY_SETTINGS_H

#include <turbo/options.h>
#include <turbo/route.h>

#include "state.h"

/** turbo.Setting, a named tuple. */
PyObject *turbopy_setting_type_new(void);

/** settings(): a tuple of turbo.Setting, in the order of the library's table. */
PyObject *turbopy_settings(turbopy_state *st);

/** Set every item of a dict of name to int or str. @return 0; -1 with ValueError or TypeError that name the setting. */
int turbopy_settings_apply(turbo_options *options, PyObject *values);

/** The same for the options of a route. */
int turbopy_settings_apply_route(turbo_route_options *options, PyObject *values);

#endif
