/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ruleset.h"
#include "sandbox.h"
#include "smtpd.h"

/* Listening sockets, links and memfds come by descriptor: nothing is ever opened here. */
static const struct sandbox_role role = {
	.name = "mta smtpd",
	.calls = SANDBOX_IPC | SANDBOX_ACCEPT,
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
	d->limits = limit_new(0);
	d->lookup = lookup_new(ch->loop);
	d->accept_again.fire = accept_again;
	d->accept_again.arg = d;
	if (!d->limits || !d->lookup)
		return -ENOMEM;
	tls_load(); /* what OpenSSL reads on first use (its configuration, providers) it reads now */
	rc = sandbox_opened(&role, NULL, 0);
	return rc ? rc : sandbox_run(&role);
}

/* Sessions keep the contexts that they hold; names of listeners tie them to the new configuration. */
static void reload(struct child *ch, const struct mta_config *old)
{
	struct tls_ctx *tls[MTA_LISTENERS_MAX] = { 0 }, *cert[MTA_LISTENERS_MAX] = { 0 };
	uint32_t sessions[MTA_LISTENERS_MAX] = { 0 };
	struct smtpd *d = ch->state;

	d->relays_for_all = relays_for_all(ch);
	for (size_t i = 0; i < old->listener_count; i++) {
		for (size_t k = 0; k < ch->config->listener_count; k++) {
			const struct mta_listener *l = &ch->config->listeners[k];

			if (strcmp(old->listeners[i].name, l->name))
				continue;
			sessions[k] = d->listener_sessions[i];
			if (l->certificates.count) {
				tls[k] = d->tls[i];
				cert[k] = d->tls_client_cert[i];
				d->tls[i] = d->tls_client_cert[i] = NULL;
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
	for (size_t i = 0; i < MTA_LISTENERS_MAX; i++) {
		tls_ctx_put(d->tls[i]);
		tls_ctx_put(d->tls_client_cert[i]);
	}
	memcpy(d->tls, tls, sizeof(tls));
	memcpy(d->tls_client_cert, cert, sizeof(cert));
	memcpy(d->listener_sessions, sessions, sizeof(sessions));
}

static void peer(struct child *ch, enum mta_proc who, int fd)
{
	struct smtpd *d = ch->state;

	if (who == MTA_PROC_QUEUE)
		queue_attach(d, fd);
	else if (who == MTA_PROC_LOOKUP)
		lookup_attach(d->lookup, fd);
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

/* A new certificate takes its place; sessions under way stay on the one they began with. */
static void key(struct child *ch, uint32_t id, const char *chain, size_t chain_len,
		const char *key_pem, size_t key_len)
{
	struct tls_keypair kp = {
		.chain = chain, .chain_len = chain_len, .key = key_pem, .key_len = key_len
	};
	struct tls_server_conf conf = { .keypairs = &kp, .keypair_count = 1 };
	struct smtpd *d = ch->state;
	struct tls_ctx *plain, *cert;
	char err[TLS_ERROR_MAX];

	if (id >= ch->config->listener_count || id >= MTA_LISTENERS_MAX)
		return;
	if (tls_server_ctx_new(&plain, &conf, err)) {
		log_err(NULL, "listener=%s certificate not used: %s",
			ch->config->listeners[id].name, err);
		return;
	}
	conf.ask_client_cert = true;
	if (tls_server_ctx_new(&cert, &conf, err)) {
		tls_ctx_put(plain);
		return;
	}
	tls_ctx_put(d->tls[id]);
	tls_ctx_put(d->tls_client_cert[id]);
	d->tls[id] = plain;
	d->tls_client_cert[id] = cert;
}

static void stop_now(struct timer *t, uint64_t now_ms)
{
	struct smtpd *d = t->arg;

	(void)now_ms;
	loop_stop(d->ch->loop);
}

/* Good-bye to all; a letter that is whole waits for its answer, but not for ever. */
static void stop(struct child *ch)
{
	struct smtpd *d = ch->state;
	struct conn *c, *next;

	d->stopping = true;
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
		.stop = stop,
	};
	static struct smtpd state;

	return child_run(MTA_PROC_SMTPD, &ops, &state);
}
