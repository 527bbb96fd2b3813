/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_RELAY_ASKER_H
#define MTA_RELAY_ASKER_H

/*
 * Theory: the asking side of hop/story.h. The queue says whom to ask what, and how long it waits; each question
 * has a connection of its own, by the route as letters go, so no letter waits behind it.
 *
 *	MSG_R_TRACE --> connection --READY--> XTRACE --lines, 250--> MSG_R_TRACED 250
 *			    \__ ends before, or time is over ______> MSG_R_TRACED 0, why
 *
 * What was answered goes to the queue as it came: there it is read.
 */

#include "ipc.h"
#include "reply.h"

#define ASKER_QUESTIONS_MAX 32

struct relay;
struct conn;

/** asker_ask() - A question of the queue. */
void asker_ask(struct relay *r, const struct ipc_msg *m);
/** asker_ready() - The connection of a question takes a command: ask, or QUIT. */
void asker_ready(struct conn *c);
/** asker_line() - A line of the answer. */
void asker_line(struct conn *c, const char *line);
/** asker_answer() - Its end, or a refusal. */
void asker_answer(struct conn *c, const struct reply *r);
/** asker_ended() - Its connection is no more. */
void asker_ended(struct conn *c, const char *why);

#endif
