/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "deliver.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "wire.h"

static void text_put(struct wr *w, const char *s)
{
	size_t len = strlen(s);

	if (len > UINT16_MAX)
		w->bad = true;
	wr_be16(w, (uint16_t)len);
	wr_bytes(w, s, len);
}

static void text_get(struct rd *r, char *to, size_t cap)
{
	size_t len = rd_be16(r);
	const uint8_t *p = rd_take(r, len);

	to[0] = 0;
	if (!p || len >= cap) {
		r->bad = true;
		return;
	}
	for (size_t i = 0; i < len; i++) {
		if (p[i] < 0x20 || p[i] == 0x7f)
			r->bad = true;
	}
	memcpy(to, p, len);
	to[len] = 0;
}

int deliver_request_build(const struct deliver_request *r, uint8_t out[static DELIVER_PACKET_MAX],
			  size_t *len)
{
	struct wr w = wr_init(out, DELIVER_PACKET_MAX);

	wr_bytes(&w, "PDL2", 4);
	wr_bytes(&w, r->id, sizeof(r->id));
	wr_be64(&w, r->size);
	wr_be32(&w, r->number);
	wr_be64(&w, r->received_s);
	wr_u8(&w, r->repeat);
	text_put(&w, r->recipient);
	text_put(&w, r->sender);
	return wr_finish(&w, len);
}

int deliver_request_parse(struct deliver_request *r, const void *data, size_t len)
{
	struct rd in = rd_init(data, len);
	const uint8_t *magic = rd_take(&in, 4);
	uint8_t repeat;

	memset(r, 0, sizeof(*r));
	if (!magic || memcmp(magic, "PDL2", 4) || len > DELIVER_PACKET_MAX)
		return -EBADMSG;
	rd_copy(&in, r->id, sizeof(r->id));
	r->size = rd_be64(&in);
	r->number = rd_be32(&in);
	r->received_s = rd_be64(&in);
	repeat = rd_u8(&in);
	r->repeat = repeat;
	text_get(&in, r->recipient, sizeof(r->recipient));
	text_get(&in, r->sender, sizeof(r->sender));
	if (in.bad || rd_left(&in) || repeat > 1 || !r->recipient[0] || r->size > DELIVER_SIZE_MAX)
		return -EBADMSG;
	return 0;
}

int deliver_answer_build(const struct deliver_answer *a, uint8_t out[static DELIVER_PACKET_MAX],
			 size_t *len)
{
	struct wr w = wr_init(out, DELIVER_PACKET_MAX);

	wr_bytes(&w, "PDA1", 4);
	wr_be32(&w, a->number);
	wr_u8(&w, (uint8_t)a->status);
	text_put(&w, a->text);
	return wr_finish(&w, len);
}

int deliver_answer_parse(struct deliver_answer *a, const void *data, size_t len)
{
	struct rd in = rd_init(data, len);
	const uint8_t *magic = rd_take(&in, 4);
	uint8_t status;

	memset(a, 0, sizeof(*a));
	if (!magic || memcmp(magic, "PDA1", 4))
		return -EBADMSG;
	a->number = rd_be32(&in);
	status = rd_u8(&in);
	text_get(&in, a->text, sizeof(a->text));
	if (in.bad || rd_left(&in) || status >= DELIVER_STATUSES)
		return -EBADMSG;
	a->status = (enum deliver_status)status;
	return 0;
}

int deliver_body_check(int fd, uint64_t size)
{
	const int seals = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW;
	struct stat st;
	int have;

	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || (uint64_t)st.st_size != size)
		return -EPROTO;
	have = fcntl(fd, F_GET_SEALS); /* -1 of a file that knows none, and -1 has every bit */
	return have >= 0 && (have & seals) == seals ? 0 : -EPROTO;
}
