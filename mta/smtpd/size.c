/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * How large a letter may be. EHLO tells the largest that the listener takes; some recipients take less,
 * since a rule or their home says so, and a letter that their home would refuse must not get our 250.
 * But DATA has one answer for all recipients, so:
 *
 *	the letter, as announced (SIZE=)		a recipient that takes less than it	552 at RCPT
 *	not announced, or so that it may be larger	one that takes as much as those before	250
 *							one that takes more or less		452 4.5.3
 *	came						larger than a rule lets them take	552
 *	came, with our Received				larger than their homes take		552
 *
 * 452 makes the client send them a letter of their own (RFC 5321 s4.5.3.1.10), and so a 552 after the
 * dot is true of each that it is said of. An announcement may be by a server that counts line ends as
 * one byte: what fits twice over is sure to fit, and needs no letter of its own.
 *
 * A mail program, other than a server, sends one letter and shows its user the reply: of who has logged in
 * all recipients stay together, and the least of what they take holds for the letter. The reply names who takes it.
 */
#include <stdio.h>
#include <string.h>

#include "session.h"

#define WHOSE_MAX 100 /* of an address, in a reply */

static const char too_large[] = "5.3.4 Letter is larger than this server takes";

/* 0 is no limit. */
static uint64_t least(uint64_t a, uint64_t b)
{
	return a && (!b || a < b) ? a : b;
}

uint64_t size_max(const struct session *s)
{
	return least(s->conf->size_max_bytes, s->t.cap.bytes);
}

struct reply size_refusal(const struct session *s)
{
	const struct transaction *t = &s->t;

	if (!t->cap.bytes || size_max(s) != t->cap.bytes)
		return (struct reply){ 552, too_large };
	return (struct reply){ 552, t->cap_is_ones ? t->cap_text : t->cap.text };
}

bool size_fits(const struct session *s)
{
	return !s->t.cap.home || s->t.body_total <= s->t.cap.home;
}

/* What sets the recipient apart from others; 0: nothing, any letter that is to be expected fits. */
static uint64_t apart(const struct session *s, uint64_t bytes)
{
	uint64_t declared = s->t.mail.size_bytes;

	if (s->conf->size_max_bytes && bytes >= s->conf->size_max_bytes)
		return 0;
	if (declared && bytes > RECEIVED_MAX && (bytes - RECEIVED_MAX) / 2 >= declared)
		return 0;
	return bytes;
}

bool session_rcpt_admits(const struct session *s, struct reply *r)
{
	const struct size_cap *asked = &s->t.asked_cap;

	if (asked->bytes && s->t.mail.size_bytes > asked->bytes)
		*r = (struct reply){ 552, asked->text };
	else if (s->t.rcpt_count && !s->auth_user[0] && apart(s, asked->bytes) != s->t.cap.apart)
		*r = (struct reply){ 452, "4.5.3 This recipient needs a letter of its own" };
	else
		return true;
	return false;
}

/* As he was asked for, which the client knows; nothing that is not plain text, and no more than a part. */
static void name_recipient(struct transaction *t)
{
	char whose[WHOSE_MAX + 4];

	snprintf(whose, sizeof(whose), "%.*s%s", WHOSE_MAX, t->asked.rcpt.text,
		 strlen(t->asked.rcpt.text) > WHOSE_MAX ? "..." : "");
	for (char *p = whose; *p; p++)
		if (*p < ' ' || *p > '~')
			*p = '?';
	snprintf(t->cap_text, sizeof(t->cap_text), "%s (for <%s>)", t->cap.text, whose);
}

void size_take(struct session *s)
{
	struct transaction *t = &s->t;

	uint64_t home = least(t->cap.home, t->asked_cap.home);

	t->cap_is_ones |= t->rcpt_commands && t->asked_cap.bytes != t->cap.bytes;
	if (t->asked_cap.bytes && (!t->cap.bytes || t->asked_cap.bytes < t->cap.bytes)) {
		t->cap = t->asked_cap;
		name_recipient(t);
	}
	t->cap.home = home;
	t->cap.apart = apart(s, t->asked_cap.bytes);
}

void session_rcpt_limit(struct session *s, uint64_t bytes, const char *text)
{
	struct size_cap *asked = &s->t.asked_cap;

	if (!text)
		asked->home = least(asked->home, bytes);
	if (!bytes || (asked->bytes && asked->bytes <= bytes))
		return;
	asked->bytes = bytes;
	snprintf(asked->text, sizeof(asked->text), "%s",
		 text ? text : "5.3.4 Letter is larger than this recipient takes");
}
