/* list.h - intrusive doubly linked list; a head is a link that points to itself when empty. */
#ifndef TURBO_LIST_H
#define TURBO_LIST_H

#include <stddef.h>

typedef struct turbo__list {
    struct turbo__list *next, *prev;
} turbo__list;

#define TURBO__CONTAINER(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

static inline void turbo__list_init(turbo__list *head) { head->next = head->prev = head; }

static inline int turbo__list_empty(const turbo__list *head) { return head->next == head; }

static inline void turbo__list_push_back(turbo__list *head, turbo__list *link) {
    link->prev = head->prev;
    link->next = head;
    head->prev->next = link;
    head->prev = link;
}

/* Takes a link out; it then points to itself, so that a second removal does nothing. */
static inline void turbo__list_remove(turbo__list *link) {
    link->prev->next = link->next;
    link->next->prev = link->prev;
    link->next = link->prev = link;
}

#endif
