/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config_build.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
	l->sessions_max = 1000;
	l->sessions_per_prefix = l->class == LISTEN_TUNNEL ? 1000 : 20;
	l->recipients_max = l->class == LISTEN_TUNNEL ? 1000 : 100;
	l->errors_max = 20;
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

static void listener_finish(struct builder *b, struct mta_listener *l, unsigned line)
{
	const struct mta_config *c = b->c;

	if (!l->hostname)
		cb_set_text(b, &l->hostname, c->hostname);
	if (!l->certificate && !l->private_key) {
		cb_set_text(b, &l->certificate, c->certificate);
		cb_set_text(b, &l->private_key, c->private_key);
	}
	if (!l->certificate != !l->private_key)
		conf_error(b->conf, line,
			   "certificate and private-key stand together or not at all");
	if (!l->certificate && (l->tls_required || l->class == LISTEN_SUBMISSIONS))
		conf_error(b->conf, line,
			   "listener \"%s\" needs TLS; write certificate and private-key", l->name);
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
	cb_key_text(b, &l->certificate, s, "certificate");
	cb_key_text(b, &l->private_key, s, "private-key");
	cb_key_bool(&l->tls_required, s, "tls-required");
	cb_key_bool(&l->mask_source, s, "mask-source");
	cb_key_bool(&l->normalize, s, "normalize");
	if (l->normalize && (l->class == LISTEN_MX || l->class == LISTEN_TUNNEL))
		conf_error(b->conf, conf_line(s, "normalize"),
			   "normalize on class %s; allowed on submission, submissions and lan",
			   class_names[l->class]);
	cb_key_prefixes(b, &l->networks, &l->network_count, s, "networks");
	if (l->network_count && l->class != LISTEN_LAN)
		conf_error(b->conf, conf_line(s, "networks"),
			   "networks on class %s; allowed on class lan", class_names[l->class]);
	cb_key_u32(&l->sessions_max, s, "sessions-max");
	cb_key_u32(&l->sessions_per_prefix, s, "sessions-per-prefix");
	cb_key_u32(&l->recipients_max, s, "recipients-max");
	cb_key_u32(&l->errors_max, s, "errors-max");
	cb_key_u64(&l->size_max_bytes, s, "size-max");
	cb_key_u32(&l->idle_ms, s, "idle-timeout");
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
