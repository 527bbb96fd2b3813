/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "client.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t told;

static void on_done(void *arg, struct out_letter *l)
{
	(void)arg;
	for (size_t i = 0; i < l->rcpt_count; i++) {
		if (!l->rcpt[i].settled)
			abort();
	}
	told++;
}

static ssize_t read_body(struct out_letter *l, uint64_t off, void *buf, size_t len)
{
	static const char body[] = ".x\r\ny\n.";

	(void)l;
	if (off >= sizeof(body) - 1)
		return 0;
	if (len > sizeof(body) - 1 - off)
		len = sizeof(body) - 1 - (size_t)off;
	memcpy(buf, body + off, len);
	return (ssize_t)len;
}

/* First byte: what kind of session; the rest is what the next hop says, cut at bytes 0xff. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct client c;
	struct out_rcpt rcpt[3][2];
	struct out_letter letters[3];
	struct client_conf conf = { .ehlo = "us.example", .done = on_done };
	size_t given = 0;

	if (!size)
		return 0;
	conf.lmtp = data[0] & 1;
	conf.hop = data[0] & 2;
	conf.tls = data[0] & 4 ? TLS_MAY : TLS_NONE;
	conf.username = data[0] & 8 ? "u" : NULL;
	conf.password = "p";
	data++;
	size--;
	told = 0;
	memset(rcpt, 0, sizeof(rcpt));
	memset(letters, 0, sizeof(letters));
	client_start(&c, &conf);
	while (size && c.want != CLIENT_OVER) {
		const uint8_t *end = memchr(data, 0xff, size);
		size_t n = end ? (size_t)(end - data) : size;
		const char *out;
		size_t len;

		client_input(&c, data, n);
		if (c.want == CLIENT_TLS)
			client_tls_done(&c);
		while (given < 3 && client_can_take(&c)) {
			struct out_letter *l = &letters[given];

			for (int i = 0; i < 2; i++)
				rcpt[given][i] =
				    (struct out_rcpt){ .addr = "b@c.example", .orcpt = "" };
			*l = (struct out_letter){ .sender = "a@b.example",
						  .size = 7,
						  .rcpt_count = 2,
						  .rcpt = rcpt[given],
						  .read = read_body };
			given++;
			client_letter(&c, l);
		}
		while ((len = client_output(&c, &out)) && c.want != CLIENT_OVER)
			client_sent(&c, len > 5 ? 5 : len);
		n += end ? 1 : 0;
		data += n;
		size -= n;
	}
	client_lost(&c, "end");
	if (told != given)
		abort();
	client_clear(&c);
	return 0;
}
