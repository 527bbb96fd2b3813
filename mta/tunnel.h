/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_TUNNEL_H
#define MTA_TUNNEL_H

/*
 * Theory: what the MTA knows of the tunnel is what posternd says on its events.sock, nothing else.
 * The parent reads that stream (tunnel.c) and sends every child the whole table, as text of the
 * form below, at start and at each change. Each child holds a struct tunnel_table.
 *
 * A peer is UP or DOWN while posternd is connected. Unconnected for TUNNEL_UNKNOWN_MS, all are
 * UNKNOWN; addresses and device are kept, since the device outlives posternd.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"

#define TUNNEL_UNKNOWN_MS    2000
#define TUNNEL_NAME_MAX	     64
#define TUNNEL_DEV_MAX	     16 /* IFNAMSIZ */
#define TUNNEL_ADDRS_MAX     8
#define TUNNEL_INNER_MAX     16
#define TUNNEL_PEERS_MAX     10000
#define TUNNEL_LINE_MAX	     65536

enum tunnel_state { TUNNEL_DOWN, TUNNEL_UP, TUNNEL_UNKNOWN };

struct tunnel_peer {
	char name[TUNNEL_NAME_MAX]; /* [peer NAME] of postern.conf */
	char identity[256];
	enum tunnel_state state;
	char dev[TUNNEL_DEV_MAX];
	struct prefix inner[TUNNEL_INNER_MAX]; /* what lies behind it */
	size_t inner_count;
	uint64_t changed_ms; /* CLOCK_BOOTTIME of the last change of state */
	bool seen;	     /* since the last hello; only while the list is read */
};

struct tunnel_table {
	char dev[TUNNEL_DEV_MAX];
	struct addr local[TUNNEL_ADDRS_MAX]; /* our own tunnel addresses */
	size_t local_count;
	bool connected;	  /* to posternd, list complete */
	uint32_t serial;  /* grows with each change */
	struct tunnel_peer *peers;
	size_t peer_count;
	size_t peer_cap;
};

/**
 * tunnel_event() - Apply one JSON line of events.sock.
 * @now_ms: for changed_ms.
 * @changed: set when the table is different now (a "rekey" is not).
 *
 * 0, -EBADMSG for what is not such a line (the table is as before), -E2BIG past the limits, -ENOMEM.
 * Unknown events and unknown members are ignored; another "v" is -EBADMSG.
 */
int tunnel_event(struct tunnel_table *t, const char *line, size_t len, uint64_t now_ms,
		 bool *changed);
/** tunnel_apply() - The same for an object that is parsed already; borrows @o. */
int tunnel_apply(struct tunnel_table *t, const json_t *o, uint64_t now_ms, bool *changed);
/** tunnel_lost() - posternd unreachable: every peer UNKNOWN. True when that changed something. */
bool tunnel_lost(struct tunnel_table *t, uint64_t now_ms);
void tunnel_clear(struct tunnel_table *t);

/** tunnel_encode() - The table for the children; malloc'd, caller frees; NULL on ENOMEM. */
uint8_t *tunnel_encode(const struct tunnel_table *t, size_t *len);
/** tunnel_decode() - Replace @t; 0, -EBADMSG, -ENOMEM. Only from our own parent. */
int tunnel_decode(struct tunnel_table *t, const void *data, size_t len);

const struct tunnel_peer *tunnel_peer(const struct tunnel_table *t, const char *name);
/** tunnel_peer_by_addr() - Longest inner prefix that contains @a; NULL. The client's name comes
 * from here, and only for a connection that arrived on a socket bound to the device. */
const struct tunnel_peer *tunnel_peer_by_addr(const struct tunnel_table *t, const struct addr *a);
/** tunnel_source() - Our own tunnel address of @family (AF_INET, AF_INET6); NULL: none. */
const struct addr *tunnel_source(const struct tunnel_table *t, int family);

#endif
