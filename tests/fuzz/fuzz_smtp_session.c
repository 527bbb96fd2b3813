/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A client's whole byte stream. The first byte picks the listener; the stream goes in whole and in
 * small pieces, with answers at once and late, and replies and letters must be the same.
 */
#include "../unit/mta/smtp_drive.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static struct drive *run(const uint8_t *data, size_t len, size_t step, bool late)
{
	struct drive *d = drive_new();
	uint8_t kind = len ? data[0] : 0;

	d->step = step;
	d->late = late;
	d->conf.auth_offered = kind & 1;
	d->conf.auth_in_clear = kind & 2;
	d->conf.complete_header = d->conf.check_from = kind & 4;
	d->conf.dsn = kind & 8;
	d->conf.peer = kind & 16 ? "home" : NULL;
	d->conf.xpostern = kind & 16;
	d->conf.normalize = kind & 32;
	d->conf.size_max_bytes = kind & 64 ? 1000 : 1 << 20;
	drive_begin(d);
	if (len)
		drive_bytes(d, data + 1, len - 1);
	session_eof(&d->s);
	drive_collect(d);
	return d;
}

static void same(const struct drive *a, const struct drive *b)
{
	assert(a->letters == b->letters);
	assert(a->out_len == b->out_len && !memcmp(a->out, b->out, a->out_len));
	for (size_t i = 0; i < a->letters && i < DRIVE_LETTERS; i++) {
		const uint8_t *p = a->letter[i].body;

		assert(a->letter[i].body_len == b->letter[i].body_len);
		assert(a->letter[i].rcpt_count == b->letter[i].rcpt_count &&
		       a->letter[i].rcpt_count);
		for (size_t k = 0; k < a->letter[i].body_len;
		     k++) /* case 8: never a bare newline */
			assert(p[k] && (p[k] != '\n' || (k && p[k - 1] == '\r')));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	/* STARTTLS looks at what stands behind it in one piece: there pieces do matter. */
	bool tls = memmem(data, len, "S\r\n", 3) || memmem(data, len, "s\r\n", 3);
	struct drive *a, *b, *c;

	log_setup("fuzz", LOG_LVL_ERR, 2);
	a = run(data, len, 0, false);
	b = run(data, len, 1, true);
	c = run(data, len, 7, false);
	if (!tls) {
		same(a, b);
		same(a, c);
	}
	drive_free(a);
	drive_free(b);
	drive_free(c);
	return 0;
}
