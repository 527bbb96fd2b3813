/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a session asks, answered from the configuration in force now (a reload counts from the next
 * question on), from lookup, and from what the queue said last.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "match.h"
#include "ruleset.h"
#include "smtpd.h"

const struct mta_listener *answers_listener(const struct conn *c)
{
	const struct mta_config *cfg = c->d->ch->config;

	for (size_t i = 0; i < cfg->listener_count; i++) {
		if (!strcmp(cfg->listeners[i].name, c->listener) &&
		    cfg->listeners[i].class == c->class)
			return &cfg->listeners[i];
	}
	return NULL;
}

static uint64_t now(const struct conn *c)
{
	return loop_now_ms(c->d->ch->loop);
}

static const struct mta_home *home_of(const struct conn *c)
{
	return c->peer[0] ? config_home_by_peer(c->d->ch->config, c->peer) : NULL;
}

static struct rule_facts facts(const struct conn *c, const struct mta_listener *l,
			       const struct address *sender)
{
	return (struct rule_facts){
		.listener = l,
		.client = c->client,
		.peer = c->peer[0] ? c->peer : NULL,
		.user = c->s.auth_user[0] ? c->s.auth_user : NULL,
		.tls = c->s.tls[0],
		.sender = sender,
	};
}

static bool refuse(struct reply *r, uint16_t code, const char *text)
{
	r->code = code;
	r->text = text;
	return false;
}

/* One of "a@d", "@d", "*" that lookup gave for the login. */
static bool user_may(const struct conn *c, const struct address *a)
{
	for (size_t i = 0; i < c->s.sender_count; i++) {
		char *pattern = c->s.senders[i];
		struct strv one = { .v = &pattern, .count = 1 };

		if (!strcmp(pattern, "*") || match_address_words(&one, a))
			return true;
	}
	return false;
}

static bool pinned(const struct conn *c, const struct mta_home *h)
{
	struct tls_pin have, want;

	if (!c->tls || tls_peer_pin(c->tls, &have))
		return false;
	for (size_t i = 0; i < h->tls_pins.count; i++) {
		if (!pin_parse(h->tls_pins.v[i], want.sha256) &&
		    !memcmp(have.sha256, want.sha256, TLS_PIN_LEN))
			return true;
	}
	return false;
}

static bool may_mail(void *arg, struct session *s, const struct command_mail *m, struct reply *r)
{
	static struct rule_verdict v; /* the reply is used up before the next question */
	struct conn *c = arg;
	struct smtpd *d = c->d;
	const struct mta_listener *l = answers_listener(c);
	const struct mta_home *home = home_of(c);
	struct rule_facts f;

	if (!l)
		return refuse(r, 451, "4.3.2 This listener is no more, connect again");
	if (d->relays_for_all)
		return refuse(r, 451, "4.3.5 The configuration of this server is at fault");
	if (!d->queue || !d->accepting)
		return refuse(r, d->state_code ? d->state_code : 451,
			      d->state_text[0] ? d->state_text
					       : "4.3.0 Queue is starting, try again");
	if (m->size_bytes > d->room_bytes)
		return refuse(r, 452, "4.3.1 Insufficient system storage");
	if (home && home->tls_pins.count && !pinned(c, home))
		return refuse(r, 530, "5.7.0 TLS with the pinned key of this home is required");
	f = facts(c, l, &m->sender);
	ruleset_sender(d->ch->config, &f, &v);
	if (v.way == RULE_REFUSED || v.way == RULE_LATER)
		return refuse(r, v.code, v.text);
	if (s->auth_user[0] && m->sender.kind != ADDRESS_NULL && !user_may(c, &m->sender))
		return refuse(r, 550, "5.7.1 Sender is not one of your addresses");
	if (home && !limit_letters(d->limits, home->name, home->rate_per_hour, now(c)))
		return refuse(r, 450, "4.7.1 This home has sent its letters for now");
	return true;
}

static void rcpt_answer(struct conn *c, uint16_t code, const char *text)
{
	struct reply r = { code, text };

	session_rcpt_done(&c->s, &r, NULL, 0, now(c));
}

static void rcpt_known(struct lookup_req *req, const struct lookup_rcpt *a)
{
	static const char *to[LOOKUP_EXPANSION_MAX];
	struct conn *c = req->arg;
	struct reply r = { 250, "2.1.5 Recipient accepted" };
	size_t n = a->to_count < LOOKUP_EXPANSION_MAX ? a->to_count : LOOKUP_EXPANSION_MAX;

	switch (a->status) {
	case LOOKUP_OK:
		if (a->home[0] && queue_home_full(c->d, a->home)) {
			rcpt_answer(c, 452, "4.2.2 Mailbox is full for now");
			break;
		}
		for (size_t i = 0; i < n; i++)
			to[i] = a->to[i];
		session_rcpt_done(&c->s, &r, to, n, now(c));
		break;
	case LOOKUP_NONE:
		rcpt_answer(c, 550, "5.1.1 No such recipient");
		break;
	case LOOKUP_NULL_MX:
		rcpt_answer(c, 556, "5.1.10 That domain takes no mail");
		break;
	case LOOKUP_LOOP:
		rcpt_answer(c, 550, "5.4.6 Alias goes in a circle");
		break;
	case LOOKUP_DENIED:
		rcpt_answer(c, 550, "5.7.1 Recipient refused");
		break;
	default:
		rcpt_answer(c, 451, "4.3.0 Cannot check the recipient now, try again");
	}
	connection_pump(c);
}

static void rcpt(void *arg, struct session *s, const struct address *a)
{
	struct conn *c = arg;
	const struct mta_listener *l = answers_listener(c);
	struct rule_facts f = facts(c, l, &s->t.mail.sender);
	struct rule_verdict v;
	char full[ADDRESS_MAX + 300];

	if (!l)
		return rcpt_answer(c, 451, "4.3.2 This listener is no more, connect again");
	ruleset_rcpt(c->d->ch->config, &f, a, &v);
	if (v.way == RULE_REFUSED || v.way == RULE_LATER) {
		log_info(&s->log, "recipient refused helo=%s from=<%s> to=<%s> rule=%s: %s",
			 s->helo, s->t.mail.sender.text, a->text, v.rule ? v.rule->name : "class",
			 v.text);
		return rcpt_answer(c, v.code, v.text);
	}
	if (v.way == RULE_RELAY)
		return rcpt_answer(c, 250, "2.1.5 Recipient accepted");
	snprintf(full, sizeof(full), "%s", a->text);
	c->lookup.done.rcpt = rcpt_known;
	c->lookup.arg = c;
	if (lookup_rcpt(c->d->lookup, &c->lookup, full))
		rcpt_answer(c, 451, "4.3.0 Cannot check the recipient now, try again");
}

static void auth_known(struct lookup_req *req, const struct lookup_auth *a)
{
	const char *senders[SESSION_SENDERS_MAX];
	struct conn *c = req->arg;
	size_t n = a->sender_count < SESSION_SENDERS_MAX ? a->sender_count : SESSION_SENDERS_MAX;

	for (size_t i = 0; i < n; i++)
		senders[i] = a->senders[i];
	if (a->status == LOOKUP_DENIED || a->status == LOOKUP_NONE)
		log_warn(&c->s.log, "authentication failed user=\"%s\"", c->s.auth_user);
	session_auth_done(&c->s,
			  a->status == LOOKUP_OK ? SESSION_AUTH_OK
			  : a->status == LOOKUP_DENIED || a->status == LOOKUP_NONE
			      ? SESSION_AUTH_WRONG
			      : SESSION_AUTH_LATER,
			  senders, n, now(c));
	connection_pump(c);
}

static void auth(void *arg, struct session *s, const char *login, const char *password)
{
	struct conn *c = arg;

	c->lookup.done.auth = auth_known;
	c->lookup.arg = c;
	if (lookup_auth(c->d->lookup, &c->lookup, login, password))
		session_auth_done(s, SESSION_AUTH_LATER, NULL, 0, now(c));
}

static bool from(void *arg, struct session *s, const struct address *a)
{
	struct conn *c = arg;
	const struct mta_home *home = home_of(c);

	if (s->auth_user[0])
		return user_may(c, a);
	return !home || ruleset_home_sends(home, a);
}

static bool body(void *arg, struct session *s, const uint8_t *p, size_t len)
{
	(void)s;
	return queue_body(arg, p, len);
}

static void store(void *arg, struct session *s, const struct envelope *e, const uint8_t *p,
		  size_t len)
{
	(void)s;
	queue_store(arg, e, p, len);
}

static void give_up(void *arg, struct session *s)
{
	(void)s;
	queue_abort(arg);
}

static int64_t wall_s(void *arg)
{
	(void)arg;
	return clock_wall_s();
}

void answers_forget(struct conn *c)
{
	lookup_cancel(&c->lookup);
}

const struct session_ops answers_ops = {
	.mail = may_mail,
	.rcpt = rcpt,
	.auth = auth,
	.from = from,
	.body = body,
	.store = store,
	.abort = give_up,
	.wall_s = wall_s,
};
