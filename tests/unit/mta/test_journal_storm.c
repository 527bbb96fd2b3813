/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A journal in bad weather: the disk is full, or its syncs fail, or both, it comes back, and processes and
 * machines die amid that, several times in a row, by a random number. What was acknowledged is there after every
 * start; what was refused is there after none; and what a start has read, or has not, stays so.
 */
#include "journal_bench.h"

#define ROUNDS 12
#define STEPS  40

struct storm {
	struct bench *b;
	uint32_t seed, next;
	bool settled[RECS_MAX], there[RECS_MAX]; /* as the first start after it found it */
};

static uint32_t chance(struct storm *s, uint32_t n)
{
	s->seed = s->seed * 1664525u + 1013904223u;
	return (s->seed >> 8) % n;
}

static void weather(struct storm *s)
{
	struct simvfs *d = s->b->disk;
	struct vfs_space sp;

	switch (chance(s, 12)) {
	case 0: /* full, be it by a part of a segment */
		d->space = UINT64_MAX / 4;
		d->vfs.space(&d->vfs, &sp);
		d->space = UINT64_MAX / 4 - sp.bytes + chance(s, 2 * SEG);
		break;
	case 1:
		d->full = chance(s, 2);
		break;
	case 2:
		d->fail_sync_at = d->syncs + 1 + chance(s, 4);
		d->fail_syncs = chance(s, 2) ? 0 : chance(s, 12);
		break;
	case 6:
		d->fail_at = d->ops + 1 + chance(s, 10);
		break;
	case 3:
		d->vfs.unlink(&d->vfs, "spare"); /* its owner uses it, or it is gone */
		break;
	case 4:
	case 5:
		d->space = 0;
		d->full = false;
		d->fail_sync_at = 0;
		break;
	default:
		break;
	}
}

static void live(struct storm *s)
{
	for (int i = 0; i < STEPS && !s->b->disk->dead; i++) {
		weather(s);
		for (uint32_t n = chance(s, 4); n; n--, s->next++)
			append(s->b, s->next, chance(s, 2));
		for (uint32_t n = chance(s, 6); n; n--)
			worker_step(s->b->worker);
		if (!chance(s, 5))
			journal_tick(s->b->j);
	}
}

static void check(struct storm *s, int round)
{
	struct bench *b = s->b;

	assert_int_equal(b->strange, 0);
	for (uint32_t n = 0; n < s->next; n++) {
		if (b->acked[n] && !b->seen[n])
			fail_msg("round %d: record %u was acknowledged and is lost", round, n);
		if (b->refused[n] && b->seen[n])
			fail_msg("round %d: record %u was refused and is there", round, n);
		if (b->seen[n] > 1)
			fail_msg("round %d: record %u is there %d times", round, n, b->seen[n]);
		if (s->settled[n] && s->there[n] != (b->seen[n] > 0))
			fail_msg("round %d: record %u %s", round, n,
				 s->there[n] ? "was read and is gone" : "comes back late");
		s->settled[n] = true;
		s->there[n] = b->seen[n] > 0;
	}
}

static void storm(uint32_t seed)
{
	struct storm s = { .b = bench_new(seed), .seed = seed * 7919 };

	assert_int_equal(start(s.b), 0);
	for (int round = 0; round < ROUNDS; round++) {
		bool power = chance(&s, 2);

		if (chance(&s, 3))
			s.b->disk->die_at = s.b->disk->ops + 1 + chance(&s, 200);
		live(&s);
		if (!s.b->disk->dead && chance(&s, 2)) {
			journal_close(s.b->j);
			s.b->j = NULL;
		} else {
			s.b->disk->dead = true;
			cut_off(s.b);
		}
		simvfs_restart(s.b->disk, power);
		/* A start that fails is tried again, with the disk that it failed on mended. */
		if (!chance(&s, 3))
			s.b->disk->fail_sync_at = 1 + chance(&s, 6);
		if (!chance(&s, 3))
			s.b->disk->fail_at = 1 + chance(&s, 30);
		if (start(s.b)) {
			s.b->disk->space = 0;
			s.b->disk->full = false;
			simvfs_restart(s.b->disk, chance(&s, 2));
			assert_int_equal(start(s.b), 0);
		}
		check(&s, round);
	}
	bench_free(s.b);
}

static void mail_case_057_a_full_and_failing_disk_loses_nothing_over_many_starts(void **state)
{
	(void)state;
	for (uint32_t seed = 21; seed <= 40; seed++)
		storm(seed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    mail_case_057_a_full_and_failing_disk_loses_nothing_over_many_starts),
	};

	log_setup("test_journal_storm", LOG_LVL_ERR, -1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
