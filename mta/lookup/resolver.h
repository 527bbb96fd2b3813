/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_LOOKUP_RESOLVER_H
#define MTA_LOOKUP_RESOLVER_H

/*
 * Theory: libunbound with its worker thread and its descriptor in our loop. Its settings freeze at
 * the first question, so a change (reload, another resolv.conf) makes a new context; the old
 * one answers what it was asked and goes then. Chains of CNAMEs, truncation, TCP and forged
 * answers are libunbound's; time and the count of open questions are bounded here.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bundle.h"
#include "config.h"
#include "lookup.h"
#include "loop.h"

#define RESOLVER_OPEN_MAX 4096

enum { RR_A = 1, RR_PTR = 12, RR_MX = 15, RR_AAAA = 28 };

struct resolver;

struct resolver_answer {
	enum lookup_status status; /* OK: records; NONE; TEMPFAIL */
	bool exists;		   /* with NONE: the name is there, without such records */
	bool secure;
	uint8_t *const *data; /* NULL-terminated; during the callback */
	const int *len;
};

/** resolver_new() - NULL on failure, which is logged. */
struct resolver *resolver_new(struct loop *l);
void resolver_free(struct resolver *r);
/** resolver_setup() - Take the settings; @resolv is the text of resolv.conf. 0 or -errno. */
int resolver_setup(struct resolver *r, const struct mta_config *c, const struct bundle *b,
		   const char *resolv);
/**
 * resolver_ask() - One question; exactly one callback, never from inside.
 * 0, -EAGAIN (too many are open), -EINVAL (not a name), -ENOMEM.
 */
int resolver_ask(struct resolver *r, const char *name, int type,
		 void (*done)(void *arg, const struct resolver_answer *a), void *arg);

#endif
