/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef PEER_MTU_H
#define PEER_MTU_H

/*
 * Theory: how large a packet the way to a peer takes, found out by asking the way (RFC 8899), since
 * ICMP is blocked where it is needed most. A probe is an ESP dummy that makes an IP packet of the size
 * in question, without fragmentation; the peer answers each one with a small dummy. Nothing here
 * waits in the window of IKE, and a lost probe wedges nothing.
 *
 *	         route, tunnel up, hint, ICMP, the peer's word, every 10 min
 *	   idle ────────────────────────────► confirm: does the present size pass?
 *	    ▲                                    │ yes       │ three rounds without, while small ones pass
 *	    │  smallest step                     ▼           ▼
 *	    └──────────────── halve ◄──────── climb ◄─── the largest that passed is in force
 *
 * A round sends its sizes, largest first, and then the smallest packet that there is. That one's
 * answer shows that the way lives and how long it is; what was sent before it and is not answered
 * shortly after is lost. Without it a round says nothing: then the way is dead or slow, which is not
 * for this to judge. Before a size is given up it was lost five times, so a way that loses one packet
 * in five is seldom misjudged, and the climb that follows repairs that.
 *
 * An ICMP error is believed without a probe only when it quotes an SPI of ours that lives, and only
 * down to MTU_ICMP_V4 and MTU_ICMP_V6; then it is put to the test like everything else, and when the test refutes it,
 * no other is believed for a minute. A peer that is no Postern answers no probe: towards it such an
 * error holds for ten minutes.
 *
 * Time is an argument; what is outside comes through struct mtu_ops, which never calls back.
 */

#include <stdbool.h>
#include <stdint.h>

#define MTU_MAX	     1500
#define MTU_FLOOR_V4 576
#define MTU_FLOOR_V6 1280
#define MTU_ICMP_V4  1200
#define MTU_ICMP_V6  1280

#define MTU_AGAIN_MS	 600000 /* when all is quiet: look for a larger one, RFC 8899's raise timer */
#define MTU_FIRST_MS	 100	/* after the tunnel is up */
#define MTU_HINT_MS	 1000	/* between two confirmations for hints */
#define MTU_ICMP_MS	 5000	/* between two for errors that prove nothing */
#define MTU_REFUTED_MS	 60000
#define MTU_WAIT_MS	 1000 /* for the answer to the smallest of a round */
#define MTU_RETRY_MAX_MS 60000
#define MTU_STEP	 8 /* halving ends where less is to be won */

enum mtu_source { MTU_INTERFACE, MTU_PROBE, MTU_ICMP };
enum mtu_state { MTU_IDLE, MTU_CONFIRM, MTU_CLIMB, MTU_HALVE };

struct mtu_ops {
	/*
	 * Send a dummy that makes an IP packet of @bytes (0: the smallest), with @round to be given
	 * back; false: nothing can be sent now.
	 */
	bool (*probe)(void *arg, uint32_t peer, uint16_t bytes, uint16_t round);
	/* mtu->path has changed. */
	void (*changed)(void *arg, uint32_t peer);
	/* A search has ended and found another size than the one before: the peer may want to look too. */
	void (*found)(void *arg, uint32_t peer, uint16_t path);
	/* When inner data was last sent to it; 0: never. */
	uint64_t (*sent_ms)(void *arg, uint32_t peer);
};

struct mtu {
	const struct mtu_ops *ops;
	void *arg;
	uint32_t peer;
	uint16_t top;  /* of the first link of the way; 0: not known */
	uint16_t path; /* in force, with the IP header; 0: not known */
	uint16_t told; /* what the peer was told last */
	uint16_t low;  /* the largest that was answered in this search */
	uint16_t high; /* the smallest above path that is known not to pass; 0: none */
	uint16_t goal; /* climb: so far */
	uint16_t mid;  /* halve: the size in question */
	uint16_t round, first_round; /* of this search */
	uint8_t state, source, tries;
	uint8_t vain;	      /* rounds without any answer, in a row */
	bool v6, probes, on;  /* on: there is an SA to send on */
	bool climb, hinted;   /* confirmed: go on so; a hint came while another search ran */
	bool small_heard;     /* in this round */
	uint16_t rtt_ms;
	uint64_t sent_ms, due_ms; /* due UINT64_MAX: never */
	uint64_t last_ms;	  /* the last search that had an answer ended; 0: none did */
	uint64_t hint_ms, icmp_ms, refuted_ms;
};

void mtu_init(struct mtu *m, const struct mtu_ops *ops, void *arg, uint32_t peer);
/** mtu_route() - How large the first link of the way is, as the kernel's routes say. */
void mtu_route(struct mtu *m, uint16_t first_link, bool v6, uint64_t now_ms);
/** mtu_up() - There is an outbound SA. @probes: the peer answers probes. May be called again. */
void mtu_up(struct mtu *m, bool probes, bool v6, uint64_t now_ms);
void mtu_down(struct mtu *m);
/** mtu_moved() - Its packets go another way from now on. */
void mtu_moved(struct mtu *m, bool v6, uint64_t now_ms);
/** mtu_hint() - Large packets may be getting lost. */
void mtu_hint(struct mtu *m, uint64_t now_ms);
/** mtu_icmp() - Too big, says somebody. @bytes: what would pass, 0: not said. @live: it quotes an SPI of ours. */
void mtu_icmp(struct mtu *m, uint16_t bytes, bool live, uint64_t now_ms);
/** mtu_peer_says() - The way from the peer to us takes @bytes; 0: it only asks to look. */
void mtu_peer_says(struct mtu *m, uint16_t bytes, uint64_t now_ms);
/** mtu_answer() - The peer got the probe of @bytes of that round. */
void mtu_answer(struct mtu *m, uint16_t round, uint16_t bytes, uint64_t now_ms);
/** mtu_tick() - At mtu_due_ms() or later. */
void mtu_tick(struct mtu *m, uint64_t now_ms);

static inline uint64_t mtu_due_ms(const struct mtu *m)
{
	return m->due_ms;
}

/** mtu_source_word() - interface, probe or icmp. */
const char *mtu_source_word(const struct mtu *m);

#endif
