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

#define CIPHERS_MAX 16 /* of a listener or route */
#define CIPHER_MAX  64 /* their names, with the NUL */

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

/* 0x0302 is TLS 1.1, 0x0303 1.2, 0x0304 1.3; 0: 1.2 at least, as high as possible. */
struct tls_range {
	uint16_t min, max;
};

/* What a listener wants to see of a client inside of TLS. With the last two no MAIL comes before it. */
enum client_cert {
	CLIENT_CERT_NONE,
	CLIENT_CERT_REQUEST, /* shown or not; the log says which */
	CLIENT_CERT_REQUIRE, /* any: the handshake fails without one */
	CLIENT_CERT_VERIFY,  /* of client_ca, or with a key of client_pins */
};

#define LISTENER_CERTIFICATES_MAX 8
#define LISTENER_PINS_MAX	  8 /* as TLS_PINS_MAX */

/* Whose a certificate is: by its key, or by a name that an authority of client_ca has given it. */
struct client_login {
	char *login; /* lower case, as in the table of users */
	char *name;  /* DNS name; NULL: the pin counts */
	uint8_t pin[32];
};

enum match_kind { MATCH_ADDRESS, MATCH_NAME, MATCH_CLIENT };

#define MATCH_WORD_MAX 336 /* as it is spelled in the list, NUL included */

/* Sorted, for policy/match.c. */
struct match_list {
	char **word;
	size_t word_count;
	struct prefix *prefix; /* clients */
	size_t prefix_count;
};

struct ere;

/* What a condition compares with; see policy/match.h. */
struct mta_match {
	enum match_kind kind;
	struct strv words;	/* as written */
	struct strv tables;	/* files with more of them, in the bundle */
	struct match_list list; /* of both; without the tables until ruleset_load() */
	struct ere **ere;
	size_t ere_count;
};

/* Whose connections are taken: not those in deny, and where allow is written those in it alone. */
struct mta_door {
	struct mta_match allow, deny;
};

struct mta_listener {
	char name[MTA_NAME_MAX];
	uint32_t line; /* 0: a preset */
	enum listener_class class;
	struct listen_addr *addresses;
	size_t address_count;
	char *hostname;	   /* banner, EHLO, Received; default [mta] hostname */
	struct strv certificates; /* paths of PEM chains, chosen by SNI, else the first; empty: no TLS */
	struct strv private_keys; /* one for each, in their order; read by the parent only */
	bool hop_key; /* class tunnel without a certificate of its own: our hop key before [mta]'s */
	bool tls_required; /* no MAIL before TLS; default for submission and submissions */
	struct tls_range tls_versions;
	struct strv tls_ciphers; /* as OpenSSL names them; none: as usual */
	enum client_cert client_cert;
	char *client_ca;	 /* authorities for clients, a file of the bundle; or NULL */
	struct strv client_pins; /* sha256 of public keys (SPKI), 64 hex digits */
	struct client_login *client_logins; /* who logs in by AUTH EXTERNAL */
	size_t client_login_count;
	bool mask_source;  /* leave the client's address out of Received (default: submission classes) */
	bool dsn;	   /* offer DSN (RFC 3461); class mx does not */
	bool normalize;	   /* bare LF becomes CRLF; submission and lan listeners only */
	struct mta_door door; /* besides that of [mta]: a client passes both */
	struct prefix *networks; /* class lan: who may relay; empty: loopback only */
	size_t network_count;
	struct prefix *trace_clients; /* class lan: hops that may ask XTRACE, hop/story.h */
	size_t trace_client_count;
	uint32_t sessions_max;	      /* at a time on this listener (1000) */
	uint32_t sessions_per_prefix; /* at a time from one /64 or /32 (20); tunnel: of one peer (100) */
	uint32_t recipients_max;      /* a letter (100; tunnel 1000) */
	uint32_t auth_failures_max;   /* wrong passwords of one /64 or /32 in an hour; 0: no limit (20) */
	uint32_t errors_max;	      /* replies 4xx, 5xx before 421 (20) */
	uint64_t size_max_bytes;      /* of one letter; default [mta] size-max */
	/* In an hour, of one login or, without one, of one sender; 0: no limit (0). */
	uint32_t letters_per_sender;
	uint64_t bytes_per_sender;
	/* In an hour, of one mailbox; 0: no limit (0). */
	uint32_t letters_per_recipient;
	uint64_t bytes_per_recipient;
	uint32_t idle_ms;	      /* 5 min */
	uint32_t greet_delay_ms;      /* 0: none */
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
	uint64_t size_max_bytes;  /* of one letter; 0: as it publishes */
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

enum family_pref {
	FAMILY_V6_FIRST,
	FAMILY_V4_FIRST,
	FAMILY_V6_ONLY,
	FAMILY_V4_ONLY,
	FAMILY_BALANCE, /* each connection begins with the other one */
};
enum bounce_policy { BOUNCE_NONE, BOUNCE_AUTHENTICATED, BOUNCE_VERIFIED, BOUNCE_ALL };
enum schedule_kind { SCHEDULE_CONSTANT, SCHEDULE_LINEAR, SCHEDULE_EXPONENTIAL };

/* Wait before attempt n+1: first, first*n or first*2^(n-1), at most max, +-jitter percent. */
struct mta_schedule {
	enum schedule_kind kind;
	uint64_t first_ms;
	uint64_t max_ms;
	uint8_t jitter_pct;
};

#define ROUTE_SOURCES_MAX 16

/* An own address that connections leave from, and the name that its PTR record has. */
struct route_source {
	struct addr addr;
	char *helo; /* NULL: the route's */
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
	bool tls_learn; /* tunnel, nothing written: the hop key that the peer shows first (tls_hop.h) */
	bool tls_implicit;	/* no STARTTLS: TLS at once */
	struct tls_range tls_versions;
	struct strv tls_ciphers;
	char *ca_file;		/* authorities for verify, a file of the bundle; NULL: [mta]'s */
	char *tls_name;		/* name to verify; default: the host's */
	struct strv tls_pins;	/* sha256 of the public key (SPKI), 64 hex digits */
	char *certificate;	/* ours, for next hops that ask; NULL: tunnel [mta]'s, else none */
	char *private_key;	/* path; read by the parent, sent to relay alone */
	bool auth_external;	/* smarthost: AUTH EXTERNAL, by @certificate */
	char *username;		/* smarthost: AUTH, after TLS only */
	char *password_file;	/* read by the parent, sent to relay alone */
	struct route_source *sources; /* taken in turn, those of one family; none: as the kernel chooses */
	size_t source_count;
	char *helo; /* NULL: [mta] hostname */
	enum family_pref family;
	uint64_t ttl_ms;
	struct mta_schedule schedule;
	enum bounce_policy bounce;
	uint32_t sessions_max;	     /* at a time to one next hop (tunnel 4, mx 5, smarthost 4, deliver 4) */
	uint32_t sessions_total;     /* to all of them together; 0: no limit */
	uint32_t letters_per_session; /* 0: no limit; 100 for mx */
	uint64_t delay_warning_ms;   /* 0: none */
	bool trace;		     /* a trace asks there: tunnel yes, smarthost if written */
	char *backup;		     /* name of another route, for what this one cannot bring; or NULL */
	uint64_t backup_after_ms;    /* that its next hop fails */
	bool backup_outside;	     /* tunnel: that route may lead out of it */
	bool required_8bitmime;	     /* bounce 5.6.3 rather than send 8-bit to a peer without it */
};

/* Deliveries on this machine; also what postern-deliver reads of the file. */
struct mta_deliver {
	struct strv domains; /* lower case; the virtual ones too */
	struct strv virtual_domains;
	char *users;	     /* table "address = user [maildir]"; NULL: none, unless system_users */
	char *aliases;	     /* table "name: target, target"; NULL: none */
	bool system_users;   /* a local part that is a user of the system with uid >= uid_min (yes) */
	uint32_t uid_min;    /* 1000 */
	char *maildir;	     /* template_dir(); "Maildir" */
	char *pipe;	     /* template_command() instead of it, or NULL */
	uint64_t quota_bytes, quota_letters; /* of each Maildir; 0: no limit */
	bool refuse_full;    /* what is too much fails for good */
	char subaddress;     /* '+' or 0 */
	char *socket;	     /* RUN/deliver.sock */
	char *catch_all;     /* local part, or NULL */
};

/* Senders of what goes on to others, srs.h. */
struct mta_srs {
	char *domain;	   /* NULL: they stay as they are */
	char *secret_file; /* path; read by the parent only */
	uint32_t max_age_days;
};

enum rule_action { RULE_ACCEPT, RULE_REJECT, RULE_TEMPFAIL };

/* First rule whose every written condition holds decides; then the class's own default. */
struct mta_rule {
	char name[MTA_NAME_MAX];
	uint32_t line;
	struct strv listeners;	  /* names or classes; empty: any */
	struct mta_match clients; /* address of the client */
	struct strv peers;
	int authenticated; /* -1 any, 0, 1 */
	int tls;	   /* -1 any, 0, 1 */
	struct mta_match helo;
	struct mta_match senders;
	struct mta_match recipients;
	uint64_t larger_bytes; /* reject: letters above that alone; 0: any */
	enum rule_action action;
	char *route;   /* accept: this route instead of the one by domain */
	char *message; /* reject, tempfail: text of the reply, its enhanced code may stand before it */
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
	char *certificate;   /* default of the listeners and of tunnel routes */
	char *private_key;
	char *ca_file;	     /* roots for tls = verify; NULL: the system's */
	uint64_t size_max_bytes; /* 50 MiB */
	uint64_t queue_reserve_bytes; /* free space below which 452 (64 MiB) */
	bool cut_through; /* queue = none: 250 is the next hop's */
	bool queue_volatile; /* a queue on tmpfs is allowed (tests) */
	char *dead_letter_report; /* address that is told of dead letters; NULL: nobody */
	uint32_t received_max; /* loop limit (50) */
	char *log_level;
	char *metrics; /* where Prometheus text is served; NULL: nowhere, and nothing is counted */
	struct mta_door door; /* of every listener */

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
	struct mta_srs srs;
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
/** config_is_ours() - Of [deliver] or of a [home]? @domain in any case of letters. */
bool config_is_ours(const struct mta_config *c, const char *domain);
/** config_is_virtual() - Do in @domain only names count that are written with it? */
bool config_is_virtual(const struct mta_config *c, const char *domain);
/** config_is_local() - Is @domain delivered on this machine ([deliver] domains)? */
bool config_is_local(const struct mta_config *c, const char *domain);
/**
 * config_user_gets_mail() - May this user of the machine get mail? Not root; and not nobody, which has no
 * home and owns what is of users that are not known.
 */
bool config_user_gets_mail(uint32_t uid_min, uint32_t uid, uint32_t gid);
bool strv_has(const struct strv *s, const char *word);

#define ROUTE_FAMILY4 0x01 /* as MSG_R_FAMILY4 */
#define ROUTE_FAMILY6 0x02

/** route_families() - ROUTE_FAMILY* that a route connects by: its preference, and where it has sources theirs. */
uint8_t route_families(const struct mta_route *r);
/**
 * route_address_parse() - A word of `address`: an IP address or a name, each with a port or without one.
 * @port: where there is none. @name: "" for an address, which stands in @e then; @e's port is always set.
 * 0, or -1 for what is neither.
 */
int route_address_parse(const char *word, uint16_t port, struct endpoint *e,
			char name[static MTA_DOMAIN_MAX]);

/** pin_parse() - 64 hex digits, colons allowed between pairs; 0 or -EINVAL. */
int pin_parse(const char *hex, uint8_t sha256[static 32]);

#endif
