/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Theory: the tables of the engine and the life of what stands in them. IKE SAs are found by our own
 * SPI (messages), by handle (the supervisor) and, half-open, by the peer's SPI and endpoint (a
 * repeated IKE_SA_INIT). Which IKE SAs of one peer live side by side is decided in peer_settle().
 */
#include "engine_int.h"

#include <stdlib.h>

void engine_enter(struct engine *e, uint64_t now_ms, struct fx_list *fx)
{
	e->now_ms = now_ms;
	e->fx = fx;
}

void engine_leave(struct engine *e)
{
	while (e->graves) {
		struct ike_sa *sa = e->graves;

		e->graves = sa->grave_next;
		ike_sa_free(sa);
	}
	e->fx = NULL;
}

void engine_random(struct engine *e, void *p, size_t len)
{
	if (e->ops->random)
		e->ops->random(e->arg, p, len);
	else if (secret_random(p, len))
		abort(); /* without randomness there is no protocol */
}

uint32_t engine_random32(struct engine *e)
{
	uint32_t v;

	engine_random(e, &v, sizeof(v));
	return v;
}

static struct ike_sa *find_spi(const struct engine *e, uint64_t own)
{
	struct hash_node *n = hash_first(&e->by_spi, hash_bytes(&own, sizeof(own)));

	for (; n; n = hash_next(n)) {
		struct ike_sa *sa = (struct ike_sa *)((char *)n - offsetof(struct ike_sa, by_spi));

		if (ike_sa_own_spi(sa) == own)
			return sa;
	}
	return NULL;
}

bool spi_lives(const struct engine *e, uint64_t own)
{
	return find_spi(e, own) || half_open_has_spi(e, own);
}

uint64_t engine_random_spi(struct engine *e)
{
	uint64_t spi;

	do {
		engine_random(e, &spi, sizeof(spi));
	} while (!spi || spi_lives(e, spi));
	return spi;
}

static void on_half_life(struct timer *t, uint64_t now_ms)
{
	half_open_expire(t->arg, now_ms, false);
}

struct engine *engine_new(const struct engine_config *cfg)
{
	struct engine *e = calloc(1, sizeof(*e));

	if (!e)
		return NULL;
	e->ops = cfg->ops;
	e->arg = cfg->arg;
	e->cookie_from = cfg->half_open_cookie_from ? cfg->half_open_cookie_from : 32;
	e->half_open_max = cfg->half_open_max ? cfg->half_open_max : 4096;
	e->per_prefix = cfg->half_open_per_prefix ? cfg->half_open_per_prefix : 64;
	e->next_handle = 1;
	e->half_last = &e->half_first;
	e->half_life.fire = on_half_life;
	e->half_life.arg = e;
	e->built_s = cfg->built_s;
	e->replay_window = cfg->replay_window;
	e->dates.fire = on_dates;
	e->dates.arg = e;
	engine_random(e, e->instance, sizeof(e->instance));
	engine_random(e, e->cookie_secret, sizeof(e->cookie_secret));
	if (cfg->qcd_secret)
		memcpy(e->qcd_secret, cfg->qcd_secret, sizeof(e->qcd_secret));
	else
		engine_random(e, e->qcd_secret, sizeof(e->qcd_secret));
	return e;
}

/* ---- SAs ---- */

void sa_name_log(struct ike_sa *sa)
{
	log_set(&sa->log, "peer=%s ike=%u spi_i=%016llx spi_r=%016llx",
		sa->peer ? sa->peer->p->name : "?", sa->handle, (unsigned long long)sa->spi_i,
		(unsigned long long)sa->spi_r);
}

static void list_remove(struct ike_sa *sa)
{
	if (!sa->peer_prev)
		return;
	*sa->peer_prev = sa->peer_next;
	if (sa->peer_next)
		sa->peer_next->peer_prev = sa->peer_prev;
	sa->peer_prev = NULL;
	sa->peer_next = NULL;
}

static void list_insert(struct ike_sa **head, struct ike_sa *sa)
{
	sa->peer_next = *head;
	if (*head)
		(*head)->peer_prev = &sa->peer_next;
	sa->peer_prev = head;
	*head = sa;
}

void sa_set_peer(struct engine *e, struct ike_sa *sa, struct peer_entry *peer)
{
	list_remove(sa);
	sa->peer = peer;
	list_insert(peer ? &peer->sas : &e->strangers, sa);
	sa_name_log(sa);
}

int sa_index_spi(struct engine *e, struct ike_sa *sa)
{
	uint64_t own = ike_sa_own_spi(sa);

	return hash_insert(&e->by_spi, &sa->by_spi, hash_bytes(&own, sizeof(own)));
}

static int index_handle(struct engine *e, struct ike_sa *sa)
{
	return hash_insert(&e->by_handle, &sa->by_handle,
			   hash_bytes(&sa->handle, sizeof(sa->handle)));
}

/*
 * A timer that could not be armed would leave its SA as it is for ever: so an SA brings the room for its
 * own along, those of half-open ones share one.
 */
int timers_room(struct engine *e, size_t ike_sas, size_t child_sas)
{
	return timers_reserve(&e->timers, SA_TIMERS * (e->n.ike_sas + ike_sas) + e->n.child_sas +
					      child_sas + 1);
}

struct ike_sa *sa_register(struct engine *e, struct peer_entry *peer, uint64_t spi_i,
			   uint64_t spi_r, bool initiator)
{
	struct ike_sa *sa = timers_room(e, 1, 0) ? NULL : ike_sa_new();

	if (!sa)
		return NULL;
	sa->engine = e;
	sa->spi_i = spi_i;
	sa->spi_r = spi_r;
	sa->initiator = initiator;
	sa->handle = e->next_handle++;
	if (!e->next_handle)
		e->next_handle = 1;
	sa->frag_max = MSG_FIRST_MAX;
	sa->rekey_at_ms = UINT64_MAX;
	sa->since_ms = sa->begun_ms = e->now_ms;
	sa->resend.fire = on_resend;
	sa->life.fire = on_sa_life;
	sa->retry.fire = on_child_retry;
	sa->frags.fire = on_frags_life;
	sa->resend.arg = sa->life.arg = sa->retry.arg = sa->frags.arg = sa;
	if (sa_index_spi(e, sa)) {
		ike_sa_free(sa);
		return NULL;
	}
	if (index_handle(e, sa)) {
		hash_remove(&e->by_spi, &sa->by_spi);
		ike_sa_free(sa);
		return NULL;
	}
	e->n.ike_sas++;
	sa_set_peer(e, sa, peer);
	return sa;
}

void sa_take_handle(struct engine *e, struct ike_sa *sa, struct ike_sa *from)
{
	uint32_t h = sa->handle;

	hash_remove(&e->by_handle, &sa->by_handle);
	hash_remove(&e->by_handle, &from->by_handle);
	sa->handle = from->handle;
	from->handle = h;
	/* Both were in the table just now, so its buckets are there and this cannot fail. */
	if (index_handle(e, sa) || index_handle(e, from))
		abort();
	sa_name_log(sa);
}

struct ike_sa *sa_by_handle(const struct engine *e, uint32_t handle)
{
	struct hash_node *n = hash_first(&e->by_handle, hash_bytes(&handle, sizeof(handle)));

	for (; n; n = hash_next(n)) {
		struct ike_sa *sa =
		    (struct ike_sa *)((char *)n - offsetof(struct ike_sa, by_handle));

		if (sa->handle == handle)
			return sa;
	}
	return NULL;
}

static void tell_down(struct engine *e, struct ike_sa *sa, enum engine_why why, bool replaced)
{
	const struct ike_sa *heir;
	struct fx *f;

	if (!sa->was_up)
		return;
	sa->was_up = false;
	f = fx_add(e, FX_PEER_DOWN);
	f->down.peer = sa->peer->p->id;
	f->down.ike = sa->handle;
	f->down.was_up = true;
	f->down.replaced = replaced;
	f->down.why = why;
	heir = beside_heir(sa);
	f->down.heir = heir ? heir->handle : 0;
	f->down.heir_child = heir && ike_sa_children_up(heir);
	if (heir)
		f->down.heir_path = heir->path;
	log_info(&sa->log, "IKE SA is down: %s", engine_why_str(why));
}

void half_open_gone(struct engine *e, struct ike_sa *sa)
{
	if (!sa->half_open)
		return;
	sa->half_open = false;
	half_open_forget(e, sa->auth->cookie, sa->auth->prefix);
}

static void drop_children(struct engine *e, struct ike_sa *sa, bool replaced)
{
	if (!replaced)
		child_rekey_in_vain(e, sa, &sa->out);
	while (sa->children)
		child_drop(e, sa->children, !replaced);
	sa->out.new_child = NULL;
}

static void unlink_kin(struct engine *e, struct ike_sa *sa)
{
	/* The peer may never have confirmed this one: its predecessor would wait for that for ever. */
	if (sa->predecessor && sa->predecessor->state == SA_REKEYED)
		timer_arm(e, &sa->predecessor->life, e->now_ms + RETIRED_MS);
	if (sa->successor && sa->successor->predecessor == sa)
		sa->successor->predecessor = NULL;
	if (sa->predecessor && sa->predecessor->successor == sa)
		sa->predecessor->successor = NULL;
	sa->successor = sa->predecessor = NULL;
}

/* Somebody's collision record may name this SA as the rival. */
static void forget_rival(struct ike_sa *sa)
{
	if (!sa->peer)
		return;
	for (struct ike_sa *o = sa->peer->sas; o; o = o->peer_next)
		if (o->out.rival.active && o->out.rival.sa == sa)
			o->out.rival.active = false;
}

/* The peer's rekey crossed ours and made one that nothing moved to yet: no other will ever need it. */
static void drop_rival(struct engine *e, struct ike_sa *sa)
{
	struct ike_sa *rival = sa->out.rival.active ? sa->out.rival.sa : NULL;

	if (rival && !rival->was_up)
		sa_end(e, rival, ENGINE_WHY_REPLACED, true);
}

void sa_end(struct engine *e, struct ike_sa *sa, enum engine_why why, bool replaced)
{
	struct ike_sa *call = sa->caller;

	if (sa->state == SA_DEAD)
		return;
	drop_children(e, sa, replaced);
	tell_down(e, sa, why, replaced);
	half_open_gone(e, sa);
	forget_rival(sa);
	drop_rival(e, sa);
	unlink_kin(e, sa);
	timer_clear(&e->timers, &sa->resend);
	timer_clear(&e->timers, &sa->life);
	timer_clear(&e->timers, &sa->retry);
	timer_clear(&e->timers, &sa->frags);
	if (sa->in_init)
		hash_remove(&e->by_init, &sa->by_init);
	hash_remove(&e->by_spi, &sa->by_spi);
	hash_remove(&e->by_handle, &sa->by_handle);
	list_remove(sa);
	sa_enter_state(e, sa, SA_DEAD);
	e->n.ike_sas--;
	sa->grave_next = e->graves;
	e->graves = sa;
	sa->caller = NULL;
	if (call)
		call_candidate_gone(e, call);
}

void sa_end_soft(struct engine *e, struct ike_sa *sa, enum engine_why why, bool replaced)
{
	drop_children(e, sa, replaced);
	tell_down(e, sa, why, replaced);
	forget_rival(sa);
	drop_rival(e, sa);
	unlink_kin(e, sa);
	timer_clear(&e->timers, &sa->resend);
	timer_clear(&e->timers, &sa->retry);
	outreq_clear(&sa->out);
	sa->win.outstanding = false;
	ike_sa_tasks_clear(sa);
	sa_enter_state(e, sa, SA_CLOSING);
	/* Who was refused must not keep others of his network out by being refused often. */
	if (sa->half_open && sa->auth->cookie && admit_crowded(e, sa->auth->prefix))
		timer_arm(e, &sa->life, e->now_ms + CROWDED_REPLY_MS);
	else
		timer_arm(e, &sa->life, e->now_ms + AFTER_REPLY_MS);
}

void sa_end_told(struct engine *e, struct ike_sa *sa, enum engine_why why)
{
	pld_delete_add_ike(inner_begin(e));
	request_once(e, sa, INFORMATIONAL);
	sa_end(e, sa, why, false);
}

struct child_sa *child_by_spi(const struct engine *e, uint32_t spi_in)
{
	struct hash_node *n = hash_first(&e->by_child, hash_bytes(&spi_in, sizeof(spi_in)));

	for (; n; n = hash_next(n)) {
		struct child_sa *c =
		    (struct child_sa *)((char *)n - offsetof(struct child_sa, by_spi));

		if (c->spi_in == spi_in)
			return c;
	}
	return NULL;
}

void timer_arm(struct engine *e, struct timer *t, uint64_t at_ms)
{
	if (timer_set(&e->timers, t, at_ms))
		log_err(NULL, "out of memory for a timer");
}

/* ---- which IKE SAs of a peer live side by side ---- */

void sa_retire(struct engine *e, struct ike_sa *sa)
{
	if (sa->state != SA_UP && sa->state != SA_REKEYED)
		return;
	log_info(&sa->log, "retired: a newer IKE SA of this peer is up");
	for (struct child_sa *c = sa->children; c; c = c->next)
		child_stop_out(e, c);
	tell_down(e, sa, ENGINE_WHY_REPLACED, true);
	timer_clear(&e->timers, &sa->retry);
	sa_enter_state(e, sa, SA_RETIRED);
	timer_arm(e, &sa->life, e->now_ms + RETIRED_MS);
	if (sa->series_initiator)
		task_queue(e, sa, TASK_DELETE_IKE, 0);
}

/*
 * Both sides called at the same time: both IKE SAs came up, each side saw them in its own order.
 * Like the crossing rekeys of RFC 7296 s2.8.2 the one with the lowest nonce goes, on both sides.
 */
static bool crossing(const struct ike_sa *a, const struct ike_sa *b)
{
	uint64_t d = a->series_since_ms > b->series_since_ms
			 ? a->series_since_ms - b->series_since_ms
			 : b->series_since_ms - a->series_since_ms;

	return a->series_initiator != b->series_initiator && d < CROSSING_MS && a->lowest.len &&
	       b->lowest.len;
}

/* The peer was started anew between the two: what it knew of the older one is gone. */
static bool other_instance(const struct ike_sa *a, const struct ike_sa *b)
{
	return a->has_instance && b->has_instance &&
	       memcmp(a->instance, b->instance, sizeof(a->instance)) != 0;
}

void peer_settle(struct engine *e, struct ike_sa *sa, bool initial_contact)
{
	struct ike_sa *o, *next;
	bool child = ike_sa_children_up(sa) > 0;

	for (o = sa->peer->sas; o; o = next) {
		next = o->peer_next;
		if (o == sa || o == sa->predecessor || o == sa->successor)
			continue;
		if (o->state == SA_CALLING) {
			if (child && !o->call->candidates)
				call_end(e, o, ENGINE_WHY_REPLACED);
			continue;
		}
		if (o->state != SA_UP)
			continue;
		if (initial_contact && other_instance(o, sa)) {
			log_info(&o->log, "INITIAL_CONTACT: the peer was started anew");
			sa_end(e, o, ENGINE_WHY_REPLACED, true);
		} else if (crossing(o, sa) && !other_instance(o, sa)) {
			bool other = ike_sa_children_up(o) > 0;

			if (other && (!child || nonce_cmp(&sa->lowest, &o->lowest) < 0)) {
				sa_retire(e, sa);
				return;
			}
			if (child)
				sa_retire(e, o);
		} else if (initial_contact && !beside_parallel(o, sa)) {
			log_info(&o->log, "INITIAL_CONTACT: the peer has forgotten this IKE SA");
			sa_end(e, o, ENGINE_WHY_REPLACED, true);
		} else if (child && !beside_stays(o, sa)) {
			sa_retire(e, o);
			o->retired_for = sa->handle;
		}
	}
}

/* It is one too many: the peer is told, once, whether that arrives or not. */
static void crowd_out(struct engine *e, struct ike_sa *sa)
{
	if ((sa->state == SA_UP || sa->state == SA_RETIRED) && !sa->win.outstanding) {
		pld_delete_add_ike(inner_begin(e));
		request_once(e, sa, INFORMATIONAL);
	}
	sa_end(e, sa, ENGINE_WHY_REPLACED, true);
}

void peer_bound(struct engine *e, const struct ike_sa *sa)
{
	struct ike_sa *oldest;
	unsigned n;

	do {
		n = 0;
		oldest = NULL;
		/* The list has the newest first. Calls and what is not proved yet have bounds of their own. */
		for (struct ike_sa *o = sa->peer->sas; o; o = o->peer_next) {
			if (o == sa || o->auth || o->state == SA_CALLING)
				continue;
			oldest = o;
			n++;
		}
		if (n >= PEER_IKE_SAS_MAX)
			crowd_out(e, oldest);
	} while (n > PEER_IKE_SAS_MAX);
}

void engine_free(struct engine *e)
{
	struct fx_list fx = { 0 };

	if (!e)
		return;
	engine_enter(e, e->now_ms, &fx);
	for (struct peer_entry *pe = e->peers; pe; pe = pe->next)
		while (pe->sas) {
			struct ike_sa *sa = pe->sas->caller ? pe->sas->caller : pe->sas;

			if (sa->state == SA_CALLING)
				call_end(e, sa, ENGINE_WHY_ADMIN);
			else
				sa_end(e, sa, ENGINE_WHY_ADMIN, false);
		}
	while (e->strangers)
		sa_end(e, e->strangers, ENGINE_WHY_ADMIN, false);
	half_open_expire(e, e->now_ms, true);
	while (e->peers)
		peer_forget(e, e->peers);
	engine_leave(e);
	fx_list_free(&fx);
	hash_free(&e->by_spi);
	hash_free(&e->by_handle);
	hash_free(&e->by_init);
	hash_free(&e->half_by_spi);
	hash_free(&e->half_by_init);
	hash_free(&e->by_child);
	hash_free(&e->peers_by_id);
	hash_free(&e->peers_by_ident);
	welcome_free(e);
	timers_free(&e->timers);
	motions_free(e);
	secret_wipe(e, sizeof(*e));
	free(e);
}
