/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdio.h>
#include <string.h>

#include "daemon_cli.h"

static const char *str(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

static double num(const json_t *o, const char *key)
{
	return json_number_value(json_object_get(o, key));
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

static void list(const char *label, const json_t *a)
{
	size_t i;
	json_t *v;

	if (!json_array_size(a))
		return;
	printf("  %-10s", label);
	json_array_foreach(a, i, v) printf(" %s", json_string_value(v));
	putchar('\n');
}

static void print_ike(const json_t *p)
{
	const json_t *ike = json_object_get(p, "ike"), *ch;
	char a[32], b[32];
	size_t i;

	if (!json_is_object(ike))
		return;
	printf("  %-10s %s, %s_i %s_r, age %s, rekey in %s\n", "ike", str(ike, "suite"),
	       str(ike, "spi_i"), str(ike, "spi_r"), span(num(ike, "age_s"), a),
	       span(num(ike, "rekey_in_s"), b));
	json_array_foreach(json_object_get(ike, "children"), i, ch)
	    printf("  %-10s %s, in %s out %s, %s === %s, rekey in %s\n", "child", str(ch, "suite"),
		   str(ch, "spi_in"), str(ch, "spi_out"), str(ch, "local_ts"), str(ch, "remote_ts"),
		   span(num(ch, "rekey_in_s"), b));
}

static void print_peer(const json_t *p)
{
	const json_t *since = json_object_get(p, "since_s"),
		     *reply = json_object_get(p, "reply_age_s");
	const json_t *silent = json_object_get(p, "unanswered_s");
	char a[32], b[32];

	printf("\n%s (%s): %s", str(p, "name"), str(p, "identity"), str(p, "state"));
	if (json_is_number(since))
		printf(" for %s", span(json_number_value(since), a));
	putchar('\n');
	if (json_is_string(json_object_get(p, "endpoint")))
		printf("  %-10s %s from %s%s%s%s\n", "endpoint", str(p, "endpoint"),
		       str(p, "local"),
		       json_is_true(json_object_get(p, "nat_local")) ? ", NAT here" : "",
		       json_is_true(json_object_get(p, "nat_remote")) ? ", NAT there" : "",
		       json_is_true(json_object_get(p, "on_trial")) ? ", on trial" : "");
	if (json_is_number(reply))
		printf("  %-10s %s ago\n", "last reply", span(json_number_value(reply), a));
	if (json_is_number(silent))
		printf("  %-10s a request for %s\n", "unanswered",
		       span(json_number_value(silent), a));
	print_ike(p);
	list("calling", json_object_get(p, "calling"));
	list("networks", json_object_get(p, "inner"));
	printf("  %-10s %s sent, %s received\n", "data", bytes(num(p, "tx_bytes"), a),
	       bytes(num(p, "rx_bytes"), b));
	if (json_is_string(json_object_get(p, "failure")))
		printf("  %-10s %s\n", "failure", str(p, "failure"));
	if (json_is_string(json_object_get(p, "claim")))
		printf("  %-10s %s (unproved, %s ago, %.0f so far)\n", "claim", str(p, "claim"),
		       span(num(p, "claim_age_s"), a), num(p, "claims"));
	if (json_is_number(json_object_get(p, "retry_in_s")))
		printf("  %-10s in %s\n", "retry", span(num(p, "retry_in_s"), a));
}

int cli_status(struct cli *cli, int argc, char **argv)
{
	const json_t *tun, *dp, *p;
	const char *key;
	json_t *o, *v;
	bool counters = false;
	char a[32];
	size_t i;

	for (int n = 1; n < argc; n++) {
		if (strcmp(argv[n], "--counters"))
			return cli_usage(cli, "unexpected \"%s\"", argv[n]);
		counters = true;
	}
	o = cli_ask(cli, "status", json_pack("{s:b}", "counters", counters));
	if (!o)
		return 1;
	if (cli->json) {
		cli_print(o);
		json_decref(o);
		return 0;
	}
	tun = json_object_get(o, "tun");
	dp = json_object_get(o, "dataplane");
	printf("posternd %s, %s, up %s, port %.0f\n", str(o, "version"), str(o, "identity"),
	       span(num(o, "uptime_s"), a), num(o, "port"));
	printf("  %-10s %s, mtu %.0f\n", "tun", str(tun, "name"), num(tun, "mtu"));
	list("addresses", json_object_get(tun, "addresses"));
	printf("  %-10s %s, %.0f worker(s), %s\n", "data plane", str(dp, "io"), num(dp, "workers"),
	       str(dp, "crypto"));
	list("features", json_object_get(dp, "features"));
	json_array_foreach(json_object_get(o, "peers"), i, p) print_peer(p);
	if (counters) {
		puts("\ncounters");
		json_object_foreach(json_object_get(o, "counters"), key,
				    v) if (json_integer_value(v))
		    printf("  %-28s %" JSON_INTEGER_FORMAT "\n", key, json_integer_value(v));
	}
	json_decref(o);
	return 0;
}
