/* test_loop.c - a uv loop, its members, and who wakes it. */
#include "loop.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

#include "../support/await.h"
#include "turbo/error.h"

TestSuite(loop, .timeout = 30);

/* A member that counts its turns and takes its mail. */
typedef struct walker {
    turbo__loop *loop;
    turbo__member member;
    turbo__mailbox box;
    atomic_uint turns, mails;
    atomic_uint leave;  /* leave at the next turn                  */
    unsigned more_left; /* turns that say that there is more to do */
} walker;

static int turn(void *self) {
    walker *w = self;
    atomic_fetch_add(&w->turns, 1);
    for (turbo__mail *mail = turbo__mailbox_take(&w->box); mail != NULL; mail = mail->next)
        atomic_fetch_add(&w->mails, 1);
    if (atomic_load(&w->leave)) {
        turbo__loop_leave(w->loop, &w->member);
        return 0;
    }
    return w->more_left > 0 && w->more_left-- > 0;
}

static void join(walker *w, turbo__loop *loop) {
    cr_assert_eq(turbo__mailbox_open(&w->box), 0);
    w->loop = loop;
    w->member = (turbo__member){.turn = turn, .self = w, .box = &w->box};
    cr_assert_eq(turbo__loop_join(loop, &w->member), 0);
}

static void end(walker *w) {
    atomic_store(&w->leave, 1);
    turbo__mailbox_poke(&w->box);
}

static void *run(void *loop) {
    turbo__loop_run(loop);
    return NULL;
}

Test(loop, runs_turns_for_mail_and_ends_when_the_last_member_has_left) {
    turbo__loop loop = {0};
    walker a = {0}, b = {0};
    turbo__mail mails[2] = {{0}, {0}};
    pthread_t thread;
    cr_assert_eq(turbo__loop_open(&loop, 0), 0);
    join(&a, &loop);
    join(&b, &loop);
    cr_assert_eq(pthread_create(&thread, NULL, run, &loop), 0);
    (void)turbo__mailbox_push_one(&a.box, &mails[0]);
    (void)turbo__mailbox_push_one(&b.box, &mails[1]);
    AWAIT(a.mails == 1 && b.mails == 1);
    end(&a);
    AWAIT(a.box.armed == 0 && atomic_load(&a.leave) == 1);
    unsigned before = b.turns;
    turbo__mailbox_poke(&b.box);
    AWAIT(b.turns > before);
    end(&b);
    pthread_join(thread, NULL);
    cr_expect_eq(loop.member_count, 0);
    turbo__loop_free(&loop);
    cr_expect_not(loop.open);
    turbo__mailbox_free(&a.box);
    turbo__mailbox_free(&b.box);
}

Test(loop, a_turn_that_has_more_to_do_comes_back_without_a_wakeup) {
    turbo__loop loop = {0};
    walker w = {.more_left = 50};
    pthread_t thread;
    cr_assert_eq(turbo__loop_open(&loop, 0), 0);
    join(&w, &loop);
    cr_assert_eq(pthread_create(&thread, NULL, run, &loop), 0);
    AWAIT(w.turns >= 51);
    end(&w);
    pthread_join(thread, NULL);
    cr_expect_leq(w.box.wakeups, 1);
    turbo__loop_free(&loop);
    turbo__mailbox_free(&w.box);
}

Test(loop, an_idle_loop_takes_no_turns) {
    turbo__loop loop = {0};
    walker w = {0};
    pthread_t thread;
    cr_assert_eq(turbo__loop_open(&loop, 0), 0);
    join(&w, &loop);
    cr_assert_eq(pthread_create(&thread, NULL, run, &loop), 0);
    AWAIT(atomic_load(&w.box.sleeping) == 1);
    unsigned turns = w.turns;
    for (int i = 0; i < 50; i++)
        (void)await_longer(UINT64_MAX);
    cr_expect_eq(w.turns, turns);
    end(&w);
    pthread_join(thread, NULL);
    turbo__loop_free(&loop);
    turbo__mailbox_free(&w.box);
}

Test(loop, driven_loop_never_blocks_and_says_when_to_come_back) {
    turbo__loop loop = {0};
    walker w = {.more_left = 1};
    turbo__mail mail = {0};
    cr_assert_eq(turbo__loop_open(&loop, 1), 0);
    join(&w, &loop);
    cr_expect_eq(turbo__loop_poll(&loop), 1, "the turn said that there is more");
    AWAIT(turbo__loop_poll(&loop) == 0);
    cr_expect_eq(w.box.sleeping, 1, "armed: the host may sleep");
    cr_expect_eq(turbo__loop_timeout_ms(&loop), -1);
    (void)turbo__mailbox_push_one(&w.box, &mail);
    cr_expect_eq(w.box.sleeping, 0);
    AWAIT(turbo__loop_poll(&loop) == 0);
    cr_expect_eq(w.mails, 1);
    atomic_store(&w.leave, 1);
    (void)turbo__loop_poll(&loop);
    AWAIT(turbo__loop_poll(&loop) == 0);
    cr_expect_not(uv_loop_alive(&loop.uv));
    turbo__loop_free(&loop);
    turbo__mailbox_free(&w.box);
}

static void on_timer(uv_timer_t *timer) { *(int *)timer->data += 1; }

Test(loop, driven_loops_timeout_is_that_of_its_first_timer) {
    turbo__loop loop = {0};
    uv_timer_t timer;
    int calls = 0;
    cr_assert_eq(turbo__loop_open(&loop, 1), 0);
    uv_timer_init(&loop.uv, &timer);
    timer.data = &calls;
    (void)turbo__loop_poll(&loop); /* what was just opened wants a first pass */
    uv_update_time(&loop.uv);
    uv_timer_start(&timer, on_timer, 100000, 0);
    int ms = turbo__loop_timeout_ms(&loop);
    cr_expect(ms > 0 && ms <= 100000, "%d", ms);
    uv_timer_start(&timer, on_timer, 0, 0);
    cr_expect_eq(turbo__loop_timeout_ms(&loop), 0);
    AWAIT(turbo__loop_poll(&loop) >= 0 && calls == 1);
    uv_close((uv_handle_t *)&timer, NULL);
    turbo__loop_free(&loop);
}

Test(loop, free_closes_a_loop_that_never_ran_and_takes_an_empty_one) {
    turbo__loop loop = {0}, zero = {0};
    walker w = {0};
    cr_assert_eq(turbo__loop_open(&loop, 0), 0);
    join(&w, &loop);
    turbo__loop_free(&loop);
    cr_expect_not(loop.open);
    cr_expect_eq(w.turns, 0);
    turbo__mailbox_free(&w.box);
    turbo__loop_free(&zero);
}

Test(loop, errors_of_libuv_become_ours) {
    cr_expect_eq(turbo__loop_error(0), 0);
    cr_expect_eq(turbo__loop_error(UV_EMFILE), TURBO_EMFILE);
    cr_expect_eq(turbo__loop_error(UV_ENOMEM), TURBO_ENOMEM);
    cr_expect_eq(turbo__loop_error(UV_EBADF), TURBO_ESYS);
}

static int lowest_fd(void) {
    int fd = dup(0);
    close(fd);
    return fd;
}

/* libuv itself calls abort() when the first loop of a process has no descriptors for its pipe, and leaves one open when
 * it fails behind it. */
Test(loop, open_without_descriptors_fails_and_leaves_none_open) {
    struct rlimit old, limit;
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
    int first = lowest_fd(), opened = 0;
    for (int room = 0; !opened; room++) {
        turbo__loop loop = {0};
        cr_assert_lt(room, 20);
        limit = old;
        limit.rlim_cur = (rlim_t)(first + room);
        cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
        int rc = turbo__loop_open(&loop, 0);
        cr_assert_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
        opened = rc == 0;
        cr_assert(opened || rc == TURBO_EMFILE, "room for %d: %d", room, rc);
        cr_expect(opened || !loop.open);
        cr_expect(opened || lowest_fd() == first, "room for %d: something is still open", room);
        turbo__loop_free(&loop);
    }
}
