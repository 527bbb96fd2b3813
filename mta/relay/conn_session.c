/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A connection that stands: TLS, the bytes of its session, its letters. */
#include "conn_int.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "log.h"

#define READ_MAX       16384
#define PROGRESS_BYTES 4096 /* that the peer must take in the time of a deadline */

static void move(struct conn *c);

static void on_done(void *arg, struct out_letter *l)
{
	(void)arg;
	relay_answer(l->arg);
}

static void on_published(void *arg, const struct reply *r)
{
	struct conn *c = arg;

	publisher_answer(&c->hop->relay->publisher, r);
}

static void on_trace_line(void *arg, const char *line)
{
	asker_line(arg, line);
}

static void on_traced(void *arg, const struct reply *r)
{
	asker_answer(arg, r);
}

void conn_session_begin(struct conn *c)
{
	struct client_conf conf = {
		.ehlo = c->dial.helo ? c->dial.helo : c->ehlo,
		.lmtp = c->route.kind == ROUTE_LMTP,
		.tls = c->plain ? TLS_NONE : c->route.tls,
		.tls_on = c->tls != NULL,
		/* A stranger's server is not asked how well it keeps its input together. */
		.chain = c->route.kind == ROUTE_SMARTHOST || c->route.kind == ROUTE_TUNNEL,
		.hop = c->route.kind == ROUTE_TUNNEL,
		.username = c->username,
		.password = c->password,
		.external = c->route.auth_external,
		.done = on_done,
		.published = on_published,
		.trace_line = on_trace_line,
		.traced = on_traced,
		.arg = c,
	};

	c->state = CONN_SESSION;
	client_start(&c->session, &conf);
	c->session_open = true;
	c->progress_ms = loop_now_ms(c->hop->relay->ch->loop);
}

static struct tls_ctx *tls_context(struct conn *c, char err[static TLS_ERROR_MAX])
{
	struct relay *r = c->hop->relay;
	const struct mta_route *route = relay_route(c->hop);
	struct tls_pin pins[TLS_PINS_MAX];
	struct tls_client_conf conf = { .verify = TLS_VERIFY_NONE, .pins = pins };
	struct tls_ctx *ctx;
	const char *why;
	size_t len;

	why = route ? secrets_missing(&r->secrets, route) : "the route is gone";
	if (why) {
		snprintf(err, TLS_ERROR_MAX, "%s", why);
		return NULL;
	}
	for (size_t i = 0; i < route->tls_pins.count && i < TLS_PINS_MAX; i++)
		pin_parse(route->tls_pins.v[i], pins[conf.pin_count++].sha256);
	if (c->pinned) {
		memcpy(pins[0].sha256, c->pin, TLS_PIN_LEN);
		conf.pin_count = 1;
	}
	if (route->tls == TLS_PIN || c->pinned) {
		conf.verify = TLS_VERIFY_PIN;
	} else if (route->tls == TLS_VERIFY) {
		conf.verify = TLS_VERIFY_NAME;
		conf.ca_pem = r->secrets.authorities.v;
		conf.ca_pem_len = r->secrets.authorities.len;
		if (route->ca_file || r->ch->config->ca_file) {
			conf.ca_pem = bundle_file(
			    r->ch->bundle, route->ca_file ? route->ca_file : r->ch->config->ca_file,
			    &len);
			conf.ca_pem_len = conf.ca_pem ? len : 0;
		}
	}
	conf.version_min = route->tls_versions.min;
	conf.version_max = route->tls_versions.max;
	conf.ciphers = (const char *const *)route->tls_ciphers.v;
	conf.cipher_count = route->tls_ciphers.count;
	/* Our own certificate is for peers that know it, not for the world. */
	if (route->certificate || route->kind == ROUTE_TUNNEL)
		conf.keypair = secrets_keypair(&r->secrets, route);
	return tls_client_ctx_new(&ctx, &conf, err) ? NULL : ctx;
}

void conn_tls_begin(struct conn *c)
{
	char err[TLS_ERROR_MAX];
	const struct mta_route *route = relay_route(c->hop);
	const char *name =
	    route && route->tls_name ? route->tls_name : c->dial.target[c->target].name;

	if (!c->tls_ctx)
		c->tls_ctx = tls_context(c, err);
	c->tls = c->tls_ctx ? tls_connect(c->tls_ctx, c->lf.fd, name) : NULL;
	if (!c->tls) {
		conn_give_up_host(c, "4.7.5", c->tls_ctx ? "out of memory" : err);
		return;
	}
	c->state = CONN_TLS;
}

/* Opportunistic TLS that fails is tried once more without (RFC 7435); a policy never is. */
static void tls_failed(struct conn *c, int rc)
{
	char text[TLS_ERROR_MAX + 200], quoted[sizeof(text) + 200];

	if (c->pinned && rc == -EKEYREJECTED)
		return conn_next_host(c, 0, "4.7.5", hop_pin_refused(c, text, sizeof(text)));
	snprintf(text, sizeof(text), "TLS with %s failed: %s", c->dial.target[c->target].name,
		 *tls_error(c->tls) ? tls_error(c->tls) : strerror(-rc));
	if (c->route.tls == TLS_MAY && !c->plain && !c->tls_implicit) {
		log_info(NULL, "route=%s msg=\"%s; once more without TLS\"", c->route.name,
			 log_quote(quoted, sizeof(quoted), text, strlen(text)));
		conn_fd_close(c);
		client_clear(&c->session);
		c->session_open = false;
		c->plain = true;
		c->state = CONN_DIAL;
		/* The same target again, as a list of its own. */
		c->dial.target[0] = c->dial.target[c->target];
		c->dial.count = 1;
		c->dial.next = 0;
		dial_start(&c->dial);
		return;
	}
	conn_next_host(c, 0, "4.7.5", text);
}

void conn_tls_step(struct conn *c)
{
	int rc = tls_handshake(c->tls);

	if (rc == -EAGAIN) {
		loop_mod(c->hop->relay->ch->loop, &c->lf, tls_events(c->tls));
		return;
	}
	if (rc) {
		tls_failed(c, rc);
		return;
	}
	log_debug(NULL, "route=%s host=%s tls=%s cipher=%s", c->route.name,
		  c->dial.target[c->target].name, tls_version(c->tls), tls_cipher(c->tls));
	hop_pin_seen(c);
	if (c->session_open) {
		c->state = CONN_SESSION;
		client_tls_done(&c->session);
	} else {
		conn_session_begin(c);
	}
	move(c);
}

static ssize_t bytes_in(struct conn *c, void *buf, size_t cap)
{
	ssize_t n;

	if (c->tls)
		return tls_read(c->tls, buf, cap);
	do
		n = read(c->lf.fd, buf, cap);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

static ssize_t bytes_out(struct conn *c, const void *buf, size_t len)
{
	ssize_t n;

	if (c->tls)
		return tls_write(c->tls, buf, len);
	do
		n = send(c->lf.fd, buf, len, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

/* The session is over: orderly, by a fault before letters, or by one among them. */
static void session_ended(struct conn *c)
{
	struct client *s = &c->session;
	struct reply why = s->fault;

	if (c->pinned && s->tls_failed && !c->tls && !s->starttls)
		hop_pin_refused(c, why.text, sizeof(why.text));
	if (!s->failed) {
		conn_close(c, "closed");
		relay_pump(c->hop);
		return;
	}
	/*
	 * Sent away before a letter was given: that it greeted us makes no difference, and to come again at
	 * once, for nobody's account, would go on for ever.
	 */
	if (!s->greeted || (!c->letters && c->hop->waiting)) {
		conn_next_host(c, why.code,
			       why.enhanced[0] ? why.enhanced
			       : s->tls_failed ? "4.7.4"
					       : "4.4.0",
			       why.text);
		return;
	}
	conn_close(c, why.text);
	relay_pump(c->hop);
}

/* False: there is more than one turn should take. */
static bool read_all(struct conn *c)
{
	char buf[READ_MAX];
	uint64_t replies;

	for (int i = 0; i < 16; i++) {
		ssize_t n = bytes_in(c, buf, sizeof(buf));

		if (n == -EAGAIN)
			return true;
		if (n <= 0) {
			if (c->session.quit_sent && !c->session.letter_count)
				c->session.want = CLIENT_OVER;
			else
				client_lost(&c->session, n ? "the connection was lost"
							   : "the next hop closed the connection");
			return true;
		}
		/* A whole reply is progress; one byte of it each minute is not. */
		replies = c->session.replies;
		client_input(&c->session, buf, (size_t)n);
		if (c->session.replies != replies)
			c->progress_ms = loop_now_ms(c->hop->relay->ch->loop);
		if (c->session.want == CLIENT_TLS || c->session.want == CLIENT_OVER)
			return true;
	}
	return false;
}

/* True: everything that was to be written is. */
static bool write_all(struct conn *c)
{
	const char *data;
	size_t len;

	while ((len = client_output(&c->session, &data)) && c->session.want != CLIENT_OVER) {
		ssize_t n = bytes_out(c, data, len);

		if (n == -EAGAIN)
			return false;
		if (n < 0) {
			client_lost(&c->session, "the connection was lost");
			return true;
		}
		c->trickle += (size_t)n;
		if ((size_t)n == len || c->trickle >= PROGRESS_BYTES) {
			c->trickle = 0;
			c->progress_ms = loop_now_ms(c->hop->relay->ch->loop);
		}
		client_sent(&c->session, (size_t)n);
	}
	return true;
}

void conn_set_deadline(struct conn *c)
{
	struct loop *l = c->hop->relay->ch->loop;
	uint64_t ms = client_timeout_ms(&c->session);

	if (ms == UINT64_MAX)
		timer_clear(loop_timers(l), &c->deadline);
	else
		timer_set(loop_timers(l), &c->deadline, c->progress_ms + ms);
}

/* Read, think, write, until nothing moves. */
static void move(struct conn *c)
{
	struct relay *r = c->hop->relay;
	bool written, more;

	if (c->dead || c->state != CONN_SESSION)
		return;
	more = !read_all(c);
	if (c->session.want == CLIENT_TLS) {
		conn_tls_begin(c);
		if (!c->dead)
			conn_tls_step(c);
		return;
	}
	if (c->publishes && c->session.want == CLIENT_READY && !c->session.quit_sent)
		publisher_ready(&r->publisher, c);
	if (c->question && c->session.want == CLIENT_READY && !c->session.quit_sent)
		asker_ready(c);
	if (c->session.want == CLIENT_READY && c->session.greeted && !c->dead) {
		if (!c->letters)
			conn_worked(c);
		written = write_all(c);
		/* Letters for a session that has just become free, this one first. */
		if (conn_can_take(c) && c->hop->waiting) {
			relay_pump(c->hop);
			if (c->dead)
				return;
		}
	}
	written = write_all(c);
	if (c->session.want == CLIENT_OVER) {
		session_ended(c);
		return;
	}
	conn_set_deadline(c);
	/* What OpenSSL has read ahead wakes nobody: come back as soon as something can be written. */
	loop_mod(r->ch->loop, &c->lf,
		 EPOLLIN | (more      ? (uint32_t)EPOLLOUT
			    : written ? 0
			    : c->tls  ? tls_events(c->tls)
				      : (uint32_t)EPOLLOUT));
	conn_check_idle(c);
}

void conn_on_ready(struct loop_fd *lf, uint32_t events)
{
	struct conn *c = lf->arg;

	(void)events;
	if (c->state == CONN_TLS)
		conn_tls_step(c);
	else
		move(c);
}

void conn_on_deadline(struct timer *t, uint64_t now_ms)
{
	struct conn *c = t->arg;

	(void)now_ms;
	if (c->state == CONN_TLS) {
		conn_next_host(c, 0, "4.7.5", "the TLS handshake took too long");
		return;
	}
	if (c->session.quit_sent && !c->session.letter_count) {
		conn_close(c, "no answer to QUIT");
		return;
	}
	/* One that is over has said why. */
	client_lost(&c->session, "the next hop did not answer in time");
	session_ended(c);
}

void conn_on_idle(struct timer *t, uint64_t now_ms)
{
	struct conn *c = t->arg;

	(void)now_ms;
	if (!c->dead && c->state == CONN_SESSION && !c->session.letter_count) {
		client_quit(&c->session);
		move(c);
	}
}

/* ---- letters ---- */

/* No letter may be given to it any more; those that it has go their way. */
static bool full(const struct conn *c)
{
	return c->old ||
	       (c->route.letters_per_session && c->letters >= c->route.letters_per_session);
}

bool conn_opening(const struct conn *c)
{
	return !c->dead && !c->old && (c->state != CONN_SESSION || !c->session.greeted);
}

bool conn_can_take(const struct conn *c)
{
	if (c->dead || c->state != CONN_SESSION || !client_can_take(&c->session))
		return false;
	if (full(c))
		return false;
	return c->session.postern || c->uncommitted <= COMMIT_WINDOW;
}

void conn_give(struct conn *c, struct attempt *a)
{
	struct loop *l = c->hop->relay->ch->loop;

	a->conn = c;
	a->letter.required_8bitmime = c->route.required_8bitmime;
	c->letters++;
	c->progress_ms = loop_now_ms(l);
	timer_clear(loop_timers(l), &c->idle);
	client_letter(&c->session, &a->letter);
	/* Written from the loop: a burst of letters leaves as one flight. */
	loop_mod(l, &c->lf, EPOLLIN | EPOLLOUT);
}

void conn_cancel(struct conn *c, struct attempt *a)
{
	struct loop *l = c->hop->relay->ch->loop;

	client_cancel(&c->session, &a->letter);
	/* From the loop: a session that is over may be one that nothing can be written to. */
	if (c->session.want == CLIENT_OVER && !c->dead)
		timer_set(loop_timers(l), &c->deadline, loop_now_ms(l));
	conn_check_idle(c);
}

void conn_check_idle(struct conn *c)
{
	struct loop *l = c->hop->relay->ch->loop;

	if (c->dead || c->state != CONN_SESSION || !c->session.greeted || c->session.letter_count ||
	    c->session.quit_sent || c->session.publishing || c->session.tracing ||
	    timer_armed(&c->idle))
		return;
	timer_set(loop_timers(l), &c->idle,
		  loop_now_ms(l) + (full(c)			? 0
				    : c->route.kind == ROUTE_MX ? IDLE_MX_MS
								: IDLE_TUNNEL_MS));
}
