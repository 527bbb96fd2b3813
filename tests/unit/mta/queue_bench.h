/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TESTS_QUEUE_BENCH_H
#define TESTS_QUEUE_BENCH_H

/* What the tests of the queue process share: siblings that note what they are told, and answer. */

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "clock.h"
#include "log.h"
#include "proc_mta.h"
#include "queue.h"
#include "queue_driver.h"

#define FLOW 200

struct bench {
	uint16_t code[FLOW + 1]; /* last answer for a transaction */
	uint8_t id[FLOW + 1][LETTER_ID_LEN];
	bool duplicate[FLOW + 1];
	bool sent[FLOW + 1];
	int delivered[FLOW + 1]; /* attempts that reached the end of the body */
	uint64_t credit;
	uint64_t body_sum;
	uint64_t sum_of[FLOW + 1];
	uint64_t body_len;
	enum rcpt_result answer;
	enum fault_scope scope;
	uint16_t reply;
	int attempts, committed, strange;
	char sender[64];
	char body[4096];
};

static inline void on_stored(struct driver *d, uint32_t txn, const struct msg_q_stored *m)
{
	struct bench *b = d->arg;

	if (txn <= FLOW) {
		b->code[txn] = m->code;
		b->duplicate[txn] = m->duplicate;
	}
}

static inline void on_credit(struct driver *d, uint32_t txn, uint32_t bytes)
{
	(void)txn;
	((struct bench *)d->arg)->credit += bytes;
}

static inline void on_attempt(struct driver *d, uint32_t id, const struct msg_r_attempt *m, int fd)
{
	struct bench *b = d->arg;
	struct envelope e;
	ssize_t n;

	b->attempts++;
	b->body_len = m->body_len;
	b->body_sum = 0;
	memset(b->body, 0, sizeof(b->body));
	if (m->flags & MSG_R_INLINE) {
		memcpy(b->body, m->body,
		       m->body_len < sizeof(b->body) ? m->body_len : sizeof(b->body) - 1);
		for (uint64_t i = 0; i < m->body_len; i++)
			b->body_sum += m->body[i];
	} else {
		static uint8_t buf[65536];

		for (uint64_t at = 0;
		     (n = pread(fd, buf, sizeof(buf), (off_t)(m->body_off + at))) > 0;
		     at += (uint64_t)n)
			for (ssize_t i = 0; i < n; i++)
				b->body_sum += buf[i];
	}
	if (envelope_parse(&e, m->env, m->env_len)) {
		b->strange++;
		return;
	}
	snprintf(b->sender, sizeof(b->sender), "%s", e.sender);
	for (int i = 1; i <= FLOW; i++)
		if (b->sent[i] && !memcmp(b->id[i], e.id, LETTER_ID_LEN)) {
			b->delivered[i]++;
			b->sum_of[i] = b->body_sum;
		}
	envelope_clear(&e);
	driver_result(d, id, m, b->answer, b->scope, b->reply);
}

static inline void on_committed(struct driver *d, uint32_t id)
{
	(void)id;
	((struct bench *)d->arg)->committed++;
}

static inline struct driver *start(struct bench *b, const char *extra)
{
	struct driver *d = driver_new(extra);

	memset(b, 0, sizeof(*b));
	b->answer = RCPT_RES_DELIVERED;
	b->reply = 250;
	d->arg = b;
	d->stored = on_stored;
	d->credit = on_credit;
	d->attempt = on_attempt;
	d->committed = on_committed;
	assert_true(driver_start(d));
	return d;
}

static inline void wait_for(struct driver *d, const int *n, int want)
{
	for (int i = 0; i < 3000 && *n < want && !d->closed; i++)
		driver_turn(d, 20);
	assert_true(*n >= want);
}

static inline void wait_code(struct driver *d, struct bench *b, uint32_t txn)
{
	for (int i = 0; i < 3000 && !b->code[txn] && !d->closed; i++)
		driver_turn(d, 20);
	assert_true(b->code[txn]);
}

static inline void turns(struct driver *d, int ms)
{
	for (uint64_t end = clock_boot_ms() + (uint64_t)ms; clock_boot_ms() < end;)
		driver_turn(d, 20);
}

/* Attempts that the test answers itself. */
static struct {
	uint32_t id[8];
	char route[8][64];
	size_t count;
} kept;

static inline void keep_attempt(struct driver *d, uint32_t id, const struct msg_r_attempt *m,
				int fd)
{
	(void)d;
	(void)fd;
	assert_true(kept.count < 8);
	snprintf(kept.route[kept.count], sizeof(kept.route[0]), "%s", m->route);
	kept.id[kept.count++] = id;
}

static inline void wait_kept(struct driver *d, size_t want)
{
	for (int i = 0; i < 3000 && kept.count < want && !d->closed; i++)
		driver_turn(d, 20);
	assert_true(kept.count >= want);
}

#endif
