/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * smtp_load: letters for a mail server, and the host that it relays them to (bench/run mail).
 *
 *	smtp_load --to ADDR:PORT --sink ADDR:PORT --sessions N --bytes N --seconds S [--tls] [--renew]
 *	smtp_load --to ADDR:PORT --sessions N --bytes N --letters N	a queue is filled
 *	smtp_load --sink ADDR:PORT --bytes N --letters N --drain S	and emptied
 *
 * Letters are begun for @seconds, or until there were so many; then what is under way ends, and the sink waits
 * for the rest; sessions and sink have --drain seconds for it. --renew: each letter has a session of its own. --run N
 * tells letters of one run from those of others. One JSON line tells what happened; rates are from the start to the
 * last letter of their kind.
 */
#include "smtp_load.h"

#include <arpa/inet.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define TURN_MS	  20
#define EVENTS	  256
#define LINE	  78
#define UNASKED_S 3600.0

uint64_t load_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

bool load_watch(int epoll, struct handle *h, uint32_t events, bool add)
{
	struct epoll_event e = { .events = events, .data.ptr = h };

	return !epoll_ctl(epoll, add ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, h->fd, &e);
}

bool load_more(const struct load *ld, uint64_t now_ns)
{
	return ld->begun < ld->letters && now_ns < ld->end_ns;
}

/* A letter of @bytes with a header that no server has to mend, and the dot. */
static int make_body(struct load *ld)
{
	size_t n;

	ld->body = malloc(ld->bytes + LINE + 8);
	if (!ld->body)
		return -1;
	n = (size_t)sprintf(ld->body, "From: <load@client.example>\r\nTo: <sink@sink.example>\r\n"
				      "Subject: load\r\nDate: Sun, 22 Nov 2026 12:00:00 +0000\r\n"
				      "Message-ID: <load.1@client.example>\r\nMIME-Version: 1.0\r\n"
				      "Content-Type: text/plain\r\n\r\n");
	while (n < ld->bytes) {
		size_t len = ld->bytes - n < LINE ? ld->bytes - n : LINE;

		if (len < 3)
			len = 3;
		memset(ld->body + n, 'a' + (int)(n / LINE % 26), len - 2);
		memcpy(ld->body + n + len - 2, "\r\n", 2);
		n += len;
	}
	memcpy(ld->body + n, ".\r\n", 3);
	ld->body_len = n + 3;
	return 0;
}

void load_turn(struct load *ld, int epoll)
{
	struct epoll_event e[EVENTS];
	int n = epoll_wait(epoll, e, EVENTS, TURN_MS);

	for (int i = 0; i < n; i++) {
		struct handle *h = e[i].data.ptr;

		h->ready(ld, h, e[i].events, load_ns());
	}
}

static void run(struct load *ld)
{
	uint64_t drain_ns = (uint64_t)(ld->drain_s * 1e9), until_ns;

	ld->start_ns = load_ns();
	ld->end_ns = ld->start_ns + (uint64_t)(ld->seconds * 1e9);
	if (send_start(ld))
		return;
	while (ld->busy && load_ns() < ld->end_ns + drain_ns) {
		load_turn(ld, ld->epoll);
		send_again(ld, load_ns());
	}
	if (!ld->at.sin_port)
		return;
	until_ns = load_ns() + drain_ns;
	while (ld->delivered < (ld->sessions ? ld->accepted : ld->letters) && load_ns() < until_ns)
		usleep(TURN_MS * 1000);
	sink_end(ld);
}

/* ---- what is told ---- */

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void tell_times(const struct load *ld, const char *name, bool at_sink)
{
	double *ms = malloc((ld->letters + 1) * sizeof(*ms));
	size_t n = 0;

	for (uint32_t i = 0; ms && i < ld->letters; i++) {
		const struct letter *l = &ld->letter[i];
		uint64_t end = at_sink ? l->got_ns : l->ok_ns;

		/* What was relayed before its 250 came back took no time that a client could see. */
		if (l->dot_ns && end)
			ms[n++] = end > l->dot_ns ? (double)(end - l->dot_ns) / 1e6 : 0;
	}
	if (n) {
		qsort(ms, n, sizeof(*ms), by_size);
		printf(", \"%s_p50\": %.3f, \"%s_p99\": %.3f", name, ms[n / 2], name,
		       ms[n * 99 / 100]);
	}
	free(ms);
}

static double rate(uint32_t count, uint64_t from_ns, uint64_t to_ns)
{
	return to_ns > from_ns ? count * 1e9 / (double)(to_ns - from_ns) : 0;
}

static void tell(const struct load *ld)
{
	uint64_t from_ns = ld->sessions ? ld->start_ns : ld->first_got_ns;

	printf(
	    "{\"begun\": %u, \"accepted\": %u, \"delivered\": %u, \"refused\": %u, \"faults\": %u, "
	    "\"stuck\": %u, "
	    "\"twice\": %u, \"cut\": %u, \"connects\": %u, \"accepted_s\": %.2f, \"delivered_s\": "
	    "%.2f",
	    ld->begun, ld->accepted, ld->delivered, ld->refused, ld->faults, ld->busy, ld->twice,
	    ld->cut, ld->connects, rate(ld->accepted, from_ns, ld->last_ok_ns),
	    rate(ld->delivered, from_ns, ld->last_got_ns));
	tell_times(ld, "ok", false);
	tell_times(ld, "delivered", true);
	printf("}\n");
}

/* ---- options ---- */

static bool endpoint(const char *s, struct sockaddr_in *at)
{
	char host[32];
	const char *colon = strchr(s, ':');

	if (!colon || (size_t)(colon - s) >= sizeof(host))
		return false;
	snprintf(host, sizeof(host), "%.*s", (int)(colon - s), s);
	at->sin_family = AF_INET;
	at->sin_port = htons((uint16_t)atoi(colon + 1));
	return at->sin_port && inet_pton(AF_INET, host, &at->sin_addr) == 1;
}

static bool option(struct load *ld, int c, const char *v)
{
	switch (c) {
	case 't':
		return endpoint(v, &ld->to);
	case 'k':
		return endpoint(v, &ld->at);
	case 'n':
		ld->sessions = (uint32_t)strtoul(v, NULL, 10);
		return ld->sessions > 0 && ld->sessions <= SESSIONS_MAX;
	case 'b':
		ld->bytes = strtoul(v, NULL, 10);
		return ld->bytes >= BYTES_MIN && ld->bytes <= BYTES_MAX;
	case 'l':
		ld->letters = (uint32_t)strtoul(v, NULL, 10);
		return ld->letters > 0 && ld->letters <= LETTERS_MAX;
	case 's':
		ld->seconds = strtod(v, NULL);
		return ld->seconds > 0;
	case 'd':
		ld->drain_s = strtod(v, NULL);
		return ld->drain_s >= 0;
	case 'R':
		ld->run = (uint32_t)strtoul(v, NULL, 10);
		return true;
	case 'T':
		return ld->tls = true;
	case 'r':
		return ld->renew = true;
	default:
		return false;
	}
}

static int prepare(struct load *ld)
{
	struct rlimit files = { 3 * SESSIONS_MAX, 3 * SESSIONS_MAX };

	setrlimit(RLIMIT_NOFILE, &files);
	ld->epoll = epoll_create1(EPOLL_CLOEXEC);
	ld->sink_epoll = epoll_create1(EPOLL_CLOEXEC);
	ld->letter = calloc(ld->letters, sizeof(*ld->letter));
	if (ld->epoll < 0 || ld->sink_epoll < 0 || !ld->letter || make_body(ld))
		return -1;
	if (ld->tls) {
		ld->ctx = SSL_CTX_new(TLS_client_method());
		if (!ld->ctx)
			return -1;
		/* Whole handshakes, as with strangers; whom it talks to is known here. */
		SSL_CTX_set_session_cache_mode(ld->ctx, SSL_SESS_CACHE_OFF);
		SSL_CTX_set_mode(ld->ctx, SSL_MODE_ENABLE_PARTIAL_WRITE |
					      SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	}
	return ld->at.sin_port ? sink_start(ld) : 0;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "to", 1, NULL, 't' },	      { "sink", 1, NULL, 'k' },
		{ "sessions", 1, NULL, 'n' }, { "bytes", 1, NULL, 'b' },
		{ "letters", 1, NULL, 'l' },  { "seconds", 1, NULL, 's' },
		{ "drain", 1, NULL, 'd' },    { "tls", 0, NULL, 'T' },
		{ "renew", 0, NULL, 'r' },    { "run", 1, NULL, 'R' },
		{ NULL, 0, NULL, 0 },
	};
	static struct load ld = {
		.bytes = 4096, .letters = LETTERS_MAX, .seconds = UNASKED_S, .drain_s = 10
	};
	bool fine = true;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
		fine = fine && option(&ld, c, optarg);
	if (!fine || optind < argc || (ld.sessions != 0) != (ld.to.sin_port != 0) ||
	    (!ld.sessions && !ld.at.sin_port)) {
		fprintf(stderr, "smtp_load: see the head of bench/load/smtp_load.c\n");
		return 2;
	}
	if (prepare(&ld))
		return 1;
	run(&ld);
	tell(&ld);
	return 0;
}
