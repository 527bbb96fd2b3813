/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "report.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bounce.h"
#include "clock.h"
#include "domain.h"
#include "log.h"
#include "queue.h"
#include "route.h"
#include "way.h"

#define LETTER_TEXT_MAX 6144 /* of one letter: its recipients, with routes and replies */
#define REPLY_MAX	200

void report_died(struct queue *q, const struct letter *l)
{
	struct report *r = &q->report;

	if (!q->ch->config->dead_letter_report)
		return;
	/* Its end could not be written before, and it has died again. */
	for (size_t i = 0; i < r->count; i++)
		if (!memcmp(r->died[i].id, l->id, LETTER_ID_LEN))
			return;
	if (r->count == REPORT_LETTERS_MAX) {
		r->more++;
		return;
	}
	memcpy(r->died[r->count].id, l->id, LETTER_ID_LEN);
	r->died[r->count++].when_s = clock_wall_s();
}

static const struct mta_home *home_of(const struct mta_config *c, const char *address)
{
	char domain[MTA_DOMAIN_MAX];

	domain_spell(route_domain(address), domain);
	return config_home_by_domain(c, domain);
}

/* The report goes to a mailbox of home @to, or of none (NULL): does it not concern that one? */
static bool of_another_home(const struct mta_config *c, const struct mta_home *to,
			    const struct envelope *e)
{
	const struct mta_home *h = e->peer ? config_home_by_peer(c, e->peer) : NULL;

	if (!to)
		return false;
	if (h && h != to)
		return true;
	h = home_of(c, e->sender);
	if (h && h != to)
		return true;
	for (size_t i = 0; i < e->rcpt_count; i++) {
		h = home_of(c, e->rcpt[i].addr);
		if (h && h != to)
			return true;
	}
	return false;
}

static void put_rcpts(const struct queue *q, FILE *f, const struct letter *l,
		      const struct envelope *e)
{
	size_t n = 0, more = 0;
	char text[512];

	for (size_t i = 0; i < e->rcpt_count; i++) {
		const struct env_rcpt *r = &e->rcpt[i];
		const struct mta_route *route;

		if (r->state != RCPT_FAILED && r->state != RCPT_EXPIRED)
			continue;
		if (n++ >= REPORT_RCPTS_MAX) {
			more++;
			continue;
		}
		route = way_route(q->ch->config, l->way, e, r->addr);
		fprintf(f, "  to     <%s>\r\n         %s, route %s: %.*s\r\n", r->addr,
			r->state == RCPT_EXPIRED ? "expired" : "refused",
			route ? route->name : "none", REPLY_MAX,
			*bounce_one_line(l->rcpt[i].last, text) ? text
								: "no answer from the next host");
	}
	if (more)
		fprintf(f, "  to     %zu more\r\n", more);
}

/* @e: NULL for one that cannot be read. */
static void put_letter(const struct queue *q, FILE *f, const struct letter *l,
		       const struct envelope *e, int64_t when_s)
{
	char hex[LETTER_ID_STR_MAX], when[64];

	fprintf(f, "%s  %s\r\n", letter_id_str(l->id, hex), bounce_date(when_s, when));
	if (e) {
		fprintf(f, "  from   <%s>\r\n", e->sender);
		put_rcpts(q, f, l, e);
	} else {
		fprintf(f, "  cannot be read\r\n");
	}
	fprintf(f, "\r\n");
}

/* False: it is another home's, and not told of. */
static bool look_at(struct queue *q, FILE *f, struct letter *l, int64_t when_s,
		    const struct mta_home *to)
{
	const struct mta_config *c = q->ch->config;
	struct store_reading r;
	bool read = !store_read(q->store, l, &r);
	bool tell = read ? !of_another_home(c, to, &r.env) : !to || c->home_count == 1;

	if (tell)
		put_letter(q, f, l, read ? &r.env : NULL, when_s);
	if (read)
		store_reading_clear(&r);
	return tell;
}

/* How many letters it tells of; 0: none of them is dead any more. */
static uint64_t put_letters(struct queue *q, FILE *f)
{
	const struct mta_config *c = q->ch->config;
	const struct mta_home *to = home_of(c, c->dead_letter_report);
	uint64_t named = 0, others = 0, more = q->report.more;

	for (size_t i = 0; i < q->report.count; i++) {
		struct letter *l = store_find(q->store, q->report.died[i].id);

		if (!l || l->state != LETTER_DEAD)
			continue;
		if (ftell(f) > REPORT_BODY_MAX - LETTER_TEXT_MAX)
			more++;
		else if (look_at(q, f, l, q->report.died[i].when_s, to))
			named++;
		else
			others++;
	}
	if (others)
		fprintf(f, "%llu of other homes than <%s> is of.\r\n\r\n",
			(unsigned long long)others, c->dead_letter_report);
	if (more)
		fprintf(f, "And %llu more.\r\n\r\n", (unsigned long long)more);
	return named + others + more;
}

static void put_head(const struct queue *q, FILE *f, const struct envelope *e)
{
	const struct mta_config *c = q->ch->config;
	char when[64], hex[LETTER_ID_STR_MAX];

	fprintf(f, "Date: %s\r\n", bounce_date(e->received_s, when));
	fprintf(f, "From: Mail Delivery System <MAILER-DAEMON@%s>\r\n", c->hostname);
	fprintf(f, "To: <%s>\r\n", c->dead_letter_report);
	fprintf(f, "Subject: Letters were given up at %s\r\n", c->hostname);
	fprintf(f, "Message-ID: <%s@%s>\r\n", letter_id_str(e->id, hex), c->hostname);
	fprintf(
	    f,
	    "Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n"
	    "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n");
	fprintf(f,
		"This is the mail system at %s. These letters could not be delivered, and\r\n"
		"are kept there as dead letters:\r\n\r\n",
		c->hostname);
}

static void put_advice(const struct queue *q, FILE *f)
{
	fprintf(f,
		"What to do, at %s, where %zu dead letters are kept in all (the oldest of too\r\n"
		"many are removed):\r\n\r\n"
		"    postern mail queue --dead    which they are\r\n"
		"    postern mail show ID         all about one\r\n"
		"    postern mail release ID      it is tried again, as if it had just come\r\n"
		"    postern mail remove ID       it is deleted\r\n\r\n"
		"There is at most one such report an hour.\r\n",
		q->ch->config->hostname, store_count(q->store, LETTER_DEAD));
}

/* Text of the letter @e, to be freed; NULL without memory, or, and *@told is 0, when nothing is to be told. */
static char *text_of(struct queue *q, const struct envelope *e, size_t *len, uint64_t *told)
{
	char *text = NULL;
	FILE *f = open_memstream(&text, len);
	bool bad;

	*told = 1;
	if (!f)
		return NULL;
	put_head(q, f, e);
	*told = put_letters(q, f);
	put_advice(q, f);
	bad = ferror(f);
	bad |= fclose(f) != 0;
	if (!bad && *told && *len <= REPORT_BODY_MAX)
		return text;
	free(text);
	return NULL;
}

/* 0, and how many letters it tells of. */
static int send_report(struct queue *q, uint64_t *told)
{
	struct env_rcpt to = { .addr = q->ch->config->dead_letter_report,
			       .notify = ENV_NOTIFY_NEVER };
	struct envelope e = {
		.flags = ENV_BOUNCE | ENV_LOCAL | ENV_8BITMIME,
		.received_s = clock_wall_s(),
		.sender = "",
		.rcpt = &to,
		.rcpt_count = 1,
	};
	struct store_change *c;
	char hex[LETTER_ID_STR_MAX], *text;
	size_t len;
	int rc = envelope_new_id(e.id);

	if (rc)
		return rc;
	text = text_of(q, &e, &len, told);
	if (!text)
		return *told ? -ENOMEM : 0;
	e.size = len;
	c = store_begin(q->store);
	rc = c ? store_put_letter(c, &e, (const uint8_t *)text, len) : -ENOMEM;
	if (rc)
		store_cancel(c);
	else
		rc = store_commit(c, true, NULL);
	free(text);
	if (!rc)
		log_info(NULL, "letter=%s letters=%llu msg=\"the admin is told of dead letters\"",
			 letter_id_str(e.id, hex), (unsigned long long)*told);
	return rc;
}

void report_run(struct queue *q, uint64_t now_ms)
{
	struct report *r = &q->report;
	uint64_t told = 0;
	int rc;

	if (!q->ch->config->dead_letter_report)
		r->count = r->more = 0;
	if (!r->count || now_ms < r->next_ms)
		return;
	rc = store_room(q->store) > REPORT_BODY_MAX ? send_report(q, &told) : -ENOSPC;
	if (rc) {
		r->next_ms = now_ms + REPORT_AGAIN_MS;
		log_err(NULL,
			"letters=%llu msg=\"the report of dead letters could not be written: %s\"",
			(unsigned long long)(r->count + r->more), strerror(-rc));
		return;
	}
	if (told)
		r->next_ms = now_ms + REPORT_EVERY_MS;
	r->count = r->more = 0;
}

void report_end(struct queue *q, uint64_t now_ms)
{
	q->report.next_ms = 0;
	report_run(q, now_ms);
}
