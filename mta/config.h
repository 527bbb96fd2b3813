/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_CONFIG_H
#define MTA_CONFIG_H

/*
 * Theory: mta.conf becomes one immutable struct mta_config in each process. The parent checks the
 * file and everything that it names, then hands the children a bundle (base/bundle.h) with the text
 * and the named public files, and each child parses it with this same code.
 * A reload makes a new one; nothing points from one generation into another.
 *
 * Role presets fill in what is not written:
 *
 *	edge	[listener mx] class mx on *:25, [listener tunnel] class tunnel on tunnel:25,
 *		[route internet] kind mx, domains *; a route of kind tunnel for each [home]
 *	home	[listener tunnel] class tunnel on tunnel:25, [listener submission] and
 *		[listener submissions] on *:587 and *:465 when [mta] users and a certificate stand,
 *		[route edge] kind tunnel, domains *; [route deliver] kind deliver for [deliver] domains
 *	workstation	as home, without the submission listeners
 *
 * A section that is written replaces the preset of the same name key by key. Preset listeners of a
 * class are dropped as soon as one [listener] of that class is written.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"
#include "conf.h"

#define MTA_NAME_MAX	  64  /* bytes of a section name, NUL included */
#define MTA_NAME_CHARS                                                                             \
	"abcdefghijklmnopqrstuvwxyz"                                                               \
	"ABCDEFGHIJKLMNOPQRSTUVWXYZ"                                                               \
	"0123456789._-"
#define MTA_DOMAIN_MAX	  254 /* a domain in text, NUL included */
#define MTA_LISTENERS_MAX 32
#define MTA_HOMES_MAX	  1024
#define MTA_ROUTES_MAX	  1100
#define MTA_RULES_MAX	  256

enum mta_role { MTA_EDGE, MTA_HOME, MTA_WORKSTATION };

/** struct strv - Owned list of owned strings. */
struct strv {
	char **v;
	size_t count;
};

enum listener_class {
	LISTEN_MX,	    /* public port 25: no AUTH, no relay, recipients checked */
	LISTEN_SUBMISSION,  /* 587: STARTTLS, then AUTH, required */
	LISTEN_SUBMISSIONS, /* 465: TLS from the first byte, AUTH required */
	LISTEN_TUNNEL,	    /* from a Postern peer through the TUN; client named by posternd */
	LISTEN_LAN,	    /* from [listener] networks without AUTH; loopback, a printer's subnet */
};

/* One "address" word of a listener: 192.0.2.1:25, [2001:db8::1]:25, *:25 (both families), tunnel:25. */
struct listen_addr {
	bool tunnel;	    /* every local tunnel address, bound to the TUN device */
	bool any;	    /* 0.0.0.0 and [::] */
	struct endpoint ep; /* port always set */
};

struct mta_listener {
	char name[MTA_NAME_MAX];
	enum listener_class class;
	struct listen_addr *addresses;
	size_t address_count;
	char *hostname;	   /* banner, EHLO, Received; default [mta] hostname */
	char *certificate; /* path of the PEM chain; NULL: none, no STARTTLS */
	char *private_key; /* path; read by the parent only */
	bool tls_required; /* no MAIL before TLS; default for submission and submissions */
	bool mask_source;  /* leave the client's address out of Received (default: submission classes) */
	bool normalize;	   /* bare LF becomes CRLF; submission and lan listeners only */
	struct prefix *networks; /* class lan: who may relay; empty: loopback only */
	size_t network_count;
	uint32_t sessions_max;	      /* at a time on this listener (1000) */
	uint32_t sessions_per_prefix; /* at a time from one /64 or /32 (20; tunnel: sessions_max) */
	uint32_t recipients_max;      /* a letter (100; tunnel 1000) */
	uint32_t errors_max;	      /* replies 4xx, 5xx before 421 (20) */
	uint64_t size_max_bytes;      /* of one letter; default [mta] size-max */
	uint32_t idle_ms;	      /* 5 min */
	uint32_t session_ms;	      /* absolute limit; 2 h */
};

/* A tenant of the edge. */
struct mta_home {
	char name[MTA_NAME_MAX];
	char *peer;		/* [peer NAME] of postern.conf; default: the section's name */
	struct strv domains;	/* lower case */
	char *recipients;	/* table file; NULL: the set that home publishes by XPOSTERN */
	bool recipients_any;	/* "check-recipients = no": no check at the edge */
	uint64_t queue_max_bytes; /* of mail that waits for it; 1 GiB; at 100 % 452 */
	uint32_t rate_per_hour;	  /* letters that it may send outward; 0: no limit (1000) */
	char subaddress;	  /* '+' or 0 */
	struct strv tls_pins;	  /* sha256 of its public key (SPKI), 64 hex digits */
};

enum route_kind {
	ROUTE_TUNNEL,	 /* to the inner address of a peer, bound to the TUN, never another way */
	ROUTE_MX,	 /* by MX records of the recipient's domain */
	ROUTE_SMARTHOST, /* to address:port, whatever the domain */
	ROUTE_DELIVER,	 /* postern-deliver on this machine */
	ROUTE_LMTP,	 /* LMTP to a unix socket or address:port */
};

enum tls_policy {
	TLS_NONE,
	TLS_MAY,     /* when offered, unverified; plain when not */
	TLS_ENCRYPT, /* or wait */
	TLS_VERIFY,  /* certificate chain and name, or wait */
	TLS_PIN,     /* public key is one of tls_pins, or wait; needs no chain and no name */
};

enum family_pref { FAMILY_V6_FIRST, FAMILY_V4_FIRST, FAMILY_V6_ONLY, FAMILY_V4_ONLY };
enum bounce_policy { BOUNCE_NONE, BOUNCE_AUTHENTICATED, BOUNCE_VERIFIED, BOUNCE_ALL };
enum schedule_kind { SCHEDULE_CONSTANT, SCHEDULE_LINEAR, SCHEDULE_EXPONENTIAL };

/* Wait before attempt n+1: first, first*n or first*2^(n-1), at most max, +-jitter percent. */
struct mta_schedule {
	enum schedule_kind kind;
	uint64_t first_ms;
	uint64_t max_ms;
	uint8_t jitter_pct;
};

struct mta_route {
	char name[MTA_NAME_MAX];
	enum route_kind kind;
	bool preset;		/* made by the role, not written */
	char *peer;		/* tunnel: [peer NAME] of postern.conf */
	struct strv domains;	/* recipients that it takes: names, "*"; empty: by rule only */
	struct strv addresses;	/* smarthost, lmtp: hosts or IPs, tried in order; lmtp: "/path" too.
				 * tunnel: empty means the peer's inner addresses as posternd tells */
	uint16_t port;		/* 25; smarthost 587, submissions 465 */
	enum tls_policy tls;	/* tunnel: pin when pins stand, else may; mx: may; smarthost: verify */
	bool tls_implicit;	/* no STARTTLS: TLS at once */
	char *tls_name;		/* name to verify; default: the host's */
	struct strv tls_pins;	/* sha256 of the public key (SPKI), 64 hex digits */
	char *username;		/* smarthost: AUTH PLAIN after TLS only */
	char *password_file;	/* read by the parent, sent to relay alone */
	struct addr source4, source6; /* family 0: as the kernel chooses */
	enum family_pref family;
	uint64_t ttl_ms;
	struct mta_schedule schedule;
	enum bounce_policy bounce;
	uint32_t sessions_max;	     /* at a time to one next hop (tunnel 4, mx 5, smarthost 4, deliver 4) */
	uint32_t letters_per_session; /* 0: no limit; 100 for mx */
	uint64_t delay_warning_ms;   /* 0: none */
	bool required_8bitmime;	     /* bounce 5.6.3 rather than send 8-bit to a peer without it */
};

/* Deliveries on this machine; also what postern-deliver reads of the file. */
struct mta_deliver {
	struct strv domains; /* lower case */
	char *users;	     /* table "local-part = user [maildir]"; NULL: none, unless system_users */
	char *aliases;	     /* table "name: target, target"; NULL: none */
	bool system_users;   /* a local part that is a user of the system with uid >= uid_min (yes) */
	uint32_t uid_min;    /* 1000 */
	char *maildir;	     /* below the home directory; "Maildir" */
	char subaddress;     /* '+' or 0 */
	char *socket;	     /* RUN/deliver.sock */
	char *catch_all;     /* local part, or NULL */
};

enum rule_action { RULE_ACCEPT, RULE_REJECT, RULE_TEMPFAIL };

/* First rule whose every written match holds decides; then the class's own default. */
struct mta_rule {
	char name[MTA_NAME_MAX];
	uint32_t line;
	struct strv listeners;	/* names or classes; empty: any */
	struct prefix *clients; /* address of the client */
	size_t client_count;
	struct strv peers;
	int authenticated;	/* -1 any, 0, 1 */
	int tls;		/* -1 any, 0, 1 */
	struct strv senders;	/* a@d, @d, "<>" */
	struct strv recipients; /* a@d, @d */
	enum rule_action action;
	char *route;   /* accept: this route instead of the one by domain */
	char *message; /* reject, tempfail: text after the enhanced code */
};

enum dns_mode { DNS_RECURSE, DNS_FORWARD, DNS_SYSTEM };

struct mta_config {
	char *path; /* of the file, for messages */
	enum mta_role role;
	char *hostname;
	char *run_dir;	 /* /run/postern */
	char *state_dir; /* /var/lib/postern; the queue is state_dir/queue */
	char *events;	 /* posternd's events.sock; RUN/events.sock */
	bool tunnel;	 /* "no": never connect to posternd */
	char *user, *queue_user, *admin_group;
	char *edge;	     /* home, workstation: [peer NAME] that takes all outgoing mail; or NULL */
	char *users;	     /* table of those who may submit: "login:crypt-hash:sender sender"; or NULL.
			      * Not in the bundle: the hashes go to lookup alone */
	char *certificate;   /* default of the listeners and of tunnel and smarthost routes */
	char *private_key;
	char *ca_file;	     /* roots for tls = verify; NULL: the system's */
	uint64_t size_max_bytes; /* 50 MiB */
	uint64_t queue_reserve_bytes; /* free space below which 452 (64 MiB) */
	bool queue_volatile; /* a queue on tmpfs is allowed (tests) */
	uint32_t received_max; /* loop limit (50) */
	char *log_level;

	enum dns_mode dns; /* edge: recurse; home: system */
	struct endpoint *dns_servers; /* forward */
	size_t dns_server_count;
	char *dns_root_hints;	 /* file; NULL: built in */
	char *dns_trust_anchor;	 /* file; NULL: no validation yet */
	uint32_t dns_timeout_ms; /* whole query (10 s) */

	struct mta_listener *listeners;
	size_t listener_count;
	struct mta_home *homes;
	size_t home_count;
	struct mta_route *routes;
	size_t route_count;
	struct mta_rule *rules;
	size_t rule_count;
	struct mta_deliver deliver;
};

/** config_schema - The sections and keys of mta.conf, for conf_parse() and the man page. */
extern const struct conf_schema config_schema;

/**
 * config_new() - Check what conf_parse() read and make the configuration of it.
 * @c: parsed with config_schema; borrowed. What is wrong is added to it by conf_error().
 *
 * Opens no file. NULL when the result is not conf_ok(), or on ENOMEM.
 */
struct mta_config *config_new(struct conf *c);
void config_free(struct mta_config *c);

/* By name; NULL when there is none. The results live as long as @c. */
const struct mta_route *config_route(const struct mta_config *c, const char *name);
const struct mta_home *config_home(const struct mta_config *c, const char *name);
/** config_home_by_peer() - The tenant behind a tunnel peer. */
const struct mta_home *config_home_by_peer(const struct mta_config *c, const char *peer);
/** config_home_by_domain() - The tenant whose mail this is; @domain in lower case. */
const struct mta_home *config_home_by_domain(const struct mta_config *c, const char *domain);
/** config_route_for_domain() - Exact name first, then "*"; NULL: no route takes it. */
const struct mta_route *config_route_for_domain(const struct mta_config *c, const char *domain);
/** config_is_local() - Is @domain delivered on this machine ([deliver] domains)? */
bool config_is_local(const struct mta_config *c, const char *domain);
bool strv_has(const struct strv *s, const char *word);

/** pin_parse() - 64 hex digits, colons allowed between pairs; 0 or -EINVAL. */
int pin_parse(const char *hex, uint8_t sha256[static 32]);

#endif
