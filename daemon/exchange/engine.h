/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef EXCHANGE_ENGINE_H
#define EXCHANGE_ENGINE_H

/*
 * Theory: the engine is the whole of IKEv2 as one deterministic state machine. It has no sockets, no
 * device, no clock and no files. Time comes as an argument, datagrams as bytes, and all that has to
 * happen outside is appended, in the order in which it has to happen, to a list of effects that the
 * caller applies after the call:
 *
 *	supervisor, datagram, timer, keys process, data plane
 *	      |  engine_initiate() engine_on_datagram() engine_on_timer() engine_on_auth_result() ...
 *	      v
 *	struct engine --- struct engine_ops: what must be known or done *before* a reply is sealed
 *	      |           (an SPI number, installing a CHILD SA); its failure makes the reply a notify
 *	      v
 *	struct fx_list: FX_SEND, FX_AUTH, FX_CHILD_REMOVE, FX_PEER_UP, ...
 *
 * The way of a reply: parse, decide, keys -> ops->child_install(in) -> seal -> store for
 * retransmission -> FX_SEND. When child_install() fails nothing was promised yet: the engine undoes
 * what it did and the reply carries NO_ADDITIONAL_SAS (or TEMPORARY_FAILURE), the IKE SA lives.
 *
 * Paths. `struct engine_path` is a socket number of the caller's choice with both endpoints. A reply goes
 * to where its request came from. Our own requests go to the SA's path, which after IKE_AUTH only
 * engine_set_path() and engine_update_addresses() move: the supervisor owns the endpoint rules (design.md
 * section 4). One exception: a peer's UPDATE_SA_ADDRESSES (RFC 4555) moves it at once, and FX_UPDATE says so.
 * The non-ESP marker of port 4500 is the socket owner's affair, both ways.
 *
 * Requests that get no answer are retransmitted for ever: 0.5, 1, 2, 4, 4 s, then every 2-4 s, and
 * 24 h after the last proof of life every 30 s. Each further try is told by FX_UNANSWERED, so
 * the supervisor can hop (engine_retransmit() with another socket), start a parallel attempt
 * (engine_initiate()) or give up (engine_drop()). An initiator whose new IKE SA comes up retires the
 * peer's older one by itself, as does the responder (INITIAL_CONTACT, instance id).
 *
 * One thread. No function calls back but through engine_ops. Out of memory is an ordinary failure.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"
#include "engine_path.h"
#include "engine_peer.h"

struct engine;

#define ENGINE_TS_MAX	32 /* selectors per direction and CHILD that we negotiate */
#define ENGINE_DNS_MAX	 8 /* name servers that one peer tells another */
#define ENGINE_TEXT_MAX	 800
#define ENGINE_KEY_MAX	 32
#define ENGINE_WHERE_MAX 160
#define ENGINE_MSG_MAX	16384 /* largest IKE message, whole or joined */
#define ENGINE_ADDRS_MAX 8 /* further addresses of one side that are told (RFC 4555 s3.6) */
#define ENGINE_QCD_LEN	32 /* secret behind the tokens of RFC 6290 */

enum engine_dir {
	ENGINE_IN,
	ENGINE_OUT,
};

/* All that the data plane needs for one direction of a CHILD SA. Keys are valid during the call. */
struct engine_child {
	uint32_t peer;		/* engine_peer.id */
	uint32_t ike;		/* handle of the IKE SA it belongs to now */
	uint32_t spi_in;	/* host order; ours, names the CHILD SA in every call here */
	uint32_t spi_out;	/* host order; the peer's */
	uint32_t replaces;	/* spi_in of the CHILD SA that this one rekeys, or 0 */
	uint32_t line;		/* spi_in of the first of its row of rekeys */
	struct esp_suite suite; /* IANA transform numbers (suite.h) */
	bool postern;		/* peer sent our Vendor ID: dummies are understood */
	/* Keys of this direction, views. AEAD: key then salt (4 bytes), as RFC 4106 s8.1, RFC 7634 s2. */
	struct span key;
	struct span integ_key; /* empty with an AEAD */
	/* Negotiated selectors, from our point of view. */
	struct ts local_ts[ENGINE_TS_MAX];
	struct ts remote_ts[ENGINE_TS_MAX];
	uint8_t local_ts_count, remote_ts_count;
	/* Packets of the receiver's replay window: inbound ours, outbound as the peer told; 0: the usual. */
	uint32_t replay_window;
	/*
	 * Limits of this direction, 0: none but the counter's end. At soft ENGINE_CHILD_SOFT is due,
	 * at hard nothing passes any more and ENGINE_CHILD_HARD is.
	 */
	uint64_t soft_bytes, hard_bytes, soft_pkts, hard_pkts;
	struct engine_path path; /* of the IKE SA, where ESP goes at first */
};

/**
 * struct engine_ops - What the engine must know or have done at once.
 *
 * Every function may be called from within any engine function that takes an fx list.
 */
struct engine_ops {
	/*
	 * A fresh inbound ESP SPI, never 0-255, not in use; the data plane owns the numbers (they
	 * carry the worker). 0 and *spi in host order, or -errno. Given back by spi_free when no
	 * CHILD SA came of it, or by FX_CHILD_REMOVE_IN.
	 */
	int (*spi_alloc)(void *arg, uint32_t peer, uint32_t *spi);
	void (*spi_free)(void *arg, uint32_t peer, uint32_t spi);
	/*
	 * Install one direction. IN comes before the reply that makes it valid leaves; OUT makes
	 * this CHILD the one that sends for its selectors (replacing c->replaces), and comes at
	 * once for the initiator, for the responder of a rekey only when the peer is
	 * known to have the new keys (RFC 7296 s2.8). 0 or -errno: then nothing is installed, and IN is
	 * undone by FX_CHILD_REMOVE_IN when only OUT failed. *c is valid during the call only.
	 */
	int (*child_install)(void *arg, enum engine_dir dir, const struct engine_child *c);
	/*
	 * Addresses in the tunnel for a peer with engine_peer.pool that has authenticated: IPv4 into
	 * out[0], IPv6 into out[1], each only if wanted; what it has already it gets again. A
	 * family of which there is none stays empty. 0, or -errno with @why when there is none at
	 * all. NULL: there are no pools.
	 */
	int (*address_lease)(void *arg, uint32_t peer, bool v4, bool v6, struct addr out[static 2],
			     char *why, size_t cap);
	/* Seconds since 1970 for certificate validity only; may be NULL (then the host's clock). */
	int64_t (*wall_s)(void *arg);
	/*
	 * Where in the configuration @key stands for that peer (0: a stranger; then [posternd]), for
	 * people: "/etc/postern/postern.conf:12". Leaves @out empty when it does not know. May be NULL.
	 */
	void (*where)(void *arg, uint32_t peer, const char *key, char *out, size_t cap);
	/* Random bytes for SPIs, nonces, jitter; NULL: the CSPRNG. Tests make runs repeatable by it. */
	void (*random)(void *arg, void *p, size_t len);
};

struct engine_config {
	const struct engine_ops *ops; /* borrowed for the engine's life */
	void *arg;		      /* of every op */
	/* Half-open responder SAs. Past cookie_from a cookie is asked for; past max: dropped. */
	uint32_t half_open_cookie_from; /* 0: default 32 */
	uint32_t half_open_max;		/* 0: default 4096 */
	uint32_t half_open_per_prefix;	/* per /24 or /56, *with* a valid cookie; 0: default 64 */
	/*
	 * Seconds since 1970: when the program was built. A wall clock that says less is plainly wrong, and
	 * dates of certificates wait until it is right. 0: every clock is believed.
	 */
	int64_t built_s;
	/*
	 * ENGINE_QCD_LEN bytes that are the same after every restart, copied: a peer can be shown that we have
	 * lost its IKE SA (RFC 6290). NULL: drawn; nobody believes us after a restart then.
	 */
	const uint8_t *qcd_secret;
	/*
	 * Packets of the replay window of our inbound SAs with other Posterns, which are told: how much they may disorder
	 * what they send. 0: the usual, and nothing is told.
	 */
	uint32_t replay_window;
};

/* ---- effects ---- */

enum fx_kind {
	FX_SEND = 1,	     /* .send: one datagram */
	FX_AUTH,	     /* .auth: sign or MAC, answered by engine_on_auth_result() */
	FX_CHILD_REMOVE_OUT, /* .child: stop sending on it; no answer possible */
	FX_CHILD_REMOVE_IN, /* .child: stop receiving, the SPI is free again; the CHILD SA is gone */
	FX_PEER_UP,	    /* .up: an IKE SA is authenticated (its CHILD may have failed) */
	FX_PEER_DOWN,	    /* .down: an IKE SA that was up is gone, or an attempt ended */
	FX_CHILD_UP, /* .child: first or additional CHILD is installed, both directions known */
	FX_CHILD_REKEYED, /* .child: as FX_CHILD_UP, and child.replaces will be removed */
	FX_CHILD_DOWN,	  /* .child: gone without successor (told once, before the REMOVEs) */
	FX_IKE_REKEYED,	  /* .rekeyed: handle changed, children moved */
	FX_ADDRESSES,	  /* .addresses: CP reply gave us these */
	FX_REPLY, /* .reply: authenticated response to a request of ours: t_reply, path proof */
	FX_REQUEST_FROM, /* .reply: fresh authenticated request came from a path that is not the SA's */
	FX_HINT,       /* .reply: somebody (unauthenticated) says that the peer lost this IKE SA */
	FX_UPDATE, /* .update: the peer says that it is there now: ESP goes there too (RFC 4555) */
	FX_UPDATED,    /* .update: our engine_update_addresses() has its answer */
	FX_NAT_CHANGED, /* .reply: the peer sees us at another address or port than before */
	FX_PEER_ADDRESSES, /* .peer_addresses: where else the peer says that it can be reached */
	FX_UNANSWERED, /* .unanswered: a request was retransmitted once more */
	FX_FAILED,     /* .failed: a negotiation failed, explained */
	FX_REDIRECT, /* .redirect: the peer sends us elsewhere; unless .ike is up, unauthenticated */
	FX_PRIVATE, /* .private_notify: a Postern notify in an authenticated INFORMATIONAL request */
};

enum fx_auth_op {
	FX_AUTH_SIGN,	 /* signature over octets with key_ref by scheme */
	FX_AUTH_PSK_MAC, /* prf(prf(PSK of key_ref, "Key Pad for IKEv2"), octets), RFC 7296 s2.15 */
};

enum engine_why {
	ENGINE_WHY_NONE,
	ENGINE_WHY_REPLACED,	/* a newer IKE SA of the same peer took over */
	ENGINE_WHY_DELETED,	/* the peer sent a Delete */
	ENGINE_WHY_ADMIN,	/* engine_delete() or engine_drop() */
	ENGINE_WHY_AUTH_FAILED, /* AUTHENTICATION_FAILED, either way: the far side lives and refuses */
	ENGINE_WHY_NO_PROPOSAL, /* NO_PROPOSAL_CHOSEN: lives and refuses */
	ENGINE_WHY_TS,		/* TS_UNACCEPTABLE */
	ENGINE_WHY_ADDRESS,	/* INTERNAL_ADDRESS_FAILURE */
	ENGINE_WHY_PROTOCOL,	/* the peer broke the protocol after it had authenticated */
	ENGINE_WHY_TIMEOUT,	/* half-open too long, or keys process silent */
	ENGINE_WHY_CONFIG,  /* engine_peer_remove() or an update that this SA no longer satisfies */
	ENGINE_WHY_LOCAL,   /* out of memory, child_install failed, signing failed */
	ENGINE_WHY_REFUSED, /* another error notify */
	ENGINE_WHY_IDENTITY_BUSY, /* same identity, other instance, and the old one still answers */
};

enum engine_update {
	ENGINE_UPDATE_DONE,
	/*
	 * Answered, but copies of the request took several ways, and the peer may have believed another
	 * one than we use now: call engine_update_addresses() once more.
	 */
	ENGINE_UPDATE_AGAIN,
	ENGINE_UPDATE_REFUSED, /* UNACCEPTABLE_ADDRESSES, UNEXPECTED_NAT_DETECTED: it sends to where it did */
};

struct fx_child {
	uint32_t peer, ike;
	uint32_t spi_in, spi_out;
	uint32_t replaces; /* FX_CHILD_REKEYED: spi_in of the old one */
	uint32_t left;	   /* FX_CHILD_DOWN: CHILD SAs of this IKE SA that still work */
};

struct fx {
	enum fx_kind kind;
	union {
		struct {
			struct engine_path path;
			uint8_t *bytes; /* owned by the effect; without non-ESP marker */
			size_t len;
			uint32_t peer; /* 0 while unknown (half-open responder) */
		} send;
		struct {
			uint64_t token; /* to be given back */
			enum fx_auth_op op;
			uint32_t
			    key_ref; /* 0: no such secret; answer like any other, after the same work */
			enum sig_scheme scheme; /* SIGN */
			uint16_t prf;		/* PSK_MAC: IANA transform type 2 */
			uint8_t *octets;	/* owned by the effect */
			size_t len;
			uint32_t peer;
		} auth;
		struct fx_child child;
		struct {
			uint32_t peer, ike;
			bool initiator; /* we started this IKE SA */
			bool child;	/* with its CHILD SA */
			bool postern, mobike;
			bool nat_local, nat_remote;
			struct engine_path path;
		} up;
		struct {
			uint32_t peer, ike;
			bool was_up;   /* false: an attempt of ours ended without success */
			bool replaced; /* another IKE SA of this peer is up: the peer is not down */
			/*
			 * Of this peer another one is up, which may have told so before: two calls
			 * that crossed. 0: none.
			 */
			uint32_t heir;
			bool heir_child; /* and that has a CHILD SA */
			struct engine_path heir_path;
			enum engine_why why;
		} down;
		struct {
			uint32_t peer, old_ike, new_ike;
		} rekeyed;
		struct {
			uint32_t peer, ike;
			struct addr v4, v6;		 /* family 0: none given (any more) */
			struct addr dns[ENGINE_DNS_MAX]; /* unicast, each once */
			size_t dns_count;
		} addresses;
		struct {
			uint32_t peer, ike;
			struct engine_path path; /* where it arrived and came from */
			bool about_child; /* FX_HINT: it is said to have lost a CHILD SA alone */
			bool proved; /* FX_HINT: and proved, by the token of RFC 6290: the SA is gone */
			/*
			 * FX_REPLY: the peer is where this came from and can read there: COOKIE2 came back
			 * (RFC 4555 s3.7), or without MOBIKE any answer.
			 */
			bool routable;
		} reply;
		struct {
			uint32_t peer, ike;
			struct engine_path path; /* the new one */
			size_t bytes;		 /* FX_UPDATE: of the request that came from there */
			/*
			 * FX_UPDATE: another address than before; the engine asks for COOKIE2 there, until
			 * an FX_REPLY that is routable little may go there.
			 */
			bool unproved;
			enum engine_update result; /* FX_UPDATED */
			uint16_t notify; /* FX_UPDATED, REFUSED: the peer's word */
		} update;
		struct {
			uint32_t peer, ike;
			struct engine_gateway to;
			bool log; /* no more lines about it than about anything that it causes */
		} redirect;
		struct {
			uint32_t peer, ike;
			struct addr addr[ENGINE_ADDRS_MAX];
			size_t count; /* 0: nowhere else (any more) */
		} peer_addresses;
		struct {
			uint32_t peer, ike;
			uint32_t tries;	   /* transmissions so far, 2 = first retransmission */
			uint64_t since_ms; /* when it was first sent */
			bool established;  /* false: an attempt */
		} unanswered;
		struct {
			uint32_t peer; /* 0: stranger */
			uint32_t ike;
			enum engine_why why;
			bool by_peer; /* the peer refused; else we did */
			bool claim;   /* of somebody who says that he is the peer and has not proved it */
			struct engine_path path;
			char key[ENGINE_KEY_MAX]; /* that decided; empty: none did */
			/* what they offered, what we accept, which key decided, what to change */
			char text[ENGINE_TEXT_MAX];
		} failed;
		struct {
			uint32_t peer, ike;
			uint16_t type; /* 40960.. */
			uint8_t *bytes;
			size_t len;
			struct engine_path path;
		} private_notify;
	};
};

struct fx_list {
	struct fx *v;
	size_t count, cap;
	bool
	    lost; /* out of memory: an effect could not be appended; retransmission repairs sends */
};

/** fx_list_clear() - Free what the effects own, wipe, and make the list empty for reuse. */
void fx_list_clear(struct fx_list *fx);
/** fx_list_free() - fx_list_clear() and the array too. */
void fx_list_free(struct fx_list *fx);
/** engine_why_str() - One lower-case word for logs and status. */
const char *engine_why_str(enum engine_why why);

/* ---- life and policy ---- */

/** engine_new() - NULL and errno on failure. *cfg is copied. Draws instance id and cookie secrets. */
struct engine *engine_new(const struct engine_config *cfg);
/** engine_free() - Wipes everything, sends nothing (see engine_delete_all()). */
void engine_free(struct engine *e);

/**
 * engine_peer_update() - Add a peer, or replace the view of a known one (same id).
 *
 * The old view is no longer used after return. SAs stay when they still satisfy the new view; one whose
 * identities, authentication or selectors no longer do is deleted (Delete sent). Other changes
 * (proposals, lifetimes) hold from the next negotiation on. 0, -ENOMEM, -EEXIST (another peer has
 * the same pair of identities), -EINVAL.
 */
int engine_peer_update(struct engine *e, uint64_t now_ms, const struct engine_peer *peer,
		       struct fx_list *fx);
/** engine_peer_remove() - Forget the peer; its SAs are dropped, a Delete is sent once for each. */
void engine_peer_remove(struct engine *e, uint64_t now_ms, uint32_t peer, struct fx_list *fx);

/**
 * engine_address_refused() - What FX_ADDRESSES brought cannot be ours: the IKE SAs by which we asked for
 * it end (Delete sent, ENGINE_WHY_ADDRESS, explained).
 */
void engine_address_refused(struct engine *e, uint64_t now_ms, uint32_t peer, const struct addr *a,
			    struct fx_list *fx);

/* ---- inputs ---- */

/**
 * engine_on_datagram() - One UDP payload that is IKE (marker already cut).
 * Whatever a stranger sends is an ordinary return; @bytes is borrowed until return.
 */
void engine_on_datagram(struct engine *e, uint64_t now_ms, const struct engine_path *path,
			const uint8_t *bytes, size_t len, struct fx_list *fx);
/** engine_next_timer_ms() - When to call engine_on_timer(); UINT64_MAX: nothing is due. */
uint64_t engine_next_timer_ms(const struct engine *e);
void engine_on_timer(struct engine *e, uint64_t now_ms, struct fx_list *fx);

/**
 * engine_on_auth_result() - Answer of the keys process to an FX_AUTH.
 * @result: what sig_make() gave for the scheme, or auth_psk(); NULL with len 0: it failed. Borrowed. A token that is no longer known is ignored.
 */
void engine_on_auth_result(struct engine *e, uint64_t now_ms, uint64_t token, const uint8_t *result,
			   size_t len, struct fx_list *fx);

/**
 * engine_on_unknown_spi() - ESP came under @spi, which is none of ours, by @path, where @peer is: it is
 * told, by INVALID_SPI within its IKE SA, at most once a second (RFC 7296 s1.5).
 * @peer: 0: it is nobody's place; told without protection, a few times a second in all.
 * @spi: host order.
 */
void engine_on_unknown_spi(struct engine *e, uint64_t now_ms, uint32_t peer,
			   const struct engine_path *path, uint32_t spi, struct fx_list *fx);
/**
 * engine_unreachable() - ICMP says that no process listens at @where. Anybody can say so: it only ends
 * the wait for the answer of an older instance of @peer there, when a newer one has authenticated.
 */
void engine_unreachable(struct engine *e, uint64_t now_ms, uint32_t peer,
			const struct endpoint *where, struct fx_list *fx);

/**
 * engine_initiate() - Start an IKE SA to a peer at an endpoint, beside whatever exists.
 * Several at once are allowed (other addresses of the same name, a candidate beside a silent SA):
 * the first that authenticates ends the others. Returns the handle (> 0), or -ENOENT, -ENOMEM, -EIO.
 */
int64_t engine_initiate(struct engine *e, uint64_t now_ms, uint32_t peer,
			const struct engine_path *path, struct fx_list *fx);
/**
 * engine_retransmit() - Send the outstanding request's same bytes now, by @path when not NULL
 * (the SA's own path stays what it was; RFC 7296 s2.1). -ENOENT: no such SA or nothing outstanding.
 */
int engine_retransmit(struct engine *e, uint64_t now_ms, uint32_t ike,
		      const struct engine_path *path, struct fx_list *fx);
/**
 * engine_set_path() - The supervisor's decision where this IKE SA's requests go from now on.
 * An outstanding request is sent there at once.
 */
int engine_set_path(struct engine *e, uint64_t now_ms, uint32_t ike, const struct engine_path *path,
		    struct fx_list *fx);
/**
 * engine_update_addresses() - As engine_set_path(), and the peer is told by UPDATE_SA_ADDRESSES as the next
 * request of this IKE SA (RFC 4555 s3.5); what is outstanding keeps its bytes and is answered first.
 * The answer comes as FX_UPDATED, of the last call alone. 0; -ENOENT; -EOPNOTSUPP: no MOBIKE, or it is
 * the peer's part (it initiated, and is no Postern): the path has moved all the same.
 */
int engine_update_addresses(struct engine *e, uint64_t now_ms, uint32_t ike,
			    const struct engine_path *path, struct fx_list *fx);
/**
 * engine_local_addresses() - This machine's own addresses that a peer could send to; @count of them are
 * taken up to ENGINE_ADDRS_MAX. Where peers called us and authenticated the engine adds by itself. MOBIKE
 * peers are told those that are not the one they know, and told again when what they would be told changes.
 */
void engine_local_addresses(struct engine *e, uint64_t now_ms, const struct addr *addr,
			    size_t count, struct fx_list *fx);
/**
 * engine_liveness() - Ask for proof of life: an empty INFORMATIONAL, with NAT detection hashes of the
 * present path and COOKIE2 where the peer has MOBIKE. Does nothing but return 0 while any request of ours is
 * outstanding (that one's answer is the proof), unless that one proves no path (FX_REPLY, routable): then
 * this follows it. -ENOENT: no such established IKE SA.
 */
int engine_liveness(struct engine *e, uint64_t now_ms, uint32_t ike, struct fx_list *fx);
/**
 * engine_probe() - engine_liveness() whose first copy leaves by @via, and is about that path; the copies
 * that follow go by the SA's own. FX_REPLY tells which was answered.
 */
int engine_probe(struct engine *e, uint64_t now_ms, uint32_t ike, const struct engine_path *via,
		 struct fx_list *fx);
/** engine_private() - Queue an INFORMATIONAL with one private notify; @type 40960..65535. */
int engine_private(struct engine *e, uint64_t now_ms, uint32_t ike, uint16_t type,
		   const uint8_t *bytes, size_t len, struct fx_list *fx);
/**
 * engine_drain() - While @on no IKE_SA_INIT of others gets keys: who says that it can be sent elsewhere is sent
 * to @to (NULL: nowhere), all others get no answer.
 */
void engine_drain(struct engine *e, bool on, const struct engine_gateway *to);
/**
 * engine_redirect() - Send a peer that called us, and said that it can be sent, to @to; the IKE SA stays
 * until the peer deletes it. Returns how many of its IKE SAs were told.
 */
unsigned engine_redirect(struct engine *e, uint64_t now_ms, uint32_t peer,
			 const struct engine_gateway *to, struct fx_list *fx);
/**
 * engine_acquire() - A packet from @from to @to found no CHILD SA: what is configured for it and missing
 * is asked for now, whatever the role, but not more than once a second.
 */
int engine_acquire(struct engine *e, uint64_t now_ms, uint32_t ike, const struct addr *from,
		   const struct addr *to, struct fx_list *fx);
/** engine_create_child() - Queue another CHILD SA of the peer's first configuration. */
int engine_create_child(struct engine *e, uint64_t now_ms, uint32_t ike, struct fx_list *fx);
/** engine_rekey_child() - Rekey now (admin, packet counter); no-op when already under way. */
int engine_rekey_child(struct engine *e, uint64_t now_ms, uint32_t spi_in, struct fx_list *fx);
int engine_rekey_ike(struct engine *e, uint64_t now_ms, uint32_t ike, struct fx_list *fx);
/** engine_delete_child() - Queue a Delete for one CHILD SA. */
int engine_delete_child(struct engine *e, uint64_t now_ms, uint32_t spi_in, struct fx_list *fx);
/** engine_delete() - Close an IKE SA with a Delete exchange, given up after five tries. */
int engine_delete(struct engine *e, uint64_t now_ms, uint32_t ike, struct fx_list *fx);
/** engine_drop() - Forget an IKE SA or an attempt at once, without a word to the peer. */
int engine_drop(struct engine *e, uint64_t now_ms, uint32_t ike, struct fx_list *fx);
/** engine_delete_all() - Orderly exit: one Delete datagram for each IKE SA, then all are dropped. */
void engine_delete_all(struct engine *e, uint64_t now_ms, struct fx_list *fx);

enum engine_child_event {
	ENGINE_CHILD_FIRST_PACKET, /* first authenticated packet on spi_in: the peer has the keys */
	ENGINE_CHILD_SOFT,	   /* packet or byte limit near: rekey, whatever the role */
	ENGINE_CHILD_HARD, /* limit reached, nothing more can be sent: delete, and create anew */
};

/** engine_on_child_event() - From the data plane; unknown SPIs are ignored. */
void engine_on_child_event(struct engine *e, uint64_t now_ms, uint32_t spi_in,
			   enum engine_child_event ev, struct fx_list *fx);

/* ---- looking in ---- */

struct engine_child_info {
	uint32_t spi_in, spi_out;
	char name[64]; /* of its configuration; empty: that is gone */
	uint64_t lifetime_bytes, lifetime_pkts; /* of the configuration; 0: none */
	uint64_t since_ms, rekey_at_ms;
	char suite[64]; /* "aes256gcm16-esn" */
	char local_ts[256], remote_ts[256];
};

struct engine_ike_info {
	uint32_t ike, peer;
	uint64_t spi_i, spi_r;
	bool initiator, established, postern, mobike, nat_local, nat_remote;
	bool qcd; /* the peer gave a token (RFC 6290) */
	const char *state;
	struct engine_path path;
	uint64_t since_ms, rekey_at_ms, reply_ms; /* reply_ms: t_reply, 0: never */
	bool outstanding;			  /* a request of ours has no answer yet */
	/*
	 * Of a call: its IKE_SA_INIT has an answer that may come to something; or our IKE_AUTH has left, and
	 * the far side may be up by it though its answers were lost. Then it has retired the IKE SA before,
	 * and who gave up the call for that one's sake would stay alone with it.
	 */
	bool answered;
	bool dates_unjudged; /* of its certificate: the clock is or was plainly wrong */
	char suite[96];				  /* "aes256gcm16-prfsha256-x25519" */
	size_t child_count;
	struct engine_child_info child[16]; /* first of child_count */
};

struct engine_counters {
	uint64_t in, out, in_dropped, in_malformed, in_unauthenticated, in_retransmits;
	uint64_t out_retransmits, cookies_sent, half_open_refused, half_open_evicted, auth_failed, log_suppressed;
	uint32_t half_open, ike_sas, child_sas;
};

/** engine_ike_info() - False: no such handle. */
bool engine_ike_info(const struct engine *e, uint32_t ike, struct engine_ike_info *info);
/**
 * engine_peer_ikes() - Handles of the peer's IKE SAs and attempts, newest established first;
 * returns how many there are, writes at most @cap.
 */
size_t engine_peer_ikes(const struct engine *e, uint32_t peer, uint32_t *ikes, size_t cap);
void engine_counters_get(const struct engine *e, struct engine_counters *c);

#endif
