/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The smtpd process with a lookup made of a few words, for smtpd.py, which plays parent and queue:
 * "unknown..." is no recipient, "later..." cannot be checked now, all others exist; joe's password is
 * "secret", and nobody else is a user. Answers come one turn of the loop later, as from another process.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lookup/lookup.h"
#include "proc_mta.h"

struct lookup {
	struct loop *loop;
};

static char asked[LOOKUP_ADDRESS_MAX];
static enum lookup_status verdict;

struct lookup *lookup_new(struct loop *l)
{
	struct lookup *lk = calloc(1, sizeof(*lk));

	if (lk)
		lk->loop = l;
	return lk;
}

int lookup_attach(struct lookup *lk, int fd)
{
	(void)lk;
	close(fd);
	return 0;
}

/* Nobody here asks what homes have published. */
int lookup_publish(struct lookup *lk, const char *home, const char *text, size_t len)
{
	(void)lk;
	(void)home;
	(void)text;
	(void)len;
	return 0;
}

void lookup_free(struct lookup *lk)
{
	free(lk);
}

void lookup_cancel(struct lookup_req *r)
{
	if (r->lookup)
		timer_clear(loop_timers(r->lookup->loop), &r->timer);
	r->lookup = NULL;
}

static void tell_rcpt(struct timer *t, uint64_t now_ms)
{
	static char to[1][LOOKUP_ADDRESS_MAX];
	struct lookup_req *r = t->arg;
	struct lookup_rcpt a = { .status = LOOKUP_OK, .to = (const char (*)[LOOKUP_ADDRESS_MAX])to, .to_count = 1 };

	(void)now_ms;
	r->lookup = NULL;
	memcpy(to[0], asked, sizeof(asked));
	strcpy(a.home, "home");
	snprintf(a.mailbox, sizeof(a.mailbox), "%.*s@example.net", (int)strcspn(asked, "+@"), asked);
	if (!strncmp(asked, "unknown", 7))
		a.status = LOOKUP_NONE, a.to_count = 0;
	if (!strncmp(asked, "later", 5))
		a.status = LOOKUP_TEMPFAIL, a.to_count = 0;
	r->done.rcpt(r, &a);
}

static void tell_auth(struct timer *t, uint64_t now_ms)
{
	static const char senders[1][LOOKUP_ADDRESS_MAX] = { "joe@example.net" };
	struct lookup_req *r = t->arg;
	struct lookup_auth a = { .status = verdict, .senders = senders, .sender_count = 1 };

	(void)now_ms;
	r->lookup = NULL;
	r->done.auth(r, &a);
}

static int later(struct lookup *lk, struct lookup_req *r, void (*fire)(struct timer *, uint64_t))
{
	r->lookup = lk;
	r->timer = (struct timer){ .fire = fire, .arg = r };
	return timer_set(loop_timers(lk->loop), &r->timer, loop_now_ms(lk->loop));
}

int lookup_rcpt(struct lookup *lk, struct lookup_req *r, const char *address)
{
	if (strlen(address) >= sizeof(asked))
		return -E2BIG;
	strcpy(asked, address);
	return later(lk, r, tell_rcpt);
}

int lookup_auth(struct lookup *lk, struct lookup_req *r, const char *login, const char *password)
{
	int rc;

	verdict = !strcmp(login, "joe") && !strcmp(password, "secret") ? LOOKUP_OK : LOOKUP_DENIED;
	rc = later(lk, r, tell_auth);
	if (!rc && !strcmp(login, "slow")) /* longer than any client here waits */
		rc = timer_set(loop_timers(lk->loop), &r->timer, loop_now_ms(lk->loop) + 600000);
	return rc;
}

int lookup_senders(struct lookup *lk, struct lookup_req *r, const char *login)
{
	verdict = !strcmp(login, "joe") ? LOOKUP_OK : LOOKUP_NONE;
	return later(lk, r, tell_auth);
}

int main(void)
{
	return smtpd_main();
}
