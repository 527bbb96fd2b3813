/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TESTS_EXCHANGE_YEAR_FAULT_H
#define TESTS_EXCHANGE_YEAR_FAULT_H

/* The faults of a year (test_year.c): which there are, what each does, how long it lasts. */

#include "year.h"

#define SECOND	       1000ull
#define MINUTE	       (60 * SECOND)
#define HOUR	       (60 * MINUTE)

enum fault {
	CUT,
	CUT_TO_HOME,
	CUT_TO_VPS,
	REBIND,
	ADDRESS,
	NAT_REBOOT,
	VPS_KILLED,
	VPS_STOPPED,
	VPS_REBOOT,
	HOME_KILLED,
	HOME_STOPPED,
	HOME_REBOOT,
	VPS_MOVES,
	NO_DNS,
	SLEEP,
	ICMP,
	LIES,
	ROUTE,
	LOSS,
	STUCK,
	FAULTS,
};

struct event {
	enum fault fault;
	uint64_t begin_ms, end_ms;
	bool begun, ended;
};

struct story {
	struct year *y;
	struct event ev[3];
	int events;
	uint64_t ok_ms; /* since when all works; 0: it does not */
	bool stuck;
	bool moved_asleep;
	bool served[2];
	uint64_t since_ms[2], bound_ms[2];
	bool traffic_after; /* who is idle wants something in the end */
	int episode;
	uint64_t seed;
	const char *why;
};

extern const char *const fault_name[FAULTS];

uint64_t year_between(struct year *y, uint64_t min, uint64_t max);
/** year_length() - As often a few seconds as a few minutes or hours. */
uint64_t year_length(struct year *y, uint64_t min, uint64_t max);
/** year_new_address() - The home's NAT has another one outside. */
void year_new_address(struct year *y);
/** faults_draw() - One, two or three for an episode, with their times. */
void faults_draw(struct story *s);
/** fault_begin(), fault_end() - Do to the year what it is. */
void fault_begin(struct story *s, struct event *ev);
void fault_end(struct story *s, struct event *ev);
/** fault_active() - It has begun and not ended. */
bool fault_active(const struct story *s, enum fault f);
/** faults_follow() - What comes of all that are under way. */
void faults_follow(struct story *s);

#endif
