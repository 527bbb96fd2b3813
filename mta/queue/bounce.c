/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bounce.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "route.h"
#include "wire.h"

static bool ours(const struct mta_config *c, const char *address)
{
	char domain[MTA_DOMAIN_MAX];
	const char *d = route_domain(address);
	size_t i;

	for (i = 0; d[i] && i + 1 < sizeof(domain); i++)
		domain[i] = (char)tolower((unsigned char)d[i]);
	domain[i] = 0;
	return !i || config_is_local(c, domain) || config_home_by_domain(c, domain);
}

bool bounce_wanted(const struct mta_config *c, const struct mta_route *route,
		   const struct envelope *e, const struct env_rcpt *r)
{
	const uint32_t own = ENV_LOCAL | ENV_AUTHENTICATED | ENV_TUNNEL;
	enum bounce_policy p = route ? route->bounce : BOUNCE_AUTHENTICATED;

	if (!e->sender[0] || e->flags & ENV_BOUNCE || p == BOUNCE_NONE)
		return false;
	if (r->notify && !(r->notify & ENV_NOTIFY_FAILURE))
		return false;
	if (p == BOUNCE_ALL || (p == BOUNCE_VERIFIED && e->flags & ENV_VERIFIED))
		return true;
	/* Whoever logged in vouches for the address; over the tunnel the domain must. */
	return e->flags & ENV_AUTHENTICATED || (e->flags & own && ours(c, e->sender));
}

__attribute__((format(printf, 2, 3))) static void say(struct wr *w, const char *fmt, ...)
{
	va_list ap;
	char line[2048];
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= sizeof(line)) {
		w->bad = true;
		return;
	}
	wr_bytes(w, line, (size_t)n);
}

static const char *date(int64_t s, char out[static 64])
{
	static const char *const days[] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };
	static const char *const months[] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
					      "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
	time_t t = (time_t)s;
	struct tm tm;

	gmtime_r(&t, &tm);
	snprintf(out, 64, "%s, %d %s %d %02d:%02d:%02d +0000", days[tm.tm_wday % 7], tm.tm_mday,
		 months[tm.tm_mon % 12], tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
	return out;
}

/* What a next hop said, fit for a header field: one line, no controls, and bounded. */
static const char *one_line(const char *s, char out[static 512])
{
	size_t n = 0;

	for (; s && *s && n < 500; s++)
		out[n++] = (unsigned char)*s < 32 || *s == 127 ? ' ' : *s;
	out[n] = 0;
	return out;
}

/* "550 5.1.1 no such user" -> "5.1.1"; or what its state alone says. */
static const char *status(const struct env_rcpt *r, char out[static 16])
{
	const char *s = r->last ? r->last : "";
	unsigned a, b, c;

	if (sscanf(s, "%*3u %1u.%3u.%3u", &a, &b, &c) == 3 ||
	    sscanf(s, "%1u.%3u.%3u", &a, &b, &c) == 3)
		snprintf(out, 16, "%u.%u.%u", a == 4 && r->state != RCPT_EXPIRED ? 5 : a, b, c);
	else
		snprintf(out, 16, "%s", r->state == RCPT_EXPIRED ? "4.4.7" : "5.0.0");
	return out;
}

/* The header section, up to the empty line, in whole lines. */
static size_t header_section(const uint8_t *p, size_t len)
{
	size_t at = 0, line;
	const uint8_t *nl;

	if (len > BOUNCE_HEADERS_MAX)
		len = BOUNCE_HEADERS_MAX;
	while (at < len && (nl = memchr(p + at, '\n', len - at))) {
		line = (size_t)(nl - p) + 1 - at;
		if (line <= 2 && (p[at] == '\r' || p[at] == '\n'))
			break;
		at += line;
	}
	return at;
}

static void head(struct wr *w, const struct bounce_text *t, const struct envelope *e,
		 const char *boundary)
{
	char when[64], hex[LETTER_ID_STR_MAX];

	say(w, "Date: %s\r\n", date(t->now_s, when));
	say(w, "From: Mail Delivery System <MAILER-DAEMON@%s>\r\n", t->hostname);
	say(w, "To: <%s>\r\n", e->sender);
	say(w, "Subject: Mail could not be delivered\r\n");
	say(w, "Message-ID: <%s@%s>\r\n", letter_id_str(t->id, hex), t->hostname);
	say(w, "Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n");
	say(w,
	    "Content-Type: multipart/report; report-type=delivery-status;\r\n boundary=\"%s\"\r\n",
	    boundary);
	if (e->flags & ENV_SMTPUTF8)
		say(w, "Content-Transfer-Encoding: 8bit\r\n");
	say(w,
	    "\r\n--%s\r\nContent-Type: text/plain; charset=utf-8\r\n"
	    "Content-Transfer-Encoding: 8bit\r\n\r\n",
	    boundary);
	say(w, "This is the mail system at %s.\r\n\r\nYour letter did not reach:\r\n", t->hostname);
}

size_t bounce_build(const struct bounce_text *t, const struct envelope *e, const uint16_t *which,
		    size_t *count, uint8_t out[static BOUNCE_BODY_MAX])
{
	size_t headers = header_section(t->headers, t->headers_len), n = 0, len;
	const char *global = e->flags & ENV_SMTPUTF8 ? "global-" : "";
	char boundary[64], when[64], hex[LETTER_ID_STR_MAX], text[512], st[16];
	struct wr w = wr_init(out, BOUNCE_BODY_MAX);
	/* Each recipient stands twice; what is left for them, with room for the frame. */
	size_t room = BOUNCE_BODY_MAX - headers - 4096;

	for (n = 0; n < *count; n++) {
		const struct env_rcpt *r = &e->rcpt[which[n]];
		size_t need = 2 * (strlen(r->addr) + strlen(one_line(r->last, text))) + 400;

		need += r->orcpt ? strlen(r->orcpt) : 0;
		if (need > room)
			break;
		room -= need;
	}
	if (!n)
		return 0;
	snprintf(boundary, sizeof(boundary), "=_%s", letter_id_str(t->id, hex));
	head(&w, t, e, boundary);
	for (size_t i = 0; i < n; i++) {
		const struct env_rcpt *r = &e->rcpt[which[i]];

		say(&w, "\r\n<%s>\r\n    %s%s\r\n", r->addr,
		    r->state == RCPT_EXPIRED ? "gave up after trying for long; last: " : "",
		    *one_line(r->last, text) ? text : "no answer from the next host");
	}
	say(&w, "\r\n--%s\r\nContent-Type: message/%sdelivery-status\r\n\r\n", boundary, global);
	say(&w, "Reporting-MTA: dns; %s\r\n", t->hostname);
	if (e->envid)
		say(&w, "Original-Envelope-Id: %s\r\n", one_line(e->envid, text));
	say(&w, "Arrival-Date: %s\r\n", date(e->received_s, when));
	for (size_t i = 0; i < n; i++) {
		const struct env_rcpt *r = &e->rcpt[which[i]];
		const char *type = *global ? "utf-8" : "rfc822";

		say(&w, "\r\n");
		if (r->orcpt)
			say(&w, "Original-Recipient: %s\r\n", r->orcpt);
		say(&w, "Final-Recipient: %s; %s\r\nAction: failed\r\nStatus: %s\r\n", type,
		    r->addr, status(r, st));
		if (r->last && isdigit((unsigned char)r->last[0]))
			say(&w, "Diagnostic-Code: smtp; %s\r\n", one_line(r->last, text));
	}
	say(&w, "\r\n--%s\r\nContent-Type: %s\r\nContent-Transfer-Encoding: 8bit\r\n\r\n", boundary,
	    *global ? "message/global-headers" : "text/rfc822-headers");
	wr_bytes(&w, t->headers, headers);
	say(&w, "\r\n--%s--\r\n", boundary);
	*count = n;
	return wr_finish(&w, &len) ? 0 : len;
}
