/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bounce.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "domain.h"
#include "route.h"
#include "wire.h"

static bool ours(const struct mta_config *c, const char *address)
{
	char domain[MTA_DOMAIN_MAX];

	domain_spell(route_domain(address), domain);
	return !domain[0] || config_is_local(c, domain) || config_home_by_domain(c, domain);
}

/* @notify: the ENV_NOTIFY_* that asks for it where there is a NOTIFY. */
static bool wanted(const struct mta_config *c, const struct mta_route *route,
		   const struct envelope *e, const struct env_rcpt *r, uint8_t notify)
{
	const uint32_t own = ENV_LOCAL | ENV_AUTHENTICATED | ENV_TUNNEL;
	enum bounce_policy p = route ? route->bounce : BOUNCE_AUTHENTICATED;

	if (!e->sender[0] || e->flags & ENV_BOUNCE || p == BOUNCE_NONE)
		return false;
	if (r->notify && !(r->notify & notify))
		return false;
	if (p == BOUNCE_ALL || (p == BOUNCE_VERIFIED && e->flags & ENV_VERIFIED))
		return true;
	/* Whoever logged in vouches for the address; over the tunnel the domain must. */
	return e->flags & ENV_AUTHENTICATED || (e->flags & own && ours(c, e->sender));
}

bool bounce_wanted(const struct mta_config *c, const struct mta_route *route,
		   const struct envelope *e, const struct env_rcpt *r)
{
	return wanted(c, route, e, r, ENV_NOTIFY_FAILURE);
}

bool bounce_delay_wanted(const struct mta_config *c, const struct mta_route *route,
			 const struct envelope *e, const struct env_rcpt *r)
{
	return wanted(c, route, e, r, ENV_NOTIFY_DELAY);
}

bool bounce_success_wanted(const struct mta_config *c, const struct mta_route *route,
			   const struct envelope *e, const struct env_rcpt *r)
{
	return r->notify & ENV_NOTIFY_SUCCESS && wanted(c, route, e, r, ENV_NOTIFY_SUCCESS);
}

/* How a kind of report is worded. */
static const struct {
	const char *subject, *action, *status;
} kinds[] = {
	[DSN_FAILED] = { "Mail could not be delivered", "failed", "5.0.0" },
	[DSN_DELAYED] = { "Mail is delayed", "delayed", "4.4.1" },
	[DSN_DELIVERED] = { "Mail was delivered", "delivered", "2.0.0" },
	[DSN_RELAYED] = { "Mail was passed on", "relayed", "2.0.0" },
	[DSN_PROBED] = { "A probe has come to its end", "delivered", "2.0.0" },
};

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

const char *bounce_date(int64_t s, char out[static 64])
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

const char *bounce_one_line(const char *s, char out[static 512])
{
	size_t n = 0;

	for (; s && *s && n < 500; s++)
		out[n++] = (unsigned char)*s < 32 || *s == 127 ? ' ' : *s;
	out[n] = 0;
	return out;
}

/* "550 5.1.1 no such user" -> "5.1.1"; or what its state alone says. */
static const char *status(const struct env_rcpt *r, enum dsn_kind kind, char out[static 16])
{
	const char *s = r->last ? r->last : "";
	bool found;
	unsigned a, b, c;

	found = sscanf(s, "%*3u %1u.%3u.%3u", &a, &b, &c) == 3 ||
		sscanf(s, "%1u.%3u.%3u", &a, &b, &c) == 3;
	if (kind == DSN_DELAYED) /* what it is in the end is not said yet: of the class of what may pass */
		snprintf(out, 16, "4.%u.%u", found ? b : 4, found ? c : 1);
	else if (found)
		snprintf(out, 16, "%u.%u.%u",
			 kind == DSN_FAILED && a == 4 && r->state != RCPT_EXPIRED ? 5 : a, b, c);
	else
		snprintf(out, 16, "%s",
			 r->state == RCPT_EXPIRED ? "4.4.7" : kinds[kind].status);
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

	say(w, "Date: %s\r\n", bounce_date(t->now_s, when));
	say(w, "From: Mail Delivery System <MAILER-DAEMON@%s>\r\n", t->hostname);
	say(w, "To: <%s>\r\n", e->sender);
	say(w, "Subject: %s\r\n", kinds[t->kind].subject);
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
	say(w, "This is the mail system at %s.\r\n\r\n", t->hostname);
	switch (t->kind) {
	case DSN_FAILED:
		say(w, "Your letter did not reach:\r\n");
		break;
	case DSN_DELAYED:
		say(w,
		    "Nothing has to be done: your letter waits, and is tried again until\r\n%s. "
		    "It has not yet reached:\r\n",
		    bounce_date(t->until_s, when));
		break;
	case DSN_DELIVERED:
		say(w, "Your letter is in the mailbox of:\r\n");
		break;
	case DSN_RELAYED:
		say(w,
		    "Your letter was passed on to a host that will not report what becomes of it,\r\n"
		    "for:\r\n");
		break;
	case DSN_PROBED:
		say(w, "A probe, which is delivered to nobody, has come to its end on the way to:\r\n");
		break;
	}
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
		size_t need = 2 * (strlen(r->addr) + strlen(bounce_one_line(r->last, text))) + 400;

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
		    *bounce_one_line(r->last, text) ? text
		    : t->kind == DSN_FAILED || t->kind == DSN_DELAYED
			? "no answer from the next host"
			: "done");
	}
	say(&w, "\r\n--%s\r\nContent-Type: message/%sdelivery-status\r\n\r\n", boundary, global);
	say(&w, "Reporting-MTA: dns; %s\r\n", t->hostname);
	if (e->envid)
		say(&w, "Original-Envelope-Id: %s\r\n", bounce_one_line(e->envid, text));
	say(&w, "Arrival-Date: %s\r\n", bounce_date(e->received_s, when));
	for (size_t i = 0; i < n; i++) {
		const struct env_rcpt *r = &e->rcpt[which[i]];
		const char *type = *global ? "utf-8" : "rfc822";

		say(&w, "\r\n");
		if (r->orcpt)
			say(&w, "Original-Recipient: %s\r\n", r->orcpt);
		say(&w, "Final-Recipient: %s; %s\r\nAction: %s\r\nStatus: %s\r\n", type, r->addr,
		    kinds[t->kind].action, status(r, t->kind, st));
		if (r->last && isdigit((unsigned char)r->last[0]))
			say(&w, "Diagnostic-Code: smtp; %s\r\n", bounce_one_line(r->last, text));
		if (t->kind == DSN_DELAYED)
			say(&w, "Will-Retry-Until: %s\r\n", bounce_date(t->until_s, when));
	}
	say(&w, "\r\n--%s\r\nContent-Type: %s\r\nContent-Transfer-Encoding: 8bit\r\n\r\n", boundary,
	    *global ? "message/global-headers" : "text/rfc822-headers");
	wr_bytes(&w, t->headers, headers);
	say(&w, "\r\n--%s--\r\n", boundary);
	*count = n;
	return wr_finish(&w, &len) ? 0 : len;
}
