/* SPDX-License-Identifier: GPL-3.0-or-later */
/* One command line: a failure always has a reply, a success holds to its bounds. */
#include <assert.h>
#include <string.h>

#include "command.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const uint32_t offers[] = { 0, OFFER_SIZE | OFFER_8BITMIME | OFFER_SMTPUTF8,
					   UINT32_MAX };
	struct command_mail m;
	struct command_rcpt c;
	const char *arg;
	uint64_t size;
	size_t n;
	bool last;

	command_verb((const char *)data, len, &arg, &n);
	assert(n <= len);
	(void)command_helo_valid(arg, n);
	for (int i = 0; i < 3; i++) {
		struct reply r = { 0 };

		if (command_mail(arg, n, offers[i], &m, &r))
			assert(strlen(m.envid) < sizeof(m.envid) &&
			       !m.hop.helo[sizeof(m.hop.helo) - 1]);
		else
			assert(r.code >= 500 && r.text);
		r.code = 0;
		if (command_rcpt(arg, n, offers[i], i, &c, &r))
			assert(c.rcpt.len && strlen(c.orcpt) < sizeof(c.orcpt));
		else
			assert(r.code >= 500 && r.text);
		r.code = 0;
		if (!command_bdat(arg, n, &size, &last, &r))
			assert(r.code == 501);
	}
	return 0;
}
