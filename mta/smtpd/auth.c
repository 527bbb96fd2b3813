/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * AUTH PLAIN (RFC 4616) and LOGIN, under RFC 4954. A password is in clear inside of TLS only, in
 * this process only for the time of one question, and in no log. Each failure makes the next reply
 * wait longer, whoever the user was, and the third ends the session.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "secret.h"
#include "session.h"

#define AUTH_PLAIN_MAX 1024 /* decoded */

static int value_of(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Strict: whole groups, padding only at the end, no stray bits. Terminates @out. Length or -EBADMSG. */
static int base64_decode(const char *s, size_t len, char *out, size_t cap)
{
	size_t n = 0;

	if (len % 4)
		return -EBADMSG;
	for (size_t i = 0; i < len; i += 4) {
		int pad = 0, v[4];

		if (i + 4 == len)
			pad = s[i + 3] != '=' ? 0 : s[i + 2] != '=' ? 1 : 2;
		for (int k = 0; k < 4; k++) {
			v[k] = k >= 4 - pad ? 0 : value_of(s[i + (size_t)k]);
			if (v[k] < 0)
				return -EBADMSG;
		}
		if ((pad == 2 && v[1] & 15) || (pad == 1 && v[2] & 3) || n + 3 >= cap)
			return -EBADMSG;
		out[n++] = (char)(v[0] << 2 | v[1] >> 4);
		if (pad < 2)
			out[n++] = (char)(v[1] << 4 | v[2] >> 2);
		if (pad < 1)
			out[n++] = (char)(v[2] << 6 | v[3]);
	}
	out[n] = 0;
	return (int)n;
}

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
	}
	secret_wipe(text, sizeof(text));
}

bool session_auth_possible(const struct session *s)
{
	return s->conf->auth_offered && (s->tls[0] || s->conf->auth_in_clear);
}

void auth_command(struct session *s, const char *arg, size_t len)
{
	const char *blank = memchr(arg, ' ', len);
	size_t word = blank ? (size_t)(blank - arg) : len;

	if (!s->conf->auth_offered)
		return session_reply(s, 502, "5.5.1 No AUTH here");
	if (!session_auth_possible(s))
		return session_reply(s, 538, "5.7.11 Encryption is required: STARTTLS first");
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
	else
		return session_reply(s, 504, "5.5.4 PLAIN and LOGIN are known");
	session_enter(s, SESSION_AUTH);
	if (!blank) {
		session_put(s, s->auth_step == AUTH_PLAIN ? "334 \r\n" : "334 VXNlcm5hbWU6\r\n");
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

void session_auth_done(struct session *s, enum session_auth result, const char *const *senders,
		       size_t sender_count, uint64_t now_ms)
{
	if (s->wait != WAIT_AUTH)
		return;
	s->wait = WAIT_NOTHING;
	s->now_ms = s->alive_ms = now_ms;
	if (result == SESSION_AUTH_OK) {
		s->senders = calloc(sender_count ? sender_count : 1, sizeof(*s->senders));
		for (size_t i = 0; s->senders && i < sender_count && i < SESSION_SENDERS_MAX; i++) {
			s->senders[s->sender_count] = strdup(senders[i]);
			s->sender_count += s->senders[s->sender_count] != NULL;
		}
		session_reply(s, 235, "2.7.0 Welcome");
		return;
	}
	s->auth_user[0] = 0;
	if (result == SESSION_AUTH_LATER)
		return session_reply(s, 454, "4.7.0 Cannot check that now, try again later");
	session_pause(s, 1000u << s->auth_failures);
	if (++s->auth_failures >= SESSION_AUTH_FAILURES_MAX)
		return session_close(s, 421, "4.7.0 Too many failures");
	session_reply(s, 535, "5.7.8 Authentication failed");
}
