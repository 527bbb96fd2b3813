/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * IKE_AUTH (RFC 7296 s1.2, s2.15), both roles, with the first CHILD SA and configuration payloads.
 *
 *	HDR, SK {IDi, [CERT,] [CERTREQ,] [N(INITIAL_CONTACT),] IDr, AUTH, [CP,] SA, TSi, TSr} -->
 *			<--  HDR, SK {IDr, [CERT,] AUTH, [CP,] SA, TSi, TSr}
 *			<--  HDR, SK {IDr, [CERT,] AUTH, N(error)}	CHILD failed, the IKE SA lives
 *			<--  HDR, SK {N(AUTHENTICATION_FAILED)}
 *
 * Where the responder said so (RFC 6023) the request may be without SA, TSi, TSr: no CHILD SA then.
 *
 * While the keys process works the peer's message waits, decrypted, in struct auth_ctx, and is parsed again
 * when the answer comes.
 */
#include "engine_int.h"

#include <stdio.h>
#include <stdlib.h>

static int keep_message(struct auth_ctx *a, const struct ike_msg *m, const uint8_t *plain,
			size_t len, uint8_t first)
{
	if (a->plain)
		secret_wipe(a->plain, a->plain_len);
	free(a->plain);
	a->plain = malloc(len ? len : 1);
	if (!a->plain)
		return -ENOMEM;
	memcpy(a->plain, plain, len);
	a->plain_len = len;
	a->first = first;
	a->hdr = m->hdr;
	return 0;
}

static int kept_message(const struct auth_ctx *a, struct ike_msg *m)
{
	memset(m, 0, sizeof(*m));
	m->hdr = a->hdr;
	return ike_msg_parse_inner(m, a->first, a->plain, a->plain_len);
}

static void auth_over(struct ike_sa *sa)
{
	auth_ctx_free(sa->auth);
	sa->auth = NULL;
	/* They were for AUTH alone. */
	secret_clear(&sa->keys.sk_pi);
	secret_clear(&sa->keys.sk_pr);
}

static void come_up(struct engine *e, struct ike_sa *sa, bool child)
{
	struct fx *f;

	sa->was_up = true;
	sa->confirmed = true;
	sa->peer->introduced = true;
	memset(&sa->peer->redirected_from, 0, sizeof(sa->peer->redirected_from));
	sa->peer->alive_ms = e->now_ms;
	sa->since_ms = e->now_ms;
	sa->series_since_ms = e->now_ms;
	half_open_gone(e, sa);
	sa_enter_state(e, sa, SA_UP);
	rekey_schedule(e, sa);
	admit_known(e, &sa->path.remote.addr);
	f = fx_add(e, FX_PEER_UP);
	f->up.peer = sa->peer->p->id;
	f->up.ike = sa->handle;
	f->up.initiator = sa->initiator;
	f->up.child = child;
	f->up.postern = sa->postern;
	f->up.mobike = sa->mobike;
	f->up.nat_local = sa->nat_local;
	f->up.nat_remote = sa->nat_remote;
	f->up.path = sa->path;
	log_info(&sa->log, "IKE SA is up");
	dates_told(e, sa);
}

/* ---- initiator ---- */

void ike_auth_begin(struct engine *e, struct ike_sa *sa)
{
	int err = auth_ask_ours(e, sa);

	timer_arm(e, &sa->life, e->now_ms + HALF_OPEN_MS);
	if (!err)
		return;
	explain(e, sa->peer, sa, &sa->path, ENGINE_WHY_LOCAL, false, "we cannot authenticate: %s",
		err == -ENOTSUP ? explain_unsigned(sa) : "out of memory");
	sa_end(e, sa, ENGINE_WHY_LOCAL, false);
}

static void add_instance(struct engine *e, const struct ike_sa *sa, struct ike_build *b)
{
	if (sa->postern)
		pld_notify_add(b, POSTERN_INSTANCE_ID,
			       (struct span){ e->instance, sizeof(e->instance) });
}

/* Does this IKE_AUTH of ours go without a CHILD SA (RFC 6023)? */
static bool goes_childless(const struct ike_sa *sa)
{
	enum engine_childless way = sa->peer->p->childless;

	return sa->auth->childless &&
	       (way == ENGINE_CHILDLESS_PREFER || way == ENGINE_CHILDLESS_FORCE);
}

static int request_child(struct engine *e, struct ike_sa *sa, struct ike_build *b)
{
	struct ts_list *tsi = calloc(2, sizeof(*tsi));
	struct proposals *esp = calloc(1, sizeof(*esp));
	const struct engine_peer *p = sa->peer->p;
	struct child_sa *c = p->child_count ? child_start(e, sa, p->child->id) : NULL;
	int err = tsi && esp && c ? 0 : -ENOMEM;

	if (!err) {
		child_offer(c, true, esp);
		sa_add(b, esp);
		child_wish(c, NULL, &tsi[0], &tsi[1]);
		ts_add(b, PLD_TSI, &tsi[0]);
		ts_add(b, PLD_TSR, &tsi[1]);
		child_window_add(e, sa, b);
	}
	free(tsi);
	free(esp);
	return err;
}

static int request_build(struct engine *e, struct ike_sa *sa, const uint8_t *result, size_t len)
{
	const struct engine_peer *p = sa->peer->p;
	struct ike_build *b = inner_begin(e);
	int err;

	pld_id_add(b, PLD_IDI, p->local_id.type, id_span(&p->local_id));
	if (!sa->peer->introduced)
		pld_notify_add(b, INITIAL_CONTACT, (struct span){ NULL, 0 });
	auth_certreq_add(e, b, p);
	pld_id_add(b, PLD_IDR, p->remote_id.type, id_span(&p->remote_id));
	err = auth_add_ours(e, sa, b, result, len);
	if (err)
		return err;
	cp_wish(sa, b);
	if (!goes_childless(sa))
		err = request_child(e, sa, b);
	add_instance(e, sa, b);
	mobike_offer(e, b, &sa->path);
	qcd_add(e, b, true, sa->spi_i);
	pld_notify_add(b, IKEV2_MESSAGE_ID_SYNC_SUPPORTED, (struct span){ NULL, 0 });
	pld_notify_add(b, ESP_TFC_PADDING_NOT_SUPPORTED, (struct span){ NULL, 0 });
	return err;
}

static void ours_signed_i(struct engine *e, struct ike_sa *sa, const uint8_t *result, size_t len)
{
	struct task t = { 0 };
	int err = request_build(e, sa, result, len);

	if (!err)
		err = request_send(e, sa, IKE_AUTH, &t);
	if (err) {
		if (err == -EIO)
			explain_our_secret(e, sa, &sa->path);
		else
			explain(e, sa->peer, sa, &sa->path, ENGINE_WHY_LOCAL, false,
				"cannot build IKE_AUTH: out of memory");
		sa_end(e, sa, ENGINE_WHY_LOCAL, false);
		return;
	}
	sa_enter_state(e, sa, SA_I_AUTH);
	if (sa->caller)
		sa->caller->call->vowed = true;
	timer_clear(&e->timers, &sa->life);
}

/* The call is over with @why, unless another candidate may still hold. */
static void candidate_refused(struct engine *e, struct ike_sa *sa, enum engine_why why)
{
	struct ike_sa *call = sa->caller;

	if (call && call->call->candidates <= 1)
		call_end(e, call, why);
	else
		sa_end(e, sa, why, false);
}

/* Somebody else is up with our key, and where: @n is bounded by its parser. */
static void busy_by_peer(struct engine *e, struct ike_sa *sa, const struct pld_notify *n)
{
	struct rd r = rd_init(n->data, n->len);
	size_t len = rd_u8(&r);
	const uint8_t *bytes = rd_take(&r, len);
	struct endpoint there = { 0 };
	char text[ENDPOINT_STR_MAX];

	there.port = rd_be16(&r);
	if (r.bad || addr_from_bytes(&there.addr, bytes, len))
		memset(&there, 0, sizeof(there));
	explain(e, sa->peer, sa, &sa->path, ENGINE_WHY_IDENTITY_BUSY, true,
		"identity in use twice: another machine with our key is up there, calling from %s; "
		"each machine needs a `private-key` and an `identity` of its own; asked again in "
		"a minute",
		there.addr.family ? endpoint_str(&there, text) : "an address that it does not say");
	candidate_refused(e, sa, ENGINE_WHY_IDENTITY_BUSY);
}

static void refused_by_peer(struct engine *e, struct ike_sa *sa, const struct pld_notify *n)
{
	enum engine_why why = n->type == AUTHENTICATION_FAILED ? ENGINE_WHY_AUTH_FAILED
			      : n->type == NO_PROPOSAL_CHOSEN  ? ENGINE_WHY_NO_PROPOSAL
							       : ENGINE_WHY_REFUSED;

	e->n.auth_failed++;
	explain_refused_auth(e, sa, n->type, why);
	candidate_refused(e, sa, why);
}

/* We do not believe the peer. It believes that we are up, so tell it once (RFC 7296 s2.21.2). */
static void disbelieve(struct engine *e, struct ike_sa *sa, const char *why)
{
	e->n.auth_failed++;
	explain(e, sa->peer, sa, &sa->path, ENGINE_WHY_AUTH_FAILED, false,
		"the peer is not who it should be: %s", why);
	pld_notify_add(inner_begin(e), AUTHENTICATION_FAILED, (struct span){ NULL, 0 });
	request_once(e, sa, INFORMATIONAL);
	candidate_refused(e, sa, ENGINE_WHY_AUTH_FAILED);
}

/* This candidate's AUTH holds: it becomes what engine_initiate() promised. */
static void candidate_wins(struct engine *e, struct ike_sa *sa)
{
	struct ike_sa *call = sa->caller, *o, *next;

	sa->caller = NULL;
	timer_clear(&e->timers, &sa->life);
	if (!call)
		return;
	sa_take_handle(e, sa, call);
	for (o = sa->peer->sas; o; o = next) {
		next = o->peer_next;
		if (o->caller != call)
			continue;
		o->caller = NULL;
		candidate_forsake(e, o);
		sa_end(e, o, ENGINE_WHY_REPLACED, true);
	}
	sa_end(e, call, ENGINE_WHY_REPLACED, true);
}

static bool first_child(struct engine *e, struct ike_sa *sa, const struct ike_msg *m,
			const struct auth_ctx *a)
{
	const struct pld_notify *n = ike_msg_error(m);
	struct child_sa *c = sa->children;
	char why[200] = "the answer has no CHILD SA";
	int err = -EPROTO;

	if (n && !m->sa.p) {
		explain_child_by_peer(e, sa, c, n->type, "the first CHILD SA");
		if (c)
			child_drop(e, c, false);
		return false;
	}
	if (!c)
		return false; /* we asked for none */
	if (m->sa.p)
		err =
		    child_complete(e, sa, c, m, NULL, true, &a->ni, &a->nr, NULL, why, sizeof(why));
	if (!err)
		err = child_switch_out(e, c);
	if (!err)
		return true;
	explain(e, sa->peer, sa, &sa->path, err == -ENOENT ? ENGINE_WHY_TS : ENGINE_WHY_LOCAL,
		false, "the CHILD SA cannot be used: %s", why);
	if (m->sa.p && c->spi_out)
		task_queue(e, sa, TASK_DELETE_CHILD, c->spi_in);
	else
		child_drop(e, c, false);
	return false;
}

static void finish_i(struct engine *e, struct ike_sa *sa, const struct ike_msg *m)
{
	const struct pld_notify *n = ike_msg_notify(m, POSTERN_INSTANCE_ID);
	struct auth_ctx *a = sa->auth;
	bool child, childless;

	if (sa->postern && n && n->len == sizeof(sa->instance)) {
		memcpy(sa->instance, n->data, n->len);
		sa->has_instance = true;
	}
	sa->mid_sync = ike_msg_notify(m, IKEV2_MESSAGE_ID_SYNC_SUPPORTED) != NULL;
	sa->mobike = ike_msg_notify(m, MOBIKE_SUPPORTED) != NULL;
	qcd_keep(sa, m);
	if (redirect_unserved(e, sa, m)) {
		log_info(&sa->log, "it is who it should be, and sends us elsewhere");
		candidate_refused(e, sa, ENGINE_WHY_REFUSED);
		return;
	}
	candidate_wins(e, sa);
	sa_enter_state(e, sa, SA_UP);
	cp_take(e, sa, m); /* they bound the selectors of the CHILD SA */
	childless = !sa->children && !ike_msg_error(m);
	child = first_child(e, sa, m, a);
	come_up(e, sa, child);
	mobike_others(e, sa, m);
	redirect_heard(e, sa, m);
	auth_over(sa);
	if (child)
		child_announce(e, sa->children);
	else if (!childless && sa->peer->p->child_count)
		child_want(e, sa, sa->peer->p->child->id, 1000);
	if (child)
		child_more(e, sa, sa->children, m, false);
	child_want_all(e, sa);
	peer_settle(e, sa, false);
	/* Only a Postern gives addresses in CREATE_CHILD_SA; with others it takes a new IKE_AUTH. */
	if (!child && !sa->postern && cp_missing(sa) && sa->state == SA_UP)
		sa_goodbye(e, sa, ENGINE_WHY_ADDRESS);
}

void ike_auth_response(struct engine *e, struct ike_sa *sa, struct ike_msg *m, const uint8_t *plain,
		       size_t plain_len, uint8_t first)
{
	const struct engine_peer *p = sa->peer->p;
	const struct pld_notify *n = ike_msg_error(m), *unknown = ike_msg_unknown_error(m);
	char why[AUTH_WHY_MAX] = "", theirs[100], wanted[100];
	int err;

	/* Whatever it means: the request has failed entirely (s3.10.1), though the peer may be up. */
	if (unknown && m->auth.method) {
		pld_delete_add_ike(inner_begin(e));
		request_once(e, sa, INFORMATIONAL);
		refused_by_peer(e, sa, unknown);
		return;
	}
	if (!m->auth.method) {
		const struct pld_notify *busy = ike_msg_notify(m, POSTERN_IDENTITY_BUSY);

		if (n && sa->postern && busy)
			busy_by_peer(e, sa, busy);
		else if (n)
			refused_by_peer(e, sa, n);
		else
			disbelieve(e, sa, "its answer has no AUTH payload");
		return;
	}
	if (!m->idr.body.p || !pld_id_equal(p->remote_id.type, id_span(&p->remote_id), m->idr.type,
					    (struct span){ m->idr.data, m->idr.len })) {
		snprintf(why, sizeof(why),
			 "it says that it is %s, and `identity` asks for %s: correct one of them",
			 m->idr.body.p
			     ? pld_id_str(m->idr.type, (struct span){ m->idr.data, m->idr.len },
					  theirs, sizeof(theirs))
			     : "nobody",
			 pld_id_str(p->remote_id.type, id_span(&p->remote_id), wanted,
				    sizeof(wanted)));
		disbelieve(e, sa, why);
		return;
	}
	err = auth_check_peer(e, sa, m, &m->idr, why, sizeof(why));
	if (err > 0) {
		err = keep_message(sa->auth, m, plain, plain_len, first);
		sa_enter_state(e, sa, SA_I_VERIFY);
		timer_arm(e, &sa->life, e->now_ms + HALF_OPEN_MS);
		if (!err)
			return;
	}
	if (err)
		disbelieve(e, sa, why[0] ? why : "out of memory");
	else
		finish_i(e, sa, m);
}

/* ---- responder ---- */

static void auth_failed(struct engine *e, struct ike_sa *sa, const struct ike_msg *m,
			uint16_t notify)
{
	const struct engine_path path = sa->auth->path;

	e->n.auth_failed++;
	pld_notify_add(inner_begin(e), notify, (struct span){ NULL, 0 });
	reply_send(e, sa, IKE_AUTH, m->hdr.id, &path, sa->auth->request_hash);
	sa_end_soft(e, sa, ENGINE_WHY_AUTH_FAILED, false);
}

static void reject_r(struct engine *e, struct ike_sa *sa, const struct ike_msg *m, const char *why)
{
	explain_caller(e, sa, m, why);
	auth_failed(e, sa, m, AUTHENTICATION_FAILED);
}

/* Was the IKE suite, chosen before we knew who calls, one that this peer may use? */
static bool suite_allowed(const struct ike_sa *sa, const struct engine_peer *p)
{
	struct proposals *one = calloc(1, sizeof(*one));
	struct proposal *q = one ? proposal_add(one, PROTO_IKE) : NULL;
	struct sa_choice choice;
	bool ok = false;

	if (q) {
		transform_add(q, TRANSFORM_ENCR, sa->suite.encr, sa->suite.encr_bits);
		transform_add(q, TRANSFORM_PRF, sa->suite.prf, 0);
		if (sa->suite.integ)
			transform_add(q, TRANSFORM_INTEG, sa->suite.integ, 0);
		transform_add(q, TRANSFORM_KE, sa->suite.ke, 0);
		q->number = 1;
		ok = !sa_choose(p->ike, one, sa->suite.ke, false, &choice);
	}
	free(one);
	return ok;
}

static bool asks_child(const struct ike_msg *m)
{
	return m->sa.p || m->tsi.p || m->tsr.p;
}

/* All is as it should be: ask for our own AUTH. */
static void admit(struct engine *e, struct ike_sa *sa, const struct ike_msg *m)
{
	if (auth_ask_ours(e, sa)) {
		reject_r(e, sa, m, explain_unsigned(sa));
		return;
	}
	sa_enter_state(e, sa, SA_R_SIGN);
	timer_arm(e, &sa->life, e->now_ms + HALF_OPEN_MS);
}

void ike_auth_free(struct engine *e, struct ike_sa *sa)
{
	static struct ike_msg m; /* one thread; too large for a stack frame */

	if (kept_message(sa->auth, &m))
		sa_end(e, sa, ENGINE_WHY_LOCAL, false);
	else
		admit(e, sa, &m);
}

void ike_auth_busy(struct engine *e, struct ike_sa *sa, const struct engine_path *other)
{
	const struct endpoint *o = &other->remote;
	const struct engine_path path = sa->auth->path;
	uint8_t where[1 + 16 + 2];
	struct wr w = wr_init(where, sizeof(where));
	char a[ENDPOINT_STR_MAX], b[ENDPOINT_STR_MAX];
	struct ike_build *build;

	explain(e, sa->peer, sa, &path, ENGINE_WHY_IDENTITY_BUSY, false,
		"identity in use twice: it calls from %s while another machine with its key still "
		"answers at %s; each machine needs a key and an `identity` of its own",
		endpoint_str(&path.remote, a), endpoint_str(o, b));
	wr_u8(&w, (uint8_t)addr_len(&o->addr));
	wr_bytes(&w, o->addr.b, addr_len(&o->addr));
	wr_be16(&w, o->port);
	build = inner_begin(e);
	pld_notify_add(build, AUTHENTICATION_FAILED, (struct span){ NULL, 0 });
	pld_notify_add(build, POSTERN_IDENTITY_BUSY, (struct span){ where, w.len });
	reply_send(e, sa, IKE_AUTH, sa->auth->hdr.id, &path, sa->auth->request_hash);
	sa_end_soft(e, sa, ENGINE_WHY_IDENTITY_BUSY, false);
}

static void peer_proved(struct engine *e, struct ike_sa *sa, const struct ike_msg *m)
{
	const struct engine_peer *p = sa->peer->p;

	sa->auth->proved = true;
	if (!suite_allowed(sa, p)) {
		reject_r(e, sa, m, "the IKE suite that was chosen before it said who it is is not among this "
			 "peer's `ike-proposals`; let [posternd] have the same, or one list hold both");
		return;
	}
	if (p->childless == ENGINE_CHILDLESS_FORCE && asks_child(m)) {
		explain(e, sa->peer, sa, &sa->auth->path, ENGINE_WHY_REFUSED, false,
			"refused: it asks for a CHILD SA in IKE_AUTH; `childless` = force "
			"takes none there");
		auth_failed(e, sa, m, INVALID_SYNTAX);
		return;
	}
	if (!unique_ask(e, sa, m))
		admit(e, sa, m);
}

void ike_auth_request(struct engine *e, struct ike_sa *sa, struct ike_msg *m,
		      const struct engine_path *path, const uint8_t *plain, size_t plain_len,
		      uint8_t first, uint64_t request_hash)
{
	struct auth_ctx *a = sa->auth;
	struct peer_entry *pe;
	char why[AUTH_WHY_MAX] = "";
	int err;

	a->path = *path;
	a->request_hash = request_hash;
	sa->win.answering = true;
	if (!m->idi.body.p || !m->auth.method) {
		auth_failed(e, sa, m, m->idi.body.p ? AUTHENTICATION_FAILED : INVALID_SYNTAX);
		return;
	}
	err = keep_message(a, m, plain, plain_len, first);
	if (err) {
		auth_failed(e, sa, m, TEMPORARY_FAILURE);
		return;
	}
	pe = peer_by_identity(e, &m->idi, &m->idr);
	a->unknown = !pe || !peer_accepts(pe, &path->remote.addr);
	a->elsewhere = pe && a->unknown ? pe->p->id : 0;
	if (pe && !a->unknown)
		sa_set_peer(e, sa, pe);
	sa->path = *path;
	sa_enter_state(e, sa, SA_R_VERIFY);
	err = auth_check_peer(e, sa, m, &m->idi, why, sizeof(why));
	if (err > 0)
		return;
	if (err)
		reject_r(e, sa, m, why);
	else
		peer_proved(e, sa, m);
}

/* Appends [CP,] SA, TSi, TSr or a notify. */
static struct child_sa *answer_child(struct engine *e, struct ike_sa *sa, const struct ike_msg *m,
				     struct ike_build *b)
{
	struct child_sa *c = NULL;
	bool childless = !asks_child(m), given = cp_give(e, sa, m, b);
	uint16_t notify, group;

	if (childless && given && sa->auth->childless &&
	    sa->peer->p->childless != ENGINE_CHILDLESS_NEVER)
		return NULL; /* nothing was asked for */
	if (!given)
		notify = INTERNAL_ADDRESS_FAILURE;
	else if (sa->mobike && mobike_nat_forbidden(m, &sa->path))
		notify = UNEXPECTED_NAT_DETECTED;
	else if (childless) /* one of those that leave the IKE SA alone: s1.2 */
		notify = NO_PROPOSAL_CHOSEN;
	else
		notify = child_respond(e, sa, m, b, NULL, true, &sa->auth->ni, &sa->auth->nr,
				       &group, &c);
	if (notify) {
		if (notify != INTERNAL_ADDRESS_FAILURE) /* cp_give() has said why */
			explain_child(e, sa, &sa->path, m, notify);
		pld_notify_add(b, notify, (struct span){ NULL, 0 });
	}
	return c;
}

/* It knows where it is served, and is to delete this IKE SA: we do, if it does not (RFC 5685 s6). */
static void sent_away(struct engine *e, struct ike_sa *sa, const struct ike_msg *m)
{
	const struct engine_path path = sa->auth->path;

	if (reply_send(e, sa, IKE_AUTH, m->hdr.id, &path, sa->auth->request_hash)) {
		sa_end(e, sa, ENGINE_WHY_LOCAL, false);
		return;
	}
	log_info(&sa->log, "not served here: it is sent elsewhere");
	half_open_gone(e, sa);
	auth_over(sa);
	sa_enter_state(e, sa, SA_RETIRED);
	timer_arm(e, &sa->life, e->now_ms + RETIRED_MS);
}

static void finish_r(struct engine *e, struct ike_sa *sa, const struct ike_msg *m,
		     const uint8_t *result, size_t len)
{
	const struct engine_peer *p = sa->peer->p;
	const struct pld_notify *n = ike_msg_notify(m, POSTERN_INSTANCE_ID);
	bool contact = ike_msg_notify(m, INITIAL_CONTACT) != NULL;
	struct engine_path path = sa->auth->path;
	struct ike_build *b = inner_begin(e);
	struct child_sa *c;

	pld_id_add(b, PLD_IDR, p->local_id.type, id_span(&p->local_id));
	if (auth_add_ours(e, sa, b, result, len)) {
		explain_our_secret(e, sa, &path);
		auth_failed(e, sa, m, TEMPORARY_FAILURE);
		return;
	}
	if (redirect_add(e, sa, b)) {
		sent_away(e, sa, m);
		return;
	}
	if (sa->postern && n && n->len == sizeof(sa->instance)) {
		memcpy(sa->instance, n->data, n->len);
		sa->has_instance = true;
	}
	sa->mobike = ike_msg_notify(m, MOBIKE_SUPPORTED) != NULL;
	c = answer_child(e, sa, m, b);
	if (sa->mobike)
		mobike_offer(e, b, &path);
	qcd_keep(sa, m);
	if (sa->qcd) /* only who has it too can do anything with ours */
		qcd_add(e, b, false, sa->spi_r);
	add_instance(e, sa, b);
	sa->mid_sync = ike_msg_notify(m, IKEV2_MESSAGE_ID_SYNC_SUPPORTED) != NULL;
	if (sa->mid_sync)
		pld_notify_add(b, IKEV2_MESSAGE_ID_SYNC_SUPPORTED, (struct span){ NULL, 0 });
	if (reply_send(e, sa, IKE_AUTH, m->hdr.id, &path, sa->auth->request_hash)) {
		sa_end(e, sa, ENGINE_WHY_LOCAL, false);
		return;
	}
	timer_clear(&e->timers, &sa->life);
	if (c && child_switch_out(e, c)) {
		task_queue(e, sa, TASK_DELETE_CHILD, c->spi_in);
		c = NULL;
	}
	mobike_reached(e, &path.local.addr);
	come_up(e, sa, c != NULL);
	mobike_others(e, sa, m);
	auth_over(sa);
	if (c)
		child_announce(e, c);
	peer_bound(e, sa);
	peer_settle(e, sa, contact);
}

/* ---- the keys process answered ---- */

static void peer_mac(struct engine *e, struct ike_sa *sa, const struct ike_msg *m,
		     const uint8_t *mac, size_t len)
{
	bool ok = mac && secret_equal(mac, len, m->auth.data, m->auth.len) && !sa->auth->unknown &&
		  !sa->auth->mismatch;
	const char *why =
	    sa->auth->mismatch ? auth_mismatch(sa)
	    : mac	       ? "its PSK is another than ours; `psk`: put the same file on both sides"
	       : "the keys process has no `psk` for it: the log of the start or of the last "
		 "reload says why, and so does postern check";

	if (ok && sa->state == SA_I_VERIFY)
		finish_i(e, sa, m);
	else if (ok)
		peer_proved(e, sa, m);
	else if (sa->state == SA_I_VERIFY)
		disbelieve(e, sa, why);
	else
		reject_r(e, sa, m, why);
}

void ike_auth_result(struct engine *e, struct ike_sa *sa, const uint8_t *result, size_t len)
{
	static struct ike_msg m; /* one thread; too large for a stack frame */
	struct auth_ctx *a = sa->auth;
	bool peers = a->want == AUTH_WANT_PEERS;

	a->token = 0;
	a->want = AUTH_WANT_NONE;
	if (sa->state == SA_I_SIGN) {
		ours_signed_i(e, sa, result, len);
		return;
	}
	if (kept_message(a, &m)) {
		sa_end(e, sa, ENGINE_WHY_LOCAL, false);
		return;
	}
	if (peers && (sa->state == SA_R_VERIFY || sa->state == SA_I_VERIFY))
		peer_mac(e, sa, &m, result, len);
	else if (!peers && sa->state == SA_R_SIGN)
		finish_r(e, sa, &m, result, len);
	tasks_run(e, sa);
}
