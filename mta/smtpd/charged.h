/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SMTPD_CHARGED_H
#define SMTPD_CHARGED_H

/*
 * Whose bytes-per-recipient the letter under way counts for, and how often: joe+a and joe+b are two copies
 * in one mailbox, so the second needs room for both. What is charged is what came, once it is stored.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "limit.h"

struct charged_mailbox {
	char *name;
	uint32_t copies;
};

struct charged {
	struct charged_mailbox *v;
	size_t count;
};

/**
 * charged_room() - Is there room for one more copy in @mailbox, behind those that the letter has there?
 * @bytes: of the letter as announced; 0: it was not.
 */
bool charged_room(const struct charged *c, struct limit *l, const char *mailbox, uint64_t bytes,
		  uint64_t per_hour, uint64_t now_ms);
/** charged_add() - The letter has one more copy there. */
void charged_add(struct charged *c, const char *mailbox);
/** charged_settle() - It is stored, and each copy has @bytes. */
void charged_settle(const struct charged *c, struct limit *l, uint64_t bytes, uint64_t per_hour,
		    uint64_t now_ms);
void charged_clear(struct charged *c);

#endif
