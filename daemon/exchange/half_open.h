/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef EXCHANGE_HALF_OPEN_H
#define EXCHANGE_HALF_OPEN_H

/*
 * Theory: what a responder remembers between IKE_SA_INIT and IKE_AUTH. Anybody who receives at his
 * address can make it remember thousands of these, so an entry is one piece of at most HALF_OPEN_BYTES:
 *
 *	IKE_SA_INIT -->   g^r is computed, the answer leaves; kept are both messages (packed: AUTH
 *			  signs them, a repeated request gets the same answer) and the private value
 *	IKE_AUTH -->	  the first one that could be meant computes g^ir, once: SKEYSEED takes the
 *			  place of the private value, whether the ICV holds or not
 *	ICV holds:	  the caller did a key exchange of his own; a struct ike_sa in state SA_R_INIT takes over
 *	ICV wrong:	  dropped, the entry stays (RFC 7296 s2.21: nobody can end an exchange by garbage)
 *
 * Messages that do not fit (MODP values, a strange caller's long proposals) may take more, from one
 * budget of HALF_OPEN_EXCESS_MAX bytes for all. An entry ends after HALF_OPEN_MS.
 */

#include "dh.h"
#include "engine_path.h"
#include "hash.h"
#include "prf.h"

#define HALF_OPEN_MS	     30000 /* a responder's half-open SA lives so long */
#define HALF_OPEN_MSG_MAX    4096 /* bytes of an IKE_SA_INIT; RFC 7296 s2 wants 1280, better 3000 */
#define HALF_OPEN_FAIR_MS    2000  /* so long nobody takes its place */
#define HALF_OPEN_BYTES	     1024 /* of one entry, as the allocator counts */
#define HALF_OPEN_EXCESS_MAX (1024 * 1024)

struct engine;
struct ike_msg;
struct ike_sa;

struct half_open {
	struct hash_node by_spi, by_init;
	struct half_open *next; /* oldest first */
	struct half_open **prev;
	uint64_t spi_i, spi_r;
	uint64_t since_ms;
	struct endpoint remote;
	struct ike_suite suite;
	uint16_t prefix;
	bool cookie; /* came back: it counts for its prefix */
	bool nat_local, nat_remote;
	bool frag;  /* both sides can RFC 7383 */
	bool keyed; /* secret is SKEYSEED, else our private DH value */
	uint8_t secret_len;
	uint8_t secret[DH_PRIVATE_MAX];
	uint16_t request_len, reply_len, packed_len;
	uint8_t packed[]; /* request | reply */
};

/**
 * half_open_add() - Remember an exchange whose answer @reply is ready to leave.
 * @m: the request. @dh: ours, borrowed. 0, -ENOMEM, -ENOBUFS (over the budget), -EMSGSIZE.
 */
int half_open_add(struct engine *e, const struct ike_msg *m, const struct engine_path *path,
		  uint64_t spi_r, const struct ike_suite *suite, const struct dh *dh,
		  struct span reply, bool cookie);
/** half_open_by_spi() - By both SPIs, or NULL. */
struct half_open *half_open_by_spi(const struct engine *e, uint64_t spi_i, uint64_t spi_r);
bool half_open_has_spi(const struct engine *e, uint64_t spi_r);
/**
 * half_open_repeated() - Is this IKE_SA_INIT one that we have answered? Then it is dealt with: the same
 * bytes again get the same answer, others under that SPI nothing.
 */
bool half_open_repeated(struct engine *e, const struct ike_msg *m, const struct engine_path *path);
/**
 * half_open_open() - A protected message for @ho. When it is an authentic first IKE_AUTH (fragment), @ho
 * becomes the returned SA, for which the message has still to be processed. Else NULL: dropped.
 */
struct ike_sa *half_open_open(struct engine *e, struct half_open *ho, const struct ike_msg *m,
			      const struct engine_path *path);
/** half_open_expire() - End those that are too old; 0: all. */
void half_open_expire(struct engine *e, uint64_t now_ms, bool all);
/**
 * half_open_evict() - End the oldest of network @slot (-1: of all), one whose fragments do not
 * come included, if it had HALF_OPEN_FAIR_MS. False: there is none; @since_ms: the oldest's age, or now.
 */
bool half_open_evict(struct engine *e, int slot, uint64_t *since_ms);
/** half_open_forget() - One exchange less counts against the bounds. */
void half_open_forget(struct engine *e, bool cookie, uint32_t prefix);

#endif
