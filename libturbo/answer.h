/* answer.h - from a handler's answer to the loop that sends it. */
#ifndef TURBO_ANSWER_H
#define TURBO_ANSWER_H

#include "request.h"

/** Answer with a status; its reason phrase, and a few words more unless reason is NULL, are the text.
 *  @return 0; TURBO_ESTATE when there is an answer already. */
int turbo__answer_status(turbo_request *req, int32_t status, const char *reason);

/**
 * Answer a request that is not run because there is too much to do: the route's shed_status and Retry-After. It counts as
 * shed.
 *
 * @return 0; TURBO_ESTATE when there is an answer already. Thread: any, before a handler has it.
 */
int turbo__answer_shed(turbo_request *req);

#endif
