/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Addresses and name servers by configuration payload (RFC 7296 s2.19, s3.15): assign, pools, both families. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "payload.h"
#include "forge.h"
#include "world.h"

static struct addr address(const char *s)
{
	struct addr a;

	assert_int_equal(0, addr_parse(s, &a));
	return a;
}

static void same(const struct addr *a, const char *want)
{
	char text[ADDR_STR_MAX];

	assert_string_equal(a->family ? addr_str(a, text) : "none", want);
}

/* ---- a pool of paper ---- */

static struct {
	bool v4, v6; /* what it has left */
	unsigned asked;
	bool want[2];
} paper;

static int lease(struct host *h, bool v4, bool v6, struct addr out[static 2], char *why, size_t cap)
{
	(void)h;
	paper.asked++;
	paper.want[0] = v4;
	paper.want[1] = v6;
	if (v4 && paper.v4)
		out[0] = address("10.99.7.1");
	if (v6 && paper.v6)
		out[1] = address("fd99:7::1");
	if (out[0].family || out[1].family)
		return 0;
	snprintf(why, cap, "pool paper has no address left");
	return -ENOSPC;
}

static struct world *pooled(bool v4, bool v6)
{
	struct world *w = world_new(1, STYLE_PSK);

	memset(&paper, 0, sizeof(paper));
	paper.v4 = v4;
	paper.v6 = v6;
	w->host[VPS].peer.assign_count = 0;
	w->host[VPS].peer.pool = true;
	w->host[VPS].lease = lease;
	return w;
}

static const struct fx *given(struct world *w)
{
	return &w->host[HOME].last_addresses;
}

static void an_address_of_the_pool_is_all_that_the_peer_may_use(void **state)
{
	struct world *w = pooled(true, true);
	struct engine_ike_info i;

	(void)state;
	world_up(w);
	same(&given(w)->addresses.v4, "10.99.7.1");
	same(&given(w)->addresses.v6, "fd99:7::1");
	assert_true(engine_ike_info(w->host[VPS].e, w->host[VPS].ike, &i));
	assert_string_equal(i.child[0].remote_ts, "10.99.7.1/32, fd99:7::1/128");
	/* A rekey keeps them, and the next IKE SA asks again. */
	world_run(w, 3700 * 1000);
	world_agree(w);
	assert_int_equal(paper.asked, 1);
	world_call(w, HOME);
	world_run(w, 1000);
	world_agree(w);
	assert_int_equal(paper.asked, 2);
	world_no_leaks(w);
	world_free(w);
}

static void assign_comes_first_and_the_pool_fills_up(void **state)
{
	struct world *w = pooled(true, true);

	(void)state;
	w->host[VPS].peer.assign_count = 1; /* 10.99.0.2 */
	world_up(w);
	same(&given(w)->addresses.v4, "10.99.0.2");
	same(&given(w)->addresses.v6, "fd99:7::1");
	assert_false(paper.want[0]);
	assert_true(paper.want[1]);
	world_no_leaks(w);
	world_free(w);
}

static void one_family_may_be_absent(void **state)
{
	(void)state;
	for (int family = 0; family < 2; family++) {
		struct world *w = pooled(!family, family);

		world_up(w);
		same(&given(w)->addresses.v4, family ? "none" : "10.99.7.1");
		same(&given(w)->addresses.v6, family ? "fd99:7::1" : "none");
		world_no_leaks(w);
		world_free(w);
	}
}

/* What was leased before a restart is the peer's, also when it is us who call. */
static void a_lease_known_before_holds_when_we_call(void **state)
{
	struct world *w = pooled(true, true);
	struct engine_peer *vps = &w->host[VPS].peer;

	(void)state;
	w->host[HOME].peer.accept = true;
	world_up(w);
	world_run(w, 100);
	vps->lease[0] = address("10.99.7.1");
	vps->lease[1] = address("fd99:7::1");
	world_restart(w, VPS);
	world_call(w, VPS);
	world_run(w, 1000);
	world_agree(w);
	assert_int_equal(w->host[VPS].up, 2);
	world_free(w);
}

/*
 * <-- IKE_AUTH {.., N(INTERNAL_ADDRESS_FAILURE)}: the IKE SA stays, the wish is repeated with pauses, and
 * it has the CP payload in it: once there is an address, all is up.
 */
static void no_address_left_is_asked_for_again(void **state)
{
	struct world *w = pooled(false, false);
	unsigned asked;

	(void)state;
	world_start(w);
	world_call(w, HOME);
	world_run(w, 100);
	assert_int_equal(w->host[HOME].up, 1);
	assert_int_equal(w->host[HOME].last_failed.failed.why, ENGINE_WHY_ADDRESS);
	assert_non_null(strstr(w->host[HOME].last_failed.failed.text, "INTERNAL_ADDRESS_FAILURE"));
	assert_int_equal(w->host[VPS].last_failed.failed.why, ENGINE_WHY_ADDRESS);
	assert_non_null(
	    strstr(w->host[VPS].last_failed.failed.text, "pool paper has no address left"));
	asked = paper.asked;
	world_run(w, 60000);
	assert_true(paper.asked > asked + 3 && paper.asked < asked + 10);
	assert_int_equal(w->host[HOME].last_failed.failed.why, ENGINE_WHY_ADDRESS);
	assert_int_equal(w->host[HOME].down, 0);
	paper.v4 = true;
	world_run(w, 31000);
	world_agree(w);
	same(&given(w)->addresses.v4, "10.99.7.1");
	assert_int_equal(w->host[HOME].up, 1);
	world_no_leaks(w);
	world_free(w);
}

/* What an earlier IKE SA brought is given up when the next one brings nothing. */
static void an_address_that_is_not_given_again_is_gone(void **state)
{
	struct world *w = pooled(true, false);

	(void)state;
	world_up(w);
	same(&given(w)->addresses.v4, "10.99.7.1");
	paper.v4 = false;
	world_restart(w, VPS);
	world_call(w, HOME);
	world_run(w, 100);
	same(&given(w)->addresses.v4, "none");
	paper.v4 = true;
	world_run(w, 10000);
	same(&given(w)->addresses.v4, "10.99.7.1");
	world_agree(w);
	world_free(w);
}

/* A reload that leaves it its addresses leaves it in peace; one that takes an address away makes it ask again. */
static void an_address_that_a_reload_takes_away_is_asked_for_anew(void **state)
{
	struct world *w = pooled(true, true);
	struct engine_peer kept, fewer;
	struct engine_ike_info i;

	(void)state;
	world_up(w);
	same(&given(w)->addresses.v6, "fd99:7::1");
	kept = w->host[VPS].peer;
	kept.lease[0] = address("10.99.7.1");
	kept.lease[1] = address("fd99:7::1");
	DO(w, VPS, assert_int_equal(0, engine_peer_update(e, now, &kept, fx)));
	world_run(w, 1000);
	assert_true(engine_ike_info(w->host[VPS].e, w->host[VPS].ike, &i));
	world_agree(w);
	fewer = kept;
	fewer.lease[1] = (struct addr){ 0 };
	paper.v6 = false;
	DO(w, VPS, assert_int_equal(0, engine_peer_update(e, now, &fewer, fx)));
	world_run(w, 1000);
	assert_false(engine_ike_info(w->host[VPS].e, w->host[VPS].ike, &i));
	world_call(w, HOME);
	world_run(w, 1000);
	same(&given(w)->addresses.v4, "10.99.7.1");
	same(&given(w)->addresses.v6, "none");
	world_agree(w);
	world_no_leaks(w);
	world_free(w);
}

static void childless_gets_its_address_in_ike_auth(void **state)
{
	struct world *w = pooled(true, true);

	(void)state;
	w->host[HOME].peer.childless = ENGINE_CHILDLESS_FORCE;
	world_start(w);
	world_call(w, HOME);
	for (int n = 0; n < 4; n++)
		assert_true(world_deliver(w, n % 2 ? HOME : VPS));
	same(&given(w)->addresses.v4, "10.99.7.1");
	world_run(w, 1000);
	world_agree(w);
	assert_int_equal(paper.asked, 1);
	world_no_leaks(w);
	world_free(w);
}

/* ---- what is on the wire: the attributes are written by the test ---- */

static bool foreign;
static void (*write_more)(struct wr *w);

void __wrap_pld_vendor_add(struct ike_build *b, struct span id);
void __real_pld_vendor_add(struct ike_build *b, struct span id);
void __wrap_cp_end(struct ike_build *b);
void __real_cp_end(struct ike_build *b);

void __wrap_pld_vendor_add(struct ike_build *b, struct span id)
{
	static const uint8_t other[16] = { 1 };

	__real_pld_vendor_add(b, foreign ? (struct span){ other, sizeof(other) } : id);
}

void __wrap_cp_end(struct ike_build *b)
{
	if (write_more)
		write_more(&b->w);
	__real_cp_end(b);
}

/* A peer that gives no address in CREATE_CHILD_SA is asked by a new IKE_AUTH. */
static void a_foreign_peer_without_address_is_called_anew(void **state)
{
	struct world *w = pooled(false, false);

	(void)state;
	foreign = true;
	world_start(w);
	world_call(w, HOME);
	world_run(w, 100);
	foreign = false;
	assert_int_equal(w->host[HOME].down, 1);
	assert_int_equal(w->host[HOME].last_down.down.why, ENGINE_WHY_ADDRESS);
	assert_int_equal(w->host[VPS].down, 1); /* it was told */
	world_run(w, 20000);
	world_no_leaks(w);
	world_free(w);
}

static void name_servers_are_told_to_who_asks(void **state)
{
	struct world *w = pooled(true, true);
	struct addr dns[] = { address("10.99.0.53"), address("fd99::53"), address("10.99.0.54") };

	(void)state;
	w->host[VPS].peer.dns = dns;
	w->host[VPS].peer.dns_count = 3;
	world_up(w);
	assert_int_equal(given(w)->addresses.dns_count, 3);
	same(&given(w)->addresses.dns[0], "10.99.0.53");
	same(&given(w)->addresses.dns[1], "fd99::53");
	same(&given(w)->addresses.dns[2], "10.99.0.54");
	world_no_leaks(w);
	world_free(w);
}

static void name_servers_of_the_other_family_are_not_pushed(void **state)
{
	struct world *w = pooled(true, true);
	struct addr dns[] = { address("fd99::53"), address("10.99.0.54") };

	(void)state;
	w->host[HOME].peer.request_v6 = false;
	w->host[VPS].peer.dns = dns;
	w->host[VPS].peer.dns_count = 2;
	world_up(w);
	assert_int_equal(given(w)->addresses.dns_count, 1);
	same(&given(w)->addresses.dns[0], "10.99.0.54");
	world_free(w);
}

static void attr(struct wr *w, uint16_t type, const char *a, size_t len)
{
	struct addr x = { 0 };
	uint8_t bytes[32] = { 0 };

	if (a) {
		x = address(a);
		memcpy(bytes, x.b, 16);
		bytes[16] = 128;
	}
	cp_attr_add(w, type, (struct span){ bytes, len });
}

/* What no resolver can use, what comes twice, more than anyone needs, and other people's attributes. */
static void hostile_reply(struct wr *w)
{
	char text[32];

	attr(w, INTERNAL_IP4_DNS, "127.0.0.1", 4);
	attr(w, INTERNAL_IP4_DNS, "0.0.0.0", 4);
	attr(w, INTERNAL_IP4_DNS, "224.0.0.251", 4);
	attr(w, INTERNAL_IP4_DNS, "255.255.255.255", 4);
	attr(w, INTERNAL_IP6_DNS, "::1", 16);
	attr(w, INTERNAL_IP6_DNS, "ff02::fb", 16);
	attr(w, INTERNAL_IP4_DNS, NULL, 0);
	attr(w, INTERNAL_IP4_DNS, "10.99.0.9", 3);
	attr(w, INTERNAL_IP4_NETMASK, "255.255.255.0", 4);
	attr(w, INTERNAL_IP4_SUBNET, "10.0.0.0", 8);
	attr(w, INTERNAL_IP6_SUBNET, "fd00::", 17);
	attr(w, APPLICATION_VERSION, "1.2.3.4", 7);
	attr(w, 0x7fff, "1.2.3.4", 5);
	for (int i = 0; i < 2; i++) {
		attr(w, INTERNAL_IP4_DNS, "10.99.0.53", 4);
		attr(w, INTERNAL_IP6_DNS, "fd99::53", 16);
	}
	for (int i = 0; i < 14; i++) {
		snprintf(text, sizeof(text), "10.99.1.%d", i + 1);
		attr(w, INTERNAL_IP4_DNS, text, 4);
	}
}

static void odd_name_servers_are_passed_over_and_bounded(void **state)
{
	struct world *w = pooled(true, true);

	(void)state;
	write_more = hostile_reply;
	world_up(w);
	write_more = NULL;
	same(&given(w)->addresses.v4, "10.99.7.1");
	assert_int_equal(given(w)->addresses.dns_count, ENGINE_DNS_MAX);
	same(&given(w)->addresses.dns[0], "10.99.0.53");
	same(&given(w)->addresses.dns[1], "fd99::53");
	same(&given(w)->addresses.dns[2], "10.99.1.1");
	same(&given(w)->addresses.dns[7], "10.99.1.6");
	world_no_leaks(w);
	world_free(w);
}

/* A request may ask for what we do not give: a mask, subnets, anything. */
static void wide_wish(struct wr *w)
{
	attr(w, INTERNAL_IP4_NETMASK, NULL, 0);
	attr(w, INTERNAL_IP4_SUBNET, NULL, 0);
	attr(w, INTERNAL_IP6_SUBNET, NULL, 0);
	attr(w, INTERNAL_DNS_DOMAIN, NULL, 0);
	attr(w, INTERNAL_IP4_DHCP, NULL, 0);
	attr(w, SUPPORTED_ATTRIBUTES, NULL, 0);
	attr(w, 0x7abc, NULL, 0);
}

static void other_wishes_are_ignored_politely(void **state)
{
	struct world *w = pooled(true, true);

	(void)state;
	write_more = wide_wish;
	world_up(w);
	write_more = NULL;
	same(&given(w)->addresses.v4, "10.99.7.1");
	assert_int_equal(w->host[HOME].failed + w->host[VPS].failed, 0);
	world_free(w);
}

static bool give_unasked(struct world *w, struct chain *c, struct ike_hdr *h, void *arg)
{
	static const uint8_t cp[] = { CFG_REPLY, 0, 0, 0, 0, INTERNAL_IP4_ADDRESS, 0, 4, 10, 66, 6, 6 };

	(void)w;
	(void)h;
	(void)arg;
	chain_add(c, PLD_CP, cp, sizeof(cp));
	return true;
}

static void addresses_that_nobody_asked_for_are_not_taken(void **s)
{
	struct world *w = forge_pair(66);
	struct forgery f = { .from = VPS,
			     .exchange = CREATE_CHILD_SA,
			     .response = true,
			     .edit = give_unasked };
	struct addr had = w->host[HOME].last_addresses.addresses.v4;

	(void)s;
	w->filter = forge_filter;
	w->filter_arg = &f;
	DO(w, HOME, engine_create_child(e, now, w->host[HOME].ike, fx));
	world_run(w, 100);
	assert_int_equal(f.done, 1);
	assert_true(addr_eq(&had, &w->host[HOME].last_addresses.addresses.v4));
	w->filter = NULL;
	world_run(w, 60000);
	forge_ends(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_that_nobody_asked_for_are_not_taken),
		cmocka_unit_test(an_address_of_the_pool_is_all_that_the_peer_may_use),
		cmocka_unit_test(assign_comes_first_and_the_pool_fills_up),
		cmocka_unit_test(one_family_may_be_absent),
		cmocka_unit_test(a_lease_known_before_holds_when_we_call),
		cmocka_unit_test(no_address_left_is_asked_for_again),
		cmocka_unit_test(an_address_that_is_not_given_again_is_gone),
		cmocka_unit_test(an_address_that_a_reload_takes_away_is_asked_for_anew),
		cmocka_unit_test(childless_gets_its_address_in_ike_auth),
		cmocka_unit_test(a_foreign_peer_without_address_is_called_anew),
		cmocka_unit_test(name_servers_are_told_to_who_asks),
		cmocka_unit_test(name_servers_of_the_other_family_are_not_pushed),
		cmocka_unit_test(odd_name_servers_are_passed_over_and_bounded),
		cmocka_unit_test(other_wishes_are_ignored_politely),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
