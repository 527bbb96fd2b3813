/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "supervisor.h"

#include <stdlib.h>
#include <string.h>

#include "call.h"
#include "hop.h"
#include "keepalive.h"
#include "liveness.h"
#include "path.h"
#include "redirect.h"
#include "transport.h"

static const struct sup_ops *ops(const struct supervisor *s)
{
	return s->env->ops;
}

/* ---- life ---- */

void sup_say(char **at, const char *text)
{
	free(*at);
	*at = text ? strdup(text) : NULL;
}

static void hooks_init(struct supervisor *s, uint64_t now_ms)
{
	for (const struct sup_hook *const *h = sup_hooks; *h; h++)
		if ((*h)->init)
			(*h)->init(s, now_ms);
}

void sup_init(struct supervisor *s, const struct sup_env *env, const struct sup_config *cfg,
	      const struct sup_memory *m, uint64_t now_ms)
{
	memset(s, 0, sizeof(*s));
	s->env = env;
	s->cfg = *cfg;
	if (m)
		s->memory.endpoint = m->endpoint;
	if (m && m->names) {
		s->memory.names = malloc(sizeof(*m->names));
		if (s->memory.names)
			*s->memory.names = *m->names;
	}
	s->silent_since_ms = now_ms;
	s->due_ms = now_ms;
	hooks_init(s, now_ms);
}

void sup_update(struct supervisor *s, const struct sup_config *cfg, uint64_t now_ms)
{
	/* Answers about names are told by index: with other names they would mislead. */
	call_stop(s, true);
	memset(s->resolving, 0, sizeof(s->resolving));
	free(s->memory.names);
	s->memory.names = NULL;
	s->cfg = *cfg;
	s->refused_ms = 0;
	s->refused_until_ms = 0;
	s->next_call_ms = now_ms;
	s->due_ms = now_ms;
	hooks_init(s, now_ms);
}

void sup_remove(struct supervisor *s)
{
	call_stop(s, true);
	s->ike = 0;
	s->due_ms = UINT64_MAX;
	sup_clear(s);
}

void sup_clear(struct supervisor *s)
{
	endpoint_clear(&s->where);
	free(s->attempt);
	s->attempt = NULL;
	s->attempt_count = 0;
	redirect_free(s);
	free(s->memory.names);
	s->memory.names = NULL;
	free(s->elsewhere);
	s->elsewhere = NULL;
	sup_say(&s->failure, NULL);
	sup_say(&s->claim, NULL);
	transport_clear(s);
	path_free(s);
}

static void leave_or_call(struct supervisor *s, bool leave, uint64_t now_ms)
{
	if (leave) {
		call_stop(s, true);
		if (s->ike)
			ops(s)->close(s->env->arg, s->ike);
	}
	s->next_call_ms = now_ms;
	s->due_ms = now_ms;
}

void sup_standby(struct supervisor *s, bool on, uint64_t now_ms)
{
	if (s->standby == on)
		return;
	s->standby = on;
	leave_or_call(s, on, now_ms);
}

void sup_admin(struct supervisor *s, bool up, uint64_t now_ms)
{
	s->admin_down = !up;
	s->refused_ms = 0;
	s->refused_until_ms = 0;
	s->wanted = up;
	leave_or_call(s, !up, now_ms);
}

/* ---- what others are told ---- */

static bool silent(const struct supervisor *s, uint64_t now_ms)
{
	return s->asked_ms && now_ms - s->asked_ms >= SUP_SILENT_MS;
}

bool sup_is_up(const struct supervisor *s, uint64_t now_ms)
{
	return s->ike && s->child && !s->held && !silent(s, now_ms);
}

const char *sup_state(const struct supervisor *s, uint64_t now_ms)
{
	if (sup_is_up(s, now_ms))
		return "up";
	if (s->admin_down)
		return "off";
	if (s->standby)
		return "standby";
	if (s->ike && !s->held)
		return s->child || silent(s, now_ms) ? "silent" : "childless";
	if (s->ike)
		return "calling";
	if (now_ms < s->refused_until_ms)
		return "refused";
	return s->cfg.start == SUP_WAIT			     ? "waiting"
	       : s->cfg.start == SUP_ON_DEMAND && !s->wanted ? "idle"
							     : "calling";
}

static void tell(struct supervisor *s, uint64_t now_ms)
{
	bool up = sup_is_up(s, now_ms);

	if (up == s->told_up)
		return;
	s->told_up = up;
	ops(s)->changed(s->env->arg, s->cfg.peer, up);
}

/* Nothing speaks against it any more; while no CHILD SA came of it, the reason for that stands. */
static void forget_refusal(struct supervisor *s)
{
	s->refused_ms = 0;
	s->held_in_vain = false;
	if (!s->child)
		return;
	sup_say(&s->failure, NULL);
	sup_say(&s->claim, NULL);
}

void sup_hold(struct supervisor *s, bool on, uint64_t now_ms)
{
	if (on)
		s->held++;
	else if (s->held)
		s->held--;
	if (!s->held && s->ike)
		forget_refusal(s);
	tell(s, now_ms);
}

/*
 * Where we call it after our own start. A client of another make that has its addresses from us asks for them
 * when it calls: called by us it answers, has no CHILD SA and, since we are there, does not call either.
 */
static void remember_endpoint(struct supervisor *s)
{
	struct endpoint at = s->where.path.remote;

	if (!s->postern && s->cfg.gives)
		memset(&at, 0, sizeof(at));
	/* The far end of a stream is no place to call. */
	if (s->cfg.start != SUP_WAIT || transport_is_stream(&s->where.path) ||
	    endpoint_eq(&s->memory.endpoint, &at))
		return;
	s->memory.endpoint = at;
	ops(s)->remember(s->env->arg, s->cfg.peer);
}

/* ---- proof of life ---- */

static void asked(struct supervisor *s, uint64_t now_ms)
{
	if (!s->asked_ms)
		s->asked_ms = now_ms;
	keepalive_left(s, now_ms);
	s->ike_tx_ms = now_ms;
}

void sup_ask(struct supervisor *s, uint64_t now_ms)
{
	asked(s, now_ms);
	ops(s)->liveness(s->env->arg, s->ike);
}

void sup_ask_moved(struct supervisor *s, uint64_t now_ms)
{
	asked(s, now_ms);
	if (!s->mobike || !ops(s)->update_addresses ||
	    ops(s)->update_addresses(s->env->arg, s->ike))
		ops(s)->liveness(s->env->arg, s->ike);
}

static void proved(struct supervisor *s, uint64_t now_ms)
{
	s->answer_ms = s->asked_ms ? now_ms - s->asked_ms : 0;
	s->reply_ms = now_ms;
	s->asked_ms = 0;
	s->hinted = s->moved = false;
	s->slept = false;
	s->silent_since_ms = now_ms;
	s->due_ms = now_ms;
}

/* ---- where it is ---- */

/* Tell engine and data plane what the rule holds now. */
static void apply_path(struct supervisor *s, uint64_t credit_bytes)
{
	ops(s)->move(s->env->arg, s->cfg.peer, &s->where.path, s->where.trial_until_ms != 0,
		     credit_bytes);
	ops(s)->set_path(s->env->arg, s->ike, &s->where.path);
}

static void offered(struct supervisor *s, const struct engine_path *path, uint32_t bytes,
		    uint64_t now_ms)
{
	struct endpoint was = s->where.path.remote;
	bool trial = s->where.trial_until_ms != 0;
	bool unanswered = s->asked_ms && now_ms - s->asked_ms >= ENDPOINT_TRIAL_MS;

	switch (endpoint_offer(&s->where, path, unanswered, now_ms)) {
	case ENDPOINT_STAY:
		return;
	case ENDPOINT_MOVE:
		s->trials_lost += trial && !s->where.trial_until_ms; /* back by its own packet */
		apply_path(s, bytes);
		if (!s->where.trial_until_ms)
			remember_endpoint(s);
		keepalive_rebound(s, now_ms);
		/* Who is behind that NAT learns from the question that it rebound, and keeps it open. */
		if (s->postern && s->cfg.start == SUP_WAIT)
			sup_ask(s, now_ms);
		break;
	case ENDPOINT_TRIAL:
		s->trials++;
		s->trials_lost += trial; /* of yet another address, before that one had answered */
		apply_path(s, bytes);
		keepalive_rebound(s, now_ms);
		sup_ask(s, now_ms);
		break;
	}
	s->moves++;
	ops(s)->roamed(s->env->arg, s->cfg.peer, &was, &path->remote,
		       s->where.trial_until_ms ? "new address, on trial" : "new port");
	s->due_ms = now_ms;
}

/* UPDATE_SA_ADDRESSES: the engine has moved already and asks for the proof; ESP follows. */
static void told(struct supervisor *s, const struct fx *fx, uint64_t now_ms)
{
	struct endpoint was = s->where.path.remote;
	bool often = s->where.moved_ms && now_ms - s->where.moved_ms < ENDPOINT_PACE_MS;
	bool trial = endpoint_told(&s->where, &fx->update.path, fx->update.unproved, now_ms);

	s->trials += fx->update.unproved;
	apply_path(s, fx->update.bytes);
	if (trial && !s->asked_ms)
		s->asked_ms = now_ms;
	if (!trial)
		remember_endpoint(s);
	s->moves++;
	/* ESP moves it once a second at most; for this there is no such bound, but the log shall have one. */
	if (!often)
		ops(s)->roamed(s->env->arg, s->cfg.peer, &was, &fx->update.path.remote,
			       trial ? "MOBIKE, new address, on trial" : "MOBIKE");
	s->due_ms = now_ms;
}

/* An answer came: its path may be the one of the hop, or the one on trial. */
static void answered_from(struct supervisor *s, const struct engine_path *path, bool routable,
			  uint64_t now_ms)
{
	struct engine_path was_path = s->where.path;
	struct endpoint was = was_path.remote;

	if (routable && endpoint_proved(&s->where, path)) {
		s->trials_won++;
		apply_path(s, 0);
		remember_endpoint(s);
		return;
	}
	if (s->where.trial_until_ms)
		return; /* an answer on the old path proves nothing about the new one */
	if (path->sock != s->where.path.sock && addr_eq(&path->remote.addr, &was.addr) &&
	    s->cfg.start != SUP_WAIT) {
		endpoint_set(&s->where, path);
		apply_path(s, 0);
		if (s->postern)
			ops(s)->dummy(s->env->arg,
				      s->cfg.peer); /* teaches the far side our new port */
		if (s->mobike && ops(s)->update_addresses)
			(void)ops(s)->update_addresses(s->env->arg, s->ike);
		s->moves++;
		ops(s)->roamed(s->env->arg, s->cfg.peer, &was, &path->remote,
			       transport_is_stream(&was_path) ? "UDP works again"
						      : "our other port answers");
	}
}

void sup_on_endpoint(struct supervisor *s, const struct engine_path *path, uint32_t bytes,
		     bool newest, uint64_t now_ms)
{
	/* RFC 7296 s2.23: only the side with the peer behind a NAT follows; between Posterns also the
	 * side that was called, since there every such packet is proof against replay. */
	if (!s->ike || !newest || !(s->nat_remote || (s->postern && s->cfg.start == SUP_WAIT)))
		return;
	offered(s, path, bytes, now_ms);
}

void sup_on_path_change(struct supervisor *s, uint64_t now_ms)
{
	if (s->ike)
		(void)ops(s)->route(s->env->arg, s->cfg.peer, &s->where.path.remote.addr);
	if (call_wanted(s, now_ms))
		call_now(s, now_ms);
	for (const struct sup_hook *const *h = sup_hooks; *h; h++)
		if ((*h)->network)
			(*h)->network(s, now_ms);
}

/* At once; where `retry-max` says that tries are dear, not more than four times as often as it says. */
static bool packet_may_fire(const struct supervisor *s, uint64_t now_ms)
{
	return keepalive_retry_max_ms(s) <= SUP_GAP_MAX_MS || !s->kicked_ms ||
	       now_ms - s->silent_since_ms < SUP_PARALLEL_MS ||
	       now_ms - s->kicked_ms >= keepalive_retry_max_ms(s) / 4;
}

void sup_on_inner_packet(struct supervisor *s, uint64_t now_ms)
{
	s->wanted = true;
	if ((!s->ike || s->asked_ms) && packet_may_fire(s, now_ms))
		call_now(s, now_ms);
}

void sup_on_icmp(struct supervisor *s, uint64_t now_ms)
{
	if (!s->ike || (s->icmp_ms && now_ms - s->icmp_ms < SUP_ICMP_MS))
		return;
	s->icmp_ms = now_ms;
	sup_ask(s, now_ms);
}

/* ---- the engine's word ---- */

static void on_up(struct supervisor *s, const struct fx *fx, uint64_t now_ms)
{
	struct sup_attempt *a = call_find(s, fx->up.ike);

	if (a)
		memset(a, 0, sizeof(*a));
	s->ike = fx->up.ike;
	s->postern = fx->up.postern;
	s->mobike = fx->up.mobike;
	s->nat_local = fx->up.nat_local;
	s->nat_remote = fx->up.nat_remote;
	s->child = s->child || fx->up.child;
	endpoint_set(&s->where, &fx->up.path);
	ops(s)->move(s->env->arg, s->cfg.peer, &s->where.path, false, 0);
	s->up_ms = now_ms;
	s->closing = false;
	s->recall_ms = s->recall_until_ms = 0;
	s->ups++;
	s->rx_auth_ms = 0;
	s->refused_until_ms = 0;
	if (!s->held || !s->held_in_vain)
		forget_refusal(s);
	proved(s, now_ms);
	call_stop(s, false);
	remember_endpoint(s);
	memset(&s->route, 0, sizeof(s->route));
	(void)ops(s)->route(s->env->arg, s->cfg.peer, &s->where.path.remote.addr);
	if (s->admin_down || s->standby)
		ops(s)->close(s->env->arg, s->ike);
	else if (s->postern && s->cfg.start != SUP_WAIT)
		ops(s)->dummy(s->env->arg, s->cfg.peer); /* the responder may send from now on */
}

static bool refusing(enum engine_why why)
{
	switch (why) {
	case ENGINE_WHY_AUTH_FAILED:
	case ENGINE_WHY_NO_PROPOSAL:
	case ENGINE_WHY_TS:
	case ENGINE_WHY_ADDRESS:
	case ENGINE_WHY_REFUSED:
	case ENGINE_WHY_PROTOCOL:
	case ENGINE_WHY_LOCAL:
	case ENGINE_WHY_IDENTITY_BUSY:
		return true;
	default:
		return false;
	}
}

/* The far side, or inactivity on our own, ended an IKE SA in good order. */
static void closed(struct supervisor *s, enum engine_why why, uint64_t now_ms)
{
	if (why == ENGINE_WHY_DELETED || s->closing)
		s->wanted = false; /* on demand: the next packet asks for it again */
	s->closing = false;
	/* It is let in and shown out, perhaps for ever: not as fast as handshakes go. */
	if (why == ENGINE_WHY_DELETED && now_ms - s->up_ms < SUP_BRIEF_MS) {
		s->brief_ms = s->brief_ms ? 2 * s->brief_ms : SUP_REFUSED_MIN_MS;
		if (s->brief_ms > SUP_REFUSED_MAX_MS)
			s->brief_ms = SUP_REFUSED_MAX_MS;
		s->refused_until_ms = now_ms + s->brief_ms;
	} else {
		s->brief_ms = 0;
	}
}

static void on_down(struct supervisor *s, const struct fx *fx, uint64_t now_ms)
{
	struct sup_attempt *a = call_find(s, fx->down.ike);

	if (a) {
		memset(a, 0, sizeof(*a));
		if (refusing(fx->down.why))
			call_back_off(s, fx->down.why, now_ms);
	}
	if (fx->down.ike == s->ike && fx->down.heir) {
		s->ike = fx->down.heir;
		s->child = fx->down.heir_child;
		s->asked_ms = 0;
		endpoint_set(&s->where, &fx->down.heir_path);
		ops(s)->move(s->env->arg, s->cfg.peer, &s->where.path, false, 0);
		sup_ask(s, now_ms);
	} else if (fx->down.ike == s->ike && !fx->down.replaced) {
		s->good_sock = s->where.path.sock;
		s->ike = 0;
		s->child = false;
		s->asked_ms = 0;
		s->silent_since_ms = now_ms;
		s->next_call_ms = now_ms;
		closed(s, fx->down.why, now_ms);
		s->held_in_vain = fx->down.why == ENGINE_WHY_ADDRESS;
		if (fx->down.was_up && refusing(fx->down.why))
			call_back_off(s, fx->down.why, now_ms);
	}
	s->due_ms = now_ms;
}

static void on_unanswered(struct supervisor *s, const struct fx *fx, uint64_t now_ms)
{
	if (fx->unanswered.ike != s->ike)
		return;
	if (!s->asked_ms || fx->unanswered.since_ms < s->asked_ms)
		s->asked_ms = fx->unanswered.since_ms;
	s->ike_tx_ms = now_ms;
	s->due_ms = now_ms;
}

void sup_on_fx(struct supervisor *s, const struct fx *fx, uint64_t now_ms)
{
	switch (fx->kind) {
	case FX_PEER_UP:
		on_up(s, fx, now_ms);
		break;
	case FX_PEER_DOWN:
		on_down(s, fx, now_ms);
		break;
	case FX_CHILD_UP:
	case FX_CHILD_REKEYED:
		if (s->child || (s->ike && fx->child.ike != s->ike))
			break;
		s->child = true;
		if (s->ike && !s->held)
			forget_refusal(s);
		break;
	case FX_CHILD_DOWN:
		if (fx->child.ike == s->ike)
			s->child = fx->child.left > 0;
		break;
	case FX_IKE_REKEYED:
		if (fx->rekeyed.old_ike == s->ike)
			s->ike = fx->rekeyed.new_ike;
		break;
	case FX_REPLY:
		if (fx->reply.ike != s->ike)
			break;
		/* Our NAT may have moved us meanwhile, and copies of a request teach the far side nothing. */
		if (s->asked_ms && now_ms - s->asked_ms >= SUP_WAITED_MS && s->postern &&
		    s->cfg.start != SUP_WAIT)
			ops(s)->dummy(s->env->arg, s->cfg.peer);
		proved(s, now_ms);
		call_stop(s, false);
		answered_from(s, &fx->reply.path, fx->reply.routable, now_ms);
		break;
	case FX_UPDATE:
		if (fx->update.ike == s->ike)
			told(s, fx, now_ms);
		break;
	case FX_UPDATED:
		if (fx->update.ike != s->ike)
			break;
		if (fx->update.result == ENGINE_UPDATE_AGAIN && ops(s)->update_addresses)
			(void)ops(s)->update_addresses(s->env->arg, s->ike);
		else if (fx->update.result == ENGINE_UPDATE_REFUSED)
			ops(s)->close(s->env->arg, s->ike); /* it would go on to send where we were */
		break;
	case FX_REQUEST_FROM:
		/* RFC 4555 s3.8: with MOBIKE only UPDATE_SA_ADDRESSES moves it. Without, whoever is behind the
		 * only NAT does not follow: nobody can have rewritten the other's address (RFC 7296 s2.23).
		 * A stream that a Postern opened is where it is; back to UDP it comes by its data alone: see
		 * transport.h. */
		if (fx->reply.ike == s->ike &&
		    (transport_is_stream(&fx->reply.path)
			 ? s->postern
			 : !s->mobike && (s->nat_remote || !s->nat_local) &&
			       !transport_is_stream(&s->where.path)))
			offered(s, &fx->reply.path, 0, now_ms);
		break;
	case FX_HINT:
		/* Anyone can say so: it is no reason to give up what we have, but one to call beside it. */
		if (fx->reply.ike != s->ike)
			break;
		if (fx->reply.proved && !s->asked_ms)
			sup_ask(s, now_ms); /* with its token it is sure, and counts as unanswered */
		if (s->asked_ms && !s->hinted) {
			s->hinted = !fx->reply.about_child;
			call_now(s, now_ms); /* with a CHILD SA lost: the question once more */
			if (s->hinted)	     /* even if that was a moment ago; once */
				s->next_call_ms = s->due_ms = now_ms;
		} else {
			sup_on_icmp(s, now_ms);
		}
		break;
	case FX_UNANSWERED:
		on_unanswered(s, fx, now_ms);
		break;
	case FX_FAILED:
		if (fx->failed.claim) {
			sup_say(&s->claim, fx->failed.text);
			s->claim_ms = now_ms;
			s->claims++;
			break;
		}
		sup_say(&s->failure, fx->failed.text);
		s->failure_ms = now_ms;
		break;
	default:
		break;
	}
	for (const struct sup_hook *const *h = sup_hooks; *h; h++)
		if ((*h)->fx)
			(*h)->fx(s, fx, now_ms);
	tell(s, now_ms);
}

/* ---- time ---- */

/* Keepalives are no reason to stay. */
static uint64_t inactivity_tick(struct supervisor *s, const struct sup_activity *a, uint64_t now_ms)
{
	uint64_t last = s->up_ms;

	if (!s->cfg.inactivity_ms || s->closing)
		return UINT64_MAX;
	if (a->tx_data_ms > last)
		last = a->tx_data_ms;
	if (a->rx_data_ms > last)
		last = a->rx_data_ms;
	if (now_ms < last + s->cfg.inactivity_ms)
		return last + s->cfg.inactivity_ms;
	s->closing = true;
	s->wanted = false;
	ops(s)->close(s->env->arg, s->ike);
	return UINT64_MAX;
}

static void keep_alive(struct supervisor *s, const struct sup_activity *a, uint64_t now_ms)
{
	switch (keepalive_look(s, a, now_ms)) {
	case KEEPALIVE_NONE:
		return;
	case KEEPALIVE_ASK:
		sup_ask(s, now_ms);
		return;
	case KEEPALIVE_DUMMY:
		ops(s)->dummy(s->env->arg, s->cfg.peer);
		break;
	case KEEPALIVE_0XFF:
		ops(s)->nat_keepalive(s->env->arg, s->cfg.peer);
		break;
	}
	s->ike_tx_ms = now_ms; /* until the data plane reports it */
}

static uint64_t live_tick(struct supervisor *s, uint64_t now_ms)
{
	struct sup_activity a = { 0 };
	uint64_t due = now_ms + SUP_SAMPLE_MS, next;

	if (endpoint_expired(&s->where, now_ms)) {
		struct endpoint lost = s->where.path.remote;

		s->trials_lost++;
		apply_path(s, 0);
		ops(s)->roamed(s->env->arg, s->cfg.peer, &lost, &s->where.path.remote,
			       "no answer from the new address, back");
	}
	ops(s)->activity(s->env->arg, s->cfg.peer, &a);
	liveness_heard(s, a.rx_auth_ms);
	if (!s->asked_ms && liveness_due(s, &a, now_ms))
		sup_ask(s, now_ms);
	else if (s->asked_ms && a.tx_data_ms > s->kicked_ms && a.tx_data_ms > s->asked_ms &&
		 now_ms - s->asked_ms >= SUP_DATA_ASK_MS && packet_may_fire(s, now_ms))
		call_now(s, now_ms); /* an inner packet fires at once while it is silent */
	/* The requests of one that is silent open the NAT as well, and `retry-max` bounds them. */
	if (!s->asked_ms || now_ms - s->asked_ms < SUP_PARALLEL_MS)
		keep_alive(s, &a, now_ms);
	if (!s->asked_ms && now_ms - a.tx_data_ms < SUP_SAMPLE_MS)
		due = now_ms + SUP_BUSY_SAMPLE_MS;
	next = keepalive_next_ms(s, &a, now_ms);
	if (next < due && next > now_ms)
		due = next;
	next = inactivity_tick(s, &a, now_ms);
	if (next < due)
		due = next;
	if (s->where.trial_until_ms && s->where.trial_until_ms < due)
		due = s->where.trial_until_ms;
	next = s->asked_ms ? UINT64_MAX : liveness_next_ms(s, &a);
	if (next < due)
		due = next;
	if (s->asked_ms && s->told_up && s->asked_ms + SUP_SILENT_MS < due)
		due = s->asked_ms + SUP_SILENT_MS;
	return due > now_ms ? due : now_ms + 1;
}

void sup_on_wake(struct supervisor *s, uint64_t now_ms)
{
	s->next_call_ms = now_ms;
	s->due_ms = now_ms;
	s->slept = s->ike != 0;
	if (s->asked_ms)
		call_now(s, now_ms);
	else if (s->ike)
		sup_ask(s, now_ms);
}

void sup_tick(struct supervisor *s, uint64_t now_ms)
{
	uint64_t due = UINT64_MAX, next;

	/* Trigger (5): the clock jumped, so the machine slept and the world went on without us. */
	if (s->tick_ms && s->due_ms != UINT64_MAX && s->due_ms > s->tick_ms &&
	    now_ms > s->due_ms + SUP_JUMP_MS)
		sup_on_wake(s, now_ms);
	s->tick_ms = now_ms;
	s->due_ms = UINT64_MAX;
	if (s->ike)
		due = live_tick(s, now_ms);
	for (const struct sup_hook *const *h = sup_hooks; *h; h++) {
		next = (*h)->tick ? (*h)->tick(s, now_ms) : UINT64_MAX;
		if (next < due)
			due = next;
	}
	next = call_tick(s, now_ms);
	if (next < due)
		due = next;
	next = hop_tick(s, now_ms);
	if (next < due)
		due = next;
	if (due < s->due_ms)
		s->due_ms = due;
	tell(s, now_ms);
}
