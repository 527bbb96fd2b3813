/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SA_IKE_SA_H
#define SA_IKE_SA_H

/*
 * Theory: one IKE SA, from the first message to the last. An initiator's IKE_SA_INIT is a *call*
 * (SA_CALLING): every answer to it that could be true becomes a candidate SA of its own with the
 * call's SPI, and the first one whose AUTH holds takes the call's handle and ends the rest (RFC 7296 s2.4:
 * anyone can forge the answer to IKE_SA_INIT).
 *
 *	SA_CALLING -INIT answer-> SA_I_SIGN -signed-> SA_I_AUTH -AUTH answer-> [SA_I_VERIFY] -> SA_UP
 *	                          SA_R_INIT -AUTH request-> [SA_R_VERIFY] -> [SA_R_ASK] ->
 *	                                                       SA_R_SIGN -signed-> SA_UP
 *	SA_UP -rekeyed-> SA_REKEYED    -newer IKE SA of this peer-> SA_RETIRED    -Delete sent-> SA_CLOSING
 */

#include "cert.h"
#include "child_sa.h"
#include "clock.h"
#include "dh.h"
#include "engine_path.h"
#include "fragment.h"
#include "hash.h"
#include "ike_aead.h"
#include "log.h"
#include "message.h"
#include "prf.h"
#include "retransmit.h"
#include "window.h"

#define IKE_TASKS_MAX	 16
#define IKE_CHILDREN_MAX 64 /* of any state, LINGER included */
#define IKE_CHILDREN_UP	 16 /* working ones; more: NO_ADDITIONAL_SAS */
#define IKE_COOKIE2_LEN	 16 /* ours; the peer's may have 8 to 64 bytes */
#define IKE_QCD_TOKEN_MAX 128 /* RFC 6290 s4.1; and 16 at least */

enum sa_state {
	SA_CALLING,
	SA_I_SIGN,
	SA_I_AUTH,
	SA_I_VERIFY,
	SA_R_INIT,
	SA_R_VERIFY,
	SA_R_ASK, /* its AUTH holds; does an older instance of it still answer? (unique.c) */
	SA_R_SIGN,
	SA_UP,
	SA_REKEYED,
	SA_RETIRED,
	SA_CLOSING,
	SA_DEAD,
	SA_STATES
};

/* A request of ours: what waits in the queue, or is outstanding. */
enum task_kind {
	TASK_NONE,
	TASK_DELETE_IKE,
	TASK_DELETE_CHILD, /* .spi: ours */
	TASK_REKEY_IKE,
	TASK_REKEY_CHILD, /* .spi: of the old one, ours */
	TASK_CREATE_CHILD,
	TASK_LIVENESS,
	TASK_INVALID_SPI, /* .spi: the peer's packet had it, we have not */
	TASK_UPDATE,	  /* UPDATE_SA_ADDRESSES with the path of the moment it leaves */
	TASK_ADDRESSES,	  /* our other addresses */
	TASK_PRIVATE, /* .type, .bytes */
};

struct task {
	enum task_kind kind;
	uint32_t spi;
	uint32_t conf; /* CREATE_CHILD: engine_child_conf.id */
	uint16_t type;
	uint16_t group; /* REKEY_*, CREATE_CHILD: KE group to use, 0: the first one */
	bool more;	/* CREATE_CHILD: the peer said that there is more for .conf */
	bool if_none;	/* CREATE_CHILD: only when none of .conf works at that time */
	uint8_t rounds; /* INVALID_KE_PAYLOAD seen */
	bool any_prf;	/* REKEY_IKE: the present PRF was refused */
	uint8_t *bytes; /* owned */
	size_t len;
};

/* A configured CHILD SA that is not up. */
struct child_due {
	uint32_t conf;
	unsigned failures;
	uint64_t at_ms;	   /* when to try (again); 0: not by time */
	uint64_t tried_ms; /* last */
};

struct nonce {
	uint8_t b[NONCE_LEN_MAX];
	size_t len;
};

/*
 * All of a nonce of ours, and of any other as much as puts two in order: who draws one that is equal to
 * another over so many octets has no random numbers.
 */
struct nonce_head {
	uint8_t b[NONCE_LEN];
	uint8_t len;
};

/*
 * The peer's own exchange about the same SA that crossed ours (RFC 7296 s2.8.1, s2.8.2). It stands with
 * our outstanding request, whose answer settles which of the two new SAs stays.
 */
struct collision {
	bool active;
	uint32_t spi_in;     /* CHILD: made by the peer's exchange */
	struct ike_sa *sa;   /* IKE: the same */
	struct nonce_head lowest; /* of the two nonces of the peer's exchange */
};

struct outreq {
	struct task task;
	uint8_t exchange;
	struct datagrams datagrams;
	uint8_t *inner; /* plaintext, kept only while it may have to be cut smaller */
	size_t inner_len;
	uint8_t first;
	struct retransmit rt;
	uint8_t cookie2[IKE_COOKIE2_LEN];
	bool has_cookie2;
	bool asked_cp; /* CREATE_CHILD: with CP(CFG_REQUEST) */
	bool strayed; /* copies of it left by several paths */
	/* CREATE_CHILD_SA */
	struct nonce_head ni;
	struct dh *dh;
	uint64_t new_spi;	    /* REKEY_IKE */
	struct child_sa *new_child; /* CHILD_NEW, in the SA's list */
	struct collision rival;
	/* The peer deleted the CHILD SA that this rekeys. It is down only if nothing comes of the rekey. */
	bool owes_down;
	uint32_t owed_out; /* its spi_out */
	uint32_t
	    deleted[4]; /* the peer's SPIs in Deletes that name nothing we know: perhaps this one */
};

/* What is needed only until AUTH holds. */
struct auth_ctx {
	uint8_t *msg_i, *msg_r; /* IKE_SA_INIT as it travelled */
	size_t msg_i_len, msg_r_len;
	struct nonce ni, nr;
	unsigned peer_hashes;
	enum { AUTH_WANT_NONE, AUTH_WANT_OURS, AUTH_WANT_PEERS } want;
	uint64_t token; /* of the FX_AUTH that is under way */
	/* The peer's IKE_AUTH message, decrypted, while we wait for the keys process. */
	uint8_t *plain;
	size_t plain_len;
	uint8_t first;
	struct ike_hdr hdr;
	struct engine_path path; /* it came by */
	uint64_t request_hash;
	uint8_t method;	 /* of our AUTH */
	int scheme;	 /* enum sig_scheme of our AUTH */
	bool unknown;	 /* the identity is nobody's: go through the motions */
	bool mismatch;	 /* a PSK where we expect another proof: the same */
	uint32_t elsewhere; /* peer whose identity it is, and whose `from` does not hold its address */
	bool cookie;	 /* the INIT request carried a valid cookie */
	uint32_t prefix; /* slot of its prefix in the half-open limits */
	bool initial_contact;
	bool proved; /* the peer's AUTH holds; ours is still to be made */
	uint32_t rival; /* SA_R_ASK: handle of the IKE SA that was asked */
	struct addr origin; /* the gateway that sent it here (RFC 5685); family 0: none */
	bool childless; /* the responder said that IKE_AUTH needs no CHILD SA (RFC 6023) */
};

/* A call: SA_CALLING only. */
struct call {
	struct dh *dh;
	struct nonce ni;
	uint16_t group;
	uint8_t cookie[IKE_COOKIE_MAX];
	size_t cookie_len;
	uint8_t rounds;	     /* COOKIE and INVALID_KE_PAYLOAD answered */
	uint64_t until_ms;   /* then it gives up; 0: never */
	uint64_t keyed_ms;   /* SPI and DH value drawn */
	uint64_t dh_since_ms; /* the second in which dh_count answers cost us a DH */
	uint8_t dh_count;
	uint16_t refused; /* notify type of an unauthenticated refusal; 0: none came */
	uint8_t candidates;  /* alive */
	bool vowed;	     /* an IKE_AUTH has left: the far side may be up with it, whatever we heard */
	bool redirected;     /* it was sent elsewhere, and that was told */
	bool spent;	     /* a candidate with this SPI and DH value failed: draw new ones */
};

/* The last synchronization of message IDs that was answered (RFC 6311). */
struct mid_sync {
	uint32_t high;	/* the peer's next message ID, as it said */
	uint64_t hash;	/* of that request */
	struct datagrams reply;
};

/* Where else the peer can be reached, as it said (RFC 4555 s3.6). */
struct peer_addrs {
	struct addr addr[8];
	size_t count;
};

/* What the peer would show had it lost the IKE SA (RFC 6290). */
struct qcd_token {
	size_t len;
	uint8_t b[];
};

struct peer_entry;
struct engine;

struct ike_sa {
	struct engine *engine;
	struct hash_node by_spi, by_handle, by_init;
	bool in_init; /* by_init: for life, so that a late copy of IKE_SA_INIT makes no second SA */
	bool half_open;			       /* counts against the bounds */
	struct ike_sa *peer_next, **peer_prev; /* list of its peer; half-open: of the engine */
	struct ike_sa *grave_next;
	uint32_t handle;
	struct peer_entry *peer; /* NULL: half-open responder */
	struct log log;
	enum sa_state state;
	uint64_t spi_i, spi_r;
	bool initiator;	       /* of this IKE SA: the header's I flag */
	bool series_initiator; /* of the first IKE SA of the series: schedules rekeys */
	bool was_up;	       /* FX_PEER_UP was told, FX_PEER_DOWN is owed */
	bool confirmed;	       /* the peer spoke on it after it was made by a rekey */

	struct ike_suite suite;
	struct ike_keys keys;
	struct ike_aead *aead_in, *aead_out;
	struct window win;
	struct frag_set *frags_in[2]; /* requests, responses; made at need */
	struct timer frags;	      /* when they are too old */
	struct engine_path path;
	bool mid_sync;	       /* RFC 6311 was agreed on */
	struct mid_sync *sync; /* the peer's cluster asked for our message IDs; NULL: never */
	bool redirects; /* the peer, which called, can be sent elsewhere (RFC 5685) */
	bool frag, postern, mobike, nat_local, nat_remote;
	bool unproved; /* by an UPDATE the path has an address from which COOKIE2 has not come back yet */
	bool has_seen; /* seen is the NAT_DETECTION_DESTINATION_IP that the peer sent last: how it sees us */
	uint8_t seen[20];
	struct peer_addrs *others; /* or NULL: none */
	struct qcd_token *qcd;	   /* or NULL: none */
	size_t frag_max; /* largest IKE message that we send whole */
	bool has_instance;
	uint8_t instance[16];
	struct nonce_head lowest; /* of the two IKE_SA_INIT nonces of the series */

	struct dates *dates; /* still to be judged; or NULL */
	struct auth_ctx *auth;
	struct call *call;
	struct ike_sa *caller; /* candidate: its call */

	struct outreq out;
	struct task *tasks; /* of IKE_TASKS_MAX, while one waits; else NULL */
	unsigned task_count;

	struct child_sa *children;
	unsigned child_count;
	struct ike_sa *successor; /* REKEYED */
	struct ike_sa *predecessor;

	uint64_t since_ms, rekey_at_ms, reply_ms;
	uint64_t begun_ms;	  /* IKE_SA_INIT came, or left */
	uint64_t series_since_ms; /* when the first of the series came up */
	uint32_t retired_for;	  /* SA_RETIRED: handle of the newer one that it gave way to, 0: of another reason */
	uint64_t put_off_ms;	  /* since when TEMPORARY_FAILURE is all that we hear; 0: it is not */
	struct child_due *due;	  /* configured CHILD SAs that are not up */
	unsigned due_count;
	struct timer resend; /* outstanding request */
	struct timer life;   /* rekey by time; half-open: expiry; REKEYED and so on: patience */
	struct timer retry;  /* the first of due */
};

/* A peer's certificates that were believed without a look at their dates (exchange/dates.c). */
struct dates {
	struct cert *leaf, *other[CERT_CHAIN_MAX];
	size_t count; /* of other */
};

/** dates_free() - NULL is allowed. */
void dates_free(struct dates *d);

/** ike_sa_new() - Zeroed; NULL: out of memory. */
struct ike_sa *ike_sa_new(void);
/** ike_sa_free() - Wipes all; must be out of every table, timers off, children gone. */
void ike_sa_free(struct ike_sa *sa);
/** ike_sa_keyed() - Contexts of both directions take the place of their keys; 0 or what ike_aead_new() says. */
int ike_sa_keyed(struct ike_sa *sa);
uint64_t ike_sa_own_spi(const struct ike_sa *sa);
/** ike_sa_peers() - Is it @sa->peer's, since we called it or AUTH held? Until then it only says so. */
bool ike_sa_peers(const struct ike_sa *sa);
struct child_sa *ike_sa_child_in(const struct ike_sa *sa, uint32_t spi_in);
struct child_sa *ike_sa_child_out(const struct ike_sa *sa, uint32_t spi_out);
/** ike_sa_child_of() - A working CHILD SA of that configuration that shall stay, or NULL. */
struct child_sa *ike_sa_child_of(const struct ike_sa *sa, uint32_t conf);
/** ike_sa_creates() - Is a CREATE_CHILD for that configuration waiting or outstanding? */
bool ike_sa_creates(const struct ike_sa *sa, uint32_t conf);
/** ike_sa_children_up() - How many of its CHILD SAs work. */
unsigned ike_sa_children_up(const struct ike_sa *sa);
void auth_ctx_free(struct auth_ctx *a);
void call_free(struct call *c);
/** outreq_clear() - Frees and wipes; the new child is not touched. */
void outreq_clear(struct outreq *o);
void task_clear(struct task *t);
/**
 * ike_sa_task_add() - Queue; takes @t (cleared on failure). An equal one that waits already makes it
 * a no-op. 0, -ENOSPC, -ENOMEM.
 */
int ike_sa_task_add(struct ike_sa *sa, struct task *t);
/** ike_sa_task_first() - The same for a kind without particulars, before all that waits. */
int ike_sa_task_first(struct ike_sa *sa, struct task *t);
/** ike_sa_task_next() - Take the first one, which must be there, out of the queue. */
struct task ike_sa_task_next(struct ike_sa *sa);
/** ike_sa_task_has() - Is such a task waiting or outstanding? @spi 0: any. */
bool ike_sa_task_has(const struct ike_sa *sa, enum task_kind kind, uint32_t spi);
/** ike_sa_task_drop() - Take such tasks out of the queue. */
void ike_sa_task_drop(struct ike_sa *sa, enum task_kind kind, uint32_t spi);
/** ike_sa_tasks_clear() - None waits any more. */
void ike_sa_tasks_clear(struct ike_sa *sa);
const char *sa_state_name(enum sa_state s);

/** nonce_cmp() - As RFC 7296 s2.8.1 orders them: octet by octet, a prefix is lower. */
int nonce_cmp(const struct nonce_head *a, const struct nonce_head *b);
struct nonce_head nonce_head(const struct nonce *n);
/** nonce_own() - The whole of one of ours. */
struct nonce nonce_own(const struct nonce_head *n);
void nonce_set(struct nonce *n, struct span from);
struct span nonce_span(const struct nonce *n);
/** nonce_lower() - The lower of both. */
struct nonce_head nonce_lower(const struct nonce *a, const struct nonce *b);

#endif
