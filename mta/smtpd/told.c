/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "told.h"

#include <string.h>

#define MINUTE_MS 60000

void told_summary(struct told *t)
{
	uint64_t all = 0;

	for (int i = 0; i < TOLDS; i++)
		all += t->swallowed[i];
	if (all)
		log_warn(NULL,
			 "events=%llu turned_away=%u tls=%u auth=%u refused=%u sessions=%u "
			 "msg=\"more of the last minute that were not told\"",
			 (unsigned long long)all, t->swallowed[TOLD_AWAY], t->swallowed[TOLD_TLS],
			 t->swallowed[TOLD_AUTH], t->swallowed[TOLD_REFUSED],
			 t->swallowed[TOLD_SESSION]);
	memset(t->swallowed, 0, sizeof(t->swallowed));
	t->lines = 0;
}

static void on_minute(struct timer *timer, uint64_t now_ms)
{
	(void)now_ms;
	told_summary(timer->arg);
}

void told_init(struct told *t, struct loop *l)
{
	memset(t, 0, sizeof(*t));
	t->loop = l;
	t->timer = (struct timer){ .fire = on_minute, .arg = t };
}

bool told_may(struct told *t, enum told_what what, const struct addr *client)
{
	uint64_t now_ms = loop_now_ms(t->loop);
	uint32_t swallowed;

	if (!timer_armed(&t->timer) &&
	    timer_set(loop_timers(t->loop), &t->timer, now_ms + MINUTE_MS))
		return false;
	if ((!client || addr_is_loopback(client) ||
	     log_limited(&t->each, addr_hash(client, 64), now_ms, &swallowed)) &&
	    t->lines < TOLD_PER_MINUTE) {
		t->lines++;
		return true;
	}
	t->swallowed[what]++;
	return false;
}
