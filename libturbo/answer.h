/* answer.h - from a handler's answer to the loop that sends it. */
#ifndef TURBO_ANSWER_H
#define TURBO_ANSWER_H

#include "request.h"

/** Answer with a status and its reason phrase as text. @return 0; TURBO_ESTATE when there is an answer already. */
int turbo__answer_status(turbo_request *req, int32_t status);

/** A handler failed: 500, or the end of the connection when the answer has begun. Nothing when it has ended. */
void turbo__answer_failed(turbo_request *req);

#endif
