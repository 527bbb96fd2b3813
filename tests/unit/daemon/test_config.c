/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "config.h"
#include "proposal_words.h"

/* Six lines; what a test adds begins in line 7. */
#define VPS                                                                                        \
	"[posternd]\n"                                                                             \
	"identity = vps.example.net\n"                                                             \
	"private-key = keys/vps.key\n"                                                             \
	"tunnel-address = 10.99.0.1, fd99::1\n"                                                    \
	"\n"                                                                                       \
	"# peers\n"
#define HOME                                                                                       \
	"[peer home]\n"                                                                            \
	"identity = home.example.net\n"                                                            \
	"public-key = keys/home.pub\n"                                                             \
	"assign = 10.99.0.2, fd99::2\n"

static struct config *make(const char *text)
{
	struct config *cfg =
	    config_make(conf_parse(&config_schema, "/e/postern.conf", text, strlen(text)));

	assert_non_null(cfg);
	return cfg;
}

static struct config *good(const char *text)
{
	struct config *cfg = make(text);

	if (!conf_ok(cfg->conf))
		fail_msg("%s", cfg->conf->errors);
	return cfg;
}

static void bad(const char *text, const char *want)
{
	struct config *cfg = make(text);
	char full[2048];

	snprintf(full, sizeof(full), "/e/postern.conf:%s", want);
	if (conf_ok(cfg->conf))
		fail_msg("accepted; wanted %s", full);
	assert_string_equal(cfg->conf->errors, full);
	config_free(cfg);
}

static void the_examples_are_true(void **state)
{
	struct config *home = config_load(CONF_DIR "/home.conf");
	struct config *vps = config_load(CONF_DIR "/vps.conf");
	const struct config_peer *p;

	(void)state;
	if (!conf_ok(home->conf) || !conf_ok(vps->conf))
		fail_msg("%s %s", home->conf->errors, vps->conf->errors);
	p = config_peer_find(home, "vps");
	assert_int_equal(p->start, CONFIG_START_ALWAYS);
	assert_string_equal(p->address[0].name, "vps.example.net");
	assert_true(p->request_address);
	assert_int_equal(p->auth, CONFIG_AUTH_RAW);
	assert_int_equal(p->child_count, 1);
	assert_int_equal(p->child->local_ts_count, 2);
	assert_true(p->child->local_ts[0].assigned && p->child->local_ts[1].assigned);
	assert_int_equal(p->child->remote_ts_count, 2);
	assert_int_equal(home->port, 0);
	assert_false(home->port_500);
	p = config_peer_find(vps, "home");
	assert_int_equal(p->assign_count, 2);
	assert_true(p->child->remote_ts[1].assigned);
	assert_int_equal(p->child->remote_ts[1].prefix.addr.family, AF_INET6);
	assert_string_equal(p->local_id.text, "vps.example.net");
	assert_int_equal(vps->port, 4500);
	assert_true(vps->port_500);
	assert_true(config_waits(vps) && !config_waits(home));
	config_free(home);
	config_free(vps);
}

static void a_server_is_its_peer_but_for_what_it_says(void **state)
{
	struct config *cfg = config_load(CONF_DIR "/home-two-servers.conf");
	const struct config_peer *first, *second;

	(void)state;
	if (!conf_ok(cfg->conf))
		fail_msg("%s", cfg->conf->errors);
	assert_int_equal(cfg->peer_count, 2);
	first = config_peer_find(cfg, "vps");
	second = config_peer_find(cfg, "vps/second");
	assert_int_equal(first->server_count, 1);
	assert_false(first->servers_all);
	assert_null(first->of);
	assert_ptr_equal(second->of, first);
	assert_int_equal(second->server_count, 0);
	assert_string_equal(second->address[0].name, "vps2.example.net");
	assert_string_equal(second->remote_id.text, "vps2.example.net");
	assert_non_null(strstr(second->public_key[0], "keys/vps2.pub"));
	assert_int_equal(second->start, CONFIG_START_ALWAYS);
	assert_int_equal(second->network_count, 2);
	assert_int_equal(second->child->remote_ts_count, 2);
	assert_int_equal(second->port, 4500);
	assert_string_equal(second->private_key, first->private_key);
	config_free(cfg);
}

static void a_server_that_cannot_be_is_refused(void **state)
{
	(void)state;
	bad(VPS HOME "[server b]\npeer = hose\naddress = 192.0.2.9\nidentity = b.example.net\n",
	    "12: peer = hose: there is no section [peer hose]");
	bad(VPS HOME "[server b]\npeer = home\naddress = 192.0.2.9\nidentity = b.example.net\n",
	    "11: [server b]: only a peer that we call has several servers; [peer home] needs "
	    "start = always");
	bad(VPS HOME "[server b]\npeer = home\naddress = 192.0.2.9\n",
	    "11: [server b] lacks key \"identity\"; allowed: a domain name, user@domain or an "
	    "address");
}

static void the_example_by_port_is_true(void **state)
{
	struct config *cfg = config_load(CONF_DIR "/home-by-port.conf");
	const struct config_peer *p;

	(void)state;
	if (!conf_ok(cfg->conf))
		fail_msg("%s", cfg->conf->errors);
	p = config_peer_find(cfg, "vps");
	assert_int_equal(p->child_count, 3);
	assert_string_equal(p->child[1].name, "mail-out");
	assert_true(p->child[1].lifetime_bytes == 10ull << 30 && p->child[1].lifetime_s == 3600);
	assert_int_equal(p->child[2].local_ts_count, 2);
	config_free(cfg);
}

static void the_example_for_openwrt_is_true(void **state)
{
	struct config *cfg = config_load(CONF_DIR "/../packaging/openwrt/files/postern.conf");

	(void)state;
	assert_non_null(cfg);
	if (!conf_ok(cfg->conf))
		fail_msg("%s", cfg->conf->errors);
	assert_int_equal(cfg->name_user_count, 1);
	assert_string_equal(cfg->name_users[0], "dnsmasq");
	config_free(cfg);
}

static void the_example_with_a_pool_is_true(void **state)
{
	struct config *cfg = config_load(CONF_DIR "/vps-pool.conf");
	const struct config_peer *p;

	(void)state;
	if (!conf_ok(cfg->conf))
		fail_msg("%s", cfg->conf->errors);
	assert_int_equal(cfg->pool_count, 1);
	assert_int_equal(cfg->pools[0].prefix_count, 2);
	p = config_peer_find(cfg, "home-2");
	assert_ptr_equal(p->pool, &cfg->pools[0]);
	assert_int_equal(p->dns_count, 1);
	/* Both families of the pool are on its side. */
	assert_int_equal(p->child->remote_ts_count, 2);
	assert_true(p->child->remote_ts[0].assigned && p->child->remote_ts[1].assigned);
	config_free(cfg);
}

#define POOL_V6 "[pool v6]\naddresses = fd99:4::/64\n"
#define POOL	"[pool p]\naddresses = 10.99.4.0/24, fd99:4::/64\ndns = 10.99.0.1\n"

static void a_peer_takes_what_its_pool_has(void **state)
{
	struct config *cfg = good(VPS "[pool v4]\naddresses = 10.99.4.0/24\n" POOL_V6 HOME
				      "pool = v4\ndns = 10.99.0.7\n"
				      "[peer b]\nidentity = b.example\npsk = k\npool = v6\n");
	const struct config_peer *home = config_peer_find(cfg, "home");
	const struct config_peer *b = config_peer_find(cfg, "b");

	(void)state;
	assert_string_equal(home->pool->name, "v4");
	assert_int_equal(home->dns_count, 1);
	assert_int_equal(home->dns[0].b[3], 7);
	assert_int_equal(b->child->remote_ts_count, 1);
	assert_int_equal(b->child->remote_ts[0].prefix.addr.family, AF_INET6);
	assert_true(config_pool_has(b->pool, AF_INET6) && !config_pool_has(b->pool, AF_INET));
	assert_int_equal(b->dns_count, 0);
	config_free(cfg);
}

static void a_pool_that_cannot_be_is_refused(void **state)
{
	(void)state;
	bad(VPS HOME "pool = p\n", "11: pool = p: there is no section [pool p]");
	bad(VPS "[pool p]\naddresses = fd99::/48\n" HOME,
	    "8: addresses = fd99::/48: too many; allowed: IPv6 prefixes of /64 to /128");
	bad(VPS "[pool p]\naddresses = 127.0.0.0/24\n" HOME,
	    "8: addresses = 127.0.0.0/24: no addresses for a tunnel; allowed: private ones, such "
	    "as "
	    "10.99.1.0/24 or fd99:1::/64");
	bad(VPS "[pool p]\naddresses = 10.1.0.0/24\n[pool q]\naddresses = 10.1.0.0/16\n" HOME,
	    "10: addresses = 10.1.0.0/16 overlaps with addresses = 10.1.0.0/24 in line 8");
	bad(VPS "[pool p]\naddresses = 10.1.0.0/24\n" HOME "networks = 10.1.0.0/16\n",
	    "13: networks = 10.1.0.0/16 overlaps with addresses = 10.1.0.0/24 in line 8");
	bad(VPS "[pool p]\naddresses = 10.1.0.0/24\ndns = 224.0.0.1\n" HOME,
	    "9: dns = 224.0.0.1: no address at which a peer could ask");
	bad(VPS POOL
	    "[peer a]\nidentity = a.example\npsk = k\naddress = a.example\nstart = always\n"
	    "networks = 10.1.0.0/24\npool = p\n",
	    "16: pool is for peers that call us, and we call [peer a]; what lies there stands in "
	    "networks");
}

/* What is somebody's may lie in a pool: it is passed over. Two peers with one address stay an error. */
static void a_pool_may_hold_what_is_somebodys(void **state)
{
	(void)state;
	config_free(good(VPS "[pool p]\naddresses = 10.99.0.0/24, fd99::/64\n" HOME
			     "networks = 10.99.0.64/28\n"
			     "[peer b]\nidentity = b.example\npsk = k\npool = p\n"
			     "networks = 0.0.0.0/0\n"));
	bad(VPS "[pool p]\naddresses = 10.99.0.2\n" HOME
		"[peer b]\nidentity = b.example\npsk = k\nassign = 10.99.0.2\n",
	    "16: assign = 10.99.0.2 overlaps with assign = 10.99.0.2 of peer home in line 12");
}

static void namespaces_are_names_or_paths(void **state)
{
	struct config *cfg = good("[posternd]\nidentity = a.example\nprivate-key = k\n"
				  "outer-netns = up.link\ntun-netns = /run/netns/apps\n");

	(void)state;
	assert_string_equal(cfg->outer_netns, "up.link");
	assert_string_equal(cfg->tun_netns, "/run/netns/apps");
	config_free(cfg);
	cfg = make("[posternd]\nidentity = a.example\nprivate-key = k\ntun-netns = ../apps\n");
	assert_non_null(strstr(cfg->conf->errors, "neither a name as of ip netns"));
	config_free(cfg);
	cfg = make("[posternd]\nidentity = a.example\nprivate-key = k\ntun-netns = apps\n" HOME
		   "leak = never\nnetworks = 10.9.0.0/16\n");
	assert_non_null(strstr(cfg->conf->errors, "leak = never keeps one namespace alone"));
	config_free(cfg);
}

static void lines_out_have_an_interface_each(void **state)
{
	struct config *cfg = good(VPS "[wan dsl]\ninterface = ppp0\npriority = 10\n"
				      "[wan mobile]\ninterface = wwan0\nmetered = yes\nbudget = 5M\n" HOME "interface = wwan0\n");

	(void)state;
	assert_int_equal(cfg->wan_count, 2);
	assert_int_equal(config_wan_on(cfg, "ppp0")->priority, 10);
	assert_int_equal(config_wan_on(cfg, "wwan0")->priority, 100);
	assert_null(config_wan_on(cfg, "eth0"));
	assert_true(config_wan_on(cfg, "wwan0")->metered && !config_wan_on(cfg, "ppp0")->metered);
	assert_int_equal(config_wan_on(cfg, "wwan0")->budget_bytes, 5 << 20);
	assert_string_equal(cfg->peers[0].interface, "wwan0");
	config_free(cfg);

	bad(VPS "[wan a]\ninterface = ppp0\n[wan b]\ninterface = ppp0\n",
	    "10: interface = ppp0 is that of [wan a] too (line 7); each has its own");
	bad(VPS "[wan a]\ninterface = postern0\n", "8: interface = postern0 is the tunnel device itself; name the one that leads to the "
	    "internet");
	bad(VPS "[wan a]\ninterface = ppp0\nbudget = 5M\n",
	    "9: budget without metered = yes: nothing is held back on a line that costs nothing; "
	    "add it, or remove the budget");
	bad(VPS "[wan a]\ninterface = ppp0\n" HOME "interface = eth0\n",
	    "13: interface = eth0: no [wan NAME] has it; add one, or remove the sections: without "
	    "any, each interface counts");
	bad(VPS HOME "interface = postern0\n",
	    "11: interface = postern0 is the tunnel device itself; name the one that leads to "
	    "[peer home]");
}

static void a_mark_is_a_number_and_may_have_a_mask(void **state)
{
	static const struct {
		const char *text;
		uint32_t mark; /* 0: refused */
	} v[] = {
		{ "1", 1 },
		{ "0x10", 0x10 },
		{ "4294967295", UINT32_MAX },
		{ "0x20000/0xff0000", 0x23d54 },
		{ "0x54/0xff", 0 }, /* whole it would be ours */
		{ "0x55/0xff", 0x3d55 },
		{ "0x3d54", 0 },
		{ "0", 0 },
		{ "0/0xff", 0 },
		{ "0x100/0xff", 0 },
		{ "4294967296", 0 },
		{ "-1", 0 },
		{ "0x", 0 },
		{ "1/", 0 },
		{ "1 ", 0 },
		{ "", 0 },
	};
	char why[CONF_WHY_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(v) / sizeof(*v); i++) {
		uint32_t mark = 0;
		int rc = config_mark_parse(v[i].text, &mark, why, sizeof(why));

		assert_int_equal(rc, v[i].mark ? 0 : -EINVAL);
		assert_int_equal(mark, v[i].mark);
	}
}

static void a_leak_is_guarded_where_there_is_something_to_guard(void **state)
{
	struct config *cfg = good(VPS HOME "leak = never\n");

	(void)state;
	assert_true(cfg->peers[0].leak_never);
	config_free(cfg);
	cfg = good(VPS HOME);
	assert_false(cfg->peers[0].leak_never);
	config_free(cfg);
	bad(VPS HOME "leak = perhaps\n",
	    "11: leak = perhaps: no such word; allowed: allow or never");
	bad(VPS "[peer a]\nidentity = a.example\npsk = k\nremote-ts = 10.7.0.0/16\nleak = never\n",
	    "11: leak = never: [peer a] has nothing to guard; it needs networks, assign or pool");
}

static void a_hook_is_roots_and_nobody_elses_to_change(void **state)
{
	char why[CONF_WHY_MAX];
	char *dir = strdup("/tmp/postern-hook-XXXXXX");

	(void)state;
	bad("[posternd]\nidentity = v.example\nprivate-key = k\ntunnel-address = 10.99.0.1\n"
	    "hook = hooks/dns\n" HOME,
	    "5: hook = hooks/dns: not the absolute path of a program; allowed: text");
	assert_int_equal(config_hook_check("/bin/sh", why, sizeof(why)), 0);
	assert_int_equal(config_hook_check("/etc/passwd", why, sizeof(why)), -EACCES);
	assert_int_equal(config_hook_check("/etc/no/such", why, sizeof(why)), -ENOENT);
	assert_int_equal(config_hook_check("bin/sh", why, sizeof(why)), -EINVAL);
	/* Anybody may put another file into /tmp: what lies below is not safe, whoever owns it. */
	assert_non_null(mkdtemp(dir));
	assert_int_equal(config_hook_check(dir, why, sizeof(why)), -EPERM);
	assert_non_null(strstr(why, "/tmp is writable by others"));
	rmdir(dir);
	free(dir);
}

static void another_pool_is_a_difference(void **state)
{
	const char *b = "[peer b]\nidentity = b.example\npsk = k\n";
	char text[2][1000];
	struct config *cfg[2];

	(void)state;
	for (int i = 0; i < 2; i++) {
		snprintf(text[i], sizeof(text[i]), "%s%s%s%spool = %s\n", VPS POOL,
			 "[pool q]\naddresses = 10.99.5.0/24\n", HOME, b, i ? "p" : "q");
		cfg[i] = good(text[i]);
	}
	assert_int_equal(config_peer_diff(&cfg[0]->peers[0], &cfg[1]->peers[0]), 0);
	assert_true(config_peer_diff(&cfg[0]->peers[1], &cfg[1]->peers[1]) & CONFIG_DIFF_ROUTES);
	config_free(cfg[0]);
	config_free(cfg[1]);
}

static void selectors_carry_protocol_and_port(void **state)
{
	struct config *cfg =
	    good(VPS HOME "local-ts = 10.99.0.1[tcp/25], 10.99.0.1[udp/1-9]\n"
			  "local-ts = fd99::1[icmpv6], 10.0.0.0/8[47], 10.0.0.0/8\n");
	const struct config_ts *ts = cfg->peers[0].child->local_ts;

	(void)state;
	assert_int_equal(cfg->peers[0].child->local_ts_count, 5);
	assert_int_equal(ts[0].proto, 6);
	assert_true(ts[0].port_lo == 25 && ts[0].port_hi == 25);
	assert_true(ts[1].proto == 17 && ts[1].port_lo == 1 && ts[1].port_hi == 9);
	assert_true(ts[2].proto == 58 && ts[2].port_lo == 0 && ts[2].port_hi == 65535);
	assert_true(ts[3].proto == 47 && ts[4].proto == 0 && ts[4].prefix.len == 8);
	config_free(cfg);
}

static const char *words(const struct proposals *ps)
{
	static char text[400];

	return proposals_str(ps, text, sizeof(text));
}

static void a_peer_has_its_own_proposals_or_those_of_all(void **state)
{
	struct config *cfg =
	    good("[posternd]\nidentity = v.example\nprivate-key = k\ntunnel-address = 10.99.0.1\n"
		 "ike-proposals = aes256gcm16-prfsha384-ecp384\n" HOME
		 "[peer b]\nidentity = b.example\npsk = p\nassign = 10.99.0.3\n"
		 "ike-proposals = aes256gcm16-prfsha384-ecp384\n"
		 "esp-proposals = chacha20poly1305-x25519-none, aes128-sha256-x25519\n"
		 "[peer c]\nidentity = c.example\npsk = p\nassign = 10.99.0.4\n"
		 "esp-proposals = chacha20poly1305-x25519-none\n"
		 "esp-proposals = aes128-sha256-x25519\n");
	const struct config_peer *p = cfg->peers;

	(void)state;
	assert_string_equal(words(p[0].ike_proposals), "aes256gcm16-prfsha384-ecp384");
	assert_null(p[0].esp_proposals);
	/* Equal lists are one. */
	assert_ptr_equal(p[0].ike_proposals, p[1].ike_proposals);
	assert_ptr_equal(p[1].esp_proposals, p[2].esp_proposals);
	assert_int_equal(p[2].esp_proposals->p[1].number, 2);
	assert_string_equal(words(p[2].esp_proposals), "chacha20poly1305-x25519-none-esn-noesn, "
						       "aes128-sha256-x25519-esn-noesn");
	config_free(cfg);
	bad(VPS HOME "esp-proposals = aes128gcm16-x25519, aes128-sha1-modp1024\n",
	    "11: esp-proposals = aes128-sha1-modp1024: \"sha1\" is too weak, Postern does not have "
	    "it; allowed: " PROPOSAL_ESP_WORDS);
	bad("[posternd]\nidentity = a.example\nike-proposals = aes128gcm16-prfsha256-x2551\n",
	    "3: ike-proposals = aes128gcm16-prfsha256-x2551: unknown word \"x2551\", did you mean "
	    "\"x25519\"?; allowed: " PROPOSAL_IKE_WORDS);
	bad(VPS HOME "ike-proposals = aes128-sha256-ecp256, aes128-sha256-ecp256, "
		     "aes128-sha256-ecp256, aes128-sha256-ecp256, aes128-sha256-ecp256\n"
		     "ike-proposals = aes128-sha256-ecp256, aes128-sha256-ecp256, "
		     "aes128-sha256-ecp256, aes128-sha256-ecp256, aes128-sha256-ecp256\n"
		     "ike-proposals = aes128-sha256-ecp256, aes128-sha256-ecp256, "
		     "aes128-sha256-ecp256, aes128-sha256-ecp256, aes128-sha256-ecp256\n"
		     "ike-proposals = aes128-sha256-ecp256, aes128-sha256-ecp256\n",
	    "11: 17 ike-proposals; allowed: up to 16");
}

static void icmp_selectors_carry_type_and_code(void **state)
{
	struct config *cfg = good(VPS HOME "local-ts = 10.99.0.1[icmp/8], 10.99.0.1[icmp/3/4]\n"
					   "local-ts = fd99::1[icmpv6/128-129], fd99::1[58/1]\n"
					   "local-ts = 10.99.0.1[tcp/opaque]\n");
	const struct config_ts *ts = cfg->peers[0].child->local_ts;

	(void)state;
	assert_true(ts[0].port_lo == 0x0800 && ts[0].port_hi == 0x08ff);
	assert_true(ts[1].port_lo == 0x0304 && ts[1].port_hi == 0x0304);
	assert_true(ts[2].port_lo == 0x8000 && ts[2].port_hi == 0x81ff);
	assert_true(ts[3].proto == 58 && ts[3].port_lo == 0x0100 && ts[3].port_hi == 0x01ff);
	assert_true(ts[4].port_lo == 65535 && ts[4].port_hi == 0);
	config_free(cfg);
}

static void assigned_stands_for_what_the_payload_gives(void **state)
{
	struct config *cfg = good(VPS HOME "remote-ts = assigned[tcp/25], assigned[icmpv6]\n"
					   "remote-ts = assigned[icmp/8]\n");
	const struct config_child *c = cfg->peers[0].child;

	(void)state;
	assert_int_equal(c->remote_ts_count, 4);
	assert_true(c->remote_ts[0].assigned && c->remote_ts[0].port_lo == 25);
	assert_int_equal(c->remote_ts[0].prefix.addr.family, AF_INET);
	assert_int_equal(c->remote_ts[1].prefix.addr.family, AF_INET6);
	assert_true(c->remote_ts[1].proto == 6 && c->remote_ts[1].port_hi == 25);
	assert_int_equal(c->remote_ts[2].prefix.addr.family, AF_INET6);
	assert_int_equal(c->remote_ts[3].prefix.addr.family, AF_INET);
	config_free(cfg);
	bad(VPS HOME "local-ts = assigned\n",
	    "7: [peer home] has the word assigned on our side, but no address is asked for; "
	    "[peer home] needs request-address = yes");
}

static void children_inherit_from_their_peer(void **state)
{
	struct config *cfg =
	    good(VPS HOME "lifetime = 30m\nlifetime-bytes = 1G\n"
			  "[child smtp]\npeer = home\nlocal-ts = 10.99.0.1[tcp/25]\n"
			  "lifetime-packets = 1M\n"
			  "[child rest]\npeer = home\nlifetime = 10m\nlifetime-bytes = 2G\n");
	const struct config_peer *p = &cfg->peers[0];

	(void)state;
	assert_int_equal(p->child_count, 2);
	assert_string_equal(p->child[0].name, "smtp");
	assert_int_equal(p->child[0].local_ts[0].port_lo, 25);
	assert_int_equal(p->child[0].remote_ts_count, p->child[1].remote_ts_count);
	assert_int_equal(p->child[0].lifetime_s, 1800);
	assert_true(p->child[0].lifetime_bytes == 1ull << 30);
	assert_true(p->child[0].lifetime_pkts == 1 << 20);
	assert_string_equal(p->child[1].name, "rest");
	assert_true(p->child[1].local_ts_count && !p->child[1].local_ts[0].proto);
	assert_int_equal(p->child[1].lifetime_s, 600);
	assert_true(p->child[1].lifetime_bytes == 2ull << 30);
	assert_int_equal(p->child[1].lifetime_pkts, 0);
	config_free(cfg);
	bad(VPS HOME "[child a]\npeer = hme\n", "12: peer = hme: there is no section [peer hme]");
	bad(VPS HOME "[child a]\npeer = home\nlocal-ts = 10.99.0.1[tcp]\n"
		     "remote-ts = 10.99.0.2[udp]\n",
	    "11: [child a] can carry nothing: no selector of local-ts has family and protocol of "
	    "one of remote-ts");
}

static void children_keep_their_numbers_over_a_reload(void **state)
{
	struct config *old = good(VPS HOME "[child a]\npeer = home\n[child b]\npeer = home\n");
	struct config *new = good(VPS HOME "[child c]\npeer = home\n[child b]\npeer = home\n");

	(void)state;
	assert_int_equal(config_adopt_ids(new, old), 0);
	assert_int_equal(new->peers[0].child[0].id, 3);
	assert_int_equal(new->peers[0].child[1].id, 2);
	assert_int_equal(config_peer_diff(&old->peers[0], &new->peers[0]), CONFIG_DIFF_POLICY);
	config_free(old);
	config_free(new);
}

static void syntax_errors_have_exact_messages(void **state)
{
	(void)state;
	bad("", " section [posternd] is missing");
	bad("[posternd]\n",
	    "1: [posternd] lacks key \"identity\"; allowed: a domain name, user@domain "
	    "or an address");
	bad(VPS HOME "netwoks = 10.0.0.0/8\n",
	    "11: unknown key \"netwoks\" in [peer home]; did you mean \"networks\"?");
	bad(VPS "[pear home]\n", "7: unknown section [pear home]; did you mean [peer NAME]?");
	bad(VPS HOME "start = allways\n",
	    "11: start = allways: no such word, did you mean \"always\"?; "
	    "allowed: always, on-demand or no");
	bad(VPS HOME "local-ts = 10.0.0.1[tpc/25]\n",
	    "11: local-ts = 10.0.0.1[tpc/25]: not a selector; written as PREFIX, PREFIX[PROTO], "
	    "PREFIX[PROTO/PORT], PREFIX[PROTO/PORT-PORT], PREFIX[icmp/TYPE] or "
	    "PREFIX[icmp/TYPE/CODE], where PREFIX may be the word assigned; allowed: text");
	bad(VPS HOME "local-ts = 10.0.0.1[icmp/256]\n",
	    "11: local-ts = 10.0.0.1[icmp/256]: not a selector; written as PREFIX, PREFIX[PROTO], "
	    "PREFIX[PROTO/PORT], PREFIX[PROTO/PORT-PORT], PREFIX[icmp/TYPE] or "
	    "PREFIX[icmp/TYPE/CODE], where PREFIX may be the word assigned; allowed: text");
	bad("[posternd]\nidentity = a b\n",
	    "2: identity = a b: neither a name nor an address; allowed: a domain "
	    "name, user@domain or an address");
	bad("[posternd]\nidentity = a.example\nworkers = 17\n",
	    "3: workers = 17: out of range; allowed: 1 to 16");
	bad("[posternd]\nidentity = a.example\ntun = a/b\n",
	    "3: tun = a/b: not the name of a network device; allowed: text");
	bad("[posternd]\nidentity = a.example\nmetrics = 0.0.0.0:9400\n",
	    "3: metrics = 0.0.0.0:9400: neither a loopback address with a port nor an absolute "
	    "path; "
	    "allowed: text");
	bad("[posternd]\nidentity = a.example\nuser = root\n",
	    "3: user = root: root is what is given up here; allowed: text");
	bad(VPS HOME "lifetime = 10s\n",
	    "11: lifetime = 10s: out of range; allowed: a duration (ms, s, m, h, d), 1m to 1d");
}

static void each_side_may_prove_itself_in_its_own_way(void **state)
{
	static const char a[] = "[peer a]\nidentity = a.example\nassign = 10.99.0.2\n";
	static const struct {
		const char *lines;
		enum config_auth local, remote;
	} ways[] = {
		{ "psk = p\n", CONFIG_AUTH_PSK, CONFIG_AUTH_PSK },
		{ "public-key = k\n", CONFIG_AUTH_RAW, CONFIG_AUTH_RAW },
		{ "ca = ca\ncertificate = c\n", CONFIG_AUTH_CERT, CONFIG_AUTH_CERT },
		{ "psk = p\npublic-key = k\nlocal-auth = psk\n", CONFIG_AUTH_PSK, CONFIG_AUTH_RAW },
		{ "psk = p\nca = ca\nlocal-auth = psk\n", CONFIG_AUTH_PSK, CONFIG_AUTH_CERT },
		{ "psk = p\nlocal-auth = key\n", CONFIG_AUTH_RAW, CONFIG_AUTH_PSK },
		{ "psk = p\nlocal-auth = certificate\ncertificate = c\n", CONFIG_AUTH_CERT,
		  CONFIG_AUTH_PSK },
		{ "public-key = k\nlocal-auth = certificate\ncertificate = c\n", CONFIG_AUTH_CERT,
		  CONFIG_AUTH_RAW },
		{ "ca = ca\nlocal-auth = key\n", CONFIG_AUTH_RAW, CONFIG_AUTH_CERT },
	};
	char text[512];

	(void)state;
	for (size_t i = 0; i < sizeof(ways) / sizeof(*ways); i++) {
		struct config *cfg;
		const struct config_peer *p;

		snprintf(text, sizeof(text), VPS "%s%s", a, ways[i].lines);
		cfg = good(text);
		p = config_peer_find(cfg, "a");
		assert_int_equal(p->local_auth, ways[i].local);
		assert_int_equal(p->auth, ways[i].remote);
		assert_int_equal(!p->private_key, ways[i].local == CONFIG_AUTH_PSK);
		config_free(cfg);
	}
	bad(VPS HOME "psk = p\nlocal-auth = key\n",
	    "11: [peer home] has more than one of public-key, psk and ca; allowed: one of them, or "
	    "psk "
	    "beside another with local-auth = psk");
	bad(VPS HOME "local-auth = psk\n", "11: local-auth = psk: [peer home] has no psk");
	bad(VPS HOME "local-auth = certificate\n",
	    "11: [peer home] has local-auth = certificate but no certificate of ours, here or in "
	    "[posternd]");
	bad(VPS HOME "ca = ca\n",
	    "7: [peer home] has both public-key and ca; allowed: one of them\n"
	    "/e/postern.conf:11: [peer home] has ca but no certificate of ours, here "
	    "or in [posternd]");
}

static void semantic_errors_have_exact_messages(void **state)
{
	(void)state;
	bad(VPS "[peer a]\nidentity = a.example\nassign = 10.99.0.2\n",
	    "7: [peer a] cannot be authenticated; it needs public-key, psk, or ca with "
	    "certificate");
	bad(VPS HOME "psk = keys/psk\n", "11: [peer home] has more than one of public-key, psk and "
					 "ca; allowed: one of them, or psk "
					 "beside another with local-auth = psk");
	bad(VPS "[peer a]\nidentity = a.example\npsk = p\nprivate-key = k\nassign = 10.99.0.2\n",
	    "10: private-key is of no use to [peer a], to which we prove ourselves by psk; remove "
	    "it, "
	    "or set local-auth");
	bad("[posternd]\nidentity = v.example\ntunnel-address = 10.99.0.1\n" HOME,
	    "4: [peer home] needs private-key, here or in [posternd]; make one with postern "
	    "keygen");
	bad(VPS "[peer a]\nidentity = a.example\nca = ca.pem\nassign = 10.99.0.2\n",
	    "9: [peer a] has ca but no certificate of ours, here or in [posternd]");
	bad(VPS
	    "[peer a]\nidentity = a.example\npsk = p\nassign = 10.99.0.2\ncertificate = c.pem\n",
	    "11: [peer a] has certificate but neither ca nor local-auth = certificate");
	bad(VPS "[peer a]\nidentity = a.example\npsk = p\nnetworks = 10.99.0.2\nstart = always\n",
	    "11: start = always: [peer a] has no address to call; add address, or start = no");
	bad(VPS "[peer a]\nidentity = a.example\npsk = p\nnetworks = 10.99.0.2\nstart = always\n"
		"address = 192.0.2.1\nfrom = 192.0.2.0/24\n",
	    "13: from is for peers that call us, and we call [peer a]; remove from or start");
	bad(VPS "[peer a]\nidentity = a.example\npsk = p\nnetworks = 10.99.0.2\nstart = always\n"
		"address = 192.0.2.1\nredirect-to = 192.0.2.2\n",
	    "13: redirect-to is for peers that call us, and we call [peer a]; remove redirect-to or "
	    "start");
	bad(VPS "[peer a]\nidentity = a.example\npsk = p\nassign = 10.99.0.2\nstart = always\n"
		"address = 192.0.2.1\n",
	    "10: assign is for peers that call us, and we call [peer a]; what lies there stands in "
	    "networks");
	bad(VPS HOME "request-address = yes\n", "11: request-address = yes: [peer home] calls us; "
						"only who calls can ask for addresses");
	bad(VPS HOME "lifetime = 4h\n",
	    "7: ike-lifetime of [peer home] must be longer than lifetime");
	bad(VPS "[peer a]\nidentity = a.example\npsk = p\n",
	    "7: [peer a] has nothing to send to; it needs networks, assign, pool or remote-ts");
	bad("[posternd]\nidentity = v.example\nprivate-key = k\n" HOME,
	    "4: [peer home] meets no address of ours; [posternd] needs tunnel-address, or this "
	    "section "
	    "local-ts or request-address = yes");
	bad("[posternd]\nidentity = a.example\ntunnel-address = 127.0.0.1\n",
	    "3: tunnel-address = 127.0.0.1: no address for a tunnel; allowed: a private one, such "
	    "as "
	    "10.99.0.1 or fd99::1");
	bad("[posternd]\nidentity = a.example\ntunnel-address = fd99::1\nmtu = 1000\n",
	    "4: mtu = 1000: IPv6 in the tunnel (fd99::1) needs 1280 or more");
	bad("[posternd]\nidentity = a.example\nuser = x\nkeys-user = x\n",
	    "4: keys-user = x is also user; each process needs a user of its own");
}

static void overlaps_are_refused(void **state)
{
	(void)state;
	bad(VPS HOME "[peer b]\nidentity = b.example\npsk = p\nassign = 10.99.0.2\n",
	    "14: assign = 10.99.0.2 overlaps with assign = 10.99.0.2 of peer home in line 10");
	bad(VPS HOME "[peer b]\nidentity = b.example\npsk = p\nnetworks = 10.99.0.0/24\n",
	    "14: networks = 10.99.0.0/24 overlaps with assign = 10.99.0.2 of peer home in line 10");
	bad(VPS "[peer b]\nidentity = b.example\npsk = p\nassign = fd99::1\n",
	    "10: assign = fd99::1 overlaps with tunnel-address = fd99::1 in line 4");
	bad(VPS "[peer b]\nidentity = b.example\npsk = p\nnetworks = 10.99.0.1\n",
	    "10: networks = 10.99.0.1 overlaps with tunnel-address = 10.99.0.1 in line 4");
	bad(VPS HOME "[peer b]\nidentity = Home.example.net\npsk = p\nassign = 10.99.0.3\n",
	    "12: identity = home.example.net is that of peer home too (line 7); each peer has its "
	    "own");
	/* on purpose: all through one peer, the rest to others; our address in their network */
	config_free(
	    good(VPS HOME "[peer b]\nidentity = b.example\npsk = p\nnetworks = 0.0.0.0/0, ::/0\n"));
	config_free(good(VPS "[peer b]\nidentity = b.example\npsk = p\nnetworks = 10.99.0.0/16\n"));
	config_free(good(VPS HOME "networks = 10.99.0.2, 192.168.7.0/24\n")); /* its own, twice */
	bad(VPS "[peer a]\nidentity = a.example\npsk = p\nnetworks = 10.0.0.0/8\n"
		"[peer b]\nidentity = b.example\npsk = p\nnetworks = 10.1.0.0/16, 192.168.0.0/24\n"
		"[peer c]\nidentity = c.example\npsk = p\nnetworks = 192.168.0.0/24\n",
	    "14: networks = 10.1.0.0/16 overlaps with networks = 10.0.0.0/8 of peer a in line 10\n"
	    "/e/postern.conf:18: networks = 192.168.0.0/24 overlaps with networks = 192.168.0.0/24 "
	    "of "
	    "peer b in line 14");
}

/* @count peers with a CHILD SA each, last first; caller frees. */
static char *many_peers(int count)
{
	char *text = malloc((size_t)count * 120 + sizeof(VPS));
	size_t at = (size_t)sprintf(text, "%s", VPS);

	for (int i = count - 1; i >= 0; i--)
		at += (size_t)sprintf(text + at,
				      "[peer p%d]\nidentity = p%d.example\npsk = p\nassign = "
				      "10.100.%d.%d\n[child c%d]\npeer = p%d\n",
				      i, i, i / 250, i % 250, i, i);
	assert_true(at < CONF_SIZE_MAX);
	return text;
}

static double cpu_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Read, checked and matched with what was before, by @count peers: CPU seconds. */
static double reload_time(int count)
{
	char *text = many_peers(count), *more = many_peers(count + 10);
	struct config *old = good(text), *new;
	double began = cpu_s();

	new = good(more);
	assert_int_equal(config_adopt_ids(new, old), 0);
	for (size_t i = 0; i < new->peer_count; i++) {
		const struct config_peer *p = &new->peers[i];
		const struct config_peer *was = config_peer_find(old, p->name);

		assert_int_equal(!was, i < 10);
		assert_true(!was || (was->id == p->id && !config_peer_diff(was, p)));
	}
	began = cpu_s() - began;
	config_free(old);
	config_free(new);
	free(text);
	free(more);
	return began;
}

/* No time is asserted, but that it does not grow with the square of their number. */
static void ten_thousand_peers_are_checked_in_time(void **state)
{
	double few = 0, many = 1;

	(void)state;
	for (int i = 0; i < 3 && many >= 8 * 4 * few; i++) {
		few = reload_time(1000);
		many = reload_time(8000);
		print_message("1000 peers: %.3f s, 8000 peers: %.3f s\n", few, many);
	}
	assert_true(many < 8 * 4 * few);
}

static void a_rate_is_for_both_directions_unless_one_has_its_own(void **state)
{
	static const struct {
		const char *text;
		uint64_t in, out;
	} t[] = {
		{ "", 0, 0 },
		{ "rate-limit = 100M\n", 100000000, 100000000 },
		{ "rate-limit = 1G\nrate-limit-in = 64K\n", 64000, 1000000000 },
		{ "rate-limit-out = 123456\n", 0, 123456 },
	};

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		struct config *cfg;
		char text[2000];

		snprintf(text, sizeof(text), VPS HOME "%s", t[i].text);
		cfg = good(text);
		assert_int_equal(config_peer_find(cfg, "home")->rate_in, t[i].in);
		assert_int_equal(config_peer_find(cfg, "home")->rate_out, t[i].out);
		config_free(cfg);
	}
	bad(VPS HOME "rate-limit = 1K\n", "11: rate-limit = 1K: out of range; allowed: bits a second (K, M, G), 64K to 1000G");
	bad(VPS HOME "rate-limit = fast\n", "11: rate-limit = fast: not a rate; allowed: bits a second (K, M, G), 64K to 1000G");
}

static void reload_keeps_ids_and_finds_differences(void **state)
{
	struct config *old =
	    good(VPS HOME "[peer b]\nidentity = b.example\npsk = p\nassign = 10.99.0.3\n");
	struct config *new =
	    good(VPS "[peer c]\nidentity = c.example\npsk = p\nassign = 10.99.0.4\n"
		     "[peer b]\nidentity = b.example\npsk = p\nassign = 10.99.0.5\n" HOME
		     "retry-max = 60s\n");
	const struct config_peer *b = config_peer_find(old, "b"),
				 *home = config_peer_find(old, "home");
	struct config_peer other, again;
	struct proposals esp, same;

	(void)state;
	proposals_default_esp(&esp, true, true);
	proposals_default_esp(&same, true, true);
	assert_int_equal(config_adopt_ids(new, old), 0);
	assert_int_equal(config_peer_find(new, "home")->id, home->id);
	assert_int_equal(config_peer_find(new, "b")->id, b->id);
	assert_int_equal(config_peer_find(new, "c")->id, 3);
	assert_int_equal(config_peer_diff(home, config_peer_find(new, "home")), CONFIG_DIFF_CALL);
	assert_int_equal(config_peer_diff(b, config_peer_find(new, "b")),
			 CONFIG_DIFF_ROUTES | CONFIG_DIFF_POLICY);
	assert_int_equal(config_peer_diff(b, b), 0);
	other = *b;
	other.redirect_to.name = "two.example";
	assert_int_equal(config_peer_diff(b, &other), CONFIG_DIFF_POLICY);
	other = *b;
	other.esp_proposals = &esp;
	assert_int_equal(config_peer_diff(b, &other), CONFIG_DIFF_POLICY);
	again = other;
	again.esp_proposals = &same;
	assert_int_equal(config_peer_diff(&again, &other), 0);
	assert_true(config_reloadable(old, new));
	config_free(new);
	new =
	    good("[posternd]\ntun = other\nidentity = vps.example.net\nprivate-key = keys/vps.key\n"
		 "tunnel-address = 10.99.0.1\n" HOME);
	assert_false(config_reloadable(old, new));
	assert_string_equal(
	    new->conf->errors,
	    "/e/postern.conf:2: tun = other: was postern0, which a reload cannot change; "
	    "restart posternd");
	config_free(new);
	config_free(old);
}

static void the_manual_names_every_key(void **state)
{
	FILE *f = fopen(MAN_PAGE, "r");
	char *text = calloc(1, 1 << 18), want[80];

	(void)state;
	assert_non_null(f);
	assert_true(fread(text, 1, (1 << 18) - 1, f) > 0);
	fclose(f);
	for (size_t i = 0; i < config_schema.kind_count; i++)
		for (size_t k = 0; k < config_schema.kinds[i].key_count; k++) {
			snprintf(want, sizeof(want), ".It Cm %s",
				 config_schema.kinds[i].keys[k].name);
			if (!strstr(text, want))
				fail_msg("postern.conf.5 lacks \"%s\"", want);
		}
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_examples_are_true),
		cmocka_unit_test(the_example_by_port_is_true),
		cmocka_unit_test(the_example_for_openwrt_is_true),
		cmocka_unit_test(a_server_is_its_peer_but_for_what_it_says),
		cmocka_unit_test(a_server_that_cannot_be_is_refused),
		cmocka_unit_test(the_example_with_a_pool_is_true),
		cmocka_unit_test(a_peer_takes_what_its_pool_has),
		cmocka_unit_test(a_pool_that_cannot_be_is_refused),
		cmocka_unit_test(a_pool_may_hold_what_is_somebodys),
		cmocka_unit_test(another_pool_is_a_difference),
		cmocka_unit_test(namespaces_are_names_or_paths),
		cmocka_unit_test(lines_out_have_an_interface_each),
		cmocka_unit_test(a_mark_is_a_number_and_may_have_a_mask),
		cmocka_unit_test(a_leak_is_guarded_where_there_is_something_to_guard),
		cmocka_unit_test(a_hook_is_roots_and_nobody_elses_to_change),
		cmocka_unit_test(selectors_carry_protocol_and_port),
		cmocka_unit_test(a_peer_has_its_own_proposals_or_those_of_all),
		cmocka_unit_test(icmp_selectors_carry_type_and_code),
		cmocka_unit_test(assigned_stands_for_what_the_payload_gives),
		cmocka_unit_test(children_inherit_from_their_peer),
		cmocka_unit_test(children_keep_their_numbers_over_a_reload),
		cmocka_unit_test(syntax_errors_have_exact_messages),
		cmocka_unit_test(each_side_may_prove_itself_in_its_own_way),
		cmocka_unit_test(semantic_errors_have_exact_messages),
		cmocka_unit_test(overlaps_are_refused),
		cmocka_unit_test(ten_thousand_peers_are_checked_in_time),
		cmocka_unit_test(a_rate_is_for_both_directions_unless_one_has_its_own),
		cmocka_unit_test(reload_keeps_ids_and_finds_differences),
		cmocka_unit_test(the_manual_names_every_key),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
