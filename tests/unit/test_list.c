/* test_list.c - the intrusive list. */
#include "list.h"

#include <criterion/criterion.h>

TestSuite(list, .timeout = 5);

struct item {
    int value;
    turbo__list link;
};

static void expect_values(const turbo__list *head, const int *values, size_t count) {
    const turbo__list *at = head->next;
    for (size_t i = 0; i < count; i++, at = at->next) {
        cr_assert_neq(at, head);
        cr_expect_eq(TURBO__CONTAINER(at, struct item, link)->value, values[i]);
        cr_expect_eq(at->prev->next, at);
    }
    cr_expect_eq(at, head);
}

Test(list, new_one_is_empty) {
    turbo__list head;
    turbo__list_init(&head);
    cr_expect(turbo__list_empty(&head));
}

Test(list, keeps_order) {
    turbo__list head;
    struct item items[3] = {{.value = 1}, {.value = 2}, {.value = 3}};
    turbo__list_init(&head);
    for (int i = 0; i < 3; i++)
        turbo__list_push_back(&head, &items[i].link);
    cr_expect_not(turbo__list_empty(&head));
    expect_values(&head, (const int[]){1, 2, 3}, 3);
}

Test(list, takes_out_first_middle_and_last) {
    for (int gone = 0; gone < 3; gone++) {
        turbo__list head;
        struct item items[3] = {{.value = 0}, {.value = 1}, {.value = 2}};
        int left[2], count = 0;
        turbo__list_init(&head);
        for (int i = 0; i < 3; i++) {
            turbo__list_push_back(&head, &items[i].link);
            if (i != gone)
                left[count++] = i;
        }
        turbo__list_remove(&items[gone].link);
        expect_values(&head, left, 2);
    }
}

Test(list, second_removal_does_nothing) {
    turbo__list head;
    struct item items[2] = {{.value = 1}, {.value = 2}};
    turbo__list_init(&head);
    turbo__list_push_back(&head, &items[0].link);
    turbo__list_push_back(&head, &items[1].link);
    turbo__list_remove(&items[0].link);
    turbo__list_remove(&items[0].link);
    expect_values(&head, (const int[]){2}, 1);
    turbo__list_remove(&items[1].link);
    cr_expect(turbo__list_empty(&head));
}
