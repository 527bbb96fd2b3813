/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * XPUBLISH in a session (hop/publication.h):
 *
 *	READY --XPUBLISH n--> PUBLISH --n bytes--> READY, WAIT_PUBLISHED --session_published()--> reply
 *
 * Only a session that has offered it, in its EHLO, knows the command. The bytes come after 354 alone, so a refusal has
 * nothing to read away.
 */
#include <stdlib.h>
#include <string.h>

#include "publication.h"
#include "session.h"

void publish_drop(struct session *s)
{
	free(s->publication);
	s->publication = NULL;
	s->publication_len = 0;
}

void publish_command(struct session *s, const char *arg, size_t len)
{
	struct reply r = { 0 };
	uint64_t size;

	if (s->state != SESSION_READY)
		return session_reply(s, 503, "5.5.1 A letter is under way");
	if (!session_admits(s->conf, s->tls[0], s->auth_user[0], &r))
		return session_reply(s, r.code, r.text);
	if (!command_number(arg, len, &size) || !size)
		return session_reply(s, 501, "5.5.4 Write XPUBLISH size");
	if (size > PUBLICATION_MAX)
		return session_reply(s, 552, "5.3.4 The set is larger than this server takes");
	if (!s->ops->may_publish(s->arg, s, &r))
		return session_reply(s, r.code, r.text);
	s->publication = malloc((size_t)size);
	if (!s->publication)
		return session_reply(s, 451, "4.3.0 Out of memory");
	s->publication_len = 0;
	s->chunk_left = size;
	s->window_ms = s->now_ms;
	s->window_bytes = 0;
	session_put(s, "354 Go on\r\n");
	session_enter(s, SESSION_PUBLISH);
}

size_t publish_feed(struct session *s, const uint8_t *p, size_t len)
{
	size_t n = len < s->chunk_left ? len : (size_t)s->chunk_left;

	memcpy(s->publication + s->publication_len, p, n);
	s->publication_len += n;
	s->chunk_left -= n;
	s->window_bytes += n;
	if (s->chunk_left)
		return n;
	session_enter(s, SESSION_READY);
	s->alive_ms = s->wait_ms = s->now_ms;
	s->wait = WAIT_PUBLISHED;
	s->ops->publish(s->arg, s, s->publication, s->publication_len);
	return n;
}

void session_published(struct session *s, const struct reply *r, uint64_t now_ms)
{
	if (s->wait != WAIT_PUBLISHED)
		return;
	s->wait = WAIT_NOTHING;
	s->now_ms = s->alive_ms = now_ms;
	if (r->code / 100 == 2)
		s->idle_commands = 0;
	publish_drop(s);
	session_reply(s, r->code, r->text);
}
