/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Which limits a letter that is accepted would be counted by, and what they have left. */
#include <inttypes.h>
#include <string.h>

#include "explain.h"

struct limits {
	struct explain *x;
	struct limit *now; /* NULL: of a file, where nothing is counted */
	uint64_t now_ms;
};

/* Once it is used up, the answer is another one. */
static void used_up(struct explain *x, const char *at, const char *text)
{
	if (json_integer_value(json_object_get(x->answer, "code")) / 100 != 2)
		return;
	json_object_set_new(x->answer, "at", json_string(at));
	json_object_set_new(x->answer, "verdict", json_string("tempfail"));
	json_object_set_new(x->answer, "code", json_integer(450));
	json_object_set_new(x->answer, "text", json_string(text));
}

static void tell(struct limits *l, const char *key, uint64_t per_hour, enum limit_what what,
		 const char *name, const char *at, const char *text)
{
	bool bytes = what == LIMIT_LOGIN_BYTES || what == LIMIT_SENDER_BYTES ||
		     what == LIMIT_RECIPIENT_BYTES;
	const char *unit = bytes ? " KiB" : "";
	uint32_t full = bytes ? limit_kib(per_hour) : (uint32_t)per_hour, left;

	if (!per_hour || !*name)
		return;
	if (!l->now) {
		json_array_append_new(l->x->why,
				      json_sprintf("limit %s: %" PRIu32 "%s an hour for %s", key, full,
						   unit, name));
		return;
	}
	left = limit_left(l->now, what, name, full, l->now_ms);
	json_array_append_new(l->x->why, json_sprintf("limit %s: %" PRIu32 "%s an hour for %s, %" PRIu32
						      "%s of them left now",
						      key, full, unit, name, left, unit));
	if (!left)
		used_up(l->x, at, text);
}

void explain_limits(struct explain *x, struct limit *now, uint64_t now_ms)
{
	const struct mta_listener *of = x->f.listener;
	const struct mta_home *h = x->f.peer ? config_home_by_peer(x->c, x->f.peer) : NULL;
	const char *who = x->f.user ? x->f.user : x->sender.text;
	const char *box = x->mailbox[0] ? x->mailbox : x->rcpt.text;
	struct limits l = { .x = x, .now = now, .now_ms = now_ms };

	if (json_integer_value(json_object_get(x->answer, "code")) / 100 != 2)
		return;
	if (h)
		tell(&l, "rate-per-hour", h->rate_per_hour, LIMIT_HOME, h->name, "MAIL",
		     "4.7.1 This home has sent its letters for now");
	tell(&l, "bytes-per-sender", of->bytes_per_sender,
	     x->f.user ? LIMIT_LOGIN_BYTES : LIMIT_SENDER_BYTES, who, "MAIL",
	     "4.7.1 This sender has sent its bytes for now");
	tell(&l, "letters-per-sender", of->letters_per_sender,
	     x->f.user ? LIMIT_LOGIN : LIMIT_SENDER, who, "MAIL",
	     "4.7.1 This sender has sent its letters for now");
	tell(&l, "bytes-per-recipient", of->bytes_per_recipient, LIMIT_RECIPIENT_BYTES, box, "RCPT",
	     "4.7.1 This recipient gets too many bytes, try again later");
	tell(&l, "letters-per-recipient", of->letters_per_recipient, LIMIT_RECIPIENT, box, "RCPT",
	     "4.7.1 This recipient gets too many letters, try again later");
}
