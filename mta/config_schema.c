/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "address.h"
#include "metrics.h"

/* The words of an enum stand in the order of its C enum. */
static const char *const role_words[] = { "edge", "home", "workstation", NULL };
static const char *const class_words[] = {
	"mx", "submission", "submissions", "tunnel", "lan", NULL
};
static const char *const full_words[] = { "wait", "refuse", NULL };
static const char *const kind_words[] = { "tunnel", "mx", "smarthost", "deliver", "lmtp", NULL };
static const char *const tls_words[] = { "none", "may", "encrypt", "verify", "pin", NULL };
static const char *const queue_words[] = { "journal", "none", NULL };
static const char *const version_words[] = { "1.1", "1.2", "1.3", NULL };
static const char *const client_cert_words[] = { "none", "request", "require", "verify", NULL };
static const char *const auth_words[] = { "password", "external", NULL };
static const char *const family_words[] = { "v6-first", "v4-first", "v6-only",
					    "v4-only",	"balance",  NULL };
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

static int check_metrics(const struct conf_value *v, char *why, size_t cap)
{
	return metrics_check(v->text, why, cap);
}

static int check_address(const struct conf_value *v, char *why, size_t cap)
{
	struct address a;

	if (!address_parse(v->text, strlen(v->text), 0, &a) && a.kind == ADDRESS_DOMAIN)
		return 0;
	snprintf(why, cap, "no address");
	return -1;
}

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
	{ "queue", CONF_ENUM, 0, .words = queue_words, .dflt = "journal",
	  .help = "none: a letter is accepted when the next hop has it" },
	{ "queue-volatile", CONF_BOOL, 0, .dflt = "no",
	  .help = "yes: allow a queue on tmpfs, for tests: mail is lost at power-off" },
	{ "dead-letter-report", CONF_STRING, 0, 3, ADDRESS_MAX, .check = check_address,
	  .allowed = "NAME@DOMAIN",
	  .help = "who is told by mail of letters that were given up, once an hour at most" },
	{ "received-max", CONF_UINT, 0, 10, 200, .dflt = "50",
	  .help = "Received fields that make a loop" },
	{ "allow", CONF_PREFIX, CONF_LIST, .help = "clients; all others are turned away" },
	{ "allow-table", CONF_PATH, CONF_LIST | CONF_PUBLIC_FILE,
	  .help = "more of them, one a line" },
	{ "deny", CONF_PREFIX, CONF_LIST, .help = "clients that are turned away" },
	{ "deny-table", CONF_PATH, CONF_LIST | CONF_PUBLIC_FILE,
	  .help = "more of them, one a line" },
	{ "log-level", CONF_ENUM, 0, .words = level_words, .dflt = "info",
	  .help = "how much is told" },
	{ "metrics", CONF_STRING, 0, 1, 107, .check = check_metrics,
	  .help =
	      "where Prometheus text is served: 127.0.0.1:PORT, [::1]:PORT or a socket's path" },
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
	{ "certificate", CONF_PATH, CONF_LIST,
	  .help = "by the name that a client asks for; default: [mta]'s; tunnel: our hop key" },
	{ "private-key", CONF_PATH, CONF_LIST | CONF_SECRET_FILE,
	  .help = "of each certificate, in their order; default: [mta] private-key" },
	{ "tls-required", CONF_BOOL, 0, .help = "no MAIL before TLS; submission yes, else no" },
	{ "tls-versions", CONF_ENUM, CONF_LIST, .words = version_words,
	  .help = "with no gap; default 1.2, 1.3" },
	{ "tls-ciphers", CONF_STRING, CONF_LIST, 2, CIPHER_MAX - 1,
	  .help = "as OpenSSL names them, best first; default OpenSSL's" },
	{ "client-certificate", CONF_ENUM, 0, .words = client_cert_words, .dflt = "none",
	  .help = "is a client asked for one" },
	{ "client-ca", CONF_PATH, CONF_PUBLIC_FILE, .help = "authorities for clients, PEM" },
	{ "client-pins", CONF_STRING, CONF_LIST, 64, 95,
	  .help = "SHA-256 of clients' public keys, hex" },
	{ "client-logins", CONF_STRING, CONF_LIST, 3, 500,
	  .help = "LOGIN:PIN, or LOGIN:NAME of client-ca: whose certificate logs in as whom" },
	{ "allow", CONF_PREFIX, CONF_LIST, .help = "clients; all others are turned away" },
	{ "allow-table", CONF_PATH, CONF_LIST | CONF_PUBLIC_FILE,
	  .help = "more of them, one a line" },
	{ "deny", CONF_PREFIX, CONF_LIST, .help = "clients that are turned away" },
	{ "deny-table", CONF_PATH, CONF_LIST | CONF_PUBLIC_FILE,
	  .help = "more of them, one a line" },
	{ "mask-source", CONF_BOOL, 0, .help = "client not in Received; submission yes, else no" },
	{ "dsn", CONF_BOOL, 0, .help = "offer reports of delivery (RFC 3461); mx no, else yes" },
	{ "normalize", CONF_BOOL, 0, .dflt = "no",
	  .help = "bare LF becomes CRLF; not on mx, tunnel" },
	{ "networks", CONF_PREFIX, CONF_LIST,
	  .help = "class lan: who may relay; default loopback" },
	{ "trace-clients", CONF_PREFIX, CONF_LIST,
	  .help = "class lan: hops that may ask for the trace of their letters" },
	{ "sessions-max", CONF_UINT, 0, 1, 100000, .dflt = "1000", .help = "at a time" },
	{ "sessions-per-prefix", CONF_UINT, 0, 1, 100000,
	  .help = "from one /64 or /32 at a time, 20; tunnel: of one peer, 100" },
	{ "recipients-max", CONF_UINT, 0, 100, 1000, .help = "of one letter; 100, tunnel 1000" },
	{ "errors-max", CONF_UINT, 0, 1, 1000, .dflt = "20", .help = "refusals before 421" },
	{ "auth-failures-max", CONF_UINT, 0, 0, 1000000, .dflt = "20",
	  .help = "wrong passwords of one /64 or /32 in an hour" },
	{ "size-max", CONF_SIZE, 0, 64 * 1024, 1ull << 40, .help = "default: [mta] size-max" },
	{ "letters-per-sender", CONF_UINT, 0, 0, 1000000, .dflt = "0",
	  .help = "in an hour, of one login or sender; 0: no limit" },
	{ "bytes-per-sender", CONF_SIZE, 0, 0, 1ull << 40, .dflt = "0",
	  .help = "in an hour, of one login or sender; 0: no limit" },
	{ "letters-per-recipient", CONF_UINT, 0, 0, 1000000, .dflt = "0",
	  .help = "in an hour, to one address; 0: no limit" },
	{ "bytes-per-recipient", CONF_SIZE, 0, 0, 1ull << 40, .dflt = "0",
	  .help = "in an hour, to one address; 0: no limit" },
	{ "greet-delay", CONF_DURATION, 0, 0, MINUTE, .dflt = "0s",
	  .help = "before the greeting; who talks in it is sent away" },
	{ "idle-timeout", CONF_DURATION, 0, 1000, HOUR, .dflt = "5m", .help = "between commands" },
	{ "session-timeout", CONF_DURATION, 0, 1000, DAY, .dflt = "2h",
	  .help = "of a whole session" },
};

static const struct conf_key home_keys[] = {
	{ "peer", CONF_STRING, 0, 1, MTA_NAME_MAX - 1,
	  .help = "[peer] of postern.conf; default NAME" },
	{ "domains", CONF_STRING, CONF_LIST | CONF_REQUIRED, 1, 253,
	  .help = "whose mail goes there" },
	{ "recipients", CONF_PATH, CONF_PUBLIC_FILE,
	  .help = "addresses that exist, one a line; default: the home tells" },
	{ "check-recipients", CONF_BOOL, 0, .dflt = "yes", .help = "no: any local part is taken" },
	{ "queue-max", CONF_SIZE, 0, 1 * MIB, 1ull << 50, .dflt = "1G",
	  .help = "mail that waits for it; with less room than that, half of the room" },
	{ "size-max", CONF_SIZE, 0, 64 * 1024, 1ull << 40,
	  .help = "of one letter to it, if that is less than it tells itself" },
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
	  .help = "tunnel: pin, else by the first key; mx: may; smarthost: verify; lmtp: none" },
	{ "tls-implicit", CONF_BOOL, 0, .dflt = "no", .help = "TLS from the first byte" },
	{ "tls-versions", CONF_ENUM, CONF_LIST, .words = version_words,
	  .help = "with no gap; default 1.2, 1.3" },
	{ "tls-ciphers", CONF_STRING, CONF_LIST, 2, CIPHER_MAX - 1,
	  .help = "as OpenSSL names them, best first; default OpenSSL's" },
	{ "tls-name", CONF_DOMAIN, 0, .help = "name to verify; default the host's" },
	{ "ca-file", CONF_PATH, CONF_PUBLIC_FILE,
	  .help = "authorities for tls = verify, PEM; default: [mta] ca-file" },
	{ "tls-pins", CONF_STRING, CONF_LIST, 64, 95, .help = "SHA-256 of the public key, hex" },
	{ "certificate", CONF_PATH, 0,
	  .help = "ours, shown when asked for; default: tunnel our hop key, else none" },
	{ "private-key", CONF_PATH, CONF_SECRET_FILE, .help = "its key" },
	{ "auth", CONF_ENUM, 0, .words = auth_words,
	  .help = "kind smarthost: external is by our certificate; default by username, if any" },
	{ "username", CONF_STRING, 0, 1, 255,
	  .help = "kind smarthost: AUTH PLAIN, or LOGIN where only that is offered" },
	{ "password-file", CONF_PATH, CONF_SECRET_FILE, .help = "first line is the password" },
	{ "source", CONF_ADDR, CONF_LIST,
	  .help = "own addresses, of either family; connections take them in turn" },
	{ "helo", CONF_DOMAIN, CONF_LIST,
	  .help = "name in EHLO, for all or for each source; default [mta] hostname" },
	{ "family", CONF_ENUM, 0, .words = family_words, .dflt = "v6-first",
	  .help = "which is tried, and which first" },
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
	{ "sessions-total", CONF_UINT, 0, 0, 1000, .dflt = "0",
	  .help = "to all next hops of the route together; 0: no limit" },
	{ "letters-per-session", CONF_UINT, 0, 0, 1000000, .help = "0: no limit; mx 100, else 0" },
	{ "delay-warning", CONF_DURATION, 0, 0, 30 * DAY, .dflt = "0", .help = "0: none" },
	{ "trace", CONF_BOOL, 0,
	  .help = "a trace asks this Postern too; kind tunnel yes, smarthost no" },
	{ "backup", CONF_STRING, 0, 1, MTA_NAME_MAX - 1,
	  .help = "another [route], for letters whose next hop fails for backup-after" },
	{ "backup-after", CONF_DURATION, 0, 0, 30 * DAY, .dflt = "1h",
	  .help = "that the next hop fails, without a break" },
	{ "backup-outside-tunnel", CONF_BOOL, 0, .dflt = "no",
	  .help = "kind tunnel: the backup may be of another kind" },
	{ "require-8bitmime", CONF_BOOL, 0, .dflt = "no",
	  .help = "bounce rather than just send 8 bit" },
};

static const struct conf_key deliver_keys[] = {
	{ "domains", CONF_STRING, CONF_LIST | CONF_REQUIRED, 1, 253,
	  .help = "delivered on this machine" },
	{ "virtual-domains", CONF_STRING, CONF_LIST, 1, 253,
	  .help = "more of them, where only lines with the domain count" },
	{ "users", CONF_PATH, CONF_PUBLIC_FILE,
	  .help = "lines address = user [directory], or address = user | command" },
	{ "aliases", CONF_PATH, CONF_PUBLIC_FILE, .help = "lines name: target, target" },
	{ "system-users", CONF_BOOL, 0, .dflt = "yes", .help = "users of this machine get mail" },
	{ "uid-min", CONF_UINT, 0, 1, 4000000000ull, .dflt = "1000",
	  .help = "no mail below it, and none for 65534 (nobody)" },
	{ "maildir", CONF_STRING, 0, 1, 200, .dflt = "Maildir",
	  .help = "below the home directory" },
	{ "pipe", CONF_STRING, 0, 1, 1000, .help = "instead: a command that gets each letter" },
	{ "quota", CONF_SIZE, 0, 0, 1ull << 50, .dflt = "0",
	  .help = "of each Maildir; 0: no limit" },
	{ "quota-letters", CONF_UINT, 0, 0, 1000000000, .dflt = "0", .help = "as quota" },
	{ "over-quota", CONF_ENUM, 0, .words = full_words, .dflt = "wait",
	  .help = "what is too much waits (4.2.2), or is refused (5.2.2)" },
	{ "subaddress", CONF_ENUM, 0, .words = sub_words, .dflt = "+", .help = "joe+x is joe" },
	{ "socket", CONF_PATH, 0, .help = "of postern-deliver; default run-dir/deliver.sock" },
	{ "catch-all", CONF_STRING, 0, 1, 64, .help = "local part that gets what nobody has" },
};

static const struct conf_key srs_keys[] = {
	{ "domain", CONF_DOMAIN, CONF_REQUIRED,
	  .help = "ours; of the senders that are written anew" },
	{ "secret-file", CONF_PATH, CONF_REQUIRED | CONF_SECRET_FILE,
	  .help = "a line of 16 characters or more; older ones behind it" },
	{ "max-age", CONF_DURATION, 0, DAY, 365 * DAY, .dflt = "21d",
	  .help = "how long a bounce may take" },
};

static const struct conf_key rule_keys[] = {
	{ "action", CONF_ENUM, CONF_REQUIRED, .words = action_words, .help = "what happens" },
	{ "listeners", CONF_STRING, CONF_LIST, 1, MTA_NAME_MAX - 1, .help = "names or classes" },
	{ "clients", CONF_PREFIX, CONF_LIST, .help = "where the client comes from" },
	{ "clients-table", CONF_PATH, CONF_LIST | CONF_PUBLIC_FILE,
	  .help = "more of them, one a line" },
	{ "peers", CONF_STRING, CONF_LIST, 1, MTA_NAME_MAX - 1, .help = "tunnel peers" },
	{ "authenticated", CONF_BOOL, 0, .help = "is there a login" },
	{ "tls", CONF_BOOL, 0, .help = "is the session encrypted" },
	{ "helo", CONF_STRING, CONF_LIST, 1, 255, .help = "name in EHLO: host.d, .d, [192.0.2.1]" },
	{ "helo-table", CONF_PATH, CONF_LIST | CONF_PUBLIC_FILE,
	  .help = "more of them, one a line" },
	{ "helo-regex", CONF_STRING, CONF_LIST, 1, 255, .help = "or it is what this describes" },
	{ "senders", CONF_STRING, CONF_LIST, 1, 320,
	  .help = "a@d, @d, @.d (all below it), \"<>\" for none" },
	{ "senders-table", CONF_PATH, CONF_LIST | CONF_PUBLIC_FILE,
	  .help = "more of them, one a line" },
	{ "senders-regex", CONF_STRING, CONF_LIST, 1, 255, .help = "or it is what this describes" },
	{ "recipients", CONF_STRING, CONF_LIST, 1, 320, .help = "a@d, @d, @.d (all below it)" },
	{ "recipients-table", CONF_PATH, CONF_LIST | CONF_PUBLIC_FILE,
	  .help = "more of them, one a line" },
	{ "recipients-regex", CONF_STRING, CONF_LIST, 1, 255,
	  .help = "or it is what this describes" },
	{ "larger-than", CONF_SIZE, 0, 1024, 1ull << 40, .help = "reject: letters above that size" },
	{ "route", CONF_STRING, 0, 1, MTA_NAME_MAX - 1, .help = "accept: by this route" },
	{ "message", CONF_STRING, 0, 1, 200,
	  .help = "reject, tempfail: text of the reply; its code as 5.7.1 may stand before it" },
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
	KIND("srs", 0, srs_keys, "letters that go on to others have senders of ours"),
	KIND("rule", CONF_NAMED, rule_keys, "first match decides, in the order of the file"),
};

const struct conf_schema config_schema = { kinds, CONF_COUNT(kinds) };
