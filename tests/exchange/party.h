/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TESTS_EXCHANGE_PARTY_H
#define TESTS_EXCHANGE_PARTY_H

/*
 * Theory: one engine that is thousands of homes, or the server that they call, with the keys in the same
 * process and a data plane that only takes note. Home number i is hNNNNN.example.net, the server is
 * vps.example.net; a home's number is its peer id less one, on both sides. For tests and benchmarks of
 * many; for two hosts and their every packet there is world.h.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine.h"
#include "ike_num.h"

enum party_style { PARTY_PSK, PARTY_RAW, PARTY_CERT };

struct party;

struct party_config {
	bool server;
	enum party_style style;
	uint32_t homes;
	/*
	 * PEM files: RAW home.key, home.pub, vps.key, vps.pub; CERT hNNNNN.key, hNNNNN.crt, ca.crt.
	 * NULL: RAW keys are made on the spot, the same for both sides of one process.
	 */
	const char *keys;
	uint64_t seed; /* of all that the engine draws; 0: the CSPRNG */
	/* A datagram leaves; @path is the sender's view. */
	void (*send)(void *arg, struct party *p, const struct engine_path *path,
		     const uint8_t *bytes, size_t len);
	void *arg;
	uint32_t half_open_cookie_from, half_open_max, half_open_per_prefix; /* as engine_config */
};

struct party_home {
	uint32_t ike;	  /* handle that is up, 0: none */
	uint32_t spi_out; /* host order, of the newest CHILD SA; 0: none */
	uint64_t seq;	  /* last ESP number sent on it */
	struct esp_suite suite;
	uint8_t key[36]; /* outbound, combined modes: key and salt */
	struct engine_path path;
	uint32_t tries; /* of the request that has no answer */
	uint64_t call_ms, up_ms;
};

struct party {
	struct party_config c;
	struct engine *e;
	struct engine_peer *peer;
	struct party_home *home;
	uint32_t next_spi;
	uint32_t up;				/* homes with an IKE SA now */
	uint64_t ups, failed, child_ups, downs; /* since the start */
	struct party_more *more;
};

/** party_new() - NULL, with a line on stderr, when a key cannot be read. */
struct party *party_new(const struct party_config *c);
void party_free(struct party *p);
void party_datagram(struct party *p, uint64_t now_ms, const struct engine_path *path,
		    const uint8_t *bytes, size_t len);
void party_timer(struct party *p, uint64_t now_ms);
/** party_call() - That home calls; @path is remembered. 0 or what engine_initiate() says. */
int party_call(struct party *p, uint64_t now_ms, uint32_t home, const struct engine_path *path);
/** party_apply() - Carry out what an engine function asked for; empties @fx. */
void party_apply(struct party *p, uint64_t now_ms, struct fx_list *fx);

#endif
