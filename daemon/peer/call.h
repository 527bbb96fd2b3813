/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef PEER_CALL_H
#define PEER_CALL_H

#include "supervisor.h"

/*
 * Theory: calling a peer. A round asks for the addresses of its names again, and brings one attempt
 * for each address that has none. The engine retransmits what an attempt has sent for ever; here
 * attempts begin, are looked after, and end when their address is no longer one of the peer's.
 */

/** call_wanted() - Should this peer be called now, for lack of an IKE SA that answers? */
bool call_wanted(const struct supervisor *s, uint64_t now_ms);
/** call_tick() - Begin rounds and attempts that are due. Returns when to look again. */
uint64_t call_tick(struct supervisor *s, uint64_t now_ms);
/** call_stop() - End attempts; @all false keeps those in which the far side has answered. */
void call_stop(struct supervisor *s, bool all);
/** call_now() - A reason to try at once, unless the far side lives and refuses. */
void call_now(struct supervisor *s, uint64_t now_ms);
/** call_gap_ms() - Draw the pause until the next try. */
uint64_t call_gap_ms(struct supervisor *s, uint64_t now_ms);
/** call_find() - The attempt with that handle, or NULL. */
struct sup_attempt *call_find(struct supervisor *s, uint32_t ike);
/** call_add() - A target; nothing when it is called already or there is no room. */
void call_add(struct supervisor *s, const struct endpoint *remote, size_t host, uint64_t at_ms);
/**
 * call_stream() - An attempt at once, by a stream that is open. Its handle; 0: there is none.
 */
uint32_t call_stream(struct supervisor *s, const struct engine_path *path, uint64_t now_ms);
/** call_drop() - Of the attempt with that handle, if there is one. */
void call_drop(struct supervisor *s, uint32_t ike);
/** call_add_all() - Those of @addr, IPv6 and IPv4 by turns (what was better first), each 250 ms after the one before. */
void call_add_all(struct supervisor *s, size_t host, const struct addr *addr, size_t count,
		  uint64_t now_ms);
/** call_add_way() - The same by that device, beside what goes by others; 0: by the best way. */
void call_add_way(struct supervisor *s, const struct endpoint *remote, size_t host,
		  uint32_t ifindex, uint64_t at_ms);
/** call_back_off() - The far side lives and refuses (or we do): back off 1 to 30 s. */
void call_back_off(struct supervisor *s, enum engine_why why, uint64_t now_ms);
/** call_sock() - Index of the first socket that can reach @a, beginning with @from; -1: none. */
int call_sock(const struct supervisor *s, const struct addr *a, size_t from);
/**
 * call_depart() - Ask the hooks by which way: they may change @path. @a: the attempt, NULL: the live IKE
 * SA. False: by none.
 */
bool call_depart(struct supervisor *s, const struct sup_attempt *a, struct engine_path *path,
		 uint64_t now_ms);
/** call_good() - Index of the socket that an answer last came to: others may be stuck in a NAT. */
size_t call_good(const struct supervisor *s);
/** call_path() - From socket @sock and source @src to @remote. */
struct engine_path call_path(const struct supervisor *s, size_t sock, const struct addr *src,
			     const struct endpoint *remote);

#endif
