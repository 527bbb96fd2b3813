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
 *
 * smtpd asks at MAIL and RCPT, the queue asks again for the route at each try, and `postern mail
 * explain` asks what either would say: all by these functions. A rule says nothing at MAIL if it, or
 * one before it that may decide instead, has a condition on the recipient.
 *
 * A rule about letters larger than some size decides as soon as the size is known to be larger. Until the
 * letter is there nobody knows it to be smaller: the rule is passed over, and its size is a limit on the
 * letter, rule_verdict.size_max_bytes.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "address.h"
#include "bundle.h"
#include "config.h"

struct rule_facts {
	const struct mta_listener *listener;
	struct addr client;
	const char *peer; /* verified tunnel peer, or NULL */
	const char *user; /* authenticated, or NULL */
	const char
	    *helo; /* as given; of a letter of a Postern peer what that peer was given; or NULL */
	bool tls;
	const struct address *sender;
	uint64_t size_bytes; /* as announced; 0: not */
};

enum rule_way {
	RULE_REFUSED,
	RULE_LATER,
	RULE_OURS,  /* if the recipient exists: ask lookup */
	RULE_RELAY, /* onward by a route */
};

/* What the decision rests on. */
enum rule_ground {
	GROUND_RULE,	     /* verdict.rule */
	GROUND_OURS,	     /* no rule; the recipient is ours */
	GROUND_CLASS,	     /* no rule; the class of the listener lets it through, or does not */
	GROUND_SENDER_FREE,  /* at MAIL: nothing speaks against the sender */
	GROUND_TENANT,	     /* a sender that is not in the domains of the home it comes from */
	GROUND_ROUTED_LOCAL, /* user%domain@, from the internet */
	GROUND_NO_ROUTE,
};

struct rule_verdict {
	enum rule_way way;
	enum rule_ground ground;
	uint16_t code;		     /* when refused or later */
	char text[256];		     /* with its enhanced code */
	const struct mta_rule *rule; /* that decided, or NULL: the class */
	uint64_t size_max_bytes;     /* at RCPT: what a larger letter is refused for; 0: nothing */
	const struct mta_rule *size_rule; /* by which; ruleset_text() says what is told */
};

/* In the order in which they are asked. */
enum rule_condition {
	CONDITION_NONE,
	CONDITION_LISTENERS,
	CONDITION_CLIENTS,
	CONDITION_PEERS,
	CONDITION_AUTHENTICATED,
	CONDITION_TLS,
	CONDITION_HELO,
	CONDITION_SENDERS,
	CONDITION_RECIPIENTS,
	CONDITION_SIZE, /* nothing else speaks against the rule */
};

/* What matched, for those who want to know. Texts live as long as the configuration. */
struct rule_hit {
	const struct prefix *client;
	const char *helo, *sender, *recipient;
};

/** ruleset_sender() - May this sender stand in MAIL here? Way RULE_RELAY means yes. */
void ruleset_sender(const struct mta_config *c, const struct rule_facts *f, struct rule_verdict *v);
/** ruleset_rcpt() - And this recipient? */
void ruleset_rcpt(const struct mta_config *c, const struct rule_facts *f,
		  const struct address *rcpt, struct rule_verdict *v);
/**
 * ruleset_fails() - The first condition of @r that does not hold; CONDITION_NONE: the rule decides.
 * @rcpt: NULL at MAIL. @hit: filled as far as conditions held; may be NULL.
 */
enum rule_condition ruleset_fails(const struct mta_rule *r, const struct rule_facts *f,
				  const struct address *rcpt, struct rule_hit *hit);
/** ruleset_text() - What a rule that does not accept says, its enhanced code first. */
const char *ruleset_text(const struct mta_rule *r, char *out, size_t cap);
/** ruleset_names_listener() - Is @l among the listeners of @r, by its name or by its class? */
bool ruleset_names_listener(const struct mta_rule *r, const struct mta_listener *l);
/** ruleset_home_sends() - Is @a within the domains of this tenant? */
bool ruleset_home_sends(const struct mta_home *h, const struct address *a);
/** ruleset_is_ours() - Local part and domain that are delivered here or belong to a home. */
bool ruleset_is_ours(const struct mta_config *c, const struct address *a);
/** ruleset_enhanced() - Does @text begin with an enhanced status code and a blank ("5.7.1 No")? */
bool ruleset_enhanced(const char *text);

/**
 * ruleset_load() - Read the tables that the rules name.
 * @c: its rules are filled; nothing else of it changes. @b: NULL: forget them.
 *
 * Includes ruleset_check(), since a table may open what the file itself does not. Returns 0, or -errno
 * with @why "FILE:LINE: ..."; the rules of @c are then not to be used.
 */
int ruleset_load(struct mta_config *c, const struct bundle *b, char *why, size_t cap);
/**
 * ruleset_check() - Does the configuration relay for anybody to anywhere?
 * @line: of the section at fault, 0: a preset. @why: filled with what it is and what to write.
 * Returns 0 or -EPERM.
 */
int ruleset_check(const struct mta_config *c, unsigned *line, char *why, size_t cap);

#endif
