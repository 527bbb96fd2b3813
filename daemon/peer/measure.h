/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef PEER_MEASURE_H
#define PEER_MEASURE_H

/*
 * Theory: postern bench PEER. Who asks leads through three phases, each of which the other side is asked for by
 * INFORMATIONAL with a private notify (POSTERN_BENCH); the load itself is the data plane's (dp.h).
 *
 *	asker							asked
 *	ASK id, phase, ms, rate ------------------------------>	consents? nobody else's turn?
 *	    <-------------------------------------------------- YES id, or NO id, why
 *	PING each 20 ms, in ESP ------------------------------>	PONG
 *	LOAD, in ESP: phase OUT ------------------------------>	counted
 *	    <-------------------------------------------------- LOAD: phase IN
 *	STOP id ---------------------------------------------->
 *	    <-------------------------------------------------- REPORT id, figures
 *	.. the next phase; at last, or when it is broken off:
 *	DONE id ---------------------------------------------->
 *
 * Consent is `bench = allow` in the section of the asked one for the asker, looked at for every phase and after
 * every reload. One run at a time, of whichever role. Nothing goes on without the asker: a load ends when its PINGs
 * stay out for a second, and the asked one forgets the run shortly after its phase should have been over. A peer
 * that does not know the notify gives no answer to it.
 *
 * Time is an argument; what is outside comes through struct measure_ops, which never calls back.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MEASURE_MS_MAX	  60000
#define MEASURE_IDLE_MS	  1000
#define MEASURE_PING_MS	  20
#define MEASURE_ANSWER_MS 8000	/* IKE sends again meanwhile */
#define MEASURE_DRAIN_MS  200	/* what is still under way after a load */
#define MEASURE_QUIET_MS  3000	/* no PONG for so long: the peer is gone */
#define MEASURE_TELL_MS	  500	/* progress */
#define MEASURE_SPARE_MS  10000 /* the asked one waits so long for what should come next */
#define MEASURE_RTTS	  4096

enum measure_phase { MEASURE_IDLE, MEASURE_OUT, MEASURE_IN, MEASURE_PHASES };

struct measure_figures {
	uint64_t rx_pkts, rx_bytes, rx_lost, rx_us;
	uint64_t tx_pkts, tx_bytes;
	uint64_t wall_us, cpu_us, crypto_us, send_us, read_us;
	uint64_t heard_ms; /* not told to the peer */
};

struct measure_rtt {
	uint32_t sent, count; /* PINGs, and those that came back */
	uint32_t least_us, median_us, p99_us, most_us;
};

struct measure_result {
	struct measure_figures own[MEASURE_PHASES], far[MEASURE_PHASES];
	struct measure_rtt rtt[MEASURE_PHASES];
};

/* What is wanted of the data plane. */
struct measure_load {
	uint32_t peer;
	uint64_t id;
	uint32_t load_ms; /* we load; 0: we do not */
	uint64_t rate;
};

struct measure_ops {
	bool (*consents)(void *arg, uint32_t peer);
	/* The notify; false: there is no IKE SA. */
	bool (*tell)(void *arg, uint32_t peer, const uint8_t *bytes, size_t len);
	int (*begin)(void *arg, const struct measure_load *l);
	void (*end)(void *arg);
	void (*ping)(void *arg);
	void (*read)(void *arg, struct measure_figures *f);
	unsigned (*rtts)(void *arg, uint32_t *us, unsigned n);
	/* Whoever wanted it is still there. */
	bool (*wanted)(void *arg);
	/* A phase has begun, or goes on: so much was received, or as far as is known sent. */
	void (*progress)(void *arg, enum measure_phase phase, uint32_t ms, uint64_t bytes);
	/* The end of what was asked for; @why: NULL when it went well. */
	void (*over)(void *arg, const struct measure_result *r, const char *why);
};

enum measure_role { MEASURE_NOBODY, MEASURE_ASKER, MEASURE_ASKED };

struct measure {
	const struct measure_ops *ops;
	void *arg;
	enum measure_role role;
	enum { MEASURE_ASKING, MEASURE_RUNNING, MEASURE_WAITING } step;
	uint32_t peer;
	uint64_t id;
	enum measure_phase phase;
	uint32_t ms;
	uint64_t rate;
	uint64_t began_ms, until_ms, due_ms, told_ms;
	struct measure_result r;
	uint32_t rtt_us[MEASURE_RTTS];
};

void measure_init(struct measure *m, const struct measure_ops *ops, void *arg);
/**
 * measure_start() - By the admin. @id: random, not 0; @ms: of each direction; @rate: bit/s, 0: none.
 * 0, -EBUSY (one is on), -ENOTCONN (there is no IKE SA), or what ->begin() said; then ->over() is not called.
 */
int measure_start(struct measure *m, uint32_t peer, uint64_t id, uint32_t ms, uint64_t rate, uint64_t now_ms);
/** measure_heard() - A POSTERN_BENCH of an authenticated peer. */
void measure_heard(struct measure *m, uint32_t peer, const uint8_t *bytes, size_t len, uint64_t now_ms);
/** measure_reload() - Consents may be other ones. */
void measure_reload(struct measure *m);
/** measure_forget() - That peer is no more. */
void measure_forget(struct measure *m, uint32_t peer);
/** measure_tick() - At measure_due_ms() or later. */
void measure_tick(struct measure *m, uint64_t now_ms);

static inline uint64_t measure_due_ms(const struct measure *m)
{
	return m->role == MEASURE_NOBODY ? UINT64_MAX : m->due_ms;
}

#endif
