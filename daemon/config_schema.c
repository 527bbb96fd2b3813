/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config.h"
#include "config_int.h"
#include "proposal_words.h"

#include <ctype.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "metrics.h"

#define ASSIGNED_DEFAULT "10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 100.64.0.0/10, fd00::/8"

static const char *const crypto_words[] = { "auto", "openssl", "ipsec-mb", NULL };
static const char *const io_words[] = { "auto", "io_uring", "epoll", NULL };
static const char *const redirect_words[] = { "follow", "ignore", NULL };
static const char *const servers_words[] = { "standby", "all", NULL };
static const char *const start_words[] = { "always", "on-demand", "no", NULL };
/* In the order of enum config_auth. */
static const char *const auth_words[] = { "psk", "key", "certificate", NULL };
static const char *const childless_words[] = { "allow", "prefer", "force", "never", NULL };
static const char *const bench_words[] = { "deny", "allow", NULL };
static const char *const leak_words[] = { "allow", "never", NULL };
static const char *const firewall_words[] = { "auto", "none", NULL };
/* In the order of enum config_tcp. */
static const char *const tcp_words[] = { "auto", "never", "always", NULL };
static const char *const level_words[] = { "err", "warn", "info", "debug", NULL };

static int check_tun(const struct conf_value *v, char *why, size_t cap)
{
	for (const char *p = v->text; *p; p++) {
		if (isalnum((unsigned char)*p) || *p == '-' || *p == '_' || *p == '.')
			continue;
		snprintf(why, cap, "not the name of a network device");
		return -1;
	}
	if (strlen(v->text) < IFNAMSIZ && strcmp(v->text, ".") && strcmp(v->text, ".."))
		return 0;
	snprintf(why, cap, "not the name of a network device (up to 15 characters)");
	return -1;
}

static int check_netns(const struct conf_value *v, char *why, size_t cap)
{
	bool path = *v->text == '/', fine = strlen(v->text) < CONFIG_NETNS_MAX;

	for (const char *p = v->text; *p; p++)
		fine &= isalnum((unsigned char)*p) || strchr("-_.", *p) || (path && *p == '/');
	if (fine && strcmp(v->text, ".") && strcmp(v->text, ".."))
		return 0;
	snprintf(why, cap, "neither a name as of ip netns nor the absolute path of a namespace");
	return -1;
}

static int check_metrics(const struct conf_value *v, char *why, size_t cap)
{
	return metrics_check(v->text, why, cap);
}

static int check_hook(const struct conf_value *v, char *why, size_t cap)
{
	bool clean = *v->text == '/' && strlen(v->text) < CONFIG_HOOK_MAX;

	for (const char *p = v->text; *p; p++)
		clean &= (unsigned char)*p >= ' ' && *p != 0x7f;
	if (clean)
		return 0;
	snprintf(why, cap, "not the absolute path of a program");
	return -1;
}

static int check_user(const struct conf_value *v, char *why, size_t cap)
{
	for (const char *p = v->text; *p; p++) {
		if (isalnum((unsigned char)*p) || (strchr("-_.", *p) && p > v->text))
			continue;
		snprintf(why, cap, "not the name or number of a user or group");
		return -1;
	}
	if (strcmp(v->text, "0") && strcmp(v->text, "root"))
		return 0;
	snprintf(why, cap, "root is what is given up here");
	return -1;
}

static int check_ts(const struct conf_value *v, char *why, size_t cap)
{
	struct config_ts ts;

	return config_ts_parse(v->text, &ts, why, cap) ? -1 : 0;
}

static int check_ike_proposal(const struct conf_value *v, char *why, size_t cap)
{
	struct proposal p;

	return proposal_from_words(v->text, PROTO_IKE, &p, why, cap) ? -1 : 0;
}

static int check_esp_proposal(const struct conf_value *v, char *why, size_t cap)
{
	struct proposal p;

	return proposal_from_words(v->text, PROTO_ESP, &p, why, cap) ? -1 : 0;
}

#define IKE_PROPOSALS(text)                                                                        \
	{                                                                                          \
		.name = "ike-proposals", .type = CONF_STRING, .flags = CONF_LIST,                  \
		.check = check_ike_proposal, .allowed = PROPOSAL_IKE_WORDS, .help = text           \
	}
#define ESP_PROPOSALS(text)                                                                        \
	{                                                                                          \
		.name = "esp-proposals", .type = CONF_STRING, .flags = CONF_LIST,                  \
		.check = check_esp_proposal, .allowed = PROPOSAL_ESP_WORDS, .help = text           \
	}

#define RATE(key, text)                                                                            \
	{                                                                                          \
		.name = key, .type = CONF_RATE, .min = 64000, .max = 1000000000000ull,             \
		.help = text                                                                       \
	}

static const struct conf_key posternd_keys[] = {
	{ .name = "identity",
	  .type = CONF_IDENTITY,
	  .flags = CONF_REQUIRED,
	  .help = "who we are towards every peer" },
	{ .name = "private-key",
	  .type = CONF_PATH,
	  .flags = CONF_SECRET_FILE,
	  .help = "our private key, made by postern keygen; not needed with PSKs alone" },
	{ .name = "certificate",
	  .type = CONF_PATH,
	  .flags = CONF_PUBLIC_FILE,
	  .help = "our certificate and chain, leaf first, for peers with a ca" },
	{ .name = "tunnel-address",
	  .type = CONF_ADDR,
	  .flags = CONF_LIST,
	  .help = "our addresses in the tunnel; without, they are asked for from the peer" },
	{ .name = "tun",
	  .type = CONF_STRING,
	  .dflt = "postern0",
	  .check = check_tun,
	  .help = "name of the tunnel device" },
	{ .name = "mtu",
	  .type = CONF_UINT,
	  .min = 576,
	  .max = 65535,
	  .help = "of the tunnel device; computed from the path when not set" },
	{ .name = "port",
	  .type = CONF_UINT,
	  .min = 1,
	  .max = 65535,
	  .help = "local UDP port; 4500 where a peer calls us, else any free one" },
	{ .name = "port-500",
	  .type = CONF_BOOL,
	  .dflt = "yes",
	  .help = "where a peer calls us: answer IKE_SA_INIT on port 500 too" },
	{ .name = "udp-ports",
	  .type = CONF_STRING,
	  .flags = CONF_LIST,
	  .check = config_check_port,
	  .help = "further UDP ports at which peers may call us" },
	{ .name = "tcp-ports",
	  .type = CONF_STRING,
	  .flags = CONF_LIST,
	  .dflt = "4500",
	  .check = config_check_port,
	  .help = "TCP ports for peers whose UDP is blocked: PORT, PORT/tls or none" },
	IKE_PROPOSALS(
	    "for the keys of IKE, best first; all that Postern has, as this CPU likes it"),
	ESP_PROPOSALS("for data, best first; all that Postern has, as this CPU likes it"),
	{ .name = "workers",
	  .type = CONF_UINT,
	  .min = 1,
	  .max = CONFIG_WORKERS_MAX,
	  .dflt = "1",
	  .help = "threads that move packets" },
	{ .name = "io",
	  .type = CONF_ENUM,
	  .words = io_words,
	  .dflt = "auto",
	  .help = "how packets are read and written" },
	{ .name = "crypto",
	  .type = CONF_ENUM,
	  .words = crypto_words,
	  .dflt = "auto",
	  .help = "the library that enciphers packets; auto: the faster one, measured at start" },
	{ .name = "log-level",
	  .type = CONF_ENUM,
	  .words = level_words,
	  .dflt = "info",
	  .help = "least important lines that are logged" },
	{ .name = "metrics",
	  .type = CONF_STRING,
	  .check = check_metrics,
	  .help =
	      "where Prometheus text is served: 127.0.0.1:PORT, [::1]:PORT or a socket's path" },
	{ .name = "firewall",
	  .type = CONF_ENUM,
	  .words = firewall_words,
	  .dflt = "auto",
	  .help = "auto: let our ports through this machine's own nft firewall" },
	{ .name = "name-users",
	  .type = CONF_STRING,
	  .flags = CONF_LIST,
	  .check = check_user,
	  .help = "users of a resolver on this machine, whose queries do not enter the tunnel" },
	{ .name = "tunnel-ports",
	  .type = CONF_UINT,
	  .flags = CONF_LIST,
	  .min = 0,
	  .max = 65535,
	  .dflt = "25",
	  .help = "TCP ports of this machine that it lets in from the tunnel; 0: none" },
	{ .name = "hook",
	  .type = CONF_STRING,
	  .check = check_hook,
	  .help = "program that is told the name servers and addresses that a peer gives us" },
	{ .name = "redirect-to",
	  .type = CONF_HOST,
	  .help = "where postern drain sends those who call us" },
	{ .name = "run-dir",
	  .type = CONF_PATH,
	  .dflt = "/run/postern",
	  .help = "folder of the sockets" },
	{ .name = "state-dir",
	  .type = CONF_PATH,
	  .dflt = "/var/lib/postern",
	  .help = "folder of what is kept over restarts" },
	{ .name = "user",
	  .type = CONF_STRING,
	  .dflt = "postern",
	  .check = check_user,
	  .help = "user of the process that talks to the network" },
	{ .name = "keys-user",
	  .type = CONF_STRING,
	  .dflt = "postern-keys",
	  .check = check_user,
	  .help = "user of the process that holds the private keys" },
	{ .name = "resolver-user",
	  .type = CONF_STRING,
	  .dflt = "postern-resolver",
	  .check = check_user,
	  .help = "user of the process that resolves names" },
	{ .name = "outer-netns",
	  .type = CONF_STRING,
	  .check = check_netns,
	  .help = "network namespace of the outer packets, if not that of the start" },
	{ .name = "tun-netns",
	  .type = CONF_STRING,
	  .check = check_netns,
	  .help = "network namespace of the tunnel device, if not that of the start" },
	{ .name = "admin-group",
	  .type = CONF_STRING,
	  .dflt = "postern-admin",
	  .check = check_user,
	  .help = "group whose members may use control.sock" },
};

static const struct conf_key peer_keys[] = {
	{ .name = "address",
	  .type = CONF_HOST,
	  .flags = CONF_LIST,
	  .help = "names or addresses at which to call it; without, it calls us" },
	{ .name = "port",
	  .type = CONF_UINT,
	  .min = 1,
	  .max = 65535,
	  .dflt = "4500",
	  .help = "UDP port at which it listens" },
	{ .name = "interface",
	  .type = CONF_STRING,
	  .check = check_tun,
	  .help = "network device by which alone packets leave for it; any that leads there" },
	{ .name = "mark",
	  .type = CONF_STRING,
	  .check = config_check_mark,
	  .help = "fwmark of its outer packets, N or N/MASK, for a rule of yours" },
	{ .name = "redirect",
	  .type = CONF_ENUM,
	  .words = redirect_words,
	  .dflt = "follow",
	  .help = "where it sends us to another address (RFC 5685)" },
	{ .name = "redirect-to",
	  .type = CONF_HOST,
	  .help = "where it is sent when it calls: it is served there" },
	{ .name = "servers",
	  .type = CONF_ENUM,
	  .words = servers_words,
	  .dflt = "standby",
	  .help = "of several ([server] sections): one is up and the next takes over, or all are" },
	{ .name = "start",
	  .type = CONF_ENUM,
	  .words = start_words,
	  .dflt = "no",
	  .help = "call it always, when a packet for it comes, or never" },
	{ .name = "identity", .type = CONF_IDENTITY, .flags = CONF_REQUIRED, .help = "who it is" },
	{ .name = "local-identity",
	  .type = CONF_IDENTITY,
	  .help = "who we are towards it, if not the identity of [posternd]" },
	{ .name = "public-key",
	  .type = CONF_PATH,
	  .flags = CONF_LIST | CONF_PUBLIC_FILE,
	  .help = "its public key; any of several is accepted" },
	{ .name = "psk",
	  .type = CONF_PATH,
	  .flags = CONF_SECRET_FILE,
	  .help = "file with the secret shared with it, made by postern keygen --psk" },
	{ .name = "private-key",
	  .type = CONF_PATH,
	  .flags = CONF_SECRET_FILE,
	  .help = "our private key towards it, if not that of [posternd]" },
	{ .name = "certificate",
	  .type = CONF_PATH,
	  .flags = CONF_PUBLIC_FILE,
	  .help = "our certificate and chain towards it, if not that of [posternd]" },
	{ .name = "ca",
	  .type = CONF_PATH,
	  .flags = CONF_PUBLIC_FILE,
	  .help = "certification authorities that vouch for it" },
	{ .name = "local-auth",
	  .type = CONF_ENUM,
	  .words = auth_words,
	  .help = "how we prove ourselves to it, if not as it does to us" },
	{ .name = "networks",
	  .type = CONF_PREFIX,
	  .flags = CONF_LIST,
	  .help = "what lies there; gets a route into the tunnel" },
	{ .name = "assign",
	  .type = CONF_ADDR,
	  .flags = CONF_LIST,
	  .help = "tunnel addresses that it is given; waiting side" },
	{ .name = "pool",
	  .type = CONF_STRING,
	  .help = "what assign lacks comes from a section [pool NAME]; waiting side" },
	{ .name = "dns",
	  .type = CONF_ADDR,
	  .flags = CONF_LIST,
	  .help = "name servers that it is told when it asks, if not those of its pool" },
	{ .name = "request-address",
	  .type = CONF_BOOL,
	  .help = "ask it for tunnel addresses; yes where we call and have no tunnel-address" },
	{ .name = "accept-assigned",
	  .type = CONF_PREFIX,
	  .flags = CONF_LIST,
	  .dflt = ASSIGNED_DEFAULT,
	  .help = "in which an address must lie that it gives us" },
	{ .name = "from",
	  .type = CONF_PREFIX,
	  .flags = CONF_LIST,
	  .help = "from where it may call; anywhere when not set" },
	{ .name = "local-ts",
	  .type = CONF_STRING,
	  .flags = CONF_LIST,
	  .check = check_ts,
	  .help = "selectors of our side: PREFIX, PREFIX[tcp/25], PREFIX[icmp/8], assigned[udp]" },
	{ .name = "remote-ts",
	  .type = CONF_STRING,
	  .flags = CONF_LIST,
	  .check = check_ts,
	  .help = "selectors of its side, if not networks and assign" },
	IKE_PROPOSALS("towards it, if not those of [posternd]"),
	ESP_PROPOSALS("towards it, if not those of [posternd]"),
	{ .name = "lifetime",
	  .type = CONF_DURATION,
	  .min = 60000,
	  .max = 86400000,
	  .dflt = "1h",
	  .help = "of the keys of data" },
	{ .name = "lifetime-bytes",
	  .type = CONF_SIZE,
	  .min = 1 << 20,
	  .max = 1ull << 60,
	  .help = "of the keys of data, in bytes that one direction carries; no such limit" },
	{ .name = "lifetime-packets",
	  .type = CONF_SIZE,
	  .min = 1000,
	  .max = 1ull << 60,
	  .help = "of the keys of data, in packets of one direction; no such limit" },
	{ .name = "ike-lifetime",
	  .type = CONF_DURATION,
	  .min = 120000,
	  .max = 604800000,
	  .dflt = "4h",
	  .help = "of the keys of IKE" },
	{ .name = "childless",
	  .type = CONF_ENUM,
	  .words = childless_words,
	  .dflt = "allow",
	  .help = "first keys of data by an exchange of their own (RFC 6023)" },
	{ .name = "retry-max",
	  .type = CONF_DURATION,
	  .min = 2000,
	  .max = 3600000,
	  .dflt = "4s",
	  .help = "longest pause between attempts while it does not answer; metered lines" },
	{ .name = "inactivity",
	  .type = CONF_DURATION,
	  .min = 10000,
	  .max = 86400000,
	  .help = "closed after so long without a packet of its networks; never" },
	{ .name = "keepalive",
	  .type = CONF_DURATION,
	  .min = 5000,
	  .max = 300000,
	  .help = "how often a NAT on the way is reminded of us; not set: as it needs it" },
	{ .name = "leak",
	  .type = CONF_ENUM,
	  .words = leak_words,
	  .dflt = "allow",
	  .help = "never: what lies there is unreachable outside of the tunnel, from boot on" },
	{ .name = "bench",
	  .type = CONF_ENUM,
	  .words = bench_words,
	  .dflt = "deny",
	  .help = "whether it may load and measure the tunnel by postern bench" },
	RATE("rate-limit", "of its traffic, each direction for itself; no such limit"),
	RATE("rate-limit-in", "of what comes from it, if not rate-limit"),
	RATE("rate-limit-out", "of what goes to it, if not rate-limit"),
	{ .name = "udp-ports",
	  .type = CONF_STRING,
	  .flags = CONF_LIST,
	  .check = config_check_port,
	  .help = "further UDP ports at which it listens, called when port does not answer" },
	{ .name = "tcp",
	  .type = CONF_ENUM,
	  .words = tcp_words,
	  .dflt = "auto",
	  .help = "call by TCP when UDP is not answered, never, or always" },
	{ .name = "tcp-ports",
	  .type = CONF_STRING,
	  .flags = CONF_LIST,
	  .dflt = "4500, 443/tls",
	  .check = config_check_port,
	  .help = "TCP ports at which it is called: PORT, PORT/tls or none" },
	{ .name = "tcp-tls-name",
	  .type = CONF_STRING,
	  .help = "server name that a TLS connection to it asks for" },
};

static const struct conf_key server_keys[] = {
	{ .name = "peer",
	  .type = CONF_STRING,
	  .flags = CONF_REQUIRED,
	  .help = "behind which it stands: the NAME of a section [peer NAME], the first server" },
	{ .name = "address",
	  .type = CONF_HOST,
	  .flags = CONF_LIST | CONF_REQUIRED,
	  .help = "names or addresses at which to call it" },
	{ .name = "port",
	  .type = CONF_UINT,
	  .min = 1,
	  .max = 65535,
	  .help = "UDP port at which it listens, if not that of the peer's section" },
	{ .name = "identity", .type = CONF_IDENTITY, .flags = CONF_REQUIRED, .help = "who it is" },
	{ .name = "public-key",
	  .type = CONF_PATH,
	  .flags = CONF_LIST | CONF_PUBLIC_FILE,
	  .help = "its public key, if it proves itself otherwise than the peer's section says" },
	{ .name = "psk",
	  .type = CONF_PATH,
	  .flags = CONF_SECRET_FILE,
	  .help = "or the secret shared with it" },
	{ .name = "ca",
	  .type = CONF_PATH,
	  .flags = CONF_PUBLIC_FILE,
	  .help = "or the certification authorities that vouch for it" },
};

static const struct conf_key child_keys[] = {
	{ .name = "peer",
	  .type = CONF_STRING,
	  .flags = CONF_REQUIRED,
	  .help = "whose CHILD SA it is: the NAME of a section [peer NAME]" },
	{ .name = "local-ts",
	  .type = CONF_STRING,
	  .flags = CONF_LIST,
	  .check = check_ts,
	  .help = "selectors of our side, if not those of the peer's section" },
	{ .name = "remote-ts",
	  .type = CONF_STRING,
	  .flags = CONF_LIST,
	  .check = check_ts,
	  .help = "selectors of its side, if not those of the peer's section" },
	ESP_PROPOSALS("for its data, if not those of the peer's section"),
	{ .name = "lifetime",
	  .type = CONF_DURATION,
	  .min = 60000,
	  .max = 86400000,
	  .help = "as in the peer's section, for this CHILD SA alone" },
	{ .name = "lifetime-bytes",
	  .type = CONF_SIZE,
	  .min = 1 << 20,
	  .max = 1ull << 60,
	  .help = "as in the peer's section, for this CHILD SA alone" },
	{ .name = "lifetime-packets",
	  .type = CONF_SIZE,
	  .min = 1000,
	  .max = 1ull << 60,
	  .help = "as in the peer's section, for this CHILD SA alone" },
};

static const struct conf_key pool_keys[] = {
	{ .name = "addresses",
	  .type = CONF_PREFIX,
	  .flags = CONF_LIST | CONF_REQUIRED,
	  .help = "tunnel addresses for peers that name this pool, IPv4 and IPv6" },
	{ .name = "dns",
	  .type = CONF_ADDR,
	  .flags = CONF_LIST,
	  .help = "name servers that those peers are told when they ask" },
};

static const struct conf_key wan_keys[] = {
	{ .name = "interface",
	  .type = CONF_STRING,
	  .flags = CONF_REQUIRED,
	  .check = check_tun,
	  .help = "network device of this line; it may come and go" },
	{ .name = "priority",
	  .type = CONF_UINT,
	  .min = 1,
	  .max = 1000,
	  .dflt = "100",
	  .help = "the line with the least is used while it works" },
	{ .name = "metered",
	  .type = CONF_BOOL,
	  .dflt = "no",
	  .help = "what is sent to keep tunnels up is held within `budget`" },
	{ .name = "budget",
	  .type = CONF_SIZE,
	  .min = 1 << 20,
	  .max = 1ull << 40,
	  .dflt = "30M",
	  .help = "bytes in 30 days for keepalives, liveness and attempts; metered lines" },
};

static const struct conf_kind kinds[] = {
	{ "posternd", CONF_NEEDED, CONF_STRING, posternd_keys, CONF_COUNT(posternd_keys),
	  "The daemon itself." },
	{ "peer", CONF_NAMED, CONF_STRING, peer_keys, CONF_COUNT(peer_keys),
	  "One for each machine at the other end of a tunnel." },
	{ "server", CONF_NAMED, CONF_STRING, server_keys, CONF_COUNT(server_keys),
	  "One for each further server behind a peer." },
	{ "child", CONF_NAMED, CONF_STRING, child_keys, CONF_COUNT(child_keys),
	  "One for each CHILD SA with a peer that has several." },
	{ "pool", CONF_NAMED, CONF_STRING, pool_keys, CONF_COUNT(pool_keys),
	  "Addresses for peers that call us and have no assign." },
	{ "wan", CONF_NAMED, CONF_STRING, wan_keys, CONF_COUNT(wan_keys),
	  "One for each line out; without any, each interface that leads to a peer." },
};

const struct conf_schema config_schema = { kinds, CONF_COUNT(kinds) };

/* ---- selectors ---- */

static const struct {
	const char *name;
	uint8_t proto;
	bool ports;
} protos[] = {
	{ "tcp", IPPROTO_TCP, true },	    { "udp", IPPROTO_UDP, true },
	{ "sctp", IPPROTO_SCTP, true },	    { "icmp", IPPROTO_ICMP, true },
	{ "icmpv6", IPPROTO_ICMPV6, true }, { "gre", IPPROTO_GRE, false },
};

static int number(const char **p, unsigned max)
{
	unsigned long n;
	char *end;

	if (!isdigit((unsigned char)**p))
		return -1;
	n = strtoul(*p, &end, 10);
	*p = end;
	return n > max ? -1 : (int)n;
}

/* "25", "1-9", "opaque" behind the slash; for ICMP "TYPE" or "TYPE/CODE" (RFC 7296 s3.13.1) */
static int parse_ports(const char **s, struct config_ts *ts)
{
	bool icmp = ts->proto == IPPROTO_ICMP || ts->proto == IPPROTO_ICMPV6;
	int lo, hi;

	if (!strncmp(*s, "opaque", 6)) {
		*s += 6;
		ts->port_lo = 65535;
		ts->port_hi = 0;
		return 0;
	}
	lo = hi = number(s, icmp ? 255 : 65535);
	if (icmp && **s == '/') {
		++*s;
		hi = number(s, 255);
		if (lo < 0 || hi < 0)
			return -EINVAL;
		lo = hi = lo << 8 | hi;
	} else {
		if (**s == '-') {
			++*s;
			hi = number(s, icmp ? 255 : 65535);
		}
		if (lo < 0 || hi < lo)
			return -EINVAL;
		if (icmp) {
			lo <<= 8;
			hi = hi << 8 | 255;
		}
	}
	ts->port_lo = (uint16_t)lo;
	ts->port_hi = (uint16_t)hi;
	return 0;
}

/* "tcp/25", "udp/1-9", "icmp/8", "icmp/3/4", "47", up to the ']' */
static int parse_proto(const char *s, struct config_ts *ts)
{
	char word[16];
	size_t n = strcspn(s, "/]");
	bool ports = true;

	if (n >= sizeof(word))
		return -EINVAL;
	memcpy(word, s, n);
	word[n] = '\0';
	s += n;
	for (size_t i = 0; i < CONF_COUNT(protos); i++) {
		if (!strcmp(protos[i].name, word)) {
			ts->proto = protos[i].proto;
			ports = protos[i].ports;
		}
	}
	if (!ts->proto) {
		const char *p = word;
		int v = number(&p, 255);

		if (v <= 0 || *p)
			return -EINVAL;
		ts->proto = (uint8_t)v;
		ports = false;
		for (size_t i = 0; i < CONF_COUNT(protos); i++)
			ports |= protos[i].proto == v && protos[i].ports;
	}
	if (*s == '/') {
		s++;
		if (!ports || parse_ports(&s, ts))
			return -EINVAL;
	}
	return *s == ']' && !s[1] ? 0 : -EINVAL;
}

int config_ts_parse(const char *text, struct config_ts *ts, char *why, size_t cap)
{
	const char *open = strchr(text, '[');
	char prefix[PREFIX_STR_MAX];
	size_t n = open ? (size_t)(open - text) : strlen(text);

	*ts = (struct config_ts){ .port_hi = 65535 };
	if (n >= sizeof(prefix))
		goto bad;
	memcpy(prefix, text, n);
	prefix[n] = '\0';
	if (!strcmp(prefix, "assigned")) {
		ts->assigned = true;
		ts->prefix.addr.family = AF_INET;
	} else if (prefix_parse(prefix, &ts->prefix)) {
		goto bad;
	}
	if (open && parse_proto(open + 1, ts))
		goto bad;
	return 0;
bad:
	snprintf(why, cap,
		 "not a selector; written as PREFIX, PREFIX[PROTO], PREFIX[PROTO/PORT], "
		 "PREFIX[PROTO/PORT-PORT], PREFIX[icmp/TYPE] or PREFIX[icmp/TYPE/CODE], "
		 "where PREFIX may be the word assigned");
	return -EINVAL;
}
