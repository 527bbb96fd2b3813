/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_QUEUE_PROBE_H
#define MTA_QUEUE_PROBE_H

/*
 * Theory: probes (hop/probe.h) as the queue sees them. Here one of three things happens to a probe:
 *
 *	it began here	what became of its one attempt that counts is noted, and the report on it, if one comes
 *	it goes on	to the next Postern over the tunnel; who brought it is noted for the report
 *	it ends		before a mailbox, or with the answer of a host outside: a report (dsn.c) goes back
 *
 * At the last hop it is tried once: who waits for the answer shall not wait for a schedule. Nobody else is told
 * of its end, and it is never kept as a dead letter. What is noted is in memory and bounded: the newest
 * questions take the place of the oldest, those of a peer that has its share the place of its own oldest; a
 * report that nobody waits for is refused.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bounce.h"
#include "loop.h"
#include "msg.h"
#include "schedule.h"
#include "store.h"
#include "tunnel.h"

#define PROBE_WAITS	 16 /* that began here */
#define PROBE_PASSED	 64 /* that went on from here */
#define PROBE_PASSED_EACH (PROBE_PASSED / 4) /* of them, brought by one peer */
#define PROBE_WAIT_MS	 900000
#define PROBE_ENDS	 8 /* at a time */
#define PROBE_REPORT_MAX (24 * 1024) /* of a report, as text */

struct queue;

enum probe_state { PROBE_QUEUED, PROBE_GONE_ON, PROBE_ENDED, PROBE_REFUSED };

/* A question asked here. */
struct probe_wait {
	uint8_t token[LETTER_ID_LEN];
	uint8_t id[LETTER_ID_LEN]; /* of the letter */
	uint64_t until_ms;	   /* 0: free */
	enum probe_state state;
	bool report_due; /* it went to a tunnel peer */
	bool given_up;	 /* what has not left goes no further */
	uint16_t code;
	char route[MTA_NAME_MAX], hop[ROUTE_HOP_MAX], host[256], tls[128], reply[STORE_TEXT_MAX];
	char *report; /* without CR and control characters; or NULL */
};

struct probe_passed {
	uint8_t token[LETTER_ID_LEN];
	uint64_t until_ms; /* 0: free, or its report has passed */
	uint64_t number;   /* grows from one to the next */
	bool storing;	   /* its report is on its way to the disk */
	char peer[TUNNEL_NAME_MAX];
};

struct probes {
	struct probe_wait waits[PROBE_WAITS];
	struct probe_passed passed[PROBE_PASSED];
	size_t next_wait;
	uint64_t passed_count; /* ever */
	/* Attempts that end here, from the loop: amid a commit nothing can be committed. */
	struct timer timer;
	uint32_t ends[PROBE_ENDS];
	size_t end_count;
};

void probes_clear(struct probes *p);
/** probe_ask() - Verb path-test {address, from, mailbox}: a probe into the queue. */
void probe_ask(struct queue *q, uint32_t id, const json_t *args);
/** probe_answer() - Verb path-test-report {id, give_up}: what is known of it by now; or nobody waits any more. */
void probe_answer(struct queue *q, uint32_t id, const json_t *args);

/** probe_added() - A letter was stored: note who brought it, if it is a probe. */
void probe_added(struct queue *q, const struct envelope *e);
/**
 * probe_take() - Is @e a report on a probe, from a tunnel peer?
 * @body: @len bytes, or NULL: they are in a file. A report is never so large.
 *
 * 0: store it; it may be one that goes on, then @e says where (its texts live until the next report), has
 * ENV_PROBE, and probe_passed() is due. 1: it was taken. -ENOENT: nobody waits for it. -EAGAIN: it is just
 * being stored.
 */
int probe_take(struct queue *q, struct envelope *e, const uint8_t *body, size_t len);
/** probe_passed() - The report on @token, which goes on, is @stored; or it is not, and may come again. */
void probe_passed(struct queue *q, const uint8_t token[static LETTER_ID_LEN], bool stored);
/** probe_ends() - Why a probe goes no further than here; NULL: it does. */
const char *probe_ends(const struct queue *q, const struct leg *g, const struct envelope *e);
/** probe_landed() - A result of a probe, before the schedule has it: @res is set to what it means for one. */
void probe_landed(struct queue *q, const struct leg *g, const struct msg_r_result *m,
		  struct msg_r_rcpt_result *res);
/** probe_reply() - A result with host and TLS behind it; returns @out. */
const char *probe_reply(const struct msg_r_result *m, const struct msg_r_rcpt_result *res,
			char out[static STORE_TEXT_MAX]);
/** probe_report() - Recipients of a probe came to their end: a report to who brought it. */
void probe_report(struct queue *q, struct store_change *c, struct letter *l, const uint16_t *which,
		  size_t count, enum dsn_kind kind);

#endif
