/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"

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
#define HOME "[mta]\nrole = home\nhostname = home.example.net\nedge = vps\n"
#define PIN  "0123456789abcdef0123456789abcdef0123456789abcdef0123456789ABCDEF"

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
	assert_string_equal(c->listeners[0].certificate, "/etc/postern/tls/mx.example.net.pem");
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
	refused(EDGE "[listener mx]\naddress = tunnel:25\n",
		"/etc/postern/mta.conf:5: address \"tunnel:25\" on class mx; allowed on class tunnel "
		"only");
	refused(EDGE "[listener tunnel]\naddress = 10.0.0.1:25\n",
		"/etc/postern/mta.conf:5: address \"10.0.0.1:25\" on class tunnel; allowed: "
		"tunnel:PORT");
	refused(EDGE "[listener mx]\nnormalize = yes\n",
		"/etc/postern/mta.conf:5: normalize on class mx; allowed on submission, submissions "
		"and lan");
	refused(EDGE "[listener submission]\n",
		"/etc/postern/mta.conf:4: listener \"submission\" needs TLS; write certificate and "
		"private-key");
	refused(EDGE "[listener mx]\naddress = *:0\n",
		"/etc/postern/mta.conf:5: address \"*:0\"; allowed: ADDRESS:PORT, [V6]:PORT, *:PORT or "
		"tunnel:PORT");
}

static void a_domain_has_one_owner(void **state)
{
	(void)state;
	refused(EDGE "[home a]\ndomains = example.net\n[home b]\ndomains = Example.NET\n",
		"/etc/postern/mta.conf:7: domain example.net belongs to [home a] already; allowed: one "
		"owner");
	refused(EDGE "[home a]\ndomains = example.net\n[deliver]\ndomains = example.net\n",
		"/etc/postern/mta.conf:7: domain example.net belongs to [home a] already; allowed: one "
		"owner");
	refused(EDGE "[home a]\ndomains = example.net\n[route x]\nkind = mx\ndomains = example.net\n",
		"/etc/postern/mta.conf:8: domain example.net goes by route \"a\" already; allowed: one "
		"route");
}

static void a_home_never_sends_directly(void **state)
{
	(void)state;
	refused(HOME "[route out]\nkind = mx\n",
		"/etc/postern/mta.conf:6: route \"out\" of kind mx; role home and workstation never "
		"send directly: tunnel, smarthost, deliver or lmtp");
	refused("[mta]\nrole = home\nhostname = h.example\n",
		"/etc/postern/mta.conf:1: no way out; write edge = PEER, or a [route] with domains = *");
}

static void routes_are_checked(void **state)
{
	(void)state;
	refused(EDGE "[route s]\nkind = smarthost\n",
		"/etc/postern/mta.conf:4: route \"s\" without address; write address = ...");
	refused(EDGE "[route t]\nkind = tunnel\n",
		"/etc/postern/mta.conf:4: route \"t\" without peer; write peer = ...");
	refused(EDGE "[route x]\nttl = 5d\n",
		"/etc/postern/mta.conf:4: route \"x\" without kind; allowed: tunnel, mx, smarthost, "
		"deliver, lmtp");
	refused(EDGE "[route s]\nkind = smarthost\naddress = s.example\ntls = may\nusername = u\n"
		     "password-file = p\n",
		"/etc/postern/mta.conf:8: username with tls = may; a password goes over TLS only: "
		"encrypt, verify or pin");
	refused(EDGE "[route internet]\ntls = pin\n",
		"/etc/postern/mta.conf:5: tls = pin without tls-pins; write tls-pins = ...");
	refused(EDGE "[route internet]\nsource = 192.0.2.1, 192.0.2.2\n",
		"/etc/postern/mta.conf:5: source has two addresses of one family; allowed: one of each");
}

static void a_rule_that_opens_a_relay_is_refused(void **state)
{
	struct mta_config *c;

	(void)state;
	refused(EDGE "[rule all]\naction = accept\nlisteners = mx\n",
		"/etc/postern/mta.conf:4: rule \"all\" accepts from anyone to anyone (an open relay); "
		"write at least one of clients, peers, authenticated = yes, recipients");
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
	snprintf(text, sizeof(text), HOME "[deliver]\ndomains = e.example\nmaildir = mail/in..box\n");
	config_free(parse(text));
	assert_true(conf_ok(last));
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
		cmocka_unit_test(the_edge_example_has_what_an_edge_needs),
		cmocka_unit_test(the_home_example_has_what_a_home_needs),
		cmocka_unit_test(a_written_route_changes_a_preset_key_by_key),
		cmocka_unit_test(pins_of_a_home_make_its_route_pinned),
		cmocka_unit_test(a_written_class_replaces_the_preset_listener),
		cmocka_unit_test(listeners_are_checked),
		cmocka_unit_test(a_domain_has_one_owner),
		cmocka_unit_test(a_home_never_sends_directly),
		cmocka_unit_test(routes_are_checked),
		cmocka_unit_test(a_rule_that_opens_a_relay_is_refused),
		cmocka_unit_test(maildir_stays_below_the_home),
		cmocka_unit_test(pins_are_hex),
		cmocka_unit_test(the_manual_names_every_key),
	};

	return cmocka_run_group_tests(tests, NULL, end);
}
