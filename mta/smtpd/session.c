/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "session.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "secret.h"

/* ----------------------------------------------------------------------- output ------------- */

bool session_put(struct session *s, const char *fmt, ...)
{
	char line[SESSION_LINE_MAX];
	va_list ap;
	int len;

	va_start(ap, fmt);
	len = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (len < 0 || (size_t)len >= sizeof(line))
		return false;
	if (s->out_len + (size_t)len > s->out_cap) {
		size_t cap = s->out_cap ? 2 * s->out_cap : 1024;
		char *p;

		while (cap < s->out_len + (size_t)len)
			cap *= 2;
		p = realloc(s->out, cap);
		if (!p) {
			s->state =
			    SESSION_CLOSING; /* without words, since there is no room for them */
			return false;
		}
		s->out = p;
		s->out_cap = cap;
	}
	memcpy(s->out + s->out_len, line, (size_t)len);
	s->out_len += (size_t)len;
	return true;
}

void session_pause(struct session *s, uint64_t ms)
{
	s->pause_ms = s->now_ms + (ms < SESSION_PAUSE_MAX_MS ? ms : SESSION_PAUSE_MAX_MS);
}

bool session_tells(const struct session *s, enum told_what what)
{
	return !s->ops->may_tell || s->ops->may_tell(s->arg, what);
}

static void count(struct session *s, uint16_t code, const char *text)
{
	if (code / 100 >= 4 && s->ops->refused)
		s->ops->refused(s->arg, code, text);
}

/* 452 4.5.3 is none: the client is to send the letter to the rest in another one (RFC 5321 s4.5.3.1.10). */
static bool is_error(uint16_t code, const char *text)
{
	return code / 100 >= 4 && !(code == 452 && !strncmp(text, "4.5.3 ", 6));
}

void session_reply(struct session *s, uint16_t code, const char *text)
{
	if (s->state == SESSION_CLOSING)
		return;
	count(s, code, text);
	if (is_error(code, text) && s->conf->errors_max) {
		s->errors++;
		log_debug(&s->log, "reply %u %s", code, text);
		if (s->errors >= s->conf->errors_max) {
			session_put(s, "%u %s\r\n", code, text);
			session_close(s, 421, "4.7.0 Too many errors");
			return;
		}
		if (s->errors > s->conf->errors_max / 2 && !s->pause_ms) /* tarpit */
			session_pause(s, 500 * (s->errors - s->conf->errors_max / 2));
	}
	session_put(s, "%u %s\r\n", code, text);
}

void session_close(struct session *s, uint16_t code, const char *text)
{
	if (s->state == SESSION_CLOSING)
		return;
	count(s, code, text);
	if (code)
		session_put(s, "%u %s\r\n", code, text);
	s->sent_away = code / 100 > 2;
	transaction_drop(s);
	publish_drop(s);
	s->wait = WAIT_NOTHING;
	s->alive_ms = s->now_ms;
	session_enter(s, SESSION_CLOSING);
}

void session_enter(struct session *s, enum session_state to)
{
	if (s->state != SESSION_CLOSING)
		s->state = to;
}

const char *session_output(const struct session *s, size_t *len)
{
	*len = s->pause_ms ? 0 : s->out_len;
	return s->out;
}

void session_taken(struct session *s, size_t len)
{
	if (!s->out) /* nothing was ever said */
		return;
	memmove(s->out, s->out + len, s->out_len - len);
	s->out_len -= len;
	if (!s->out_len && s->out_cap > 4096) {
		free(s->out);
		s->out = NULL;
		s->out_cap = 0;
	}
}

/* --------------------------------------------------------------------- commands ------------- */

static bool publishes(const struct session *s)
{
	return s->conf->xpostern && s->conf->peer && s->conf->publishes && s->esmtp;
}

static void offer_xpostern(struct session *s)
{
	if (publishes(s))
		session_put(s, "250-" XPOSTERN_KEYWORD " " XPOSTERN_VERSION " PUBLISH=%" PRIu64 "\r\n",
			    s->ops->serial(s->arg));
	else
		session_put(s, "250-" XPOSTERN_KEYWORD " " XPOSTERN_VERSION "\r\n");
}

static void do_helo(struct session *s, const char *arg, size_t len, bool esmtp)
{
	char addr[ADDR_STR_MAX];
	const struct addr *a = &s->conf->client.addr;
	bool valid = command_helo_valid(arg, len);

	if (!valid && !(s->conf->helo_tolerant && len && len <= 1024))
		return session_reply(s, 501, "5.5.2 Give a domain or an address literal");
	transaction_drop(s);
	session_enter(s, SESSION_READY);
	s->esmtp = esmtp;
	if (valid)
		snprintf(s->helo, sizeof(s->helo), "%.*s", (int)len, arg);
	else
		snprintf(s->helo, sizeof(s->helo), "[%s%s]", a->family == AF_INET6 ? "IPv6:" : "",
			 addr_str(a, addr));
	if (!esmtp) {
		session_put(s, "250 %s\r\n", s->conf->hostname);
		return;
	}
	session_put(s,
		    "250-%s\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-CHUNKING\r\n",
		    s->conf->hostname);
	if (s->conf->tls_offered && !s->tls[0])
		session_put(s, "250-STARTTLS\r\n");
	if (session_auth_possible(s) && !s->auth_user[0])
		session_put(s, "250-AUTH PLAIN LOGIN%s\r\n", auth_external(s) ? " EXTERNAL" : "");
	if (s->conf->dsn)
		session_put(s, "250-DSN\r\n");
	if (s->conf->xpostern && s->conf->peer)
		offer_xpostern(s);
	if (xtrace_offered(s))
		session_put(s, "250-" XTRACE_KEYWORD " " XTRACE_VERSION "\r\n");
	session_put(s, "250-SIZE %" PRIu64 "\r\n250 ENHANCEDSTATUSCODES\r\n",
		    s->conf->size_max_bytes);
}

/* @more: bytes stand behind the command. They came in clear and would be read as if inside. */
static void do_starttls(struct session *s, size_t arg_len, bool more)
{
	if (!s->conf->tls_offered && !s->tls[0])
		return session_reply(s, 454, "4.7.0 TLS is not available");
	if (arg_len)
		return session_reply(s, 501, "5.5.4 STARTTLS takes no parameters");
	if (s->tls[0])
		return session_reply(s, 503, "5.5.1 TLS is already on");
	if (more) {
		if (session_tells(s, TOLD_SESSION))
			log_warn(&s->log, "bytes behind STARTTLS: session closed");
		return session_close(s, 554,
				     "5.5.0 Nothing may follow STARTTLS in the same breath");
	}
	session_put(s, "220 2.0.0 Begin\r\n");
	session_enter(s, SESSION_TLS);
}

/* Everything that the client said in clear is as if it had not been said (RFC 3207 s4.2). */
static void forget(struct session *s)
{
	transaction_drop(s);
	publish_drop(s);
	auth_forget(s);
	auth_logout(s);
	s->helo[0] = 0;
	s->esmtp = false;
}

void session_tls_done(struct session *s, const char *tls, uint64_t now_ms)
{
	if (s->state != SESSION_TLS)
		return;
	s->now_ms = s->alive_ms = now_ms;
	forget(s);
	snprintf(s->tls, sizeof(s->tls), "%s", tls);
	session_enter(s, SESSION_HELO);
}

/* Commands that bring no letter nearer. */
static bool too_idle(struct session *s)
{
	if (++s->idle_commands <= SESSION_IDLE_COMMANDS_MAX)
		return false;
	session_close(s, 421, "4.7.0 Too many commands and no letter");
	return true;
}

static void command(struct session *s, const char *line, size_t len, bool more)
{
	const char *arg;
	size_t n;
	enum smtp_verb verb = command_verb(line, len, &arg, &n);

	if (verb != SMTP_MAIL && verb != SMTP_RCPT && verb != SMTP_DATA && verb != SMTP_BDAT &&
	    verb != SMTP_QUIT && too_idle(s))
		return;
	switch (verb) {
	case SMTP_EHLO:
	case SMTP_HELO:
		return do_helo(s, arg, n, verb == SMTP_EHLO);
	case SMTP_MAIL:
		return transaction_mail(s, arg, n);
	case SMTP_RCPT:
		return transaction_rcpt(s, arg, n);
	case SMTP_DATA:
		return transaction_data(s, n);
	case SMTP_BDAT:
		return transaction_bdat(s, arg, n);
	case SMTP_RSET:
		transaction_drop(s);
		if (s->state != SESSION_HELO)
			session_enter(s, SESSION_READY);
		return session_reply(s, 250, "2.0.0 Forgotten");
	case SMTP_NOOP:
		return session_reply(s, 250, "2.0.0 Done nothing");
	case SMTP_QUIT:
		return session_close(s, 221, "2.0.0 Good-bye");
	case SMTP_VRFY:
		return session_reply(s, 252, "2.5.0 Send a letter and see");
	case SMTP_EXPN:
		return session_reply(s, 502, "5.5.1 Lists are not told");
	case SMTP_HELP:
		return session_reply(s, 214, "2.0.0 See RFC 5321");
	case SMTP_STARTTLS:
		return do_starttls(s, n, more);
	case SMTP_AUTH:
		return auth_command(s, arg, n);
	case SMTP_LHLO:
		return session_reply(s, 500, "5.5.1 This is SMTP, not LMTP: EHLO");
	case SMTP_XPUBLISH:
		if (publishes(s))
			return publish_command(s, arg, n);
		return session_reply(s, 500, "5.5.1 Unknown command");
	case SMTP_XTRACE:
		if (xtrace_offered(s))
			return xtrace_command(s, arg, n);
		/* fall through */
	default:
		return session_reply(s, 500, "5.5.1 Unknown command");
	}
}

/* One whole line with its end. A line that ends with LF alone, or has a control byte, is not run. */
static void whole_line(struct session *s, const char *line, size_t len, bool more)
{
	bool clean = len >= 2 && line[len - 2] == '\r';

	len -= clean ? 2 : 1;
	for (size_t i = 0; i < len && clean; i++)
		clean = line[i] != '\r' && line[i] != 0;
	s->alive_ms = s->now_ms;
	if (!clean) {
		if (s->state == SESSION_AUTH)
			session_enter(s, SESSION_READY);
		auth_forget(s);
		return session_reply(s, 500, "5.5.2 A line ends with CR LF, neither stands alone");
	}
	if (s->state == SESSION_AUTH)
		auth_line(s, line, len);
	else
		command(s, line, len, more);
}

static void wipe_line(struct session *s)
{
	/* It may have been a password. */
	if (s->line)
		secret_wipe(s->line, s->line_cap);
	free(s->line);
	s->line = NULL;
	s->line_len = s->line_cap = 0;
}

/* AUTH with an initial response is a command as long as an AUTH line. */
static size_t line_max(const struct session *s, const uint8_t *p, size_t len)
{
	static const char auth[] = "AUTH ";

	if (s->state == SESSION_AUTH)
		return COMMAND_AUTH_MAX;
	for (size_t i = 0; i < 5; i++) {
		int c = i < s->line_len		? s->line[i]
			: i < s->line_len + len ? p[i - s->line_len]
						: 0;

		if ((c & ~0x20) != (auth[i] & ~0x20))
			return COMMAND_LINE_MAX;
	}
	return COMMAND_AUTH_MAX;
}

/* Keep the part of a line that has come. */
static void keep(struct session *s, const uint8_t *p, size_t len)
{
	size_t max = line_max(s, p, len);

	if (s->line_skip)
		return;
	if (s->line_len + len > max) {
		s->line_skip = true;
		wipe_line(s);
		return;
	}
	if (s->line_len + len > s->line_cap) {
		size_t cap = s->line_cap ? s->line_cap : 512;
		char *bigger;

		while (cap < s->line_len + len)
			cap *= 2;
		bigger = malloc(cap); /* not realloc: the old copy is wiped */
		if (!bigger)
			return session_close(s, 421, "4.3.0 Out of memory");
		if (s->line_len)
			memcpy(bigger, s->line, s->line_len);
		len += s->line_len;
		memcpy(bigger + s->line_len, p, len - s->line_len);
		wipe_line(s);
		s->line = bigger;
		s->line_cap = cap;
		s->line_len = len;
		return;
	}
	memcpy(s->line + s->line_len, p, len);
	s->line_len += len;
}

/* Command state: one line, or the part of one that is there. */
static size_t feed_line(struct session *s, const uint8_t *p, size_t len)
{
	const uint8_t *lf = memchr(p, '\n', len);
	size_t n = lf ? (size_t)(lf + 1 - p) : len;

	if (lf && !s->line_len && !s->line_skip && n <= line_max(s, p, n)) {
		whole_line(s, (const char *)p, n, n < len);
		return n;
	}
	keep(s, p, n);
	if (!lf || s->state == SESSION_CLOSING)
		return n;
	if (s->line_skip) {
		bool auth = s->state == SESSION_AUTH;

		s->line_skip = false;
		s->alive_ms = s->now_ms;
		session_enter(s, auth ? SESSION_READY : s->state);
		session_reply(s, 500, auth ? "5.5.6 Line is too long" : "5.5.2 Line is too long");
		return n;
	}
	if (s->line_len > 0)
		whole_line(s, s->line, s->line_len, n < len);
	wipe_line(s);
	return n;
}

/* ------------------------------------------------------------------------ input ------------- */

bool session_takes_input(const struct session *s)
{
	if ((s->state == SESSION_DATA || s->state == SESSION_BDAT) && !transaction_room(s))
		return false;
	return s->wait == WAIT_NOTHING && !s->pause_ms && s->out_len < SESSION_OUT_MAX &&
	       s->state != SESSION_TLS && s->state != SESSION_CLOSING;
}

static bool in_body(const struct session *s)
{
	return s->state == SESSION_DATA || s->state == SESSION_BDAT ||
	       s->state == SESSION_DISCARD || s->state == SESSION_PUBLISH;
}

size_t session_input(struct session *s, const uint8_t *p, size_t len, uint64_t now_ms)
{
	size_t at = 0;

	s->now_ms = now_ms;
	if (s->state == SESSION_GREETING && len) {
		if (session_tells(s, TOLD_SESSION))
			log_info(&s->log, "talks before the greeting, sent away");
		session_close(s, 554, "5.5.1 Wait for the greeting");
	}
	while (at < len && session_takes_input(s)) {
		size_t n = s->state == SESSION_PUBLISH ? publish_feed(s, p + at, len - at)
			   : in_body(s)		       ? transaction_feed(s, p + at, len - at)
						       : feed_line(s, p + at, len - at);

		at += n;
		if (!n && in_body(s))
			break; /* no credit */
	}
	return at;
}

void session_eof(struct session *s)
{
	if (s->wait != WAIT_STORED)
		session_close(s, 0, NULL);
}

/* ------------------------------------------------------------------------- time ------------- */

static uint64_t sooner(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

uint64_t session_deadline_ms(const struct session *s)
{
	uint64_t at = s->begun_ms + s->conf->session_ms;

	if (s->pause_ms)
		return s->pause_ms;
	if (s->state == SESSION_GREETING)
		return s->begun_ms + s->conf->greet_delay_ms;
	if (s->wait == WAIT_STORED || s->wait == WAIT_CREDIT)
		return s->wait_ms +
		       SESSION_STORE_MS; /* a letter that is whole outlives the session's limit */
	if (s->wait != WAIT_NOTHING)
		return s->wait_ms + SESSION_RATE_MS;
	if (s->state == SESSION_CLOSING)
		return s->alive_ms + 10000;
	if (s->drain_ms)
		at = sooner(at, s->drain_ms + SESSION_DRAIN_MS);
	if (in_body(s))
		return sooner(at, s->window_ms + SESSION_RATE_MS);
	return sooner(at, s->alive_ms + s->conf->idle_ms);
}

static void greet(struct session *s)
{
	s->alive_ms = s->now_ms;
	session_enter(s, SESSION_HELO);
	session_put(s, "220 %s ESMTP Postern\r\n", s->conf->hostname);
}

void session_tick(struct session *s, uint64_t now_ms)
{
	if (now_ms < session_deadline_ms(s))
		return;
	s->now_ms = now_ms;
	if (s->pause_ms) {
		s->pause_ms = 0;
		s->alive_ms = now_ms;
		return;
	}
	if (s->state == SESSION_GREETING)
		return greet(s);
	if (s->wait == WAIT_STORED || s->wait == WAIT_CREDIT || s->wait == WAIT_RCPT ||
	    s->wait == WAIT_AUTH || s->wait == WAIT_PUBLISHED || s->wait == WAIT_TRACED)
		return session_close(s, 421, "4.3.2 No answer from inside, try again later");
	if (s->state == SESSION_CLOSING) { /* it does not read our last words */
		s->out_len = 0;
		return;
	}
	if (in_body(s) && !s->drain_ms && now_ms < s->begun_ms + s->conf->session_ms &&
	    s->window_bytes >= SESSION_RATE_BYTES) {
		s->window_ms = now_ms;
		s->window_bytes = 0;
		return;
	}
	if (session_tells(s, TOLD_SESSION))
		log_info(&s->log, "closed for silence or slowness, state=%d", s->state);
	session_close(s, 421, in_body(s) ? "4.4.2 Too slow" : "4.4.2 Idle for too long");
}

bool session_shutdown(struct session *s, uint64_t now_ms)
{
	s->now_ms = now_ms;
	if (s->wait == WAIT_STORED || s->wait == WAIT_CREDIT)
		return false;
	s->pause_ms = 0;
	session_close(s, 421, "4.3.2 This server is going down");
	return true;
}

enum session_wish session_wish(const struct session *s)
{
	if (s->pause_ms)
		return SESSION_WANTS_IO;
	return s->state == SESSION_CLOSING ? SESSION_WANTS_CLOSE
	       : s->state == SESSION_TLS   ? SESSION_WANTS_TLS
					   : SESSION_WANTS_IO;
}

void session_begin(struct session *s, const struct session_conf *conf,
		   const struct session_ops *ops, void *arg, const char *tls, uint64_t now_ms)
{
	memset(s, 0, sizeof(*s));
	s->conf = conf;
	s->ops = ops;
	s->arg = arg;
	s->now_ms = s->begun_ms = s->alive_ms = now_ms;
	if (tls)
		snprintf(s->tls, sizeof(s->tls), "%s", tls);
	if (conf->greet_delay_ms)
		session_enter(s, SESSION_GREETING);
	else
		greet(s);
}

void session_end(struct session *s)
{
	s->wait = WAIT_NOTHING;
	forget(s);
	wipe_line(s);
	free(s->out);
	s->out = NULL;
	s->out_len = s->out_cap = 0;
	log_clear(&s->log);
}
