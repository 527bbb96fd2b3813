/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A responder that takes one CHILD SA and never another (RFC 7296 s1.3, s4): what a further one would
 * carry goes by the first where that holds it; else it is explained, and asked for seldom.
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

static struct engine_ts ts(const char *prefix, uint8_t proto)
{
	struct engine_ts t;
	struct prefix p;

	assert_int_equal(0, prefix_parse(prefix, &p));
	t = (struct engine_ts){ .ts = ts_from_prefix(&p) };
	t.ts.proto = proto;
	return t;
}

static unsigned creates;

static bool count_creates(struct world *w, int to, const struct engine_path *path, uint8_t *bytes,
			  size_t *len)
{
	(void)w;
	(void)path;
	(void)len;
	/* A fragment or two of one request are one: all of these are small. */
	creates += to == VPS && bytes[18] == CREATE_CHILD_SA && !(bytes[19] & IKE_FLAG_RESPONSE);
	return true;
}

/* Two CHILD SAs, on the second of them @proto; the first for all between the two hosts, or TCP alone. */
static struct world *one_taken(uint8_t first, uint8_t second)
{
	static const char *const own[2] = { "fd99::2", "fd99::1" };
	static struct engine_ts mine[2][2], theirs[2][2];
	struct world *w = world_new(1, STYLE_PSK);
	const uint8_t proto[2] = { first, second };

	EACH_HOST(h)
	{
		for (int i = 0; i < 2; i++) {
			mine[h][i] = ts(own[h], proto[i]);
			theirs[h][i] = ts(own[!h], proto[i]);
			w->host[h].conf[i] =
			    (struct engine_child_conf){ .id = (uint32_t)i + 1,
							.name = i ? "second" : "first",
							.local_ts = &mine[h][i],
							.local_ts_count = 1,
							.remote_ts = &theirs[h][i],
							.remote_ts_count = 1,
							.lifetime_s = 3600 };
		}
		w->host[h].peer.child_count = 2;
		w->host[h].peer.request_v4 = w->host[h].peer.request_v6 = false;
	}
	creates = 0;
	w->filter = count_creates;
	world_start(w);
	world_call(w, HOME);
	for (int i = 0; i < 4; i++)
		assert_true(world_deliver(w, i % 2 ? HOME : VPS));
	/* From now on no second one: <-- N(NO_ADDITIONAL_SAS) */
	for (int s = 0; s < 300; s++) {
		w->host[VPS].install_error = -ENOSPC;
		w->host[VPS].install_error_dir = ENGINE_IN;
		world_run(w, 1000);
	}
	w->host[VPS].install_error = 0;
	return w;
}

static size_t children(struct world *w, int h)
{
	struct engine_ike_info i;

	assert_true(engine_ike_info(w->host[h].e, w->host[h].ike, &i));
	return i.child_count;
}

static void what_the_first_one_holds_is_not_missed(void **state)
{
	struct world *w = one_taken(0, 6);

	(void)state;
	assert_int_equal(creates, 1);
	assert_int_equal(w->host[HOME].failed, 0);
	assert_int_equal(w->host[HOME].down, 0);
	assert_int_equal(children(w, HOME), 1);
	/* It is not for ever: the peer may have been reconfigured. */
	world_run(w, 600 * 1000);
	assert_int_equal(creates, 2);
	assert_int_equal(children(w, HOME), 2);
	world_no_leaks(w);
	world_free(w);
}

static void what_it_does_not_hold_is_explained_and_asked_for_seldom(void **state)
{
	struct world *w = one_taken(6, 17);

	(void)state;
	assert_in_range(creates, 9, 11); /* 300 s */
	assert_int_equal(w->host[HOME].failed, creates);
	assert_int_equal(w->host[HOME].last_failed.failed.why, ENGINE_WHY_REFUSED);
	assert_non_null(strstr(w->host[HOME].last_failed.failed.text, "NO_ADDITIONAL_SAS"));
	assert_non_null(strstr(w->host[HOME].last_failed.failed.text, "[child second]"));
	assert_int_equal(w->host[HOME].down, 0);
	assert_int_equal(children(w, HOME), 1);
	world_run(w, 31 * 1000);
	assert_int_equal(children(w, HOME), 2);
	world_no_leaks(w);
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_the_first_one_holds_is_not_missed),
		cmocka_unit_test(what_it_does_not_hold_is_explained_and_asked_for_seldom),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
