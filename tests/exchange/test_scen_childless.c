/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Childless IKE SAs (RFC 6023): the IKE SA comes up by an IKE_AUTH without SA, TSi, TSr, and its first
 * CHILD SA by a CREATE_CHILD_SA with a key exchange of its own. Scenarios `childless` of research/ike.md
 * section 3.1, started from either side.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "message.h"
#include "world.h"

/* What travelled, as far as an onlooker can tell. */
struct seen {
	unsigned count[256]; /* requests by exchange */
	bool says_childless; /* the answer to IKE_SA_INIT has the notify */
	size_t create_len;   /* of the last CREATE_CHILD_SA request */
};

static bool look(struct world *w, int to, const struct engine_path *path, uint8_t *bytes,
		 size_t *len)
{
	static struct ike_msg m;
	struct seen *s = w->filter_arg;

	(void)to;
	(void)path;
	memset(&m, 0, sizeof(m));
	if (ike_msg_parse(bytes, *len, &m))
		return true;
	if (!ike_hdr_is_response(&m.hdr))
		s->count[m.hdr.exchange]++;
	if (!ike_hdr_is_response(&m.hdr) && m.hdr.exchange == CREATE_CHILD_SA)
		s->create_len = *len;
	if (ike_hdr_is_response(&m.hdr) && m.hdr.exchange == IKE_SA_INIT)
		s->says_childless = ike_msg_notify(&m, CHILDLESS_IKEV2_SUPPORTED) != NULL;
	return true;
}

/* No address is asked for: what home would be given is its own. */
static void fixed_addresses(struct world *w)
{
	struct engine_peer *home = &w->host[HOME].peer, *vps = &w->host[VPS].peer;

	for (int i = 0; i < 2; i++) {
		struct prefix p = prefix_host(&w->host[VPS].assign[i]);

		w->host[HOME].local_ts[i].ts = w->host[VPS].remote_ts[i].ts = ts_from_prefix(&p);
		w->host[HOME].local_ts[i].assigned = w->host[VPS].remote_ts[i].assigned = false;
	}
	home->request_v4 = home->request_v6 = false;
	vps->assign_count = 0;
}

static struct world *pair(int caller, enum engine_childless theirs, enum engine_childless ours,
			  struct seen *s)
{
	struct world *w = world_new(1, STYLE_RAW);

	/* Either side may call; addresses are asked for by home alone. */
	w->host[HOME].peer.accept = w->host[VPS].peer.accept = true;
	w->host[caller].peer.childless = ours;
	w->host[!caller].peer.childless = theirs;
	if (caller == VPS)
		fixed_addresses(w);
	memset(s, 0, sizeof(*s));
	w->filter = look;
	w->filter_arg = s;
	world_start(w);
	return w;
}

static size_t children(struct world *w, int h)
{
	struct engine_ike_info i;

	return engine_ike_info(w->host[h].e, w->host[h].ike, &i) ? i.child_count : 0;
}

static void first_child_comes_by_create_child_sa(int caller, enum engine_childless way)
{
	struct seen s;
	struct world *w = pair(caller, ENGINE_CHILDLESS_ALLOW, way, &s);

	world_call(w, caller);
	/* IKE_SA_INIT --> */
	world_deliver(w, !caller);
	/* <-- IKE_SA_INIT {.., N(CHILDLESS_IKEV2_SUPPORTED)} */
	assert_true(s.says_childless);
	world_deliver(w, caller);
	/* IKE_AUTH {IDi, AUTH, ..} --> */
	world_deliver(w, !caller);
	assert_int_equal(w->host[!caller].up, 1);
	assert_false(w->host[!caller].last_up.up.child);
	assert_int_equal(w->host[!caller].spis, 0);
	/* <-- IKE_AUTH {IDr, AUTH, ..} */
	world_deliver(w, caller);
	assert_int_equal(w->host[caller].up, 1);
	assert_false(w->host[caller].last_up.up.child);
	assert_int_equal(children(w, caller) + children(w, !caller), 0);
	world_run(w, 1); /* no pause: nothing has failed */
	assert_int_equal(s.count[CREATE_CHILD_SA], 1);
	/* CREATE_CHILD_SA {SA, Ni, KEi, TSi, TSr} --> */
	world_deliver(w, !caller);
	assert_int_equal(children(w, !caller), 1);
	/* <-- CREATE_CHILD_SA {SA, Nr, KEr, TSi, TSr} */
	world_run(w, 0);
	world_agree(w);
	assert_int_equal(w->host[caller].failed + w->host[!caller].failed, 0);
	world_no_leaks(w);
	world_free(w);
}

static void childless_regular(void **state)
{
	(void)state;
	EACH_HOST(caller)
	{
		first_child_comes_by_create_child_sa(caller, ENGINE_CHILDLESS_PREFER);
		first_child_comes_by_create_child_sa(caller, ENGINE_CHILDLESS_FORCE);
	}
}

/* A KE payload of X25519 and its header: what PFS adds to a message. */
#define KE_BYTES (8 + 32)

static void first_child_has_a_key_exchange_of_its_own(void **state)
{
	struct seen with, without;
	struct world *w = pair(HOME, ENGINE_CHILDLESS_ALLOW, ENGINE_CHILDLESS_PREFER, &with);

	(void)state;
	world_call(w, HOME);
	world_run(w, 5);
	world_run(w, 100);
	world_agree(w);
	world_free(w);
	w = pair(HOME, ENGINE_CHILDLESS_ALLOW, ENGINE_CHILDLESS_PREFER, &without);
	EACH_HOST(h) proposals_default_esp(&w->host[h].esp_ps, true, false);
	world_call(w, HOME);
	world_run(w, 100);
	world_agree(w);
	assert_true(with.create_len >= without.create_len + KE_BYTES);
	world_free(w);
}

static void childless_regular_manual(void **state)
{
	(void)state;
	/* Who called, and who asks for the CHILD SA by hand. */
	for (int i = 0; i < 4; i++) {
		int caller = i & 1, asker = i >> 1;
		struct seen s;
		struct world *w = pair(caller, ENGINE_CHILDLESS_ALLOW, ENGINE_CHILDLESS_FORCE, &s);

		world_call(w, caller);
		for (int n = 0; n < 4; n++)
			assert_true(world_deliver(w, n % 2 ? caller : !caller));
		/* What the caller asks for by itself is refused once: it pauses. */
		w->host[!caller].install_error = -ENOMEM;
		w->host[!caller].install_error_dir = ENGINE_IN;
		world_run(w, 100);
		assert_int_equal(children(w, caller) + children(w, !caller), 0);
		/* CREATE_CHILD_SA {SA, Ni, KEi, TSi, TSr} -->  <-- {SA, Nr, KEr, TSi, TSr} */
		DO(w, asker,
		   assert_int_equal(0, engine_create_child(e, now, w->host[asker].ike, fx)));
		world_run(w, 100);
		world_agree(w);
		world_run(w, 60000); /* and it stays the only one */
		world_agree(w);
		world_no_leaks(w);
		world_free(w);
	}
}

/* Never: the responder does not say that it can, and an initiator that insists gives up. */
static void childless_failure_init(void **state)
{
	(void)state;
	EACH_HOST(caller)
	{
		struct seen s;
		struct world *w = pair(caller, ENGINE_CHILDLESS_NEVER, ENGINE_CHILDLESS_FORCE, &s);

		world_call(w, caller);
		world_run(w, 3000);
		assert_false(s.says_childless);
		assert_int_equal(s.count[IKE_AUTH], 0);
		assert_int_equal(w->host[caller].down, 1);
		assert_int_equal(w->host[caller].last_down.down.why, ENGINE_WHY_REFUSED);
		assert_int_equal(w->host[caller].failed, 1);
		assert_non_null(strstr(w->host[caller].last_failed.failed.text, "childless"));
		world_no_leaks(w);
		world_free(w);
	}
}

/* An answer without the notify may be anybody's: a true one that comes after it is taken. */
static bool without_first(struct world *w, int to, const struct engine_path *path, uint8_t *bytes,
			  size_t *len)
{
	unsigned *n = w->filter_arg;

	(void)path;
	if (to == HOME && bytes[18] == IKE_SA_INIT && !(*n)++) {
		uint8_t forged[ENGINE_MSG_MAX];

		memcpy(forged, bytes, *len);
		for (size_t i = 28; i + 8 <= *len; i++)
			if (forged[i] == 0 && forged[i + 1] == 8 && forged[i + 4] == 0x40 &&
			    forged[i + 5] == 0x22)
				forged[i + 5] = 0xff; /* 16418 becomes a number nobody knows */
		forged[15] ^= 1;
		world_inject(w, HOME, path, forged, *len);
	}
	return true;
}

static void answer_without_the_notify_is_not_believed_at_once(void **state)
{
	struct seen s;
	struct world *w = pair(HOME, ENGINE_CHILDLESS_ALLOW, ENGINE_CHILDLESS_FORCE, &s);
	unsigned n = 0;

	(void)state;
	w->filter = without_first;
	w->filter_arg = &n;
	world_call(w, HOME);
	world_run(w, 100);
	assert_int_equal(n, 1);
	world_agree(w);
	world_run(w, 3000);
	world_agree(w);
	assert_int_equal(w->host[HOME].failed, 0);
	world_free(w);
}

/* Force: the responder takes no IKE_AUTH with a CHILD SA in it. */
static void childless_failure_resp(void **state)
{
	(void)state;
	EACH_HOST(caller)
	{
		struct seen s;
		struct world *w = pair(caller, ENGINE_CHILDLESS_FORCE, ENGINE_CHILDLESS_NEVER, &s);

		world_call(w, caller);
		world_run(w, 3000);
		/* IKE_AUTH {.., SA, TSi, TSr} -->  <-- {N(INVALID_SYNTAX)} */
		assert_true(s.says_childless);
		assert_int_equal(w->host[!caller].up + w->host[caller].up, 0);
		assert_int_equal(w->host[caller].last_down.down.why, ENGINE_WHY_REFUSED);
		assert_non_null(strstr(w->host[caller].last_failed.failed.text, "INVALID_SYNTAX"));
		assert_non_null(strstr(w->host[!caller].last_failed.failed.text, "childless"));
		world_no_leaks(w);
		world_free(w);
	}
}

/*
 * SK {IDi, AUTH, ..} without SA, TSi, TSr though we never said that it may: the IKE SA stands, and the
 * answer has the reason why there is no CHILD SA. The peer can still ask for one (RFC 7296 s1.2).
 */
static void ike_case_042_childless_not_negotiated(void **state)
{
	struct seen s;
	struct world *w = pair(HOME, ENGINE_CHILDLESS_ALLOW, ENGINE_CHILDLESS_PREFER, &s);

	(void)state;
	world_call(w, HOME);
	world_deliver(w, VPS);
	world_deliver(w, HOME);
	/* The reload comes between IKE_SA_INIT and IKE_AUTH. */
	w->host[VPS].peer.childless = ENGINE_CHILDLESS_NEVER;
	world_deliver(w, VPS);
	assert_int_equal(w->host[VPS].up, 1);
	assert_int_equal(w->host[VPS].failed, 1);
	assert_non_null(strstr(w->host[VPS].last_failed.failed.text, "childless"));
	world_deliver(w, HOME);
	assert_int_equal(w->host[HOME].up, 1);
	assert_int_equal(w->host[HOME].failed, 1);
	assert_non_null(strstr(w->host[HOME].last_failed.failed.text, "NO_PROPOSAL_CHOSEN"));
	world_run(w, 10000);
	world_agree(w);
	assert_int_equal(w->host[HOME].down + w->host[VPS].down, 0);
	world_no_leaks(w);
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(childless_regular),
		cmocka_unit_test(first_child_has_a_key_exchange_of_its_own),
		cmocka_unit_test(childless_regular_manual),
		cmocka_unit_test(childless_failure_init),
		cmocka_unit_test(answer_without_the_notify_is_not_believed_at_once),
		cmocka_unit_test(childless_failure_resp),
		cmocka_unit_test(ike_case_042_childless_not_negotiated),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
