/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DAEMON_CHILD_INT_H
#define DAEMON_CHILD_INT_H

/*
 * Theory: the unprivileged process of posternd. One control thread owns everything here; the data
 * plane has threads of its own behind dp.h.
 *
 *	data plane ─ dp_event ─►┌─────────┐─ engine_*() ─► fx list ─┐
 *	parent, keys, resolver ►│ child   │                         ▼
 *	control socket ────────►│ (loop)  │◄─ sup_on_fx() ── effects_apply()
 *	timers ────────────────►└─────────┘─ sup_tick() ─► sup_ops: engine_*(), dp_*(), priv_*()
 *
 * Whoever calls the engine or a supervisor ends with effects_apply(), which works the list until it
 * is empty: what a supervisor asks of the engine meanwhile is appended to the same list.
 */

#include "config.h"
#include "control.h"
#include "dp.h"
#include "engine.h"
#include "loop.h"
#include "mapping.h"
#include "measure.h"
#include "memory.h"
#include "metrics.h"
#include "mtu.h"
#include "nat64.h"
#include "path.h"
#include "priv.h"
#include "supervisor.h"
#include "view.h"
#include "wan.h"

/* Numbers of socket groups in dp and in engine_path. */
enum child_sock {
	SOCK_MAIN,
	SOCK_IKE,
	SOCK_HOP0,
	SOCK_HOPS_END = SOCK_HOP0 + PROC_HOPS,
	SOCK_PORT0 = SOCK_HOPS_END, /* further UDP ports */
	SOCK_PORTS_END = SOCK_PORT0 + PROC_PORTS,
};
_Static_assert(DP_STREAM_FIRST == ENGINE_SOCK_STREAM, "one numbering for both");
_Static_assert(SOCK_PORTS_END <= DP_SOCKS_MAX, "groups of the data plane");

/* Both directions of a CHILD SA. */
struct pair {
	uint32_t spi_in, spi_out; /* host order; spi_in 0: free */
	uint32_t generation;
};

struct peer {
	struct child *child;
	uint32_t id;
	const struct config_peer *cfg;
	struct view *view;	 /* NULL: its files cannot be used, or our key is not known yet */
	enum key_type own_key;	 /* of our private key towards it */
	uint64_t key_generation; /* the configuration for which the keys process told that type */
	struct sup_host *hosts; /* of sup.cfg */
	struct supervisor sup;
	struct timer tick;
	uint32_t generation;
	struct pair *pair; /* as many as the peer ever had at a time, which the engine bounds */
	size_t pair_count;
	struct addr assigned[2]; /* given to us: v4, v6 */
	struct addr leased[2];	 /* given to it from its pool: v4, v6 */
	struct addr *dns; /* owned: told by it, with our addresses; NULL: none */
	size_t dns_count;
	struct mtu mtu;
	struct timer mtu_timer;
	uint16_t path_mtu; /* as the data plane was told; 0: not known */
	uint64_t up_since_ms, down_since_ms;
	const char *carrier; /* "udp", "tcp", "tls": what brings its packets; NULL: nothing does */
	uint64_t carrier_ms; /* since when */
	struct sup_route way;	/* for which the WAN was last looked up */
	size_t asked_bytes;	/* of its last IKE datagram: an answer costs about as much */
	struct echoes *echoes;	/* owned: measurements of its NAT that we take part in; NULL: none yet */
	struct timer echo;
	struct log log;
	bool present; /* reload: stands in the new configuration */
	struct servers *servers; /* it is one of several; NULL: alone */
	uint64_t drained_ms;	 /* since when it sends us away, to another of them; 0: it does not */
};

struct child {
	struct loop *loop;
	struct priv *priv;
	struct priv_inventory inv;
	struct config *cfg;
	struct engine *engine;
	struct dp *dp;
	struct dp_info dp_info;
	struct proposals ike, esp;
	struct fx_list fx;
	char *refused; /* owned: the last refusal of somebody who is no peer of ours; NULL: none */
	uint64_t refused_ms;
	bool applying;
	bool stopping;
	struct bundle *early; /* a reload that came before we were ready, or NULL */
	uint64_t early_generation;
	uint64_t started_ms;

	struct peer **peer; /* by id; NULL: none */
	size_t peer_cap;
	struct sup_env env;
	struct nat64 nat64; /* env's */
	bool nat64_wanted, nat64_asking;
	uint64_t nat64_asked_ms;
	struct sup_wan wan[CONFIG_WANS_MAX]; /* env's */
	bool pinned; /* some path names its device: what is answered leaves where it came from */

	struct {
		uint64_t used_ms; /* 0: not since it has its port */
	} hop[PROC_HOPS];
	struct timer hop_timer;

	struct timer engine_timer;
	struct timer recall_timer;
	struct recall recall; /* whose turn it is after our start */
	struct timer save_timer;
	uint64_t saved_ms;
	struct loop_fd dp_fd;
	struct streams *streams;
	struct memory memory; /* of the run before, while peers are made; then empty */
	uint64_t memory_serial;
	struct wans *wans; /* wans.c */
	struct servers *servers; /* peers with several */
	bool drain;		 /* nobody is taken in; see drain.c */
	uint32_t drain_next;	 /* peer to be told next */
	uint64_t drain_told;
	struct timer drain_timer;
	struct measure measure; /* postern bench; see bench.c */
	struct timer bench_timer;
	struct control_ref bench_for; /* who asked for it here */
	bool bench_answered;
	struct pool **pool; /* as cfg->pools; NULL: cannot be used */
	size_t pool_count;
	uint32_t tun_mtu;
	bool mtu_fixed;	   /* by the configuration */
	uint16_t path_max; /* the largest path_mtu of all peers; 0: none is known */
	enum dp_cipher widest; /* of those in use since the start: leaves least room in a packet */

	gid_t admin_gid;
	struct control_server *control, *events;
	struct metrics_server *metrics;
};

/* child.c */
struct peer *child_peer(const struct child *c, uint32_t id);
struct peer *child_peer_named(const struct child *c, const char *name);
/** child_peer_next() - The next peer after @p in order of id (NULL: the first). */
struct peer *child_peer_next(const struct child *c, const struct peer *p);
/** child_peer_from() - The first with that id or a higher one. */
struct peer *child_peer_from(const struct child *c, size_t id);
uint64_t child_now(const struct child *c);

/* effects.c */
/* An answer that is on its way names its peer by number: it may be gone when the answer comes. */
struct request {
	struct child *child;
	uint32_t peer;
	size_t host;
	struct addr to;
	uint64_t token;
};
/** request_new() - The caller frees; NULL without memory. */
struct request *request_new(struct child *c, uint32_t peer);
struct dp_path dp_path_of(const struct engine_path *p);
struct engine_path engine_path_of(const struct child *c, const struct dp_path *p);
/** effects_apply() - Do what the engine asked for; arm the timers anew. */
void effects_apply(struct child *c);
/** peer_arm() - The supervisor's next tick; none while the engine cannot call the peer. */
void peer_arm(struct peer *p);

/* engine_ops.c, sup_ops.c */
/** pair_of() - The CHILD SA with that inbound SPI (0: a free place), or NULL. */
struct pair *pair_of(struct peer *p, uint32_t spi_in);
extern const struct engine_ops child_engine_ops;
extern const struct sup_ops child_sup_ops;

/* nat64_ask.c */
/** nat64_ask() - An IPv4 address has no way: is there a NAT64? Asks as often as makes sense. */
void nat64_ask(struct child *c);
void nat64_network_changed(struct child *c);

/* dp_events.c */
/** effects_on_dp() - All events of the data plane. */
void effects_on_dp(struct child *c);

/* hop_port.c */
/** hop_used() - Something was sent from @sock: if it is for hops, it needs another port one day. */
void hop_used(struct child *c, uint32_t sock);

/* lease.c: addresses that peers give us */
void lease_take(struct peer *p, const struct fx *fx);
void lease_drop(struct peer *p);
/** lease_changed() - The tunnel is up, or not: the hook is told, with what the peer gave. */
void lease_changed(struct peer *p, bool up);

/* path_mtu.c: how large packets to a peer may be, and so the TUN's MTU */
void path_mtu_init(struct peer *p);
/** path_mtu_clear() - The peer is about to be removed. */
void path_mtu_clear(struct peer *p);
/** path_mtu_route() - The kernel's way to @to begins with a link of that MTU; 0: not told. */
void path_mtu_route(struct peer *p, const struct addr *to, uint32_t first_link);
/** path_mtu_reload() - `mtu` of the configuration may be another now, or none. */
void path_mtu_reload(struct child *c);
/** path_mtu_cipher() - A CHILD SA with this cipher is in use: its packets must fit too. */
void path_mtu_cipher(struct child *c, enum dp_cipher cipher);
/** path_mtu_fx() - After sup_on_fx(). */
void path_mtu_fx(struct peer *p, const struct fx *fx);
/** path_mtu_moved() - Its packets take another way. */
void path_mtu_moved(struct peer *p);
/** path_mtu_probe() - DP_EV_PROBE; false: its token is somebody else's. */
bool path_mtu_probe(struct peer *p, const struct dp_event *ev);
/** path_mtu_event() - DP_EV_STALLED, DP_EV_TOO_BIG, and DP_EV_ICMP that is about a size. */
void path_mtu_event(struct peer *p, const struct dp_event *ev);
json_t *path_mtu_json(const struct peer *p);

/* streams.c: TCP encapsulation */
int streams_start(struct child *c);
void streams_free(struct child *c);
/** streams_connect(), streams_disconnect() - See struct sup_ops. */
int streams_connect(struct child *c, uint32_t peer, const struct endpoint *to, bool tls);
void streams_disconnect(struct child *c, uint32_t sock);
/** streams_on_event() - DP_EV_STREAM_OPEN, DP_EV_STREAM_GONE. */
void streams_on_event(struct child *c, const struct dp_event *ev);
/** streams_proved() - An authenticated exchange with @peer came by that path: data may, too. */
void streams_proved(struct child *c, uint32_t peer, uint32_t sock);
/** streams_drop() - Those of @p are over: others are to be made instead. */
void streams_drop(struct peer *p);
/** streams_forget() - The peer is removed. */
void streams_forget(struct child *c, uint32_t peer);
/** streams_carrier() - After each step of its supervisor: is the peer reached by something else now? */
void streams_carrier(struct peer *p);
/** streams_json(), streams_peer_json() - For status: all of them; by what a peer is reached. */
json_t *streams_json(const struct child *c);
json_t *streams_peer_json(const struct peer *p);

/* peers.c: configuration to peers */
int peers_start(struct child *c);
/** peers_reload() - Takes @cfg (and frees the old one after). Logs what it cannot use. */
void peers_reload(struct child *c, struct config *cfg);
/** peer_key_awaited() - Of which type our key is the keys process has yet to say: no call can be signed. */
bool peer_key_awaited(const struct peer *p);
/** peer_networks() - Tell the data plane what lies there; its addresses may be new. */
void peer_networks(struct peer *p);
void peers_free(struct child *c);
void peers_save_soon(struct child *c);
void peers_save_now(struct child *c);

/* servers.c: peers with several servers, each a struct peer */
/** servers_make() - As the configuration has them now; who carried goes on. 0, -ENOMEM. */
int servers_make(struct child *c);
/** servers_changed() - @p, which has ->servers, came up or went down; told from within a supervisor. */
void servers_changed(struct peer *p);
/** servers_active() - Who carries the traffic of @p's group, servers_head(): who has its name; NULL: @p is alone. */
struct peer *servers_active(const struct peer *p);
struct peer *servers_head(const struct peer *p);
/** servers_next() - All of them in order of preference: pass NULL first; NULL at the end. */
struct peer *servers_next(const struct peer *p, const struct peer *after);
void servers_free(struct child *c);
/** servers_drained() - @p, which has ->servers, sends us away. */
void servers_drained(struct peer *p);

/* drain.c */
/** drain_set() - As the admin wishes; the parent keeps it for our successor. */
void drain_set(struct child *c, bool on);
/** drain_start() - It was in force before we were started. */
void drain_start(struct child *c);
/** drain_reload() - redirect-to may be another. */
void drain_reload(struct child *c);
json_t *drain_json(const struct child *c);

/* bench.c */
void bench_init(struct child *c);
/** bench_ask() - By the admin: measure what is between us and @p; answers @ref. */
void bench_ask(struct child *c, struct control_ref ref, struct peer *p, const json_t *args);
/** bench_on_private() - POSTERN_BENCH. */
void bench_on_private(struct peer *p, const struct fx *fx);
/** bench_reload() - What `bench` allows may be another. */
void bench_reload(struct child *c);
/** bench_forget() - The peer is about to be removed. */
void bench_forget(struct peer *p);

/* pools.c: addresses that we give to peers */
/** pools_make() - Those of @cfg in place of the old ones; peers keep theirs where they can. */
int pools_make(struct child *c, const struct config *cfg);
/** pools_recall() - Once at start, with all peers there: what they had before. */
void pools_recall(struct child *c);
void pools_free(struct child *c);
/** op_address_lease() - See struct engine_ops. */
int op_address_lease(void *arg, uint32_t peer, bool v4, bool v6, struct addr out[static 2],
		     char *why, size_t cap);

/* wans.c: the ways out, and what is learnt about their NATs */
#define WANS_DUMMY_BYTES 36 /* of a plain dummy: header, IV, trailer, ICV (GCM, ChaCha20) */
/** wans_start() - What was kept is loaded; 0 or -ENOMEM. Before the peers. */
int wans_start(struct child *c);
void wans_free(struct child *c);
/** wans_configure() - Sections [wan NAME] are new. */
void wans_configure(struct child *c);
/** wans_on_route() - The route to @p: by which WAN is that? */
void wans_on_route(struct peer *p, const struct sup_route *route);
/** wans_on_path() - It is reached by another way now; only what is not the kernel's choice counts. */
void wans_on_path(struct peer *p);
/** wans_arm() - There may be something to measure. */
void wans_arm(struct child *c);
/** wans_on_probe() - A dummy with a token; false: it is not about a NAT. */
bool wans_on_probe(struct peer *p, const struct dp_event *ev);
/** wans_on_private() - POSTERN_PROBE_ECHO. */
void wans_on_private(struct peer *p, const struct fx *fx);
/** wans_spend() - A datagram of @bytes towards or from @p that is no data. */
void wans_spend(struct peer *p, enum wan_use use, size_t bytes);
/** wans_spend_ike() - The same, of IKE. */
void wans_spend_ike(struct peer *p, size_t bytes, bool answer);
void wans_forget_peer(struct peer *p);
json_t *wans_json(struct child *c);
/** wans_keepalive_json() - "keepalive" of a peer. */
json_t *wans_keepalive_json(struct child *c, const struct peer *p);

/* telling.c: JSON */
/** telling_status() - All but its peers, which are told one by one: telling_next_peer(). */
json_t *telling_status(struct child *c, bool counters);
json_t *telling_next_peer(void *arg, uint64_t *at);
/** telling_path() - By which line the live IKE SA goes, and by which it could; telling_path.c. */
json_t *telling_path(const struct child *c, const struct peer *p);
/** telling_elsewhere() - Where it says that it can be reached as well. */
json_t *telling_elsewhere(const struct peer *p);
json_t *telling_peer_event(const struct peer *p);
json_t *telling_addresses(const struct child *c, const char *event);
/** telling_send() - To both sockets' subscribers; takes @event. */
void telling_send(struct child *c, json_t *event);
void telling_greet(struct control_server *s, struct control_ref ref, void *arg);
void telling_metrics(struct metrics *m, void *arg);

/* verbs.c */
extern const struct control_verb child_verbs[];

#endif
