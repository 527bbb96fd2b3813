/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Accepting. Who the client is follows from the socket it came by: on a tunnel socket (bound to the
 * TUN device by the parent) its address names a peer of posternd's table; an address that no peer
 * has is nobody's and is not spoken to.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "match.h"
#include "smtpd.h"

#define NOT_WELCOME "5.7.1 Your address is not welcome here"

bool listener_admits(const struct mta_config *c, const struct mta_listener *l, const struct addr *a,
		     const struct prefix **by, struct reply *r)
{
	*r = (struct reply){ 554, NOT_WELCOME };
	return match_door(&c->door, a, by) && match_door(&l->door, a, by);
}

/* A few words, if the socket takes them at once; nobody waits. */
static void turn_away(struct smtpd *d, const struct mta_listener *l, int fd, const char *text)
{
	char line[400];
	int n = snprintf(line, sizeof(line), "%s %s %s\r\n", *text == '5' ? "554" : "421",
			 l->hostname, text);

	(void)d;
	if (l->class != LISTEN_SUBMISSIONS && n > 0)
		(void)!send(fd, line, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT);
	close(fd);
}

struct refusal {
	enum counter_word reason;
	const char *text;
};

static uint32_t sessions_of(const struct smtpd *d, const char *peer)
{
	uint32_t n = 0;

	for (const struct conn *c = d->conns; c; c = c->next)
		n += !strcmp(c->peer, peer);
	return n;
}

/* NULL: the client is welcome. */
static const struct refusal *refusal(struct smtpd *d, const struct lsock *ls,
				     const struct endpoint *client, const struct tunnel_peer **peer)
{
	static const struct refusal denied = { WORD_POLICY, NOT_WELCOME };
	static const struct refusal no_peer = { WORD_NOT_A_PEER,
						"4.7.0 Not the address of a tunnel peer" };
	static const struct refusal full = { WORD_LISTENER_FULL,
					     "4.7.0 Too many sessions, come later" };
	static const struct refusal network = { WORD_NETWORK_FULL,
						"4.7.0 Too many sessions from your network" };
	static const struct refusal rate = { WORD_NETWORK_RATE,
					     "4.7.0 Too many new sessions from your network" };
	const struct mta_listener *l = &d->ch->config->listeners[ls->index];
	struct limit_conf lc = {
		.sessions_per_prefix = l->sessions_per_prefix,
		.per_minute =
		    l->class == LISTEN_TUNNEL || l->class == LISTEN_LAN ? 0 : LIMIT_PER_MINUTE,
	};

	const struct prefix *by;
	struct reply r;

	if (!listener_admits(d->ch->config, l, &client->addr, &by, &r))
		return &denied;
	*peer = ls->at.tunnel ? tunnel_peer_by_addr(&d->ch->tunnel, &client->addr) : NULL;
	if ((ls->at.tunnel || l->class == LISTEN_TUNNEL) && !*peer)
		return &no_peer;
	if (l->sessions_max && d->listener_sessions[ls->index] >= l->sessions_max)
		return &full;
	if (*peer) { /* of all its addresses together: the other homes want to come in too */
		lc.sessions_per_prefix = 0;
		if (l->sessions_per_prefix && sessions_of(d, (*peer)->name) >= l->sessions_per_prefix)
			return &network;
	}
	/* A home behind one address opens as many as it likes, up to the listener's own number. */
	if (addr_is_loopback(&client->addr))
		lc.per_minute = 0, lc.sessions_per_prefix = 0;
	switch (limit_open(d->limits, &lc, &client->addr, loop_now_ms(d->ch->loop))) {
	case LIMIT_OK:
		return NULL;
	case LIMIT_PREFIX:
		return &network;
	case LIMIT_RATE:
		return &rate;
	default:
		return &full;
	}
}

/*
 * A listener on every address is reached at those of the tunnel too. What comes there by the TUN is the tunnel
 * socket's, and what this machine sends itself bears one address at both ends; all else took another way.
 */
static bool came_around(const struct smtpd *d, const struct lsock *ls, int fd,
			const struct endpoint *client)
{
	struct sockaddr_storage ss = { 0 };
	socklen_t len = sizeof(ss);
	struct endpoint at;

	if (ls->at.tunnel || getsockname(fd, (struct sockaddr *)&ss, &len) ||
	    endpoint_from_sockaddr(&at, (struct sockaddr *)&ss) ||
	    addr_eq(&at.addr, &client->addr))
		return false;
	for (const struct lsock *t = d->lsocks; t; t = t->next) {
		if (t->at.tunnel && endpoint_eq(&t->at.bound, &at))
			return true;
	}
	return false;
}

static void welcome(struct smtpd *d, const struct lsock *ls, int fd, const struct endpoint *client)
{
	static const struct refusal around = { WORD_NOT_A_PEER,
					       "a tunnel address, but not by the tunnel" };
	const struct tunnel_peer *peer = NULL;
	const struct mta_listener *l = &d->ch->config->listeners[ls->index];
	const struct refusal *why = came_around(d, ls, fd, client) ? &around
								   : refusal(d, ls, client, &peer);
	struct counter_labels labels = { .name = l->name, .family = client->addr.family };
	char addr[ADDR_STR_MAX];

	if (!why) {
		connection_new(d, ls, fd, client, peer ? peer->name : NULL);
		return;
	}
	labels.reason = why->reason;
	counters_add(d->ch->counters, COUNTER_TURNED_AWAY, &labels, 1);
	if (told_may(&d->told, TOLD_AWAY, &client->addr))
		log_info(NULL, "client turned away client=%s: %s", addr_str(&client->addr, addr),
			 why->text);
	if (why == &around)
		close(fd); /* who is not spoken to learns not even that somebody is here */
	else
		turn_away(d, l, fd, why->text);
}

static void watch_all(struct smtpd *d, bool on)
{
	for (struct lsock *ls = d->lsocks; ls; ls = ls->next) {
		if (on && !ls->lf.added)
			loop_add(d->ch->loop, &ls->lf, EPOLLIN);
		else if (!on && ls->lf.added)
			loop_del(d->ch->loop, &ls->lf);
	}
	d->accept_paused = !on;
}

/* Out of descriptors: the clients wait in the backlog while the running sessions go on. */
static void pause_accept(struct smtpd *d, int err)
{
	uint64_t now_ms = loop_now_ms(d->ch->loop);

	if (!d->paused_told_ms || now_ms - d->paused_told_ms >= 60000) {
		log_warn(NULL, "accept paused: %s, sessions=%zu", strerror(err), d->conn_count);
		d->paused_told_ms = now_ms;
	}
	watch_all(d, false);
	timer_set(loop_timers(d->ch->loop), &d->accept_again, now_ms + SMTPD_ACCEPT_PAUSE_MS);
}

void listener_wait(struct smtpd *d)
{
	watch_all(d, false);
	d->waits_queue = true;
	timer_set(loop_timers(d->ch->loop), &d->accept_again,
		  loop_now_ms(d->ch->loop) + SMTPD_QUEUE_WAIT_MS);
}

void listener_resume(struct smtpd *d)
{
	d->waits_queue = false;
	if (!d->accept_paused || d->stopping)
		return;
	timer_clear(loop_timers(d->ch->loop), &d->accept_again);
	watch_all(d, true);
}

static void ready(struct loop_fd *lf, uint32_t events)
{
	struct lsock *ls = lf->arg;
	struct smtpd *d = ls->d;

	(void)events;
	for (int i = 0; i < SMTPD_ACCEPT_BATCH && !d->accept_paused; i++) {
		struct sockaddr_storage ss = { 0 };
		socklen_t len = sizeof(ss);
		struct endpoint client;
		int fd =
		    accept4(lf->fd, (struct sockaddr *)&ss, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd < 0) {
			if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
			    errno == ENOMEM)
				pause_accept(d, errno);
			if (errno == ECONNABORTED || errno == EINTR)
				continue;
			return;
		}
		if (endpoint_from_sockaddr(&client, (struct sockaddr *)&ss) ||
		    ls->index >= d->ch->config->listener_count) {
			close(fd);
			continue;
		}
		welcome(d, ls, fd, &client);
	}
}

int listener_add(struct smtpd *d, uint32_t index, const struct mta_listen_fd *at, int fd)
{
	struct lsock *ls;

	if (index >= d->ch->config->listener_count || index >= MTA_LISTENERS_MAX) {
		close(fd);
		return -EINVAL;
	}
	ls = calloc(1, sizeof(*ls));
	if (!ls) {
		close(fd);
		return -ENOMEM;
	}
	ls->d = d;
	ls->index = index;
	ls->at = *at;
	ls->fresh = true;
	ls->lf = (struct loop_fd){ .fd = fd, .ready = ready, .arg = ls };
	ls->next = d->lsocks;
	d->lsocks = ls;
	return 0;
}

static void drop(struct smtpd *d, struct lsock *ls)
{
	if (ls->lf.added)
		loop_del(d->ch->loop, &ls->lf);
	close(ls->lf.fd);
	free(ls);
}

void listener_settle(struct smtpd *d)
{
	struct lsock **at = &d->lsocks, *ls;

	while ((ls = *at)) {
		if (ls->fresh) {
			ls->fresh = false;
			at = &ls->next;
			continue;
		}
		*at = ls->next;
		drop(d, ls);
	}
	if (!d->stopping && !d->accept_paused)
		watch_all(d, true);
}

void listener_close_all(struct smtpd *d)
{
	struct lsock *ls;

	while ((ls = d->lsocks)) {
		d->lsocks = ls->next;
		drop(d, ls);
	}
}
