/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SMTPD_EXPLAIN_H
#define SMTPD_EXPLAIN_H

/*
 * Theory: `postern mail explain --would FROM IP RCPT` asks what a session would answer, and why. The
 * answer comes from the functions that answer sessions: the listener's conf and session_admits(),
 * ruleset_sender() and ruleset_rcpt(), lookup, and route_choose() for the way out. Asked of the running
 * smtpd it is of the configuration in force; asked of `postern-mta --explain`, of a file.
 *
 *	explain_begin() --> needs lookup? --yes--> lookup_rcpt() --> explain_recipient() --> the answer
 *	                         \--no--------------------------------------------------> the answer
 */

#include <jansson.h>
#include <stdbool.h>

#include "config.h"
#include "limit.h"
#include "lookup/lookup.h"
#include "ruleset.h"
#include "tunnel.h"

struct explain {
	const struct mta_config *c;
	struct rule_facts f;
	struct address sender, rcpt;
	char peer[MTA_NAME_MAX], user[256], helo[256];
	char mailbox[LOOKUP_ADDRESS_MAX]; /* of the recipient, as lookup says */
	bool ask; /* lookup has to say whether the recipient exists */
	json_t *answer;
	json_t *why; /* of the answer: sentences, in the order of the decision */
};

/**
 * explain_begin() - Judge MAIL and RCPT.
 * @args: from, to, client; may have listener (name or class), peer, user, helo, tls.
 * @t: who the tunnel's peers are; may be empty.
 *
 * Returns 0: x->answer stands (owned by the caller), complete unless x->ask. -EINVAL with @why: the
 * question cannot be asked.
 */
int explain_begin(struct explain *x, const struct mta_config *c, const struct tunnel_table *t,
		  const json_t *args, char *why, size_t cap);
/** explain_recipient() - What lookup says; completes the answer. */
void explain_recipient(struct explain *x, const struct lookup_rcpt *a);

/**
 * explain_limits() - Of an answer that is complete: what the letter is counted by.
 * @now: smtpd's; a limit that is used up makes the answer 450. NULL: not known.
 */
void explain_limits(struct explain *x, struct limit *now, uint64_t now_ms);

/** explain_file() - `postern-mta --explain`: the same of a file that is not in force. 0 or 1. */
int explain_file(const char *path, const char *args);

#endif
