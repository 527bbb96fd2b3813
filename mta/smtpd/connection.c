/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Theory: one connection. connection_pump() is called whenever anything changed, and moves bytes
 * until nothing moves any more:
 *
 *	socket --> [TLS] --> left over from last time --> session --> replies --> [TLS] --> socket
 *
 * All input that is there is taken before the replies leave, so that the answers to a pipelined
 * flight are one write, one TLS record, one segment. What the session does not take stays in @left,
 * and while there is any, nothing is read: the client meets a closed window.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "smtpd.h"

#define READS_MAX 8 /* per turn, so that one fast client does not hold up the rest */

void connection_count(const struct conn *c, enum counter what, enum counter_word result,
		      enum counter_word reason, uint64_t n)
{
	struct counter_labels l = { c->listener, c->client.family, result, reason };

	counters_add(c->d->ch->counters, what, &l, n);
}

void connection_free(struct conn *c)
{
	struct smtpd *d = c->d;
	const struct mta_listener *l = answers_listener(c);

	answers_forget(c);
	if (c->begun)
		session_end(&c->s);
	if (c->txn)
		queue_abort(c);
	if (c->thirsty)
		TAILQ_REMOVE(&d->thirsty, c, thirst);
	timer_clear(loop_timers(d->ch->loop), &c->timer);
	if (c->lf.added)
		loop_del(d->ch->loop, &c->lf);
	if (c->tls) {
		tls_close(c->tls);
		tls_free(c->tls);
	}
	close(c->lf.fd);
	if (c->counted)
		limit_close(d->limits, &c->client, loop_now_ms(d->ch->loop));
	if (l && d->listener_sessions[l - d->ch->config->listeners])
		d->listener_sessions[l - d->ch->config->listeners]--;
	*(c->prev ? &c->prev->next : &d->conns) = c->next;
	if (c->next)
		c->next->prev = c->prev;
	d->conn_count--;
	connection_count(c, COUNTER_SESSIONS_OPEN, WORD_NONE, WORD_NONE, (uint64_t)-1);
	if (c->left) /* may hold a password */
		memset(c->left, 0, c->left_len);
	free(c->left);
	free(c);
	if (!d->waits_queue)
		listener_resume(d);
	if (d->stopping && !d->conns)
		loop_stop(d->ch->loop);
}

static const char *tls_text(const struct conn *c, char out[static 96])
{
	snprintf(out, 96, "%s %s", tls_version(c->tls), tls_cipher(c->tls));
	return out;
}

static ssize_t sock_read(struct conn *c, uint8_t *buf, size_t cap)
{
	ssize_t n;

	if (c->tls)
		return tls_read(c->tls, buf, cap);
	n = read(c->lf.fd, buf, cap);
	return n < 0 ? (errno == EINTR ? -EAGAIN : -errno) : n;
}

static ssize_t sock_write(struct conn *c, const char *buf, size_t len)
{
	ssize_t n;

	if (c->tls)
		return tls_write(c->tls, buf, len);
	n = send(c->lf.fd, buf, len, MSG_NOSIGNAL);
	return n < 0 ? (errno == EINTR ? -EAGAIN : -errno) : n;
}

/* The session takes what it takes of @p; the rest is kept. False: no memory. */
static bool feed(struct conn *c, const uint8_t *p, size_t len)
{
	size_t n = session_input(&c->s, p, len, loop_now_ms(c->d->ch->loop));

	if (n == len)
		return true;
	c->left = malloc(len - n);
	if (!c->left)
		return false;
	memcpy(c->left, p + n, len - n);
	c->left_len = len - n;
	return true;
}

/* Give the session again what it did not take. Returns true when it took something. */
static bool feed_left(struct conn *c)
{
	size_t n = session_input(&c->s, c->left, c->left_len, loop_now_ms(c->d->ch->loop));

	if (!n)
		return false;
	memmove(c->left, c->left + n, c->left_len - n);
	memset(c->left + c->left_len - n, 0, n);
	c->left_len -= n;
	if (!c->left_len) {
		free(c->left);
		c->left = NULL;
	}
	return true;
}

/* The socket is of no use any more. A letter that is whole still gets its answer. */
static void lost(struct conn *c)
{
	c->gone = true;
	if (c->lf.added)
		loop_del(c->d->ch->loop, &c->lf);
	session_eof(&c->s);
}

/* Read and feed until either side has enough. Returns true when something moved. */
static bool take(struct conn *c, bool *more)
{
	bool moved = false;

	for (int i = 0; !c->gone && session_takes_input(&c->s) && !queue_full(c->d); i++) {
		ssize_t n;

		if (c->left) {
			if (!feed_left(c))
				break;
			moved = true;
			continue;
		}
		if (i >= READS_MAX) {
			*more = true;
			break;
		}
		n = sock_read(c, c->d->buf, sizeof(c->d->buf));
		if (n == -EAGAIN)
			break;
		if (n <= 0) {
			lost(c);
			return true;
		}
		moved = true;
		if (!feed(c, c->d->buf, (size_t)n))
			lost(c);
		if (session_wish(&c->s) != SESSION_WANTS_IO)
			break;
	}
	return moved;
}

/* Write what stands there. Returns false when the socket takes no more now. */
static bool flush(struct conn *c)
{
	const char *p;
	size_t len;

	while (!c->gone && (p = session_output(&c->s, &len), len)) {
		ssize_t n = sock_write(c, p, len);

		if (n == -EAGAIN)
			return false;
		if (n <= 0) {
			lost(c);
			break;
		}
		session_taken(&c->s, (size_t)n);
	}
	return true;
}

static bool start_tls(struct conn *c)
{
	const struct mta_listener *l = answers_listener(c);
	struct smtpd *d = c->d;
	size_t i = l ? (size_t)(l - d->ch->config->listeners) : 0;
	struct tls_ctx *ctx = l ? d->tls[i] : NULL;

	c->tls = ctx ? tls_accept(ctx, c->lf.fd) : NULL;
	c->handshaking = c->tls != NULL;
	/* For all of it, however the bytes trickle. */
	timer_set(loop_timers(d->ch->loop), &c->timer,
		  loop_now_ms(d->ch->loop) + (c->conf.idle_ms < SMTPD_HANDSHAKE_MS
						  ? c->conf.idle_ms
						  : SMTPD_HANDSHAKE_MS));
	return c->handshaking;
}

static void begin_session(struct conn *c, const char *tls)
{
	session_begin(&c->s, &c->conf, &answers_ops, c, tls, loop_now_ms(c->d->ch->loop));
	session_log_keys(&c->s, NULL);
	c->begun = true;
}

/* Who the client showed itself to be, for the log: an admin takes a pin from there. */
static void tell_certificate(struct conn *c)
{
	const struct mta_listener *l = answers_listener(c);
	char hex[2 * TLS_PIN_LEN + 1];
	const char *login;
	struct tls_pin pin;

	if (!l || l->client_cert == CLIENT_CERT_NONE ||
	    !told_may(&c->d->told, TOLD_TLS, NULL))
		return;
	if (tls_peer_pin(c->tls, &pin)) {
		log_info(&c->s.log, "client shows no certificate");
		return;
	}
	for (size_t i = 0; i < TLS_PIN_LEN; i++)
		snprintf(hex + 2 * i, 3, "%02x", pin.sha256[i]);
	login = answers_external(c);
	log_info(&c->s.log, "verified=%d pin=%s%s%s msg=\"client shows a certificate\"",
		 tls_verified(c->tls), hex, login ? " login=" : "", login ? login : "");
}

/* One step of the handshake. Returns true when it is done; c->gone when it failed. */
static bool handshake(struct conn *c)
{
	char text[96], addr[ADDR_STR_MAX];
	int err = tls_handshake(c->tls);
	uint64_t now_ms = loop_now_ms(c->d->ch->loop);

	if (err == -EAGAIN)
		return false;
	connection_count(c, COUNTER_TLS, err ? WORD_FAILED : WORD_OK, WORD_NONE, 1);
	if (err) {
		if (told_may(&c->d->told, TOLD_TLS, &c->client))
			log_info(NULL, "TLS handshake failed client=%s: %s",
				 addr_str(&c->client, addr), tls_error(c->tls));
		c->gone = true;
		return false;
	}
	c->handshaking = false;
	if (c->implicit) {
		begin_session(c, tls_text(c, text));
		c->implicit = false;
	} else {
		session_tls_done(&c->s, tls_text(c, text), now_ms);
	}
	tell_certificate(c);
	return true;
}

/*
 * Our side is closed, the client's may still bring bytes. Closing the socket over them would make
 * the kernel send a reset, and the client might never read why it was sent away.
 */
static void linger(struct conn *c)
{
	struct smtpd *d = c->d;

	c->lingering = true;
	if (c->tls) {
		tls_close(c->tls);
		tls_free(c->tls);
		c->tls = NULL;
	}
	shutdown(c->lf.fd, SHUT_WR);
	loop_mod(d->ch->loop, &c->lf, EPOLLIN);
	timer_set(loop_timers(d->ch->loop), &c->timer, loop_now_ms(d->ch->loop) + SMTPD_LINGER_MS);
}

static void linger_on(struct conn *c)
{
	ssize_t n;

	do {
		n = read(c->lf.fd, c->d->buf, sizeof(c->d->buf));
		c->lingered_bytes += n > 0 ? (size_t)n : 0;
	} while (n > 0 && c->lingered_bytes < SMTPD_LINGER_BYTES);
	if (n >= 0 || (errno != EAGAIN && errno != EINTR))
		connection_free(c);
}

/* What to be woken for. */
static void watch(struct conn *c, bool more, bool blocked)
{
	struct loop *loop = c->d->ch->loop;
	uint64_t at, now_ms = loop_now_ms(loop);
	uint32_t events = 0;

	if (c->handshaking) {
		loop_mod(loop, &c->lf, tls_events(c->tls));
		return; /* the timer is the handshake's */
	}
	if (!c->gone) {
		bool takes = session_takes_input(&c->s);

		if (takes && queue_full(c->d)) {
			queue_thirst(c);
			takes = false;
		}
		if (takes && !c->left)
			events |= EPOLLIN;
		if (blocked)
			events |= c->tls ? tls_events(c->tls) : EPOLLOUT;
		loop_mod(loop, &c->lf, events);
		/* Bytes inside of OpenSSL do not wake anybody. */
		more |= c->tls && takes && tls_has_input(c->tls);
	}
	at = session_deadline_ms(&c->s);
	if (more)
		at = now_ms;
	if (timer_set(loop_timers(loop), &c->timer, at))
		c->gone = true;
}

void connection_pump(struct conn *c)
{
	bool more = false, open = true;

	if (c->pumping || c->lingering) /* an answer from inside of a question, or too late */
		return;
	c->pumping = true;
	while (!c->gone) {
		if (c->handshaking && !handshake(c))
			break;
		while (take(c, &more) && !more)
			;
		open = flush(c);
		if (!open || c->gone)
			break;
		if (session_wish(&c->s) == SESSION_WANTS_TLS) {
			if (!start_tls(c))
				c->gone = true;
			continue;
		}
		if (session_wish(&c->s) == SESSION_WANTS_CLOSE) {
			if (c->s.sent_away && !c->d->stopping) {
				c->pumping = false;
				return linger(c);
			}
			c->gone = true;
		}
		if (more || !session_takes_input(&c->s) || !c->left || queue_full(c->d))
			break;
	}
	c->pumping = false;
	if (c->gone && (!c->begun || c->s.wait != WAIT_STORED)) {
		connection_free(c);
		return;
	}
	watch(c, more, !open);
}

static void ready(struct loop_fd *lf, uint32_t events)
{
	struct conn *c = lf->arg;

	if (c->lingering)
		return linger_on(c);
	/* Both directions are dead: nothing else would stop epoll from saying so for ever. */
	if ((events & (EPOLLHUP | EPOLLERR)) && !(lf->events & (EPOLLIN | EPOLLOUT)) && c->begun)
		lost(c);
	connection_pump(c);
}

static void due(struct timer *t, uint64_t now_ms)
{
	struct conn *c = t->arg;

	if (c->handshaking)
		connection_count(c, COUNTER_TLS, WORD_FAILED, WORD_NONE, 1);
	if (c->handshaking || c->lingering) {
		connection_free(c);
		return;
	}
	session_tick(&c->s, now_ms);
	if (session_wish(&c->s) == SESSION_WANTS_CLOSE && now_ms >= session_deadline_ms(&c->s))
		c->gone = true; /* it never read our last words */
	connection_pump(c);
}

void connection_conf(const struct mta_config *cfg, const struct mta_listener *l,
		     const struct endpoint *client, const char *peer, struct session_conf *conf)
{
	bool submission = l->class == LISTEN_SUBMISSION || l->class == LISTEN_SUBMISSIONS;
	bool tunnel = l->class == LISTEN_TUNNEL, lan = l->class == LISTEN_LAN;

	*conf = (struct session_conf){
		.hostname = l->hostname,
		.listener = l->name,
		.client = *client,
		.peer = peer,
		.tls_offered = l->certificates.count > 0 || l->hop_key,
		.tls_required = l->tls_required,
		.auth_offered = (submission || lan) && cfg->users,
		.auth_in_clear = tunnel || addr_is_loopback(&client->addr),
		.auth_required = submission,
		.dsn = l->dsn,
		.xpostern = tunnel,
		.publishes = tunnel && published_offered(cfg, peer),
		.traces = traced_offered(cfg, l, &client->addr, peer),
		.traces_by_tls = !tunnel,
		.mask_source = l->mask_source,
		.normalize = l->normalize,
		.complete_header = submission || lan,
		.check_from = submission || (tunnel && peer && config_home_by_peer(cfg, peer)),
		.helo_tolerant = submission || lan,
		.local = addr_is_loopback(&client->addr),
		.cut_authserv_id = l->hostname,
		/* One answer of a next hop speaks for one recipient. */
		.recipients_max = cfg->cut_through ? 1 : l->recipients_max,
		.errors_max = tunnel ? 0 : l->errors_max,
		.received_max = cfg->received_max,
		.size_max_bytes = l->size_max_bytes,
		.idle_ms = l->idle_ms,
		.greet_delay_ms = l->greet_delay_ms,
		.session_ms = l->session_ms,
	};
}

/* The listener's words outlive a reload that frees the configuration. */
static void configure(struct conn *c, const struct mta_listener *l, const struct endpoint *client)
{
	const struct mta_config *cfg = c->d->ch->config;

	snprintf(c->hostname, sizeof(c->hostname), "%s", l->hostname);
	snprintf(c->listener, sizeof(c->listener), "%s", l->name);
	c->class = l->class;
	connection_conf(cfg, l, client, c->peer[0] ? c->peer : NULL, &c->conf);
	c->conf.hostname = c->conf.cut_authserv_id = c->hostname;
	c->conf.listener = c->listener;
	c->conf.tls_offered = c->d->tls[l - cfg->listeners] != NULL;
}

void connection_new(struct smtpd *d, const struct lsock *ls, int fd, const struct endpoint *client,
		    const char *peer)
{
	const struct mta_listener *l = &d->ch->config->listeners[ls->index];
	struct conn *c = calloc(1, sizeof(*c));

	if (!c) {
		close(fd);
		limit_close(d->limits, &client->addr, loop_now_ms(d->ch->loop));
		return;
	}
	c->d = d;
	c->client = client->addr;
	c->counted = true;
	if (peer)
		snprintf(c->peer, sizeof(c->peer), "%s", peer);
	configure(c, l, client);
	c->lf = (struct loop_fd){ .fd = fd, .ready = ready, .arg = c };
	c->timer.fire = due;
	c->timer.arg = c;
	c->next = d->conns;
	if (c->next)
		c->next->prev = c;
	d->conns = c;
	d->conn_count++;
	connection_count(c, COUNTER_SESSIONS, WORD_NONE, WORD_NONE, 1);
	connection_count(c, COUNTER_SESSIONS_OPEN, WORD_NONE, WORD_NONE, 1);
	d->listener_sessions[ls->index]++;
	tls_socket_prepare(fd);
	if (loop_add(d->ch->loop, &c->lf, EPOLLIN)) {
		connection_free(c);
		return;
	}
	c->implicit = l->class == LISTEN_SUBMISSIONS;
	if (c->implicit) {
		if (!start_tls(c)) {
			connection_free(c);
			return;
		}
	} else {
		begin_session(c, NULL);
	}
	connection_pump(c);
}
