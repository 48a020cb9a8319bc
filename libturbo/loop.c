/* loop.c - a uv loop with its members. */
#include "loop.h"

#include <errno.h>

#include "os/os.h"
#include "turbo/error.h"

int turbo__loop_error(int uv_code) { return uv_code >= 0 ? 0 : turbo__os_error(-uv_code); }

const char *turbo__loop_cause(char *text, size_t size, int system_error, int rc) {
    if (system_error == 0)
        return turbo_strerror(rc);
    return uv_strerror_r(-system_error, text, size);
}

static void on_idle(uv_idle_t *idle) { (void)idle; }

/* Turns may make members leave, so the count is read each time. */
static int take_turns(turbo__loop *loop) {
    int more = 0;
    for (uint32_t i = 0; i < loop->member_count;) {
        turbo__member *member = loop->members[i];
        more |= member->turn(member->self);
        if (i < loop->member_count && loop->members[i] == member)
            i++;
    }
    return more;
}

static void disarm_all(turbo__loop *loop) {
    for (uint32_t i = 0; i < loop->member_count; i++)
        turbo__mailbox_disarm(loop->members[i]->box);
}

/* @return 1 when the loop may block; else every mailbox is awake. */
static int arm_all(turbo__loop *loop) {
    for (uint32_t i = 0; i < loop->member_count; i++) {
        if (!turbo__mailbox_arm(loop->members[i]->box)) {
            disarm_all(loop);
            return 0;
        }
    }
    return 1;
}

static void on_prepare(uv_prepare_t *prepare) {
    turbo__loop *loop = prepare->data;
    if (loop->driven)
        return;
    if (take_turns(loop) || !arm_all(loop))
        uv_idle_start(&loop->idle, on_idle);
    else
        uv_idle_stop(&loop->idle);
}

static void on_check(uv_check_t *check) {
    turbo__loop *loop = check->data;
    if (!loop->driven)
        disarm_all(loop);
}

/* A loop takes four descriptors, the first one of a process six. When libuv (1.44) cannot have them it leaves one open,
 * or, for the pipe of the first loop, calls abort(): look first whether it can. */
#define LOOP_FDS 6

static int can_open_fds(void) {
    int fds[LOOP_FDS], count = 0, rc = 0;
    while (count < LOOP_FDS && (rc = turbo__os_event_open(&fds[count])) == 0)
        count++;
    while (count > 0)
        turbo__os_event_close(fds[--count]);
    return rc;
}

int turbo__loop_open(turbo__loop *loop, int driven) {
    int rc = can_open_fds();
    if (rc < 0)
        return rc;
    if ((rc = uv_loop_init(&loop->uv)) < 0)
        return turbo__loop_error(rc);
    loop->open = 1;
    loop->driven = driven != 0;
    uv_prepare_init(&loop->uv, &loop->prepare);
    uv_check_init(&loop->uv, &loop->check);
    uv_idle_init(&loop->uv, &loop->idle);
    loop->prepare.data = loop->check.data = loop->idle.data = loop;
    uv_prepare_start(&loop->prepare, on_prepare);
    uv_check_start(&loop->check, on_check);
    return 0;
}

/* The wake-up has done its work by ending the block; the disarm that follows reads the descriptor. */
static void on_wake(uv_poll_t *watch, int status, int events) {
    (void)watch;
    (void)status;
    (void)events;
}

int turbo__loop_join(turbo__loop *loop, turbo__member *member) {
    int rc = uv_poll_init(&loop->uv, &member->watch, member->box->fd);
    if (rc == 0)
        rc = uv_poll_start(&member->watch, UV_READABLE, on_wake);
    if (rc < 0)
        return turbo__loop_error(rc);
    loop->members[loop->member_count++] = member;
    return 0;
}

static void close_own_handles(turbo__loop *loop) {
    if (loop->sealed)
        return;
    loop->sealed = 1;
    uv_close((uv_handle_t *)&loop->prepare, NULL);
    uv_close((uv_handle_t *)&loop->check, NULL);
    uv_close((uv_handle_t *)&loop->idle, NULL);
}

void turbo__loop_leave(turbo__loop *loop, turbo__member *member) {
    for (uint32_t i = 0; i < loop->member_count; i++) {
        if (loop->members[i] != member)
            continue;
        for (loop->member_count--; i < loop->member_count; i++)
            loop->members[i] = loop->members[i + 1];
        uv_close((uv_handle_t *)&member->watch, NULL);
    }
    if (loop->member_count == 0)
        close_own_handles(loop);
}

void turbo__loop_run(turbo__loop *loop) { uv_run(&loop->uv, UV_RUN_DEFAULT); }

int turbo__loop_poll(turbo__loop *loop) {
    disarm_all(loop);
    uv_run(&loop->uv, UV_RUN_NOWAIT);
    if (take_turns(loop))
        return 1;
    /* Handles that close, or that the turn made active, want another pass before the host may sleep. */
    if (uv_loop_alive(&loop->uv) && uv_backend_timeout(&loop->uv) == 0)
        return 1;
    return !arm_all(loop);
}

int turbo__loop_timeout_ms(turbo__loop *loop) {
    uv_update_time(&loop->uv);
    return uv_backend_timeout(&loop->uv);
}

void turbo__loop_free(turbo__loop *loop) {
    if (!loop->open)
        return;
    if (!loop->sealed) { /* never ran: the handles of members and our own still have to be closed */
        while (loop->member_count > 0)
            turbo__loop_leave(loop, loop->members[0]);
        close_own_handles(loop);
    }
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    uv_loop_close(&loop->uv);
    loop->open = 0;
}
