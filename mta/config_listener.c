/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config_build.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

const char *const class_names[] = { "mx", "submission", "submissions", "tunnel", "lan" };

static uint16_t class_port(enum listener_class class)
{
	return class == LISTEN_SUBMISSION ? 587 : class == LISTEN_SUBMISSIONS ? 465 : 25;
}

static bool port_parse(const char *s, uint16_t *port)
{
	char *end;
	unsigned long n = strtoul(s, &end, 10);

	if (*s < '0' || *s > '9' || *end || !n || n > 65535)
		return false;
	*port = (uint16_t)n;
	return true;
}

/* "*", "*:25", "tunnel", "tunnel:25", "192.0.2.1[:25]", "[v6][:25]", "v6" */
static bool listen_parse(const char *s, uint16_t dflt, struct listen_addr *a)
{
	size_t n = *s == '*' ? 1 : !strncmp(s, "tunnel", 6) ? 6 : 0;

	memset(a, 0, sizeof(*a));
	a->ep.port = dflt;
	if (!n)
		return !endpoint_parse(s, dflt, &a->ep) && a->ep.port;
	a->any = n == 1;
	a->tunnel = n == 6;
	return !s[n] || (s[n] == ':' && port_parse(s + n + 1, &a->ep.port));
}

static void listener_defaults(struct mta_listener *l, const struct mta_config *c)
{
	bool submission = l->class == LISTEN_SUBMISSION || l->class == LISTEN_SUBMISSIONS;

	l->tls_required = submission;
	l->mask_source = submission;
	l->dsn = l->class != LISTEN_MX;
	l->sessions_max = 1000;
	l->sessions_per_prefix = l->class == LISTEN_TUNNEL ? 100 : 20;
	l->recipients_max = l->class == LISTEN_TUNNEL ? 1000 : 100;
	l->errors_max = 20;
	l->auth_failures_max = 20;
	l->size_max_bytes = c->size_max_bytes;
	l->idle_ms = 300000;
	l->session_ms = 7200000;
}

static void listener_address(struct builder *b, struct mta_listener *l, const char *word,
			     unsigned line)
{
	struct listen_addr a, *to;

	if (!listen_parse(word, class_port(l->class), &a)) {
		conf_error(
		    b->conf, line,
		    "address \"%s\"; allowed: ADDRESS:PORT, [V6]:PORT, *:PORT or tunnel:PORT",
		    word);
		return;
	}
	if (a.tunnel != (l->class == LISTEN_TUNNEL)) {
		conf_error(b->conf, line,
			   a.tunnel ? "address \"%s\" on class %s; allowed on class tunnel only"
				    : "address \"%s\" on class %s; allowed: tunnel:PORT",
			   word, class_names[l->class]);
		return;
	}
	to = cb_grow(b, &l->addresses, &l->address_count, sizeof(*to));
	if (to)
		*to = a;
}

/* What stands behind the login: a key, or a name that client-ca vouches for. */
static bool login_proof(struct builder *b, const struct mta_listener *l, struct client_login *c,
			const char *what, unsigned line)
{
	char name[MTA_DOMAIN_MAX];
	struct endpoint e;

	if (!pin_parse(what, c->pin))
		return true;
	if (strchr(what, ':') || route_address_parse(what, 25, &e, name) || !name[0]) {
		conf_error(b->conf, line,
			   "client-logins \"%s:%s\"; allowed: LOGIN:PIN, 64 hex digits, or "
			   "LOGIN:NAME, a domain",
			   c->login, what);
		return false;
	}
	if (!l->client_ca)
		conf_error(b->conf, line,
			   "client-logins \"%s:%s\" without client-ca; only an authority gives "
			   "names",
			   c->login, what);
	cb_set_text(b, &c->name, what);
	return true;
}

static bool same_proof(const struct client_login *a, const struct client_login *b)
{
	if (!a->name || !b->name)
		return !a->name && !b->name && !memcmp(a->pin, b->pin, sizeof(a->pin));
	return !strcasecmp(a->name, b->name);
}

static void listener_login(struct builder *b, struct mta_listener *l, const char *word,
			   unsigned line)
{
	size_t n = strcspn(word, ":"), blank = strcspn(word, " \t");
	struct client_login *c;

	if (!n || !word[n] || !word[n + 1] || blank < n) {
		conf_error(b->conf, line, "client-logins \"%s\"; allowed: LOGIN:PIN or LOGIN:NAME",
			   word);
		return;
	}
	c = cb_grow(b, &l->client_logins, &l->client_login_count, sizeof(*c));
	if (!c)
		return;
	cb_set_text(b, &c->login, word);
	if (!c->login)
		return;
	c->login[n] = 0;
	cb_lower(c->login);
	if (!login_proof(b, l, c, word + n + 1, line))
		return;
	for (const struct client_login *o = l->client_logins; o < c; o++) {
		if (same_proof(o, c) && strcmp(o->login, c->login))
			conf_error(
			    b->conf, line,
			    "client-logins \"%s\" is of %s already; allowed: one login for a "
			    "certificate",
			    word, o->login);
	}
	/* Whom we know by name need not be written down twice. */
	if (!c->name && l->client_cert == CLIENT_CERT_VERIFY &&
	    !strv_has(&l->client_pins, word + n + 1))
		cb_strv_add(b, &l->client_pins, word + n + 1);
}

static void listener_logins(struct builder *b, const struct conf_section *s, struct mta_listener *l)
{
	const struct conf_entry *e = conf_get(s, "client-logins");

	if (!e->count)
		return;
	if (l->class == LISTEN_MX || l->class == LISTEN_TUNNEL)
		conf_error(b->conf, e->line,
			   "client-logins on class %s; allowed on submission, submissions and lan",
			   class_names[l->class]);
	if (l->client_cert == CLIENT_CERT_NONE)
		conf_error(b->conf, e->line,
			   "client-logins without client-certificate; write request or verify");
	if (!b->c->users)
		conf_error(b->conf, e->line,
			   "client-logins without users in [mta], where each login has a line");
	for (size_t i = 0; i < e->count; i++)
		listener_login(b, l, e->values[i].text, e->values[i].line);
	if (l->client_pins.count > LISTENER_PINS_MAX)
		conf_error(b->conf, e->line,
			   "client-pins and the keys of client-logins are %zu; allowed with "
			   "client-certificate = verify: at most %d",
			   l->client_pins.count, LISTENER_PINS_MAX);
}

/* What is shown inside of TLS only proves nothing where letters come without it. */
static void listener_client_cert(struct builder *b, const struct conf_section *s,
				 struct mta_listener *l)
{
	bool proof;

	l->client_cert = (enum client_cert)conf_uint(s, "client-certificate");
	cb_key_text(b, &l->client_ca, s, "client-ca");
	cb_key_pins(b, &l->client_pins, s, "client-pins");
	proof = l->client_ca || l->client_pins.count;
	if (proof && l->client_cert == CLIENT_CERT_NONE)
		conf_error(b->conf, conf_line(s, l->client_ca ? "client-ca" : "client-pins"),
			   "%s without client-certificate; write request or verify",
			   l->client_ca ? "client-ca" : "client-pins");
	listener_logins(b, s, l);
	if (!l->client_ca && !l->client_pins.count && l->client_cert == CLIENT_CERT_VERIFY)
		conf_error(b->conf, conf_line(s, "client-certificate"),
			   "client-certificate = verify without anything to verify with; write "
			   "client-ca or client-pins");
	if (proof && l->client_cert == CLIENT_CERT_REQUIRE)
		conf_error(b->conf, conf_line(s, "client-certificate"),
			   "client-certificate = require takes any; write verify");
	if (l->client_cert < CLIENT_CERT_REQUIRE)
		return;
	if (conf_is_set(s, "tls-required") && !l->tls_required)
		conf_error(b->conf, conf_line(s, "tls-required"),
			   "tls-required = no beside client-certificate, which needs TLS");
	l->tls_required = true;
}

/* Who asks shows nothing but an address: at least nobody else shall read the answer. */
static void listener_trace(struct builder *b, const struct mta_listener *l, unsigned line)
{
	if (l->class != LISTEN_LAN)
		conf_error(b->conf, line,
			   "trace-clients on class %s; allowed on class lan (on class tunnel all "
			   "peers may ask)",
			   class_names[l->class]);
	else if (!l->certificates.count)
		conf_error(b->conf, line,
			   "trace-clients without TLS; write certificate and private-key");
}

static void listener_finish(struct builder *b, struct mta_listener *l, unsigned line)
{
	const struct mta_config *c = b->c;

	if (!l->hostname)
		cb_set_text(b, &l->hostname, c->hostname);
	l->hop_key = l->class == LISTEN_TUNNEL && !l->certificates.count && !l->private_keys.count;
	if (!l->certificates.count && !l->private_keys.count && c->certificate && c->private_key) {
		cb_strv_add(b, &l->certificates, c->certificate);
		cb_strv_add(b, &l->private_keys, c->private_key);
	}
	if (l->certificates.count > LISTENER_CERTIFICATES_MAX)
		conf_error(b->conf, line, "certificate has %zu values; allowed: at most %d",
			   l->certificates.count, LISTENER_CERTIFICATES_MAX);
	if (l->certificates.count != l->private_keys.count)
		conf_error(b->conf, line,
			   "certificate and private-key stand together or not at all, and as many "
			   "of each");
	if (!l->certificates.count && !l->hop_key &&
	    (l->tls_required || l->class == LISTEN_SUBMISSIONS))
		conf_error(b->conf, line,
			   "listener \"%s\" needs TLS; write certificate and private-key", l->name);
	if (l->trace_client_count)
		listener_trace(b, l, line);
}

void config_build_listener(struct builder *b, const struct conf_section *s)
{
	const struct conf_entry *address = conf_get(s, "address");
	struct mta_config *c = b->c;
	struct mta_listener *l;
	char preset[MTA_NAME_MAX];
	size_t class = conf_uint(s, "class");

	if (c->listener_count == MTA_LISTENERS_MAX) {
		conf_error(b->conf, s->line, "too many listeners; allowed: %d", MTA_LISTENERS_MAX);
		return;
	}
	l = cb_grow(b, &c->listeners, &c->listener_count, sizeof(*l));
	if (!l)
		return;
	cb_name_set(b, l->name, s);
	if (!conf_is_set(s, "class")) {
		for (class = 0; class < CONF_COUNT(class_names); class ++) {
			if (!strcmp(class_names[class], s->name))
				break;
		}
		if (class == CONF_COUNT(class_names)) {
			conf_error(b->conf, s->line,
				   "listener \"%s\" without class; allowed: mx, submission, "
				   "submissions, tunnel, lan",
				   s->name);
			class = LISTEN_MX;
		}
	}
	l->line = s->line;
	l->class = (enum listener_class) class;
	listener_defaults(l, c);
	for (size_t i = 0; i < address->count; i++)
		listener_address(b, l, address->values[i].text, address->values[i].line);
	if (!address->count) {
		snprintf(preset, sizeof(preset), "%s",
			 l->class == LISTEN_TUNNEL ? "tunnel"
			 : l->class == LISTEN_LAN  ? "127.0.0.1"
						   : "*");
		listener_address(b, l, preset, s->line);
	}
	cb_key_text(b, &l->hostname, s, "hostname");
	cb_key_strv(b, &l->certificates, s, "certificate");
	cb_key_strv(b, &l->private_keys, s, "private-key");
	cb_key_bool(&l->tls_required, s, "tls-required");
	cb_key_versions(b, &l->tls_versions, s);
	cb_key_ciphers(b, &l->tls_ciphers, s);
	listener_client_cert(b, s, l);
	cb_key_door(b, &l->door, s);
	cb_key_bool(&l->mask_source, s, "mask-source");
	cb_key_bool(&l->dsn, s, "dsn");
	cb_key_bool(&l->normalize, s, "normalize");
	if (l->normalize && (l->class == LISTEN_MX || l->class == LISTEN_TUNNEL))
		conf_error(b->conf, conf_line(s, "normalize"),
			   "normalize on class %s; allowed on submission, submissions and lan",
			   class_names[l->class]);
	cb_key_prefixes(b, &l->networks, &l->network_count, s, "networks");
	if (l->network_count && l->class != LISTEN_LAN)
		conf_error(b->conf, conf_line(s, "networks"),
			   "networks on class %s; allowed on class lan", class_names[l->class]);
	cb_key_prefixes(b, &l->trace_clients, &l->trace_client_count, s, "trace-clients");
	cb_key_u32(&l->sessions_max, s, "sessions-max");
	cb_key_u32(&l->sessions_per_prefix, s, "sessions-per-prefix");
	cb_key_u32(&l->recipients_max, s, "recipients-max");
	cb_key_u32(&l->errors_max, s, "errors-max");
	cb_key_u32(&l->auth_failures_max, s, "auth-failures-max");
	cb_key_u64(&l->size_max_bytes, s, "size-max");
	cb_key_u32(&l->letters_per_sender, s, "letters-per-sender");
	cb_key_u64(&l->bytes_per_sender, s, "bytes-per-sender");
	cb_key_u32(&l->letters_per_recipient, s, "letters-per-recipient");
	cb_key_u64(&l->bytes_per_recipient, s, "bytes-per-recipient");
	cb_key_u32(&l->idle_ms, s, "idle-timeout");
	cb_key_u32(&l->greet_delay_ms, s, "greet-delay");
	cb_key_u32(&l->session_ms, s, "session-timeout");
	listener_finish(b, l, s->line);
}

static void preset_listener(struct builder *b, enum listener_class class)
{
	struct mta_config *c = b->c;
	struct mta_listener *l;

	for (size_t i = 0; i < c->listener_count; i++) {
		if (c->listeners[i].class == class)
			return;
	}
	l = cb_grow(b, &c->listeners, &c->listener_count, sizeof(*l));
	if (!l)
		return;
	snprintf(l->name, sizeof(l->name), "%s", class_names[class]);
	l->class = class;
	listener_defaults(l, c);
	listener_address(b, l, class == LISTEN_TUNNEL ? "tunnel" : "*", 0);
	listener_finish(b, l, 0);
}

void config_preset_listeners(struct builder *b)
{
	struct mta_config *c = b->c;

	if (c->role == MTA_EDGE)
		preset_listener(b, LISTEN_MX);
	if (c->tunnel)
		preset_listener(b, LISTEN_TUNNEL);
	if (c->role == MTA_HOME && c->users && c->certificate) {
		preset_listener(b, LISTEN_SUBMISSION);
		preset_listener(b, LISTEN_SUBMISSIONS);
	}
}
