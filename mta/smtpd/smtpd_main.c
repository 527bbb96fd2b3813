/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "metrics.h"
#include "ruleset.h"
#include "sandbox.h"
#include "smtpd.h"
#include "wire.h"

#define TLS_FAULT_MAX 500

/* Listening sockets, links and memfds come by descriptor: nothing is ever opened here. */
static const struct sandbox_role role = {
	.name = "mta smtpd",
	.calls = SANDBOX_IPC | SANDBOX_ACCEPT,
	.extra = { "memfd_create" }, /* sets of recipients on their way to queue and lookup */
	.ring_register = { -1 },
};

static void accept_again(struct timer *t, uint64_t now_ms)
{
	(void)now_ms;
	listener_resume(t->arg);
}

/* The parent has refused such a file already; a second lock on that door costs nothing. */
static bool relays_for_all(const struct child *ch)
{
	char why[512];
	unsigned line;

	if (!ruleset_check(ch->config, &line, why, sizeof(why)))
		return false;
	log_err(NULL, "%s:%u: %s", ch->config->path ? ch->config->path : "mta.conf", line, why);
	return true;
}

static int start(struct child *ch)
{
	struct smtpd *d = ch->state;
	int rc;

	d->ch = ch;
	if (relays_for_all(ch))
		return -EPERM;
	TAILQ_INIT(&d->thirsty);
	told_init(&d->told, ch->loop);
	d->limits = limit_new(0, ch->limits_fd, loop_now_ms(ch->loop));
	if (!d->limits && ch->limits_fd >= 0) {
		log_err(NULL, "limits begin anew: %s", strerror(errno));
		d->limits = limit_new(0, -1, loop_now_ms(ch->loop));
	}
	d->lookup = lookup_new(ch->loop);
	d->accept_again.fire = accept_again;
	d->accept_again.arg = d;
	if (!d->limits || !d->lookup)
		return -ENOMEM;
	listener_wait(d);
	tls_load(); /* contexts come with the certificates, and not at all where there are none */
	rc = sandbox_opened(&role, NULL, 0);
	return rc ? rc : sandbox_run(&role);
}

/* Would a context of the old listener demand of clients what the new one does? */
static bool same_demands(const struct mta_listener *a, const struct mta_listener *b)
{
	if (a->class != b->class || a->client_cert != b->client_cert ||
	    a->tls_versions.min != b->tls_versions.min ||
	    a->tls_versions.max != b->tls_versions.max || !a->client_ca != !b->client_ca ||
	    (a->client_ca && strcmp(a->client_ca, b->client_ca)) ||
	    a->client_pins.count != b->client_pins.count)
		return false;
	for (size_t i = 0; i < a->client_pins.count; i++) {
		if (strcmp(a->client_pins.v[i], b->client_pins.v[i]))
			return false;
	}
	return true;
}

/* Sessions keep the contexts that they hold; names of listeners tie them to the new configuration. */
static void reload(struct child *ch, const struct mta_config *old)
{
	struct tls_ctx *tls[MTA_LISTENERS_MAX] = { 0 };
	uint32_t sessions[MTA_LISTENERS_MAX] = { 0 };
	struct smtpd *d = ch->state;

	explain_abandon(d);
	d->relays_for_all = relays_for_all(ch);
	for (size_t i = 0; i < old->listener_count; i++) {
		for (size_t k = 0; k < ch->config->listener_count; k++) {
			const struct mta_listener *l = &ch->config->listeners[k];

			if (strcmp(old->listeners[i].name, l->name))
				continue;
			/* They are found again by name and class. */
			if (old->listeners[i].class == l->class)
				sessions[k] = d->listener_sessions[i];
			if ((l->certificates.count || l->hop_key) &&
			    same_demands(&old->listeners[i], l)) {
				/* Until the keys come; for good if these are no use. */
				tls[k] = d->tls[i];
				d->tls[i] = NULL;
			}
			for (struct lsock *ls = d->lsocks; ls; ls = ls->next) {
				/* settled indexes only; fresh ones speak of the new file already */
				if (!ls->fresh && ls->index == i)
					ls->index = (uint32_t)k | 0x80000000u;
			}
		}
	}
	for (struct lsock *ls = d->lsocks; ls; ls = ls->next) {
		if (ls->index & 0x80000000u)
			ls->index &= 0x7fffffffu;
		else if (!ls->fresh)
			ls->index = UINT32_MAX; /* its listener is gone: accept() closes */
	}
	for (size_t i = 0; i < MTA_LISTENERS_MAX; i++)
		tls_ctx_put(d->tls[i]);
	memcpy(d->tls, tls, sizeof(tls));
	memcpy(d->listener_sessions, sessions, sizeof(sessions));
}

static void attach_lookup(struct smtpd *d, int fd)
{
	if (!lookup_attach(d->lookup, fd))
		published_attach(d);
}

static void peer(struct child *ch, enum mta_proc who, int fd)
{
	struct smtpd *d = ch->state;

	if (who == MTA_PROC_QUEUE)
		queue_attach(d, fd);
	else if (who == MTA_PROC_LOOKUP)
		attach_lookup(d, fd);
	else
		close(fd);
}

static void listener(struct child *ch, uint32_t index, const struct mta_listen_fd *at, int fd)
{
	listener_add(ch->state, index, at, fd);
}

static void listeners_end(struct child *ch)
{
	listener_settle(ch->state);
}

/* The pairs of one MTA_KEY message; 0: it is not whole. */
static size_t read_pairs(const char *p, size_t len, struct tls_keypair kp[static TLS_KEYPAIRS_MAX])
{
	struct rd r = rd_init((const uint8_t *)p, len);
	size_t n = 0;

	while (n < TLS_KEYPAIRS_MAX && rd_left(&r)) {
		kp[n].chain_len = rd_be32(&r);
		kp[n].chain = rd_take(&r, kp[n].chain_len);
		kp[n].key_len = rd_be32(&r);
		kp[n].key = rd_take(&r, kp[n].key_len);
		n++;
	}
	return r.bad || rd_left(&r) ? 0 : n;
}

/* For the log, and for status: what listener @id serves with, and why not with what came last. */
static void tell_tls(struct smtpd *d, uint32_t id, const char *why)
{
	uint8_t told[1 + TLS_FAULT_MAX];
	char quoted[2 * TLS_FAULT_MAX];
	size_t len = strlen(why) < TLS_FAULT_MAX ? strlen(why) : TLS_FAULT_MAX;

	if (*why)
		log_err(NULL, "listener=%s msg=\"certificate not used, %s: %s\"",
			d->ch->config->listeners[id].name,
			d->tls[id] ? "the old one stays" : "THE LISTENER HAS NO TLS until this is mended",
			log_quote(quoted, sizeof(quoted), why, len));
	told[0] = d->tls[id] != NULL;
	memcpy(told + 1, why, len);
	ipc_send(d->ch->parent, MTA_LISTENER_TLS, id, told, 1 + len);
}

/*
 * New certificates take the place of the old; sessions under way stay on those that they began with.
 * If one of them is of no use, such as a chain whose key has not come yet, all the old ones stay.
 */
static void key(struct child *ch, uint32_t id, const char *chain, size_t chain_len,
		const char *pairs, size_t len)
{
	const bool unread = id >= MTA_KEY_UNREAD;
	const uint32_t i = unread ? id - MTA_KEY_UNREAD : id;
	struct tls_keypair kp[TLS_KEYPAIRS_MAX];
	char err[TLS_ERROR_MAX], why[TLS_FAULT_MAX];
	const struct mta_listener *l;
	struct smtpd *d = ch->state;
	struct tls_ctx *ctx;
	size_t n;

	(void)chain;
	if (id == MTA_KEY_SRS) {
		srs_keys_take(&d->srs, pairs, len);
		return;
	}
	if (chain_len || i >= ch->config->listener_count || i >= MTA_LISTENERS_MAX)
		return;
	l = &ch->config->listeners[i];
	if (unread) {
		snprintf(why, sizeof(why), "%.*s", (int)len, pairs);
		return tell_tls(d, i, why);
	}
	n = read_pairs(pairs, len, kp);
	if (!n || (n != l->certificates.count && !(l->hop_key && n == l->certificates.count + 1)))
		return tell_tls(d, i, "what the parent sent is not whole");
	if (listener_tls(&ctx, l, ch->bundle, kp, n, err)) {
		snprintf(why, sizeof(why), "%s: %s",
			 l->certificates.count ? l->certificates.v[0] : "the key of the hop", err);
		return tell_tls(d, i, why);
	}
	tls_ctx_put(d->tls[i]);
	d->tls[i] = ctx;
	tell_tls(d, i, "");
}

static void fill(struct metrics *m, void *arg)
{
	const struct smtpd *d = arg;
	struct counters *tables[MTA_PROCS];

	for (size_t i = 0; i < MTA_PROCS; i++)
		tables[i] = i == MTA_PROC_SMTPD ? d->ch->counters : d->ch->others[i];
	counters_write(m, tables, MTA_PROCS);
}

static void metrics(struct child *ch, int fd)
{
	struct smtpd *d = ch->state;

	metrics_server_free(d->metrics);
	d->metrics = metrics_server_new(ch->loop, fd, fill, d);
	if (!d->metrics)
		log_err(NULL, "metrics are not served: %s", strerror(errno));
}

static void stop_now(struct timer *t, uint64_t now_ms)
{
	struct smtpd *d = t->arg;

	(void)now_ms;
	loop_stop(d->ch->loop);
}

static void control(struct child *ch, uint32_t id, const char *json, size_t len)
{
	explain_control(ch->state, id, json, len);
}

/* Good-bye to all; a letter that is whole waits for its answer, but not for ever. */
static void stop(struct child *ch)
{
	struct smtpd *d = ch->state;
	struct conn *c, *next;

	d->stopping = true;
	told_summary(&d->told);
	metrics_server_free(d->metrics);
	d->metrics = NULL;
	listener_close_all(d);
	d->stop_timer.fire = stop_now;
	d->stop_timer.arg = d;
	timer_set(loop_timers(ch->loop), &d->stop_timer, loop_now_ms(ch->loop) + SMTPD_STOP_MS);
	for (c = d->conns; c; c = next) {
		next = c->next;
		if (!c->begun || c->lingering) {
			connection_free(c);
		} else {
			session_shutdown(&c->s, loop_now_ms(ch->loop));
			connection_pump(c);
		}
	}
	if (!d->conns)
		loop_stop(ch->loop);
}

int smtpd_main(void)
{
	static const struct child_ops ops = {
		.start = start,
		.reload = reload,
		.peer = peer,
		.listener = listener,
		.listeners_end = listeners_end,
		.key = key,
		.control = control,
		.metrics = metrics,
		.stop = stop,
	};
	static struct smtpd state;

	return child_run(MTA_PROC_SMTPD, &ops, &state);
}
