/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_COUNTERS_H
#define MTA_COUNTERS_H

/*
 * Theory: what postern-mta counts for Prometheus. Each process counts where the event happens, in a
 * table of its own that nobody else writes; smtpd, the one that accepts connections anyway, reads
 * them all when somebody asks:
 *
 *	parent ---- one memfd for each process; they live as long as the parent
 *	   |	       smtpd	       queue	       relay
 *	   | writable    |		 |		 |		each its own
 *	   | read-only   +---------------+---------------+--> smtpd --> GET /metrics
 *
 * No message, no lock, no question that a busy process would have to answer: an event costs one look
 * into a hash table and one addition. A process that is started again goes on in the same table.
 *
 * A row is (what, name, family, result, reason). The name is a listener's or route's of mta.conf, the
 * rest words of the lists below: nothing that a stranger says becomes a label, so there are as many rows
 * as the configuration makes, and they are never given back. Without metrics = in mta.conf there
 * are no tables, and counting into none (NULL) is nothing.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "metrics.h"

#define COUNTERS_ROWS_MAX 16384 /* of one table; what comes after is lost, and that is counted */

/* In the order of counters.c's table of names. */
enum counter {
	/* smtpd; by listener and family */
	COUNTER_SESSIONS,
	COUNTER_SESSIONS_OPEN, /* gauge */
	COUNTER_TURNED_AWAY,   /* reason */
	COUNTER_TLS,	       /* result */
	COUNTER_AUTH,	       /* result */
	COUNTER_LETTERS,
	COUNTER_LETTER_BYTES,
	COUNTER_REFUSED, /* result, reason */
	/* relay; by route and family */
	COUNTER_CONNECTIONS, /* result */
	COUNTER_RECIPIENTS,  /* result, reason */
	COUNTER_WAITED,	     /* seconds */
	/* queue */
	COUNTER_QUEUE,	   /* gauge; result is the state */
	COUNTER_WAITING,   /* gauge; by route */
	COUNTER_NEXT_HOPS, /* gauge; by route, result is the state */
	COUNTER_BACKUPS,   /* gauge; by route */
	COUNTER_EXPIRED,   /* by route */
	COUNTER_BOUNCES,
	COUNTER_DEAD,
	COUNTER_RECORDS,
	COUNTER_SYNCS,	   /* result */
	COUNTER_ACCEPTING, /* gauge */
	COUNTERS,
};

/* The words of result and reason. WORD_NONE: that label is left out. */
enum counter_word {
	WORD_NONE,
	/* reasons: subjects of RFC 3463 s3, in its order */
	WORD_OTHER,
	WORD_ADDRESS,
	WORD_MAILBOX,
	WORD_SYSTEM,
	WORD_NETWORK,
	WORD_PROTOCOL,
	WORD_CONTENT,
	WORD_POLICY,
	/* reasons why a client is turned away */
	WORD_NOT_A_PEER,
	WORD_LISTENER_FULL,
	WORD_NETWORK_FULL,
	WORD_NETWORK_RATE,
	/* results */
	WORD_OK,
	WORD_FAILED,
	WORD_WRONG,
	WORD_LATER,
	WORD_TEMPORARY,
	WORD_PERMANENT,
	WORD_DELIVERED,
	WORD_DEFERRED,
	/* states of letters and of next hops */
	WORD_QUEUED,
	WORD_HELD,
	WORD_DEAD,
	WORD_UP,
	WORD_PROBING,
	WORD_UNKNOWN,
	WORD_DOWN,
	COUNTER_WORDS,
};

/* Which row. */
struct counter_labels {
	const char *name; /* of a listener or route; NULL: none */
	int family;	  /* AF_INET, AF_INET6, AF_UNIX; 0: none */
	enum counter_word result, reason;
};

struct counters; /* one table, mapped */

/**
 * counters_memfd() - An empty table.
 * @readable: gets a second descriptor of it that cannot be written by.
 *
 * Its size is sealed, so whoever holds it cannot cut it from under a reader. Needs /proc. Returns the
 * writable descriptor or -errno.
 */
int counters_memfd(int *readable);
/**
 * counters_open() - Map the table at @fd, which stays the caller's.
 * @write: we are its process: rows are found again, gauges begin at 0. Else to be read only.
 *
 * NULL on an error (errno): -EINVAL when it is no table.
 */
struct counters *counters_open(int fd, bool write);
void counters_close(struct counters *c);

/** counters_add() - @c may be NULL. A gauge goes down by adding (uint64_t)-1. */
void counters_add(struct counters *c, enum counter what, const struct counter_labels *l,
		  uint64_t n);
/** counters_set() - A gauge, or what is counted elsewhere. @l may be NULL. */
void counters_set(struct counters *c, enum counter what, const struct counter_labels *l,
		  uint64_t n);
/** counters_zero_gauges() - What they were about may be no more (a reload). */
void counters_zero_gauges(struct counters *c);

/**
 * counters_reason() - Subject of an enhanced status code (RFC 3463): "4.7.1", words may follow.
 * @code: of the SMTP reply, 0: there was none. Where there is no enhanced code it must do.
 */
enum counter_word counters_reason(unsigned code, const char *enhanced);

/**
 * counters_write() - All families, with the rows of all tables; those that are NULL have none.
 *
 * The tables are other processes': a row that makes no sense is left out.
 */
void counters_write(struct metrics *m, struct counters *const *tables, size_t count);

#endif
