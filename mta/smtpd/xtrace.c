/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * XTRACE in a session (hop/story.h):
 *
 *	READY --XTRACE id--> READY, WAIT_TRACED --session_traced()--> the lines, or a refusal
 *
 * Only a session that offers it in its EHLO knows the command.
 */
#include <assert.h>
#include <string.h>

#include "session.h"

static_assert(STORY_LINE_MAX + sizeof("250-\r\n") <= SESSION_LINE_MAX,
	      "a line of a story is one of a reply");

bool xtrace_offered(const struct session *s)
{
	return s->conf->traces && s->esmtp && (!s->conf->traces_by_tls || s->tls[0]);
}

void xtrace_command(struct session *s, const char *arg, size_t len)
{
	struct reply r = { 0 };
	struct xtrace x;

	if (s->state != SESSION_READY)
		return session_reply(s, 503, "5.5.1 A letter is under way");
	if (!session_admits(s->conf, s->tls[0], s->auth_user[0], &r))
		return session_reply(s, r.code, r.text);
	if (xtrace_parse(arg, len, &x))
		return session_reply(s, 501, "5.5.4 Write XTRACE id HOPS=n MS=n");
	s->wait_ms = s->now_ms;
	s->wait = WAIT_TRACED;
	s->ops->trace(s->arg, s, &x);
}

void session_traced(struct session *s, const struct msg_traced *m, uint64_t now_ms)
{
	const char *p = (const char *)m->story;
	size_t left = m->len;

	if (s->wait != WAIT_TRACED)
		return;
	s->wait = WAIT_NOTHING;
	s->now_ms = s->alive_ms = now_ms;
	if (m->code != 250)
		return session_reply(s, m->code, m->text);
	while (left) {
		const char *end = memchr(p, '\n', left);
		size_t n = end ? (size_t)(end - p) : left;

		/* Without an end who asks sees that it is not all. */
		if (!session_put(s, "250-%.*s\r\n", (int)n, p))
			return session_close(s, 0, NULL);
		n += end != NULL;
		p += n;
		left -= n;
	}
	session_reply(s, 250, "2.0.0 That is all");
}
