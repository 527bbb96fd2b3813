/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TESTS_SMTP_DRIVE_H
#define TESTS_SMTP_DRIVE_H

/*
 * A session with a queue, a lookup and a clock made of memory. Bytes go in as one piece or in pieces of
 * any size; every byte of output is kept. Included by one test or fuzz target each.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "session.h"

#define DRIVE_LETTERS 8
#define DRIVE_BODY    (512 * 1024)

struct drive {
	struct session_conf conf;
	struct session s;
	uint64_t now_ms;
	/* what the client sees */
	char out[256 * 1024];
	size_t out_len;
	size_t step;  /* bytes a piece; 0: all at once */
	size_t first; /* the first piece, when not 0 */
	/* how the inside answers */
	bool late;	  /* questions wait for drive_answer() */
	bool queue_holds; /* no answer to a letter, and no credit */
	const char *full; /* MAIL is refused so */
	size_t repeats;	  /* recipients that the letter had already */
	struct msg_q_stored stored;
	/* what the inside got */
	size_t letters;
	struct {
		char sender[300];
		char rcpt[16][300];
		char orcpt[16][300];
		size_t rcpt_count;
		uint32_t flags;
		char peer[64];
		uint8_t peer_id[16];
		char helo[256];
		char tls[96];
		struct endpoint origin;
		uint64_t size;
		uint16_t hops;
		bool streamed;
		uint8_t *body;
		size_t body_len;
	} letter[DRIVE_LETTERS];
	uint8_t *stream;
	size_t stream_len;
	uint32_t uncredited;
	size_t aborts;
	size_t auths;
	char login[300], password[300];
	const char *external; /* the login that the certificate stands for */
	bool by_certificate;  /* the last login gave no password */
	char from[300];
	uint64_t serial;
	uint16_t publish_code; /* 0: 250 */
	const char *may_not;   /* XPUBLISH is refused so */
	size_t publications;
	char publication[4096];
	size_t publication_len;
	struct xtrace traced; /* asked last */
	size_t traces;
	const char *story; /* what is told; NULL: 550 */
};

static bool drive_mail(void *arg, struct session *s, const struct command_mail *m, struct reply *r)
{
	struct drive *d = arg;

	(void)s;
	(void)m;
	if (!d->full)
		return true;
	r->code = 452;
	r->text = d->full;
	return false;
}

static void drive_rcpt_answer(struct drive *d)
{
	static const char *const two[] = { "one@home.example", "two@home.example" };
	const struct address *a = &d->s.t.asked.rcpt;
	struct reply yes = { 250, "2.1.5 Recipient accepted" },
		     no = { 550, "5.1.1 No such recipient" };

	if (!strncmp(a->text, "small", 5)) /* his home takes little */
		session_rcpt_limit(&d->s, 10000, NULL);
	if (!strncmp(a->text, "smaller", 7)) /* and a rule lets him have less */
		session_rcpt_limit(&d->s, 5000, "5.3.4 Smaller ones");
	if (!strncmp(a->text, "alias@", 6))
		d->repeats += session_rcpt_repeats(&d->s, two, 2);
	else
		d->repeats += session_rcpt_repeats(&d->s, NULL, 0);
	if (!strncmp(a->text, "unknown", 7))
		session_rcpt_done(&d->s, &no, NULL, 0, d->now_ms);
	else if (!strncmp(a->text, "alias@", 6))
		session_rcpt_done(&d->s, &yes, two, 2, d->now_ms);
	else
		session_rcpt_done(&d->s, &yes, NULL, 0, d->now_ms);
}

static void drive_rcpt(void *arg, struct session *s, const struct address *a)
{
	struct drive *d = arg;

	(void)s;
	(void)a;
	if (!d->late)
		drive_rcpt_answer(d);
}

static void drive_auth_answer(struct drive *d)
{
	static const char *const senders[] = { "joe@home.example", "@joe.example" };
	bool ok = d->by_certificate ? d->external && !strcmp(d->login, d->external)
				    : !strcmp(d->login, "joe") && !strcmp(d->password, "secret");

	session_auth_done(&d->s, ok ? SESSION_AUTH_OK : SESSION_AUTH_WRONG, senders, ok ? 2 : 0,
			  d->now_ms);
}

static void drive_auth(void *arg, struct session *s, const char *login, const char *password)
{
	struct drive *d = arg;

	(void)s;
	d->auths++;
	snprintf(d->login, sizeof(d->login), "%s", login);
	snprintf(d->password, sizeof(d->password), "%s", password ? password : "");
	d->by_certificate = !password;
	if (!d->late)
		drive_auth_answer(d);
}

static const char *drive_external(void *arg)
{
	struct drive *d = arg;

	return d->external;
}

static bool drive_from(void *arg, struct session *s, const struct address *a)
{
	struct drive *d = arg;

	(void)s;
	snprintf(d->from, sizeof(d->from), "%s", a->text);
	return !strcmp(address_domain(a), "home.example");
}

static bool drive_body(void *arg, struct session *s, const uint8_t *p, size_t len)
{
	struct drive *d = arg;
	uint8_t *bigger;

	(void)s;
	assert(len && len <= MSG_BODY_CHUNK);
	bigger = realloc(d->stream, d->stream_len + len);
	assert(bigger);
	d->stream = bigger;
	memcpy(d->stream + d->stream_len, p, len);
	d->stream_len += len;
	d->uncredited += (uint32_t)len;
	assert(d->uncredited <= MSG_BODY_WINDOW); /* never beyond the credit */
	return true;
}

static void drive_stored(struct drive *d)
{
	struct msg_q_stored m =
	    d->stored.code ? d->stored : (struct msg_q_stored){ 250, "2.0.0 queued", 0 };

	session_stored(&d->s, &m, d->now_ms);
}

static void drive_store(void *arg, struct session *s, const struct envelope *e, const uint8_t *body,
			size_t len)
{
	static uint8_t enc[ENVELOPE_MAX];
	struct wr w = wr_init(enc, sizeof(enc));
	struct drive *d = arg;
	size_t i = d->letters < DRIVE_LETTERS ? d->letters++ : DRIVE_LETTERS - 1, n;
	struct envelope back;

	(void)s;
	/* What the session says must survive the way to the queue. */
	envelope_build(e, &w);
	assert(!wr_finish(&w, &n));
	assert(!envelope_parse(&back, enc, n));
	free(d->letter[i].body);
	memset(&d->letter[i], 0, sizeof(d->letter[i]));
	snprintf(d->letter[i].sender, 300, "%s", back.sender);
	for (size_t k = 0; k < back.rcpt_count && k < 16; k++) {
		snprintf(d->letter[i].rcpt[k], 300, "%s", back.rcpt[k].addr);
		snprintf(d->letter[i].orcpt[k], 300, "%s",
			 back.rcpt[k].orcpt ? back.rcpt[k].orcpt : "");
	}
	d->letter[i].rcpt_count = back.rcpt_count;
	d->letter[i].flags = back.flags;
	snprintf(d->letter[i].peer, 64, "%s", back.peer ? back.peer : "");
	memcpy(d->letter[i].peer_id, back.peer_id, 16);
	snprintf(d->letter[i].helo, 256, "%s", back.helo ? back.helo : "");
	snprintf(d->letter[i].tls, 96, "%s", back.tls ? back.tls : "");
	d->letter[i].origin = back.origin;
	d->letter[i].size = back.size;
	d->letter[i].hops = back.hops;
	envelope_clear(&back);
	if (body) {
		assert(len <= MSG_BODY_INLINE && len + n + 64 <= MSG_STORE_MAX);
		d->letter[i].body = calloc(1, len + 1); /* a string for the tests that look into it */
		memcpy(d->letter[i].body, body, len);
		d->letter[i].body_len = len;
	} else {
		d->letter[i].streamed = true;
		d->letter[i].body = d->stream;
		d->letter[i].body_len = d->stream_len;
		d->stream = NULL;
		d->stream_len = 0;
		d->uncredited = 0;
	}
	assert(d->letter[i].size == d->letter[i].body_len);
	if (!d->queue_holds && !d->late)
		drive_stored(d);
}

static void drive_abort(void *arg, struct session *s)
{
	struct drive *d = arg;

	(void)s;
	d->aborts++;
	free(d->stream);
	d->stream = NULL;
	d->stream_len = 0;
	d->uncredited = 0;
}

static uint64_t drive_serial(void *arg)
{
	return ((struct drive *)arg)->serial;
}

static bool drive_may_publish(void *arg, struct session *s, struct reply *r)
{
	struct drive *d = arg;

	(void)s;
	*r = (struct reply){ 450, d->may_not };
	return !d->may_not;
}

static void drive_published(struct drive *d)
{
	struct reply r = { d->publish_code ? d->publish_code : 250, "2.0.0 Published" };

	session_published(&d->s, &r, d->now_ms);
}

static void drive_publish(void *arg, struct session *s, const char *text, size_t len)
{
	struct drive *d = arg;

	(void)s;
	d->publications++;
	d->publication_len = len < sizeof(d->publication) ? len : sizeof(d->publication);
	memcpy(d->publication, text, d->publication_len);
	if (!d->late)
		drive_published(d);
}

static void drive_traced(struct drive *d)
{
	struct msg_traced m = { 550, "5.1.1 Nothing is known", NULL, 0 };

	if (d->story)
		m = (struct msg_traced){ 250, "", (const uint8_t *)d->story, strlen(d->story) };
	session_traced(&d->s, &m, d->now_ms);
}

static void drive_trace(void *arg, struct session *s, const struct xtrace *x)
{
	struct drive *d = arg;

	(void)s;
	d->traced = *x;
	d->traces++;
	if (!d->late)
		drive_traced(d);
}

static int64_t drive_wall(void *arg)
{
	(void)arg;
	return 1795305396; /* Sat, 21 Nov 2026 23:56:36 */
}

static const struct session_ops drive_ops = {
	.mail = drive_mail,
	.rcpt = drive_rcpt,
	.auth = drive_auth,
	.external = drive_external,
	.from = drive_from,
	.body = drive_body,
	.store = drive_store,
	.abort = drive_abort,
	.serial = drive_serial,
	.may_publish = drive_may_publish,
	.publish = drive_publish,
	.trace = drive_trace,
	.wall_s = drive_wall,
};

static void drive_collect(struct drive *d)
{
	size_t len;
	const char *p = session_output(&d->s, &len);

	if (len > sizeof(d->out) - 1 - d->out_len) {
		session_taken(&d->s, len);
		return;
	}
	if (len)
		memcpy(d->out + d->out_len, p, len);
	d->out_len += len;
	d->out[d->out_len] = 0;
	session_taken(&d->s, len);
}

/* Answer what is open; false when nothing was. */
static bool drive_answer(struct drive *d)
{
	if (d->s.wait == WAIT_RCPT)
		drive_rcpt_answer(d);
	else if (d->s.wait == WAIT_AUTH)
		drive_auth_answer(d);
	else if (d->s.wait == WAIT_PUBLISHED)
		drive_published(d);
	else if (d->s.wait == WAIT_TRACED)
		drive_traced(d);
	else if (d->s.wait == WAIT_STORED && !d->queue_holds)
		drive_stored(d);
	else if (d->uncredited && !d->queue_holds) {
		uint32_t n = d->uncredited;

		d->uncredited = 0;
		session_credit(&d->s, n, d->now_ms);
	} else
		return false;
	return true;
}

/* All of @p goes in, unless the session wants no more. Returns what it took. */
static size_t drive_bytes(struct drive *d, const void *p, size_t len)
{
	size_t at = 0, piece = d->first ? d->first : d->step ? d->step : len;

	drive_collect(d);
	while (at < len) {
		size_t n = len - at < piece ? len - at : piece, took;

		took = session_input(&d->s, (const uint8_t *)p + at, n, d->now_ms);
		at += took;
		drive_collect(d);
		if (took < n && !drive_answer(d)) {
			if (d->s.pause_ms) { /* a tarpit: time passes */
				d->now_ms = d->s.pause_ms;
				session_tick(&d->s, d->now_ms);
				continue;
			}
			if (!took)
				break;
		}
		if (took == n)
			piece = d->step ? d->step : len;
	}
	while (drive_answer(d))
		drive_collect(d);
	if (d->s.pause_ms) {
		d->now_ms = d->s.pause_ms;
		session_tick(&d->s, d->now_ms);
	}
	drive_collect(d);
	return at;
}

static void drive_begin(struct drive *d)
{
	session_begin(&d->s, &d->conf, &drive_ops, d, NULL, d->now_ms);
}

static struct drive *drive_new(void)
{
	struct drive *d = calloc(1, sizeof(*d));

	assert(d);
	d->now_ms = 1000;
	d->conf = (struct session_conf){
		.hostname = "mx.home.example",
		.listener = "mx",
		.tls_offered = true,
		.cut_authserv_id = "mx.home.example",
		.recipients_max = 100,
		.errors_max = 20,
		.received_max = 50,
		.size_max_bytes = 1 << 20,
		.idle_ms = 300000,
		.session_ms = 7200000,
	};
	addr_parse("192.0.2.7", &d->conf.client.addr);
	d->conf.client.port = 4711;
	return d;
}

static void drive_free(struct drive *d)
{
	session_end(&d->s);
	for (size_t i = 0; i < DRIVE_LETTERS; i++)
		free(d->letter[i].body);
	free(d->stream);
	free(d);
}

#endif
