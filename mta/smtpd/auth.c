/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * AUTH PLAIN (RFC 4616), LOGIN and EXTERNAL (RFC 4422 appendix A), under RFC 4954. A password is in
 * clear inside of TLS only, in this process only for the time of one question, and in no log. EXTERNAL
 * is for those whose certificate has told already who they are. Each failure makes the next reply
 * wait longer, whoever the user was and in whichever session of that network, and the third ends the
 * session.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base64.h"
#include "secret.h"
#include "session.h"

#define AUTH_PLAIN_MAX 1024 /* decoded */

void auth_forget(struct session *s)
{
	if (s->auth_login) {
		secret_wipe(s->auth_login, strlen(s->auth_login));
		free(s->auth_login);
		s->auth_login = NULL;
	}
}

static void ask(struct session *s, const char *login, const char *password)
{
	size_t len = strlen(login);

	session_enter(s, SESSION_READY);
	if (!len || len >= sizeof(s->auth_user)) {
		session_reply(s, 535, "5.7.8 Authentication failed");
		return;
	}
	/* Kept for the answer; it counts as the user only once session_auth_done() says so. */
	memcpy(s->auth_user, login, len + 1);
	s->wait = WAIT_AUTH;
	s->wait_ms = s->now_ms;
	s->ops->auth(s->arg, s, login, password);
}

/* [authzid] NUL authcid NUL passwd */
static void plain(struct session *s, char *msg, size_t len)
{
	char *login = memchr(msg, 0, len), *password;

	login = login ? login + 1 : NULL;
	password = login ? memchr(login, 0, len - (size_t)(login - msg)) : NULL;
	password = password ? password + 1 : NULL;
	if (!password || memchr(password, 0, len - (size_t)(password - msg))) {
		session_enter(s, SESSION_READY);
		session_reply(s, 501, "5.5.2 Bad AUTH PLAIN message");
		return;
	}
	if (*msg && strcmp(msg, login)) { /* acting for another is not offered */
		session_enter(s, SESSION_READY);
		session_reply(s, 535, "5.7.8 Authentication failed");
		return;
	}
	ask(s, login, password);
}

const char *auth_external(const struct session *s)
{
	return s->tls[0] && s->ops->external ? s->ops->external(s->arg) : NULL;
}

/* Nobody's name, or its own: acting for another is not offered, and trying it is a failure. */
static void external(struct session *s, const char *authzid, size_t len)
{
	const char *login = auth_external(s);

	if (strlen(authzid) != len) {
		session_enter(s, SESSION_READY);
		session_reply(s, 501, "5.5.2 Bad AUTH EXTERNAL message");
		return;
	}
	if (login && (!len || !strcasecmp(authzid, login)))
		authzid = login; /* as the configuration spells it */
	ask(s, authzid, NULL);
}

/* One response of the client, still base64. */
static void response(struct session *s, const char *b64, size_t b64_len)
{
	char text[AUTH_PLAIN_MAX];
	int len = base64_decode(b64, b64_len, text, sizeof(text));

	if (len < 0) {
		session_enter(s, SESSION_READY);
		auth_forget(s);
		session_reply(s, 501, "5.5.2 Cannot decode that");
		return;
	}
	switch (s->auth_step) {
	case AUTH_PLAIN:
		plain(s, text, (size_t)len);
		break;
	case AUTH_LOGIN_USER:
		if (strlen(text) == (size_t)len)
			s->auth_login = strdup(text);
		if (!s->auth_login) {
			session_enter(s, SESSION_READY);
			if (strlen(text) == (size_t)len)
				session_reply(s, 454, "4.3.0 Out of memory");
			else
				session_reply(s, 501, "5.5.2 Bad user name");
			break;
		}
		s->auth_step = AUTH_LOGIN_PASSWORD;
		session_put(s, "334 UGFzc3dvcmQ6\r\n");
		break;
	case AUTH_LOGIN_PASSWORD:
		if (strlen(text) != (size_t)len)
			text[0] = 0; /* a NUL inside: no password has one */
		ask(s, s->auth_login, text);
		auth_forget(s);
		break;
	case AUTH_EXTERNAL:
		external(s, text, (size_t)len);
		break;
	}
	secret_wipe(text, sizeof(text));
}

bool session_admits_auth(const struct session_conf *conf, bool tls, struct reply *r)
{
	if (!conf->auth_offered)
		*r = (struct reply){ 502, "5.5.1 No AUTH here" };
	else if (!tls && !conf->auth_in_clear)
		*r = (struct reply){ 538, "5.7.11 Encryption is required: STARTTLS first" };
	else
		return true;
	return false;
}

bool session_auth_possible(const struct session *s)
{
	struct reply r;

	return session_admits_auth(s->conf, s->tls[0], &r);
}

void auth_command(struct session *s, const char *arg, size_t len)
{
	const char *blank = memchr(arg, ' ', len);
	size_t word = blank ? (size_t)(blank - arg) : len;
	struct reply r;

	if (!session_admits_auth(s->conf, s->tls[0], &r))
		return session_reply(s, r.code, r.text);
	if (s->state == SESSION_HELO || !s->esmtp)
		return session_reply(s, 503, "5.5.1 EHLO first");
	if (s->state != SESSION_READY)
		return session_reply(s, 503, "5.5.1 Not inside of a transaction");
	if (s->auth_user[0])
		return session_reply(s, 503, "5.5.1 Already authenticated");
	if (word == 5 && !strncasecmp(arg, "PLAIN", 5))
		s->auth_step = AUTH_PLAIN;
	else if (word == 5 && !strncasecmp(arg, "LOGIN", 5))
		s->auth_step = AUTH_LOGIN_USER;
	else if (word == 8 && !strncasecmp(arg, "EXTERNAL", 8) && auth_external(s))
		s->auth_step = AUTH_EXTERNAL;
	else
		return session_reply(s, 504, "5.5.4 PLAIN and LOGIN are known");
	session_enter(s, SESSION_AUTH);
	if (!blank) {
		session_put(s,
			    s->auth_step == AUTH_LOGIN_USER ? "334 VXNlcm5hbWU6\r\n" : "334 \r\n");
		return;
	}
	while (word < len && arg[word] == ' ')
		word++;
	if (len - word == 1 && arg[word] == '=') /* an empty initial response */
		response(s, "", 0);
	else
		response(s, arg + word, len - word);
}

void auth_line(struct session *s, const char *line, size_t len)
{
	if (len == 1 && *line == '*') {
		session_enter(s, SESSION_READY);
		auth_forget(s);
		session_reply(s, 501, "5.0.0 Authentication given up");
		return;
	}
	response(s, line, len);
}

/* All of them, or none: without those that are missing the user would be refused for good. */
static bool keep_senders(struct session *s, const char *const *senders, size_t count)
{
	if (count > SESSION_SENDERS_MAX)
		count = SESSION_SENDERS_MAX;
	s->senders = calloc(count ? count : 1, sizeof(*s->senders));
	while (s->senders && s->sender_count < count) {
		s->senders[s->sender_count] = strdup(senders[s->sender_count]);
		if (!s->senders[s->sender_count])
			break;
		s->sender_count++;
	}
	if (s->senders && s->sender_count == count)
		return true;
	auth_logout(s);
	return false;
}

void auth_logout(struct session *s)
{
	for (size_t i = 0; i < s->sender_count; i++)
		free(s->senders[i]);
	free(s->senders);
	s->senders = NULL;
	s->sender_count = 0;
	s->auth_user[0] = 0;
}

void session_auth_done(struct session *s, enum session_auth result, const char *const *senders,
		       size_t sender_count, uint64_t now_ms)
{
	uint32_t before;

	if (s->wait != WAIT_AUTH)
		return;
	s->wait = WAIT_NOTHING;
	s->now_ms = s->alive_ms = now_ms;
	if (result == SESSION_AUTH_OK && keep_senders(s, senders, sender_count)) {
		session_reply(s, 235, "2.7.0 Welcome");
		return;
	}
	if (result == SESSION_AUTH_OK)
		result = SESSION_AUTH_LATER;
	s->auth_user[0] = 0;
	if (result == SESSION_AUTH_LATER)
		return session_reply(s, 454, "4.7.0 Cannot check that now, try again later");
	before = s->auth_strikes > s->auth_failures ? s->auth_strikes - 1 : s->auth_failures;
	session_pause(s, 1000u << (before < 3 ? before : 3));
	if (++s->auth_failures >= SESSION_AUTH_FAILURES_MAX)
		return session_close(s, 421, "4.7.0 Too many failures");
	if (result == SESSION_AUTH_LIMITED)
		return session_reply(s, 454,
				     "4.7.0 Too many failures from your network, try again later");
	session_reply(s, 535, "5.7.8 Authentication failed");
}
