/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef IKE_FRAGMENT_H
#define IKE_FRAGMENT_H

/*
 * Theory (RFC 7383): a protected message too large for one datagram travels as SKF messages of the same
 * message ID, each sealed alone. Only authentic fragments reach struct frag_set, so the peer is the
 * only one who can fill it, and it is bounded all the same. A message whose
 * Total Fragments differs from the set's: larger starts the set anew, smaller is
 * dropped (s2.6, the peer reduced its fragment size).
 */

#include "sk.h"

#define FRAGS_MAX	64
#define FRAG_BYTES_MAX	60000 /* with what keeps them less than 64 KiB */
#define FRAG_TIMEOUT_MS 10000

struct frag_set {
	bool active;
	uint32_t id; /* message ID */
	bool response;
	uint16_t total;
	uint16_t have;
	uint8_t exchange;
	uint8_t first; /* from fragment 1 */
	uint64_t since_ms;
	size_t bytes;
	/* From the owner; they outlive frag_clear(). */
	size_t max;	 /* bytes; 0: FRAG_BYTES_MAX */
	size_t *pool;	 /* bytes that this set and others hold together, or NULL */
	size_t pool_max; /* of them */
	struct {
		uint8_t *p; /* owned, NULL: missing */
		uint16_t len;
	} frag[FRAGS_MAX];
};

/**
 * frag_check() - May this SKF header belong to a set? To be asked before any decryption.
 * 0; -EPROTO: number 0 or above total, total 0 or above FRAGS_MAX, Next Payload of fragment 2 and
 * on not 0, of fragment 1 being 0; -EEXIST: have it; -ESTALE: smaller total than the set's.
 */
int frag_check(const struct frag_set *s, const struct ike_msg *m);
/**
 * frag_add() - Keep one opened fragment (copied).
 * @plain, @len: from sk_open(). A set of another message ID, or older than FRAG_TIMEOUT_MS, is
 * dropped first.
 * Returns 1: complete, call frag_join(); 0: more to come; errors of frag_check(); -EMSGSIZE (over
 * the bound: the set is dropped), -ENOBUFS (the pool is full: this fragment is dropped), -ENOMEM.
 */
int frag_add(struct frag_set *s, const struct ike_msg *m, const void *plain, size_t len,
	     uint64_t now_ms);
/**
 * frag_join() - The inner chain of a complete set, for ike_msg_parse_inner(); empties the set.
 * @out: FRAG_BYTES_MAX is enough. 0, -EAGAIN (not complete), -EMSGSIZE.
 */
int frag_join(struct frag_set *s, uint8_t *out, size_t cap, size_t *len, uint8_t *first);
/** frag_expire() - Drop a set older than FRAG_TIMEOUT_MS; true when it did. */
bool frag_expire(struct frag_set *s, uint64_t now_ms);
void frag_clear(struct frag_set *s);

/* How an outgoing message is cut. */
struct frag_plan {
	uint16_t total;
	size_t chunk; /* plaintext bytes in each but the last */
};

/**
 * frag_plan() - For an inner chain of @inner_len bytes and IKE messages of at most @max_msg bytes (without IP,
 * UDP and marker). 0; -EMSGSIZE: more than FRAGS_MAX fragments or @max_msg too small.
 */
int frag_plan(const struct ike_aead *a, size_t inner_len, size_t max_msg, struct frag_plan *out);
/** skf_seal() - Fragment @number (from 1) of the plan as a whole message; else as sk_seal(). */
int skf_seal(struct ike_aead *a, const struct ike_hdr *h, const struct frag_plan *plan,
	     uint16_t number, uint8_t first, const void *inner, size_t inner_len, uint8_t *out,
	     size_t cap, size_t *len);

#endif
