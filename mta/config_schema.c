/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config.h"

/* The words of an enum stand in the order of its C enum. */
static const char *const role_words[] = { "edge", "home", "workstation", NULL };
static const char *const class_words[] = {
	"mx", "submission", "submissions", "tunnel", "lan", NULL
};
static const char *const kind_words[] = { "tunnel", "mx", "smarthost", "deliver", "lmtp", NULL };
static const char *const tls_words[] = { "none", "may", "encrypt", "verify", "pin", NULL };
static const char *const family_words[] = { "v6-first", "v4-first", "v6-only", "v4-only", NULL };
static const char *const bounce_words[] = { "none", "authenticated", "verified", "all", NULL };
static const char *const schedule_words[] = { "constant", "linear", "exponential", NULL };
static const char *const action_words[] = { "accept", "reject", "tempfail", NULL };
static const char *const dns_words[] = { "recurse", "forward", "system", NULL };
static const char *const level_words[] = { "err", "warn", "info", "debug", NULL };
static const char *const sub_words[] = { "none", "+", "-", NULL };

#define MINUTE 60000ull
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)
#define MIB    (1024ull * 1024)

static const struct conf_key mta_keys[] = {
	{ "role", CONF_ENUM, CONF_REQUIRED, .words = role_words,
	  .help = "which presets apply: public MX on the VPS, home server, machine behind it" },
	{ "hostname", CONF_DOMAIN, CONF_REQUIRED,
	  .help = "our name in banner, EHLO, Received and bounces" },
	{ "run-dir", CONF_PATH, 0, .dflt = "/run/postern", .help = "sockets" },
	{ "state-dir", CONF_PATH, 0, .dflt = "/var/lib/postern",
	  .help = "the queue lies below it" },
	{ "events", CONF_PATH, 0, .help = "posternd's event socket; default run-dir/events.sock" },
	{ "tunnel", CONF_BOOL, 0, .dflt = "yes", .help = "is there a posternd to listen to" },
	{ "edge", CONF_STRING, 0, 1, MTA_NAME_MAX - 1,
	  .help = "roles home and workstation: the peer that all outgoing mail goes to" },
	{ "user", CONF_STRING, 0, 1, 64, .dflt = "postern-mta", .help = "of the processes" },
	{ "queue-user", CONF_STRING, 0, 1, 64, .dflt = "postern-queue",
	  .help = "of the queue process, owner of the queue" },
	{ "admin-group", CONF_STRING, 0, 1, 64, .dflt = "postern-admin",
	  .help = "who may use mta.sock besides root" },
	{ "users", CONF_PATH, CONF_SECRET_FILE,
	  .help = "who may submit; lines login:hash:sender sender" },
	{ "certificate", CONF_PATH, 0, .help = "PEM chain for all listeners that name no other" },
	{ "private-key", CONF_PATH, CONF_SECRET_FILE, .help = "its key, PEM" },
	{ "ca-file", CONF_PATH, CONF_PUBLIC_FILE, .help = "authorities for tls = verify, PEM" },
	{ "size-max", CONF_SIZE, 0, 64 * 1024, 1ull << 40, .dflt = "50M", .help = "of one letter" },
	{ "queue-reserve", CONF_SIZE, 0, 0, 1ull << 50, .dflt = "64M",
	  .help = "free space below which no letter is taken" },
	{ "queue-volatile", CONF_BOOL, 0, .dflt = "no",
	  .help = "yes: allow a queue on tmpfs, for tests: mail is lost at power-off" },
	{ "received-max", CONF_UINT, 0, 10, 200, .dflt = "50",
	  .help = "Received fields that make a loop" },
	{ "log-level", CONF_ENUM, 0, .words = level_words, .dflt = "info",
	  .help = "how much is told" },
	{ "dns", CONF_ENUM, 0, .words = dns_words,
	  .help = "own recursion, dns-servers, or resolv.conf; edge recurse, else system" },
	{ "dns-servers", CONF_ENDPOINT, CONF_LIST, .min = 53, .help = "for dns = forward" },
	{ "dns-root-hints", CONF_PATH, CONF_PUBLIC_FILE,
	  .help = "for dns = recurse; default built in" },
	{ "dns-trust-anchor", CONF_PATH, CONF_PUBLIC_FILE, .help = "root key for DNSSEC" },
	{ "dns-timeout", CONF_DURATION, 0, 500, MINUTE, .dflt = "10s", .help = "of one question" },
};

static const struct conf_key listener_keys[] = {
	{ "class", CONF_ENUM, 0, .words = class_words, .help = "what its clients may do" },
	{ "address", CONF_STRING, CONF_LIST, 1, 64,
	  .help = "192.0.2.1:25, [2001:db8::1]:25, *:25, tunnel:25; the port may be left out" },
	{ "hostname", CONF_DOMAIN, 0, .help = "default: [mta] hostname" },
	{ "certificate", CONF_PATH, 0, .help = "default: [mta] certificate" },
	{ "private-key", CONF_PATH, CONF_SECRET_FILE, .help = "default: [mta] private-key" },
	{ "tls-required", CONF_BOOL, 0, .help = "no MAIL before TLS; submission yes, else no" },
	{ "mask-source", CONF_BOOL, 0, .help = "client not in Received; submission yes, else no" },
	{ "normalize", CONF_BOOL, 0, .dflt = "no",
	  .help = "bare LF becomes CRLF; not on mx, tunnel" },
	{ "networks", CONF_PREFIX, CONF_LIST,
	  .help = "class lan: who may relay; default loopback" },
	{ "sessions-max", CONF_UINT, 0, 1, 100000, .dflt = "1000", .help = "at a time" },
	{ "sessions-per-prefix", CONF_UINT, 0, 1, 100000,
	  .help = "from one /64 or /32 at a time; 20" },
	{ "recipients-max", CONF_UINT, 0, 100, 1000, .help = "of one letter; 100, tunnel 1000" },
	{ "errors-max", CONF_UINT, 0, 1, 1000, .dflt = "20", .help = "refusals before 421" },
	{ "size-max", CONF_SIZE, 0, 64 * 1024, 1ull << 40, .help = "default: [mta] size-max" },
	{ "idle-timeout", CONF_DURATION, 0, 1000, HOUR, .dflt = "5m", .help = "between commands" },
	{ "session-timeout", CONF_DURATION, 0, 1000, DAY, .dflt = "2h",
	  .help = "of a whole session" },
};

static const struct conf_key home_keys[] = {
	{ "peer", CONF_STRING, 0, 1, MTA_NAME_MAX - 1,
	  .help = "[peer] of postern.conf; default NAME" },
	{ "domains", CONF_DOMAIN, CONF_LIST | CONF_REQUIRED, .help = "whose mail goes there" },
	{ "recipients", CONF_PATH, CONF_PUBLIC_FILE,
	  .help = "addresses that exist, one a line; or check-recipients = no" },
	{ "check-recipients", CONF_BOOL, 0, .dflt = "yes", .help = "no: any local part is taken" },
	{ "queue-max", CONF_SIZE, 0, 1 * MIB, 1ull << 50, .dflt = "1G",
	  .help = "mail that waits for it" },
	{ "rate-per-hour", CONF_UINT, 0, 0, 1000000, .dflt = "1000",
	  .help = "letters that it may send outward; 0: no limit" },
	{ "subaddress", CONF_ENUM, 0, .words = sub_words, .dflt = "+", .help = "joe+x is joe" },
	{ "tls-pins", CONF_STRING, CONF_LIST, 64, 95, .help = "SHA-256 of its public key, hex" },
};

static const struct conf_key route_keys[] = {
	{ "kind", CONF_ENUM, 0, .words = kind_words, .help = "how the next hop is found" },
	{ "peer", CONF_STRING, 0, 1, MTA_NAME_MAX - 1,
	  .help = "kind tunnel: [peer] of postern.conf" },
	{ "domains", CONF_STRING, CONF_LIST, 1, 253,
	  .help = "recipients that it takes; * is the rest" },
	{ "address", CONF_STRING, CONF_LIST, 1, 253,
	  .help =
	      "kind smarthost, lmtp: host, address or /socket; tunnel: default as posternd tells" },
	{ "port", CONF_UINT, 0, 1, 65535,
	  .help = "25, smarthost 587, with tls-implicit 465, lmtp 24" },
	{ "tls", CONF_ENUM, 0, .words = tls_words,
	  .help = "tunnel: pin with tls-pins, else may; mx: may; smarthost: verify; lmtp: none" },
	{ "tls-implicit", CONF_BOOL, 0, .dflt = "no", .help = "TLS from the first byte" },
	{ "tls-name", CONF_DOMAIN, 0, .help = "name to verify; default the host's" },
	{ "tls-pins", CONF_STRING, CONF_LIST, 64, 95, .help = "SHA-256 of the public key, hex" },
	{ "username", CONF_STRING, 0, 1, 255, .help = "kind smarthost: AUTH PLAIN" },
	{ "password-file", CONF_PATH, CONF_SECRET_FILE, .help = "first line is the password" },
	{ "source", CONF_ADDR, CONF_LIST, .help = "own address, one of each family at most" },
	{ "family", CONF_ENUM, 0, .words = family_words, .dflt = "v6-first",
	  .help = "which is tried" },
	{ "ttl", CONF_DURATION, 0, MINUTE, 365 * DAY, .help = "5d, tunnel 20d" },
	{ "schedule", CONF_ENUM, 0, .words = schedule_words, .dflt = "exponential",
	  .help = "how waits grow" },
	{ "retry-first", CONF_DURATION, 0, 1000, DAY, .help = "5m; tunnel, deliver, lmtp 30s" },
	{ "retry-max", CONF_DURATION, 0, 1000, 7 * DAY,
	  .help = "4h; tunnel 10m; deliver, lmtp 1h" },
	{ "retry-jitter", CONF_UINT, 0, 0, 90, .dflt = "20", .help = "percent" },
	{ "bounce", CONF_ENUM, 0, .words = bounce_words,
	  .help = "who is told of failures; edge verified, home and workstation authenticated" },
	{ "sessions-max", CONF_UINT, 0, 1, 1000, .help = "to one next hop; mx 5, else 4" },
	{ "letters-per-session", CONF_UINT, 0, 0, 1000000, .help = "0: no limit; mx 100, else 0" },
	{ "delay-warning", CONF_DURATION, 0, 0, 30 * DAY, .dflt = "0", .help = "0: none" },
	{ "require-8bitmime", CONF_BOOL, 0, .dflt = "no",
	  .help = "bounce rather than just send 8 bit" },
};

static const struct conf_key deliver_keys[] = {
	{ "domains", CONF_DOMAIN, CONF_LIST | CONF_REQUIRED, .help = "delivered on this machine" },
	{ "users", CONF_PATH, CONF_PUBLIC_FILE, .help = "lines local-part = user [directory]" },
	{ "aliases", CONF_PATH, CONF_PUBLIC_FILE, .help = "lines name: target, target" },
	{ "system-users", CONF_BOOL, 0, .dflt = "yes", .help = "users of this machine get mail" },
	{ "uid-min", CONF_UINT, 0, 1, 4000000000ull, .dflt = "1000", .help = "no mail below it" },
	{ "maildir", CONF_STRING, 0, 1, 200, .dflt = "Maildir",
	  .help = "below the home directory" },
	{ "subaddress", CONF_ENUM, 0, .words = sub_words, .dflt = "+", .help = "joe+x is joe" },
	{ "socket", CONF_PATH, 0, .help = "of postern-deliver; default run-dir/deliver.sock" },
	{ "catch-all", CONF_STRING, 0, 1, 64, .help = "local part that gets what nobody has" },
};

static const struct conf_key rule_keys[] = {
	{ "action", CONF_ENUM, CONF_REQUIRED, .words = action_words, .help = "what happens" },
	{ "listeners", CONF_STRING, CONF_LIST, 1, MTA_NAME_MAX - 1, .help = "names or classes" },
	{ "clients", CONF_PREFIX, CONF_LIST, .help = "where the client comes from" },
	{ "peers", CONF_STRING, CONF_LIST, 1, MTA_NAME_MAX - 1, .help = "tunnel peers" },
	{ "authenticated", CONF_BOOL, 0, .help = "is there a login" },
	{ "tls", CONF_BOOL, 0, .help = "is the session encrypted" },
	{ "senders", CONF_STRING, CONF_LIST, 1, 320, .help = "a@d, @d, \"<>\"" },
	{ "recipients", CONF_STRING, CONF_LIST, 1, 320, .help = "a@d, @d" },
	{ "route", CONF_STRING, 0, 1, MTA_NAME_MAX - 1, .help = "accept: by this route" },
	{ "message", CONF_STRING, 0, 1, 200, .help = "reject, tempfail: text of the reply" },
};

#define KIND(word, how, array, text)                                                               \
	{                                                                                          \
		.name = (word), .flags = (how), .name_type = CONF_STRING, .keys = (array),         \
		.key_count = CONF_COUNT(array), .help = (text)                                     \
	}

static const struct conf_kind kinds[] = {
	KIND("mta", CONF_NEEDED, mta_keys, "the whole"),
	KIND("listener", CONF_NAMED, listener_keys, "where letters come in"),
	KIND("home", CONF_NAMED, home_keys, "role edge: a tenant behind the tunnel"),
	KIND("route", CONF_NAMED, route_keys, "a way out"),
	KIND("deliver", 0, deliver_keys, "mailboxes of this machine"),
	KIND("rule", CONF_NAMED, rule_keys, "first match decides, in the order of the file"),
};

const struct conf_schema config_schema = { kinds, CONF_COUNT(kinds) };
