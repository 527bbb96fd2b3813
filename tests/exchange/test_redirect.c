/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * IKE redirect (RFC 5685) in each of its three exchanges, seen from both sides. What a supervisor makes of it
 * (the new call, the limit of five, falling back) is in tests/unit/daemon/test_supervisor_redirect.c; here
 * the test calls as it would.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "engine_int.h"
#include "odd.h"
#include "world.h"

static const char second[] = "198.51.100.9";

static struct addr addr_of(const char *text)
{
	struct addr a;

	assert_int_equal(0, addr_parse(text, &a));
	return a;
}

static struct engine_gateway at(const char *address)
{
	return (struct engine_gateway){ .addr = addr_of(address) };
}

static struct engine_gateway named(const char *name)
{
	struct engine_gateway g = { .addr.family = 0 };

	strcpy(g.name, name);
	return g;
}

static struct world *willing(enum auth_style style)
{
	struct world *w = world_new(5685, style);

	w->host[HOME].peer.redirect = true;
	w->wire = true;
	return w;
}

static struct ike_sa *call_of(struct world *w)
{
	struct ike_sa *sa = w->host[HOME].e->peers->sas;

	while (sa && sa->state != SA_CALLING)
		sa = sa->peer_next;
	assert_non_null(sa);
	return sa;
}

static const char *only(const struct world *w, int to)
{
	assert_int_equal(w->flights, 1);
	assert_int_equal(w->flight[0].to, to);
	return w->flight[0].text;
}

/* In the only packet, an IKE_SA_INIT. */
static const struct ike_msg *init_to(const struct world *w, int to)
{
	static struct ike_msg m;

	(void)only(w, to);
	memset(&m, 0, sizeof(m));
	assert_int_equal(0, ike_msg_parse(w->flight[0].bytes, w->flight[0].len, &m));
	assert_int_equal(m.hdr.exchange, IKE_SA_INIT);
	return &m;
}

static bool init_says(const struct world *w, uint16_t type)
{
	return ike_msg_notify(init_to(w, VPS), type) != NULL;
}

static void assert_sent_to(const struct world *w, const struct engine_gateway *to)
{
	const struct fx *f = &w->host[HOME].last_redirect;

	assert_int_equal(w->host[HOME].redirects, 1);
	assert_true(addr_eq(&f->redirect.to.addr, &to->addr));
	assert_string_equal(f->redirect.to.name, to->name);
}

/* What the supervisor does with it: the call ends, and the next one goes there. */
static void follow(struct world *w)
{
	struct host *home = &w->host[HOME];
	struct engine_path path = home->path;

	if (home->last_redirect.redirect.to.addr.family)
		path.remote.addr = home->last_redirect.redirect.to.addr;
	DO(w, HOME, (void)engine_drop(e, now, home->last_redirect.redirect.ike, fx));
	while (w->flights)
		world_lose(w, w->flight[0].to);
	DO(w, HOME, assert_true(engine_initiate(e, now, home->peer.id, &path, fx) > 0));
}

/* ---- IKE_SA_INIT ---- */

static void in_ike_sa_init_to(const struct engine_gateway *to)
{
	struct world *w = willing(STYLE_PSK);

	world_start(w);
	engine_drain(w->host[VPS].e, true, to);
	/* IKE_SA_INIT { SA, KE, Ni, N(REDIRECT_SUPPORTED) } --> */
	world_call(w, HOME);
	assert_true(init_says(w, REDIRECT_SUPPORTED));
	world_deliver(w, VPS);
	/* <-- IKE_SA_INIT { N(REDIRECT) } */
	assert_true(odd_notify_only(init_to(w, HOME), REDIRECT));
	world_deliver(w, HOME);
	assert_sent_to(w, to);
	/* IKE_SA_INIT { .., N(REDIRECTED_FROM) } --> there, which does not drain */
	engine_drain(w->host[VPS].e, false, NULL);
	follow(w);
	/* A name that leads to the same address is the first gateway again. */
	assert_true(init_says(w, to->name[0] ? REDIRECT_SUPPORTED : REDIRECTED_FROM));
	world_run(w, 0);
	world_agree(w);
	assert_int_equal(w->host[HOME].redirects, 1);
	world_no_leaks(w);
	world_free(w);
}

static void in_ike_sa_init_to_each_kind_of_gateway(void **s)
{
	const struct engine_gateway to[] = { at(second), at("2001:db8::9"),
					     named("two.example.net") };

	(void)s;
	for (size_t i = 0; i < 3; i++)
		in_ike_sa_init_to(&to[i]);
}

static void who_cannot_be_sent_gets_no_answer_while_it_drains(void **s)
{
	const struct engine_gateway to = at(second);
	struct world *w = world_new(1, STYLE_PSK);

	(void)s;
	world_start(w);
	engine_drain(w->host[VPS].e, true, &to);
	world_call(w, HOME);
	world_deliver(w, VPS);
	assert_int_equal(w->flights, 0);
	engine_drain(w->host[VPS].e, false, NULL);
	world_run(w, 3000);
	world_agree(w);
	world_free(w);
}

/* Somebody who does not see the request: he may guess SPIs, but not the nonce as well. */
static void a_redirect_with_another_nonce_is_nobody_s_word(void **s)
{
	const struct engine_gateway to = at(second);
	struct world *w = willing(STYLE_PSK);

	(void)s;
	world_start(w);
	world_call(w, HOME);
	for (int forged = 0; forged < 4; forged++) {
		const struct nonce *ni = &call_of(w)->call->ni;
		struct ike_hdr h = { .version = IKE_VERSION,
				     .exchange = IKE_SA_INIT,
				     .flags = IKE_FLAG_RESPONSE };
		uint8_t data[2 + 4 + NONCE_LEN_MAX + 1] = { 1, 4 };
		static struct odd f;
		size_t len;

		h.spi_i = odd_calling(w);
		len = ni->len;
		memcpy(data + 2, to.addr.b, 4);
		memcpy(data + 6, ni->b, len);
		switch (forged) {
		case 0:
			data[6 + len - 1] ^= 1;
			break;
		case 1:
			len--;
			break;
		case 2:
			len++;
			break;
		default:
			len = 0;
			break;
		}
		odd_begin(&f, &h);
		pld_notify_add(&f.b, REDIRECT, (struct span){ data, 6 + len });
		odd_end(&f);
		odd_inject(w, HOME, &w->host[HOME].path, &f);
		assert_int_equal(w->host[HOME].redirects, 0);
	}
	world_run(w, 0);
	world_agree(w);
	world_no_leaks(w);
	world_free(w);
}

static void who_was_sent_here_from_there_is_not_sent_back(void **s)
{
	struct world *w = willing(STYLE_PSK);
	struct engine_gateway to = at(second), back = { .addr = w->host[HOME].path.remote.addr };

	(void)s;
	world_start(w);
	engine_drain(w->host[VPS].e, true, &to);
	world_call(w, HOME);
	world_run(w, 0);
	assert_sent_to(w, &to);
	/* The other one drains too, to the first: no answer, and so no loop. */
	engine_drain(w->host[VPS].e, true, &back);
	follow(w);
	assert_true(init_says(w, REDIRECTED_FROM));
	world_run(w, 0);
	assert_int_equal(w->flights, 0);
	assert_int_equal(w->host[HOME].redirects, 1);
	/* Called again, the first one has sent us nowhere. */
	DO(w, HOME, (void)engine_drop(e, now, call_of(w)->handle, fx));
	world_call(w, HOME);
	assert_true(init_says(w, REDIRECT_SUPPORTED));
	world_free(w);
}

/* ---- IKE_AUTH ---- */

static void in_ike_auth(enum auth_style style, const struct engine_gateway *to, bool drain)
{
	struct world *w = willing(style);

	if (!drain)
		w->host[VPS].peer.redirect_to = to;
	odd_until_auth(w);
	if (drain) /* it had got keys just before */
		engine_drain(w->host[VPS].e, true, to);
	world_deliver(w, VPS);
	/* <-- IKE_AUTH { IDr, [CERT,] AUTH, N(REDIRECT) } */
	assert_non_null(strstr(only(w, HOME), "AUTH, N(REDIRECT) }"));
	assert_int_equal(w->host[VPS].up, 0);
	assert_int_equal(w->host[VPS].spis, 0);
	world_deliver(w, HOME);
	assert_sent_to(w, to);
	assert_int_equal(w->host[HOME].up, 0);
	/* INFORMATIONAL { D(IKE) } --> */
	assert_string_equal(only(w, VPS), "INFORMATIONAL { D(IKE) }");
	world_deliver(w, VPS);
	/* <-- INFORMATIONAL { } */
	assert_string_equal(only(w, HOME), "INFORMATIONAL { }");
	world_run(w, 0);
	engine_drain(w->host[VPS].e, false, NULL);
	w->host[VPS].peer.redirect_to = NULL;
	follow(w);
	world_run(w, 0);
	world_agree(w);
	assert_int_equal(w->host[HOME].up, 1);
	world_run(w, 60000);
	world_no_leaks(w);
	world_free(w);
}

static void in_ike_auth_without_a_child(void **s)
{
	const struct engine_gateway to[] = { at(second), at("2001:db8::9"),
					     named("two.example.net") };

	(void)s;
	for (size_t i = 0; i < 3; i++)
		in_ike_auth(STYLE_PSK, &to[i], i & 1);
	in_ike_auth(STYLE_RAW, &to[0], true);
	in_ike_auth(STYLE_CERT_ED25519, &to[0], false);
}

static void who_does_not_follow_is_served_where_it_calls(void **s)
{
	const struct engine_gateway to = at(second);
	struct world *w = world_new(2, STYLE_PSK);

	(void)s;
	w->host[VPS].peer.redirect_to = &to;
	world_up(w);
	world_no_leaks(w);
	world_free(w);
}

/* Each says that the peer is served by the other one: better here than nowhere. */
static void who_was_sent_here_from_there_is_served_here(void **s)
{
	struct world *w = willing(STYLE_PSK);
	struct engine_gateway to = at(second), back = { .addr = w->host[HOME].path.remote.addr };

	(void)s;
	w->host[VPS].peer.redirect_to = &to;
	world_start(w);
	world_call(w, HOME);
	world_run(w, 0);
	assert_sent_to(w, &to);
	w->host[VPS].peer.redirect_to = &back;
	follow(w);
	world_run(w, 0);
	world_agree(w);
	assert_int_equal(w->host[HOME].redirects, 1);
	world_no_leaks(w);
	world_free(w);
}

/* It was told, and never deletes its IKE SA: we do, and nothing is left. */
static void an_ike_sa_that_nobody_deletes_is_deleted(void **s)
{
	const struct engine_gateway to = at(second);
	struct world *w = willing(STYLE_PSK);

	(void)s;
	w->host[VPS].peer.redirect_to = &to;
	odd_until_auth(w);
	world_deliver(w, VPS);
	world_lose(w, HOME);
	w->cut[VPS] = w->cut[HOME] = true;
	world_run(w, 3 * RETIRED_MS + 60000);
	assert_null(w->host[VPS].e->peers->sas);
	assert_int_equal(w->host[VPS].down, 0); /* it never was up */
	world_free(w);
}

static void put_redirect(struct odd *f, uint8_t type, uint8_t flags, struct span body,
			 const void *arg)
{
	static const uint8_t data[] = { 1, 4, 198, 51, 100, 9 };

	const uint8_t *method = body.p;

	(void)arg;
	if (type == PLD_NONE)
		pld_notify_add(&f->b, REDIRECT, (struct span){ data, sizeof(data) });
	else if (type == PLD_AUTH)
		odd_payload(f, type, flags, (uint8_t[64]){ method[0] }, body.len);
	else if (type != PLD_SA && type != PLD_TSI && type != PLD_TSR)
		odd_keep(f, type, flags, body, NULL);
}

/* Whoever stands between us and sends us away has to be who we call. */
static void a_redirect_behind_an_auth_that_does_not_hold_is_not_followed(void **s)
{
	struct world *w = willing(STYLE_PSK);

	(void)s;
	odd_until_auth(w);
	world_deliver(w, VPS);
	odd_change(w, HOME, w->host[VPS].e->peers->sas, put_redirect, NULL);
	world_deliver(w, HOME);
	assert_int_equal(w->host[HOME].redirects, 0);
	assert_int_equal(w->host[HOME].up, 0);
	assert_int_equal(w->host[HOME].last_failed.failed.why, ENGINE_WHY_AUTH_FAILED);
	world_free(w);
}

/* ---- INFORMATIONAL ---- */

static void in_informational_to_each_kind_of_gateway(void **s)
{
	const struct engine_gateway to[] = { at(second), at("2001:db8::9"),
					     named("two.example.net") };

	(void)s;
	for (size_t i = 0; i < 3; i++) {
		struct world *w = willing(STYLE_PSK);

		world_up(w);
		DO(w, VPS,
		   assert_int_equal(engine_redirect(e, now, w->host[VPS].peer.id, &to[i], fx), 1));
		/* <-- INFORMATIONAL { N(REDIRECT) } */
		assert_string_equal(only(w, HOME), "INFORMATIONAL { N(REDIRECT) }");
		world_deliver(w, HOME);
		/* INFORMATIONAL { } --> */
		assert_string_equal(only(w, VPS), "INFORMATIONAL { }");
		assert_sent_to(w, &to[i]);
		assert_int_equal(w->host[HOME].last_redirect.redirect.ike, w->host[HOME].ike);
		world_run(w, 0);
		world_agree(w); /* until the new one stands */
		world_no_leaks(w);
		world_free(w);
	}
}

/* An authenticated gateway may say it as often as it likes; each counts, and few are logged. */
static void what_is_logged_of_redirects_is_bounded(void **s)
{
	const struct engine_gateway to = at(second);
	struct world *w = willing(STYLE_PSK);
	unsigned logged = 0;

	(void)s;
	world_up(w);
	for (int i = 0; i < 100; i++) {
		DO(w, VPS,
		   assert_int_equal(engine_redirect(e, now, w->host[VPS].peer.id, &to, fx), 1));
		world_run(w, 0);
		assert_int_equal(w->host[HOME].redirects, i + 1);
		logged += w->host[HOME].last_redirect.redirect.log;
	}
	assert_in_range(logged, 1, LOG_LIMIT_BURST + 1);
	world_run(w, 10 * LOG_LIMIT_PERIOD_MS);
	DO(w, VPS, assert_int_equal(engine_redirect(e, now, w->host[VPS].peer.id, &to, fx), 1));
	world_run(w, 0);
	assert_true(w->host[HOME].last_redirect.redirect.log);
	world_no_leaks(w);
	world_free(w);
}

static void a_server_is_not_sent_away_by_its_client(void **s)
{
	const struct engine_gateway to = at(second);
	struct world *w = willing(STYLE_PSK);
	static const uint8_t data[] = { 1, 4, 198, 51, 100, 9 };
	static struct odd f;

	(void)s;
	w->host[VPS].peer.redirect = true;
	world_up(w);
	DO(w, HOME, assert_int_equal(engine_redirect(e, now, w->host[HOME].peer.id, &to, fx), 0));
	odd_inner(&f);
	pld_notify_add(&f.b, REDIRECT, (struct span){ data, sizeof(data) });
	odd_request(w, HOME, INFORMATIONAL, &f);
	assert_int_equal(w->host[VPS].redirects, 0);
	world_free(w);
}

static void gateways_that_cannot_be_are_ignored(void **s)
{
	static const uint8_t bad[][8] = {
		{ 6, 1, 4, 127, 0, 0, 1 },   { 6, 1, 4, 0, 0, 0, 0 },	{ 6, 1, 3, 198, 51, 100 },
		{ 4, 1, 4, 198, 51 },	     { 6, 2, 4, 198, 51, 100, 9 }, { 6, 4, 4, 198, 51, 100, 9 },
		{ 2, 3, 0 },		     { 5, 3, 3, 'a', ' ', 'b' },   { 1, 3 },
	};
	struct world *w = willing(STYLE_PSK);

	(void)s;
	world_up(w);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		static struct odd f;

		odd_inner(&f);
		pld_notify_add(&f.b, REDIRECT, (struct span){ bad[i] + 1, bad[i][0] });
		odd_request(w, VPS, INFORMATIONAL, &f);
		while (w->flights)
			world_lose(w, VPS);
		odd_sa_of(w, VPS)->win.next_out = odd_sa_of(w, HOME)->win.next_in;
		assert_int_equal(w->host[HOME].redirects, 0);
	}
	world_agree(w);
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(in_ike_sa_init_to_each_kind_of_gateway),
		cmocka_unit_test(who_cannot_be_sent_gets_no_answer_while_it_drains),
		cmocka_unit_test(a_redirect_with_another_nonce_is_nobody_s_word),
		cmocka_unit_test(who_was_sent_here_from_there_is_not_sent_back),
		cmocka_unit_test(in_ike_auth_without_a_child),
		cmocka_unit_test(who_does_not_follow_is_served_where_it_calls),
		cmocka_unit_test(who_was_sent_here_from_there_is_served_here),
		cmocka_unit_test(an_ike_sa_that_nobody_deletes_is_deleted),
		cmocka_unit_test(a_redirect_behind_an_auth_that_does_not_hold_is_not_followed),
		cmocka_unit_test(in_informational_to_each_kind_of_gateway),
		cmocka_unit_test(what_is_logged_of_redirects_is_bounded),
		cmocka_unit_test(a_server_is_not_sent_away_by_its_client),
		cmocka_unit_test(gateways_that_cannot_be_are_ignored),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
