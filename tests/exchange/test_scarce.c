/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What is scarce: memory that runs out or that strangers fill, DH that they make us do, time per peer. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "world.h"
#include "engine_int.h"

/* The linker puts these before the real ones. */
void *__real_realloc(void *p, size_t len);
void *__wrap_realloc(void *p, size_t len);
int __real_dh_shared(const struct dh *dh, const void *peer, size_t len, struct secret *out);
int __wrap_dh_shared(const struct dh *dh, const void *peer, size_t len, struct secret *out);

int __real_dh_new(uint16_t group, struct dh **out);
int __wrap_dh_new(uint16_t group, struct dh **out);
int __real_sk_seal(struct ike_aead *a, const struct ike_hdr *h, uint8_t first, const void *inner,
		   size_t inner_len, uint8_t *out, size_t cap, size_t *len);
int __wrap_sk_seal(struct ike_aead *a, const struct ike_hdr *h, uint8_t first, const void *inner,
		   size_t inner_len, uint8_t *out, size_t cap, size_t *len);

static bool realloc_fails_once, dh_new_fails_once, dh_shared_fails_once, sk_seal_fails_once;
static unsigned dh_done;

static bool fails(bool *once)
{
	bool now = *once;

	*once = false;
	return now;
}

int __wrap_dh_new(uint16_t group, struct dh **out)
{
	return fails(&dh_new_fails_once) ? -ENOMEM : __real_dh_new(group, out);
}

int __wrap_sk_seal(struct ike_aead *a, const struct ike_hdr *h, uint8_t first, const void *inner,
		   size_t inner_len, uint8_t *out, size_t cap, size_t *len)
{
	return fails(&sk_seal_fails_once)
		   ? -ENOMEM
		   : __real_sk_seal(a, h, first, inner, inner_len, out, cap, len);
}

void *__wrap_realloc(void *p, size_t len)
{
	return fails(&realloc_fails_once) ? NULL : __real_realloc(p, len);
}

int __wrap_dh_shared(const struct dh *dh, const void *peer, size_t len, struct secret *out)
{
	dh_done++;
	if (fails(&dh_shared_fails_once))
		return -ENOMEM;
	return __real_dh_shared(dh, peer, len, out);
}

static struct ike_sa *first_sa(struct world *w, int host)
{
	return w->host[host].e->peers->sas;
}

static void a_cookie_that_memory_lacks_for_leaves_the_call_as_it_was(void **s)
{
	struct world *w = world_new(1, STYLE_PSK);
	struct ike_hdr h = { .version = IKE_VERSION,
			     .exchange = IKE_SA_INIT,
			     .flags = IKE_FLAG_RESPONSE };
	struct ike_build b;
	uint8_t buf[200];
	size_t len;

	(void)s;
	world_start(w);
	world_call(w, HOME);
	assert_true(world_deliver(w, VPS)); /* its answer is on its way */
	h.spi_i = first_sa(w, HOME)->spi_i;
	ike_build_begin(&b, buf, sizeof(buf), &h);
	pld_notify_add(&b, COOKIE, (struct span){ (const uint8_t *)"forged", 6 });
	assert_int_equal(0, ike_build_end(&b, &len));
	realloc_fails_once = true;
	world_inject(w, HOME, &w->host[HOME].path, buf, len);
	assert_false(realloc_fails_once);
	world_run(w, 1000);
	world_agree(w);
	world_no_leaks(w);
	world_free(w);
}

static void forged_answers_cost_a_few_dh_in_a_second(void **s)
{
	struct world *w = world_new(2, STYLE_PSK);
	static struct ike_msg m;
	struct flight f;
	uint8_t *bytes;

	(void)s;
	world_start(w);
	world_call(w, HOME);
	assert_true(world_deliver(w, VPS));
	assert_int_equal(world_in_flight(w, HOME), 1);
	f = w->flight[0];
	bytes = malloc(f.len);
	memcpy(bytes, f.bytes, f.len);
	memset(&m, 0, sizeof(m));
	assert_int_equal(0, ike_msg_parse(bytes, f.len, &m));
	memset(bytes + (m.ke.data - bytes), 0, m.ke.len); /* no point of any curve */
	dh_done = 0;
	for (int i = 0; i < 100; i++) {
		bytes[15] = (uint8_t)i;
		world_inject(w, HOME, &f.path, bytes, f.len);
	}
	assert_in_range(dh_done, 1, CALL_CANDIDATES);
	w->now_ms += 1000;
	for (int i = 0; i < 100; i++) {
		bytes[15] = (uint8_t)i;
		world_inject(w, HOME, &f.path, bytes, f.len);
	}
	assert_in_range(dh_done, 2, 2 * CALL_CANDIDATES);
	free(bytes);
	world_run(w, 20000); /* the true one gets through when the forger rests */
	assert_int_equal(w->host[HOME].up, 1);
	world_no_leaks(w);
	world_free(w);
}

static void send_fragment(struct world *w, struct ike_sa *from, uint16_t number, uint16_t total)
{
	struct ike_hdr h = { .spi_i = from->spi_i,
			     .spi_r = from->spi_r,
			     .version = IKE_VERSION,
			     .exchange = IKE_AUTH,
			     .flags = IKE_FLAG_INITIATOR,
			     .id = 1 };
	struct frag_plan plan = { .total = total, .chunk = 1000 };
	static const uint8_t inner[64 * 1000];
	uint8_t out[1400];
	size_t len;

	assert_int_equal(0, skf_seal(from->aead_out, &h, &plan, number, PLD_IDI, inner,
				     (size_t)total * 1000, out, sizeof(out), &len));
	world_inject(w, VPS, &w->host[VPS].path, out, len);
}

static void a_half_open_sa_holds_few_fragments_and_not_for_long(void **s)
{
	struct world *w = world_new(3, STYLE_PSK);
	struct ike_sa *from, *at;

	(void)s;
	w->host[HOME].keys_dead = true;
	world_start(w);
	world_call(w, HOME);
	world_run(w, 50);
	from = first_sa(w, HOME);
	if (!from->caller)
		from = from->peer_next;
	assert_null(w->host[VPS].e->strangers);
	for (uint16_t i = 1; i < 64; i++) {
		send_fragment(w, from, i, 64);
		at = w->host[VPS].e->strangers; /* since the first that was authentic */
		assert_non_null(at);
		assert_true(!at->frags_in[0] || at->frags_in[0]->bytes <= FRAG_STRANGER_MAX);
	}
	frag_clear(at->frags_in[0]);
	send_fragment(w, from, 1, 3);
	send_fragment(w, from, 2, 3);
	assert_int_equal(at->frags_in[0]->have, 2);
	assert_int_equal(w->host[VPS].e->frag_strangers,
			 2000);		      /* all strangers have one bound, too */
	world_run(w, FRAG_TIMEOUT_MS + 1000); /* nothing more comes */
	assert_ptr_equal(at, w->host[VPS].e->strangers);
	assert_null(at->frags_in[0]);
	assert_int_equal(w->host[VPS].e->frag_strangers, 0);
	world_run(w, 60000);
	world_no_leaks(w);
	world_free(w);
}

static void an_init_is_checked_against_what_is_distinct(void **s)
{
	enum { PEERS = 600 };
	struct world *w = world_new(4, STYLE_PSK);
	struct engine_peer *p = calloc(PEERS, sizeof(*p));
	char(*name)[16] = calloc(PEERS, sizeof(*name));
	struct prefix here, there;
	struct engine *vps;

	(void)s;
	assert_int_equal(0, prefix_parse("10.0.0.0/24", &here));
	assert_int_equal(0, prefix_parse("203.0.113.0/24", &there));
	w->host[VPS].from[0] = here;
	w->host[VPS].peer.from = w->host[VPS].from;
	w->host[VPS].peer.from_count = 1;
	world_start(w);
	vps = w->host[VPS].e;
	for (uint32_t i = 0; i < PEERS; i++) {
		snprintf(name[i], sizeof(name[i]), "p%u.example", i);
		p[i] = w->host[VPS].peer;
		p[i].id = 100 + i;
		p[i].name = name[i];
		p[i].remote_id.data = (const uint8_t *)name[i];
		p[i].remote_id.len = strlen(name[i]);
		p[i].from = i % 2 ? &here : &there;
		p[i].assign_count = 0;
		DO(w, VPS, assert_int_equal(0, engine_peer_update(e, now, &p[i], fx)));
	}
	world_call(w, HOME);
	world_run(w, 1000);
	assert_int_equal(w->host[HOME].up, 1);
	assert_int_equal(vps->welcome_count, 1);
	assert_int_equal(vps->welcome[0].from.count, 2);
	world_no_leaks(w);
	/* With the last of them that may call from there the door is shut. */
	DO(w, VPS, engine_peer_remove(e, now, w->host[VPS].peer.id, fx));
	for (uint32_t i = 0; i < PEERS; i++)
		if (i % 2)
			DO(w, VPS, engine_peer_remove(e, now, 100 + i, fx));
	world_call(w, HOME);
	world_run(w, 1000);
	assert_int_equal(w->host[HOME].up, 1);
	assert_int_equal(vps->n.half_open, 0);
	assert_int_equal(vps->welcome[0].from.count, 1);
	world_free(w);
	free(p);
	free(name);
}

static void rekey_ike(struct world *w, int h)
{
	DO(w, h, assert_int_equal(0, engine_rekey_ike(e, now, w->host[h].ike, fx)));
}

/* A fault of ours is no reason to end the IKE SA, as INVALID_SYNTAX would (RFC 7296 s2.21.3). */
static void an_ike_rekey_that_we_have_no_memory_for_is_put_off(void **s)
{
	struct world *w = world_new(5, STYLE_PSK);

	(void)s;
	world_up(w);
	rekey_ike(w, HOME);
	dh_shared_fails_once = true;
	assert_true(world_deliver(w, VPS));
	assert_false(dh_shared_fails_once);
	world_run(w, 60000);
	EACH_HOST(a)
	{
		assert_int_equal(w->host[a].down, 0);
		assert_int_equal(w->host[a].ike_rekeyed, 1);
	}
	world_agree(w);
	world_no_leaks(w);
	world_free(w);
}

/* Who keeps the CHILD SA up asks again when there was no memory to ask. */
static void a_child_that_memory_lacks_for_is_asked_for_again(void **s)
{
	struct world *w = world_new(6, STYLE_PSK);
	struct engine_ike_info i;

	(void)s;
	world_up(w);
	assert_true(engine_ike_info(w->host[VPS].e, w->host[VPS].ike, &i));
	DO(w, VPS, assert_int_equal(0, engine_delete_child(e, now, i.child[0].spi_in, fx)));
	dh_new_fails_once = true;
	world_run(w, 60000);
	assert_false(dh_new_fails_once);
	world_agree(w);
	world_no_leaks(w);
	world_free(w);
}

/* Then the peer is not told, but nothing of it stays for ever. */
static void an_ike_sa_goes_that_memory_lacks_to_delete(void **s)
{
	struct world *w = world_new(7, STYLE_PSK);

	(void)s;
	world_up(w);
	rekey_ike(w, HOME);
	assert_true(world_deliver(w, VPS));
	sk_seal_fails_once = true;
	assert_true(
	    world_deliver(w, HOME)); /* the new IKE SA stands; the old one would be deleted */
	assert_false(sk_seal_fails_once);
	world_run(w, 600000);
	assert_int_equal(w->host[HOME].e->n.ike_sas, 1);
	world_agree(w);
	world_no_leaks(w);
	world_free(w);
}

static void an_sa_that_stands_has_its_timers(void **s)
{
	enum { MANY = 40 };
	struct world *w = world_new(8, STYLE_PSK);
	struct engine *e;
	struct fx_list fx = { 0 };

	(void)s;
	world_start(w);
	e = w->host[HOME].e;
	engine_enter(e, w->now_ms, &fx);
	for (unsigned i = 0; i < MANY; i++)
		assert_non_null(sa_register(e, e->peers, engine_random_spi(e), 1, true));
	realloc_fails_once = true;
	for (struct ike_sa *sa = e->peers->sas; sa; sa = sa->peer_next) {
		struct timer *all[SA_TIMERS] = { &sa->resend, &sa->life, &sa->retry, &sa->frags };

		for (unsigned i = 0; i < SA_TIMERS; i++)
			assert_int_equal(0, timer_set(&e->timers, all[i], UINT64_MAX));
	}
	assert_true(realloc_fails_once); /* nobody had to ask for more */
	realloc_fails_once = false;
	while (e->peers->sas)
		sa_end(e, e->peers->sas, ENGINE_WHY_ADMIN, false);
	engine_leave(e);
	fx_list_free(&fx);
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_cookie_that_memory_lacks_for_leaves_the_call_as_it_was),
		cmocka_unit_test(forged_answers_cost_a_few_dh_in_a_second),
		cmocka_unit_test(a_half_open_sa_holds_few_fragments_and_not_for_long),
		cmocka_unit_test(an_init_is_checked_against_what_is_distinct),
		cmocka_unit_test(an_ike_rekey_that_we_have_no_memory_for_is_put_off),
		cmocka_unit_test(a_child_that_memory_lacks_for_is_asked_for_again),
		cmocka_unit_test(an_ike_sa_goes_that_memory_lacks_to_delete),
		cmocka_unit_test(an_sa_that_stands_has_its_timers),
	};

	log_setup("exchange", LOG_LVL_ERR, 2);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
