/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * ESP under a number that its receiver does not have (RFC 7296 s1.5, s2.21.4): one side has lost a CHILD
 * SA without a word. The receiver says so, the sender makes a new one:
 *
 *	ESP(SPI x) -->
 *			<--  HDR, SK {N(INVALID_SPI, x)}	within an IKE SA: believed
 *	HDR, SK {SA, Ni, [KEi,] TSi, TSr} -->			at once, whoever it is that makes them
 *	HDR, SK {D(x)} -->					should it not be lost after all
 *
 *			<--  HDR, N(INVALID_SPI, x)		without one: a hint, never more; also to
 *								somebody unknown: we may have just
 *								started, and it may be a peer
 *
 * What anybody can cause by ESP of his own making is bounded three times: by the worker, by peer and,
 * without protection, by the second.
 */
#include "engine_int.h"

#define TELL_MS 1000 /* the same peer, within an IKE SA or without */

static struct span spi_span(uint32_t spi, uint8_t b[static 4])
{
	b[0] = (uint8_t)(spi >> 24);
	b[1] = (uint8_t)(spi >> 16);
	b[2] = (uint8_t)(spi >> 8);
	b[3] = (uint8_t)spi;
	return (struct span){ b, 4 };
}

/* ---- ours to say ---- */

int invalid_spi_send(struct engine *e, struct ike_sa *sa, struct task *t)
{
	uint8_t b[4];

	pld_notify_add(inner_begin(e), INVALID_SPI, spi_span(t->spi, b));
	return request_send(e, sa, INFORMATIONAL, t);
}

/* Not part of any exchange and never answered; the SPIs name nothing, so they are drawn (s1.5). */
static void tell_clear(struct engine *e, struct peer_entry *pe, const struct engine_path *path,
		       uint32_t spi)
{
	struct ike_hdr h = { .spi_i = engine_random_spi(e),
			     .spi_r = engine_random_spi(e),
			     .version = IKE_VERSION,
			     .exchange = INFORMATIONAL,
			     .flags = IKE_FLAG_INITIATOR };
	struct ike_build b;
	uint8_t buf[64], wire[4];
	size_t n;

	if ((pe && pe->spi_told_ms && e->now_ms - pe->spi_told_ms < TELL_MS) || !stray_allowed(e))
		return;
	if (pe)
		pe->spi_told_ms = e->now_ms;
	ike_build_begin(&b, buf, sizeof(buf), &h);
	pld_notify_add(&b, INVALID_SPI, spi_span(spi, wire));
	if (!ike_build_end(&b, &n))
		fx_send(e, path, buf, n, 0);
}

static struct ike_sa *sa_with(const struct peer_entry *pe, const struct endpoint *where)
{
	for (struct ike_sa *sa = pe->sas; sa; sa = sa->peer_next)
		if (sa->state == SA_UP && endpoint_eq(&sa->path.remote, where))
			return sa;
	return NULL;
}

void engine_on_unknown_spi(struct engine *e, uint64_t now_ms, uint32_t peer,
			   const struct engine_path *path, uint32_t spi, struct fx_list *fx)
{
	struct peer_entry *pe = peer_by_id(e, peer);
	struct ike_sa *sa;

	/* One that is being made: its first packet was faster than the answer that makes it. */
	if ((!pe && peer) || child_by_spi(e, spi))
		return;
	engine_enter(e, now_ms, fx);
	sa = pe ? sa_with(pe, &path->remote) : NULL;
	if (!sa) {
		tell_clear(e, pe, path, spi);
	} else if ((!pe->spi_told_ms || now_ms - pe->spi_told_ms >= TELL_MS) &&
		   !ike_sa_task_has(sa, TASK_INVALID_SPI, 0)) {
		pe->spi_told_ms = now_ms;
		log_debug(&sa->log, "ESP with unknown SPI %08x", spi);
		task_queue(e, sa, TASK_INVALID_SPI, spi);
	}
	engine_leave(e);
}

/* ---- said to us ---- */

/* The SPI is the notification's data; some write it where other notifies have theirs. */
static uint32_t spi_of(const struct pld_notify *n)
{
	struct rd r = rd_init(n->data, n->len);

	return n->len == 4 ? rd_be32(&r) : pld_notify_spi(n);
}

void invalid_spi_heard(struct engine *e, struct ike_sa *sa, const struct ike_msg *m)
{
	const struct pld_notify *n = ike_msg_notify(m, INVALID_SPI);
	struct child_sa *c = n ? ike_sa_child_out(sa, spi_of(n)) : NULL;

	/* HALF: we have not sent on it yet, so it cannot be this one that it means. */
	if (!c || !child_sa_usable(c) || c->state == CHILD_HALF || sa->state != SA_UP)
		return;
	if (sa_may_log(e, sa, &sa->path))
		log_info(&sa->log, "the peer has lost CHILD SA %08x/%08x: it is replaced",
			 c->spi_in, c->spi_out);
	child_stop_out(e, c);
	if (!ike_sa_task_has(sa, TASK_REKEY_CHILD, c->spi_in))
		child_create(e, sa, c->conf);
	task_queue(e, sa, TASK_DELETE_CHILD, c->spi_in);
}

void invalid_spi_rumour(struct engine *e, const struct ike_msg *m, const struct engine_path *path)
{
	const struct pld_notify *n = ike_msg_notify(m, INVALID_SPI);
	uint32_t spi = n ? spi_of(n) : 0;

	/* Looking for it costs a walk over all peers: not more often than we would answer a stranger. */
	if (!spi || !stray_allowed(e))
		return;
	for (const struct peer_entry *pe = e->peers; pe; pe = pe->next) {
		struct ike_sa *sa = sa_with(pe, &path->remote);
		const struct child_sa *c = sa ? ike_sa_child_out(sa, spi) : NULL;
		struct fx *f;

		if (!c || !child_sa_usable(c))
			continue;
		f = fx_add(e, FX_HINT);
		f->reply.peer = pe->p->id;
		f->reply.ike = sa->handle;
		f->reply.path = *path;
		f->reply.about_child = true;
		return;
	}
}
