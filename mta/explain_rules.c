/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "explain_rules.h"

#include <string.h>

#include "ere.h"
#include "match.h"
#include "ruleset.h"

static const char *const class_words[] = {
	[LISTEN_MX] = "recipients that are ours",
	[LISTEN_SUBMISSION] = "anything, for a user who has logged in, under his own addresses",
	[LISTEN_SUBMISSIONS] = "anything, for a user who has logged in, under his own addresses",
	[LISTEN_TUNNEL] = "recipients that are ours; anything from a [home], under its own domains",
	[LISTEN_LAN] = "recipients that are ours; anything from networks, and for who has logged in",
};

static const char *const action_words[] = { [RULE_ACCEPT] = "accept",
					    [RULE_REJECT] = "reject",
					    [RULE_TEMPFAIL] = "tempfail" };

static void when(json_t *to, const char *key, const char *suffix, const struct strv *v)
{
	for (size_t i = 0; i < v->count; i++)
		json_array_append_new(to, json_sprintf("%s%s = %s", key, suffix, v->v[i]));
}

static void when_match(json_t *to, const char *key, const struct mta_match *m)
{
	when(to, key, "", &m->words);
	when(to, key, "-table", &m->tables);
	for (size_t i = 0; i < m->ere_count; i++)
		json_array_append_new(to,
				      json_sprintf("%s-regex = %s", key, ere_pattern(m->ere[i])));
}

static void when_bool(json_t *to, const char *key, int value)
{
	if (value >= 0)
		json_array_append_new(to, json_sprintf("%s = %s", key, value ? "yes" : "no"));
}

/* One entry of each condition must hold. */
static json_t *conditions(const struct mta_rule *r)
{
	json_t *to = json_array();

	when_match(to, "clients", &r->clients);
	when(to, "peers", "", &r->peers);
	when_bool(to, "authenticated", r->authenticated);
	when_bool(to, "tls", r->tls);
	when_match(to, "helo", &r->helo);
	when_match(to, "senders", &r->senders);
	when_match(to, "recipients", &r->recipients);
	if (r->larger_bytes)
		json_array_append_new(to, json_sprintf("larger-than = %llu bytes",
						       (unsigned long long)r->larger_bytes));
	return to;
}

static json_t *listener_json(const struct mta_config *c, const struct mta_listener *l)
{
	json_t *rules = json_array();

	for (size_t i = 0; i < c->rule_count; i++) {
		const struct mta_rule *r = &c->rules[i];

		if (!r->listeners.count || ruleset_names_listener(r, l))
			json_array_append_new(
			    rules,
			    json_pack("{s:s,s:i,s:s,s:o,s:s?,s:s?}", "rule", r->name, "line",
				      (int)r->line, "action", action_words[r->action], "when",
				      conditions(r), "route", r->route, "message", r->message));
	}
	return json_pack("{s:s,s:o,s:s}", "listener", l->name, "rules", rules, "else",
			 class_words[l->class]);
}

json_t *explain_rules(const struct mta_config *c)
{
	json_t *all = json_array();

	for (size_t i = 0; i < c->listener_count; i++)
		json_array_append_new(all, listener_json(c, &c->listeners[i]));
	return json_pack("{s:s,s:o}", "file", c->path, "listeners", all);
}
