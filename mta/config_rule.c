/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config_build.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "match.h"
#include "ruleset.h"

static bool listener_word(const struct mta_config *c, const char *word)
{
	for (size_t i = 0; i < CONF_COUNT(class_names); i++) {
		if (!strcmp(class_names[i], word))
			return true;
	}
	for (size_t i = 0; i < c->listener_count; i++) {
		if (!strcmp(c->listeners[i].name, word))
			return true;
	}
	return false;
}

void cb_key_match(struct builder *b, struct mta_match *m, const struct conf_section *s,
		  enum match_kind kind, const char *key)
{
	char table[64], regex[64], spelled[MATCH_WORD_MAX], why[400];
	const struct conf_entry *words = conf_get(s, key), *e;
	int rc = 0;

	snprintf(table, sizeof(table), "%s-table", key);
	snprintf(regex, sizeof(regex), "%s-regex", key);
	m->kind = kind;
	cb_key_strv(b, &m->words, s, key);
	cb_key_strv(b, &m->tables, s, table);
	for (size_t i = 0; i < words->count; i++) {
		if (match_word(kind, words->values[i].text, spelled, why, sizeof(why)))
			conf_error(b->conf, words->values[i].line, "%s %s", key, why);
	}
	if (kind != MATCH_CLIENT) {
		e = conf_get(s, regex);
		for (size_t i = 0; i < e->count; i++) {
			rc = match_expression(m, e->values[i].text, why, sizeof(why));
			if (rc == -EINVAL)
				conf_error(b->conf, e->values[i].line, "%s \"%s\": %s", regex,
					   e->values[i].text, why);
			b->nomem |= rc == -ENOMEM;
		}
	}
	if (conf_ok(b->conf))
		b->nomem |= match_load(m, NULL, why, sizeof(why)) == -ENOMEM;
}

void cb_key_door(struct builder *b, struct mta_door *d, const struct conf_section *s)
{
	cb_key_match(b, &d->allow, s, MATCH_CLIENT, "allow");
	cb_key_match(b, &d->deny, s, MATCH_CLIENT, "deny");
}

static void check_message(struct builder *b, const struct conf_section *s, const struct mta_rule *r)
{
	char class = r->action == RULE_TEMPFAIL ? '4' : '5';

	for (const char *p = r->message; *p; p++) {
		if (*p >= ' ' && *p <= '~')
			continue;
		conf_error(b->conf, conf_line(s, "message"),
			   "message has a character that a reply cannot carry; allowed: ASCII");
		return;
	}
	if (ruleset_enhanced(r->message) && r->message[0] != class)
		conf_error(b->conf, conf_line(s, "message"),
			   "message begins with %.*s; a rule that %s begins with %c",
			   (int)strcspn(r->message, " "), r->message,
			   class == '4' ? "defers" : "rejects", class);
}

static void check_rule(struct builder *b, const struct conf_section *s, const struct mta_rule *r)
{
	for (size_t i = 0; i < r->listeners.count; i++) {
		if (!listener_word(b->c, r->listeners.v[i]))
			conf_error(b->conf, conf_line(s, "listeners"),
				   "listeners \"%s\"; allowed: the name of a listener or a class",
				   r->listeners.v[i]);
	}
	if (r->route && !config_route(b->c, r->route))
		conf_error(b->conf, conf_line(s, "route"),
			   "route \"%s\" does not exist; allowed: the name "
			   "of a [route]",
			   r->route);
	if (r->route && r->action != RULE_ACCEPT)
		conf_error(b->conf, conf_line(s, "route"), "route on a rule that does not accept");
	/* To defer them would be to have them tried again for days. */
	if (r->larger_bytes && r->action != RULE_REJECT)
		conf_error(b->conf, conf_line(s, "larger-than"),
			   "larger-than on a rule that does not reject");
	if (r->message && r->action == RULE_ACCEPT)
		conf_error(b->conf, conf_line(s, "message"), "message on a rule that accepts");
	else if (r->message)
		check_message(b, s, r);
}

void config_build_rule(struct builder *b, const struct conf_section *s)
{
	struct mta_config *c = b->c;
	struct mta_rule *r;

	if (c->rule_count == MTA_RULES_MAX) {
		conf_error(b->conf, s->line, "too many rules; allowed: %d", MTA_RULES_MAX);
		return;
	}
	r = cb_grow(b, &c->rules, &c->rule_count, sizeof(*r));
	if (!r)
		return;
	cb_name_set(b, r->name, s);
	r->line = s->line;
	r->action = (enum rule_action)conf_uint(s, "action");
	cb_key_strv(b, &r->listeners, s, "listeners");
	cb_key_strv(b, &r->peers, s, "peers");
	r->authenticated = conf_is_set(s, "authenticated") ? conf_bool(s, "authenticated") : -1;
	r->tls = conf_is_set(s, "tls") ? conf_bool(s, "tls") : -1;
	cb_key_match(b, &r->clients, s, MATCH_CLIENT, "clients");
	cb_key_match(b, &r->helo, s, MATCH_NAME, "helo");
	cb_key_match(b, &r->senders, s, MATCH_ADDRESS, "senders");
	cb_key_match(b, &r->recipients, s, MATCH_ADDRESS, "recipients");
	cb_key_u64(&r->larger_bytes, s, "larger-than");
	cb_key_text(b, &r->route, s, "route");
	cb_key_text(b, &r->message, s, "message");
	check_rule(b, s, r);
}
