/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the supervisor asks for: each function finds its SA, queues the work and lets it start. */
#include "engine_int.h"

#include <stdio.h>
#include <stdlib.h>

int64_t engine_initiate(struct engine *e, uint64_t now_ms, uint32_t peer,
			const struct engine_path *path, struct fx_list *fx)
{
	struct peer_entry *pe = peer_by_id(e, peer);
	struct ike_sa *sa;
	int64_t handle;
	int err;

	if (!pe)
		return -ENOENT;
	engine_enter(e, now_ms, fx);
	sa = call_start(e, pe, path, &err);
	handle = sa ? (int64_t)sa->handle : err;
	engine_leave(e);
	return handle;
}

void engine_on_auth_result(struct engine *e, uint64_t now_ms, uint64_t token, const uint8_t *result,
			   size_t len, struct fx_list *fx)
{
	struct ike_sa *sa = sa_by_handle(e, (uint32_t)token);

	if (!sa || !sa->auth || !sa->auth->token || sa->auth->token != token)
		return;
	engine_enter(e, now_ms, fx);
	ike_auth_result(e, sa, len ? result : NULL, len);
	engine_leave(e);
}

/* A call has candidates once it was answered; then what is outstanding is theirs. */
static struct ike_sa *outstanding(const struct engine *e, uint32_t ike)
{
	struct ike_sa *sa = sa_by_handle(e, ike);

	if (sa && sa->state == SA_CALLING && sa->call->candidates)
		for (struct ike_sa *o = sa->peer->sas; o; o = o->peer_next)
			if (o->caller == sa && o->win.outstanding)
				return o;
	return sa && sa->win.outstanding ? sa : NULL;
}

int engine_retransmit(struct engine *e, uint64_t now_ms, uint32_t ike,
		      const struct engine_path *path, struct fx_list *fx)
{
	struct ike_sa *sa = outstanding(e, ike);

	if (!sa)
		return -ENOENT;
	engine_enter(e, now_ms, fx);
	/* Whoever fires again and again must not keep a candidate that nobody answers. */
	if (sa->state == SA_I_AUTH && sa->out.rt.tries >= CANDIDATE_TRIES &&
	    now_ms - sa->out.rt.first_ms >= CANDIDATE_TRIES * CANDIDATE_HINT_MS)
		on_resend(&sa->resend, now_ms);
	else
		request_resend(e, sa, path);
	engine_leave(e);
	return 0;
}

int engine_set_path(struct engine *e, uint64_t now_ms, uint32_t ike, const struct engine_path *path,
		    struct fx_list *fx)
{
	struct ike_sa *sa = sa_by_handle(e, ike);

	if (!sa)
		return -ENOENT;
	engine_enter(e, now_ms, fx);
	sa_set_path(e, sa, path);
	engine_leave(e);
	return 0;
}

static struct ike_sa *established(const struct engine *e, uint32_t ike)
{
	struct ike_sa *sa = sa_by_handle(e, ike);

	return sa && sa->state == SA_UP ? sa : NULL;
}

static int queue(struct engine *e, uint64_t now_ms, struct ike_sa *sa, enum task_kind kind,
		 uint32_t spi, struct fx_list *fx)
{
	int err;

	if (!sa)
		return -ENOENT;
	engine_enter(e, now_ms, fx);
	err = task_queue(e, sa, kind, spi);
	engine_leave(e);
	return err;
}

int engine_liveness(struct engine *e, uint64_t now_ms, uint32_t ike, struct fx_list *fx)
{
	struct ike_sa *sa = established(e, ike);

	if (sa && sa->win.outstanding && (!sa->mobike || sa->out.has_cookie2))
		return 0;
	return queue(e, now_ms, sa, TASK_LIVENESS, 0, fx);
}

int engine_probe(struct engine *e, uint64_t now_ms, uint32_t ike, const struct engine_path *via,
		 struct fx_list *fx)
{
	struct ike_sa *sa = established(e, ike);
	struct engine_path own;
	int err;

	if (!sa || sa->win.outstanding)
		return sa ? 0 : -ENOENT;
	own = sa->path;
	sa->path = *via;
	err = queue(e, now_ms, sa, TASK_LIVENESS, 0, fx);
	sa->path = own;
	return err;
}

int engine_private(struct engine *e, uint64_t now_ms, uint32_t ike, uint16_t type,
		   const uint8_t *bytes, size_t len, struct fx_list *fx)
{
	struct ike_sa *sa = established(e, ike);
	struct task t = { .kind = TASK_PRIVATE, .type = type, .len = len };
	int err;

	if (!sa)
		return -ENOENT;
	if (type < NOTIFY_PRIVATE_STATUS || len > 1024)
		return -EINVAL;
	t.bytes = malloc(len ? len : 1);
	if (!t.bytes)
		return -ENOMEM;
	if (len)
		memcpy(t.bytes, bytes, len);
	engine_enter(e, now_ms, fx);
	err = ike_sa_task_add(sa, &t);
	tasks_run(e, sa);
	engine_leave(e);
	return err;
}

int engine_create_child(struct engine *e, uint64_t now_ms, uint32_t ike, struct fx_list *fx)
{
	struct ike_sa *sa = established(e, ike);
	int err;

	if (!sa || !sa->peer->p->child_count)
		return -ENOENT;
	engine_enter(e, now_ms, fx);
	err = child_create(e, sa, sa->peer->p->child->id);
	engine_leave(e);
	return err;
}

int engine_rekey_ike(struct engine *e, uint64_t now_ms, uint32_t ike, struct fx_list *fx)
{
	return queue(e, now_ms, established(e, ike), TASK_REKEY_IKE, 0, fx);
}

static int queue_child(struct engine *e, uint64_t now_ms, uint32_t spi_in, enum task_kind kind,
		       struct fx_list *fx)
{
	struct child_sa *c = child_by_spi(e, spi_in);

	if (!c || !child_sa_usable(c) || c->sa->state != SA_UP)
		return -ENOENT;
	return queue(e, now_ms, c->sa, kind, spi_in, fx);
}

int engine_rekey_child(struct engine *e, uint64_t now_ms, uint32_t spi_in, struct fx_list *fx)
{
	return queue_child(e, now_ms, spi_in, TASK_REKEY_CHILD, fx);
}

int engine_delete_child(struct engine *e, uint64_t now_ms, uint32_t spi_in, struct fx_list *fx)
{
	return queue_child(e, now_ms, spi_in, TASK_DELETE_CHILD, fx);
}

int engine_drop(struct engine *e, uint64_t now_ms, uint32_t ike, struct fx_list *fx)
{
	struct ike_sa *sa = sa_by_handle(e, ike);

	if (!sa)
		return -ENOENT;
	engine_enter(e, now_ms, fx);
	if (sa->state == SA_CALLING)
		call_end(e, sa, ENGINE_WHY_ADMIN);
	else
		sa_end(e, sa, ENGINE_WHY_ADMIN, false);
	engine_leave(e);
	return 0;
}

int engine_delete(struct engine *e, uint64_t now_ms, uint32_t ike, struct fx_list *fx)
{
	struct ike_sa *sa = established(e, ike);

	return sa ? queue(e, now_ms, sa, TASK_DELETE_IKE, 0, fx) : engine_drop(e, now_ms, ike, fx);
}

void engine_on_child_event(struct engine *e, uint64_t now_ms, uint32_t spi_in,
			   enum engine_child_event ev, struct fx_list *fx)
{
	struct child_sa *c = child_by_spi(e, spi_in);
	struct ike_sa *sa = c ? c->sa : NULL;

	if (!c)
		return;
	engine_enter(e, now_ms, fx);
	switch (ev) {
	case ENGINE_CHILD_FIRST_PACKET:
		/* In a collision that is not settled the nonces decide, not the first packet. */
		if (c->state == CHILD_HALF && c->announced)
			child_switch_out(e, c);
		break;
	case ENGINE_CHILD_SOFT:
		if (child_sa_usable(c) && sa->state == SA_UP)
			task_queue(e, sa, TASK_REKEY_CHILD, spi_in);
		break;
	case ENGINE_CHILD_HARD:
		if (c->state == CHILD_REKEYED) { /* its Delete is on its way; send on the new one */
			child_stop_out(e, c);
			child_successor_sends(e, c);
			break;
		}
		if (!child_sa_usable(c) || sa->state != SA_UP)
			break;
		child_stop_out(e, c);
		if (!ike_sa_task_has(sa, TASK_REKEY_CHILD, spi_in))
			child_create(e, sa, c->conf);
		task_queue(e, sa, TASK_DELETE_CHILD, spi_in);
		break;
	}
	engine_leave(e);
}

/* ---- looking in ---- */

static void child_info(const struct child_sa *c, struct engine_child_info *i)
{
	const struct engine_child_conf *cc = child_conf(c->sa, c->conf);

	memset(i, 0, sizeof(*i));
	i->spi_in = c->spi_in;
	i->spi_out = c->spi_out;
	if (cc) {
		snprintf(i->name, sizeof(i->name), "%s", cc->name);
		i->lifetime_bytes = cc->lifetime_bytes;
		i->lifetime_pkts = cc->lifetime_pkts;
	}
	i->since_ms = c->since_ms;
	i->rekey_at_ms = c->rekey_at_ms;
	esp_suite_str(&c->suite, i->suite, sizeof(i->suite));
	ts_list_str(c->local_ts, i->local_ts, sizeof(i->local_ts));
	ts_list_str(c->remote_ts, i->remote_ts, sizeof(i->remote_ts));
}

bool engine_ike_info(const struct engine *e, uint32_t ike, struct engine_ike_info *i)
{
	const struct ike_sa *sa = sa_by_handle(e, ike);

	memset(i, 0, sizeof(*i));
	if (!sa)
		return false;
	i->ike = ike;
	i->peer = sa->peer ? sa->peer->p->id : 0;
	i->spi_i = sa->spi_i;
	i->spi_r = sa->spi_r;
	i->initiator = sa->series_initiator;
	i->established = sa->was_up;
	i->postern = sa->postern;
	i->mobike = sa->mobike;
	i->qcd = sa->qcd != NULL;
	i->nat_local = sa->nat_local;
	i->nat_remote = sa->nat_remote;
	i->state = sa_state_name(sa->state);
	i->path = sa->path;
	i->since_ms = sa->since_ms;
	i->rekey_at_ms = sa->rekey_at_ms;
	i->reply_ms = sa->reply_ms;
	i->outstanding = sa->win.outstanding;
	i->answered =
	    sa->spi_r || (sa->state == SA_CALLING && (sa->call->candidates || sa->call->vowed));
	i->dates_unjudged = sa->dates != NULL;
	if (sa->aead_in)
		ike_suite_str(&sa->suite, i->suite, sizeof(i->suite));
	for (const struct child_sa *c = sa->children; c; c = c->next) {
		if (!child_sa_usable(c))
			continue;
		if (i->child_count < sizeof(i->child) / sizeof(*i->child))
			child_info(c, &i->child[i->child_count]);
		i->child_count++;
	}
	return true;
}

size_t engine_peer_ikes(const struct engine *e, uint32_t peer, uint32_t *ikes, size_t cap)
{
	const struct peer_entry *pe = peer_by_id(e, peer);
	size_t n = 0;

	/* The list has the newest first; established ones go before attempts. */
	for (int pass = 0; pe && pass < 2; pass++)
		for (const struct ike_sa *sa = pe->sas; sa; sa = sa->peer_next) {
			if (sa->caller || !ike_sa_peers(sa) || sa->was_up != (pass == 0))
				continue;
			if (n < cap)
				ikes[n] = sa->handle;
			n++;
		}
	return n;
}

void engine_counters_get(const struct engine *e, struct engine_counters *c)
{
	*c = e->n;
}
