/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Theory: how a CHILD SA comes and goes, the same for the first one (in IKE_AUTH), further ones and
 * rekeys. The responder installs inbound before its answer leaves. It installs outbound at once when
 * nothing else carries this traffic, and for a rekey only when the peer has shown that it has the new keys: by
 * a packet on the new SA or a Delete of the old one (RFC 7296 s2.8). The initiator installs both when
 * the answer comes.
 */
#include "engine_int.h"

#include <stdio.h>
#include <stdlib.h>

void child_offer(const struct child_sa *c, bool no_ke, struct proposals *out)
{
	uint8_t wire[4] = { (uint8_t)(c->spi_in >> 24), (uint8_t)(c->spi_in >> 16),
			    (uint8_t)(c->spi_in >> 8), (uint8_t)c->spi_in };

	*out = *child_esp(c->sa, c->conf);
	for (unsigned i = 0; no_ke && i < out->count; i++) {
		struct proposal *p = &out->p[i];
		uint8_t n = 0;

		for (unsigned k = 0; k < p->count; k++)
			if (p->t[k].type != TRANSFORM_KE)
				p->t[n++] = p->t[k];
		p->count = n;
	}
	proposals_set_spi(out, wire, sizeof(wire));
}

struct child_sa *child_start(struct engine *e, struct ike_sa *sa, uint32_t conf)
{
	struct child_sa *c;
	uint32_t spi;

	if (sa->child_count >= IKE_CHILDREN_MAX || timers_room(e, 0, 1))
		return NULL;
	c = child_sa_new(sa);
	if (!c)
		return NULL;
	if (e->ops->spi_alloc(e->arg, sa->peer->p->id, &spi)) {
		child_sa_free(c);
		return NULL;
	}
	c->spi_in = spi;
	c->conf = conf;
	c->jitter = (uint8_t)(spi >> 8); /* random enough; the low bits name the worker */
	c->life.fire = on_child_life;
	c->life.arg = c;
	if (hash_insert(&e->by_child, &c->by_spi, hash_bytes(&spi, sizeof(spi)))) {
		e->ops->spi_free(e->arg, sa->peer->p->id, spi);
		child_sa_free(c);
		return NULL;
	}
	c->indexed = true;
	c->next = sa->children;
	sa->children = c;
	sa->child_count++;
	e->n.child_sas++;
	return c;
}

static void cut(struct ts_list *l)
{
	if (l->count > ENGINE_TS_MAX)
		l->count = ENGINE_TS_MAX;
}

/* ---- installing ---- */

/* As the time: the series' initiator at 90-100 % of @limit, the other side at 110 %. */
static uint64_t soft_limit(const struct child_sa *c, uint64_t limit)
{
	uint64_t tenth = limit / 10;

	return c->sa->series_initiator ? limit - tenth * c->jitter / 256 : limit + tenth;
}

static void limits(const struct child_sa *c, struct engine_child *x)
{
	const struct engine_child_conf *cc = child_conf(c->sa, c->conf);

	if (cc && cc->lifetime_bytes) {
		x->soft_bytes = soft_limit(c, cc->lifetime_bytes);
		x->hard_bytes = cc->lifetime_bytes + cc->lifetime_bytes / 4;
	}
	if (cc && cc->lifetime_pkts) {
		x->soft_pkts = soft_limit(c, cc->lifetime_pkts);
		x->hard_pkts = cc->lifetime_pkts + cc->lifetime_pkts / 4;
	}
}

void child_window_add(const struct engine *e, const struct ike_sa *sa, struct ike_build *b)
{
	uint32_t n = e->replay_window;
	uint8_t be[4] = { (uint8_t)(n >> 24), (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n };

	if (sa->postern && n)
		pld_notify_add(b, POSTERN_REPLAY_WINDOW, (struct span){ be, sizeof(be) });
}

static uint32_t window_told(const struct ike_sa *sa, const struct ike_msg *m)
{
	const struct pld_notify *n = ike_msg_notify(m, POSTERN_REPLAY_WINDOW);

	if (!sa->postern || !n || n->len != 4)
		return 0;
	return (uint32_t)n->data[0] << 24 | (uint32_t)n->data[1] << 16 | (uint32_t)n->data[2] << 8 | n->data[3];
}

static int install(struct engine *e, struct child_sa *c, enum engine_dir dir,
		   const struct child_keys *k)
{
	const struct ike_sa *sa = c->sa;
	struct engine_child x = {
		.peer = sa->peer->p->id,
		.ike = sa->handle,
		.spi_in = c->spi_in,
		.spi_out = c->spi_out,
		.replaces = c->replaces,
		.line = c->line,
		.suite = c->suite,
		.postern = sa->postern,
		.replay_window = dir == ENGINE_OUT ? c->window_out : sa->postern ? e->replay_window : 0,
		.path = sa->path,
	};
	bool i = (dir == ENGINE_OUT) == c->exch_initiator;
	const struct secret *key = i ? &k->encr_i : &k->encr_r;
	const struct secret *integ = i ? &k->integ_i : &k->integ_r;
	int err;

	limits(c, &x);
	x.key = (struct span){ key->data, key->len };
	x.integ_key = (struct span){ integ->data, integ->len };
	x.local_ts_count = (uint8_t)c->local_ts->count;
	x.remote_ts_count = (uint8_t)c->remote_ts->count;
	memcpy(x.local_ts, c->local_ts->ts, c->local_ts->count * sizeof(struct ts));
	memcpy(x.remote_ts, c->remote_ts->ts, c->remote_ts->count * sizeof(struct ts));
	err = e->ops->child_install(e->arg, dir, &x);
	if (err) {
		log_warn(&sa->log, "the data plane cannot install a CHILD SA: %s", strerror(-err));
		return err;
	}
	if (dir == ENGINE_IN)
		c->in_installed = true;
	else
		c->out_installed = true;
	return 0;
}

static bool same_selectors(const struct child_sa *a, const struct child_sa *b)
{
	return ts_list_equal(a->local_ts, b->local_ts) && ts_list_equal(a->remote_ts, b->remote_ts);
}

/* What @c rekeys, and what the peer made of that at the same time, has rules of its own (s2.8.1). */
static bool doubles(const struct child_sa *c, const struct child_sa *o)
{
	return o->announced && child_sa_usable(o) && o->spi_in != c->replaces &&
	       (!c->replaces || o->replaces != c->replaces) && same_selectors(o, c);
}

/*
 * Both sides may have made the same CHILD SA, or one of them twice. The series' initiator keeps the
 * newest that the peer is known to have too; what is older goes.
 */
static void retire_doubles(struct engine *e, const struct ike_sa *sa)
{
	for (struct child_sa *c = sa->series_initiator ? sa->children : NULL; c; c = c->next) {
		if (!c->announced || c->state != CHILD_UP)
			continue;
		for (struct child_sa *o = c->next; o; o = o->next) {
			if (!doubles(c, o))
				continue;
			log_info(&sa->log, "CHILD SA %08x is one too many for its selectors",
				 o->spi_in);
			o->replaced_by = c->spi_in;
			o->state = CHILD_REKEYED;
			timer_arm(e, &o->life, e->now_ms + DOUBLE_MS);
		}
	}
}

int child_switch_out(struct engine *e, struct child_sa *c)
{
	int err;

	/* Without keys: it was told to send no more (child_stop_out()) before it ever did. */
	if (c->state != CHILD_HALF || !c->out_keys.encr_i.len)
		return 0;
	/* Its rekey was under way when a newer IKE SA came up: what that has must go on to send. */
	if (c->sa->state == SA_RETIRED) {
		child_stop_out(e, c);
		return 0;
	}
	err = install(e, c, ENGINE_OUT, &c->out_keys);
	child_keys_clear(&c->out_keys);
	if (!err) {
		c->state = CHILD_UP;
		retire_doubles(e, c->sa);
	}
	return err;
}

static void child_rekey_at(struct engine *e, struct child_sa *c)
{
	const struct engine_child_conf *cc = child_conf(c->sa, c->conf);
	uint64_t life = cc ? cc->lifetime_s * 1000ull : 0;

	if (!life)
		return;
	/* Only one side watches the clock; the other is the safety net (design.md section 4). */
	if (c->sa->series_initiator)
		life -= engine_random32(e) % (life / 10 + 1);
	else
		life += life / 10;
	c->rekey_at_ms = e->now_ms + life;
	timer_arm(e, &c->life, c->rekey_at_ms);
}

bool child_stands_beside(struct child_sa *c)
{
	bool found = false;

	for (struct child_sa *o = c->sa->children; o; o = o->next) {
		if (o == c || !same_selectors(o, c))
			continue;
		if (child_sa_usable(o) && o->announced && !o->replaced_by)
			o->replaced_by = c->spi_in;
		found |= o->out_installed;
	}
	return found;
}

void child_announce(struct engine *e, struct child_sa *c)
{
	char l[120], r[120];

	if (c->announced)
		return;
	c->announced = true;
	c->since_ms = e->now_ms;
	child_kept(e, c->sa, c->conf);
	child_rekey_at(e, c);
	fx_child(e, c->replaces ? FX_CHILD_REKEYED : FX_CHILD_UP, c);
	log_info(&c->sa->log, "CHILD SA %08x/%08x %s: %s === %s", c->spi_in, c->spi_out,
		 c->replaces ? "rekeyed" : "up", ts_list_str(c->local_ts, l, sizeof(l)),
		 ts_list_str(c->remote_ts, r, sizeof(r)));
	retire_doubles(e, c->sa);
}

void child_stop_out(struct engine *e, struct child_sa *c)
{
	child_keys_clear(&c->out_keys);
	if (!c->out_installed)
		return;
	c->out_installed = false;
	fx_child(e, FX_CHILD_REMOVE_OUT, c);
}

static void tell_gone(struct engine *e, struct child_sa *c, bool tell)
{
	if (!c->announced)
		return;
	c->announced = false;
	if (tell && !c->replaced_by)
		fx_child(e, FX_CHILD_DOWN, c);
}

void child_drop(struct engine *e, struct child_sa *c, bool tell)
{
	struct ike_sa *sa = c->sa;
	struct child_sa **at = &sa->children;

	log_debug(&sa->log, "CHILD SA %08x dropped", c->spi_in);
	tell_gone(e, c, tell);
	child_stop_out(e, c);
	if (c->in_installed)
		fx_child(e, FX_CHILD_REMOVE_IN, c);
	else
		e->ops->spi_free(e->arg, sa->peer->p->id, c->spi_in);
	timer_clear(&e->timers, &c->life);
	hash_remove(&e->by_child, &c->by_spi);
	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
	sa->child_count--;
	e->n.child_sas--;
	if (sa->out.new_child == c)
		sa->out.new_child = NULL;
	child_sa_free(c);
}

void child_successor_sends(struct engine *e, struct child_sa *c)
{
	struct child_sa *next = c;

	/* The first, not the last: only of that one it is known that the peer has the keys. */
	while (next->replaced_by && (next = ike_sa_child_in(c->sa, next->replaced_by))) {
		if (next->state == CHILD_HALF)
			child_switch_out(e, next);
		if (next->out_installed)
			return;
	}
	/* Nobody follows it; but one may stand beside it. */
	for (next = c->sa->children; next; next = next->next)
		if (next != c && next->out_installed && same_selectors(next, c))
			return;
	for (next = c->sa->children; next; next = next->next)
		if (next != c && next->announced && next->state == CHILD_HALF &&
		    same_selectors(next, c)) {
			child_switch_out(e, next);
			return;
		}
}

void child_linger(struct engine *e, struct child_sa *c, bool tell)
{
	if (!c->in_installed) {
		child_drop(e, c, tell);
		return;
	}
	log_debug(&c->sa->log, "CHILD SA %08x lingers", c->spi_in);
	tell_gone(e, c, tell);
	child_stop_out(e, c);
	child_successor_sends(e, c);
	c->state = CHILD_LINGER;
	timer_arm(e, &c->life, e->now_ms + CHILD_LINGER_MS);
}

/* Nothing else sends, and the peer may not even have our answer that made the next one. */
static bool must_send_yet(const struct child_sa *c, uint64_t now_ms)
{
	const struct child_sa *next =
	    c->replaced_by ? ike_sa_child_in(c->sa, c->replaced_by) : NULL;

	return c->out_installed && next && next->state == CHILD_HALF &&
	       now_ms - next->since_ms < HALF_PATIENCE_MS;
}

void on_child_life(struct timer *t, uint64_t now_ms)
{
	struct child_sa *c = t->arg;
	struct ike_sa *sa = c->sa;
	struct engine *e = sa->engine;

	switch (c->state) {
	case CHILD_LINGER:
		child_drop(e, c, false);
		break;
	case CHILD_CLOSING: /* nobody answers our Delete; what it names goes all the same */
		child_linger(e, c, true);
		break;
	case CHILD_HALF:
		/* A whole life without a packet or a Delete of the one before: the peer has it not. */
		if (now_ms >= c->rekey_at_ms) {
			timer_arm(e, &c->life, now_ms + 30000);
			if (sa->state == SA_UP)
				task_queue(e, sa, TASK_DELETE_CHILD, c->spi_in);
			break;
		}
		/* fall through */
	case CHILD_UP:
		if (c->condemned) { /* the peer had its time; it is still told when it answers */
			child_stop_out(e, c);
			timer_arm(e, &c->life, now_ms + 30000);
			task_queue(e, sa, TASK_DELETE_CHILD, c->spi_in);
			break;
		}
		timer_arm(e, &c->life, now_ms + 30000); /* should this rekey come to nothing */
		if (sa->state == SA_UP)
			task_queue(e, sa, TASK_REKEY_CHILD, c->spi_in);
		break;
	case CHILD_REKEYED: /* the peer never deleted what it had rekeyed */
		timer_arm(e, &c->life, now_ms + 30000);
		if (sa->state == SA_UP && !must_send_yet(c, now_ms))
			task_queue(e, sa, TASK_DELETE_CHILD, c->spi_in);
		break;
	default:
		break;
	}
}

/* ---- responder ---- */

static int derive(const struct ike_sa *sa, struct child_sa *c, const struct secret *shared,
		  const struct nonce *ni, const struct nonce *nr, struct child_keys *k)
{
	return child_keys_derive(sa->suite.prf, &sa->keys.sk_d, &c->suite, shared, nonce_span(ni),
				 nonce_span(nr), k);
}

static uint32_t spi_of(const struct sa_choice *c)
{
	return (uint32_t)c->spi[0] << 24 | (uint32_t)c->spi[1] << 16 | (uint32_t)c->spi[2] << 8 |
	       c->spi[3];
}

/* What both want. */
struct agreed {
	struct sa_choice choice;
	struct child_select select;
	uint32_t conf;
	struct ts_list mine, theirs;
};

static uint16_t agree_proposal(const struct ike_sa *sa, const struct ike_msg *m,
			       const struct proposals *offer, uint32_t conf, bool first,
			       struct sa_choice *choice)
{
	if (sa_choose(child_esp(sa, conf), offer, first ? 0 : m->ke.group, first, choice) ||
	    choice->proto != PROTO_ESP || choice->spi_len != 4 || spi_of(choice) < 256)
		return NO_PROPOSAL_CHOSEN;
	if (!first && choice->ke != KE_NONE && choice->ke != m->ke.group)
		return INVALID_KE_PAYLOAD;
	return 0;
}

/* Of the configurations that fit the wish the best one whose proposals fit too. */
static uint16_t agree_new(struct ike_sa *sa, const struct ike_msg *m, const struct proposals *offer,
			  bool first, struct agreed *a)
{
	const struct engine_peer *p = sa->peer->p;
	uint16_t notify = 0;

	if (child_select_rank(sa, &a->select)) {
		for (size_t i = 0; i < p->child_count; i++) {
			notify = agree_proposal(sa, m, offer, p->child[i].id, first, &a->choice);
			if (!notify)
				return TS_UNACCEPTABLE;
		}
		return notify;
	}
	for (size_t i = 0; i < a->select.count; i++) {
		a->conf = a->select.ranked[i]->id;
		notify = agree_proposal(sa, m, offer, a->conf, first, &a->choice);
		if (!notify)
			return child_select_lists(sa, &a->select, i, &a->mine, &a->theirs)
				   ? TS_UNACCEPTABLE
				   : 0;
		if (notify == INVALID_KE_PAYLOAD)
			break;
	}
	return notify;
}

/* 0 or the notify type. */
static uint16_t agree(struct ike_sa *sa, const struct ike_msg *m, const struct child_sa *old,
		      bool first, struct agreed *a)
{
	struct proposals *offer = calloc(1, sizeof(*offer));
	uint16_t notify;

	if (!offer)
		return TEMPORARY_FAILURE;
	if (!m->sa.p || !m->tsi.p || !m->tsr.p || sa_parse_offer(m->sa, offer) ||
	    ts_parse(m->tsi, &a->select.theirs) || ts_parse(m->tsr, &a->select.ours)) {
		notify = INVALID_SYNTAX;
	} else if (!old) {
		notify = agree_new(sa, m, offer, first, a);
	} else {
		notify = agree_proposal(sa, m, offer, old->conf, first, &a->choice);
		if (!notify &&
		    child_select_rekey(sa, &a->select, old, &a->conf, &a->mine, &a->theirs))
			notify = TS_UNACCEPTABLE;
	}
	free(offer);
	return notify;
}

static int responder_keys(const struct ike_msg *m, const struct sa_choice *choice, bool first,
			  struct dh **dh, struct secret *shared)
{
	int err;

	if (first || choice->ke == KE_NONE)
		return 0;
	err = dh_new(choice->ke, dh);
	return err ? err : dh_shared(*dh, m->ke.data, m->ke.len, shared);
}

static void answer_write(struct ike_build *b, const struct child_sa *c,
			 const struct sa_choice *choice, const struct dh *dh, bool first,
			 const struct nonce *nr)
{
	uint8_t spi[4] = { (uint8_t)(c->spi_in >> 24), (uint8_t)(c->spi_in >> 16),
			   (uint8_t)(c->spi_in >> 8), (uint8_t)c->spi_in };

	sa_add_choice(b, choice, spi, sizeof(spi));
	if (!first)
		pld_nonce_add(b, nonce_span(nr));
	if (dh)
		pld_ke_add(b, dh_group(dh), dh_public(dh));
	ts_add(b, PLD_TSI, c->remote_ts);
	ts_add(b, PLD_TSR, c->local_ts);
}

uint16_t child_respond(struct engine *e, struct ike_sa *sa, const struct ike_msg *m,
		       struct ike_build *b, struct child_sa *old, bool first,
		       const struct nonce *ni, const struct nonce *nr, uint16_t *group,
		       struct child_sa **out)
{
	struct agreed *a = calloc(1, sizeof(*a));
	struct child_keys k = { 0 };
	struct secret shared = { 0 };
	struct child_sa *c = NULL;
	struct dh *dh = NULL;
	uint16_t notify;
	int err;

	*out = NULL;
	if (!a)
		return TEMPORARY_FAILURE;
	notify = agree(sa, m, old, first, a);
	*group = a->choice.ke;
	if (notify)
		goto out;
	notify = NO_ADDITIONAL_SAS;
	c = child_start(e, sa, a->conf);
	if (!c)
		goto out;
	*c->remote_ts = a->theirs;
	*c->local_ts = a->mine;
	cut(c->remote_ts);
	cut(c->local_ts);
	child_sa_trim(c);
	c->spi_out = spi_of(&a->choice);
	c->suite = sa_choice_esp(&a->choice);
	c->replaces = old ? old->spi_in : 0;
	c->line = old ? old->line : c->spi_in;
	c->window_out = window_told(sa, m);
	err = responder_keys(m, &a->choice, first, &dh, &shared);
	notify = err == -EBADMSG || err == -EPROTO ? INVALID_SYNTAX : TEMPORARY_FAILURE;
	if (err || derive(sa, c, dh ? &shared : NULL, ni, nr, &k))
		goto out;
	notify = NO_ADDITIONAL_SAS;
	if (install(e, c, ENGINE_IN, &k))
		goto out;
	notify = 0;
	c->state = CHILD_HALF;
	c->out_keys = k;
	memset(&k, 0, sizeof(k));
	answer_write(b, c, &a->choice, dh, first, nr);
	child_window_add(e, sa, b);
	if (a->select.more)
		pld_notify_add(b, ADDITIONAL_TS_POSSIBLE, (struct span){ NULL, 0 });
	*out = c;
	c = NULL;
out:
	if (c)
		child_drop(e, c, false);
	child_keys_clear(&k);
	secret_clear(&shared);
	dh_free(dh);
	free(a);
	return notify;
}

/* ---- initiator ---- */

static int answer_agrees(struct child_sa *c, const struct ike_msg *m, const struct child_sa *old,
			 bool first, struct sa_choice *choice, char *why, size_t cap)
{
	struct proposals *ps = calloc(2, sizeof(*ps)); /* offer, reply */
	struct ts_list *ts = calloc(2, sizeof(*ts));
	int err = -ENOMEM;

	snprintf(why, cap, "out of memory");
	if (!ps || !ts)
		goto out;
	child_offer(c, first, &ps[0]);
	child_wish(c, old, &ts[0], &ts[1]);
	snprintf(why, cap, "its answer's proposal is not one that we sent");
	err = -EPROTO;
	if (sa_parse(m->sa, &ps[1]) || sa_check_reply(&ps[0], &ps[1], first, choice) ||
	    choice->spi_len != 4 || spi_of(choice) < 256)
		goto out;
	c->spi_out = spi_of(choice);
	c->suite = sa_choice_esp(choice);
	snprintf(why, cap, "its answer's selectors are not within those that we sent");
	err = -ENOENT;
	if (!m->tsi.p || !m->tsr.p || ts_parse(m->tsi, c->local_ts) ||
	    ts_parse(m->tsr, c->remote_ts) || !c->local_ts->count || !c->remote_ts->count ||
	    !ts_list_covers(&ts[0], c->local_ts) || !ts_list_covers(&ts[1], c->remote_ts))
		goto out;
	snprintf(why, cap, "its answer's selectors hold no address that it gave us");
	if (child_keep_own(c, old))
		goto out;
	cut(c->local_ts);
	cut(c->remote_ts);
	child_sa_trim(c);
	err = 0;
out:
	free(ps);
	free(ts);
	return err;
}

int child_complete(struct engine *e, struct ike_sa *sa, struct child_sa *c, const struct ike_msg *m,
		   const struct child_sa *old, bool first, const struct nonce *ni,
		   const struct nonce *nr, const struct dh *dh, char *why, size_t cap)
{
	struct child_keys k = { 0 };
	struct secret shared = { 0 };
	struct sa_choice choice;
	bool pfs;
	int err;

	c->exch_initiator = true;
	c->line = old ? old->line : c->spi_in;
	c->window_out = window_told(sa, m);
	err = answer_agrees(c, m, old, first, &choice, why, cap);
	if (err)
		return err;
	pfs = !first && choice.ke != KE_NONE;
	snprintf(why, cap, "its KE payload cannot be used");
	if (pfs && (!dh || choice.ke != dh_group(dh) || m->ke.group != choice.ke))
		return -EPROTO;
	if (pfs)
		err = dh_shared(dh, m->ke.data, m->ke.len, &shared);
	if (err == -EBADMSG || err == -EPROTO)
		err = -EKEYREJECTED;
	if (!err)
		err = derive(sa, c, pfs ? &shared : NULL, ni, nr, &k);
	secret_clear(&shared);
	if (err)
		return err;
	snprintf(why, cap, "the data plane cannot install it");
	err = install(e, c, ENGINE_IN, &k);
	if (!err) {
		c->state = CHILD_HALF;
		c->out_keys = k;
		memset(&k, 0, sizeof(k));
	}
	child_keys_clear(&k);
	return err;
}
