/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "match.h"

static struct conf *last;

static struct mta_config *parse(const char *text)
{
	conf_free(last);
	last = conf_parse(&config_schema, "/etc/postern/mta.conf", text, strlen(text));
	assert_non_null(last);
	return conf_ok(last) ? config_new(last) : NULL;
}

static int end(void **state)
{
	(void)state;
	conf_free(last);
	last = NULL;
	return 0;
}

/* The whole list of errors, exactly. */
static void refused(const char *text, const char *errors)
{
	struct mta_config *c = parse(text);

	assert_null(c);
	assert_non_null(last->errors);
	assert_string_equal(last->errors, errors);
}

static struct mta_config *example(const char *path)
{
	char text[8192];
	FILE *f = fopen(path, "r");
	size_t n;

	assert_non_null(f);
	n = fread(text, 1, sizeof(text) - 1, f);
	text[n] = 0;
	fclose(f);
	return parse(text);
}

#define EDGE "[mta]\nrole = edge\nhostname = mx.example.net\n"
#define TLS_KEYS "certificate = a.pem\nprivate-key = a.key\n"
#define HOME "[mta]\nrole = home\nhostname = home.example.net\nedge = vps\n"
#define PIN  "0123456789abcdef0123456789abcdef0123456789abcdef0123456789ABCDEF"

static void a_report_of_dead_letters_needs_an_address_and_a_queue(void **state)
{
	struct mta_config *c = parse(EDGE "dead-letter-report = joe@example.com\n");

	(void)state;
	assert_non_null(c);
	assert_string_equal(c->dead_letter_report, "joe@example.com");
	config_free(c);
	c = parse(EDGE);
	assert_null(c->dead_letter_report);
	config_free(c);
	refused(EDGE "dead-letter-report = postmaster\n",
		"/etc/postern/mta.conf:4: dead-letter-report = postmaster: no address; allowed: "
		"NAME@DOMAIN");
	refused(
	    EDGE "dead-letter-report = <joe@example.com>\n",
	    "/etc/postern/mta.conf:4: dead-letter-report = <joe@example.com>: no address; allowed: "
	    "NAME@DOMAIN");
	refused(EDGE "queue = none\ndead-letter-report = joe@example.com\n",
		"/etc/postern/mta.conf:5: dead-letter-report beside queue = none; that keeps no "
		"letters");
}

static void the_edge_example_has_what_an_edge_needs(void **state)
{
	struct mta_config *c = example(CONF_DIR "/mta-edge.conf");
	const struct mta_route *r;

	(void)state;
	assert_non_null(c);
	assert_int_equal(c->role, MTA_EDGE);
	assert_int_equal(c->dns, DNS_RECURSE);
	assert_int_equal(c->listener_count, 2);
	assert_int_equal(c->listeners[0].class, LISTEN_MX);
	assert_true(c->listeners[0].addresses[0].any);
	assert_int_equal(c->listeners[0].addresses[0].ep.port, 25);
	assert_string_equal(c->listeners[0].certificates.v[0],
			    "/etc/postern/tls/mx.example.net.pem");
	assert_int_equal(c->listeners[1].class, LISTEN_TUNNEL);
	assert_true(c->listeners[1].addresses[0].tunnel);
	r = config_route_for_domain(c, "example.org");
	assert_int_equal(r->kind, ROUTE_TUNNEL);
	assert_string_equal(r->peer, "home");
	assert_int_equal(r->ttl_ms / 86400000, 20);
	r = config_route_for_domain(c, "elsewhere.example");
	assert_int_equal(r->kind, ROUTE_MX);
	assert_int_equal(r->bounce, BOUNCE_VERIFIED);
	assert_ptr_equal(config_home_by_peer(c, "home"), config_home_by_domain(c, "example.net"));
	config_free(c);
}

static void the_home_example_has_what_a_home_needs(void **state)
{
	struct mta_config *c = example(CONF_DIR "/mta-home.conf");
	const struct mta_route *r;

	(void)state;
	assert_non_null(c);
	assert_int_equal(c->dns, DNS_SYSTEM);
	assert_int_equal(c->listener_count, 3);
	assert_int_equal(c->listeners[0].class, LISTEN_TUNNEL);
	assert_int_equal(c->listeners[1].class, LISTEN_SUBMISSION);
	assert_true(c->listeners[1].tls_required);
	assert_int_equal(c->listeners[2].addresses[0].ep.port, 465);
	r = config_route_for_domain(c, "elsewhere.example");
	assert_int_equal(r->kind, ROUTE_TUNNEL);
	assert_string_equal(r->peer, "vps");
	assert_int_equal(config_route_for_domain(c, "example.net")->kind, ROUTE_DELIVER);
	assert_true(config_is_local(c, "example.org"));
	assert_string_equal(c->deliver.socket, "/run/postern/deliver.sock");
	config_free(c);
}

static void a_written_route_changes_a_preset_key_by_key(void **state)
{
	struct mta_config *c = parse(EDGE "[home home]\ndomains = example.net\n"
					  "[route home]\nttl = 9d\ntls-pins = " PIN "\n");
	const struct mta_route *r;

	(void)state;
	assert_non_null(c);
	r = config_route_for_domain(c, "example.net");
	assert_int_equal(r->ttl_ms / 86400000, 9);
	assert_string_equal(r->peer, "home");
	assert_int_equal(r->tls, TLS_PIN);
	assert_int_equal(c->route_count, 2);
	config_free(c);
}

static void pins_of_a_home_make_its_route_pinned(void **state)
{
	struct mta_config *c = parse(EDGE "[home a]\ndomains = example.net\ntls-pins = " PIN "\n");

	(void)state;
	assert_non_null(c);
	assert_int_equal(config_route(c, "a")->tls, TLS_PIN);
	config_free(c);
}

static bool learns(const char *text)
{
	struct mta_config *c = parse(text);
	bool yes;

	assert_non_null(c);
	yes = config_route(c, "home")->tls_learn;
	assert_false(config_route(c, "internet")->tls_learn);
	config_free(c);
	return yes;
}

#define ONE_HOME EDGE "[home home]\ndomains = example.net\n"

static void a_tunnel_route_learns_the_hop_key_where_nothing_else_is_written(void **state)
{
	(void)state;
	assert_true(learns(ONE_HOME));
	assert_true(learns(ONE_HOME "[route home]\nttl = 9d\n"));
	assert_false(learns(ONE_HOME "tls-pins = " PIN "\n"));
	assert_false(learns(ONE_HOME "[route home]\ntls-pins = " PIN "\n"));
	assert_false(learns(ONE_HOME "[route home]\ntls = none\n"));
	assert_false(learns(ONE_HOME "[route home]\ntls = may\n"));
	assert_false(learns(ONE_HOME "[route home]\ntls = encrypt\n"));
	assert_false(learns(ONE_HOME "[route home]\naddress = 10.0.0.9\n"));
}

static void a_tunnel_listener_shows_the_hop_key_unless_it_names_a_certificate(void **state)
{
	struct mta_config *c = parse(EDGE "[listener tunnel]\ntls-required = yes\n");

	(void)state;
	assert_non_null(c); /* it needs no certificate for that */
	assert_true(c->listeners[0].hop_key);
	assert_false(c->listeners[1].hop_key); /* mx */
	config_free(c);
	c = parse(EDGE TLS_KEYS);
	assert_non_null(c);
	assert_false(c->listeners[0].hop_key);
	assert_true(c->listeners[1].hop_key);
	assert_int_equal(c->listeners[1].certificates.count, 1);
	config_free(c);
	c = parse(EDGE "[listener tunnel]\n" TLS_KEYS);
	assert_non_null(c);
	assert_false(c->listeners[0].hop_key);
	config_free(c);
}

static void a_written_class_replaces_the_preset_listener(void **state)
{
	struct mta_config *c = parse(EDGE "tunnel = no\n[listener in]\nclass = mx\n"
					  "address = 192.0.2.1:2525, [2001:db8::1]:2525\n");

	(void)state;
	assert_non_null(c);
	assert_int_equal(c->listener_count, 1);
	assert_int_equal(c->listeners[0].address_count, 2);
	assert_int_equal(c->listeners[0].addresses[1].ep.port, 2525);
	assert_int_equal(c->listeners[0].addresses[1].ep.addr.family, AF_INET6);
	config_free(c);
}

static void listeners_are_checked(void **state)
{
	(void)state;
	refused(EDGE "[listener x]\naddress = *:25\n",
		"/etc/postern/mta.conf:4: listener \"x\" without class; allowed: mx, submission, "
		"submissions, tunnel, lan");
	refused(EDGE "[listener mx]\naddress = mx.example.net:25\n",
		"/etc/postern/mta.conf:5: address \"mx.example.net:25\"; allowed: ADDRESS:PORT, "
		"[V6]:PORT, *:PORT or tunnel:PORT");
	refused(
	    EDGE "[listener mx]\naddress = tunnel:25\n",
	    "/etc/postern/mta.conf:5: address \"tunnel:25\" on class mx; allowed on class tunnel "
	    "only");
	refused(EDGE "[listener tunnel]\naddress = 10.0.0.1:25\n",
		"/etc/postern/mta.conf:5: address \"10.0.0.1:25\" on class tunnel; allowed: "
		"tunnel:PORT");
	refused(
	    EDGE "[listener mx]\nnormalize = yes\n",
	    "/etc/postern/mta.conf:5: normalize on class mx; allowed on submission, submissions "
	    "and lan");
	refused(EDGE "[listener submission]\n",
		"/etc/postern/mta.conf:4: listener \"submission\" needs TLS; write certificate and "
		"private-key");
	refused(
	    EDGE "[listener mx]\naddress = *:0\n",
	    "/etc/postern/mta.conf:5: address \"*:0\"; allowed: ADDRESS:PORT, [V6]:PORT, *:PORT or "
	    "tunnel:PORT");
}

static void a_trace_goes_on_over_the_tunnel_and_where_it_is_written(void **state)
{
	static const char text[] = EDGE
	    "certificate = c.pem\nprivate-key = k.pem\n"
	    "[listener wire]\nclass = lan\naddress = 192.0.2.1:25\ntrace-clients = 192.0.2.9\n"
	    "[route far]\nkind = smarthost\naddress = 192.0.2.8\n"
	    "[route ws]\nkind = smarthost\naddress = 192.0.2.9\ntrace = yes\n"
	    "[home home]\ndomains = home.example\n"
	    "[home mute]\ndomains = mute.example\n[route mute]\ntrace = no\n";
	struct mta_config *c = parse(text);

	(void)state;
	assert_non_null(c);
	assert_false(config_route(c, "internet")->trace);
	assert_false(config_route(c, "far")->trace);
	assert_true(config_route(c, "ws")->trace);
	assert_true(config_route(c, "home")->trace);
	assert_false(config_route(c, "mute")->trace);
	config_free(c);
	refused(EDGE "[listener tunnel]\ntrace-clients = 192.0.2.9\n",
		"/etc/postern/mta.conf:4: trace-clients on class tunnel; allowed on class lan (on "
		"class tunnel all peers may ask)");
	refused(EDGE "[listener lan]\ntrace-clients = 192.0.2.9\n",
		"/etc/postern/mta.conf:4: trace-clients without TLS; write certificate and "
		"private-key");
	refused(EDGE "[route internet]\ntrace = yes\n",
		"/etc/postern/mta.conf:5: trace on kind mx; allowed on tunnel and smarthost");
}

static void metrics_are_for_this_machine(void **state)
{
	struct mta_config *c = parse(EDGE "metrics = [::1]:9400\n");

	(void)state;
	assert_non_null(c);
	assert_string_equal(c->metrics, "[::1]:9400");
	config_free(c);
	c = parse(EDGE);
	assert_non_null(c);
	assert_null(c->metrics);
	config_free(c);
	refused(
	    EDGE "metrics = 192.0.2.1:9400\n",
	    "/etc/postern/mta.conf:4: metrics = 192.0.2.1:9400: neither a loopback address with a "
	    "port nor an absolute path; allowed: text");
	refused(
	    EDGE "metrics = 127.0.0.1\n",
	    "/etc/postern/mta.conf:4: metrics = 127.0.0.1: neither a loopback address with a port "
	    "nor an absolute path; allowed: text");
}

static void a_listener_says_what_its_tls_demands(void **state)
{
	struct mta_config *c =
	    parse(EDGE "[listener mx]\ncertificate = a.pem, b.pem\nprivate-key = a.key, b.key\n"
		       "tls-versions = 1.3, 1.2, 1.1\nclient-certificate = verify\n"
		       "client-ca = ca.pem\nclient-pins = " PIN "\n");
	const struct mta_listener *l = c ? c->listeners : NULL;

	(void)state;
	assert_non_null(c);
	assert_int_equal(l->certificates.count, 2);
	assert_string_equal(l->certificates.v[1], "/etc/postern/b.pem");
	assert_string_equal(l->private_keys.v[1], "/etc/postern/b.key");
	assert_int_equal(l->tls_versions.min, 0x0302);
	assert_int_equal(l->tls_versions.max, 0x0304);
	assert_int_equal(l->client_cert, CLIENT_CERT_VERIFY);
	assert_string_equal(l->client_ca, "/etc/postern/ca.pem");
	assert_int_equal(l->client_pins.count, 1);
	assert_true(l->tls_required); /* or letters would come around it */
	config_free(c);
	c = parse(EDGE TLS_KEYS);
	assert_non_null(c);
	assert_int_equal(c->listeners[0].client_cert, CLIENT_CERT_NONE);
	assert_false(c->listeners[0].tls_required);
	assert_int_equal(c->listeners[0].tls_versions.min, 0);
	config_free(c);
}

static bool door(const struct mta_door *d, const char *client)
{
	const struct prefix *by;
	struct addr a;

	assert_int_equal(addr_parse(client, &a), 0);
	return match_door(d, &a, &by);
}

static void a_rule_may_relay_for_pinned_keys_but_not_for_all_of_an_authority(void **state)
{
#define PARTNER                                                                                    \
	EDGE "[listener partner]\nclass = mx\n" TLS_KEYS "client-certificate = verify\n"           \
	     "client-pins = " PIN "\n"
#define RELAYS "[rule partner]\naction = accept\nlisteners = partner\n"
	struct mta_config *c = parse(PARTNER RELAYS);

	(void)state;
	assert_non_null(c);
	config_free(c);
	assert_null(parse(PARTNER "client-ca = ca.pem\n" RELAYS));
	assert_non_null(strstr(last->errors, "an open relay"));
}

static void a_door_lets_in_who_is_allowed_and_not_denied(void **state)
{
	struct mta_config *c = parse(EDGE "deny = 192.0.2.0/24, 2001:db8:bad::/48\n[listener mx]\n"
					  "allow = 198.51.100.0/24\ndeny = 198.51.100.7\n");

	(void)state;
	assert_non_null(c);
	assert_false(door(&c->door, "192.0.2.9"));
	assert_false(door(&c->door, "2001:db8:bad::1"));
	assert_true(door(&c->door, "2001:db8::1"));
	assert_true(door(&c->listeners[0].door, "198.51.100.8"));
	assert_false(door(&c->listeners[0].door, "198.51.100.7"));
	assert_false(door(&c->listeners[0].door, "203.0.113.1"));
	assert_false(door(&c->listeners[0].door, "2001:db8::1"));
	config_free(c);
	c = parse(EDGE "[listener mx]\nallow-table = nobody\n");
	assert_non_null(c);
	assert_false(door(&c->listeners[0].door, "192.0.2.9")); /* an empty table is nobody */
	config_free(c);
}

static void a_route_may_have_a_certificate_of_its_own(void **state)
{
	struct mta_config *c =
	    parse(EDGE "[route partner]\nkind = smarthost\naddress = h.example\n"
		       "domains = p.example\ncertificate = us.pem\nprivate-key = us.key\n");
	const struct mta_route *r;

	(void)state;
	assert_non_null(c);
	r = config_route_for_domain(c, "p.example");
	assert_string_equal(r->certificate, "/etc/postern/us.pem");
	assert_string_equal(r->private_key, "/etc/postern/us.key");
	assert_null(config_route_for_domain(c, "q.example")->certificate);
	config_free(c);
	refused(
	    EDGE "[route internet]\ncertificate = us.pem\n",
	    "/etc/postern/mta.conf:5: certificate and private-key stand together or not at all");
	refused(EDGE "[route internet]\ntls = none\ncertificate = us.pem\nprivate-key = us.key\n",
		"/etc/postern/mta.conf:6: certificate with tls = none; allowed with may, encrypt, "
		"verify and pin");
}

static void demands_that_demand_nothing_are_refused(void **state)
{
	(void)state;
	refused(EDGE "[listener mx]\ncertificate = a.pem, b.pem\nprivate-key = a.key\n",
		"/etc/postern/mta.conf:4: certificate and private-key stand together or not at "
		"all, and as many of each");
	refused(EDGE "[listener mx]\n" TLS_KEYS "client-certificate = verify\n",
		"/etc/postern/mta.conf:7: client-certificate = verify without anything to verify "
		"with; write client-ca or client-pins");
	refused(EDGE "[listener mx]\n" TLS_KEYS "client-ca = ca.pem\n",
		"/etc/postern/mta.conf:7: client-ca without client-certificate; write request or "
		"verify");
	refused(EDGE "[listener mx]\n" TLS_KEYS "client-certificate = require\n"
		     "client-pins = " PIN "\n",
		"/etc/postern/mta.conf:7: client-certificate = require takes any; write verify");
	refused(EDGE "[listener mx]\n" TLS_KEYS "client-certificate = require\n"
		     "tls-required = no\n",
		"/etc/postern/mta.conf:8: tls-required = no beside client-certificate, which "
		"needs TLS");
	refused(EDGE "[listener mx]\nclient-certificate = require\n",
		"/etc/postern/mta.conf:4: listener \"mx\" needs TLS; write certificate and "
		"private-key");
	refused(EDGE "[listener mx]\n" TLS_KEYS "client-certificate = verify\n"
		     "client-pins = 00\n",
		"/etc/postern/mta.conf:8: client-pins = 00: too short; allowed: text");
	refused(EDGE "[listener mx]\n" TLS_KEYS "tls-versions = 1.1, 1.3\n",
		"/etc/postern/mta.conf:7: tls-versions with a gap; write 1.1, 1.2, 1.3 or leave "
		"1.1 out");
}

#define SUBMISSION EDGE "users = users\n[listener submission]\n" TLS_KEYS "client-certificate = "
#define OTHER	   "fe23456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void a_certificate_may_be_a_login(void **state)
{
	struct mta_config *c =
	    parse(SUBMISSION "request\nclient-ca = ca.pem\n"
			     "client-logins = Home:home.example.net, joe@a.example:" PIN
			     ", home:" OTHER "\n");
	const struct mta_listener *l;
	uint8_t pin[32];

	(void)state;
	assert_non_null(c);
	l = c->listeners;
	assert_int_equal(l->client_login_count, 3);
	assert_string_equal(l->client_logins[0].login, "home");
	assert_string_equal(l->client_logins[0].name, "home.example.net");
	assert_string_equal(l->client_logins[1].login, "joe@a.example");
	assert_null(l->client_logins[1].name);
	assert_int_equal(pin_parse(PIN, pin), 0);
	assert_memory_equal(l->client_logins[1].pin, pin, sizeof(pin));
	assert_string_equal(l->client_logins[2].login, "home");
	assert_int_equal(l->client_pins.count, 0);
	config_free(c);
	/* Where only known ones come in, these are known. */
	c = parse(SUBMISSION "verify\nclient-pins = " PIN "\nclient-logins = a:" OTHER ", b:" PIN
			     "\n");
	assert_non_null(c);
	assert_int_equal(c->listeners[0].client_pins.count, 2);
	assert_string_equal(c->listeners[0].client_pins.v[1], OTHER);
	config_free(c);
	c = parse(SUBMISSION "verify\nclient-logins = a:" OTHER "\n");
	assert_non_null(c);
	assert_int_equal(c->listeners[0].client_pins.count, 1);
	config_free(c);
	/* The key is the proof by itself. */
	c = parse(SUBMISSION "require\nclient-logins = a:" OTHER "\n");
	assert_non_null(c);
	config_free(c);
}

#define BACKUPS                                                                                    \
	EDGE "[route a]\nkind = smarthost\naddress = a.example\nbackup = b\n"                      \
	     "[route b]\nkind = smarthost\naddress = b.example\n"
#define TUNNELLED EDGE "[home h]\ndomains = h.example\n[route h]\n"

static void backups_lead_to_an_end_and_out_of_the_tunnel_by_word_only(void **state)
{
	struct mta_config *c = parse(BACKUPS "backup = internet\nbackup-after = 10m\n");

	(void)state;
	assert_non_null(c);
	assert_string_equal(config_route(c, "a")->backup, "b");
	assert_int_equal(config_route(c, "a")->backup_after_ms, 3600000);
	assert_int_equal(config_route(c, "b")->backup_after_ms, 600000);
	config_free(c);
	refused(BACKUPS "backup = a\n",
		"/etc/postern/mta.conf:7: backup = b leads back to route \"a\"\n"
		"/etc/postern/mta.conf:11: backup = a leads back to route \"b\"");
	refused(BACKUPS "backup = b\n",
		"/etc/postern/mta.conf:11: backup = b leads back to route \"b\"");
	refused(BACKUPS "backup = c\n",
		"/etc/postern/mta.conf:11: backup = c; allowed: the name of a [route]");
	refused(BACKUPS "backup-after = 1h\n",
		"/etc/postern/mta.conf:11: without backup; write backup = [route NAME]");
	refused(
	    TUNNELLED "backup = internet\n",
	    "/etc/postern/mta.conf:7: backup = internet leads out of the tunnel, where others may "
	    "read the letters; if that shall be, write backup-outside-tunnel = yes");
	c = parse(TUNNELLED "backup = internet\nbackup-outside-tunnel = yes\n");
	assert_non_null(c);
	config_free(c);
	c = parse(TUNNELLED "backup = i\n[home i]\ndomains = i.example\n");
	assert_non_null(c);
	config_free(c);
	refused(EDGE "[deliver]\ndomains = d.example\n[route internet]\nbackup = deliver\n",
		"/etc/postern/mta.conf:7: backup = deliver; a route of kind deliver neither has a "
		"backup nor is one");
}

static void a_certificate_that_can_log_in_nowhere_is_refused(void **state)
{
#define AT9 "/etc/postern/mta.conf:9: "
	(void)state;
	refused(EDGE "users = users\n[listener mx]\n" TLS_KEYS "client-certificate = request\n"
		     "client-logins = a:" PIN "\n",
		AT9 "client-logins on class mx; allowed on submission, submissions and lan");
	refused(EDGE "users = users\n[listener submission]\n" TLS_KEYS "client-logins = a:" PIN
		     "\n",
		"/etc/postern/mta.conf:8: client-logins without client-certificate; write request "
		"or verify");
	refused(EDGE "[listener submission]\n" TLS_KEYS "client-certificate = request\n"
		     "client-logins = a:" PIN "\n",
		"/etc/postern/mta.conf:8: client-logins without users in [mta], where each login "
		"has a line");
	refused(SUBMISSION "request\nclient-logins = a:home.example\n",
		AT9 "client-logins \"a:home.example\" without client-ca; only an authority gives "
		    "names");
	refused(SUBMISSION
		"request\nclient-ca = ca.pem\nclient-logins = a:h.example, b:H.example\n",
		"/etc/postern/mta.conf:10: client-logins \"b:H.example\" is of a already; allowed: "
		"one login for a certificate");
	for (size_t i = 0; i < 3; i++) {
		static const char *const bad[] = { "joe:", ":h.example", "joe h.example" };
		char text[400], want[200];

		snprintf(text, sizeof(text), SUBMISSION "request\nclient-logins = %s\n", bad[i]);
		snprintf(want, sizeof(want),
			 AT9 "client-logins \"%s\"; allowed: LOGIN:PIN or LOGIN:NAME", bad[i]);
		refused(text, want);
	}
	for (size_t i = 0; i < 4; i++) {
		static const char *const bad[] = { ".h.example", "0123", "192.0.2.1",
						   "h.example:25" };
		char text[400], want[300];

		snprintf(text, sizeof(text),
			 SUBMISSION "request\nclient-ca = ca.pem\nclient-logins = joe:%s\n",
			 bad[i]);
		snprintf(
		    want, sizeof(want),
		    "/etc/postern/mta.conf:10: client-logins \"joe:%s\"; allowed: LOGIN:PIN, 64 "
		    "hex digits, or LOGIN:NAME, a domain",
		    bad[i]);
		refused(text, want);
	}
}

static void a_route_logs_in_by_its_certificate(void **state)
{
#define ROUTE_OUT  EDGE "[route out]\nkind = smarthost\naddress = h.example\n"
#define ROUTE_KEYS "certificate = us.pem\nprivate-key = us.key\n"
	struct mta_config *c = parse(ROUTE_OUT ROUTE_KEYS "auth = external\n");

	(void)state;
	assert_non_null(c);
	assert_true(config_route(c, "out")->auth_external);
	config_free(c);
	c = parse(ROUTE_OUT ROUTE_KEYS);
	assert_non_null(c);
	assert_false(config_route(c, "out")->auth_external);
	config_free(c);
	c = parse(ROUTE_OUT "auth = password\nusername = u\npassword-file = p\n");
	assert_non_null(c);
	assert_false(config_route(c, "out")->auth_external);
	config_free(c);
	refused(ROUTE_OUT "auth = external\n",
		"/etc/postern/mta.conf:7: auth = external without certificate; write certificate "
		"and private-key");
	refused(ROUTE_OUT "auth = password\n",
		"/etc/postern/mta.conf:7: auth = password without username; write username and "
		"password-file");
	refused(ROUTE_OUT ROUTE_KEYS "auth = external\nusername = u\npassword-file = p\n",
		AT9 "auth = external beside username; write one of them");
	refused(ROUTE_OUT ROUTE_KEYS "auth = external\ntls = may\n",
		AT9 "auth = external with tls = may; a certificate goes over TLS only: encrypt, "
		    "verify or pin");
	refused(EDGE "[route internet]\ntls = encrypt\n" ROUTE_KEYS "auth = external\n",
		"/etc/postern/mta.conf:8: auth = external on kind mx; allowed on smarthost");
}

static void a_domain_has_one_owner(void **state)
{
	(void)state;
	refused(
	    EDGE "[home a]\ndomains = example.net\n[home b]\ndomains = Example.NET\n",
	    "/etc/postern/mta.conf:7: domain example.net belongs to [home a] already; allowed: one "
	    "owner");
	refused(
	    EDGE "[home a]\ndomains = example.net\n[deliver]\ndomains = example.net\n",
	    "/etc/postern/mta.conf:7: domain example.net belongs to [home a] already; allowed: one "
	    "owner");
	refused(
	    EDGE "[home a]\ndomains = example.net\n[route x]\nkind = mx\ndomains = example.net\n",
	    "/etc/postern/mta.conf:8: domain example.net goes by route \"a\" already; allowed: one "
	    "route");
}

static void a_home_never_sends_directly(void **state)
{
	(void)state;
	refused(
	    HOME "[route out]\nkind = mx\n",
	    "/etc/postern/mta.conf:6: route \"out\" of kind mx; role home and workstation never "
	    "send directly: tunnel, smarthost, deliver or lmtp");
	refused("[mta]\nrole = home\nhostname = h.example\n",
		"/etc/postern/mta.conf:1: no way out; write edge = PEER, or a [route] with domains "
		"= *");
}

static void routes_are_checked(void **state)
{
	(void)state;
	refused(EDGE "[route s]\nkind = smarthost\n",
		"/etc/postern/mta.conf:4: route \"s\" without address; write address = ...");
	refused(EDGE "[route t]\nkind = tunnel\n",
		"/etc/postern/mta.conf:4: route \"t\" without peer; write peer = ...");
	refused(
	    EDGE "[route x]\nttl = 5d\n",
	    "/etc/postern/mta.conf:4: route \"x\" without kind; allowed: tunnel, mx, smarthost, "
	    "deliver, lmtp");
	refused(EDGE "[route s]\nkind = smarthost\naddress = s.example\ntls = may\nusername = u\n"
		     "password-file = p\n",
		"/etc/postern/mta.conf:8: username with tls = may; a password goes over TLS only: "
		"encrypt, verify or pin");
	refused(EDGE "[route internet]\ntls = pin\n",
		"/etc/postern/mta.conf:5: tls = pin without tls-pins; write tls-pins = ...");
}

#define AT5 "/etc/postern/mta.conf:5: "
#define AT6 "/etc/postern/mta.conf:6: "
#define AT7 "/etc/postern/mta.conf:7: "

static void sources_are_a_pool_with_a_name_for_each(void **state)
{
	struct mta_config *c =
	    parse(EDGE "[route internet]\n"
		       "source = 192.0.2.1, 2001:db8::1\nsource = 192.0.2.2\n"
		       "helo = Mx1.example.net, mx6.example.net, mx2.example.net\n");
	const struct mta_route *r;

	(void)state;
	assert_non_null(c);
	r = config_route(c, "internet");
	assert_int_equal(r->source_count, 3);
	assert_int_equal(r->sources[1].addr.family, AF_INET6);
	assert_string_equal(r->sources[0].helo, "mx1.example.net");
	assert_string_equal(r->sources[2].helo, "mx2.example.net");
	assert_null(r->helo);
	assert_int_equal(route_families(r), ROUTE_FAMILY4 | ROUTE_FAMILY6);
	config_free(c);
	c = parse(EDGE "[route internet]\nsource = 192.0.2.1, 192.0.2.2\nhelo = out.example.net\n");
	assert_non_null(c);
	r = config_route(c, "internet");
	assert_string_equal(r->helo, "out.example.net");
	assert_null(r->sources[1].helo);
	assert_int_equal(route_families(r), ROUTE_FAMILY4);
	config_free(c);
	c = parse(EDGE "[route internet]\nfamily = balance\n");
	assert_non_null(c);
	assert_int_equal(config_route(c, "internet")->family, FAMILY_BALANCE);
	config_free(c);
}

static void sources_that_cannot_be_are_refused(void **state)
{
	(void)state;
	refused(
	    EDGE "[route internet]\nsource = 192.0.2.1, 192.0.2.2, 192.0.2.3\nhelo = a.example, "
		 "b.example\n",
	    AT6
	    "helo has 2 names and source 3 addresses; allowed: one name for all, or one for each "
	    "source in their order");
	refused(EDGE "[route internet]\nsource = 192.0.2.1, 192.0.2.1\n",
		AT5 "source 192.0.2.1 stands twice");
	refused(EDGE "[route internet]\nsource = ::\n",
		AT5 "source ::; allowed: addresses of this machine that the world can answer to");
	refused(
	    EDGE "[route internet]\nsource = 192.0.2.1\nfamily = v6-only\n", AT5
	    "source 192.0.2.1 with family = v6-only, which never uses it; leave one of them out");
	refused(EDGE "[route t]\nkind = tunnel\npeer = p\nsource = 10.0.0.1\n",
		AT7 "source on kind tunnel; the tunnel address is always used");
	refused(EDGE "[route internet]\nsorce = 192.0.2.1\n",
		AT5 "unknown key \"sorce\" in [route internet]; did you mean \"source\"?");
	refused(EDGE "[route internet]\nfamily = v6only\n",
		AT5 "family = v6only: no such word, did you mean \"v6-only\"?; allowed: v6-first, "
		    "v4-first, "
		    "v6-only, v4-only or balance");
}

static void next_hops_are_hosts_with_or_without_a_port(void **state)
{
	static const char *const bad[] = { "smtp.example.com:",
					   "smtp.example.com:99999",
					   "1.2.3",
					   "-x.example",
					   "a b",
					   "/run/lmtp",
					   ":25",
					   "[2001:db8::1",
					   "smtp.example.com:25:26" };
	char name[MTA_DOMAIN_MAX], text[256];
	struct mta_config *c;
	struct endpoint e;

	(void)state;
	assert_int_equal(route_address_parse("smtp.example.com:2525", 587, &e, name), 0);
	assert_string_equal(name, "smtp.example.com");
	assert_int_equal(e.port, 2525);
	assert_int_equal(route_address_parse("smtp.example.com", 587, &e, name), 0);
	assert_int_equal(e.port, 587);
	assert_int_equal(route_address_parse("[2001:db8::1]:26", 587, &e, name), 0);
	assert_string_equal(name, "");
	assert_int_equal(e.port, 26);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(text, sizeof(text), EDGE "[route s]\nkind = smarthost\naddress = %s\n",
			 bad[i]);
		c = parse(text);
		if (c)
			fail_msg("taken: %s", bad[i]);
		snprintf(text, sizeof(text),
			 AT6 "address \"%s\"; allowed: a host or an IP address, with :PORT or "
			     "without it",
			 bad[i]);
		assert_string_equal(last->errors, text);
	}
	refused(EDGE "[route s]\nkind = smarthost\naddress = 192.0.2.1\nfamily = v6-only\n",
		AT6 "address 192.0.2.1 is of a family that the route does not use; see its family "
		    "and source");
	refused(EDGE "[route internet]\naddress = 192.0.2.1\n",
		AT5 "address on kind mx; allowed with smarthost, lmtp and tunnel");
}

static void versions_of_tls_are_a_range_and_need_tls(void **state)
{
	static const struct {
		const char *line;
		uint16_t min, max;
	} rows[] = {
		{ "1.2", 0x0303, 0x0303 },
		{ "1.3, 1.2", 0x0303, 0x0304 },
		{ "1.1, 1.2", 0x0302, 0x0303 },
		{ "1.1, 1.2, 1.3", 0x0302, 0x0304 },
	};
	char text[300];

	(void)state;
	for (size_t i = 0; i < CONF_COUNT(rows); i++) {
		struct mta_config *c;

		snprintf(text, sizeof(text),
			 EDGE "[route internet]\ntls = encrypt\ntls-versions = %s\n", rows[i].line);
		c = parse(text);
		assert_non_null(c);
		assert_int_equal(config_route(c, "internet")->tls_versions.min, rows[i].min);
		assert_int_equal(config_route(c, "internet")->tls_versions.max, rows[i].max);
		config_free(c);
	}
	refused(EDGE "[route internet]\ntls = encrypt\ntls-versions = 1.1, 1.3\n",
		"/etc/postern/mta.conf:6: tls-versions with a gap; write 1.1, 1.2, 1.3 or leave "
		"1.1 out");
	refused(EDGE "[route internet]\ntls-versions = 1.3\n",
		"/etc/postern/mta.conf:5: tls-versions with tls = may; allowed with encrypt, "
		"verify and "
		"pin: else mail would go in clear where the version is wrong");
	assert_null(parse(EDGE "[route internet]\ntls = encrypt\ntls-versions = 1.0\n"));
}

static void ciphers_and_authorities_of_a_route_need_tls(void **state)
{
	struct mta_config *c =
	    parse(EDGE "[route s]\nkind = smarthost\naddress = 192.0.2.1\nca-file = ca.pem\n"
		       "tls-name = x.example\n"
		       "tls-ciphers = ECDHE+AESGCM, !AES256, TLS_AES_128_GCM_SHA256\n"
		       "[listener mx]\ntls-ciphers = ECDHE+CHACHA20\n");

	(void)state;
	if (!c)
		fail_msg("%s", last->errors);
	assert_int_equal(config_route(c, "s")->tls_ciphers.count, 3);
	assert_string_equal(config_route(c, "s")->tls_ciphers.v[1], "!AES256");
	assert_string_equal(config_route(c, "s")->ca_file, "/etc/postern/ca.pem");
	for (size_t i = 0; i < c->listener_count; i++)
		assert_int_equal(c->listeners[i].tls_ciphers.count,
				 c->listeners[i].class == LISTEN_MX);
	config_free(c);
	refused(EDGE "[route internet]\ntls-ciphers = ECDHE+AESGCM\n",
		AT5 "tls-ciphers with tls = may; allowed with encrypt, verify and pin: else mail "
		    "would go in clear where there is none in common");
	refused(EDGE "[route internet]\ntls = encrypt\ntls-ciphers = ALL:@SECLEVEL=0\n", AT6
		"tls-ciphers \"ALL:@SECLEVEL=0\"; allowed: names of OpenSSL with commas between "
		"them, ciphers(1)");
	refused(EDGE "[route internet]\ntls = encrypt\nca-file = ca.pem\n",
		AT6 "ca-file without tls = verify: nothing would be verified by it");
}

static void a_rule_that_opens_a_relay_is_refused(void **state)
{
	struct mta_config *c;

	(void)state;
	refused(
	    EDGE "[rule all]\naction = accept\nlisteners = mx\n",
	    "/etc/postern/mta.conf:4: rule \"all\" accepts from anyone to anyone (an open relay); "
	    "write at least one of clients of your own, peers, authenticated = yes, recipients");
	refused(EDGE "[rule all]\naction = accept\nclients = 192.0.2.0/24\nroute = nowhere\n",
		"/etc/postern/mta.conf:7: route \"nowhere\" does not exist; allowed: the name of a "
		"[route]");
	c = parse(EDGE "[rule b]\naction = reject\nsenders = @spam.example\n"
		       "[rule a]\naction = accept\nclients = 192.0.2.0/24\nroute = internet\n");
	assert_non_null(c);
	assert_int_equal(c->rule_count, 2);
	assert_string_equal(c->rules[0].name, "b");
	assert_int_equal(c->rules[0].authenticated, -1);
	config_free(c);
}

static void maildir_stays_below_the_home(void **state)
{
	static const char *const bad[] = { "/var/mail", "..", "../x", "a/../../x", "a/.." };
	char text[512];

	(void)state;
	for (size_t i = 0; i < CONF_COUNT(bad); i++) {
		snprintf(text, sizeof(text), HOME "[deliver]\ndomains = e.example\nmaildir = %s\n",
			 bad[i]);
		assert_null(parse(text));
	}
	snprintf(text, sizeof(text),
		 HOME "[deliver]\ndomains = e.example\nmaildir = mail/in..box\n");
	config_free(parse(text));
	assert_true(conf_ok(last));
}

static void deliver_takes_virtual_domains_commands_and_quotas(void **state)
{
	struct mta_config *c =
	    parse(HOME "[deliver]\ndomains = e.example\nvirtual-domains = v.example, e.example\n"
		       "pipe = /bin/x %s '%r'\nquota = 2M\nquota-letters = 7\n"
		       "over-quota = refuse\n");

	(void)state;
	assert_non_null(c);
	assert_int_equal(c->deliver.domains.count, 2);
	assert_true(config_is_local(c, "v.example"));
	assert_true(config_is_virtual(c, "e.example"));
	assert_false(config_is_virtual(c, "x.example"));
	assert_string_equal(c->deliver.pipe, "/bin/x %s '%r'");
	assert_int_equal(c->deliver.quota_bytes, 2 << 20);
	assert_int_equal(c->deliver.quota_letters, 7);
	assert_true(c->deliver.refuse_full);
	config_free(c);
	assert_null(parse(HOME "[deliver]\ndomains = e.example\npipe = x %s\n"));
	assert_null(parse(HOME "[deliver]\ndomains = e.example\npipe = /x %y\n"));
	assert_null(parse(EDGE "[home a]\ndomains = v.example\n[deliver]\ndomains = e.example\n"
			       "virtual-domains = v.example\n"));
}

static void senders_are_made_of_a_domain_of_ours(void **state)
{
	struct mta_config *c = parse(
	    EDGE "[home a]\ndomains = a.example\n[srs]\ndomain = A.example\nsecret-file = s\n");

	(void)state;
	assert_non_null(c);
	assert_string_equal(c->srs.domain, "a.example");
	assert_int_equal(c->srs.max_age_days, 21);
	assert_true(config_is_ours(c, "A.EXAMPLE"));
	assert_false(config_is_ours(c, "b.example"));
	config_free(c);
	assert_null(parse(EDGE "[srs]\ndomain = a.example\nsecret-file = s\n"));
	assert_null(parse(HOME "[deliver]\ndomains = a.example\n[srs]\ndomain = a.example\n"));
}

static void pins_are_hex(void **state)
{
	uint8_t pin[32];

	(void)state;
	assert_int_equal(pin_parse(PIN, pin), 0);
	assert_int_equal(pin[31], 0xef);
	assert_int_equal(pin_parse(PIN "0", pin), -22);
	assert_int_equal(pin_parse("01:23", pin), -22);
	assert_int_equal(pin_parse("", pin), -22);
}

static void the_manual_names_every_key(void **state)
{
	static char text[65536];
	FILE *f = fopen(CONF_DIR "/../mta/mta.conf.5", "r");
	char line[128];

	(void)state;
	assert_non_null(f);
	text[fread(text, 1, sizeof(text) - 1, f)] = 0;
	fclose(f);
	for (size_t i = 0; i < config_schema.kind_count; i++) {
		const struct conf_kind *k = &config_schema.kinds[i];

		snprintf(line, sizeof(line), ".Sh SECTION [%s", k->name);
		assert_non_null(strstr(text, line));
		for (size_t n = 0; n < k->key_count; n++) {
			snprintf(line, sizeof(line), "\n.It Cm %s No = ", k->keys[n].name);
			if (!strstr(text, line))
				fail_msg("[%s] %s is not in mta.conf.5", k->name, k->keys[n].name);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_report_of_dead_letters_needs_an_address_and_a_queue),
		cmocka_unit_test(the_edge_example_has_what_an_edge_needs),
		cmocka_unit_test(the_home_example_has_what_a_home_needs),
		cmocka_unit_test(a_written_route_changes_a_preset_key_by_key),
		cmocka_unit_test(pins_of_a_home_make_its_route_pinned),
		cmocka_unit_test(a_tunnel_route_learns_the_hop_key_where_nothing_else_is_written),
		cmocka_unit_test(a_tunnel_listener_shows_the_hop_key_unless_it_names_a_certificate),
		cmocka_unit_test(a_written_class_replaces_the_preset_listener),
		cmocka_unit_test(listeners_are_checked),
		cmocka_unit_test(a_trace_goes_on_over_the_tunnel_and_where_it_is_written),
		cmocka_unit_test(metrics_are_for_this_machine),
		cmocka_unit_test(a_listener_says_what_its_tls_demands),
		cmocka_unit_test(a_rule_may_relay_for_pinned_keys_but_not_for_all_of_an_authority),
		cmocka_unit_test(a_certificate_may_be_a_login),
		cmocka_unit_test(backups_lead_to_an_end_and_out_of_the_tunnel_by_word_only),
		cmocka_unit_test(a_certificate_that_can_log_in_nowhere_is_refused),
		cmocka_unit_test(a_route_logs_in_by_its_certificate),
		cmocka_unit_test(a_door_lets_in_who_is_allowed_and_not_denied),
		cmocka_unit_test(a_route_may_have_a_certificate_of_its_own),
		cmocka_unit_test(demands_that_demand_nothing_are_refused),
		cmocka_unit_test(a_domain_has_one_owner),
		cmocka_unit_test(a_home_never_sends_directly),
		cmocka_unit_test(routes_are_checked),
		cmocka_unit_test(sources_are_a_pool_with_a_name_for_each),
		cmocka_unit_test(sources_that_cannot_be_are_refused),
		cmocka_unit_test(next_hops_are_hosts_with_or_without_a_port),
		cmocka_unit_test(versions_of_tls_are_a_range_and_need_tls),
		cmocka_unit_test(ciphers_and_authorities_of_a_route_need_tls),
		cmocka_unit_test(a_rule_that_opens_a_relay_is_refused),
		cmocka_unit_test(maildir_stays_below_the_home),
		cmocka_unit_test(deliver_takes_virtual_domains_commands_and_quotas),
		cmocka_unit_test(senders_are_made_of_a_domain_of_ours),
		cmocka_unit_test(pins_are_hex),
		cmocka_unit_test(the_manual_names_every_key),
	};

	return cmocka_run_group_tests(tests, NULL, end);
}
