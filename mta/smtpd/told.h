/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SMTPD_TOLD_H
#define SMTPD_TOLD_H

/*
 * Theory: lines of the log that a stranger can cause. One network has a few in ten seconds, and all strangers
 * together have TOLD_PER_MINUTE. What is swallowed is counted by what it was about, and said in one line when the
 * minute is over.
 */

#include <stdbool.h>
#include <stdint.h>

#include "addr.h"
#include "log.h"
#include "loop.h"

#define TOLD_PER_MINUTE 300

enum told_what {
	TOLD_AWAY,    /* clients turned away */
	TOLD_TLS,     /* handshakes, certificates that were shown */
	TOLD_AUTH,    /* logins that failed */
	TOLD_REFUSED, /* recipients and letters */
	TOLD_SESSION, /* sessions that ended otherwise than by QUIT */
	TOLDS,
};

struct told {
	struct loop *loop;
	struct timer timer; /* while the minute lasts */
	struct log_limit each;
	uint32_t lines, swallowed[TOLDS];
};

void told_init(struct told *t, struct loop *l);
/**
 * told_may() - Write a line about a stranger now?
 * @client: a network's share counts too; NULL, and this machine itself: only that of all.
 */
bool told_may(struct told *t, enum told_what what, const struct addr *client);
/** told_summary() - The line about what was swallowed, if anything was; begins a new minute. */
void told_summary(struct told *t);

#endif
