/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TESTS_EXCHANGE_ODD_H
#define TESTS_EXCHANGE_ODD_H

/*
 * Theory: messages that no engine would send, byte by byte (forge.h changes those that an engine does
 * send). A struct odd is one message under construction; payloads are appended by the pld_*_add()
 * functions through o->b, or as bytes by odd_payload(). An unprotected one goes out by odd_inject(). A
 * protected one is a chain that odd_request() or odd_response() seals with the keys of one of the two
 * engines, for whom the test then speaks: that engine knows nothing of it, and what comes back stays in
 * flight for odd_answer().
 */

#include "world.h"
#include "dh.h"
#include "engine_int.h"

struct odd {
	struct ike_build b;
	uint8_t buf[IKE_MSG_MAX];
	size_t len; /* after odd_end() */
};

/** odd_begin() - A whole unprotected message; @h as it shall stand on the wire. */
void odd_begin(struct odd *f, const struct ike_hdr *h);
/** odd_init() - The same for IKE_SA_INIT --> with an SPIi that only this test uses. */
void odd_init(struct odd *f, uint64_t spi_i);
/** odd_inner() - A chain for SK {..}. */
void odd_inner(struct odd *f);
/** odd_payload() - @flags: the byte behind Next Payload (0x80: critical). */
void odd_payload(struct odd *f, uint8_t type, uint8_t flags, const void *body, size_t len);
/* What an honest IKE_SA_INIT has; the KE value is a true one of X25519. */
void odd_sa(struct odd *f);
void odd_ke(struct odd *f);
void odd_nonce(struct odd *f, size_t len);
void odd_rest(struct odd *f);	/* all three */
void odd_choice(struct odd *f); /* SAr1 of an honest <-- IKE_SA_INIT, with curve25519 */
/* What SK {SA, Ni, TSi, TSr} of home for another CHILD SA has, without PFS. */
void odd_esp(struct odd *f);
void odd_ts(struct odd *f);
void odd_end(struct odd *f);
/** odd_inject() - The finished message reaches @to from @path's remote end. */
void odd_inject(struct world *w, int to, const struct engine_path *path, const struct odd *f);
/** odd_stranger() - A path to the VPS from an address of its own for each @i. */
struct engine_path odd_stranger(unsigned i);

/** odd_sa_of() - The up IKE SA of @host. */
struct ike_sa *odd_sa_of(struct world *w, int host);
/** odd_request() - Seal the chain in @f as @from's next request (by what the other one awaits). */
void odd_request(struct world *w, int from, uint8_t exchange, struct odd *f);
/** odd_response() - Seal it as @from's answer to the request that the other one has outstanding. */
void odd_response(struct world *w, int from, struct odd *f);
/** odd_seal() - As odd_request(), with a header of the test's own (SPIs filled in). */
void odd_seal(struct world *w, int from, struct ike_hdr h, struct odd *f);
/**
 * odd_answer() - Take the one packet in flight to @to, open it with the keys of @sa (of that host; NULL:
 * it is unprotected) and parse it. NULL: nothing is in flight. The result lives until the next call.
 */
const struct ike_msg *odd_answer(struct world *w, int to, const struct ike_sa *sa);
/** odd_notify_only() - Is @m nothing but one notify of that type? */
bool odd_notify_only(const struct ike_msg *m, uint16_t type);

/* One payload of a chain in flight; @type PLD_NONE: the end, where more may be added. */
typedef void (*odd_edit)(struct odd *f, uint8_t type, uint8_t flags, struct span body,
			 const void *arg);
/**
 * odd_change() - Open the one protected packet in flight to @to with the keys of its sender @sa, give
 * each payload to @edit, which appends to @f what shall stand there instead, and seal the result.
 */
void odd_change(struct world *w, int to, const struct ike_sa *sa, odd_edit edit, const void *arg);
/** odd_keep() - The edit that changes nothing. */
void odd_keep(struct odd *f, uint8_t type, uint8_t flags, struct span body, const void *arg);
/** odd_candidate() - The first SA of @host's peer that is about to authenticate. */
struct ike_sa *odd_candidate(struct world *w, int host);
/** odd_calling() - The SPIi of home's call. */
uint64_t odd_calling(struct world *w);
/** odd_until_auth() - Home calls; on return its IKE_AUTH --> is the only packet in flight. */
void odd_until_auth(struct world *w);

#endif
