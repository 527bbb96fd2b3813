/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

/* What the subcommands of ike_load share. Results go to stdout as one JSON object a line. */

#include <stdint.h>

#include "party.h"

struct load_args {
	struct endpoint server; /* --server ADDR:PORT */
	struct prefix from;	/* --from ADDR or PREFIX: where we are, or whom we claim to be */
	enum party_style style; /* --style psk | raw | cert */
	const char *keys;	/* --keys DIR: see party.h */
	uint32_t homes;		/* --homes N */
	uint32_t parallel;	/* --parallel N: calls under way at once */
	uint32_t rate;		/* --rate N: packets in a second */
	uint32_t bytes;		/* --bytes N: payload of each */
	double seconds;		/* --seconds S */
};

uint64_t load_ns(void);	    /* CLOCK_MONOTONIC */
uint64_t load_cpu_ns(void); /* of this thread */
/** load_init() - The IKE_SA_INIT that a Postern sends first; the SPI is to be changed. */
size_t load_init(uint8_t *out, size_t cap, const struct proposals *offer);

int load_engine(const struct load_args *a);
int load_homes(const struct load_args *a);
int load_forge(const struct load_args *a);
int load_stream_send(const struct load_args *a);
int load_stream_receive(const struct load_args *a);

#endif
