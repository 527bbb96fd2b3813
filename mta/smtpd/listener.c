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

#include "smtpd.h"

/* A few words, if the socket takes them at once; nobody waits. */
static void turn_away(struct smtpd *d, const struct mta_listener *l, int fd, const char *text)
{
	char line[400];
	int n = snprintf(line, sizeof(line), "421 %s %s\r\n", l->hostname, text);

	(void)d;
	if (l->class != LISTEN_SUBMISSIONS && n > 0)
		(void)!send(fd, line, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT);
	close(fd);
}

static const char *refusal(struct smtpd *d, const struct lsock *ls, const struct endpoint *client,
			   const struct tunnel_peer **peer)
{
	const struct mta_listener *l = &d->ch->config->listeners[ls->index];
	struct limit_conf lc = {
		.sessions_per_prefix = l->sessions_per_prefix,
		.per_minute =
		    l->class == LISTEN_TUNNEL || l->class == LISTEN_LAN ? 0 : LIMIT_PER_MINUTE,
	};

	*peer = ls->at.tunnel ? tunnel_peer_by_addr(&d->ch->tunnel, &client->addr) : NULL;
	if ((ls->at.tunnel || l->class == LISTEN_TUNNEL) && !*peer)
		return "4.7.0 Not the address of a tunnel peer";
	if (l->sessions_max && d->listener_sessions[ls->index] >= l->sessions_max)
		return "4.7.0 Too many sessions, come later";
	/* A home behind one address opens as many as it likes, up to the listener's own number. */
	if (addr_is_loopback(&client->addr))
		lc.per_minute = 0, lc.sessions_per_prefix = 0;
	switch (limit_open(d->limits, &lc, &client->addr, loop_now_ms(d->ch->loop))) {
	case LIMIT_OK:
		return NULL;
	case LIMIT_PREFIX:
		return "4.7.0 Too many sessions from your network";
	case LIMIT_RATE:
		return "4.7.0 Too many new sessions from your network";
	default:
		return "4.7.0 Too many sessions, come later";
	}
}

static void welcome(struct smtpd *d, const struct lsock *ls, int fd, const struct endpoint *client)
{
	const struct tunnel_peer *peer;
	const char *why = refusal(d, ls, client, &peer);
	char addr[ADDR_STR_MAX];
	uint32_t swallowed;

	if (!why) {
		connection_new(d, ls, fd, client, peer ? peer->name : NULL);
		return;
	}
	if (log_limited(&d->quiet, addr_hash(&client->addr, 64), loop_now_ms(d->ch->loop),
			&swallowed))
		log_info(NULL, "client turned away client=%s: %s (%u more not told)",
			 addr_str(&client->addr, addr), why, swallowed);
	turn_away(d, &d->ch->config->listeners[ls->index], fd, why);
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

void listener_resume(struct smtpd *d)
{
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
	if (!d->stopping)
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
