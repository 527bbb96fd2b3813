/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Records as libunbound hands them over: the first byte is what was asked and how it went, then
 * records, each with its length before it. Names are those of a host, hosts stand in the order of their
 * preference, addresses in the room that each family has.
 */
#include <stdlib.h>
#include <string.h>

#include "mx.h"

#define RECORDS_MAX 256

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void judge_name(const char *s)
{
	if (strlen(s) >= MTA_DOMAIN_MAX ||
	    s[strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-_.")] || *s == '.' || strstr(s, ".."))
		abort();
}

static void judge_mx(const struct resolver_answer *a)
{
	static struct lookup_host host[LOOKUP_MX_MAX];
	struct lookup_mx out;
	size_t count;

	mx_hosts("asked.example", a, host, &count, &out);
	if (count > LOOKUP_MX_MAX || (count && out.status != LOOKUP_OK) ||
	    (out.status == LOOKUP_NULL_MX && count))
		abort();
	for (size_t i = 0; i < count; i++) {
		judge_name(host[i].name);
		if (!host[i].name[0] || (i && host[i - 1].preference > host[i].preference))
			abort();
		for (size_t k = 0; k < i; k++) {
			if (!strcmp(host[i].name, host[k].name))
				abort();
		}
		mx_addrs(&host[i], RR_A, a);
		mx_addrs(&host[i], RR_AAAA, a);
		if (host[i].addr_count > LOOKUP_ADDRS_MAX)
			abort();
	}
	mx_finish(host, &count, &out);
	if (count && out.status != LOOKUP_OK)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *record[RECORDS_MAX + 1];
	int len[RECORDS_MAX + 1];
	struct resolver_answer a = { .data = record, .len = len };
	char name[MTA_DOMAIN_MAX];
	size_t n = 0;

	if (!size)
		return 0;
	a.status = data[0] & 1 ? LOOKUP_OK : data[0] & 2 ? LOOKUP_NONE : LOOKUP_TEMPFAIL;
	a.exists = data[0] & 4;
	a.secure = data[0] & 8;
	data++;
	size--;
	while (size && n < RECORDS_MAX) {
		size_t want = data[0] < size ? data[0] : size - 1;

		/* Of its own, so that a read past its end is seen. */
		record[n] = malloc(want ? want : 1);
		if (!record[n])
			abort();
		memcpy(record[n], data + 1, want);
		len[n++] = (int)want;
		data += 1 + want;
		size -= 1 + want;
	}
	record[n] = NULL;
	for (size_t i = 0; i < n; i++) {
		int used = mx_name(record[i], (size_t)len[i], name);

		if (used > len[i])
			abort();
		if (used > 0)
			judge_name(name);
	}
	judge_mx(&a);
	while (n)
		free(record[--n]);
	return 0;
}
