/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "explain.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "match.h"
#include "route.h"
#include "smtpd.h"

static const char *const class_words[] = { "mx", "submission", "submissions", "tunnel", "lan" };

/* ---- the question ---- */

static int fail(char *why, size_t cap, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static int fail(char *why, size_t cap, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, cap, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

static const char *word(const json_t *args, const char *key)
{
	return json_string_value(json_object_get(args, key));
}

static const struct mta_listener *of_class(const struct mta_config *c, enum listener_class class)
{
	for (size_t i = 0; i < c->listener_count; i++) {
		if (c->listeners[i].class == class)
			return &c->listeners[i];
	}
	return NULL;
}

/* By name, else by class; without either the one that such a client would come to. */
static const struct mta_listener *find_listener(const struct explain *x, const char *name)
{
	static const enum listener_class for_users[] = { LISTEN_SUBMISSION, LISTEN_SUBMISSIONS,
							 LISTEN_LAN };
	const struct mta_config *c = x->c;
	const struct mta_listener *l = NULL;

	for (size_t i = 0; name && i < c->listener_count; i++) {
		if (!strcmp(c->listeners[i].name, name))
			return &c->listeners[i];
	}
	for (size_t i = 0; name && i < CONF_COUNT(class_words); i++) {
		if (!strcmp(class_words[i], name))
			return of_class(c, (enum listener_class)i);
	}
	if (name)
		return NULL;
	if (x->f.peer)
		return of_class(c, LISTEN_TUNNEL);
	for (size_t i = 0; x->f.user && !l && i < CONF_COUNT(for_users); i++)
		l = of_class(c, for_users[i]);
	if (!l)
		l = of_class(c, LISTEN_MX);
	return l ? l : of_class(c, LISTEN_LAN);
}

static int read_address(const json_t *args, const char *key, unsigned flags, struct address *a,
			char *why, size_t cap)
{
	const char *s = word(args, key);
	size_t n = s ? strlen(s) : 0;

	if (s && n > 1 && s[0] == '<' && s[n - 1] == '>')
		s++, n -= 2;
	if (s && !address_parse(s, n, flags | ADDRESS_ALLOW_UTF8, a))
		return 0;
	return fail(why, cap, "%s \"%.80s\" is no address", key, s ? s : "");
}

static int read_question(struct explain *x, const struct tunnel_table *t, const json_t *args,
			 char *why, size_t cap)
{
	const char *client = word(args, "client"), *peer = word(args, "peer"),
		   *user = word(args, "user"), *helo = word(args, "helo");
	const struct tunnel_peer *known;

	if (read_address(args, "from", ADDRESS_ALLOW_NULL, &x->sender, why, cap) ||
	    read_address(args, "to", ADDRESS_ALLOW_BARE, &x->rcpt, why, cap))
		return -EINVAL;
	if (!client || addr_parse(client, &x->f.client))
		return fail(why, cap, "client \"%.80s\" is no address", client ? client : "");
	known = tunnel_peer_by_addr(t, &x->f.client);
	if (!peer && known)
		peer = known->name;
	snprintf(x->peer, sizeof(x->peer), "%s", peer ? peer : "");
	snprintf(x->user, sizeof(x->user), "%s", user ? user : "");
	snprintf(x->helo, sizeof(x->helo), "%s", helo ? helo : "");
	x->f.peer = peer ? x->peer : NULL;
	x->f.user = user ? x->user : NULL;
	x->f.helo = helo ? x->helo : NULL;
	x->f.tls = json_is_true(json_object_get(args, "tls"));
	x->f.sender = &x->sender;
	x->f.listener = find_listener(x, word(args, "listener"));
	if (!x->f.listener)
		return fail(why, cap, "there is no listener \"%.80s\"",
			    word(args, "listener") ? word(args, "listener") : "for such a client");
	x->f.tls |= x->f.listener->class == LISTEN_SUBMISSIONS;
	if (x->f.listener->class == LISTEN_TUNNEL && !x->f.peer)
		return fail(
		    why, cap,
		    "%s is not the address of a tunnel peer, who would be sent away; name one "
		    "by --peer",
		    client);
	if (x->f.listener->class != LISTEN_TUNNEL)
		x->f.peer = NULL;
	return 0;
}

/* ---- the answer ---- */

static void because(struct explain *x, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void because(struct explain *x, const char *fmt, ...)
{
	char text[700];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	json_array_append_new(x->why, json_string(text)); /* all of it came by JSON: it is UTF-8 */
}

static const char *file_name(const struct mta_config *c)
{
	const char *slash = c->path ? strrchr(c->path, '/') : NULL;

	return slash ? slash + 1 : c->path ? c->path : "mta.conf";
}

/* Why a rule does not decide, in words: the first of its conditions that does not hold. */
static void tell_not(struct explain *x, const struct mta_rule *r, enum rule_condition not,
		     const struct address *rcpt)
{
	char addr[ADDR_STR_MAX], text[400];

	switch (not ) {
	case CONDITION_LISTENERS:
		snprintf(text, sizeof(text), "listeners: not %s, nor class %s", x->f.listener->name,
			 class_words[x->f.listener->class]);
		break;
	case CONDITION_CLIENTS:
		snprintf(text, sizeof(text), "clients: %s is not among them",
			 addr_str(&x->f.client, addr));
		break;
	case CONDITION_PEERS:
		snprintf(text, sizeof(text), "peers: %s",
			 x->f.peer ? x->f.peer : "not from the tunnel");
		break;
	case CONDITION_AUTHENTICATED:
		snprintf(text, sizeof(text), "authenticated = %s", r->authenticated ? "yes" : "no");
		break;
	case CONDITION_TLS:
		snprintf(text, sizeof(text), "tls = %s", r->tls ? "yes" : "no");
		break;
	case CONDITION_HELO:
		snprintf(text, sizeof(text), "helo: \"%s\" does not match", x->helo);
		break;
	case CONDITION_SENDERS:
		snprintf(text, sizeof(text), "senders: <%s> does not match", x->sender.text);
		break;
	case CONDITION_SIZE:
		snprintf(text, sizeof(text), "larger-than: it does for a letter above %llu bytes",
			 (unsigned long long)r->larger_bytes);
		break;
	default:
		snprintf(text, sizeof(text), "recipients: %s%s%s", rcpt ? "<" : "",
			 rcpt ? rcpt->text : "asked at RCPT", rcpt ? "> does not match" : "");
	}
	because(x, "rule %s (%s:%u) does not hold; %s", r->name, file_name(x->c), r->line, text);
}

static void tell_holds(struct explain *x, const struct mta_rule *r, const struct rule_hit *h)
{
	static const char *const does[] = { "accepts", "rejects", "defers" };
	char text[600] = "", prefix[PREFIX_STR_MAX];
	size_t n = 0;

#define ADD(fmt, ...)                                                                              \
	(n < sizeof(text) ? (n += (size_t)snprintf(text + n, sizeof(text) - n, fmt, __VA_ARGS__))  \
			  : n)
	if (r->listeners.count)
		ADD(", listener %s", x->f.listener->name);
	if (h->client)
		ADD(", client in %s", prefix_str(h->client, prefix));
	if (r->peers.count)
		ADD(", peer %s", x->f.peer);
	if (r->authenticated >= 0)
		ADD(", authenticated = %s", r->authenticated ? "yes" : "no");
	if (r->tls >= 0)
		ADD(", tls = %s", r->tls ? "yes" : "no");
	if (h->helo)
		ADD(", helo matches %s", h->helo);
	if (h->sender)
		ADD(", sender matches %s", h->sender);
	if (h->recipient)
		ADD(", recipient matches %s", h->recipient);
#undef ADD
	because(x, "rule %s (%s:%u) holds and %s; %s", r->name, file_name(x->c), r->line,
		does[r->action], text[0] ? text + 2 : "it has no conditions");
}

/* The rules up to the one that decided, each with its reason. */
static void tell_rules(struct explain *x, const struct rule_verdict *v, const struct address *rcpt)
{
	for (size_t i = 0; i < x->c->rule_count; i++) {
		const struct mta_rule *r = &x->c->rules[i];
		struct rule_hit hit;
		enum rule_condition not = ruleset_fails(r, &x->f, rcpt, &hit);

		if (not )
			tell_not(x, r, not, rcpt);
		else
			tell_holds(x, r, &hit);
		if (r == v->rule)
			return;
		if (!rcpt && match_written(&r->recipients))
			return; /* the rest waits for RCPT */
	}
}

static void tell_ground(struct explain *x, const struct rule_verdict *v)
{
	const char *class = class_words[x->f.listener->class];
	const struct mta_home *h = config_home_by_peer(x->c, x->peer);

	switch (v->ground) {
	case GROUND_OURS:
		because(x, "no rule decides; class %s takes recipients that are ours", class);
		break;
	case GROUND_CLASS:
		because(x, "no rule decides; class %s %s", class,
			v->way == RULE_RELAY
			    ? "relays for this client"
			    : "does not relay for this client, and the recipient is "
			      "not ours");
		break;
	case GROUND_TENANT:
		because(x, "[home %s] may send with addresses of its own domains only",
			h ? h->name : x->peer);
		break;
	case GROUND_ROUTED_LOCAL:
		because(x, "class mx refuses %%, ! and @ in a local part, whatever the rules say");
		break;
	case GROUND_NO_ROUTE:
		because(x, "no [route] takes the domain of the recipient");
		break;
	default:
		break;
	}
}

static void conclude(struct explain *x, unsigned code, const char *text)
{
	const char *verdict = code / 100 == 2 ? "accept" : code / 100 == 4 ? "tempfail" : "reject";

	json_object_set_new(x->answer, "verdict", json_string(verdict));
	json_object_set_new(x->answer, "code", json_integer(code));
	json_object_set_new(x->answer, "text", json_string(text));
}

static void decided(struct explain *x, const char *at, const struct rule_verdict *v)
{
	json_object_set_new(x->answer, "at", json_string(at));
	json_object_set_new(x->answer, "rule", v->rule ? json_string(v->rule->name) : json_null());
	if (v->rule)
		json_object_set_new(x->answer, "line", json_integer(v->rule->line));
	if (v->code)
		conclude(x, v->code, v->text);
}

/* By the function that the queue asks, for a letter as smtpd would store it. */
static void tell_route(struct explain *x, const char *rcpt)
{
	struct envelope e = {
		.flags = x->f.tls ? ENV_ENCRYPTED : 0,
		.client.addr = x->f.client,
		.helo = x->f.helo,
		.tls = x->f.tls ? "TLS" : NULL,
		.auth_user = x->f.user,
		.listener = x->f.listener->name,
		.peer = x->f.peer,
		.sender = x->sender.text,
	};
	const struct mta_route *r = route_choose(x->c, &e, rcpt);
	char hop[ROUTE_HOP_MAX];

	if (!r) {
		because(x, "<%s> has no route and would be held", rcpt);
		return;
	}
	because(x, "<%s> goes by route %s, next hop %s", rcpt, r->name,
		route_next_hop(r, rcpt, hop));
	if (r->backup)
		because(x, "where that fails for %llu s it goes by route %s",
			(unsigned long long)(r->backup_after_ms / 1000), r->backup);
	if (!json_object_get(x->answer, "route"))
		json_object_set_new(x->answer, "route", json_string(r->name));
}

static void accepted(struct explain *x)
{
	conclude(x, 250, "2.1.5 Recipient accepted");
	if (x->f.user)
		because(x, "taken for granted: <%s> is one of %s's addresses", x->sender.text,
			x->user);
}

/* ---- the decision ---- */

/* The session says no before any rule is asked. */
static bool stopped(struct explain *x, const char *at, const struct reply *r)
{
	json_object_set_new(x->answer, "at", json_string(at));
	json_object_set_new(x->answer, "rule", json_null());
	conclude(x, r->code, r->text);
	return false;
}

/* Does the session come as far as MAIL, logged in and with the key of its home where these are needed? */
static bool judge_session(struct explain *x)
{
	char prefix[PREFIX_STR_MAX];
	const struct prefix *by;
	const struct mta_home *h = x->f.peer ? config_home_by_peer(x->c, x->f.peer) : NULL;
	struct endpoint client = { .addr = x->f.client };
	struct session_conf conf;
	struct reply r;

	if (!listener_admits(x->c, x->f.listener, &client.addr, &by, &r)) {
		because(x, "the client is turned away before the banner: %s%s",
			by ? "deny has " : "it is not in allow", by ? prefix_str(by, prefix) : "");
		return stopped(x, "CONNECT", &r);
	}
	connection_conf(x->c, x->f.listener, &client, x->f.peer, &conf);
	if (!session_admits(&conf, x->f.tls, x->f.user, &r)) {
		because(x, "listener %s asks for it before MAIL", x->f.listener->name);
		return stopped(x, "MAIL", &r);
	}
	if (x->f.tls && x->f.listener->client_cert >= CLIENT_CERT_REQUIRE)
		because(x,
			"taken for granted: the client shows a certificate that listener %s takes",
			x->f.listener->name);
	if (x->f.user && !session_admits_auth(&conf, x->f.tls, &r)) {
		because(x, "nobody can log in at listener %s%s", x->f.listener->name,
			conf.auth_offered ? " in clear" : "");
		return stopped(x, "AUTH", &r);
	}
	if (h && h->tls_pins.count) {
		because(x, "%s: the client shows the key that [home %s] pins",
			x->f.tls ? "taken for granted" : "not without TLS", h->name);
		r = answers_unpinned();
		return x->f.tls || stopped(x, "MAIL", &r);
	}
	return true;
}

static bool judge_mail(struct explain *x)
{
	struct rule_verdict v;

	if (!judge_session(x))
		return false;
	ruleset_sender(x->c, &x->f, &v);
	if (!v.code)
		return true;
	if (v.ground == GROUND_RULE)
		tell_rules(x, &v, NULL);
	tell_ground(x, &v);
	decided(x, "MAIL", &v);
	return false;
}

static void judge_rcpt(struct explain *x)
{
	struct rule_verdict v;

	ruleset_rcpt(x->c, &x->f, &x->rcpt, &v);
	tell_rules(x, &v, &x->rcpt);
	tell_ground(x, &v);
	decided(x, "RCPT", &v);
	if (v.way == RULE_RELAY) {
		tell_route(x, x->rcpt.text);
		accepted(x);
	}
	x->ask = v.way == RULE_OURS;
}

int explain_begin(struct explain *x, const struct mta_config *c, const struct tunnel_table *t,
		  const json_t *args, char *why, size_t cap)
{
	char addr[ADDR_STR_MAX];
	int rc;

	memset(x, 0, sizeof(*x));
	x->c = c;
	rc = read_question(x, t, args, why, cap);
	if (rc)
		return rc;
	x->why = json_array();
	x->answer =
	    json_pack("{s:s,s:s,s:s,s:s,s:s,s:b,s:o}", "from", x->sender.text, "to", x->rcpt.text,
		      "client", addr_str(&x->f.client, addr), "listener", x->f.listener->name,
		      "class", class_words[x->f.listener->class], "tls", x->f.tls, "why", x->why);
	if (!x->answer)
		return fail(why, cap, "out of memory");
	if (x->f.peer)
		json_object_set_new(x->answer, "peer", json_string(x->f.peer));
	if (judge_mail(x))
		judge_rcpt(x);
	return 0;
}

void explain_recipient(struct explain *x, const struct lookup_rcpt *a)
{
	struct reply r = answers_lookup(a->status);

	x->ask = false;
	memcpy(x->mailbox, a->mailbox, sizeof(x->mailbox));
	if (a->status != LOOKUP_OK) {
		because(x, "lookup of <%s>: %s", x->rcpt.text, r.text);
		conclude(x, r.code, r.text);
		return;
	}
	for (size_t i = 0; i < a->to_count && i < 20; i++)
		tell_route(x, a->to[i]);
	if (a->to_count > 20)
		because(x, "and %zu more", a->to_count - 20);
	accepted(x);
}
