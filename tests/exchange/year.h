/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TESTS_EXCHANGE_YEAR_H
#define TESTS_EXCHANGE_YEAR_H

/*
 * Theory: a home behind a NAT and its VPS, each with its real supervisor and its real engine, and all else
 * of paper: the data plane, routes, the resolver, the keys process, the NAT and the network. Each has a clock
 * of its own, which begins anew when the machine does. Time moves in year_run() alone; what happens is drawn
 * from one seed, so a seed that fails runs again exactly.
 *
 *	home: 3 sockets ── NAT: a mapping for each, with an age, ── net: delay, loss, ── vps:4500
 *	      route, DNS	    an idle time, an address	     cut each way	 route, state-dir
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine.h"
#include "ike_num.h"
#include "supervisor.h"

#define HOME	     0
#define VPS	     1
#define YEAR_SOCKS   3
#define YEAR_FLIGHTS 4096
#define YEAR_KIDS    32

struct year;

/* Both directions of a CHILD SA. */
struct year_kid {
	bool in, out;
	uint32_t spi_in, spi_out;
	uint64_t key_in, key_out; /* what stands for the keys */
	uint64_t seq_out, seq_in; /* last sent, highest seen */
	uint64_t order;		  /* of installation: the newest sends */
	bool seen;
};

struct node {
	struct year *y;
	int index;
	bool running, asleep;
	uint64_t born_ms; /* in world time: its clock began */
	struct engine *e;
	struct engine_peer peer;
	struct engine_child_conf conf;
	struct engine_ts here[1], there[1];
	struct proposals ike_ps, esp_ps;
	struct fx_list fx;
	bool applying;

	struct sup_env env;
	struct sup_host host[1];
	struct sup_config cfg;
	struct supervisor sup;
	struct endpoint kept; /* state-dir: the endpoint that the VPS keeps */
	uint64_t hop_used_ms[YEAR_SOCKS], port_next;

	/* data plane */
	struct year_kid kid[YEAR_KIDS];
	uint32_t next_spi;
	uint64_t order;
	bool has_path, limited;
	struct engine_path path;
	uint64_t credit; /* packets, while limited */
	struct sup_activity act;
	uint64_t acquire_ms, unknown_ms;

	/* this machine */
	bool route; /* there is one */
	uint32_t ifindex;
	struct addr src;
	int resolves, routes; /* answers under way */
	uint64_t resolve_at_ms, route_at_ms;
	struct addr route_to[32];

	/* packets of users: sent all @every_ms from @from_ms to @until_ms, world time */
	uint64_t every_ms, from_ms, until_ms, next_ms;
	uint64_t got_sent_ms; /* when the newest that arrived at the other side had been sent */
};

/* A socket of the home, seen from outside. */
struct mapping {
	bool used, dead;
	uint16_t inside, outside;
	struct addr address; /* of the outside when it was made */
	uint64_t made_ms, out_ms;
};

struct flight {
	uint64_t at_ms, order;
	int to;
	struct endpoint from, dst;
	uint8_t *ike; /* NULL: ESP */
	size_t len;
	uint32_t spi;
	uint64_t key, seq, sent_ms;
	bool data;
};

struct year {
	uint64_t now_ms, seed;
	struct node node[2];
	struct flight flight[YEAR_FLIGHTS];
	unsigned flights;
	uint64_t order;
	bool verbose;

	/* the network */
	bool cut[2];   /* what goes to that host is lost */
	unsigned loss; /* per cent */
	unsigned delay_ms, jitter_ms;
	struct mapping map[16];
	uint64_t idle_ms, absolute_ms; /* of mappings; absolute 0: none */
	struct addr outside;	       /* the NAT's address */
	uint16_t next_port;
	struct addr vps, dns; /* where it is, what its name says */
	bool dns_ok;
	unsigned long packets, delivered, handshakes;
};

uint64_t year_random(struct year *y);
uint32_t year_below(struct year *y, uint32_t n);
struct addr year_addr(const char *text);

/* year_net.c */
/** year_send() - From socket @sock of @from: @ike is copied; NULL: an ESP packet as in @f. */
void year_send(struct year *y, int from, const struct engine_path *path, const uint8_t *ike,
	       size_t len, const struct flight *esp);
/** year_forget() - The NAT loses its mappings; @dead: it holds on to them, and they lead nowhere. */
void year_forget(struct year *y, bool dead);
/** year_arrivals() - When the next packet arrives; year_arrive() - let it. */
uint64_t year_arrivals(const struct year *y);
void year_arrive(struct year *y);
void year_flights_clear(struct year *y);

/* year_node.c */
void node_start(struct node *n);
/** node_stop() - kill -9, or in good order: everybody is told. */
void node_stop(struct node *n, bool orderly);
void node_free(struct node *n);
/** node_now() - What its clock says. */
uint64_t node_now(const struct node *n);
/** node_due() - World time when something of it is due; node_run() - do it. */
uint64_t node_due(const struct node *n);
void node_run(struct node *n);
void node_wake(struct node *n);
void node_path_changed(struct node *n);
void node_icmp(struct node *n);
/** node_lie() - Somebody forges INVALID_IKE_SPI. */
void node_lie(struct node *n);
void node_packet(struct node *n, const struct flight *f, const struct engine_path *path);
/** node_data() - An inner packet for the other side. */
void node_data(struct node *n);

#endif
