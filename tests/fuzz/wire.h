/* wire.h - a strict reader of the responses that a client got on one connection. */
#ifndef FUZZ_WIRE_H
#define FUZZ_WIRE_H

#include <stddef.h>
#include <stdint.h>

/* A message that the client sent, as the server told of it, and what it was answered. */
typedef struct wire_message {
    uint8_t has_head; /* its head was complete: the next three are known        */
    uint8_t is_head;  /* its method is HEAD                                     */
    uint8_t version;  /* 10 or 11                                               */
    uint8_t expects;  /* 100-continue                                           */
    uint8_t is_ours;  /* the target's own answer, whose body is known           */
    uint8_t is_ended; /* and complete                                           */
    uint8_t is_failed;
    uint8_t is_streamed;
    size_t written;   /* bytes of its body                                      */
} wire_message;

typedef struct wire_result {
    size_t begun;    /* responses whose head was complete, 100 not counted                        */
    size_t whole;    /* of these, those whose framing proves that the server has sent all of them */
    int is_closing;  /* the last one says that the connection ends, or ends with it               */
} wire_result;

/** Bytes of the body of answer `index`, from `offset`; at most WIRE_BODY_MAX of them may be read. */
#define WIRE_BODY_MAX 40000
const char *wire_body(size_t index, size_t offset);

/** Check every response, the last of which may be cut off; aborts when one is not as it must be. */
wire_result wire_check(const char *data, size_t len, const wire_message *messages, size_t count);

#endif
