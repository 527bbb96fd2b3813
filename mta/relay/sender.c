/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "relay.h"

#include <string.h>

#include "clock.h"
#include "log.h"

/*
 * Who writes to others with a sender that is not ours, and without a login, is sent on by an alias: what a
 * client may send himself is from one of us.
 */
static bool sent_on(const struct mta_config *c, const struct mta_route *route,
		    const struct attempt *a)
{
	const char *at = strrchr(a->env.sender, '@');

	if (!c->srs.domain || !at || a->env.auth_user || route->kind == ROUTE_DELIVER ||
	    route->kind == ROUTE_LMTP || config_is_ours(c, at + 1))
		return false;
	for (size_t i = 0; i < a->letter.rcpt_count; i++) {
		at = strrchr(a->letter.rcpt[i].addr, '@');
		if (!at || config_is_ours(c, at + 1))
			return false;
	}
	return true;
}

void sender_write(struct relay *r, struct attempt *a)
{
	const struct mta_config *c = r->ch->config;
	const struct mta_route *route = config_route(c, a->msg.route);
	char id[LETTER_ID_STR_MAX];
	int rc;

	if (!route || !sent_on(c, route, a))
		return;
	rc = srs_forward(&r->secrets.srs, a->env.sender, c->srs.domain, srs_day(clock_wall_s()),
			 a->sender, sizeof(a->sender));
	if (!rc)
		a->letter.sender = a->sender;
	else
		log_warn(NULL, "letter=%s msg=\"the sender stays as it is: %s\"",
			 letter_id_str(a->env.id, id), strerror(-rc));
}
