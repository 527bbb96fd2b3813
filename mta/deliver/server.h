/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_DELIVER_SERVER_H
#define MTA_DELIVER_SERVER_H

/*
 * Theory: a small root process. A request is checked, its recipient resolved, and then a child is
 * forked that becomes that user for good before it touches a file; it tells the outcome by its exit
 * status and a line on a pipe. Root itself opens nothing of a user's. Whatever goes wrong with us is
 * "later": what comes after an error of ours must not be a bounce.
 *
 * A home on a server that does not answer must not hold up the others' mail. A mailbox has two children at
 * most; when both hang, what waits for it is put off at once, and they take nobody's place any
 * more. Many mailboxes may be one user's, whose own bounds are wider: a disk of his that hangs as a whole
 * holds up him alone. A child in the kernel's hands may outlive its SIGKILL: its letter is put off all
 * the same.
 */

#include "delivery.h"
#include "log.h"
#include "loop.h"

#define CLIENTS_MAX 8
#define WAITING_MAX 256
#define WAITING_BOX 64 /* of them for one mailbox */

struct client {
	struct server *server;
	struct loop_fd lf;
	bool open;
	uint32_t generation;
};

struct work {
	struct server *server;
	struct work *next;
	struct client *client;
	uint32_t generation; /* of the client, when it asked */
	struct deliver_request request;
	struct mailbox mailbox;
	int body;
	pid_t pid;
	uint64_t started_ms;
	bool answered;
	struct loop_fd pipe; /* what the child says; open while .added */
	struct loop_fd exit; /* a pidfd */
	struct timer limit;
	char text[DELIVER_TEXT_MAX + 1];
};

struct server {
	struct loop *loop;
	const char *path; /* of mta.conf */
	struct mta_config *config;
	struct table users;
	uint64_t users_sum; /* of its file, when it was read */
	uid_t asker;
	struct loop_fd listen;
	struct log_limit quiet; /* of those who may not ask */
	struct client clients[CLIENTS_MAX];
	struct work *waiting, **waiting_tail;
	struct work *running;
	size_t waiting_count;
	struct timer look; /* while something waits */
};

/** work_add() - Takes @w, whose request is checked and whose mailbox is known; too many wait: put off. */
void work_add(struct server *s, struct work *w);
/** work_refuse() - Answer and free @w, which was never added. @code: an enhanced one; NULL: later. */
void work_refuse(struct work *w, const char *code, const char *why);
/** work_init() - Of the server's lists. */
void work_init(struct server *s);

#endif
