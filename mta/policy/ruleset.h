/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef POLICY_RULESET_H
#define POLICY_RULESET_H

/*
 * Theory: may this client send to this recipient? The [rule] sections are asked in the order of the
 * file and the first whose every written condition holds decides. When none does, the class of the
 * listener decides, and each class lets through only what it is for:
 *
 *	mx		recipients that are ours: delivered here, or a home's
 *	submission(s)	anything, for a user who has logged in
 *	tunnel		recipients that are ours; from a home, anything, with a sender of its domains
 *	lan		recipients that are ours; from its networks, anything
 *
 * All else is refused, so that nobody relays who was not named. ruleset_check() refuses a
 * configuration in which "anybody" was named.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "address.h"
#include "config.h"

struct rule_facts {
	const struct mta_listener *listener;
	struct addr client;
	const char *peer; /* verified tunnel peer, or NULL */
	const char *user; /* authenticated, or NULL */
	bool tls;
	const struct address *sender;
};

enum rule_way {
	RULE_REFUSED,
	RULE_LATER,
	RULE_OURS,  /* if the recipient exists: ask lookup */
	RULE_RELAY, /* onward by a route */
};

struct rule_verdict {
	enum rule_way way;
	uint16_t code;		     /* when refused or later */
	char text[256];		     /* with its enhanced code */
	const struct mta_rule *rule; /* that decided, or NULL: the class */
};

/** ruleset_sender() - May this sender stand in MAIL here? Way RULE_RELAY means yes. */
void ruleset_sender(const struct mta_config *c, const struct rule_facts *f, struct rule_verdict *v);
/** ruleset_rcpt() - And this recipient? */
void ruleset_rcpt(const struct mta_config *c, const struct rule_facts *f,
		  const struct address *rcpt, struct rule_verdict *v);
/** ruleset_home_sends() - Is @a within the domains of this tenant? */
bool ruleset_home_sends(const struct mta_home *h, const struct address *a);
/**
 * ruleset_match() - Does @a match one of @patterns: "user@domain", "@domain", "domain" or "<>"?
 * Domains in any case of letters; "@.domain" means every subdomain.
 */
bool ruleset_match(const struct strv *patterns, const struct address *a);
/** ruleset_is_ours() - Local part and domain that are delivered here or belong to a home. */
bool ruleset_is_ours(const struct mta_config *c, const struct address *a);

/**
 * ruleset_check() - Does the configuration relay for anybody to anywhere?
 * @why: filled with the section at fault and what to write.
 * Returns 0 or -EPERM.
 */
int ruleset_check(const struct mta_config *c, char *why, size_t cap);

#endif
