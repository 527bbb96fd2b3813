/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Trace fields. Whatever the client said of itself stands in them only after it was found to be a
 * domain or a literal, so that a field cannot be broken from outside.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "session.h"

void trace_date(int64_t wall_s, char out[static 80])
{
	static const char days[][4] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };
	static const char months[][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
					  "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
	time_t t = (time_t)wall_s;
	struct tm tm;

	if (!gmtime_r(&t, &tm))
		memset(&tm, 0, sizeof(tm)), tm.tm_mday = 1, tm.tm_year = 70;
	snprintf(out, 80, "%.3s, %u %.3s %04u %02u:%02u:%02u +0000", days[(unsigned)tm.tm_wday % 7],
		 (unsigned)tm.tm_mday % 32, months[(unsigned)tm.tm_mon % 12],
		 (unsigned)(tm.tm_year + 1900) % 10000, (unsigned)tm.tm_hour % 24,
		 (unsigned)tm.tm_min % 60, (unsigned)tm.tm_sec % 61);
}

/* "ESMTPSA" and its like (RFC 3848, RFC 6531 s4.3). */
static const char *protocol(const struct session *s, char out[static 16])
{
	snprintf(out, 16, "%s%s%s",
		 s->t.mail.smtputf8 ? "UTF8SMTP"
		 : s->esmtp	    ? "ESMTP"
				    : "SMTP",
		 s->tls[0] ? "S" : "", s->auth_user[0] ? "A" : "");
	return out;
}

static void add(char *out, size_t cap, size_t *n, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
static void add(char *out, size_t cap, size_t *n, const char *fmt, ...)
{
	va_list ap;
	int len;

	va_start(ap, fmt);
	len = vsnprintf(out + *n, cap - *n, fmt, ap);
	va_end(ap);
	if (len > 0)
		*n = *n + (size_t)len < cap ? *n + (size_t)len : cap - 1;
}

size_t trace_received(const struct session *s, char *out, size_t cap)
{
	char id[LETTER_ID_STR_MAX], addr[ADDR_STR_MAX], with[16], date[80];
	const struct addr *a = &s->conf->client.addr;
	size_t n = 0;

	trace_date(s->t.received_s, date);
	add(out, cap, &n, "Received: ");
	if (!s->conf->mask_source)
		add(out, cap, &n, "from %s ([%s%s])\r\n\t", s->helo,
		    a->family == AF_INET6 ? "IPv6:" : "", addr_str(a, addr));
	add(out, cap, &n, "by %s (Postern) with %s id %s", s->conf->hostname, protocol(s, with),
	    letter_id_str(s->t.id, id));
	if (s->tls[0]) {
		const char *cipher = strchr(s->tls, ' ');

		add(out, cap, &n, "\r\n\t(using %.*s with cipher %s)",
		    (int)(cipher ? cipher - s->tls : (ptrdiff_t)strlen(s->tls)), s->tls,
		    cipher ? cipher + 1 : "unknown");
	}
	if (s->t.rcpt_commands == 1)
		add(out, cap, &n, "\r\n\tfor <%s>", s->t.first.text);
	add(out, cap, &n, ";\r\n\t%s\r\n", date);
	return n;
}
