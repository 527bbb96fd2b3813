/* SPDX-License-Identifier: GPL-3.0-or-later */
/* IKE_SA_INIT and IKE_AUTH between two engines. Steps are titled in wire notation. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "world.h"
#include "log.h"

static void handshake(enum auth_style style)
{
	struct world *w = world_new(1, style);

	world_start(w);
	world_call(w, HOME);
	/* IKE_SA_INIT { SA, KE, Ni, N(NATS), N(NATD), N(FRAG), N(HASHES), V } --> */
	assert_true(world_deliver(w, VPS));
	/* <-- IKE_SA_INIT { SA, KE, Nr, N(NATS), N(NATD), N(FRAG), N(HASHES), V } */
	assert_true(world_deliver(w, HOME));
	assert_int_equal(w->host[HOME].up, 0);
	/* IKE_AUTH { IDi, N(INITIAL_CONTACT), IDr, AUTH, CP, SA, TSi, TSr, N(INSTANCE) } --> */
	world_run(w, 0);
	/* <-- IKE_AUTH { IDr, AUTH, CP, SA, TSi, TSr, N(INSTANCE) } */
	world_agree(w);
	EACH_HOST(a)
	{
		assert_int_equal(w->host[a].up, 1);
		assert_int_equal(w->host[a].child_up, 1);
		assert_int_equal(w->host[a].failed, 0);
		assert_true(w->host[a].last_up.up.child);
		assert_true(w->host[a].last_up.up.postern);
	}
	world_no_leaks(w);
	world_free(w);
}

static void ike_comes_up_with_a_psk(void **s)
{
	(void)s;
	handshake(STYLE_PSK);
}

static void ike_comes_up_with_raw_public_keys(void **s)
{
	(void)s;
	handshake(STYLE_RAW);
}

static void ike_comes_up_with_ed25519_certificates(void **s)
{
	(void)s;
	handshake(STYLE_CERT_ED25519);
}

static void ike_comes_up_with_ecdsa_certificates(void **s)
{
	(void)s;
	handshake(STYLE_CERT_ECDSA);
}

static void ike_comes_up_with_rsa_certificates(void **s)
{
	(void)s;
	handshake(STYLE_CERT_RSA);
}

static void configuration_payload_gives_the_assigned_addresses(void **s)
{
	struct world *w = world_new(2, STYLE_PSK);
	char a[ADDR_STR_MAX];

	(void)s;
	world_up(w);
	assert_string_equal("10.99.0.2", addr_str(&w->host[HOME].last_addresses.addresses.v4, a));
	assert_string_equal("fd99::2", addr_str(&w->host[HOME].last_addresses.addresses.v6, a));
	for (int i = 0; i < CHILDREN_MAX; i++) {
		struct paper_child *p = &w->host[HOME].child[i];
		char t[200];

		if (!p->used)
			continue;
		assert_string_equal("10.99.0.2/32, fd99::2/128",
				    ts_list_str(&p->local, t, sizeof(t)));
	}
	world_free(w);
}

static void set_id(struct engine_id *id, uint8_t type, const char *text)
{
	*id = (struct engine_id){ type, (const uint8_t *)text, strlen(text) };
}

static void run_call(struct world *w)
{
	world_start(w);
	world_call(w, HOME);
	world_run(w, 5000);
}

static void expect_refusal(struct world *w, enum engine_why why)
{
	run_call(w);
	EACH_HOST(a)
	{
		assert_int_equal(w->host[a].up, 0);
		assert_true(w->host[a].failed >= 1);
		assert_int_equal(w->host[a].last_failed.failed.why, why);
		assert_true(strlen(w->host[a].last_failed.failed.text) > 20);
	}
	assert_int_equal(w->host[HOME].down, 1);
	assert_int_equal(w->host[HOME].last_down.down.why, why);
	assert_false(w->host[HOME].last_down.down.was_up);
	assert_true(w->host[HOME].last_failed.failed.by_peer);
	assert_false(w->host[VPS].last_failed.failed.by_peer);
	world_no_leaks(w);
	world_free(w);
}

static void wrong_psk_is_refused_encrypted_and_explained(void **s)
{
	struct world *w = world_new(3, STYLE_PSK);

	(void)s;
	secret_set(&w->host[HOME].psk, "not the same", 12);
	run_call(w);
	assert_true(w->host[VPS].last_failed.failed.claim); /* he said that he is home */
	assert_false(w->host[HOME].last_failed.failed.claim);
	world_free(w);
	w = world_new(3, STYLE_PSK);
	secret_set(&w->host[HOME].psk, "not the same", 12);
	expect_refusal(w, ENGINE_WHY_AUTH_FAILED);
}

static void wrong_key_of_the_initiator_is_refused(void **s)
{
	struct world *w = world_new(4, STYLE_RAW);

	(void)s;
	w->host[VPS].other_pub[0] = w->host[VPS].pub;
	expect_refusal(w, ENGINE_WHY_AUTH_FAILED);
}

static void wrong_key_of_the_responder_ends_it_on_both_sides(void **s)
{
	struct world *w = world_new(5, STYLE_RAW);

	(void)s;
	w->host[HOME].other_pub[0] = w->host[HOME].pub;
	run_call(w);
	assert_int_equal(w->host[HOME].up, 0);
	assert_int_equal(w->host[HOME].last_down.down.why, ENGINE_WHY_AUTH_FAILED);
	assert_false(w->host[HOME].last_failed.failed.by_peer);
	/* HDR, SK {N(AUTHENTICATION_FAILED)} --> */
	assert_int_equal(w->host[VPS].up, 1);
	assert_int_equal(w->host[VPS].down, 1);
	assert_int_equal(w->host[VPS].last_down.down.why, ENGINE_WHY_AUTH_FAILED);
	world_no_leaks(w);
	world_free(w);
}

static void unknown_identity_gets_the_same_answer_as_a_wrong_key(void **s)
{
	(void)s;
	for (int style = STYLE_PSK; style <= STYLE_RAW; style++) {
		struct world *w = world_new(6, (enum auth_style)style);

		set_id(&w->host[HOME].peer.local_id, ID_FQDN, "stranger.example.net");
		run_call(w);
		assert_int_equal(w->host[HOME].last_down.down.why, ENGINE_WHY_AUTH_FAILED);
		assert_int_equal(w->host[VPS].last_failed.failed.peer, 0);
		assert_non_null(
		    strstr(w->host[VPS].last_failed.failed.text, "stranger.example.net"));
		world_no_leaks(w);
		world_free(w);
	}
}

static void asking_for_somebody_else_is_refused(void **s)
{
	struct world *w = world_new(7, STYLE_PSK);

	(void)s;
	set_id(&w->host[HOME].peer.remote_id, ID_FQDN, "other.example.net");
	expect_refusal(w, ENGINE_WHY_AUTH_FAILED);
}

static void a_psk_where_a_key_is_expected_is_refused(void **s)
{
	struct world *w = world_new(8, STYLE_RAW);

	(void)s;
	secret_set(&w->host[HOME].psk, "x", 1);
	w->host[HOME].peer.local_auth.kind = ENGINE_AUTH_PSK;
	expect_refusal(w, ENGINE_WHY_AUTH_FAILED);
}

static void each_side_may_use_another_method(void **s)
{
	struct world *w = world_new(9, STYLE_RAW);

	(void)s;
	EACH_HOST(a)
	secret_set(&w->host[a].psk, "only one way", 12);
	w->host[HOME].peer.local_auth.kind = ENGINE_AUTH_PSK;
	w->host[VPS].peer.remote_auth.kind = ENGINE_AUTH_PSK;
	w->host[VPS].peer.remote_auth.psk_ref = 1;
	world_up(w);
	world_no_leaks(w);
	world_free(w);
}

static void a_certificate_of_another_ca_is_refused(void **s)
{
	struct world *w = world_new(10, STYLE_CERT_ED25519), *x = world_new(11, STYLE_CERT_ECDSA);
	const struct ca_store *was = w->host[VPS].peer.remote_auth.ca;

	(void)s;
	w->host[VPS].peer.remote_auth.ca = x->host[VPS].peer.remote_auth.ca;
	run_call(w);
	assert_int_equal(w->host[HOME].last_down.down.why, ENGINE_WHY_AUTH_FAILED);
	assert_non_null(strstr(w->host[VPS].last_failed.failed.text, "ca"));
	world_no_leaks(w);
	w->host[VPS].peer.remote_auth.ca = was;
	world_start(x); /* so that it has something to free */
	world_free(x);
	world_free(w);
}

static void identities_may_be_addresses_and_mailboxes(void **s)
{
	static const uint8_t v4[4] = { 192, 0, 2, 1 }, v6[16] = { 0x20, 1, 0xd, 0xb8, 1 };
	const struct engine_id ids[] = { { ID_IPV4_ADDR, v4, 4 },
					 { ID_IPV6_ADDR, v6, 16 },
					 { ID_RFC822_ADDR, (const uint8_t *)"Me@Example.Net",
					   14 } };

	(void)s;
	for (size_t i = 0; i < 3; i++) {
		struct world *w = world_new(12, STYLE_PSK);

		w->host[HOME].peer.local_id = ids[i];
		w->host[VPS].peer.remote_id = ids[i];
		world_up(w);
		world_free(w);
	}
}

static void no_common_ike_proposal_is_explained_on_both_sides(void **s)
{
	struct world *w = world_new(13, STYLE_PSK);
	struct proposal *p;

	(void)s;
	memset(&w->host[HOME].ike_ps, 0, sizeof(w->host[HOME].ike_ps));
	p = proposal_add(&w->host[HOME].ike_ps, PROTO_IKE);
	transform_add(p, TRANSFORM_ENCR, ENCR_AES_GCM_16, 256);
	transform_add(p, TRANSFORM_PRF, PRF_HMAC_SHA2_512, 0);
	transform_add(p, TRANSFORM_KE, KE_MODP_4096, 0);
	w->host[VPS].ike_ps.count = 1;
	w->host[VPS].ike_ps.p[0] = *p;
	w->host[VPS].ike_ps.p[0].t[2].id = KE_CURVE25519;
	expect_refusal(w, ENGINE_WHY_NO_PROPOSAL);
}

static void invalid_ke_payload_leads_to_the_wanted_group(void **s)
{
	struct world *w = world_new(14, STYLE_PSK);
	struct proposal *p = &w->host[VPS].ike_ps.p[0];
	struct engine_ike_info i;

	(void)s;
	w->host[VPS].ike_ps.count = 1;
	for (unsigned k = 0; k < p->count; k++)
		if (p->t[k].type == TRANSFORM_KE)
			p->t[k].id = KE_ECP_256;
	/* IKE_SA_INIT {KEi(31)} -->  <-- N(INVALID_KE_PAYLOAD, 19)  IKE_SA_INIT {KEi(19)} --> */
	world_up(w);
	assert_true(engine_ike_info(w->host[VPS].e, w->host[VPS].ike, &i));
	assert_non_null(strstr(i.suite, "-ecp256"));
	world_free(w);
}

static void child_refused_for_its_proposal_keeps_the_ike_sa(void **s)
{
	struct world *w = world_new(15, STYLE_PSK);
	size_t count = w->host[VPS].esp_ps.count;

	(void)s;
	w->host[VPS].esp_ps.count = 0;
	run_call(w);
	EACH_HOST(a)
	{
		assert_int_equal(w->host[a].up, 1);
		assert_false(w->host[a].last_up.up.child);
		assert_true(w->host[a].failed >= 1);
		assert_int_equal(w->host[a].last_failed.failed.why, ENGINE_WHY_NO_PROPOSAL);
		assert_int_equal(w->host[a].down, 0);
	}
	/* Mended: the next CREATE_CHILD_SA of the start side succeeds by itself. */
	w->host[VPS].esp_ps.count = (uint8_t)count;
	world_run(w, 60000);
	world_agree(w);
	world_no_leaks(w);
	world_free(w);
}

static void child_refused_for_its_selectors_keeps_the_ike_sa(void **s)
{
	struct world *w = world_new(16, STYLE_PSK);

	(void)s;
	w->host[HOME].remote_ts[0].ts.lo.b[3] = w->host[HOME].remote_ts[0].ts.hi.b[3] = 77;
	w->host[HOME].conf[0].remote_ts_count = 1;
	run_call(w);
	EACH_HOST(a)
	{
		assert_int_equal(w->host[a].up, 1);
		assert_int_equal(w->host[a].last_failed.failed.why, ENGINE_WHY_TS);
		assert_int_equal(w->host[a].down, 0);
	}
	world_no_leaks(w);
	world_free(w);
}

static void an_address_that_cannot_be_given_fails_the_child_alone(void **s)
{
	struct world *w = world_new(17, STYLE_PSK);

	(void)s;
	w->host[VPS].peer.assign_count = 0;
	world_start(w);
	world_call(w, HOME);
	world_run(w, 0);
	assert_int_equal(w->host[HOME].up, 1);
	assert_int_equal(w->host[HOME].last_failed.failed.why, ENGINE_WHY_ADDRESS);
	world_no_leaks(w);
	world_free(w);
}

static void a_failed_install_turns_the_answer_into_a_notify(void **s)
{
	(void)s;
	for (int dir = ENGINE_IN; dir <= ENGINE_OUT; dir++)
		for (int who = 0; who < 2; who++) {
			struct world *w = world_new(18, STYLE_PSK);

			w->host[who].install_error = -ENOMEM;
			w->host[who].install_error_dir = (enum engine_dir)dir;
			run_call(w);
			EACH_HOST(a)
			assert_int_equal(w->host[a].up, 1);
			world_run(w, 60000);
			world_agree(w);
			world_no_leaks(w);
			world_free(w);
		}
}

static void selectors_are_narrowed_with_protocol_and_port(void **s)
{
	struct world *w = world_new(19, STYLE_PSK);
	char t[200];

	(void)s;
	/* The VPS allows SMTP alone, home asks for everything there. */
	w->host[VPS].local_ts[0].ts.proto = 6;
	w->host[VPS].local_ts[0].ts.port_lo = w->host[VPS].local_ts[0].ts.port_hi = 25;
	w->host[VPS].conf[0].local_ts_count = 1;
	world_up(w);
	assert_string_equal("10.99.0.1/32[tcp/25]",
			    ts_list_str(&w->host[HOME].child[0].remote, t, sizeof(t)));
	world_free(w);
}

static void only_esn(struct proposals *ps, unsigned id)
{
	for (unsigned i = 0; i < ps->count; i++) {
		struct proposal *p = &ps->p[i];
		uint8_t n = 0;

		for (unsigned k = 0; k < p->count; k++)
			if (p->t[k].type != TRANSFORM_ESN || p->t[k].id == id)
				p->t[n++] = p->t[k];
		p->count = n;
	}
}

static void ike_case_104_esn_or_none_is_what_both_have(void **s)
{
	(void)s;
	for (int esn = 0; esn < 2; esn++) {
		struct world *w = world_new(20, STYLE_PSK);

		only_esn(&w->host[VPS].esp_ps, (unsigned)esn);
		world_up(w);
		assert_int_equal(w->host[HOME].child[0].suite.esn, esn);
		world_free(w);
	}
}

static void ike_case_104_without_a_common_esn_there_is_no_child(void **s)
{
	(void)s;
	for (unsigned esn = 0; esn < 2; esn++) {
		struct world *w = world_new(22, STYLE_PSK);

		only_esn(&w->host[HOME].esp_ps, esn);
		only_esn(&w->host[VPS].esp_ps, !esn);
		world_start(w);
		world_call(w, HOME);
		world_run(w, 0);
		EACH_HOST(h)
		assert_int_equal(paper_children(&w->host[h], false, false), 0);
		assert_int_equal(w->host[HOME].last_failed.failed.why, ENGINE_WHY_NO_PROPOSAL);
		world_free(w);
	}
}

static void callers_from_elsewhere_get_no_answer(void **s)
{
	struct world *w = world_new(21, STYLE_PSK);

	(void)s;
	prefix_parse("198.51.100.0/24", &w->host[VPS].from[0]);
	w->host[VPS].peer.from = w->host[VPS].from;
	w->host[VPS].peer.from_count = 1;
	run_call(w);
	assert_int_equal(w->host[VPS].sent, 0);
	world_free(w);
}

static void a_dead_keys_process_ends_the_attempt(void **s)
{
	(void)s;
	EACH_HOST(a)
	{
		struct world *w = world_new(22, STYLE_PSK);

		w->host[a].keys_dead = true;
		world_start(w);
		world_call(w, HOME);
		world_run(w, 45000);
		assert_int_equal(w->host[HOME].up, 0);
		assert_true(w->host[a].failed >= 1);
		w->host[a].keys_dead = false;
		world_run(w, 60000);
		world_agree(w); /* the call goes on and succeeds */
		world_no_leaks(w);
		world_free(w);
	}
}

static void a_restarted_start_side_replaces_its_old_sa(void **s)
{
	struct world *w = world_new(23, STYLE_PSK);

	(void)s;
	world_up(w);
	world_restart(w, HOME);
	world_call(w, HOME);
	world_run(w, 0);
	/* INITIAL_CONTACT: the VPS forgets the old one at once. */
	world_agree(w);
	assert_int_equal(w->host[VPS].down, 1);
	assert_true(w->host[VPS].last_down.down.replaced);
	world_no_leaks(w);
	world_free(w);
}

static void a_parallel_call_replaces_without_a_gap(void **s)
{
	struct world *w = world_new(24, STYLE_PSK);

	(void)s;
	world_up(w);
	world_call(w, HOME);
	world_run(w, 30);
	assert_true(paper_works(w, HOME)); /* on the old one, while the answer flies */
	world_run(w, 10);
	assert_true(paper_works(w, HOME) && paper_works(w, VPS));
	world_run(w, 60000);
	world_agree(w);
	EACH_HOST(a)
	{
		assert_int_equal(w->host[a].down, 1);
		assert_true(w->host[a].last_down.down.replaced);
		assert_int_equal(paper_children(&w->host[a], false, false), 1);
	}
	world_no_leaks(w);
	world_free(w);
}

/* The reference stays what it is, the secret behind it does not. */
static void reload_with_another_secret_ends_what_the_old_one_proved(void **s)
{
	(void)s;
	for (int own = 0; own < 2; own++) {
		struct world *w = world_new(26, own ? STYLE_RAW : STYLE_PSK);
		struct engine_peer again;

		world_up(w);
		again = w->host[VPS].peer;
		if (own)
			again.local_auth.key_mark++;
		else
			again.remote_auth.psk_mark++;
		DO(w, VPS, assert_int_equal(0, engine_peer_update(e, now, &again, fx)));
		world_run(w, 100);
		EACH_HOST(a)
		assert_int_equal(w->host[a].down, 1);
		assert_int_equal(w->host[VPS].last_down.down.why, ENGINE_WHY_CONFIG);
		world_no_leaks(w);
		DO(w, VPS, assert_int_equal(0, engine_peer_update(e, now, &w->host[VPS].peer, fx)));
		world_free(w);
	}
}

static void an_address_that_may_not_be_ours_ends_the_ike_sa(void **s)
{
	struct world *w = world_new(27, STYLE_PSK);
	struct addr a = w->host[VPS].assign[0];

	(void)s;
	world_up(w);
	assert_true(addr_eq(&w->host[HOME].last_addresses.addresses.v4, &a));
	DO(w, HOME, engine_address_refused(e, now, w->host[HOME].peer.id, &a, fx));
	assert_int_equal(w->host[HOME].last_down.down.why, ENGINE_WHY_ADDRESS);
	assert_int_equal(paper_children(&w->host[HOME], false, false), 0);
	assert_non_null(strstr(w->host[HOME].last_failed.failed.text, "accept-assigned"));
	assert_false(w->host[HOME].last_failed.failed.claim);
	world_run(w, 100);
	assert_int_equal(w->host[VPS].down, 1);
	world_no_leaks(w);
	world_free(w);
}

static void reload_keeps_what_still_holds_and_ends_what_does_not(void **s)
{
	struct world *w = world_new(25, STYLE_PSK);
	struct engine_peer again;

	(void)s;
	world_up(w);
	again = w->host[VPS].peer;
	again.lifetime.ike_s = 99;
	DO(w, VPS, assert_int_equal(0, engine_peer_update(e, now, &again, fx)));
	world_run(w, 100);
	world_agree(w);
	w->host[VPS].peer.remote_auth.psk_ref = 2;
	DO(w, VPS, assert_int_equal(0, engine_peer_update(e, now, &w->host[VPS].peer, fx)));
	world_run(w, 100);
	EACH_HOST(a)
	assert_int_equal(w->host[a].down, 1);
	assert_int_equal(w->host[VPS].last_down.down.why, ENGINE_WHY_CONFIG);
	world_no_leaks(w);
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ike_comes_up_with_a_psk),
		cmocka_unit_test(ike_comes_up_with_raw_public_keys),
		cmocka_unit_test(ike_comes_up_with_ed25519_certificates),
		cmocka_unit_test(ike_comes_up_with_ecdsa_certificates),
		cmocka_unit_test(ike_comes_up_with_rsa_certificates),
		cmocka_unit_test(configuration_payload_gives_the_assigned_addresses),
		cmocka_unit_test(wrong_psk_is_refused_encrypted_and_explained),
		cmocka_unit_test(wrong_key_of_the_initiator_is_refused),
		cmocka_unit_test(wrong_key_of_the_responder_ends_it_on_both_sides),
		cmocka_unit_test(unknown_identity_gets_the_same_answer_as_a_wrong_key),
		cmocka_unit_test(asking_for_somebody_else_is_refused),
		cmocka_unit_test(a_psk_where_a_key_is_expected_is_refused),
		cmocka_unit_test(each_side_may_use_another_method),
		cmocka_unit_test(a_certificate_of_another_ca_is_refused),
		cmocka_unit_test(identities_may_be_addresses_and_mailboxes),
		cmocka_unit_test(no_common_ike_proposal_is_explained_on_both_sides),
		cmocka_unit_test(invalid_ke_payload_leads_to_the_wanted_group),
		cmocka_unit_test(child_refused_for_its_proposal_keeps_the_ike_sa),
		cmocka_unit_test(child_refused_for_its_selectors_keeps_the_ike_sa),
		cmocka_unit_test(an_address_that_cannot_be_given_fails_the_child_alone),
		cmocka_unit_test(a_failed_install_turns_the_answer_into_a_notify),
		cmocka_unit_test(selectors_are_narrowed_with_protocol_and_port),
		cmocka_unit_test(ike_case_104_esn_or_none_is_what_both_have),
		cmocka_unit_test(ike_case_104_without_a_common_esn_there_is_no_child),
		cmocka_unit_test(callers_from_elsewhere_get_no_answer),
		cmocka_unit_test(a_dead_keys_process_ends_the_attempt),
		cmocka_unit_test(a_restarted_start_side_replaces_its_old_sa),
		cmocka_unit_test(a_parallel_call_replaces_without_a_gap),
		cmocka_unit_test(an_address_that_may_not_be_ours_ends_the_ike_sa),
		cmocka_unit_test(reload_keeps_what_still_holds_and_ends_what_does_not),
		cmocka_unit_test(reload_with_another_secret_ends_what_the_old_one_proved),
	};

	log_setup("exchange", LOG_LVL_ERR, 2);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
