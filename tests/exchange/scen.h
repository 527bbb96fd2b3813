/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TESTS_EXCHANGE_SCEN_H
#define TESTS_EXCHANGE_SCEN_H

/*
 * Theory: scenarios, step by step. Nothing moves but by ask(), answer() and their like, each of which
 * says what the packet must be, in the RFC's notation. After every step both sides must still open what
 * the other sends, until the scenario says that traffic may stop (w->may_break). At its end time
 * runs, both must agree on one IKE SA and one CHILD SA (or on none: w->gone), and nothing
 * may be left over.
 *
 * Every scenario runs four times: each side may have initiated the IKE SA, and each may be the one that
 * the scenario calls a.
 */

#include "world.h"

/* Requests, and answers to them. */
#define REKEY_CHILD   "CREATE_CHILD_SA { N(REKEY_SA), SA, Ni, KEi, TSi, TSr }"
#define NEW_CHILD     "CREATE_CHILD_SA { SA, Ni, KEi, TSi, TSr }"
#define CHILD_MADE    "CREATE_CHILD_SA { SA, Nr, KEr, TSi, TSr }"
#define REKEY_IKE     "CREATE_CHILD_SA { SA, Ni, KEi, N(QCD_TOKEN) }"
#define IKE_MADE      "CREATE_CHILD_SA { SA, Nr, KEr, N(QCD_TOKEN) }"
#define NOT_NOW	      "CREATE_CHILD_SA { N(TEMPORARY_FAILURE) }"
#define NO_SUCH_CHILD "CREATE_CHILD_SA { N(CHILD_SA_NOT_FOUND) }"
#define WRONG_GROUP   "CREATE_CHILD_SA { N(INVALID_KE_PAYLOAD) }"
#define NO_PROPOSAL   "CREATE_CHILD_SA { N(NO_PROPOSAL_CHOSEN) }"
#define DELETE_CHILD  "INFORMATIONAL { D }"
#define DELETE_IKE    "INFORMATIONAL { D(IKE) }"
#define EMPTY	      "INFORMATIONAL { }"
#define ALIVE	                                                                                    \
	"INFORMATIONAL { N(NAT_DETECTION_SOURCE_IP), N(NAT_DETECTION_DESTINATION_IP), N(COOKIE2) }"

typedef void scenario(struct world *w, int a, int b);

/**
 * scen_each() - Run it in all roles, and each @variants times (w->variant).
 * @setup, if any, changes the configuration before the start.
 */
void scen_each(scenario *run, scenario *setup, int variants);

#define SCENARIO_OF(name, setup, variants)                                                         \
	static void name##_steps(struct world *w, int a, int b);                                   \
	static void name(void **s)                                                                 \
	{                                                                                          \
		(void)s;                                                                           \
		scen_each(name##_steps, setup, variants);                                          \
	}                                                                                          \
	static void name##_steps(struct world *w, int a, int b)
#define SCENARIO(name) SCENARIO_OF(name, NULL, 1)

/** ask(), answer() - The oldest request (answer) of @from in flight says @text; it arrives now. */
void ask(struct world *w, int from, const char *text);
void answer(struct world *w, int from, const char *text);
/** ask_held(), answer_held() - The same, but it waits until world_put(). */
struct flight ask_held(struct world *w, int from, const char *text);
struct flight answer_held(struct world *w, int from, const char *text);
/** ask_lost(), answer_lost() - The same, but it never arrives. */
void ask_lost(struct world *w, int from, const char *text);
void answer_lost(struct world *w, int from, const char *text);
/** late() - What was held arrives. */
void late(struct world *w, struct flight f);
/** quiet() - Nothing is in flight. */
void quiet(struct world *w);

/** spi_of_child() - Inbound SPI of the one usable CHILD SA of the IKE SA that is up. */
uint32_t spi_of_child(struct world *w, int h);
/** usable() - How many CHILD SAs it has that can be used. */
unsigned usable(struct world *w, int h);
void rekey_child(struct world *w, int h);
void rekey_ike(struct world *w, int h);
void delete_child(struct world *w, int h);
void delete_ike(struct world *w, int h);
/** nonces() - First octet of all nonces of @h from now on. */
void nonces(struct world *w, int h, uint8_t lead);
void works_both_ways(struct world *w);
/** passes() - Time goes by, but nothing arrives. */
void passes(struct world *w, uint64_t ms);
/** events() - CHILD SAs that came up anew, were rekeyed, went down on @h since the start. */
void events(struct world *w, int h, unsigned up, unsigned rekeyed, unsigned down);
/** groups() - Offer and accept these KE groups and no others, in this order; up to two, 0: none. */
void groups(struct proposals *ps, uint16_t first, uint16_t second);
/** stray_delete() - A Delete for CHILD SA @spi_in that the engine of @h knows nothing of. */
void stray_delete(struct world *w, int h, uint32_t spi_in);
/** forget_child() - The engine of @h loses it without a word. */
void forget_child(struct world *w, int h, uint32_t spi_in);

#endif
