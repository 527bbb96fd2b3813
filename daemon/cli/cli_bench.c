/* SPDX-License-Identifier: GPL-3.0-or-later */
/* bench: asks, shows how it goes on a terminal, and prints what came out. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control.h"
#include "daemon_cli.h"

#define SECONDS_DEFAULT 5
#define SECONDS_MAX	60
#define RATE_MAX	100000000000ull
#define ENDED		(CLI_NOT_ALLOWED + 1) /* the result has come; 0 would mean to go on */

struct seen {
	struct cli *cli;
	bool terminal, line;
	json_int_t bytes, ms; /* of the event before, in this phase */
	char phase[8];
};

static double num(const json_t *o, const char *key)
{
	return json_number_value(json_object_get(o, key));
}

static const char *rate_text(double bits_s, char out[static 32])
{
	static const char *const units[] = { "bit/s", "kbit/s", "Mbit/s", "Gbit/s" };
	int u = 0;

	for (; bits_s >= 1000 && u < 3; u++)
		bits_s /= 1000;
	snprintf(out, 32, bits_s >= 100 ? "%.0f %s" : "%.1f %s", bits_s, units[u]);
	return out;
}

/* ---- the result ---- */

static void print_rtt(const char *what, const json_t *r)
{
	json_int_t sent = json_integer_value(json_object_get(r, "sent")),
		   answered = json_integer_value(json_object_get(r, "answered"));

	printf("  %-12s", what);
	if (answered)
		printf("median %.2f ms, 99 %% below %.2f, %.2f to %.2f", num(r, "median"), num(r, "p99"), num(r, "least"),
		       num(r, "most"));
	else
		printf("no answer");
	if (answered < sent)
		printf("; %lld of %lld lost", (long long)(sent - answered), (long long)sent);
	putchar('\n');
}

static void print_work(const char *what, const json_t *w)
{
	printf("  %-12s%.2f cores: read %.0f %%, crypto %.0f %%, send %.0f %%, the rest %.0f %%\n", what, num(w, "cores"),
	       100 * num(w, "read"), 100 * num(w, "crypto"), 100 * num(w, "send"), 100 * num(w, "rest"));
}

static void print_way(const char *title, const char *from, const char *to, const json_t *w)
{
	char rate[32];

	printf("%s\n  %-12s%s in packets of %lld bytes, over %.1f s\n", title, "rate", rate_text(num(w, "bits_s"), rate),
	       (long long)json_integer_value(json_object_get(w, "packet_bytes")), num(w, "seconds"));
	printf("  %-12s%.2f %% (%lld of %lld)\n", "loss", 100 * num(w, "loss"),
	       (long long)json_integer_value(json_object_get(w, "lost")),
	       (long long)(json_integer_value(json_object_get(w, "lost")) +
			   json_integer_value(json_object_get(w, "packets"))));
	print_rtt("latency", json_object_get(w, "rtt_ms"));
	print_work(from, json_object_get(w, "sender"));
	print_work(to, json_object_get(w, "receiver"));
}

static void print_result(const json_t *r)
{
	const char *peer = json_string_value(json_object_get(r, "peer"));
	char title[160];

	printf("idle\n");
	print_rtt("latency", json_object_get(r, "idle_rtt_ms"));
	snprintf(title, sizeof(title), "to %s", peer ? peer : "?");
	print_way(title, "here", "there", json_object_get(r, "out"));
	snprintf(title, sizeof(title), "from %s", peer ? peer : "?");
	print_way(title, "there", "here", json_object_get(r, "in"));
	printf("From one data plane to the other and as full packets: no TUN device, no TCP, no application. Latency is\n"
	       "there and back. Cores are those of all workers, with whatever else the tunnels carried meanwhile.\n");
}

/* ---- events ---- */

static void clear_line(struct seen *s)
{
	if (s->line)
		fputs("\r\033[K", stderr);
	s->line = false;
}

static void progress(struct seen *s, const json_t *event)
{
	const char *phase = json_string_value(json_object_get(event, "phase"));
	json_int_t bytes = json_integer_value(json_object_get(event, "bytes")),
		   ms = json_integer_value(json_object_get(event, "ms"));
	char rate[32];

	if (!s->terminal || !phase)
		return;
	if (strcmp(phase, s->phase))
		s->bytes = s->ms = 0;
	snprintf(s->phase, sizeof(s->phase), "%s", phase);
	clear_line(s);
	fprintf(stderr, "%s  %.1f s", !strcmp(phase, "idle") ? "idle" : !strcmp(phase, "out") ? "to it" : "from it",
		(double)ms / 1000);
	if (ms > s->ms && bytes >= s->bytes && strcmp(phase, "idle"))
		fprintf(stderr, "  %s", rate_text((double)(bytes - s->bytes) * 8000 / (double)(ms - s->ms), rate));
	s->line = true;
	s->bytes = bytes;
	s->ms = ms;
}

static int on_event(const json_t *event, void *arg)
{
	const char *kind = json_string_value(json_object_get(event, "event")),
		   *peer = json_string_value(json_object_get(event, "peer")),
		   *error = json_string_value(json_object_get(event, "error"));
	struct seen *s = arg;

	if (kind && !strcmp(kind, "bench")) {
		progress(s, event);
		return 0;
	}
	if (kind && !strcmp(kind, "bench-failed")) {
		clear_line(s);
		return cli_fail(s->cli, "peer \"%s\": %s", peer ? peer : "?", error ? error : "it failed");
	}
	if (!kind || strcmp(kind, "bench-done"))
		return 0;
	clear_line(s);
	if (s->cli->json)
		cli_print_json(json_object_get(event, "result"));
	else
		print_result(json_object_get(event, "result"));
	return ENDED;
}

/* ---- arguments ---- */

static bool take_seconds(const char *text, json_int_t *ms)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	*ms = (json_int_t)n * 1000;
	return *text >= '0' && *text <= '9' && !*end && n >= 1 && n <= SECONDS_MAX;
}

/* As rate-limit in postern.conf: K, M, G times 1000. */
static bool take_rate(const char *text, json_int_t *rate)
{
	static const char units[] = "KMG";
	char *end;
	unsigned long long n = strtoull(text, &end, 10), times = 1;
	const char *u = *end ? strchr(units, *end) : NULL;

	if (u) {
		for (const char *at = units; at <= u; at++)
			times *= 1000;
		end++;
	}
	*rate = n <= RATE_MAX / times ? (json_int_t)(n * times) : -1;
	return *text >= '0' && *text <= '9' && !*end && *rate >= 256000;
}

int cli_bench(struct cli *cli, int argc, char **argv)
{
	json_int_t ms = SECONDS_DEFAULT * 1000, rate = 0;
	struct seen s = { .cli = cli, .terminal = isatty(STDERR_FILENO) };
	char path[512], why[4352];
	const char *peer = NULL;
	int rc;

	for (int i = 1; i < argc; i++) {
		const char *next = i + 1 < argc ? argv[i + 1] : "";

		if (!strcmp(argv[i], "--seconds")) {
			if (!take_seconds(next, &ms))
				return cli_usage(cli, "--seconds is 1 to %d, not \"%s\"", SECONDS_MAX, next);
			i++;
		} else if (!strcmp(argv[i], "--rate")) {
			if (!take_rate(next, &rate))
				return cli_usage(cli, "--rate is 256K to 100G bit/s, not \"%s\"", next);
			i++;
		} else if (peer || argv[i][0] == '-') {
			return cli_usage(cli, "unexpected \"%s\"", argv[i]);
		} else {
			peer = argv[i];
		}
	}
	if (!peer)
		return cli_usage(cli, "which peer?");
	rc = control_watch(cli_socket(cli, "control.sock", path, sizeof(path)), "bench",
			   json_pack("{s:s, s:I, s:I}", "peer", peer, "ms", ms, "rate", rate), on_event, &s, why,
			   sizeof(why));
	clear_line(&s);
	if (rc == ENDED)
		return 0;
	return rc < 0 ? cli_unreached(cli, path, "posternd", rc, why) : rc;
}
