/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DATAPLANE_BENCH_H
#define DATAPLANE_BENCH_H

/*
 * Theory: a live tunnel is measured by ESP dummies (next header 59, RFC 4303 s2.6) that begin with a mark and the
 * number of the run. They go the way of data from the queue (fq.h) on: sealed, batched, sent, received, opened; and
 * end there. Only TUN reads and writes are no part of it.
 *
 *	who loads				who is loaded
 *	LOAD number -------------------------->	counted
 *	     <------------------------------->	PING and PONG, by whoever leads; both carry what was counted
 *
 *	"PSTNbch1" | id 8 | kind 1, flags 1, zeros 2, waited 4 | number 8 | stamp 8 | received 8 | highest 8 | zeros
 *
 * The load is one flow of the queue with a place of its own, so every flow of inner packets has the same share as it.
 * It begins slowly and is paced by what PINGs and PONGs say has arrived, when, and how long it waited on its way: a
 * line that others use too is not flooded. Once the rate is found LOADs say so, and from there on what arrives makes
 * the figures. Whoever loads ends after a time, or as soon as for BENCH_QUIET_MS nothing of the other one was heard.
 *
 * One run at a time; its state is one struct in struct dp. What both threads touch is atomic, and belongs to the run
 * whose id it has: what a worker adds late to an old one is lost in the next one's first numbers at worst.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dp.h"
#include "fq.h"

#define BENCH_HEAD     56
#define BENCH_QUIET_MS 1000
#define BENCH_WARM_US  500000 /* at first the rate is looked for, when the sender does not say until when */
#define BENCH_SAMPLE   8      /* of so many packets one's crypto is timed */

enum bench_kind { BENCH_LOAD = 1, BENCH_PING, BENCH_PONG };

#define BENCH_TELLS   1 /* in LOAD: it is said when the rate is found */
#define BENCH_SETTLED 2 /* that is now */

struct bench_head {
	uint64_t id;
	enum bench_kind kind;
	uint8_t flags;
	uint32_t waited_us; /* PING, PONG: longer than the fastest of all LOADs, the fastest of the last ones took */
	uint64_t number;    /* of LOAD, from 1; else the sender's clock in us when it counted */
	uint64_t stamp_us;  /* LOAD, PING: its sender's clock, PONG: the PING's */
	uint64_t rx_pkts, rx_top; /* LOADs that the sender has received, and their highest number */
};

/** bench_head_build() - To @out. */
void bench_head_build(const struct bench_head *h, uint8_t out[static BENCH_HEAD]);
/** bench_head_parse() - False: the content of a dummy is none of these. */
bool bench_head_parse(const uint8_t *content, size_t len, struct bench_head *h);

/* ---- how fast ---- */

#define BENCH_RATE_FIRST 8000000ull /* bit/s */
#define BENCH_RATE_LEAST 256000ull

/*
 *	seek	doubled each round until less arrives than was sent, or some is lost: what arrives is the line's rate
 *	drain	half of that, until what waits on the way has left
 *	cruise	a little below; up in small steps while nothing waits, down when something does or is lost
 *
 * A round is judged by packets that were all sent after the last step. A line that has become wider is found by
 * larger steps after some small ones. Of what waits on the way the receiver tells; one that does not leaves loss.
 */
struct bench_pace {
	uint64_t rate, max; /* bit/s */
	uint64_t line;	    /* the most that has arrived of late */
	uint64_t due_ns;    /* the next may leave */
	enum { BENCH_SEEK, BENCH_DRAIN, BENCH_CRUISE } phase;
	bool doubt;    /* less has arrived than was sent, once, and nobody knows where it waits */
	unsigned good; /* steps up in a row */
	uint64_t seen_rx, seen_top, seen_us, seen_far_us; /* as last heard */
	uint64_t asked_top; /* up to that number it was sent at another rate than now */
	uint64_t until_us;  /* from then on the rate counts as found */
};

/* What the receiver says. */
struct bench_word {
	uint64_t rx, top;   /* so many LOADs, the highest of them */
	uint64_t far_us;    /* by its clock; 0: it does not say */
	uint32_t waited_us; /* see struct bench_head */
};

/** bench_pace_init() - @max: bit/s; 0: DP_BENCH_RATE_MAX. @load_us: so long it will last. */
void bench_pace_init(struct bench_pace *p, uint64_t max, uint64_t load_us, uint64_t now_us);
/** bench_pace_heard() - Each LOAD has @bytes; the next one is @next. */
void bench_pace_heard(struct bench_pace *p, const struct bench_word *word, uint64_t next, size_t bytes,
		      uint64_t now_us);
/** bench_pace_settled() - The rate is found, or it is no longer waited for. */
static inline bool bench_pace_settled(const struct bench_pace *p, uint64_t now_us)
{
	return p->phase == BENCH_CRUISE || now_us >= p->until_us;
}
/** bench_pace_take() - How many of @n with @bytes each may leave now; 0: none before *@until_us. */
unsigned bench_pace_take(struct bench_pace *p, unsigned n, size_t bytes, uint64_t now_us, uint64_t *until_us);

/* ---- a run ---- */

struct bench {
	_Atomic uint64_t id; /* 0: none. Looked at for each packet received */
	_Atomic uint32_t peer;
	_Atomic uint64_t begun; /* serial number of dp_bench_begin() */
	_Atomic uint64_t until_ms; /* of the load; 0: we do not load */
	_Atomic uint64_t rate;
	uint8_t apart[64];
	/* by those who receive */
	_Atomic uint64_t rx_pkts, rx_bytes, rx_top, rx_first_us, rx_last_us;
	_Atomic uint64_t warm_us, warm_pkts, warm_bytes, warm_top;
	_Atomic uint64_t crypto_ns, read_ns, heard_ms;
	_Atomic uint64_t took_least, took_last; /* LOADs on their way, by two clocks: only differences say something */
	_Atomic uint64_t far_rx, far_top, far_us, far_waited, far_serial; /* what the other side says; once more heard */
	_Atomic uint64_t ping_stamp_us, ping_serial;  /* a PING to be answered by who sends */
	_Atomic uint64_t ask_serial;		      /* the control thread wants one sent */
	_Atomic uint32_t rtts;
	_Atomic uint32_t rtt_us[DP_BENCH_RTTS];
	uint8_t apart_too[64];
	/* by who sends */
	_Atomic uint64_t tx_pkts, tx_bytes, send_ns;
};

/* A worker's own part. */
struct bench_tx {
	struct fq_unit q; /* first */
	bool queued;
	uint64_t begun;  /* the run that it knows */
	uint64_t number; /* last one used */
	uint64_t far_serial, ping_serial, ask_serial;
	struct bench_pace pace;
	unsigned tick;
};

struct worker;
struct sa_in;
struct dp;

/** bench_on() - Some run is on: worth a closer look. */
static inline bool bench_on(const struct bench *b)
{
	return atomic_load_explicit(&b->id, memory_order_relaxed) != 0;
}
/** bench_in() - An authentic dummy; perhaps it is part of the run. */
void bench_in(struct worker *w, struct sa_in *sa, const uint8_t *content, size_t len);
/** bench_wake() - By the worker that sends for the peer: the load begins, a PING is to be sent or answered. */
void bench_wake(struct worker *w);
/** bench_serve() - It is the load's turn. */
void bench_serve(struct worker *w, size_t *left);
void bench_crypto(struct worker *w, uint64_t since_ns);
uint64_t bench_clock_ns(void);
/**
 * bench_call() - A call that sends or receives begins: this thread's own time, so that what it waits, or others run,
 * counts nothing. 0: no run is on.
 */
uint64_t bench_call(const struct worker *w);
/** bench_sent(), bench_read() - It is over. */
void bench_sent(struct worker *w, uint64_t since_ns);
void bench_read(struct worker *w, uint64_t since_ns);

#endif
