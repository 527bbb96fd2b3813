/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A segment of any bytes must be read without a fault, and the queue must open and take a letter
 * afterwards. First byte 0: the rest is the segment file. Else: the rest is one record, which
 * stands in a segment with good checksums, so that the fuzzer reaches what records contain.
 */
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "simvfs.h"
#include "store.h"

#define SEG (64 * 1024)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static int nothing(void *arg, struct journal_pos pos, uint64_t rid, const uint8_t *p, size_t n)
{
	(void)arg;
	(void)pos;
	(void)rid;
	(void)p;
	(void)n;
	return 0;
}

static void put_record(struct simvfs *disk, struct worker *w, const uint8_t *data, size_t len)
{
	struct journal_config cfg = {
		.vfs = &disk->vfs, .worker = w, .segment_bytes = SEG, .record = nothing
	};
	struct journal *j;

	if (journal_open(&j, &cfg))
		abort();
	journal_append(j, data, len, true, NULL);
	journal_close(j);
}

static void put_segment(struct simvfs *disk, const uint8_t *data, size_t len)
{
	struct vfs *v = &disk->vfs;
	int fd = v->open(v, "00000001.seg", true);
	static const uint8_t zero[SEG];

	if (fd < 0 || vfs_write_all(v, fd, zero, SEG, 0) ||
	    vfs_write_all(v, fd, data, len < SEG ? len : SEG, 0))
		abort();
	v->close(v, fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct simvfs *disk = simvfs_new(1);
	struct worker *w = worker_new(NULL);
	struct store_config cfg = { .vfs = &disk->vfs, .worker = w, .segment_bytes = SEG };
	struct store *s = NULL;
	int rc;

	log_setup("fuzz", LOG_LVL_ERR, -1);
	if (len && data[0])
		put_record(disk, w, data + 1, len - 1);
	else if (len)
		put_segment(disk, data + 1, len - 1);
	rc = store_open(&s, &cfg, 1000);
	if (!rc) {
		for (struct letter *l = store_oldest(s); l; l = l->newer) {
			struct store_reading r;

			if (!store_read(s, l, &r))
				store_reading_clear(&r);
		}
		store_tick(s, 5000);
		store_close(s);
	}
	worker_free(w);
	simvfs_free(disk);
	return 0;
}
