/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_LOOKUP_LOOKUP_H
#define MTA_LOOKUP_LOOKUP_H

/*
 * Theory: asynchronous questions to the lookup process, from smtpd and relay. One struct lookup is
 * one connection; the owner embeds a struct lookup_req in whatever asks. Exactly one callback comes
 * for each question, unless it is cancelled: an answer, or LOOKUP_TEMPFAIL when the process
 * restarts or LOOKUP_TIMEOUT_MS pass. Questions asked while no connection stands wait for the
 * next one, within the same limit.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"
#include "config.h"
#include "ipc.h"
#include "loop.h"

#define LOOKUP_TIMEOUT_MS    30000
#define LOOKUP_MX_MAX	     16 /* hosts kept, in order of preference */
#define LOOKUP_ADDRS_MAX     16 /* of one host */
#define LOOKUP_EXPANSION_MAX 256
#define LOOKUP_ADDRESS_MAX   321 /* local@domain, NUL included */

enum lookup_status {
	LOOKUP_OK,
	LOOKUP_NONE,	 /* no such name, user, record: a firm no */
	LOOKUP_TEMPFAIL, /* ask again later: SERVFAIL, timeout, table missing: 451 4.4.3 / 4.3.0 */
	LOOKUP_NULL_MX,	 /* RFC 7505: takes no mail: 556 5.1.10 */
	LOOKUP_LOOP,	 /* alias loop or expansion past the bound: 5.4.6 */
	LOOKUP_DENIED,	 /* auth: wrong; rcpt: known and refused */
};

/*
 * A domain that is neither ours nor a home's gives NONE with local false and home empty: whether
 * this client may relay there is not lookup's to say.
 */
struct lookup_rcpt {
	enum lookup_status status;
	bool local;		 /* delivered on this machine */
	char home[MTA_NAME_MAX]; /* [home NAME] whose it is; "" */
	/* By what its letters are counted: without the subaddress, and one for all that a catch-all takes. */
	char mailbox[LOOKUP_ADDRESS_MAX];
	/* Where it goes after aliases: itself, when it is no alias. Valid during the callback. */
	const char (*to)[LOOKUP_ADDRESS_MAX];
	size_t to_count;
};

struct lookup_auth {
	/* OK, DENIED (same time for unknown and wrong), TEMPFAIL; of lookup_senders() NONE: unknown */
	enum lookup_status status;
	/* Addresses that the login may use as sender: a@d, @d, "*"; valid during the callback. */
	const char (*senders)[LOOKUP_ADDRESS_MAX];
	size_t sender_count;
};

struct lookup_host {
	char name[MTA_DOMAIN_MAX];
	uint16_t preference;
	bool secure;   /* DNSSEC validated */
	bool tempfail; /* its addresses could not be had now */
	struct addr addr[LOOKUP_ADDRS_MAX];
	size_t addr_count;
};

struct lookup_mx {
	enum lookup_status status;
	bool implicit; /* no MX: the domain's own A/AAAA */
	bool more;     /* it has hosts beyond LOOKUP_MX_MAX; lookup's own */
	bool secure;
	const struct lookup_host
	    *host; /* sorted by preference, equals shuffled; during the callback */
	size_t host_count;
};

/* Everybody whom this machine has, as lines of a publication; valid during the callback. */
struct lookup_own {
	enum lookup_status status; /* OK, or TEMPFAIL */
	const char *text;	   /* without the first line */
	size_t len, count;
};

struct lookup;
struct lookup_req {
	struct lookup *lookup; /* NULL: nothing asked */
	struct lookup_req *next;
	struct timer timer;
	uint32_t id;
	uint32_t type;
	void *arg;
	union {
		void (*rcpt)(struct lookup_req *r, const struct lookup_rcpt *a);
		void (*auth)(struct lookup_req *r, const struct lookup_auth *a);
		void (*mx)(struct lookup_req *r, const struct lookup_mx *a);
		void (*own)(struct lookup_req *r, const struct lookup_own *a);
	} done;
	uint8_t *pending; /* encoded question while there is no connection */
	size_t pending_len;
};

/** lookup_new() - NULL on ENOMEM. */
struct lookup *lookup_new(struct loop *l);
/** lookup_attach() - Takes @fd (from child_ops.peer); open questions fail with TEMPFAIL first. */
int lookup_attach(struct lookup *lk, int fd);
void lookup_free(struct lookup *lk);

/*
 * Each takes the request and calls its own callback later, never from inside. @r must be zero or
 * done. 0, or -errno (-ENOMEM, -E2BIG for an over-long argument) and then no callback comes.
 * r->done and r->arg are the caller's and set before.
 */

/** lookup_rcpt() - Is @address (local@domain, or "postmaster" alone) known here, where does it go? */
int lookup_rcpt(struct lookup *lk, struct lookup_req *r, const char *address);
/** lookup_auth() - Check a password; @password is wiped from our buffers after sending. */
int lookup_auth(struct lookup *lk, struct lookup_req *r, const char *login, const char *password);
/** lookup_senders() - What may @login, known otherwise, send as? Answered as lookup_auth(). */
int lookup_senders(struct lookup *lk, struct lookup_req *r, const char *login);
/** lookup_mx() - Mail hosts of a domain with their addresses (RFC 5321 s5.1, RFC 7505). */
int lookup_mx(struct lookup *lk, struct lookup_req *r, const char *domain);
/** lookup_addr() - A and AAAA of one host; the answer has the shape of MX with one host. */
int lookup_addr(struct lookup *lk, struct lookup_req *r, const char *host);
/** lookup_ptr() - Names of an address that resolve back to it (FCrDNS); hosts with name only. */
int lookup_ptr(struct lookup *lk, struct lookup_req *r, const struct addr *a);
/** lookup_own() - Who has mail here ([deliver]): what a home publishes. */
int lookup_own(struct lookup *lk, struct lookup_req *r);
/** lookup_cancel() - No callback any more; harmless when nothing is asked. */
void lookup_cancel(struct lookup_req *r);

/*
 * Recipients that a home published over XPOSTERN (hop/publication.h): smtpd hands the committed set
 * on. @text counts until the next for that home. The queue keeps it. -EPIPE without a connection.
 */
int lookup_publish(struct lookup *lk, const char *home, const char *text, size_t len);

#endif
