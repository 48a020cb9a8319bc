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

/** Answer in the place of a handler that takes too long. It goes on being in flight until it answers too, or lets go of the
 *  request. @return 0; TURBO_ESTATE when there is an answer already. Thread: the shard. */
int turbo__answer_overdue(turbo_request *req);

/** The last reference to such a request goes, and its handler has not answered. Thread: any. */
void turbo__answer_forgotten(turbo_request *req);

/** Do what turbo_request_fail() does for one whose handler has failed, and say so in the log, at most once a second a server.
 *  @param what  "the handler returned", for example, and rc follows. Thread: whoever ran the handler, with a reference. */
void turbo__answer_failed(turbo_request *req, const char *what, int rc);

/** The same where there is none to run. */
void turbo__answer_no_handler(turbo_request *req);

#endif
