/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a session asks, answered from the configuration in force now (a reload counts from the next
 * question on), from lookup, and from what the queue said last.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "domain.h"
#include "match.h"
#include "hop/probe.h"
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

/* As it will stand in the envelope: what a Postern peer was given, else what we were. */
static const char *true_helo(const struct session *s)
{
	const struct mail_hop *hop = &s->t.mail.hop;

	return hop->given && hop->helo[0] ? hop->helo : s->helo;
}

static struct rule_facts facts(const struct conn *c, const struct mta_listener *l,
			       const struct address *sender)
{
	return (struct rule_facts){
		.listener = l,
		.client = c->client,
		.peer = c->peer[0] ? c->peer : NULL,
		.user = c->s.auth_user[0] ? c->s.auth_user : NULL,
		.helo = true_helo(&c->s),
		.tls = c->s.tls[0],
		.sender = sender,
		.size_bytes = c->s.t.mail.size_bytes,
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

struct reply answers_unpinned(void)
{
	return (struct reply){ 530, "5.7.0 TLS with the pinned key of this home is required" };
}

bool answers_pinned(const struct conn *c, const struct mta_home *h)
{
	struct tls_pin have, want;

	if (!h->tls_pins.count)
		return true;
	if (!c->tls || tls_peer_pin(c->tls, &have))
		return false;
	for (size_t i = 0; i < h->tls_pins.count; i++) {
		if (!pin_parse(h->tls_pins.v[i], want.sha256) &&
		    !memcmp(have.sha256, want.sha256, TLS_PIN_LEN))
			return true;
	}
	return false;
}

const char *answers_external(const struct conn *c)
{
	const struct mta_listener *l = answers_listener(c);
	struct tls_pin pin;
	bool current;

	if (!l || !l->client_login_count || !c->tls || tls_peer_pin(c->tls, &pin))
		return NULL;
	/* A key is its own proof; what authorities of before a reload said may be why they went. */
	current = tls_is_of(c->tls, c->d->tls[l - c->d->ch->config->listeners]);
	for (size_t i = 0; i < l->client_login_count; i++) {
		const struct client_login *e = &l->client_logins[i];

		if (e->name ? current && tls_peer_named(c->tls, e->name)
			    : !memcmp(e->pin, pin.sha256, TLS_PIN_LEN))
			return e->login;
	}
	return NULL;
}

static const char *external(void *arg)
{
	return answers_external(arg);
}

/* Whose letters they are: a login's, whichever address it writes from, else the sender's. "": nobody's. */
static const char *counted(const struct session *s, const struct address *sender)
{
	return s->auth_user[0] ? s->auth_user : sender->text;
}

static enum limit_what kind(const struct session *s)
{
	return s->auth_user[0] ? LIMIT_LOGIN : LIMIT_SENDER;
}

static bool within_limits(struct conn *c, const struct mta_listener *l,
			  const struct command_mail *m, struct reply *r)
{
	const char *who = counted(&c->s, &m->sender);

	if (!*who)
		return true;
	if (!limit_room(c->d->limits, kind(&c->s), who, m->size_bytes, l->bytes_per_sender, now(c)))
		return refuse(r, 450, "4.7.1 This sender has sent its bytes for now");
	if (!limit_letters(c->d->limits, kind(&c->s), who, l->letters_per_sender, now(c)))
		return refuse(r, 450, "4.7.1 This sender has sent its letters for now");
	return true;
}

static bool may_mail(void *arg, struct session *s, const struct command_mail *m, struct reply *r)
{
	static struct rule_verdict v; /* the reply is used up before the next question */
	struct conn *c = arg;
	struct smtpd *d = c->d;
	const struct mta_listener *l = answers_listener(c);
	const struct mta_home *home = home_of(c);
	struct rule_facts f;

	charged_clear(&c->charged);
	if (!l)
		return refuse(r, 451, "4.3.2 This listener is no more, connect again");
	/* Older than a reload that demands it: what rules say of this listener holds for who has shown one. */
	if (l->client_cert == CLIENT_CERT_VERIFY && !(c->tls && tls_verified(c->tls)))
		return refuse(r, 451, "4.7.0 A certificate is wanted here now, connect again");
	if (d->relays_for_all)
		return refuse(r, 451, "4.3.5 The configuration of this server is at fault");
	if (!d->queue || !d->accepting)
		return refuse(r, d->state_code ? d->state_code : 451,
			      d->state_text[0] ? d->state_text
					       : "4.3.0 Queue is starting, try again");
	if (m->size_bytes > d->room_bytes)
		return refuse(r, 452, "4.3.1 Insufficient system storage");
	if (home && !answers_pinned(c, home)) {
		*r = answers_unpinned();
		return false;
	}
	f = facts(c, l, &m->sender);
	ruleset_sender(d->ch->config, &f, &v);
	if (v.way == RULE_REFUSED || v.way == RULE_LATER)
		return refuse(r, v.code, v.text);
	if (s->auth_user[0] && m->sender.kind != ADDRESS_NULL && !user_may(c, &m->sender))
		return refuse(r, 550, "5.7.1 Sender is not one of your addresses");
	if (home && !limit_letters(d->limits, LIMIT_HOME, home->name, home->rate_per_hour, now(c)))
		return refuse(r, 450, "4.7.1 This home has sent its letters for now");
	return within_limits(c, l, m, r);
}

static void rcpt_answer(struct conn *c, uint16_t code, const char *text)
{
	struct reply r = { code, text };

	session_rcpt_done(&c->s, &r, NULL, 0, now(c));
}

struct reply answers_lookup(enum lookup_status status)
{
	switch (status) {
	case LOOKUP_OK:
		return (struct reply){ 250, "2.1.5 Recipient accepted" };
	case LOOKUP_NONE:
		return (struct reply){ 550, "5.1.1 No such recipient" };
	case LOOKUP_NULL_MX:
		return (struct reply){ 556, "5.1.10 That domain takes no mail" };
	case LOOKUP_LOOP:
		return (struct reply){ 550, "5.4.6 Alias goes in a circle" };
	case LOOKUP_DENIED:
		return (struct reply){ 550, "5.7.1 Recipient refused" };
	default:
		return (struct reply){ 451, "4.3.0 Cannot check the recipient now, try again" };
	}
}

/*
 * One more letter to @mailbox, which is taken otherwise, as @to; who has the letter already gets no second
 * one. What is counted at once, letters, comes last. False: it was answered.
 */
static bool rcpt_has_room(struct conn *c, const char *mailbox, const char *const *to, size_t count)
{
	const struct mta_listener *l = answers_listener(c);
	struct reply sized;

	if (!l || session_rcpt_repeats(&c->s, to, count))
		return true;
	if (!session_rcpt_admits(&c->s, &sized))
		rcpt_answer(c, sized.code, sized.text);
	else if (!charged_room(&c->charged, c->d->limits, mailbox, c->s.t.mail.size_bytes,
			  l->bytes_per_recipient, now(c)))
		rcpt_answer(c, 450, "4.7.1 This recipient gets too many bytes, try again later");
	else if (!limit_letters(c->d->limits, LIMIT_RECIPIENT, mailbox, l->letters_per_recipient,
				now(c)))
		rcpt_answer(c, 450, "4.7.1 This recipient gets too many letters, try again later");
	else
		return true;
	return false;
}

/* As far as we are asked; the session may still find that the letter is full, or that it goes there already. */
static void rcpt_taken(struct conn *c, const char *mailbox, const struct reply *r,
		       const char *const *to, size_t count)
{
	const struct mta_listener *l = answers_listener(c);
	size_t before = c->s.t.rcpt_count;

	session_rcpt_done(&c->s, r, to, count, now(c));
	if (l && l->bytes_per_recipient && c->s.t.rcpt_count > before)
		charged_add(&c->charged, mailbox);
}

/*
 * What the homes of these recipients take: a letter that is larger would come back to us after our 250.
 * False: it is not known yet.
 */
static bool limit_to_homes(struct conn *c, const char *const *to, size_t count)
{
	char domain[MTA_DOMAIN_MAX];
	uint64_t bytes;

	for (size_t i = 0; i < count; i++) {
		const char *at = strrchr(to[i], '@');
		const struct mta_home *h =
		    at ? config_home_by_domain(c->d->ch->config, domain_spell(at + 1, domain)) : NULL;

		if (h && !published_size(c->d, h, &bytes))
			return false;
		if (h)
			session_rcpt_limit(&c->s, bytes, NULL);
	}
	return true;
}

static void rcpt_known(struct lookup_req *req, const struct lookup_rcpt *a)
{
	static const char *to[LOOKUP_EXPANSION_MAX];
	struct conn *c = req->arg;
	struct reply r = answers_lookup(a->status);
	size_t n = a->to_count < LOOKUP_EXPANSION_MAX ? a->to_count : LOOKUP_EXPANSION_MAX;

	for (size_t i = 0; i < n; i++)
		to[i] = a->to[i];
	if (a->status != LOOKUP_OK) {
		rcpt_answer(c, r.code, r.text);
	} else if (a->home[0] && queue_home_full(c->d, a->home)) {
		rcpt_answer(c, 452, "4.2.2 Mailbox is full for now");
	} else if (!limit_to_homes(c, to, n)) {
		rcpt_answer(c, 451, "4.3.0 Queue is starting, try again");
	} else if (rcpt_has_room(c, a->mailbox, to, n)) {
		rcpt_taken(c, a->mailbox, &r, to, n);
	}
	connection_pump(c);
}

/* Where errors-max ends no session, one alone could fill the log of all. */
static void log_refused(struct conn *c, const struct address *a, const struct rule_verdict *v)
{
	const struct session *s = &c->s;
	const struct address *from = &s->t.mail.sender;
	char helo[600], sender[600], to[600], text[600];

	if (!told_may(&c->d->told, TOLD_REFUSED, s->conf->errors_max ? NULL : &c->client))
		return;
	log_info(&s->log,
		 "helo=\"%s\" from=\"%s\" to=\"%s\" rule=%s code=%u "
		 "msg=\"recipient refused: %s\"",
		 log_quote(helo, sizeof(helo), s->helo, strlen(s->helo)),
		 log_quote(sender, sizeof(sender), from->text, from->len),
		 log_quote(to, sizeof(to), a->text, a->len), v->rule ? v->rule->name : "class",
		 v->code, log_quote(text, sizeof(text), v->text, strlen(v->text)));
}

static void log_auth(struct conn *c, const char *login, const char *what)
{
	const struct session *s = &c->s;
	char quoted[600];

	if (!told_may(&c->d->told, TOLD_AUTH, &c->client))
		return;
	log_warn(&s->log, "user=\"%s\" msg=\"authentication %s\"",
		 log_quote(quoted, sizeof(quoted), login, strlen(login)), what);
}

static void log_in(const struct conn *c, const char *by)
{
	const struct session *s = &c->s;
	char quoted[600];

	log_info(&s->log, "user=\"%s\" by=%s tls=\"%s\" msg=\"authenticated\"",
		 log_quote(quoted, sizeof(quoted), s->auth_user, strlen(s->auth_user)), by, s->tls);
}

static void rcpt(void *arg, struct session *s, const struct address *a)
{
	struct conn *c = arg;
	const struct mta_listener *l = answers_listener(c);
	struct rule_facts f = facts(c, l, &s->t.mail.sender);
	struct rule_verdict v;
	struct reply yes = answers_lookup(LOOKUP_OK);
	char full[ADDRESS_MAX + 300], text[sizeof(v.text)];

	if (!l)
		return rcpt_answer(c, 451, "4.3.2 This listener is no more, connect again");
	/* A report on a probe, from a tunnel peer; the queue knows whose it is, or that it is nobody's. */
	if (c->peer[0] && probe_is_address(a->text) && s->t.mail.sender.kind == ADDRESS_NULL)
		return rcpt_answer(c, 250, "2.1.5 Recipient accepted");
	ruleset_rcpt(c->d->ch->config, &f, a, &v);
	if (v.way == RULE_REFUSED || v.way == RULE_LATER) {
		log_refused(c, a, &v);
		return rcpt_answer(c, v.code, v.text);
	}
	if (v.size_rule)
		session_rcpt_limit(s, v.size_max_bytes,
				   ruleset_text(v.size_rule, text, sizeof(text)));
	if (v.way == RULE_RELAY) {
		if (rcpt_has_room(c, a->text, NULL, 0))
			rcpt_taken(c, a->text, &yes, NULL, 0);
		return;
	}
	snprintf(full, sizeof(full), "%s", a->text);
	c->lookup.done.rcpt = rcpt_known;
	c->lookup.arg = c;
	if (lookup_rcpt(c->d->lookup, &c->lookup, full))
		rcpt_answer(c, 451, "4.3.0 Cannot check the recipient now, try again");
}

static void auth_answer(struct conn *c, enum session_auth result, const char *const *senders,
			size_t sender_count)
{
	static const enum counter_word words[] = {
		[SESSION_AUTH_OK] = WORD_OK,
		[SESSION_AUTH_WRONG] = WORD_WRONG,
		[SESSION_AUTH_LATER] = WORD_LATER,
		[SESSION_AUTH_LIMITED] = WORD_NETWORK_RATE,
	};

	connection_count(c, COUNTER_AUTH, words[result], WORD_NONE, 1);
	session_auth_done(&c->s, result, senders, sender_count, now(c));
}

/* How many wrong passwords the client's network has; this machine itself has all that it wants. */
static uint32_t failures_max(const struct conn *c)
{
	const struct mta_listener *l = answers_listener(c);

	return l && !addr_is_loopback(&c->client) ? l->auth_failures_max : 0;
}

static void auth_wrong(struct conn *c, const char *what)
{
	c->s.auth_strikes = limit_failed(c->d->limits, &c->client, failures_max(c), now(c));
	log_auth(c, c->s.auth_user, what);
	auth_answer(c, SESSION_AUTH_WRONG, NULL, 0);
}

static void auth_known(struct lookup_req *req, const struct lookup_auth *a)
{
	const char *senders[SESSION_SENDERS_MAX], *by = "certificate";
	struct conn *c = req->arg;
	size_t n = a->sender_count < SESSION_SENDERS_MAX ? a->sender_count : SESSION_SENDERS_MAX;

	if (c->guesses)
		by = "password";
	c->guesses = false;
	for (size_t i = 0; i < n; i++)
		senders[i] = a->senders[i];
	if (a->status == LOOKUP_DENIED)
		auth_wrong(c, "failed");
	else if (a->status == LOOKUP_NONE)
		auth_wrong(c, "failed, it is not in users");
	else
		auth_answer(c, a->status == LOOKUP_OK ? SESSION_AUTH_OK : SESSION_AUTH_LATER,
			    senders, n);
	if (a->status == LOOKUP_OK && c->s.auth_user[0])
		log_in(c, by);
	connection_pump(c);
}

static void auth(void *arg, struct session *s, const char *login, const char *password)
{
	struct conn *c = arg;
	const char *own = password ? NULL : answers_external(c);
	int rc;

	if (!limit_may_try(c->d->limits, &c->client, failures_max(c), now(c))) {
		log_auth(c, login, "not tried, too many failures");
		return auth_answer(c, SESSION_AUTH_LIMITED, NULL, 0);
	}
	if (!password && (!own || strcasecmp(own, login)))
		return auth_wrong(c, "failed, the certificate is not of this login");
	c->lookup.done.auth = auth_known;
	c->lookup.arg = c;
	rc = password ? lookup_auth(c->d->lookup, &c->lookup, login, password)
		      : lookup_senders(c->d->lookup, &c->lookup, login);
	c->guesses = !rc && password;
	if (rc)
		auth_answer(c, SESSION_AUTH_LATER, NULL, 0);
}

/*
 * A home's alias sends on what a stranger wrote: its From is the stranger's, and its sender one that only
 * they can make who have the secret of [srs]; so can we know it.
 */
static bool sent_on(const struct conn *c, const struct session *s)
{
	const struct mta_srs *srs = &c->d->ch->config->srs;
	const struct address *a = &s->t.mail.sender;
	char writer[ADDRESS_MAX + 1];

	return srs->domain && srs_is(a->text) && !strcasecmp(address_domain(a), srs->domain) &&
	       !srs_reverse(&c->d->srs, a->text, srs_day(clock_wall_s()), srs->max_age_days, writer,
			    sizeof(writer));
}

static bool from(void *arg, struct session *s, const struct address *a)
{
	struct conn *c = arg;
	const struct mta_home *home = home_of(c);

	if (s->auth_user[0])
		return user_may(c, a);
	return !home || ruleset_home_sends(home, a) || sent_on(c, s);
}

static bool body(void *arg, struct session *s, const uint8_t *p, size_t len)
{
	(void)s;
	return queue_body(arg, p, len);
}

static void store(void *arg, struct session *s, const struct envelope *e, const uint8_t *p,
		  size_t len)
{
	struct conn *c = arg;
	const struct mta_listener *l = answers_listener(c);
	const char *who = counted(s, &s->t.mail.sender);

	if (l && *who)
		limit_bytes(c->d->limits, kind(s), who, e->size, l->bytes_per_sender, now(c));
	queue_store(c, e, p, len);
}

void answers_stored(struct conn *c, uint64_t bytes)
{
	const struct mta_listener *l = answers_listener(c);

	if (l)
		charged_settle(&c->charged, c->d->limits, bytes, l->bytes_per_recipient, now(c));
	charged_clear(&c->charged);
}

static void give_up(void *arg, struct session *s)
{
	(void)s;
	queue_abort(arg);
}

static uint64_t serial(void *arg)
{
	return published_serial(arg);
}

static bool may_publish(void *arg, struct session *s, struct reply *r)
{
	(void)s;
	return published_may(arg, r);
}

static void trace(void *arg, struct session *s, const struct xtrace *x)
{
	(void)s;
	traced_ask(arg, x);
}

static void publish(void *arg, struct session *s, const char *text, size_t len)
{
	(void)s;
	published_take(arg, text, len);
}

static int64_t wall_s(void *arg)
{
	(void)arg;
	return clock_wall_s();
}

static bool may_tell(void *arg, enum told_what what)
{
	struct conn *c = arg;

	return told_may(&c->d->told, what, c->peer[0] ? NULL : &c->client);
}

static void refused(void *arg, uint16_t code, const char *text)
{
	connection_count(arg, COUNTER_REFUSED, code < 500 ? WORD_TEMPORARY : WORD_PERMANENT,
			 counters_reason(code, text), 1);
}

void answers_forget(struct conn *c)
{
	/* Who does not wait for the answer has made us compute it all the same. */
	if (c->guesses && c->gone && !c->d->stopping)
		limit_failed(c->d->limits, &c->client, failures_max(c), now(c));
	c->guesses = false;
	charged_clear(&c->charged);
	lookup_cancel(&c->lookup);
	published_forget(c);
}

const struct session_ops answers_ops = {
	.mail = may_mail,
	.rcpt = rcpt,
	.auth = auth,
	.external = external,
	.from = from,
	.body = body,
	.store = store,
	.abort = give_up,
	.serial = serial,
	.may_publish = may_publish,
	.publish = publish,
	.trace = trace,
	.wall_s = wall_s,
	.refused = refused,
	.may_tell = may_tell,
};
