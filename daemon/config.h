/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DAEMON_CONFIG_H
#define DAEMON_CONFIG_H

/*
 * Theory: postern.conf as an immutable structure that every process of posternd makes for itself
 * from the same text (the bundle) by the same code. Nothing here opens a file or touches a key: paths
 * stay paths. A new file gives a new structure; config_reloadable() says whether a running daemon
 * can go over to it, and config_peer_diff() what changed for a peer.
 */

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"
#include "bundle.h"
#include "conf.h"
#include "log.h"

#define CONFIG_DEFAULT_PATH "/etc/postern/postern.conf"
#define CONFIG_WORKERS_MAX  16
#define CONFIG_ADDRS_MAX    8 /* tunnel addresses of our own; addresses assigned to a peer */
#define CONFIG_PEERS_MAX    20000
#define CONFIG_DNS_MAX	    8  /* name servers that a peer is told */
#define CONFIG_POOL_V6_LEN  64 /* shortest IPv6 prefix of a pool */
#define CONFIG_HOOK_MAX	    1024
#define CONFIG_WANS_MAX	    16
#define CONFIG_NETNS_MAX    200
#define CONFIG_PORTS_MAX    16 /* in one list of ports */
#define CONFIG_NAME_USERS_MAX 3
#define CONFIG_LEAK_MAX	    4096 /* networks under leak = never, of all peers */
#define CONFIG_CHILDREN_MAX 16	 /* [child] sections of one peer */
#define CONFIG_TS_MAX	    32	 /* selectors on one side of a CHILD SA */
#define CONFIG_SERVERS_MAX  8	 /* [server] sections of one peer */
#define CONFIG_PORT_ESP	    4500 /* RFC 3948 */
#define CONFIG_PORT_IKE	    500
#define CONFIG_OUTER_PORTS_MAX 3 /* further ports, in each list */
#define CONFIG_MARKS_MAX    4	   /* different ones, of all peers */
#define CONFIG_OWN_MARK	    0x3d54u /* fwmark of all other outer sockets */

enum config_start { CONFIG_START_ALWAYS, CONFIG_START_ON_DEMAND, CONFIG_START_NO };
enum config_auth { CONFIG_AUTH_PSK, CONFIG_AUTH_RAW, CONFIG_AUTH_CERT };
enum config_childless {
	CONFIG_CHILDLESS_ALLOW,
	CONFIG_CHILDLESS_PREFER,
	CONFIG_CHILDLESS_FORCE,
	CONFIG_CHILDLESS_NEVER,
};
enum config_tcp { CONFIG_TCP_AUTO, CONFIG_TCP_NEVER, CONFIG_TCP_ALWAYS };
enum config_crypto { CONFIG_CRYPTO_AUTO, CONFIG_CRYPTO_OPENSSL, CONFIG_CRYPTO_IPSEC_MB };
enum config_io { CONFIG_IO_AUTO, CONFIG_IO_URING, CONFIG_IO_EPOLL };

/* One of udp-ports or tcp-ports: "443/tls". */
struct config_port {
	uint16_t port;
	bool tls;
};

struct config_ports {
	struct config_port port[CONFIG_OUTER_PORTS_MAX];
	uint8_t count;
};

/* An IKE identity: the text as written (names in lower case); an address has .addr.family set. */
struct config_id {
	const char *text;
	struct addr addr;
};

/* Where to call: a name that is resolved again at every attempt, or an address (.addr.family set). */
struct config_host {
	const char *name;
	struct addr addr;
};

/* One selector: "10.99.0.1[tcp/25]". */
struct config_ts {
	/*
	 * "assigned[tcp/25]": the addresses that the configuration payload gives; .prefix is all of
	 * one family then (the word makes two, one for each family).
	 */
	bool assigned;
	struct prefix prefix;
	uint8_t proto;		   /* 0: any */
	uint16_t port_lo, port_hi; /* ICMP: type << 8 | code; 0..65535: any; 65535..0: opaque */
};

struct proposals;

/* A CHILD SA: a section [child NAME], or without any the one of [peer NAME] itself. */
struct config_child {
	uint32_t id;	  /* 1.., in its peer; stable over reloads as long as the name is */
	const char *name; /* of its section; that of the peer when there is none */
	unsigned line;
	struct config_ts *local_ts, *remote_ts; /* as they are negotiated; local_ts may be shared */
	size_t local_ts_count, remote_ts_count;
	const struct proposals *esp_proposals; /* as in the peer */
	uint32_t lifetime_s;
	uint64_t lifetime_bytes, lifetime_pkts; /* 0: none */
};

/* Addresses for peers that call us. */
struct config_pool {
	const char *name;
	unsigned line;
	struct prefix *prefixes;
	size_t prefix_count;
	struct addr *dns;
	size_t dns_count;
};

/* A line out, by its interface. */
struct config_wan {
	const char *name;
	unsigned line;
	const char *interface;
	uint32_t priority; /* the least is preferred */
	bool metered;
	uint64_t budget_bytes; /* a month, if metered */
};

struct config_peer {
	uint32_t
	    id; /* 1.., stable over reloads as long as the section's name is: config_adopt_ids() */
	const char *name;
	unsigned line;
	/* One of several servers, name PEER/NAME: the peer of which it is, which is the first one itself. */
	const struct config_peer *of; /* NULL: no section [server] */
	const char *server;	      /* NAME */
	char *own_name;
	size_t server_count; /* further ones; 0: the one alone */
	bool servers_all;    /* all are up, not only one of them */

	struct config_host *address;
	size_t address_count;
	uint16_t port; /* where it listens */
	const char *interface; /* by which alone packets leave for it; NULL: any */
	uint32_t mark; /* fwmark of its outer packets, whole as the sockets have it; 0: CONFIG_OWN_MARK */
	enum config_start start;
	bool leak_never; /* what belongs in the tunnel never leaves another way */

	struct config_id local_id; /* ours towards this peer */
	struct config_id remote_id;
	enum config_auth auth;	     /* how it proves itself, */
	enum config_auth local_auth; /* and how we do */
	const char *private_key; /* path, its own or that of [posternd]; NULL where a PSK is ours */
	const char *psk;	 /* path; NULL unless one of both is CONFIG_AUTH_PSK */
	const char **public_key; /* paths; auth CONFIG_AUTH_RAW */
	size_t public_key_count;
	const char *certificate; /* path of our chain; local_auth CONFIG_AUTH_CERT */
	const char *ca;		 /* path of trust anchors; auth CONFIG_AUTH_CERT */

	struct prefix *networks; /* what lies there: routes; without the assigned addresses */
	size_t network_count;
	struct addr *assign; /* given to it by CP */
	size_t assign_count;
	const struct config_pool
	    *pool;		/* where the families that assign lacks come from, or NULL */
	const struct addr *dns; /* name servers that it is told: its own or its pool's */
	size_t dns_count;
	struct addr *own_dns;
	struct prefix *accept_assigned; /* in which what it gives us must lie; may be shared */
	size_t accept_assigned_count;
	bool redirect_follow; /* it may send us to another address */
	struct config_host redirect_to; /* it calls us and is served there; name NULL: here */
	bool request_address; /* ask it for addresses by CP */
	struct prefix *from;  /* waiting side: from where it may come; none: from anywhere */
	size_t from_count;

	struct config_child *child; /* in file order */
	size_t child_count;	    /* 1 .. CONFIG_CHILDREN_MAX */

	/* Its own, or those of [posternd]; NULL: what this CPU does best. Owned by struct config. */
	const struct proposals *ike_proposals, *esp_proposals;
	uint32_t ike_lifetime_s;
	enum config_childless childless;
	uint64_t retry_max_ms; /* longest pause between attempts in the first day */
	uint64_t keepalive_ms;
	uint64_t inactivity_ms; /* 0: it stays up */
	bool bench_allowed; /* it may measure the tunnel with us */
	uint64_t rate_in, rate_out; /* bit/s of inner packets from and to it; 0: no limit */

	enum config_tcp tcp;
	struct config_ports udp_ports; /* beside .port */
	struct config_ports tcp_ports;
	const char *tls_name; /* SNI; NULL: none */
};

struct config {
	struct conf *conf; /* owned: all text points into it */

	struct config_id identity;
	const char *private_key; /* path or NULL */
	struct addr tunnel_address[CONFIG_ADDRS_MAX];
	size_t tunnel_address_count;
	char tun[IFNAMSIZ];
	uint32_t mtu; /* 0: computed */

	const char *run_dir, *state_dir;
	const char *user, *keys_user, *resolver_user, *admin_group; /* names or numbers */

	uint32_t workers;
	enum config_io io;
	enum config_crypto crypto;
	uint16_t port;	     /* of the outer sockets; 0: ephemeral (nobody calls us) */
	bool port_500;	     /* also listen on 500 for foreign initiators */
	struct config_ports udp_ports; /* where we listen beside .port; none unless a peer calls us */
	struct config_ports tcp_ports; /* TCP encapsulation; likewise */
	bool tcp_wished; /* tcp-ports is set: without one of them we do not start */
	const char *metrics; /* NULL: none */
	enum log_level log_level;
	const char *name_users[CONFIG_NAME_USERS_MAX]; /* whose name queries pass the tunnel by */
	size_t name_user_count;
	bool firewall; /* open our ports in the machine's own firewall */
	uint16_t tunnel_ports[CONFIG_PORTS_MAX]; /* TCP, let in from the tunnel by it */
	size_t tunnel_port_count;
	struct config_host redirect_to; /* where callers are sent while we drain; name NULL: nowhere */
	const char *hook; /* program that is told of tunnels with addresses of theirs; NULL: none */

	const struct proposals *ike_proposals, *esp_proposals; /* NULL: what this CPU does best */
	struct config_proposals *proposal_lists; /* every list that the file has, each once */

	const char *outer_netns, *tun_netns; /* names or paths; NULL: where we are started */
	struct config_wan *wans; /* none: each interface that leads to a peer is a way out */
	size_t wan_count;
	struct config_ts *own_ts;	/* the local_ts of who writes none */
	struct prefix *accept_assigned; /* the default of all */
	size_t accept_assigned_count;

	struct config_pool *pools;
	size_t pool_count;
	struct config_peer *peers; /* in file order, behind them those of [server] sections */
	struct config_peer **by_name;
	size_t peer_count;
};

extern const struct conf_schema config_schema;

/**
 * config_make() - Typed, checked configuration from parsed text.
 * @c: taken, also on failure; its errors and those found here are in ->conf.
 * Returns NULL only without memory. Usable only when conf_ok(config->conf).
 */
struct config *config_make(struct conf *c);
/** config_load() - From disk. No named file is opened; see config_files_check(). */
struct config *config_load(const char *path);
/** config_from_bundle() - In a child, settled; borrows @b during the call. */
struct config *config_from_bundle(const struct bundle *b);
/**
 * config_settle() - All checks are done, and all named files are read: of the parsed text only what was
 * written where is kept, and what the structure points to.
 */
void config_settle(struct config *cfg);
void config_free(struct config *cfg);

/**
 * config_files_check() - Open every file that is named, check its mode and contents (the private
 * key's too when it may be read); for `postern check`. Adds errors to cfg->conf.
 * Part of the library daemon_config_files, since it needs crypto/.
 */
void config_files_check(struct config *cfg, const struct conf_files *files);
/** config_judge() - `postern check` and `posternd -n`: all of it, told on stdout or stderr; 0 or 1. */
int config_judge(const char *path);

/**
 * config_reloadable() - Can a daemon that runs @old go over to @cfg? Settings of [posternd] that hold
 * for a whole life (tun, ports, users, directories, workers, io) must be equal; adds an error for each
 * that is not. Compares text: any process may call it.
 */
bool config_reloadable(const struct config *old, struct config *cfg);
/** config_adopt_ids() - Peers of the same name keep their id of @old, new ones get free ones. 0, -ENOMEM. */
int config_adopt_ids(struct config *cfg, const struct config *old);

#define CONFIG_DIFF_POLICY (1u << 0) /* identities, keys, selectors, lifetimes: the engine's view */
#define CONFIG_DIFF_ROUTES (1u << 1) /* networks, assign */
#define CONFIG_DIFF_CALL   (1u << 2) /* address, port, start, retry: the supervisor's */
/** config_peer_diff() - 0: nothing changed. File contents are not compared. */
unsigned config_peer_diff(const struct config_peer *a, const struct config_peer *b);

const struct config_peer *config_peer_find(const struct config *cfg, const char *name);
/** config_wan_on() - The section [wan NAME] with that interface, or NULL. */
const struct config_wan *config_wan_on(const struct config *cfg, const char *interface);
/** config_mark_parse() - "N" or "N/MASK" to what a socket gets; 0 or -EINVAL with @why. */
int config_mark_parse(const char *text, uint32_t *mark, char *why, size_t cap);
/** config_marks() - The different ones of all peers, at most CONFIG_MARKS_MAX; how many there are. */
size_t config_marks(const struct config *cfg, uint32_t out[static CONFIG_MARKS_MAX]);
/** config_pool_has() - Has it addresses of @family? @p may be NULL. */
bool config_pool_has(const struct config_pool *p, int family);
/**
 * config_hook_check() - May root run it: an absolute path, it and all folders that the way to it goes through,
 * those of links too, root's and writable by nobody else? 0 or -errno with @why. Looks at the disk.
 */
int config_hook_check(const char *path, char *why, size_t cap);
/** config_addr_unicast() - Neither unspecified nor loopback, multicast or broadcast. */
bool config_addr_unicast(const struct addr *a);
/** config_ports_have() - Is it one of them? */
bool config_ports_have(const struct config_ports *l, uint16_t port, bool tls);
/** config_waits() - Does any peer call us? */
bool config_waits(const struct config *cfg);

#endif
