/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Theory: MOBIKE (RFC 4555), both roles. An IKE SA and its CHILD SAs move together to another pair of
 * addresses, and stay what they are.
 *
 *	IKE_AUTH: N(MOBIKE_SUPPORTED), [N(ADDITIONAL_IP4_ADDRESS)..]	both ways
 *
 *	(new path) HDR, SK {N(UPDATE_SA_ADDRESSES), N(NAT_DETECTION_..), N(COOKIE2)} -->
 *			<--  HDR, SK {N(NAT_DETECTION_..), N(COOKIE2)}
 *			<--  HDR, SK {N(COOKIE2)}	can it read there? (s3.7)
 *	HDR, SK {N(COOKIE2)} -->
 *
 * The one who moves, the initiator of the first IKE SA of the series, or either of two Posterns: the window
 * is 1, so a request that is outstanding goes on with the same bytes by the new path, and the UPDATE is the
 * request that follows it (s3.5). Of several moves only the last is told, and only its answer
 * counts. With the window of 1 the newest message ID wins by itself: an older UPDATE that arrives
 * late is a repetition, whose answer is repeated, and moves nothing.
 *
 * The other one believes the IP header of the UPDATE, answers, moves its requests and tells
 * the supervisor (FX_UPDATE); at an address that it did not know it asks for COOKIE2 first of all. Nobody
 * but a peer that has authenticated can aim us at a stranger, and it gets three times its own bytes out of it.
 *
 * No other IKE message moves anything (s3.8). A change of the peer's view of us, told by
 * NAT_DETECTION_DESTINATION_IP in its answers, is FX_NAT_CHANGED and makes the initiator say where it is.
 *
 * NO_NATS_ALLOWED (s3.9) we never send: all our ESP is in UDP. A peer's is checked, and a NAT in
 * between answered with UNEXPECTED_NAT_DETECTED.
 */
#include "engine_int.h"

#include <stdlib.h>

#define COOKIE2_MIN 8 /* s4.2.5 */
#define COOKIE2_MAX 64

bool mobike_moves(const struct ike_sa *sa)
{
	return sa->mobike && (sa->series_initiator || sa->postern);
}

/* ---- our other addresses ---- */

/* Private ones are of no use to somebody who knows us by a public one. */
static bool worth_telling(const struct addr *a, const struct engine_path *path)
{
	const struct addr *us = &path->local.addr;

	return !addr_eq(a, us) && (!addr_is_private(a) || (us->family && addr_is_private(us)));
}

static unsigned add_addresses(struct engine *e, struct ike_build *b, const struct engine_path *path)
{
	unsigned n = 0;

	for (size_t i = 0; i < e->local_count; i++) {
		const struct addr *a = &e->local[i];

		if (!worth_telling(a, path))
			continue;
		pld_notify_add(b,
			       a->family == AF_INET ? ADDITIONAL_IP4_ADDRESS
						    : ADDITIONAL_IP6_ADDRESS,
			       (struct span){ a->b, addr_len(a) });
		n++;
	}
	return n;
}

void mobike_offer(struct engine *e, struct ike_build *b, const struct engine_path *path)
{
	pld_notify_add(b, MOBIKE_SUPPORTED, (struct span){ NULL, 0 });
	add_addresses(e, b, path);
}

void mobike_reached(struct engine *e, const struct addr *a)
{
	for (size_t i = 0; i < e->local_count; i++)
		if (addr_eq(&e->local[i], a))
			return;
	if (a->family && e->local_count < ENGINE_ADDRS_MAX)
		e->local[e->local_count++] = *a;
}

int mobike_addresses_send(struct engine *e, struct ike_sa *sa, struct task *t)
{
	struct ike_build *b = inner_begin(e);

	if (!add_addresses(e, b, &sa->path))
		pld_notify_add(b, NO_ADDITIONAL_ADDRESSES, (struct span){ NULL, 0 });
	return request_send(e, sa, INFORMATIONAL, t);
}

static bool has(const struct addr *list, size_t count, const struct addr *a)
{
	for (size_t i = 0; i < count; i++)
		if (addr_eq(&list[i], a))
			return true;
	return false;
}

/* Is there any in @a that the peer would be told, and that is not in @b? */
static bool tells_more(const struct addr *a, size_t na, const struct addr *b, size_t nb,
		       const struct engine_path *path)
{
	for (size_t i = 0; i < na; i++)
		if (worth_telling(&a[i], path) && !has(b, nb, &a[i]))
			return true;
	return false;
}

void engine_local_addresses(struct engine *e, uint64_t now_ms, const struct addr *addr,
			    size_t count, struct fx_list *fx)
{
	struct addr was[ENGINE_ADDRS_MAX];
	size_t had = e->local_count;

	if (count > ENGINE_ADDRS_MAX)
		count = ENGINE_ADDRS_MAX;
	memcpy(was, e->local, sizeof(was));
	memcpy(e->local, addr, count * sizeof(*addr));
	e->local_count = count;
	engine_enter(e, now_ms, fx);
	/* Ten thousand peers are not told of an address that is for none of them. */
	for (struct peer_entry *pe = e->peers; pe; pe = pe->next)
		for (struct ike_sa *sa = pe->sas; sa; sa = sa->peer_next)
			if (sa->mobike && sa->state == SA_UP &&
			    (tells_more(was, had, addr, count, &sa->path) ||
			     tells_more(addr, count, was, had, &sa->path)))
				task_queue(e, sa, TASK_ADDRESSES, 0);
	engine_leave(e);
}

/* ---- the peer's ---- */

static bool addr_of(const struct pld_notify *n, struct addr *a)
{
	size_t want = n->type == ADDITIONAL_IP4_ADDRESS	  ? 4
		      : n->type == ADDITIONAL_IP6_ADDRESS ? 16
							  : 0;

	return want && n->len == want && !addr_from_bytes(a, n->data, n->len) &&
	       !addr_is_unspecified(a);
}

static bool known(const struct peer_addrs *l, const struct addr *a)
{
	for (size_t i = 0; i < l->count; i++)
		if (addr_eq(&l->addr[i], a))
			return true;
	return false;
}

/* Each list replaces the one before; without any notification about them it stays (s3.6). */
void mobike_others(struct engine *e, struct ike_sa *sa, const struct ike_msg *m)
{
	bool said = ike_msg_notify(m, NO_ADDITIONAL_ADDRESSES) != NULL;
	struct peer_addrs l = { .count = 0 };
	struct fx *f;

	for (unsigned i = 0; i < m->n_notifies && l.count < ENGINE_ADDRS_MAX; i++) {
		struct addr a;

		if (!addr_of(&m->notifies[i], &a))
			continue;
		said = true;
		if (!known(&l, &a))
			l.addr[l.count++] = a;
	}
	if (!sa->mobike || !said || (!l.count && !sa->others))
		return;
	if (!l.count) {
		free(sa->others);
		sa->others = NULL;
	} else {
		if (!sa->others)
			sa->others = malloc(sizeof(*sa->others));
		if (!sa->others)
			return;
		*sa->others = l;
	}
	if (!sa->was_up)
		return;
	f = fx_add(e, FX_PEER_ADDRESSES);
	f->peer_addresses.peer = sa->peer->p->id;
	f->peer_addresses.ike = sa->handle;
	f->peer_addresses.count = l.count;
	memcpy(f->peer_addresses.addr, l.addr, sizeof(l.addr));
}


/* ---- moving ---- */

void mobike_cookie2_add(struct engine *e, struct ike_sa *sa, struct ike_build *b)
{
	engine_random(e, sa->out.cookie2, sizeof(sa->out.cookie2));
	sa->out.has_cookie2 = true;
	pld_notify_add(b, COOKIE2, (struct span){ sa->out.cookie2, sizeof(sa->out.cookie2) });
}

enum mobike_cookie2 mobike_cookie2_check(const struct outreq *o, const struct ike_msg *m)
{
	const struct pld_notify *n = ike_msg_notify(m, COOKIE2);

	if (!o->has_cookie2)
		return MOBIKE_NOT_ASKED;
	if (!n)
		return MOBIKE_ABSENT;
	return secret_equal(n->data, n->len, o->cookie2, sizeof(o->cookie2)) ? MOBIKE_SAME
									     : MOBIKE_WRONG;
}

int mobike_update_send(struct engine *e, struct ike_sa *sa, struct task *t)
{
	struct ike_build *b = inner_begin(e);

	pld_notify_add(b, UPDATE_SA_ADDRESSES, (struct span){ NULL, 0 });
	nat_add_initiator(e, b, sa->spi_i, sa->spi_r, &sa->path);
	mobike_cookie2_add(e, sa, b);
	return request_send(e, sa, INFORMATIONAL, t);
}

static int update_queue(struct engine *e, struct ike_sa *sa)
{
	struct task t = { .kind = TASK_UPDATE };
	int err = ike_sa_task_first(sa, &t);

	tasks_run(e, sa);
	return err;
}

int engine_update_addresses(struct engine *e, uint64_t now_ms, uint32_t ike,
			    const struct engine_path *path, struct fx_list *fx)
{
	struct ike_sa *sa = sa_by_handle(e, ike);
	int err;

	if (!sa)
		return -ENOENT;
	if (sa->state != SA_UP || !mobike_moves(sa)) {
		engine_set_path(e, now_ms, ike, path, fx);
		return sa->state == SA_UP ? -EOPNOTSUPP : -ENOENT;
	}
	sa->has_seen = false;
	engine_enter(e, now_ms, fx);
	sa_set_path(e, sa, path);
	err = update_queue(e, sa);
	engine_leave(e);
	return err;
}

/* Said to be so by the IP header: IPv4 addresses first, then ports (s4.2.6). */
static bool as_sent(const struct pld_notify *n, const struct engine_path *path)
{
	struct rd r = rd_init(n->data, n->len);
	size_t len = addr_len(&path->remote.addr);
	struct endpoint from = { 0 }, to = { 0 };
	bool bad;

	if (n->len != 2 * len + 4)
		return false;
	bad = addr_from_bytes(&from.addr, rd_take(&r, len), len) ||
	      addr_from_bytes(&to.addr, rd_take(&r, len), len);
	from.port = rd_be16(&r);
	to.port = rd_be16(&r);
	if (bad || r.bad)
		return false;
	/* A socket that does not say by which of our addresses a datagram came compares the port alone. */
	return endpoint_eq(&from, &path->remote) && to.port == path->local.port &&
	       (!path->local.addr.family || addr_eq(&to.addr, &path->local.addr));
}

bool mobike_nat_forbidden(const struct ike_msg *m, const struct engine_path *path)
{
	const struct pld_notify *n = ike_msg_notify(m, NO_NATS_ALLOWED);

	return n && !as_sent(n, path);
}

static bool acceptable(const struct ike_sa *sa, const struct engine_path *path)
{
	return path->remote.port && !addr_is_unspecified(&path->remote.addr) &&
	       (sa->series_initiator || peer_accepts(sa->peer, &path->remote.addr));
}

bool mobike_answer(struct engine *e, struct ike_sa *sa, const struct ike_msg *m,
		   const struct engine_path *path, struct ike_build *b)
{
	const struct pld_notify *c = ike_msg_notify(m, COOKIE2);
	uint16_t refused = 0;

	if (!sa->mobike)
		return false;
	if (c && c->len >= COOKIE2_MIN && c->len <= COOKIE2_MAX)
		pld_notify_add(b, COOKIE2, (struct span){ c->data, c->len });
	if (!ike_msg_notify(m, UPDATE_SA_ADDRESSES))
		return false;
	if (sa->series_initiator && !sa->postern)
		return false; /* s3.5: not its part */
	if (mobike_nat_forbidden(m, path))
		refused = UNEXPECTED_NAT_DETECTED;
	else if (!acceptable(sa, path))
		refused = UNACCEPTABLE_ADDRESSES;
	if (!refused)
		return true;
	pld_notify_add(b, refused, (struct span){ NULL, 0 });
	if (sa_may_log(e, sa, path)) {
		char text[ENDPOINT_STR_MAX];

		log_info(&sa->log, "its move to %s is refused: %s",
			 endpoint_str(&path->remote, text), ike_notify_name(refused));
	}
	return false;
}

void mobike_move(struct engine *e, struct ike_sa *sa, const struct engine_path *path, size_t bytes)
{
	struct task t = { .kind = TASK_LIVENESS };
	bool far;
	struct fx *f;

	/* It crossed a rekey whose answer the peer did not have yet: what lives on moves. */
	if (sa->state == SA_REKEYED && sa->successor)
		sa = sa->successor;
	if (sa->state != SA_UP || !sa->was_up || engine_path_eq(path, &sa->path))
		return;
	far = sa->unproved || !addr_eq(&path->remote.addr, &sa->path.remote.addr);
	sa->unproved = far;
	sa->has_seen = false;
	f = fx_add(e, FX_UPDATE);
	f->update.peer = sa->peer->p->id;
	f->update.ike = sa->handle;
	f->update.path = *path;
	f->update.bytes = bytes;
	f->update.unproved = far;
	sa->path = *path;
	if (sa->win.outstanding)
		sa->out.strayed = true;
	if (sa->win.outstanding && (!far || datagrams_bytes(&sa->out.datagrams) <= 3 * bytes))
		request_resend(e, sa, NULL);
	if (far)
		ike_sa_task_first(sa, &t);
}

/* ---- answers to ours ---- */

static void tell_updated(struct engine *e, const struct ike_sa *sa, enum engine_update result,
			 uint16_t notify)
{
	struct fx *f = fx_add(e, FX_UPDATED);

	f->update.peer = sa->peer->p->id;
	f->update.ike = sa->handle;
	f->update.path = sa->path;
	f->update.result = result;
	f->update.notify = notify;
}

static void updated(struct engine *e, struct ike_sa *sa, const struct outreq *o,
		    const struct ike_msg *m)
{
	const struct pld_notify *n = ike_msg_error(m);
	char name[IKE_NOTIFY_STR_MAX];

	if (sa->state != SA_UP || ike_sa_task_has(sa, TASK_UPDATE, 0))
		return; /* the path, or the IKE SA, is another since: the last counts (s3.5) */
	if (!n)
		n = ike_msg_unknown_error(m);
	if (n || !ike_msg_notify(m, COOKIE2)) {
		log_warn(&sa->log, "the peer does not take our new address: %s",
			 n ? ike_notify_str(n->type, name) : "no COOKIE2 in its answer");
		tell_updated(e, sa, ENGINE_UPDATE_REFUSED, n ? n->type : 0);
	} else {
		tell_updated(e, sa, o->strayed ? ENGINE_UPDATE_AGAIN : ENGINE_UPDATE_DONE, 0);
	}
}

void mobike_response(struct engine *e, struct ike_sa *sa, const struct outreq *o,
		     const struct ike_msg *m, const struct engine_path *path)
{
	struct fx *f;

	if (mobike_cookie2_check(o, m) == MOBIKE_WRONG) { /* s3.7: must be closed */
		explain(e, sa->peer, sa, path, ENGINE_WHY_PROTOCOL, false,
			"the peer answers with another COOKIE2 than it was sent: it does not read "
			"what it answers");
		sa_end_told(e, sa, ENGINE_WHY_PROTOCOL);
		return;
	}
	if (o->task.kind == TASK_UPDATE)
		updated(e, sa, o, m);
	/* What took several paths tells about one of them, nobody knows which. */
	if (sa->state != SA_UP || o->strayed || !engine_path_eq(path, &sa->path) ||
	    !nat_seen(sa, m))
		return;
	f = fx_add(e, FX_NAT_CHANGED);
	f->reply.peer = sa->peer->p->id;
	f->reply.ike = sa->handle;
	f->reply.path = *path;
	log_info(&sa->log, "the peer sees us at another address or port than before");
	if (o->task.kind != TASK_UPDATE && mobike_moves(sa))
		update_queue(e, sa);
}
