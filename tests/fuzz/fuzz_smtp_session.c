/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A client's whole byte stream. The first byte picks the listener; the stream goes in whole and in
 * small pieces, with answers at once and late, and replies and letters must be the same.
 */
#include <strings.h>

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
	d->conf.xpostern = d->conf.publishes = d->conf.traces = kind & 16;
	d->story = kind & 32 ? "[{}]\n" : NULL;
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
	assert(a->publications == b->publications && a->publication_len == b->publication_len &&
	       !memcmp(a->publication, b->publication, a->publication_len));
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

/* STARTTLS looks at what stands behind it in one piece: where it may stand, pieces do matter. */
static bool may_start_tls(const uint8_t *p, size_t len)
{
	for (size_t i = 0; i + 3 <= len; i++) {
		if (!strncasecmp((const char *)p + i, "TLS", 3))
			return true;
	}
	return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct drive *a, *b, *c;

	log_setup("fuzz", LOG_LVL_ERR, 2);
	a = run(data, len, 0, false);
	b = run(data, len, 1, true);
	c = run(data, len, 7, false);
	if (!may_start_tls(data, len)) {
		same(a, b);
		same(a, c);
	}
	drive_free(a);
	drive_free(b);
	drive_free(c);
	return 0;
}
