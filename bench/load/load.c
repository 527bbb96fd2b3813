/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * ike_load: the other end of the IKE benchmarks (bench/run ike).
 *
 *	ike_load engine [--style S] [--homes N]		what the engine alone costs, in one process
 *	ike_load homes --server A:P --from A --style S --keys D --homes N [--parallel N] [--seconds S]
 *	ike_load forge --server A:P --from PREFIX --rate N --seconds S	forged IKE_SA_INITs
 *	ike_load stream-receive --server A:P --seconds S		numbered datagrams and who is missing
 *	ike_load stream-send --server A:P --rate N --bytes N --seconds S
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "load.h"
#include "log.h"
#include "payload.h"

static uint64_t ns_of(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t load_ns(void)
{
	return ns_of(CLOCK_MONOTONIC);
}

uint64_t load_cpu_ns(void)
{
	return ns_of(CLOCK_THREAD_CPUTIME_ID);
}

size_t load_init(uint8_t *out, size_t cap, const struct proposals *offer)
{
	struct ike_hdr h = { .spi_i = 1,
			     .version = IKE_VERSION,
			     .exchange = IKE_SA_INIT,
			     .flags = IKE_FLAG_INITIATOR };
	uint8_t random[32 + 32 + 20 + 20];
	struct ike_build b;
	size_t len;

	if (secret_random(random, sizeof(random)))
		abort();
	ike_build_begin(&b, out, cap, &h);
	sa_add(&b, offer);
	pld_ke_add(&b, KE_CURVE25519, (struct span){ random, 32 });
	pld_nonce_add(&b, (struct span){ random + 32, 32 });
	pld_notify_add(&b, NAT_DETECTION_SOURCE_IP, (struct span){ random + 64, 20 });
	pld_notify_add(&b, NAT_DETECTION_DESTINATION_IP, (struct span){ random + 84, 20 });
	pld_notify_add(&b, IKEV2_FRAGMENTATION_SUPPORTED, (struct span){ NULL, 0 });
	pld_hashes_add(&b, SIG_HASHES_ALL);
	pld_vendor_add(&b, (struct span){ postern_vendor_id, POSTERN_VENDOR_ID_LEN });
	if (ike_build_end(&b, &len))
		abort();
	return len;
}

static const struct command {
	const char *name;
	int (*run)(const struct load_args *a);
} commands[] = {
	{ "engine", load_engine },
	{ "homes", load_homes },
	{ "forge", load_forge },
	{ "stream-send", load_stream_send },
	{ "stream-receive", load_stream_receive },
};

static int usage(void)
{
	fprintf(stderr, "ike_load: see the head of bench/load/load.c\n");
	return 2;
}

static bool style_of(const char *s, enum party_style *style)
{
	static const char *const names[] = { "psk", "raw", "cert" };

	for (unsigned i = 0; i < 3; i++)
		if (!strcmp(s, names[i])) {
			*style = (enum party_style)i;
			return true;
		}
	return false;
}

static bool option(struct load_args *a, int c, const char *v)
{
	switch (c) {
	case 's':
		return !endpoint_parse(v, 4500, &a->server);
	case 'f':
		return !prefix_parse(v, &a->from);
	case 'y':
		return style_of(v, &a->style);
	case 'k':
		a->keys = v;
		return true;
	case 'n':
		a->homes = (uint32_t)strtoul(v, NULL, 10);
		return a->homes > 0 && a->homes <= 65000;
	case 'p':
		a->parallel = (uint32_t)strtoul(v, NULL, 10);
		return a->parallel > 0;
	case 'r':
		a->rate = (uint32_t)strtoul(v, NULL, 10);
		return a->rate > 0;
	case 'b':
		a->bytes = (uint32_t)strtoul(v, NULL, 10);
		return a->bytes >= 8 && a->bytes <= 1400;
	case 't':
		a->seconds = strtod(v, NULL);
		return a->seconds > 0;
	default:
		return false;
	}
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "server", 1, NULL, 's' }, { "from", 1, NULL, 'f' },  { "style", 1, NULL, 'y' },
		{ "keys", 1, NULL, 'k' },   { "homes", 1, NULL, 'n' }, { "parallel", 1, NULL, 'p' },
		{ "rate", 1, NULL, 'r' },   { "bytes", 1, NULL, 'b' }, { "seconds", 1, NULL, 't' },
		{ NULL, 0, NULL, 0 },
	};
	struct load_args a = {
		.homes = 1000, .parallel = 64, .rate = 1000, .bytes = 1000, .seconds = 5
	};
	int c;

	log_setup("ike_load", LOG_LVL_ERR, 2);
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc < 2)
		return usage();
	while ((c = getopt_long(argc - 1, argv + 1, "", options, NULL)) != -1)
		if (!option(&a, c, optarg))
			return usage();
	for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++)
		if (!strcmp(argv[1], commands[i].name))
			return commands[i].run(&a);
	return usage();
}
