/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TESTS_EXCHANGE_WORLD_H
#define TESTS_EXCHANGE_WORLD_H

/*
 * Theory: two engines in one process, with a network, a clock, a keys process and a data plane of
 * paper. Time moves only in world_run(); every random choice comes from one seed. A packet in flight
 * stands in a list until its time; a test may look at it, hold it, drop it or send it twice.
 *
 *	home (10.0.0.2:40000) --- net --- vps (192.0.2.1:4500)
 */

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "engine.h"
#include "ike_num.h"

#define HOME	     0
#define VPS	     1
#define CHILDREN_MAX 64
#define FLIGHT_MAX   4096

struct paper_child {
	bool used, in, out;
	bool seen; /* a packet came in by it */
	uint32_t spi_in, spi_out;
	struct esp_suite suite;
	uint8_t in_key[128], out_key[128];
	size_t in_key_len, out_key_len;
	struct ts_list local, remote;
	uint32_t line;
	uint64_t soft_bytes, hard_bytes, soft_pkts, hard_pkts;
	uint32_t in_window, out_window;
	uint64_t out_since; /* order of installation: the newest sends */
};

struct host {
	struct world *w;
	int index;
	struct engine *e;
	struct engine_peer peer;
	struct engine_path path; /* to the other one */
	struct secret psk;
	struct privkey *key;
	struct pubkey *pub;
	struct pubkey *other_pub[1];
	struct cert *chain[CERT_CHAIN_MAX];
	struct proposals ike_ps, esp_ps;
	struct engine_ts local_ts[4], remote_ts[4]; /* of conf[0] */
	struct engine_child_conf conf[4];	    /* the peer's, of which it has one at first */
	struct addr assign[2];
	struct prefix from[1];
	struct paper_child child[CHILDREN_MAX];
	uint32_t next_spi, spis; /* spis: given out and not back */
	int install_error;	 /* what child_install answers next, for one direction */
	enum engine_dir install_error_dir;
	/* Pool of this side: addresses for a peer without assign; NULL: it has none. */
	int (*lease)(struct host *h, bool v4, bool v6, struct addr out[static 2], char *why,
		     size_t cap);
	bool keys_dead; /* no answer */
	bool keys_fail; /* the answer is that it cannot */
	uint32_t ike; /* handle of the newest IKE SA that is up */
	bool never_set_path;
	bool nonce_set; /* every nonce begins with nonce_lead */
	uint8_t nonce_lead;
	void (*draw)(struct host *h, uint8_t *p, size_t len); /* may change what was drawn */

	unsigned up, down, child_up, child_rekeyed, child_down, ike_rekeyed, failed, replies;
	unsigned unanswered, hints, private_count, sent;
	struct fx last_down, last_failed, last_up, last_addresses, last_private, last_from;
	struct fx last_update, last_updated, last_others, last_reply, last_hint;
	struct fx last_redirect;
	uint8_t private_bytes[128]; /* of last_private, when it has no more */
	unsigned redirects;
	unsigned from_other_path, updates, updated, nat_changed;
};

struct flight {
	uint64_t at_ms;
	uint64_t order;
	int to;
	struct engine_path path; /* as the receiver sees it */
	uint8_t *bytes;
	size_t len;
	bool answer;	/* w->wire: it is a response; */
	char text[400]; /* and this is what it says, in wire notation */
	/* Not IKE but a packet of the tunnel: its SPI, and what stands for the key that sealed it; 0: IKE. */
	uint32_t spi;
	uint64_t key;
};

struct world {
	uint64_t now_ms, start_ms;
	int64_t wall_s; /* of both; stands still */
	uint64_t seed;
	struct host host[2];
	struct flight flight[FLIGHT_MAX];
	unsigned flights;
	uint64_t order;
	uint64_t clock; /* order of installations */
	/* the network: per cent, and delays in ms */
	unsigned drop, dup, delay_min, delay_max;
	bool cut[2]; /* nothing arrives at that host */
	/* If set, asked for each packet; false: swallowed. */
	bool (*filter)(struct world *w, int to, const struct engine_path *path, uint8_t *bytes,
		       size_t *len);
	void *filter_arg;
	/* If set, sees what the keys process of paper is asked, and may change it, before it answers. */
	void (*before_keys)(struct world *w, int host, struct fx *f);
	FILE *record;
	bool wire; /* read what travels, see wire_text.h */
	bool data; /* whenever something happens, each side sends a packet through the tunnel */
	/* Home's port as others see it; IKE that they send to another is lost; 0: no NAT. */
	uint16_t nat_port;
	uint16_t nat_seen; /* the highest that a packet of the tunnel came from */
	/* Packets of the tunnel: arrived and opened, arrived and not opened, without an SA to send on. */
	unsigned long opened, unopened, unsent;
	/* Of a scenario: which variant; traffic may stop; no IKE SA is to remain. */
	int variant;
	bool may_break, gone;
};

enum auth_style { STYLE_PSK, STYLE_RAW, STYLE_CERT_ED25519, STYLE_CERT_ECDSA, STYLE_CERT_RSA };

/** world_new() - Both configured for each other as the README does, PSK or raw Ed25519 keys. */
struct world *world_new(uint64_t seed, enum auth_style style);
/** world_start() - Make the engines, after the test changed the peers' configuration. */
void world_start(struct world *w);
void world_restart(struct world *w, int host);
/** world_even() - A LAN behind each, no addresses asked for: either side may call. Before world_start(). */
void world_even(struct world *w);
void world_free(struct world *w);
uint64_t world_random(struct world *w);
/** world_run() - Until @ms have passed, or when @ms is 0 until nothing is in flight. */
void world_run(struct world *w, uint64_t ms);
/** world_deliver() - The oldest packet to @to arrives now; false: there is none. */
bool world_deliver(struct world *w, int to);
/** world_take() - Take a packet out of the network; world_put() lets it arrive now. */
struct flight world_take(struct world *w, unsigned i);
void world_put(struct world *w, struct flight f);
/** world_lose() - The oldest packet to @to is lost. */
bool world_lose(struct world *w, int to);
unsigned world_in_flight(const struct world *w, int to);
/** world_inject() - Bytes from anywhere. */
void world_inject(struct world *w, int to, const struct engine_path *path, const uint8_t *bytes,
		  size_t len);
/** world_send() - A packet on its way to @to, past filter and weather. */
void world_send(struct world *w, int to, const struct engine_path *path, const uint8_t *bytes,
		size_t len);
void world_call(struct world *w, int host);
/** world_up() - Call from home and run until quiet; both are up with one CHILD SA. */
void world_up(struct world *w);
/** world_agree() - Both have exactly one IKE SA and one CHILD SA, with the same keys. */
void world_agree(struct world *w);
bool world_agrees(struct world *w, const char **why);
/** world_apply() - Run an engine function's effects. */
void world_apply(struct world *w, int host, struct fx_list *fx);
/** world_no_leaks() - Ends both politely: no SA, SPI or half-open entry remains. */
void world_no_leaks(struct world *w);
unsigned paper_children(const struct host *h, bool in, bool out);
/** world_data() - @from sends a packet for each pair of selectors through the tunnel. */
void world_data(struct world *w, int from);
/** paper_works() - A packet that @from sends now would be opened by the other. */
bool paper_works(struct world *w, int from);

#define EACH_HOST(a) for (int a = 0; a < 2; a++)
#define DO(w, h, call)                                                                             \
	do {                                                                                       \
		struct fx_list fx_ = { 0 };                                                        \
		struct engine *e = (w)->host[h].e;                                                 \
		struct fx_list *fx = &fx_;                                                         \
		uint64_t now = (w)->now_ms;                                                        \
		(void)e, (void)fx, (void)now;                                                      \
		call;                                                                              \
		world_apply((w), (h), &fx_);                                                       \
	} while (0)

#endif
