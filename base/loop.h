/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BASE_LOOP_H
#define BASE_LOOP_H

/*
 * Theory: one reactor a process: descriptors (level-triggered epoll), timers, signals. Callbacks
 * run on the thread that called loop_run() and may add and remove anything, themselves included.
 */

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "clock.h"

struct loop;

/* Embedded in its owner; the owner closes the descriptor after loop_del(). */
struct loop_fd {
	int fd;
	uint32_t events; /* EPOLLIN, EPOLLOUT as asked for; set by loop_add and loop_mod */
	bool added;
	void (*ready)(struct loop_fd *lf, uint32_t events); /* EPOLLIN|OUT|HUP|ERR as they came */
	void *arg;
};

/** loop_new() - NULL and errno on failure. */
struct loop *loop_new(void);
void loop_free(struct loop *l);
/** loop_add() - Watch @lf->fd; 0 or -errno. @lf stays the caller's and must not move. */
int loop_add(struct loop *l, struct loop_fd *lf, uint32_t events);
int loop_mod(struct loop *l, struct loop_fd *lf, uint32_t events);
void loop_del(struct loop *l, struct loop_fd *lf);
struct timers *loop_timers(struct loop *l);
/** loop_now_ms() - CLOCK_BOOTTIME read once per turn; what all callbacks of a turn see. */
uint64_t loop_now_ms(const struct loop *l);
/**
 * loop_signal() - Block @signo and call @fn from the loop when it comes; 0 or -errno.
 * SIGCHLD, SIGHUP, SIGTERM and so on; at most 8 different ones.
 */
int loop_signal(struct loop *l, int signo, void (*fn)(int signo, void *arg), void *arg);
/**
 * loop_on_wake() - Call @fn, before all else of that turn, when the machine has slept for a second or more. The kernel
 * wakes the loop for it: timers alone would notice when what was left of their wait is over. Once a loop;
 * 0 or -errno.
 */
int loop_on_wake(struct loop *l, void (*fn)(uint64_t slept_ms, void *arg), void *arg);
/** loop_run() - Until loop_stop(); 0, or -errno when the poll itself fails. */
int loop_run(struct loop *l);
/** loop_once() - One turn that waits at most @max_wait_ms (-1: for ever); 0 or -errno. */
int loop_once(struct loop *l, int max_wait_ms);
void loop_stop(struct loop *l);

#endif
