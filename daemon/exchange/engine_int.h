/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef EXCHANGE_ENGINE_INT_H
#define EXCHANGE_ENGINE_INT_H

/*
 * What the files of this folder share. Every function runs between enter and leave of one public
 * call: e->now_ms and e->fx are that call's. An SA that ends is only unlinked; engine_leave() frees
 * it, so no pointer dangles within a call.
 */

#include "engine.h"
#include "half_open.h"
#include "ike_sa.h"
#include "log.h"
#include "payload.h"
#include "prefix_set.h"
#include "proposal_words.h"

#define CROWDED_REPLY_MS   1000	 /* or only so long */
#define AFTER_REPLY_MS	   10000 /* a closed SA still repeats its last answer so long */
#define RETIRED_MS	   30000
#define CHILD_LOST_MS	   5000 /* the peer, whose part it is, has so long to create a CHILD SA anew */
#define DOUBLE_MS	   5000 /* a second CHILD SA for the same selectors stays so long */
#define HALF_PATIENCE_MS   (5 * 60 * 1000) /* for a sign that the peer has our answer */
#define CALL_KEYED_MS	   (5 * 60 * 1000)
#define CALL_CANDIDATES	   4
#define BESIDE_MS	   30000 /* for a call that an IKE SA makes for itself */
#define TEMPORARY_MS	   (5 * 60 * 1000) /* of TEMPORARY_FAILURE alone: out of step */
#define CALL_ROUNDS	   5
#define REFUSAL_GRACE_MS   1000 /* an unauthenticated refusal counts when nothing better came */
#define CANDIDATE_WAIT_MS  2000
#define CANDIDATE_HINT_MS  1000 /* before that, INVALID_IKE_SPI to our IKE_AUTH is not believed */
#define CANDIDATE_TRIES	   5
#define DELETE_TRIES	   5
#define CROSSING_MS	   30000
#define MSG_FIRST_MAX	   1228 /* IKE bytes: 1280 - IPv6 - UDP - marker */
#define MSG_SMALL_MAX	   544	/* 576 - IPv4 - UDP - marker */
#define PREFIX_SLOTS	   1024
#define PREFIX_KNOWN_FACTOR 8 /* a network that a peer came from may have so much more half open */
#define INIT_RATE_MAX	   500 /* IKE_SA_INIT requests without a cookie in one second */
#define COOKIE_SECRET_MS   60000
#define COOKIE_LEN	   17
#define CERTREQ_KEYIDS_MAX 16
#define FRAG_STRANGER_MAX  32768	      /* bytes of fragments before AUTH holds, */
#define FRAG_STRANGERS_MAX (16u * 1024 * 1024) /* and of all such IKE SAs together */
#define MOTIONS_KEYS	   (KEY_RSA + 1)
#define SA_TIMERS	   4 /* of an IKE SA: resend, life, retry, frags */
#define PEER_IKE_SAS_MAX   16 /* authenticated ones of a peer, those on their way out included */

struct peer_entry {
	struct hash_node by_id, by_ident;
	struct peer_entry *next, **prev;
	const struct engine_peer *p;
	struct ike_sa *sas;
	struct log log;
	struct addr v4, v6; /* that the peer gave us last; family 0: none */
	struct addr lease[2]; /* IPv4, IPv6: from its pool, that we gave it; family 0: none */
	struct addr redirected_from; /* who sent us where we call now; family 0: nobody */
	bool introduced;    /* an IKE_AUTH of ours succeeded: no INITIAL_CONTACT any more */
	uint64_t alive_ms;  /* last authenticated answer on any of its SAs, or first call */
	uint64_t spi_told_ms; /* when it was last told INVALID_SPI; 0: never */
};

/*
 * What IKE_SA_INIT has to be checked against before we know who calls: one for each distinct list of
 * proposals among the peers that accept calls, with all prefixes that one of them takes calls from.
 */
struct welcome {
	const struct proposals *ike;
	bool anywhere;
	struct prefix_set from;
};

struct engine {
	const struct engine_ops *ops;
	void *arg;
	uint32_t cookie_from, half_open_max, per_prefix;
	uint64_t now_ms;
	struct fx_list *fx;

	struct hash_table by_spi, by_handle, by_init, by_child, peers_by_id, peers_by_ident;
	struct peer_entry *peers;
	struct welcome *welcome;
	size_t welcome_count;
	bool welcome_ready;	  /* false: the peers have changed since */
	bool drain;		  /* nobody is taken in any more, and is sent there */
	struct engine_gateway drain_to;
	bool childless;		  /* one of those who may call may do so without a CHILD SA */
	struct hash_table half_by_spi, half_by_init;
	struct half_open *half_first, **half_last;
	struct timer half_life;
	size_t half_excess;	  /* bytes by which entries exceed HALF_OPEN_BYTES */
	struct ike_sa *strangers; /* half-open, caller has the keys, without peer */
	struct ike_sa *graves;
	struct timers timers;
	uint32_t next_handle;
	uint64_t next_token;

	uint8_t instance[POSTERN_INSTANCE_ID_LEN];
	uint8_t qcd_secret[ENGINE_QCD_LEN];
	uint8_t cookie_secret[2][32]; /* [0] present, [1] the one before */
	uint8_t cookie_version;
	uint64_t cookie_since_ms;
	uint64_t init_since_ms; /* the second in which init_seen requests without a cookie came */
	uint32_t init_seen;
	uint16_t prefix_half_open[PREFIX_SLOTS];
	uint64_t prefix_wait_ms[PREFIX_SLOTS]; /* none of it can be evicted before */
	uint8_t prefix_known[PREFIX_SLOTS / 8]; /* a peer last authenticated from there */
	struct pubkey *nobody[MOTIONS_KEYS];	/* motions.c, by key type */
	const struct ca_store *any_ca;		/* of a peer that calls with certificates, or NULL */
	uint8_t keyids[CERTREQ_KEYIDS_MAX][20];
	size_t keyid_count;

	size_t frag_strangers; /* bytes of fragments of IKE SAs whose AUTH does not hold yet */
	int64_t built_s;
	uint32_t replay_window;
	bool dates_armed;
	struct timer dates; /* an IKE SA has certificates whose dates are not judged yet */

	struct addr local[ENGINE_ADDRS_MAX]; /* of this machine, worth telling */
	size_t local_count;

	struct log_limit limit;	     /* strangers, by network */
	struct log_limit peer_limit; /* who has proved himself, by peer */
	uint64_t stray_since_ms; /* INVALID_IKE_SPI and INVALID_MAJOR_VERSION answers */
	uint32_t stray_sent;
	struct engine_counters n;

	char cp_why[160];	/* why no address could be given */
	struct ike_build inner; /* writes into build */
	uint8_t plain[IKE_MSG_MAX];
	uint8_t build[ENGINE_MSG_MAX];
	uint8_t out[ENGINE_MSG_MAX + 256];
};

/* engine.c */
void engine_enter(struct engine *e, uint64_t now_ms, struct fx_list *fx);
void engine_leave(struct engine *e);
void engine_random(struct engine *e, void *p, size_t len);
uint32_t engine_random32(struct engine *e);
uint64_t engine_random_spi(struct engine *e);
/** spi_lives() - Is that SPI of our own one of any IKE SA, attempt or half-open entry? */
bool spi_lives(const struct engine *e, uint64_t own);
/** sa_register() - New SA in the tables; NULL when out of memory. @peer NULL: a stranger. */
struct ike_sa *sa_register(struct engine *e, struct peer_entry *peer, uint64_t spi_i,
			   uint64_t spi_r, bool initiator);
/** timers_room() - For so many SAs more than there are; 0 or -ENOMEM. */
int timers_room(struct engine *e, size_t ike_sas, size_t child_sas);
int sa_index_spi(struct engine *e, struct ike_sa *sa);
void sa_set_peer(struct engine *e, struct ike_sa *sa, struct peer_entry *peer);
void sa_name_log(struct ike_sa *sa);
/** sa_take_handle() - @sa gets the handle of @from, which keeps @sa's. */
void sa_take_handle(struct engine *e, struct ike_sa *sa, struct ike_sa *from);
/** sa_end() - Children removed, down told if owed, unlinked; freed at leave. */
void sa_end(struct engine *e, struct ike_sa *sa, enum engine_why why, bool replaced);
/** sa_end_soft() - The same, but it stays for AFTER_REPLY_MS to repeat its last answer. */
void sa_end_soft(struct engine *e, struct ike_sa *sa, enum engine_why why, bool replaced);
/** sa_end_told() - As sa_end(), after one Delete; whether that arrives or not. */
void sa_end_told(struct engine *e, struct ike_sa *sa, enum engine_why why);
/** half_open_gone() - It counts no longer against the bounds of half-open SAs. */
void half_open_gone(struct engine *e, struct ike_sa *sa);
struct ike_sa *sa_by_handle(const struct engine *e, uint32_t handle);
struct child_sa *child_by_spi(const struct engine *e, uint32_t spi_in);
void peer_forget(struct engine *e, struct peer_entry *pe);
struct peer_entry *peer_by_id(const struct engine *e, uint32_t id);
/** peer_by_identity() - @idr may be absent (data NULL): then the first with that remote identity. */
struct peer_entry *peer_by_identity(const struct engine *e, const struct pld_id *idi,
				    const struct pld_id *idr);
/** peer_accepts() - May this peer call us from there? */
bool peer_accepts(const struct peer_entry *pe, const struct addr *from);
/** welcome_ready() - Bring welcome and keyids up to date; 0 or -ENOMEM. To be asked before both. */
int welcome_ready(struct engine *e);
/** welcome_next() - The one after @w (NULL: the first) that takes calls from there, or NULL. */
const struct welcome *welcome_next(const struct engine *e, const struct welcome *w,
				   const struct addr *from);
void welcome_free(struct engine *e);
/** sa_goodbye() - It ends now: one Delete, not repeated, then silence. */
void sa_goodbye(struct engine *e, struct ike_sa *sa, enum engine_why why);
/** peer_settle() - @sa has come up with a CHILD: which older or crossing IKE SAs go. */
void peer_settle(struct engine *e, struct ike_sa *sa, bool initial_contact);
void sa_retire(struct engine *e, struct ike_sa *sa);
/** peer_bound() - @sa is one more: the oldest beyond PEER_IKE_SAS_MAX go. */
void peer_bound(struct engine *e, const struct ike_sa *sa);

/* engine_fx.c */
struct fx *fx_add(struct engine *e, enum fx_kind kind);
void fx_send(struct engine *e, const struct engine_path *path, const uint8_t *bytes, size_t len,
	     uint32_t peer);
void fx_child(struct engine *e, enum fx_kind kind, const struct child_sa *c);
/** sa_may_log() - One more line about what the other end of @sa (NULL: a stranger) caused? */
bool sa_may_log(struct engine *e, const struct ike_sa *sa, const struct engine_path *path);
/* explain.c */
/**
 * explain() - One FX_FAILED and one log line, limited by sa_may_log(). @sa may be NULL.
 * @fmt: the first word between backquotes is the configuration key that decided.
 */
void explain(struct engine *e, const struct peer_entry *pe, const struct ike_sa *sa,
	     const struct engine_path *path, enum engine_why why, bool by_peer, const char *fmt,
	     ...) __attribute__((format(printf, 7, 8)));
/** explain_ike_offer() - A caller's proposals of which none is ours; @ours: one list, or NULL. */
void explain_ike_offer(struct engine *e, const struct engine_path *path,
		       const struct proposals *offer, const struct proposals *ours);
/** explain_call() - The call @sa is over because the peer answered @notify without protection. */
void explain_call(struct engine *e, struct ike_sa *sa, enum engine_why why, uint16_t notify);
/** explain_caller() - A responder's refusal in IKE_AUTH; @why: a clause, for a known identity. */
void explain_caller(struct engine *e, struct ike_sa *sa, const struct ike_msg *m, const char *why);
/** explain_refused_auth() - The peer refused our IKE_AUTH. */
void explain_refused_auth(struct engine *e, struct ike_sa *sa, uint16_t notify,
			  enum engine_why why);
/** explain_unsigned() - A clause: why we have no signature that the peer can check. */
const char *explain_unsigned(const struct ike_sa *sa);
/** explain_our_secret() - The keys process gave no result for our own AUTH. */
void explain_our_secret(struct engine *e, struct ike_sa *sa, const struct engine_path *path);
/** explain_child() - We answer the peer's wish for a CHILD SA in @m with @notify. */
void explain_child(struct engine *e, struct ike_sa *sa, const struct engine_path *path,
		   const struct ike_msg *m, uint16_t notify);
/** explain_child_by_peer() - The peer answered our wish for @c (may be NULL) so; @what: "to ...". */
void explain_child_by_peer(struct engine *e, struct ike_sa *sa, const struct child_sa *c,
			   uint16_t notify, const char *what);

/* dates.c */
/** dates_now() - Wall-clock seconds for cert_verify(); negative while the clock is plainly wrong. */
int64_t dates_now(const struct engine *e);
/** dates_keep() - @sa's peer was believed without dates: remember what has to be judged. 0, -ENOMEM. */
int dates_keep(struct engine *e, struct ike_sa *sa, const struct cert *leaf,
	       const struct span *others, size_t count);
/** dates_told() - @sa is up: say so if dates are owed. */
void dates_told(struct engine *e, struct ike_sa *sa);
void on_dates(struct timer *t, uint64_t now_ms);

/* engine_fx.c */
/** stranger_log() - Limited; for what anybody can cause. */
void stranger_log(struct engine *e, const struct engine_path *path, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
uint32_t prefix_slot(const struct addr *a);

/* dispatch.c */
/** sa_enter_state() - The one place where a state changes. */
void sa_enter_state(struct engine *e, struct ike_sa *sa, enum sa_state to);
/**
 * sa_invalid_syntax() - Answer the request with header @h by INVALID_SYNTAX and end the IKE SA: that
 * notify is fatal on both sides (RFC 7296 s2.21.3).
 */
void sa_invalid_syntax(struct engine *e, struct ike_sa *sa, const struct ike_hdr *h,
		       const struct engine_path *path, uint64_t request_hash);

/* transmit.c */
struct ike_build *inner_begin(struct engine *e);
/** request_send() - Seal e->build as the next request; takes @task. 0 or -errno (nothing sent). */
int request_send(struct engine *e, struct ike_sa *sa, uint8_t exchange, struct task *task);
/** request_once() - Send one sealed request without keeping or repeating it. */
void request_once(struct engine *e, struct ike_sa *sa, uint8_t exchange);
/** reply_send() - Seal e->build as answer to @id, store and send it. */
int reply_send(struct engine *e, struct ike_sa *sa, uint8_t exchange, uint32_t id,
	       const struct engine_path *path, uint64_t request_hash);
void reply_again(struct engine *e, struct ike_sa *sa, const struct engine_path *path);
/** reply_apart() - Seal e->build as answer to @id into @d and send it; the window knows nothing of it. */
void reply_apart(struct engine *e, struct ike_sa *sa, uint8_t exchange, uint32_t id,
		 const struct engine_path *path, struct datagrams *d);
void reply_again_apart(struct engine *e, struct ike_sa *sa, const struct engine_path *path,
		       const struct datagrams *d);
/** path_is_smaller() - Messages above @size seem not to get through; but what every path takes does. */
void path_is_smaller(struct ike_sa *sa, size_t size);
/** reply_cut_smaller() - The stored answer too keeps to that size from now on. Uses e->plain. */
void reply_cut_smaller(struct engine *e, struct ike_sa *sa);
void request_resend(struct engine *e, struct ike_sa *sa, const struct engine_path *path);
/** sa_set_path() - Its requests go there from now on, an outstanding one at once. */
void sa_set_path(struct engine *e, struct ike_sa *sa, const struct engine_path *path);
void resend_arm(struct engine *e, struct ike_sa *sa);
void on_resend(struct timer *t, uint64_t now_ms);
/** tasks_run() - Send the next queued request if the window is free. */
void tasks_run(struct engine *e, struct ike_sa *sa);
/** task_queue() - ike_sa_task_add() by kind and spi, then tasks_run(). */
int task_queue(struct engine *e, struct ike_sa *sa, enum task_kind kind, uint32_t spi);
/** answer_notify() - Unprotected one-notify answer to a request outside any SA. */
void answer_notify(struct engine *e, const struct ike_hdr *h, const struct engine_path *path,
		   uint16_t type, const void *data, size_t len);
/** answer_begin() - The header of such an answer to @h; notifies follow. */
void answer_begin(struct ike_build *b, uint8_t *buf, size_t cap, const struct ike_hdr *h);
/** stray_allowed() - May one more unprotected error answer leave this second? */
bool stray_allowed(struct engine *e);

/* ike_sa_init.c */
int call_begin(struct engine *e, struct ike_sa *sa);
/** call_start() - A new call, or NULL and *@err. */
struct ike_sa *call_start(struct engine *e, struct peer_entry *pe, const struct engine_path *path,
			  int *err);
/**
 * call_beside() - The peer lets @old not go on: a new IKE SA is called for by the same path, for a while,
 * unless a call is under way. @old works on; it is retired when the new one comes up.
 */
void call_beside(struct engine *e, struct ike_sa *old);
void call_resend_due(struct engine *e, struct ike_sa *sa);
void call_refused(struct engine *e, struct ike_sa *sa);
void call_candidate_gone(struct engine *e, struct ike_sa *call);
void call_end(struct engine *e, struct ike_sa *call, enum engine_why why);
/** candidate_forsake() - It may be up over there, and is not wanted: one Delete. The caller ends it. */
void candidate_forsake(struct engine *e, struct ike_sa *sa);
void ike_sa_init_request(struct engine *e, struct ike_msg *m, const struct engine_path *path);
void ike_sa_init_response(struct engine *e, struct ike_sa *call, struct ike_msg *m,
			  const struct engine_path *path);
/** auth_keep_messages() - Copies of both IKE_SA_INIT messages; 0 or -ENOMEM. */
int auth_keep_messages(struct auth_ctx *a, struct span i, struct span r);
/** ike_sa_init_unsupported() - A message with an unknown critical payload, m->bad. */
void ike_sa_init_unsupported(struct engine *e, const struct ike_msg *m,
			     const struct engine_path *path);

/* admit.c */
/**
 * admit_init() - May this IKE_SA_INIT request cost us memory and a DH? Else it was dropped or answered with a
 * cookie. @cookie: it brought one of ours.
 */
bool admit_init(struct engine *e, const struct ike_msg *m, const struct engine_path *path, bool *cookie);
/** admit_known() - A peer has authenticated from there. */
void admit_known(struct engine *e, const struct addr *from);
/** admit_crowded() - Has that network taken more than half of what it may have? */
bool admit_crowded(const struct engine *e, uint32_t slot);

/* cookie.c */
bool cookie_wanted(const struct engine *e);
/** cookie_count() - One more request without a valid cookie: many of them are load, whatever comes of them. */
void cookie_count(struct engine *e);
/** cookie_make() - COOKIE_LEN bytes for this request with the present secret. */
int cookie_make(struct engine *e, const struct ike_msg *m, const struct engine_path *path,
		uint8_t out[static COOKIE_LEN]);
bool cookie_check(struct engine *e, const struct ike_msg *m, const struct engine_path *path);

/* mid_sync.c */
/**
 * mid_sync_request() - Is @m a request of the peer's cluster to synchronize message IDs (RFC 6311)? Then
 * it has been answered, or dropped. To be asked before the window; @m is only read.
 */
bool mid_sync_request(struct engine *e, struct ike_sa *sa, const struct ike_msg *m,
		      const struct engine_path *path, uint64_t hash);

/* nat.c */
void nat_add_initiator(struct engine *e, struct ike_build *b, uint64_t spi_i, uint64_t spi_r,
		       const struct engine_path *path);
void nat_add_responder(struct engine *e, struct ike_build *b, uint64_t spi_i, uint64_t spi_r,
		       const struct engine_path *path, const struct ike_msg *request);
/** nat_judge_init() - The same for an IKE_SA_INIT request, before there is an SA. */
void nat_judge_init(const struct ike_msg *m, const struct engine_path *path, bool *nat_local,
		    bool *nat_remote);
/** nat_seen() - Does the peer's answer say that it sees us elsewhere than it did? False: or not at all. */
bool nat_seen(struct ike_sa *sa, const struct ike_msg *m);
/** nat_judge() - nat_local and nat_remote from the peer's hashes; keeps them when there are none. */
void nat_judge(struct ike_sa *sa, const struct ike_msg *m, const struct engine_path *path);

/* ike_auth.c, auth.c */
void ike_auth_begin(struct engine *e, struct ike_sa *sa);
void ike_auth_request(struct engine *e, struct ike_sa *sa, struct ike_msg *m,
		      const struct engine_path *path, const uint8_t *plain, size_t plain_len,
		      uint8_t first, uint64_t request_hash);
void ike_auth_response(struct engine *e, struct ike_sa *sa, struct ike_msg *m, const uint8_t *plain,
		       size_t plain_len, uint8_t first);
/** ike_auth_result() - The keys process answered; NULL: it could not. */
void ike_auth_result(struct engine *e, struct ike_sa *sa, const uint8_t *result, size_t len);
/** ike_auth_free() - No older instance of the peer of this SA_R_ASK lives: it goes on. */
void ike_auth_free(struct engine *e, struct ike_sa *sa);
/** ike_auth_busy() - One does, at @other: it is refused. */
void ike_auth_busy(struct engine *e, struct ike_sa *sa, const struct engine_path *other);
/** auth_ask_ours() - Ask for our AUTH over @id_body; 0 or -errno. */
int auth_ask_ours(struct engine *e, struct ike_sa *sa);
/** auth_add_ours() - [CERT...] then AUTH from the result of auth_ask_ours(). */
int auth_add_ours(struct engine *e, struct ike_sa *sa, struct ike_build *b, const uint8_t *result,
		  size_t len);
/**
 * auth_check_peer() - Verify the peer's AUTH payload.
 * 0; 1: asked the keys process, the result goes to auth_check_mac(); -EKEYREJECTED with @why.
 */
int auth_check_peer(struct engine *e, struct ike_sa *sa, const struct ike_msg *m,
		    const struct pld_id *id, char *why, size_t cap);
/** motions() - Verify against nobody's key: what it costs where no key fits. motions.c. */
void motions(struct engine *e, enum sig_scheme s, struct span octets, struct span sig);
void motions_free(struct engine *e);
#define AUTH_WHY_MAX 400
/** auth_mismatch() - A clause: the peer used a PSK where we expect another proof. */
const char *auth_mismatch(const struct ike_sa *sa);
void auth_certreq_add(struct engine *e, struct ike_build *b, const struct engine_peer *p);
size_t id_body(const struct engine_id *id, uint8_t out[static 260]);
struct span id_span(const struct engine_id *id);

/* beside.c */
/** beside_stays() - @sa is newer: does @o of the same peer stay all the same? */
bool beside_stays(const struct ike_sa *o, const struct ike_sa *sa);
/** beside_parallel() - Does @sa's INITIAL_CONTACT say nothing about @o? */
bool beside_parallel(const struct ike_sa *o, const struct ike_sa *sa);
/** beside_dead() - It does not answer, and another one of the peer does. */
bool beside_dead(const struct ike_sa *sa, uint64_t now_ms);
/**
 * beside_revive() - The peer deletes @sa: what was retired for it and has not been deleted is what the peer
 * that called both keeps, and is up again.
 */
void beside_revive(struct engine *e, const struct ike_sa *sa);
/** beside_heir() - Another IKE SA of the peer that is up, the newest, or NULL. */
struct ike_sa *beside_heir(const struct ike_sa *sa);

/* child_select.c */
/** child_conf() - The peer's configuration of that id, or NULL: a reload has taken it away. */
const struct engine_child_conf *child_conf(const struct ike_sa *sa, uint32_t id);
const struct engine_child_conf *child_conf_in(const struct engine_peer *p, uint32_t id);
/** child_esp() - Its proposals, or the peer's. */
const struct proposals *child_esp(const struct ike_sa *sa, uint32_t id);
/**
 * child_policy() - What lies on both sides by this configuration, from our point of view.
 * @wish: a side that asks for its address knows it only after the first answer. Until then it may wish for
 * any, but holds only what it was given; else whoever gives the address could have our whole
 * network behind it.
 */
void child_policy(const struct ike_sa *sa, const struct engine_peer *p,
		  const struct engine_child_conf *cc, bool wish, struct ts_list *mine,
		  struct ts_list *theirs);
/** child_allowed() - Does the peer's configuration, all of it, allow whatever @c carries? */
bool child_allowed(const struct child_sa *c);
/** child_holds() - Does @c carry all of that configuration? */
bool child_holds(const struct child_sa *c, const struct engine_child_conf *cc);
bool child_within_conf(const struct child_sa *c, const struct engine_child_conf *cc);
/** child_within() - Does @b carry all that @a does? */
bool child_within(const struct child_sa *a, const struct child_sa *b);
/** child_wish() - What an initiator asks for: TSi and TSr of @c's configuration, and of @old. */
void child_wish(const struct child_sa *c, const struct child_sa *old, struct ts_list *tsi,
		struct ts_list *tsr);
/** child_keep_own() - Of the answer on our side only what our policy holds; 0, -ENOENT: nothing is. */
int child_keep_own(struct child_sa *c, const struct child_sa *old);

struct child_select {
	struct ts_list theirs, ours; /* the peer's wish: TSi and TSr */
	const struct engine_child_conf *ranked[ENGINE_CHILDREN_MAX]; /* what fits it, best first */
	size_t count;
	bool
	    more; /* the answer leaves out what another of ours allows and no CHILD SA carries yet */
};

/** child_select_rank() - Fills ranked; 0, -ENOENT: nothing fits, -ENOMEM. */
int child_select_rank(const struct ike_sa *sa, struct child_select *s);
/** child_select_lists() - The answer, with ranked[@best] in it; sets more. */
int child_select_lists(const struct ike_sa *sa, struct child_select *s, size_t best,
		       struct ts_list *mine, struct ts_list *theirs);
/** child_select_rekey() - The answer to a rekey of @old, and of which configuration it is. */
int child_select_rekey(const struct ike_sa *sa, struct child_select *s, const struct child_sa *old,
		       uint32_t *conf, struct ts_list *mine, struct ts_list *theirs);

/* child_keep.c */
/**
 * child_want() - No CHILD SA of that configuration works: create one, if that is our part; at once
 * with @in_ms 0, else by its back-off.
 */
void child_want(struct engine *e, struct ike_sa *sa, uint32_t conf, uint64_t in_ms);
/** child_put_off() - As child_want(), in @in_ms whatever came before. */
void child_put_off(struct engine *e, struct ike_sa *sa, uint32_t conf, uint64_t in_ms);
/** child_want_all() - The same for each that is missing and does not wait for its time already. */
void child_want_all(struct engine *e, struct ike_sa *sa);
/**
 * child_want_lost() - The peer does not know our CHILD SA: create one soon even if that is not our part
 * (RFC 7296 s2.25), unless the peer does so first.
 */
void child_want_lost(struct engine *e, struct ike_sa *sa, uint32_t conf);
/** child_kept() - It is up: the back-off is forgotten. */
void child_kept(struct engine *e, struct ike_sa *sa, uint32_t conf);
/**
 * child_more() - @c is up by the answer @m, that of a wish for @more if that is set: if the peer can give
 * more than one CHILD SA holds, ask again, until nothing new comes.
 */
void child_more(struct engine *e, struct ike_sa *sa, struct child_sa *c, const struct ike_msg *m,
		bool more);
/** child_create() - Queue a CREATE_CHILD for it, whatever there is already. */
int child_create(struct engine *e, struct ike_sa *sa, uint32_t conf);
void child_dues_move(struct ike_sa *from, struct ike_sa *to);
void on_child_retry(struct timer *t, uint64_t now_ms);
/** children_reload() - The peer's configuration was @was. */
void children_reload(struct engine *e, struct ike_sa *sa, const struct engine_peer *was);

/* child_setup.c */
/** child_offer() - ESP proposals of @c's configuration with its SPI; @no_ke: without KE transforms. */
void child_offer(const struct child_sa *c, bool no_ke, struct proposals *out);
/** child_start() - A CHILD_NEW with a fresh SPI in @sa's list, of that configuration; NULL on failure. */
struct child_sa *child_start(struct engine *e, struct ike_sa *sa, uint32_t conf);
/** child_window_add() - Beside an SA payload: how much a Postern may disorder what it sends us. */
void child_window_add(const struct engine *e, const struct ike_sa *sa, struct ike_build *b);
/**
 * child_respond() - Make the CHILD SA that @m asks for and append SA[, Nr, KEr], TSi, TSr.
 * @old: the one it rekeys. @nr: fresh, unless @first (IKE_AUTH; then ni, nr of IKE_SA_INIT).
 * 0: installed (inbound), in *@out. Else the notify type for the answer, with @group for
 * INVALID_KE_PAYLOAD; nothing remains.
 */
uint16_t child_respond(struct engine *e, struct ike_sa *sa, const struct ike_msg *m,
		       struct ike_build *b, struct child_sa *old, bool first,
		       const struct nonce *ni, const struct nonce *nr, uint16_t *group,
		       struct child_sa **out);
/**
 * child_complete() - The initiator's half, from the answer. 0 or -errno: caller removes @c;
 * -EKEYREJECTED: the peer's KE value is in no group, which ends the IKE SA (RFC 6989 s2.5).
 */
int child_complete(struct engine *e, struct ike_sa *sa, struct child_sa *c, const struct ike_msg *m,
		   const struct child_sa *old, bool first, const struct nonce *ni,
		   const struct nonce *nr, const struct dh *dh, char *why, size_t cap);
/** child_switch_out() - Install outbound of a HALF one: it sends from now on. */
int child_switch_out(struct engine *e, struct child_sa *c);
/**
 * child_stands_beside() - Does another one send for the same selectors as @c, which we made for the
 * peer? Then @c waits as after a rekey: the peer may not have our answer yet. It follows that one.
 */
bool child_stands_beside(struct child_sa *c);
/** child_announce() - CHILD_UP or CHILD_REKEYED, and its rekey timer. */
void child_announce(struct engine *e, struct child_sa *c);
/** child_drop() - Remove both directions now and free. */
void child_drop(struct engine *e, struct child_sa *c, bool tell);
/** child_linger() - Outbound off now, inbound after CHILD_LINGER_MS. */
void child_linger(struct engine *e, struct child_sa *c, bool tell);
/** child_successor_sends() - @c sends no more: the first of those that replaced it does, if none does yet. */
void child_successor_sends(struct engine *e, struct child_sa *c);
void child_stop_out(struct engine *e, struct child_sa *c);
void on_child_life(struct timer *t, uint64_t now_ms);
/** timer_arm() - timer_set() that falls back to ending nothing: out of memory is logged. */
void timer_arm(struct engine *e, struct timer *t, uint64_t at_ms);
/** on_frags_life() - Fragments whose rest never came. */
void on_frags_life(struct timer *t, uint64_t now_ms);

/* create_child_sa.c */
int create_child_send(struct engine *e, struct ike_sa *sa, struct task *t);
void create_child_request(struct engine *e, struct ike_sa *sa, struct ike_msg *m,
			  const struct engine_path *path, uint64_t request_hash);
void create_child_response(struct engine *e, struct ike_sa *sa, struct outreq *o,
			   const struct ike_msg *m);

/** child_rekey_in_vain() - What the peer deleted while @o rekeyed it has no successor: it is down. */
void child_rekey_in_vain(struct engine *e, struct ike_sa *sa, const struct outreq *o);

/* cp.c */
/** cp_missing() - Do we want an address of the peer, and have none? */
bool cp_missing(const struct ike_sa *sa);
/** cp_wish() - CP(CFG_REQUEST) for what the configuration wants of the peer; nothing when nothing. */
void cp_wish(const struct ike_sa *sa, struct ike_build *b);
/** cp_take() - What a CP(CFG_REPLY) in @m gives us; without one all that was given is gone. */
void cp_take(struct engine *e, struct ike_sa *sa, const struct ike_msg *m);
/**
 * cp_give() - What the peer asked for by CP: addresses from `assign`, else from its pool, and `dns`.
 * False: it asked for an address and gets none; that is explained.
 */
bool cp_give(struct engine *e, struct ike_sa *sa, const struct ike_msg *m, struct ike_build *b);

/* rekey.c */
void rekey_schedule(struct engine *e, struct ike_sa *sa);
void on_sa_life(struct timer *t, uint64_t now_ms);
/**
 * rekey_put_off() - The peer said TEMPORARY_FAILURE: how many ms to wait. After minutes of nothing else
 * the IKE SA is replaced, or closed if that is not our part (RFC 7296 s2.25).
 */
uint64_t rekey_put_off(struct engine *e, struct ike_sa *sa);
int rekey_ike_send(struct engine *e, struct ike_sa *sa, struct task *t);
void rekey_ike_request(struct engine *e, struct ike_sa *sa, struct ike_msg *m,
		       const struct engine_path *path, uint64_t request_hash);
void rekey_ike_response(struct engine *e, struct ike_sa *sa, struct outreq *o,
			const struct ike_msg *m);
/** rekey_ike_done() - @to follows @from: children, tasks and the owed down move. */
void rekey_ike_done(struct engine *e, struct ike_sa *from, struct ike_sa *to);

void rekey_ike_settle(struct engine *e, struct ike_sa *to);

/* collide.c */
enum peer_wish {
	WISH_CREATE_CHILD,
	WISH_REKEY_CHILD,
	WISH_DELETE_CHILD,
	WISH_REKEY_IKE,
	WISH_DELETE_IKE,
};

enum collide_verdict {
	COLLIDE_ANSWER,	   /* as usual */
	COLLIDE_RIVAL,	   /* as usual, and remember: both of us do the same */
	COLLIDE_FORGET,	   /* as usual; our own request no longer matters */
	COLLIDE_EMPTY,	   /* answer without Delete payload */
	COLLIDE_TEMPORARY, /* TEMPORARY_FAILURE */
	COLLIDE_NOT_FOUND, /* CHILD_SA_NOT_FOUND */
};

/**
 * collide() - RFC 7296 s2.25: what the peer's @wish gets while our own work is under way.
 * @c: the CHILD SA that it names; NULL: it does not exist, or the wish is not about one.
 */
enum collide_verdict collide(const struct ike_sa *sa, enum peer_wish wish,
			     const struct child_sa *c);
/** collide_lost() - Ours has the lowest of the four nonces: ours is the redundant one (s2.8.1). */
bool collide_lost(const struct ike_sa *sa, const struct nonce *ours_i, const struct nonce *ours_r,
		  const struct collision *rival);

/* invalid_spi.c */
int invalid_spi_send(struct engine *e, struct ike_sa *sa, struct task *t);
/** invalid_spi_heard() - An authentic @m may say that the peer lost a CHILD SA: it is replaced. */
void invalid_spi_heard(struct engine *e, struct ike_sa *sa, const struct ike_msg *m);
/** invalid_spi_rumour() - The same without protection: FX_HINT at most. */
void invalid_spi_rumour(struct engine *e, const struct ike_msg *m, const struct engine_path *path);

/* unique.c */
/** unique_ask() - Must @sa, whose AUTH holds, wait for what an older instance says? Then it does. */
bool unique_ask(struct engine *e, struct ike_sa *sa, const struct ike_msg *m);
/** unique_heard() - Something authentic came on @o: newcomers that wait for that are refused. */
void unique_heard(struct engine *e, struct ike_sa *o);
/** unique_lost() - Somebody says that @o's far end knows it no more: newcomers go on. */
void unique_lost(struct engine *e, struct ike_sa *o);

/* redirect.c */
/** redirect_offer() - In IKE_SA_INIT of ours: may the peer send us elsewhere. */
void redirect_offer(const struct ike_sa *call, struct ike_build *b);
/** redirect_instead() - An answer to IKE_SA_INIT without keys: does it send us elsewhere? */
bool redirect_instead(struct engine *e, struct ike_sa *call, const struct ike_msg *m);
/** redirect_heard() - The same in an authentic message. */
void redirect_heard(struct engine *e, struct ike_sa *sa, const struct ike_msg *m);
/** redirect_unserved() - An authentic answer to IKE_AUTH: does it send us elsewhere instead of serving us? */
bool redirect_unserved(struct engine *e, struct ike_sa *sa, const struct ike_msg *m);
/** redirect_origin() - Who sent the sender of this IKE_SA_INIT here; family 0: nobody, or it has only a name. */
struct addr redirect_origin(const struct ike_msg *m);
/** redirect_add() - Into the answer to IKE_AUTH: is who has just proved who he is to go elsewhere? */
bool redirect_add(const struct engine *e, const struct ike_sa *sa, struct ike_build *b);
/** redirect_supported() - Does the IKE_SA_INIT say that its sender can be sent elsewhere? */
bool redirect_supported(const struct ike_msg *m);
/** redirect_away() - Nobody is taken in: true, the request is dealt with. */
bool redirect_away(struct engine *e, const struct ike_msg *m, const struct engine_path *path);

/* mobike.c */
enum mobike_cookie2 { MOBIKE_NOT_ASKED, MOBIKE_ABSENT, MOBIKE_WRONG, MOBIKE_SAME };

/** mobike_offer() - In IKE_AUTH: MOBIKE_SUPPORTED, and where else we are. */
void mobike_offer(struct engine *e, struct ike_build *b, const struct engine_path *path);
/** mobike_reached() - A peer called us there and authenticated: that is worth telling others. */
void mobike_reached(struct engine *e, const struct addr *a);
/** mobike_others() - Where else the peer is, if @m says so. */
void mobike_others(struct engine *e, struct ike_sa *sa, const struct ike_msg *m);
/** mobike_moves() - Is it our part to say UPDATE_SA_ADDRESSES? */
bool mobike_moves(const struct ike_sa *sa);
/** mobike_nat_forbidden() - Has @m NO_NATS_ALLOWED, and there is one? */
bool mobike_nat_forbidden(const struct ike_msg *m, const struct engine_path *path);
/** mobike_cookie2_add() - To a request that is sent next: its answer proves the path. */
void mobike_cookie2_add(struct engine *e, struct ike_sa *sa, struct ike_build *b);
enum mobike_cookie2 mobike_cookie2_check(const struct outreq *o, const struct ike_msg *m);
/** mobike_answer() - What an INFORMATIONAL request @m gets for it; true: mobike_move() after that. */
bool mobike_answer(struct engine *e, struct ike_sa *sa, const struct ike_msg *m,
		   const struct engine_path *path, struct ike_build *b);
/** mobike_move() - The peer is at @path, by an UPDATE of so many bytes. */
void mobike_move(struct engine *e, struct ike_sa *sa, const struct engine_path *path, size_t bytes);
/** mobike_response() - The answer to any INFORMATIONAL of ours, by @path; may end @sa. */
void mobike_response(struct engine *e, struct ike_sa *sa, const struct outreq *o,
		     const struct ike_msg *m, const struct engine_path *path);
int mobike_update_send(struct engine *e, struct ike_sa *sa, struct task *t);
int mobike_addresses_send(struct engine *e, struct ike_sa *sa, struct task *t);

/* qcd.c */
/** qcd_add() - The token for an IKE SA with that SPI of ours. */
void qcd_add(const struct engine *e, struct ike_build *b, bool initiator, uint64_t own_spi);
/** qcd_keep() - The peer's, if @m, which is authentic, has one. */
void qcd_keep(struct ike_sa *sa, const struct ike_msg *m);
/** qcd_proves() - Does the unprotected @m show the peer's token? Then it has lost @sa. */
bool qcd_proves(const struct ike_sa *sa, const struct ike_msg *m);
/** qcd_answer() - INVALID_IKE_SPI for a message under SPIs that are nobody's, with our token. */
void qcd_answer(struct engine *e, const struct ike_hdr *h, const struct engine_path *path);

/* informational.c */
int delete_send(struct engine *e, struct ike_sa *sa, struct task *t);
int liveness_send(struct engine *e, struct ike_sa *sa, struct task *t);
void informational_request(struct engine *e, struct ike_sa *sa, struct ike_msg *m,
			   const struct engine_path *path, uint64_t request_hash);
void informational_response(struct engine *e, struct ike_sa *sa, struct outreq *o,
			    const struct ike_msg *m, const struct engine_path *path);

#endif
