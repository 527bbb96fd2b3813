/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Theory: a router without a battery starts in 1970, and gets the time by the tunnel that a certificate
 * with dates would keep down. While the wall clock is plainly wrong, that is before the program was
 * built, dates are not judged; everything else of a certificate is. What was believed so stays with
 * the IKE SA and its successors, and is judged when the clock is right: then an SA whose peer's
 * certificate is out of its dates ends.
 *
 *	clock < build date: cert_verify(no dates) -> up, "dates not judged" in log and status
 *	clock is right (looked at every DATES_MS): cert_verify(dates) -> forgotten, or Delete
 */
#include "engine_int.h"

#include <stdlib.h>
#include <time.h>

#define DATES_MS 10000

int64_t dates_now(const struct engine *e)
{
	int64_t now = e->ops->wall_s ? e->ops->wall_s(e->arg) : clock_wall_s();

	return now < e->built_s ? -1 : now;
}

static const char *day(int64_t s, char out[static 16])
{
	time_t t = (time_t)s;
	struct tm tm;

	if (!gmtime_r(&t, &tm) || !strftime(out, 16, "%Y-%m-%d", &tm))
		out[0] = '\0';
	return out;
}

static void arm(struct engine *e)
{
	if (e->dates_armed)
		return;
	e->dates_armed = true;
	timer_arm(e, &e->dates, e->now_ms + DATES_MS);
}

int dates_keep(struct engine *e, struct ike_sa *sa, const struct cert *leaf,
	       const struct span *others, size_t count)
{
	struct dates *d = calloc(1, sizeof(*d));
	struct span der = cert_der(leaf);

	if (!d || cert_parse(der.p, der.len, &d->leaf)) {
		dates_free(d);
		return -ENOMEM;
	}
	for (size_t i = 0; i < count && d->count < CERT_CHAIN_MAX; i++) {
		/* One that cannot be read was of no use for the chain. */
		if (!cert_parse(others[i].p, others[i].len, &d->other[d->count]))
			d->count++;
	}
	dates_free(sa->dates);
	sa->dates = d;
	return 0;
}

void dates_told(struct engine *e, struct ike_sa *sa)
{
	int64_t now = e->ops->wall_s ? e->ops->wall_s(e->arg) : clock_wall_s();
	char is[16], built[16], subject[120];

	if (!sa->dates)
		return;
	log_warn(
	    &sa->log,
	    "the dates of its certificate (%s) are not judged: the clock says %s, and this program "
	    "was built on %s; they will be when the clock is right",
	    cert_subject(sa->dates->leaf, subject, sizeof(subject)), day(now, is),
	    day(e->built_s, built));
	arm(e);
}

/* False: it has ended. */
static bool judge(struct engine *e, struct ike_sa *sa, int64_t now_s)
{
	struct dates *d = sa->dates;
	const struct engine_auth_remote *r = &sa->peer->p->remote_auth;
	struct span others[CERT_CHAIN_MAX];
	const char *why = "has no authority any more";
	char subject[120];
	int err = -EKEYREJECTED;

	for (size_t i = 0; i < d->count; i++)
		others[i] = cert_der(d->other[i]);
	if (r->ca)
		err = cert_verify(d->leaf, others, d->count, r->ca, now_s, &why);
	if (err == -ENOMEM)
		return true; /* asked again */
	cert_subject(d->leaf, subject, sizeof(subject));
	sa->dates = NULL;
	dates_free(d);
	if (!err) {
		log_info(&sa->log, "the clock is right now: the dates of its certificate (%s) hold",
			 subject);
		return true;
	}
	explain(
	    e, sa->peer, sa, &sa->path, ENGINE_WHY_AUTH_FAILED, false,
	    "the clock is right now, and its certificate (%s) %s; `ca` decides: let it have a new "
	    "one there",
	    subject, why);
	sa_goodbye(e, sa, ENGINE_WHY_AUTH_FAILED);
	return false;
}

void on_dates(struct timer *t, uint64_t now_ms)
{
	struct engine *e = t->arg;
	int64_t now_s = dates_now(e);
	bool owed = false;

	(void)now_ms;
	e->dates_armed = false;
	for (struct peer_entry *pe = e->peers; pe; pe = pe->next) {
		for (struct ike_sa *sa = pe->sas, *next; sa; sa = next) {
			next = sa->peer_next;
			if (!sa->dates || sa->state != SA_UP)
				continue;
			if (now_s < 0 || (judge(e, sa, now_s) && sa->dates))
				owed = true;
		}
	}
	if (owed)
		arm(e);
}
