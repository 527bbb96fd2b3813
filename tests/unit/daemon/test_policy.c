/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "policy.h"

static const char text[] = "[posternd]\n"
			   "identity = gate.example.net\n"
			   "private-key = gate.key\n"
			   "tunnel-address = 10.99.0.1\n"
			   "[peer home]\n"
			   "identity = home.example.net\n"
			   "public-key = home.pub\n"
			   "assign = 10.99.0.2, fd99::2\n"
			   "[peer vps]\n"
			   "address = 10.44.0.1, vps.example.net\n"
			   "identity = vps.example.net\n"
			   "public-key = vps.pub\n"
			   "networks = 10.77.0.0/16, 10.66.0.1, fd77::/64\n"
			   "start = always\n"
			   "request-address = yes\n"
			   "[peer narrow]\n"
			   "address = n.example.net\n"
			   "identity = narrow.example.net\n"
			   "public-key = narrow.pub\n"
			   "networks = 192.0.2.0/24\n"
			   "start = always\n"
			   "request-address = yes\n"
			   "accept-assigned = 172.20.5.0/24, 0.0.0.0/0\n"
			   "[peer quiet]\n"
			   "address = q.example.net\n"
			   "identity = quiet.example.net\n"
			   "public-key = quiet.pub\n"
			   "networks = 198.51.100.0/24\n"
			   "start = always\n"
			   "request-address = no\n"
			   "[pool homes]\n"
			   "addresses = 10.55.0.0/24\n";

static struct config *cfg;

static bool local(const struct prefix *p, struct prefix *which, void *arg)
{
	(void)arg;
	assert_int_equal(prefix_parse("192.168.1.0/24", which), 0);
	return prefix_overlaps(which, p);
}

static int ask_addr(const char *peer, const char *addr, const char *why_has)
{
	struct policy p = { .cfg = cfg, .local = local };
	char why[POLICY_WHY_MAX] = "";
	struct pq_addr q = { 0 };
	int rc;

	assert_int_equal(proc_name_set(q.peer, sizeof(q.peer), peer), 0);
	assert_int_equal(prefix_parse(addr, &q.addr), 0);
	rc = policy_addr(&p, &q, why);
	if (rc && why_has && !strstr(why, why_has))
		fail_msg("%s: refused with \"%s\", not with \"%s\"", addr, why, why_has);
	return rc;
}

static int ask_route(const char *peer, const char *dst)
{
	struct policy p = { .cfg = cfg, .local = local };
	char why[POLICY_WHY_MAX] = "";
	struct pq_route q = { 0 };
	int rc;

	assert_int_equal(proc_name_set(q.peer, sizeof(q.peer), peer), 0);
	assert_int_equal(prefix_parse(dst, &q.dst), 0);
	rc = policy_route(&p, &q, why);
	assert_true(!rc || why[0]);
	return rc;
}

static int ask_hook(const char *peer, const char *dns)
{
	struct policy p = { .cfg = cfg, .local = local };
	char why[POLICY_WHY_MAX] = "";
	struct pq_hook q = { .up = 1, .dns_count = 1 };
	int rc;

	assert_int_equal(proc_name_set(q.peer, sizeof(q.peer), peer), 0);
	assert_int_equal(addr_parse(dns, &q.dns[0]), 0);
	rc = policy_hook(&p, &q, why);
	assert_true(!rc || why[0]);
	return rc;
}

static void a_hook_hears_of_peers_that_give_us_addresses(void **state)
{
	(void)state;
	assert_int_equal(ask_hook("vps", "10.77.0.1"), 0);
	assert_int_equal(ask_hook("vps", "fd77::1"), 0);
	assert_int_equal(ask_hook("vps", "127.0.0.1"), -EPROTO);
	assert_int_equal(ask_hook("vps", "ff02::1"), -EPROTO);
	assert_int_equal(ask_hook("home", "10.77.0.1"), -EPROTO);
	assert_int_equal(ask_hook("quiet", "10.77.0.1"), -EPROTO);
	assert_int_equal(ask_hook("nobody", "10.77.0.1"), -EPROTO);
}

static void an_address_of_our_own_pool_is_not_taken(void **state)
{
	(void)state;
	assert_int_equal(ask_addr("vps", "10.55.0.9", "own pool homes"), -EPROTO);
	assert_int_equal(ask_addr("vps", "10.55.1.9", NULL), 0);
}

static void an_address_inside_accept_assigned_is_taken(void **state)
{
	(void)state;
	assert_int_equal(ask_addr("vps", "10.98.0.7", NULL), 0);
	assert_int_equal(ask_addr("vps", "192.168.2.1", NULL), 0);
	assert_int_equal(ask_addr("vps", "100.64.3.4", NULL), 0);
	assert_int_equal(ask_addr("vps", "fd12::7", NULL), 0);
	assert_int_equal(ask_addr("narrow", "172.20.5.9", NULL), 0);
	/* Inside of a peer's wider networks: what a VPS gives from its own range. */
	assert_int_equal(ask_addr("vps", "10.77.3.4", NULL), 0);
}

static void an_address_outside_of_it_is_refused(void **state)
{
	(void)state;
	assert_int_equal(ask_addr("vps", "198.51.100.9", "accept-assigned"), -EPROTO);
	assert_int_equal(ask_addr("vps", "172.32.0.1", "accept-assigned"), -EPROTO);
	assert_int_equal(ask_addr("vps", "100.128.0.1", "accept-assigned"), -EPROTO);
	assert_int_equal(ask_addr("vps", "2001:db8::1", "accept-assigned"), -EPROTO);
	assert_int_equal(ask_addr("narrow", "fd12::7", "accept-assigned"), -EPROTO);
}

static void only_single_addresses_are_taken(void **state)
{
	(void)state;
	assert_int_equal(ask_addr("vps", "10.98.0.0/31", "single"), -EPROTO);
	assert_int_equal(ask_addr("vps", "10.0.0.0/8", "single"), -EPROTO);
	assert_int_equal(ask_addr("vps", "fd12::/127", "single"), -EPROTO);
}

static void addresses_of_others_are_refused(void **state)
{
	(void)state;
	assert_int_equal(ask_addr("vps", "10.99.0.2", "assigned to peer home"), -EPROTO);
	assert_int_equal(ask_addr("vps", "fd99::2", "assigned to peer home"), -EPROTO);
	assert_int_equal(ask_addr("vps", "10.44.0.1", "outer address of peer vps"), -EPROTO);
	assert_int_equal(ask_addr("vps", "10.66.0.1", "networks of peer vps"), -EPROTO);
	assert_int_equal(ask_addr("vps", "192.168.1.77", "local subnet 192.168.1.0/24"), -EPROTO);
}

static void no_setting_makes_these_unicast(void **state)
{
	(void)state;
	assert_int_equal(ask_addr("narrow", "127.0.0.1", "unicast"), -EPROTO);
	assert_int_equal(ask_addr("narrow", "0.0.0.0", "unicast"), -EPROTO);
	assert_int_equal(ask_addr("narrow", "224.0.0.1", "unicast"), -EPROTO);
	assert_int_equal(ask_addr("narrow", "255.255.255.255", "unicast"), -EPROTO);
}

static void only_a_peer_that_is_asked_may_give(void **state)
{
	(void)state;
	assert_int_equal(ask_addr("nobody", "10.98.0.7", "no such peer"), -EPROTO);
	assert_int_equal(ask_addr("quiet", "10.98.0.7", "request-address"), -EPROTO);
	assert_int_equal(ask_addr("home", "10.98.0.7", "request-address"), -EPROTO);
}

static void routes_stay_inside_of_the_peers_networks(void **state)
{
	(void)state;
	assert_int_equal(ask_route("vps", "10.77.0.0/16"), 0);
	assert_int_equal(ask_route("vps", "10.77.4.0/24"), 0);
	assert_int_equal(ask_route("vps", "10.66.0.1"), 0);
	assert_int_equal(ask_route("vps", "fd77::5"), 0);
	assert_int_equal(ask_route("home", "10.99.0.2"), 0);
	assert_int_equal(ask_route("vps", "10.76.0.0/15"), -EPROTO);
	assert_int_equal(ask_route("vps", "0.0.0.0/0"), -EPROTO);
	assert_int_equal(ask_route("vps", "::/0"), -EPROTO);
	assert_int_equal(ask_route("vps", "10.99.0.2"), -EPROTO);
	assert_int_equal(ask_route("home", "10.77.0.0/16"), -EPROTO);
	assert_int_equal(ask_route("home", "10.99.0.2/31"), -EPROTO);
	assert_int_equal(ask_route("nobody", "10.77.0.0/16"), -EPROTO);
}

static void an_address_found_standing_is_kept_if_any_peer_may_give_it(void **state)
{
	struct policy p = { .cfg = cfg, .local = local };
	struct addr a;

	(void)state;
	assert_int_equal(addr_parse("10.98.0.7", &a), 0);
	assert_true(policy_adopt(&p, &a));
	assert_int_equal(addr_parse("10.99.0.2", &a), 0);
	assert_false(policy_adopt(&p, &a));
	assert_int_equal(addr_parse("2001:db8::9", &a), 0);
	assert_false(policy_adopt(&p, &a));
}

static int load(void **state)
{
	(void)state;
	cfg = config_make(
	    conf_parse(&config_schema, "/etc/postern/postern.conf", text, strlen(text)));
	if (cfg && !conf_ok(cfg->conf))
		fail_msg("%s", cfg->conf->errors);
	return cfg ? 0 : -1;
}

static int unload(void **state)
{
	(void)state;
	config_free(cfg);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_address_inside_accept_assigned_is_taken),
		cmocka_unit_test(an_address_of_our_own_pool_is_not_taken),
		cmocka_unit_test(a_hook_hears_of_peers_that_give_us_addresses),
		cmocka_unit_test(an_address_outside_of_it_is_refused),
		cmocka_unit_test(only_single_addresses_are_taken),
		cmocka_unit_test(addresses_of_others_are_refused),
		cmocka_unit_test(no_setting_makes_these_unicast),
		cmocka_unit_test(only_a_peer_that_is_asked_may_give),
		cmocka_unit_test(routes_stay_inside_of_the_peers_networks),
		cmocka_unit_test(an_address_found_standing_is_kept_if_any_peer_may_give_it),
	};

	return cmocka_run_group_tests(tests, load, unload);
}
