/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Theory: RFC 6311. A cluster that takes over from a dead member may not know the last message IDs, and asks
 * us for them: an INFORMATIONAL request with message ID 0, whatever ID is awaited.
 *
 *	HDR(0), SK {N(IKEV2_MESSAGE_ID_SYNC)} -->	nonce, M1: its next request, P1: our next one
 *			<--  HDR(0), SK {N(IKEV2_MESSAGE_ID_SYNC)}	nonce, P2: ours, M2 = M1
 *
 * We answer only what was negotiated in IKE_AUTH, and never start it: there is no cluster of ours. Numbers
 * only grow. M1 must be beyond every ID that we have seen from the peer, so a recorded request does
 * nothing: s5.1. Replay counters of ESP (IPSEC_REPLAY_COUNTER_SYNC) are not negotiated.
 */
#include "engine_int.h"

#include <stdlib.h>

#define SYNC_LEN 12
#define ID_MAX	 (UINT32_MAX - 1024) /* nearer to the end nothing could follow */

/* What the ID belongs to that the cluster has moved past: it never got it, or its answer is lost. */
static void start_again(struct engine *e, struct ike_sa *sa)
{
	struct outreq o = sa->out;
	static struct ike_msg refused; /* too large for a stack frame */

	if (!sa->win.outstanding)
		return;
	memset(&sa->out, 0, sizeof(sa->out));
	timer_clear(&e->timers, &sa->resend);
	sa->win.outstanding = false;
	if (o.exchange == CREATE_CHILD_SA) {
		memset(&refused, 0, sizeof(refused));
		refused.n_notifies = 1;
		refused.notifies[0].type = TEMPORARY_FAILURE;
		if (o.task.kind == TASK_REKEY_IKE)
			rekey_ike_response(e, sa, &o, &refused);
		else
			create_child_response(e, sa, &o, &refused);
	} else {
		ike_sa_task_add(sa, &o.task);
	}
	outreq_clear(&o);
}

static uint32_t larger(uint32_t a, uint32_t b)
{
	return a > b ? a : b;
}

static void answer(struct engine *e, struct ike_sa *sa, const uint8_t *nonce,
		   const struct engine_path *path, uint64_t hash)
{
	uint8_t data[SYNC_LEN];
	struct wr w = wr_init(data, sizeof(data));

	wr_bytes(&w, nonce, 4);
	wr_be32(&w, sa->win.next_out);
	wr_be32(&w, sa->win.next_in);
	pld_notify_add(inner_begin(e), IKEV2_MESSAGE_ID_SYNC, (struct span){ data, SYNC_LEN });
	datagrams_clear(&sa->sync->reply);
	sa->sync->hash = hash;
	reply_apart(e, sa, INFORMATIONAL, 0, path, &sa->sync->reply);
}

/* The request is authentic. Does it move us? */
static bool fresh(const struct ike_sa *sa, uint32_t m1, uint32_t p1)
{
	return m1 >= sa->win.next_in && m1 <= ID_MAX && p1 <= ID_MAX &&
	       (!sa->sync || m1 > sa->sync->high);
}

static void synchronize(struct engine *e, struct ike_sa *sa, const struct pld_notify *n,
			const struct engine_path *path, uint64_t hash)
{
	struct rd r = rd_init(n->data, n->len);
	const uint8_t *nonce = rd_take(&r, 4);
	uint32_t m1 = rd_be32(&r), p1 = rd_be32(&r);

	if (r.bad || rd_left(&r) || !fresh(sa, m1, p1)) {
		e->n.in_dropped++;
		return;
	}
	if (!sa->sync)
		sa->sync = calloc(1, sizeof(*sa->sync));
	if (!sa->sync)
		return;
	log_info(&sa->log, "the peer's cluster asks for message IDs: its next is %u, ours %u", m1,
		 larger(p1, sa->win.next_out));
	sa->sync->high = m1;
	sa->win.next_in = m1;
	sa->win.answering = false;
	datagrams_clear(&sa->win.reply); /* to an ID that is past */
	if (p1 > sa->win.next_out) {
		sa->win.next_out = p1; /* first: what was under way may lead to a request at once */
		start_again(e, sa);
	}
	answer(e, sa, nonce, path, hash);
	tasks_run(e, sa);
}

bool mid_sync_request(struct engine *e, struct ike_sa *sa, const struct ike_msg *m,
		      const struct engine_path *path, uint64_t hash)
{
	static struct ike_msg inner; /* too large for a stack frame */
	const struct pld_notify *n;
	size_t len;

	if (!sa->mid_sync || sa->state != SA_UP || ike_hdr_is_response(&m->hdr) || m->hdr.id ||
	    m->hdr.exchange != INFORMATIONAL || m->sk.type != PLD_SK)
		return false;
	if (sa->sync && sa->sync->hash == hash) {
		/* The same again; once there was another request, its answer has been there too. */
		if (sa->win.next_in == sa->sync->high)
			reply_again_apart(e, sa, path, &sa->sync->reply);
		else
			e->n.in_dropped++;
		return true;
	}
	inner = *m;
	if (sk_open(sa->aead_in, &inner, e->plain, sizeof(e->plain), &len) ||
	    ike_msg_parse_inner(&inner, inner.sk.first, e->plain, len))
		return false; /* perhaps an ordinary request with ID 0 */
	n = ike_msg_notify(&inner, IKEV2_MESSAGE_ID_SYNC);
	if (!n)
		return false;
	synchronize(e, sa, n, path, hash);
	return true;
}
