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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ike_comes_up_with_a_psk),
		cmocka_unit_test(ike_comes_up_with_raw_public_keys),
		cmocka_unit_test(ike_comes_up_with_ed25519_certificates),
		cmocka_unit_test(ike_comes_up_with_ecdsa_certificates),
		cmocka_unit_test(ike_comes_up_with_rsa_certificates),
		cmocka_unit_test(configuration_payload_gives_the_assigned_addresses),
	};

	log_setup("exchange", LOG_LVL_ERR, 2);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
