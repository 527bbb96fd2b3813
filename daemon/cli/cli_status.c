/* SPDX-License-Identifier: GPL-3.0-or-later */
/* `postern status`: for people, 80 columns wide; what a program wants is --json. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "daemon_cli.h"

#define WIDTH  80
#define INDENT 16 /* of what stands behind a label */

static const char *str(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

static double num(const json_t *o, const char *key)
{
	return json_number_value(json_object_get(o, key));
}

static bool has(const json_t *o, const char *key)
{
	const json_t *v = json_object_get(o, key);

	return json_is_true(v) || json_is_number(v) || (json_is_string(v) && *json_string_value(v));
}

/* "12 s", "5 min", "3 h", "2 d" */
static const char *span(double s, char out[static 32])
{
	if (s < 120)
		snprintf(out, 32, "%.0f s", s);
	else if (s < 7200)
		snprintf(out, 32, "%.0f min", s / 60);
	else if (s < 172800)
		snprintf(out, 32, "%.0f h", s / 3600);
	else
		snprintf(out, 32, "%.0f d", s / 86400);
	return out;
}

/* "21:03:44", or with its date when that was not today */
static const char *when(double ago_s, char out[static 32])
{
	time_t now = time(NULL), then = now - (time_t)ago_s;
	struct tm a, b;

	localtime_r(&now, &a);
	localtime_r(&then, &b);
	strftime(out, 32,
		 a.tm_yday == b.tm_yday && a.tm_year == b.tm_year ? "%H:%M:%S" : "%Y-%m-%d %H:%M",
		 &b);
	return out;
}

static const char *bytes(double n, char out[static 32])
{
	static const char *const unit[] = { "B", "KiB", "MiB", "GiB", "TiB" };
	int u = 0;

	while (n >= 1024 && u < 4) {
		n /= 1024;
		u++;
	}
	snprintf(out, 32, u ? "%.1f %s" : "%.0f %s", n, unit[u]);
	return out;
}

/* A label and its text, broken at spaces so that no line is longer than WIDTH. */
static void field(const char *label, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void field(const char *label, const char *fmt, ...)
{
	char text[4096], *word, *rest = text;
	size_t column = INDENT;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	for (char *c = text; *c; c++)
		*c = (unsigned char)*c < 0x20 || *c == 0x7f ? '?'
							    : *c; /* a peer may have chosen it */
	printf("  %-*s", INDENT - 2, label);
	while ((word = strsep(&rest, " "))) {
		size_t len = strlen(word);

		if (!len)
			continue;
		if (column > INDENT && column + 1 + len > WIDTH) {
			printf("\n%*s", INDENT, "");
			column = INDENT;
		}
		printf("%s%s", column > INDENT ? " " : "", word);
		column += len + (column > INDENT);
	}
	putchar('\n');
}

static void list(const char *label, const json_t *a)
{
	char text[4096] = "";
	size_t i, n = 0;
	json_t *v;

	json_array_foreach(a, i, v)
	{
		if (n < sizeof(text))
			n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s", i ? " " : "",
					      json_string_value(v) ? json_string_value(v) : "?");
	}
	if (*text)
		field(label, "%s", text);
}

static void print_child(const json_t *ch)
{
	char a[32], b[32], limit[80] = "";

	if (has(ch, "lifetime_bytes"))
		snprintf(limit, sizeof(limit), " or at %s", bytes(num(ch, "lifetime_bytes"), a));
	if (has(ch, "lifetime_packets"))
		snprintf(limit + strlen(limit), sizeof(limit) - strlen(limit),
			 " or at %.0f packets", num(ch, "lifetime_packets"));
	field("keys of data", "%s%s%s, %s old, renewed in %s%s, SPI %s in, %s out", str(ch, "name"),
	      has(ch, "name") ? ": " : "", str(ch, "suite"), span(num(ch, "age_s"), a),
	      span(num(ch, "rekey_in_s"), b), limit, str(ch, "spi_in"), str(ch, "spi_out"));
	field("", "%s === %s", str(ch, "local_ts"), str(ch, "remote_ts"));
	field("", "%s in %.0f packets sent, %s in %.0f received", bytes(num(ch, "tx_bytes"), a),
	      num(ch, "tx_packets"), bytes(num(ch, "rx_bytes"), b), num(ch, "rx_packets"));
}

static void print_ike(const json_t *ike)
{
	char a[32], b[32];
	const json_t *ch;
	size_t i;

	if (!json_is_object(ike))
		return;
	field("keys of IKE", "%s, %s old, renewed in %s", str(ike, "suite"),
	      span(num(ike, "age_s"), a), span(num(ike, "rekey_in_s"), b));
	if (json_is_true(json_object_get(ike, "dates_unjudged")))
		field("certificate", "dates not judged yet: this machine's clock is plainly wrong");
	json_array_foreach(json_object_get(ike, "children"), i, ch) print_child(ch);
}

static void print_path(const json_t *p)
{
	const json_t *mtu = json_object_get(p, "mtu");
	char a[32], mark[32] = "";

	if (!has(p, "endpoint"))
		return;
	field("endpoint", "%s%s", str(p, "endpoint"),
	      has(p, "on_trial") ? ", on trial until it answers there" : "");
	if (has(p, "mark"))
		snprintf(mark, sizeof(mark), " with mark 0x%x", (unsigned)num(p, "mark"));
	field("path", "from %s%s, %s", str(p, "local"), mark,
	      has(p, "nat_local") && has(p, "nat_remote") ? "NAT on both sides"
	      : has(p, "nat_local")			  ? "NAT on our side"
	      : has(p, "nat_remote")			  ? "NAT on its side"
							  : "no NAT");
	if (json_is_object(mtu))
		field("", "takes packets of %.0f (%s), inner ones of %.0f", num(mtu, "path"),
		      strcmp(str(mtu, "source"), "probe") == 0 ? "probed"
		      : strcmp(str(mtu, "source"), "icmp") == 0 ? "said by a router on the way"
								 : "its first link",
		      num(mtu, "inner"));
	if (has(p, "reply_age_s"))
		field("answered", "%s ago", span(num(p, "reply_age_s"), a));
	if (has(p, "unanswered_s"))
		field("unanswered", "a request for %s", span(num(p, "unanswered_s"), a));
}

static void print_transport(const json_t *t)
{
	const char *by = str(t, "by");
	char a[32], b[32], back[64] = "";

	if (!*by)
		return;
	if (has(t, "udp_tried_in_s"))
		snprintf(back, sizeof(back), "; UDP is tried again in %s",
			 span(num(t, "udp_tried_in_s"), a));
	field("transport", "%s port %.0f since %s (%s)%s",
	      strcmp(by, "udp") == 0   ? "UDP"
	      : strcmp(by, "tls") == 0 ? "TLS, TCP"
				       : "TCP",
	      num(t, "port"), when(num(t, "since_s"), a), span(num(t, "since_s"), b), back);
}

static void print_keepalive(const json_t *k)
{
	char a[32];

	if (!has(k, "interval_s"))
		return;
	field("keepalive", "every %s%s%s%s%s", span(num(k, "interval_s"), a),
	      has(k, "wan") ? " by " : "", str(k, "wan"),
	      has(k, "rebinding") ? ", behind a NAT that changes ports whatever is sent" : "",
	      has(k, "adaptive") ? "" : ", as configured or as the other side needs it");
}

static void print_wan(const json_t *w)
{
	char a[32], b[32], nat[96] = "";

	if (has(w, "survived_s"))
		snprintf(nat, sizeof(nat), ", its NAT remembers %s of silence",
			 span(num(w, "survived_s"), a));
	if (has(w, "died_s"))
		snprintf(nat + strlen(nat), sizeof(nat) - strlen(nat), "%s not %s",
			 *nat ? " and" : ", its NAT does", span(num(w, "died_s"), b));
	printf("\nway out %s%s%s\n", str(w, "interface"), has(w, "gateway") ? " by " : "",
	       str(w, "gateway"));
	field("keepalive", "every %s%s%s", span(num(w, "interval_s"), a), nat,
	      has(w, "rebinding") ? "; it changes ports whatever is sent" : "");
	if (has(w, "metered"))
		field("budget", "%.1f of %.1f MB used, %.1f MB a month as it is; recovery: %s",
		      num(w, "used_mb"), num(w, "budget_mb"), num(w, "mb_per_month"),
		      str(w, "recovery"));
	else
		field("costs", "%.1f MB a month, %.1f MB used so far", num(w, "mb_per_month"),
		      num(w, "used_mb"));
}

static void print_peer(const json_t *p)
{
	const json_t *ike;
	char a[32], b[32];
	size_t i;

	printf("\n%s (%s): %s", str(p, "name"), str(p, "identity"), str(p, "state"));
	if (has(p, "since_s"))
		printf(" since %s (%s)", when(num(p, "since_s"), a), span(num(p, "since_s"), b));
	putchar('\n');
	print_path(p);
	list("also at", json_object_get(p, "elsewhere"));
	print_transport(json_object_get(p, "transport"));
	print_keepalive(json_object_get(p, "keepalive"));
	list("calling", json_object_get(p, "calling"));
	list("networks", json_object_get(p, "inner"));
	list("name servers", json_object_get(p, "dns"));
	field("traffic", "%s sent, %s received", bytes(num(p, "tx_bytes"), a),
	      bytes(num(p, "rx_bytes"), b));
	print_ike(json_object_get(p, "ike"));
	json_array_foreach(json_object_get(p, "beside"), i, ike) print_ike(ike);
	if (has(p, "failure") && has(p, "failure_age_s"))
		field("last failure", "%s ago: %s", span(num(p, "failure_age_s"), a),
		      str(p, "failure"));
	else if (has(p, "failure"))
		field("last failure", "%s", str(p, "failure"));
	if (has(p, "claim"))
		field("unproved", "%s ago somebody who claims to be it: %s; %.0f so far",
		      span(num(p, "claim_age_s"), a), str(p, "claim"), num(p, "claims"));
	if (num(p, "cost_mb_day") > 0)
		field("costs", "%.1f MB a day until it answers", num(p, "cost_mb_day"));
	if (has(p, "retry_in_s"))
		field("tried again", "in %s", span(num(p, "retry_in_s"), a));
}

static void print_daemon(const json_t *o)
{
	const json_t *tun = json_object_get(o, "tun"), *dp = json_object_get(o, "dataplane");
	char a[32];

	printf("posternd %s, %s, up for %s, UDP port %.0f\n", str(o, "version"), str(o, "identity"),
	       span(num(o, "uptime_s"), a), num(o, "port"));
	field("tunnel", "%s, MTU %.0f", str(tun, "name"), num(tun, "mtu"));
	list("addresses", json_object_get(tun, "addresses"));
	if (has(o, "refused"))
		field("last stranger", "%s ago: %s", span(num(o, "refused_age_s"), a),
		      str(o, "refused"));
	field("data plane", "%s%s%s%s, %.0f worker%s, %s", str(dp, "io"),
	      has(dp, "why_not_io_uring") ? " (no io_uring: " : "", str(dp, "why_not_io_uring"),
	      has(dp, "why_not_io_uring") ? ")" : "", num(dp, "workers"),
	      num(dp, "workers") == 1 ? "" : "s", str(dp, "crypto"));
	list("rung", json_object_get(dp, "features"));
}

int cli_status(struct cli *cli, int argc, char **argv)
{
	const json_t *p;
	const char *key;
	json_t *o, *v;
	bool counters = false;
	size_t i;

	for (int n = 1; n < argc; n++) {
		if (strcmp(argv[n], "--counters"))
			return cli_usage(cli, "unexpected \"%s\"", argv[n]);
		counters = true;
	}
	o = cli_ask(cli, "status", json_pack("{s:b}", "counters", counters));
	if (!o)
		return cli->status;
	if (cli->json) {
		cli_print_json(o);
		json_decref(o);
		return 0;
	}
	print_daemon(o);
	json_array_foreach(json_object_get(o, "peers"), i, p) print_peer(p);
	if (!i)
		puts("\nno peers: the configuration has no section [peer NAME]");
	json_array_foreach(json_object_get(o, "wans"), i, p) print_wan(p);
	if (counters) {
		puts("\ncounters");
		json_object_foreach(json_object_get(o, "counters"), key, v)
		{
			if (json_integer_value(v))
				printf("  %-28s %" JSON_INTEGER_FORMAT "\n", key,
				       json_integer_value(v));
		}
	}
	json_decref(o);
	return 0;
}
