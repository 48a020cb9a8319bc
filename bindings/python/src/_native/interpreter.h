/* interpreter.h - turbo._native.run_interpreter(): a shard's thread becomes that of an interpreter of its own. */
#ifndef TURBOPY_INTERPRETER_H
#define TURBOPY_INTERPRETER_H

#include "compat.h"

#define TURBOPY_INTERPRETERS (PY_VERSION_HEX >= 0x030D0000) /* 3.12 corrupts its heap when one that has imported asyncio ends */

/**
 * run_interpreter(server, job): make an interpreter with its own GIL on the calling thread, call turbo.inside.main(joined, job) in
 * it, and end it, after the last of its threads.
 *
 * job is JSON, an object whose "path" becomes sys.path. joined is server as an object of that interpreter, or None. The GIL
 * of the caller's is released meanwhile.
 *
 * @return what main() has returned, None or str; what it raises comes as a str with the traceback.
 */
PyObject *turbopy_interpreter_run(PyObject *module, PyObject *args);

#endif
