/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Theory: the way of a datagram (style.md section 3): header, SA, message ID, decryption, payloads,
 * and then one row of transitions[]. Nothing of an SA moves before the message is authentic; nothing is
 * answered that the table does not name.
 *
 *	half_open  <- IKE_AUTH request: becomes SA_R_INIT when it opens (half_open.h)
 *	SA_R_INIT  <- IKE_AUTH request          SA_I_AUTH <- IKE_AUTH response
 *	SA_UP      <- CREATE_CHILD_SA, INFORMATIONAL, both ways; any other request: refused
 *	SA_REKEYED, SA_RETIRED <- the same (collisions, Deletes)     SA_CLOSING <- repeats only
 */
#include "engine_int.h"

#include <stdlib.h>

struct step {
	struct ike_msg *m;
	const struct engine_path *path;
	const uint8_t *plain;
	size_t plain_len;
	uint8_t first;
	uint64_t request_hash;
};

static void run_auth_request(struct engine *e, struct ike_sa *sa, const struct step *s)
{
	ike_auth_request(e, sa, s->m, s->path, s->plain, s->plain_len, s->first, s->request_hash);
}

static void run_create_request(struct engine *e, struct ike_sa *sa, const struct step *s)
{
	create_child_request(e, sa, s->m, s->path, s->request_hash);
}

static void run_info_request(struct engine *e, struct ike_sa *sa, const struct step *s)
{
	informational_request(e, sa, s->m, s->path, s->request_hash);
}

static void run_auth_response(struct engine *e, struct ike_sa *sa, const struct step *s)
{
	struct outreq o = sa->out;

	memset(&sa->out, 0, sizeof(sa->out));
	outreq_clear(&o);
	ike_auth_response(e, sa, s->m, s->plain, s->plain_len, s->first);
}

static bool on_its_way_out(const struct ike_sa *sa)
{
	return sa->state == SA_REKEYED || sa->state == SA_RETIRED;
}

void sa_invalid_syntax(struct engine *e, struct ike_sa *sa, const struct ike_hdr *h,
		       const struct engine_path *path, uint64_t request_hash)
{
	pld_notify_add(inner_begin(e), INVALID_SYNTAX, (struct span){ NULL, 0 });
	reply_send(e, sa, h->exchange, h->id, path, request_hash);
	sa_end_soft(e, sa, ENGINE_WHY_PROTOCOL, on_its_way_out(sa));
}

/* The peer could not read what we sent, and has ended the IKE SA (s2.21.3). */
static bool told_invalid_syntax(struct engine *e, struct ike_sa *sa, const struct step *s)
{
	if (s->m->sa.p || !ike_msg_notify(s->m, INVALID_SYNTAX))
		return false;
	explain(e, sa->peer, sa, s->path, ENGINE_WHY_PROTOCOL, true,
		"the peer answers %s with INVALID_SYNTAX, which ends the IKE SA: a fault of one of "
		"the two programs, please report it",
		ike_exchange_name(sa->out.exchange));
	sa_end(e, sa, ENGINE_WHY_PROTOCOL, on_its_way_out(sa));
	return true;
}

/* The answered request moves out of the SA first: its handler may start the next one. */
static void run_response(struct engine *e, struct ike_sa *sa, const struct step *s)
{
	struct outreq o = sa->out;

	if (told_invalid_syntax(e, sa, s))
		return;
	memset(&sa->out, 0, sizeof(sa->out));
	if (o.task.kind == TASK_REKEY_IKE)
		rekey_ike_response(e, sa, &o, s->m);
	else if (o.exchange == CREATE_CHILD_SA)
		create_child_response(e, sa, &o, s->m);
	else
		informational_response(e, sa, &o, s->m, s->path);
	outreq_clear(&o);
}

/*
 * Authentic, but nothing that can stand here: a second IKE_AUTH or IKE_INTERMEDIATE after IKE_AUTH (RFC 9242
 * s3.1) breaks the protocol, which ends the IKE SA; IKE_FOLLOWUP_KE names a key exchange that
 * we know nothing of (RFC 9370 s2.2.4), and the IKE SA stays.
 */
static void run_misplaced(struct engine *e, struct ike_sa *sa, const struct step *s)
{
	const struct ike_hdr *h = &s->m->hdr;

	if (sa_may_log(e, sa, s->path))
		log_warn(&sa->log, "%s refused: it has no place in this IKE SA",
			 ike_exchange_name(h->exchange));
	if (h->exchange != IKE_FOLLOWUP_KE) {
		sa_invalid_syntax(e, sa, h, s->path, s->request_hash);
		return;
	}
	pld_notify_add(inner_begin(e), STATE_NOT_FOUND, (struct span){ NULL, 0 });
	reply_send(e, sa, h->exchange, h->id, s->path, s->request_hash);
}

#define BIT(s)	(1u << (s))
#define ALIVE	(BIT(SA_UP) | BIT(SA_REKEYED) | BIT(SA_RETIRED))
#define REQUEST 0
#define ANSWER	IKE_FLAG_RESPONSE

static const struct transition {
	uint32_t from; /* set of states */
	uint8_t exchange;
	uint8_t role; /* REQUEST of the peer, or its ANSWER to ours */
	void (*run)(struct engine *e, struct ike_sa *sa, const struct step *s);
	enum sa_state to; /* the usual one; failures go elsewhere */
	const char *story;
} transitions[] = {
	{ BIT(SA_R_INIT), IKE_AUTH, REQUEST, run_auth_request, SA_R_VERIFY,
	  "SK {IDi, [CERT,] [CERTREQ,] [IDr,] AUTH, [CP,] SA, TSi, TSr} -->" },
	{ BIT(SA_I_AUTH), IKE_AUTH, ANSWER, run_auth_response, SA_UP,
	  "<-- SK {IDr, [CERT,] AUTH, [CP,] SA, TSi, TSr}" },
	{ ALIVE, CREATE_CHILD_SA, REQUEST, run_create_request, SA_UP,
	  "SK {[N(REKEY_SA),] SA, Ni, [KEi,] [TSi, TSr]} -->" },
	{ ALIVE, CREATE_CHILD_SA, ANSWER, run_response, SA_UP,
	  "<-- SK {SA, Nr, [KEr,] [TSi, TSr]}" },
	{ ALIVE, INFORMATIONAL, REQUEST, run_info_request, SA_UP, "SK {[N,] [D,] ...} -->" },
	{ ALIVE, INFORMATIONAL, ANSWER, run_response, SA_UP, "<-- SK {[N,] [D,] ...}" },
	{ ALIVE, IKE_AUTH, REQUEST, run_misplaced, SA_UP, "SK {...} out of place -->" },
	{ ALIVE, IKE_INTERMEDIATE, REQUEST, run_misplaced, SA_UP, "SK {...} out of place -->" },
	{ ALIVE, IKE_FOLLOWUP_KE, REQUEST, run_misplaced, SA_UP, "SK {...} out of place -->" },
};

static const struct transition *transition_find(const struct ike_sa *sa, const struct ike_hdr *h)
{
	for (size_t i = 0; i < sizeof(transitions) / sizeof(*transitions); i++) {
		const struct transition *t = &transitions[i];

		if ((t->from & BIT(sa->state)) && t->exchange == h->exchange &&
		    t->role == (h->flags & IKE_FLAG_RESPONSE))
			return t;
	}
	return NULL;
}

void sa_enter_state(struct engine *e, struct ike_sa *sa, enum sa_state to)
{
	if (sa->state == to)
		return;
	log_debug(&sa->log, "%s -> %s", sa_state_name(sa->state), sa_state_name(to));
	sa->state = to;
}

/* ---- finding the SA ---- */

static struct ike_sa *demux(const struct engine *e, const struct ike_hdr *h)
{
	bool we_initiated = !(h->flags & IKE_FLAG_INITIATOR);
	uint64_t own = we_initiated ? h->spi_i : h->spi_r;
	uint64_t theirs = we_initiated ? h->spi_r : h->spi_i;
	struct hash_node *n = hash_first(&e->by_spi, hash_bytes(&own, sizeof(own)));

	for (; n; n = hash_next(n)) {
		struct ike_sa *sa = (struct ike_sa *)((char *)n - offsetof(struct ike_sa, by_spi));

		if (sa->initiator == we_initiated && ike_sa_own_spi(sa) == own &&
		    (we_initiated ? sa->spi_r : sa->spi_i) == theirs)
			return sa;
	}
	return NULL;
}

static struct ike_sa *find_call(const struct engine *e, uint64_t spi_i)
{
	struct hash_node *n = hash_first(&e->by_spi, hash_bytes(&spi_i, sizeof(spi_i)));

	for (; n; n = hash_next(n)) {
		struct ike_sa *sa = (struct ike_sa *)((char *)n - offsetof(struct ike_sa, by_spi));

		if (sa->state == SA_CALLING && sa->spi_i == spi_i)
			return sa;
	}
	return NULL;
}

/* ---- unprotected messages ---- */

static void on_unprotected(struct engine *e, struct ike_sa *sa, struct ike_msg *m,
			   const struct engine_path *path)
{
	const struct pld_notify *n = ike_msg_error(m);
	bool proved;
	struct fx *f;

	if (!sa && !ike_hdr_is_response(&m->hdr) && m->hdr.exchange == INFORMATIONAL && n &&
	    n->type == INVALID_SPI)
		invalid_spi_rumour(e, m, path);
	/* Nobody signed this. It is a hint that the peer lost our SA, and proof only with its token. */
	if (!sa || !ike_hdr_is_response(&m->hdr) || !n || n->type != INVALID_IKE_SPI) {
		e->n.in_dropped++;
		return;
	}
	proved = qcd_proves(sa, m);
	if (!proved && (!sa->win.outstanding || m->hdr.id != sa->win.next_out)) {
		e->n.in_dropped++;
		return;
	}
	if (proved) { /* who has seen it could say so again and again */
		log_info(&sa->log, "the peer has lost this IKE SA, and proves it by its token");
		free(sa->qcd);
		sa->qcd = NULL;
	}
	if (sa->out.task.kind == TASK_DELETE_IKE) {
		sa_end(e, sa, ENGINE_WHY_ADMIN, sa->state != SA_UP);
		return;
	}
	/* Of one that is being made nothing is lost but a key exchange: begin anew, not too often. */
	if (sa->state == SA_I_AUTH && e->now_ms - sa->out.rt.first_ms >= CANDIDATE_HINT_MS) {
		log_info(&sa->log, "the peer is said to have lost this IKE SA: back to IKE_SA_INIT");
		sa_end(e, sa, ENGINE_WHY_TIMEOUT, false);
		return;
	}
	if (!sa->was_up)
		return;
	f = fx_add(e, FX_HINT);
	f->reply.peer = sa->peer->p->id;
	f->reply.ike = sa->handle;
	f->reply.path = *path;
	f->reply.proved = proved;
	unique_lost(e, sa);
}

static void on_unknown_spi(struct engine *e, const struct ike_msg *m,
			   const struct engine_path *path)
{
	e->n.in_dropped++;
	if (ike_hdr_is_response(&m->hdr) || m->hdr.exchange == IKE_SA_INIT || !stray_allowed(e))
		return;
	qcd_answer(e, &m->hdr, path);
}

/* ---- protected messages ---- */

void on_frags_life(struct timer *t, uint64_t now_ms)
{
	struct ike_sa *sa = t->arg;
	uint64_t next_ms = UINT64_MAX;

	for (int i = 0; i < 2; i++) {
		struct frag_set *s = sa->frags_in[i];

		if (s && !frag_expire(s, now_ms) && s->active &&
		    s->since_ms + FRAG_TIMEOUT_MS < next_ms)
			next_ms = s->since_ms + FRAG_TIMEOUT_MS;
		if (s && !s->active) {
			free(s);
			sa->frags_in[i] = NULL;
		}
	}
	if (next_ms != UINT64_MAX)
		timer_arm(sa->engine, t, next_ms);
}

/* An authentic fragment: kept, and joined with the others once it is the last. Result as open_message(). */
static int keep_fragment(struct engine *e, struct ike_sa *sa, struct frag_set **set,
			 const struct frag_set *other, const struct ike_msg *m, uint8_t *first,
			 size_t *len)
{
	/* A responder does not know yet who fills it; whom we called is one of few. */
	bool stranger = sa->auth && !sa->initiator;
	size_t bound = sa->auth ? FRAG_STRANGER_MAX : FRAG_BYTES_MAX;
	size_t held = other ? other->bytes : 0; /* one bound for both directions */
	int err;

	if (!*set)
		*set = calloc(1, sizeof(**set));
	if (!*set)
		return -ENOMEM;
	if (m->sk.frag_number < m->sk.frag_total)
		path_is_smaller(sa, m->raw.len); /* to the peer's knowledge */
	if (!(*set)->active) {
		(*set)->pool = stranger ? &e->frag_strangers : NULL;
		(*set)->pool_max = FRAG_STRANGERS_MAX;
	}
	(*set)->max = held < bound ? bound - held : 1; /* 0 would be no bound of ours */
	err = frag_add(*set, m, e->plain, *len, e->now_ms);
	if (!timer_armed(&sa->frags))
		timer_arm(e, &sa->frags, e->now_ms + FRAG_TIMEOUT_MS);
	if (err <= 0)
		return err;
	err = frag_join(*set, e->plain, sizeof(e->plain), len, first);
	return err ? err : 1;
}

/* Decrypt, and join fragments. 1: whole, in *first, *len; 0: wait for more; or -errno. */
static int open_message(struct engine *e, struct ike_sa *sa, struct ike_msg *m, uint8_t *first,
			size_t *len)
{
	static const struct frag_set none;
	bool response = ike_hdr_is_response(&m->hdr);
	struct frag_set **set = &sa->frags_in[response];
	int err = 0;

	if (*set)
		frag_expire(*set, e->now_ms);
	if (m->sk.type == PLD_SKF)
		err = sa->frag ? frag_check(*set ? *set : &none, m) : -EPROTO;
	if (!err)
		err = sk_open(sa->aead_in, m, e->plain, sizeof(e->plain), len);
	if (err)
		return err;
	*first = m->sk.first;
	if (m->sk.type == PLD_SKF)
		return keep_fragment(e, sa, set, sa->frags_in[!response], m, first, len);
	if (*set)
		frag_clear(*set); /* the whole message is here before its fragments */
	return 1;
}

static void note_reply(struct engine *e, struct ike_sa *sa, const struct ike_msg *m,
		       const struct engine_path *path)
{
	bool routable = !sa->mobike || mobike_cookie2_check(&sa->out, m) == MOBIKE_SAME;
	struct fx *f;

	if (routable && addr_eq(&path->remote.addr, &sa->path.remote.addr))
		sa->unproved = false;
	sa->reply_ms = e->now_ms;
	if (!sa->peer || !sa->was_up)
		return;
	sa->peer->alive_ms = e->now_ms;
	f = fx_add(e, FX_REPLY);
	f->reply.peer = sa->peer->p->id;
	f->reply.ike = sa->handle;
	f->reply.path = *path;
	f->reply.routable = routable;
}

/* The peer has our new IKE SA: its predecessor need not wait much longer. */
static void note_confirmed(struct engine *e, struct ike_sa *sa)
{
	if (sa->confirmed)
		return;
	sa->confirmed = true;
	if (sa->predecessor && sa->predecessor->state == SA_REKEYED)
		timer_arm(e, &sa->predecessor->life, e->now_ms + RETIRED_MS);
}

/* They say nothing about a request, but somebody may want to know (RFC 7296 s3.10.1). */
static void note_unknown_errors(struct engine *e, struct ike_sa *sa, const struct ike_msg *m,
				const struct engine_path *path)
{
	const struct pld_notify *n = ike_msg_unknown_error(m);
	char text[IKE_NOTIFY_STR_MAX];

	if (n && !ike_hdr_is_response(&m->hdr) && sa_may_log(e, sa, path))
		log_info(&sa->log, "%s in a request of the peer: ignored",
			 ike_notify_str(n->type, text));
}

/* Authentic, but wrong in itself (RFC 7296 s2.21.3, s2.5): a request gets told, an answer ends the SA. */
static void on_bad_payloads(struct engine *e, struct ike_sa *sa, const struct ike_msg *m, int err,
			    const struct engine_path *path, uint64_t hash)
{
	uint8_t type = m->bad;

	e->n.in_malformed++;
	if (sa_may_log(e, sa, path))
		log_warn(&sa->log, "malformed message under the keys of this SA: payload %s: %s",
			 ike_payload_name(m->bad), m->why ? m->why : "unknown and critical");
	if (ike_hdr_is_response(&m->hdr)) {
		window_commit_response(&sa->win);
		outreq_clear(&sa->out);
		if (sa->caller)
			explain(e, sa->peer, sa, path, ENGINE_WHY_PROTOCOL, false,
				"the answer to IKE_AUTH is malformed (%s)",
				ike_payload_name(m->bad));
		sa_end(e, sa, ENGINE_WHY_PROTOCOL, on_its_way_out(sa));
		return;
	}
	if (err != -EPROTO) {
		sa_invalid_syntax(e, sa, &m->hdr, path, hash);
		return;
	}
	pld_notify_add(inner_begin(e), UNSUPPORTED_CRITICAL_PAYLOAD, (struct span){ &type, 1 });
	reply_send(e, sa, m->hdr.exchange, m->hdr.id, path, hash);
	if (sa->state == SA_R_INIT)
		sa_end_soft(e, sa, ENGINE_WHY_PROTOCOL, false);
}

/* The peer repeats its request: is our answer too large for the way back? RFC 7383 s2.5.2 lets us guess. */
static void answer_lost(struct engine *e, struct ike_sa *sa)
{
	if (++sa->win.repeated != RETRANSMIT_STEP_DOWN - 1)
		return;
	path_is_smaller(sa, MSG_SMALL_MAX);
	reply_cut_smaller(e, sa);
}

static bool window_lets_in(struct engine *e, struct ike_sa *sa, struct ike_msg *m,
			   const struct engine_path *path, uint64_t hash)
{
	enum window_verdict v;
	size_t len;

	if (ike_hdr_is_response(&m->hdr)) {
		if (window_check_response(&sa->win, m->hdr.id))
			return true;
		e->n.in_dropped++;
		return false;
	}
	v = window_check_request(&sa->win, m->hdr.id);
	if (v == WINDOW_NEW)
		return true;
	if (v == WINDOW_DUPLICATE && (m->sk.type == PLD_SK || m->sk.frag_number == 1)) {
		if (hash == sa->win.request_hash) {
			answer_lost(e, sa);
			reply_again(e, sa, path);
			return false;
		}
		/* The same request cut into smaller fragments: other bytes, but authentic (RFC 7383 s2.6.1). */
		if (m->sk.type == PLD_SKF && sa->frag &&
		    !sk_open(sa->aead_in, m, e->plain, sizeof(e->plain), &len)) {
			sa->win.request_hash = hash;
			path_is_smaller(sa, m->raw.len);
			reply_cut_smaller(e, sa);
			reply_again(e, sa, path);
			return false;
		}
	}
	e->n.in_dropped++;
	return false;
}

/* Message IDs must not wrap (RFC 7296 s2.2): rekey in time, and close where every rekey failed. */
static void numbers_left(struct engine *e, struct ike_sa *sa)
{
	if (sa->state != SA_UP || !window_exhausted(&sa->win))
		return;
	if (!window_last(&sa->win)) {
		task_queue(e, sa, TASK_REKEY_IKE, 0);
		return;
	}
	if (ike_sa_task_has(sa, TASK_DELETE_IKE, 0))
		return;
	log_warn(&sa->log, "closed: its message IDs are used up and no rekey of it succeeded");
	ike_sa_tasks_clear(sa);
	task_queue(e, sa, TASK_DELETE_IKE, 0);
}

static void on_protected(struct engine *e, struct ike_sa *sa, struct ike_msg *m,
			 const struct engine_path *path)
{
	const struct transition *t = transition_find(sa, &m->hdr);
	uint64_t hash = hash_bytes(m->raw.p, m->raw.len);
	struct step s = { .m = m, .path = path, .plain = e->plain, .request_hash = hash };
	int err;

	if (!sa->aead_in || mid_sync_request(e, sa, m, path, hash) ||
	    !window_lets_in(e, sa, m, path, hash))
		return;
	if (!t || (ike_hdr_is_response(&m->hdr) && m->hdr.exchange != sa->out.exchange)) {
		e->n.in_dropped++;
		return;
	}
	err = open_message(e, sa, m, &s.first, &s.plain_len);
	if (err <= 0) {
		if (err == -EKEYREJECTED || err == -EBADMSG)
			e->n.in_unauthenticated++;
		return;
	}
	err = ike_msg_parse_inner(m, s.first, e->plain, s.plain_len);
	if (err) {
		on_bad_payloads(e, sa, m, err, path, hash);
		return;
	}
	if (ike_hdr_is_response(&m->hdr)) {
		timer_clear(&e->timers, &sa->resend);
		window_commit_response(&sa->win);
		note_reply(e, sa, m, path);
	} else if (sa->was_up && !engine_path_eq(path, &sa->path)) {
		struct fx *f = fx_add(e, FX_REQUEST_FROM);

		f->reply.peer = sa->peer->p->id;
		f->reply.ike = sa->handle;
		f->reply.path = *path;
	}
	note_confirmed(e, sa);
	unique_heard(e, sa);
	note_unknown_errors(e, sa, m, path);
	log_debug(&sa->log, "%s", t->story);
	t->run(e, sa, &s);
	numbers_left(e, sa);
	tasks_run(e, sa);
}

void engine_on_datagram(struct engine *e, uint64_t now_ms, const struct engine_path *path,
			const uint8_t *bytes, size_t len, struct fx_list *fx)
{
	static struct ike_msg m; /* one thread; too large for a stack frame */
	struct half_open *ho;
	struct ike_sa *sa;
	int err;

	engine_enter(e, now_ms, fx);
	e->n.in++;
	memset(&m, 0, sizeof(m));
	err = len > ENGINE_MSG_MAX ? -EBADMSG : ike_msg_parse(bytes, len, &m);
	if (err == -EPROTONOSUPPORT && !ike_hdr_is_response(&m.hdr) && stray_allowed(e))
		answer_notify(e, &m.hdr, path, INVALID_MAJOR_VERSION, NULL, 0);
	if (err == -EPROTO && m.bad && m.hdr.exchange == IKE_SA_INIT)
		ike_sa_init_unsupported(e, &m, path);
	if (err) {
		e->n.in_malformed++;
		engine_leave(e);
		return;
	}
	if (m.hdr.exchange == IKE_SA_INIT) {
		sa = ike_hdr_is_response(&m.hdr) ? find_call(e, m.hdr.spi_i) : NULL;
		if (sa)
			ike_sa_init_response(e, sa, &m, path);
		else if (!ike_hdr_is_response(&m.hdr))
			ike_sa_init_request(e, &m, path);
		else
			e->n.in_dropped++;
	} else {
		sa = demux(e, &m.hdr);
		ho = sa || m.sk.type == PLD_NONE
			 ? NULL
			 : half_open_by_spi(e, m.hdr.spi_i, m.hdr.spi_r);
		if (ho)
			sa = half_open_open(e, ho, &m, path);
		if (m.sk.type == PLD_NONE)
			on_unprotected(e, sa, &m, path);
		else if (!sa && ho)
			; /* counted there; the exchange still waits for the true IKE_AUTH */
		else if (!sa)
			on_unknown_spi(e, &m, path);
		else
			on_protected(e, sa, &m, path);
	}
	engine_leave(e);
}

uint64_t engine_next_timer_ms(const struct engine *e)
{
	return timers_next_ms(&e->timers);
}

void engine_on_timer(struct engine *e, uint64_t now_ms, struct fx_list *fx)
{
	engine_enter(e, now_ms, fx);
	timers_run(&e->timers, now_ms);
	engine_leave(e);
}
