/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a taken-over child can send to parent, keys and resolver, and what the child takes from them:
 * one byte says who receives, one how many descriptors, four the type, the rest is the message.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "policy.h"
#include "wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static const char conf[] =
    "[posternd]\nidentity = a.example\nprivate-key = k\n"
    "[peer home]\naddress = h.example\nidentity = b.example\npublic-key = p\n"
    "networks = 10.77.0.0/16, fd77::/64\nstart = always\nrequest-address = yes\n";

static bool nothing_local(const struct prefix *p, struct prefix *which, void *arg)
{
	(void)p;
	(void)which;
	(void)arg;
	return false;
}

/* What the policy lets pass must hold whatever the bytes were. */
static void judge(const struct ipc_msg *m)
{
	static struct config *cfg;
	struct policy p = { .local = nothing_local };
	char why[POLICY_WHY_MAX];

	if (!cfg)
		cfg = config_make(conf_parse(&config_schema, "/x.conf", conf, sizeof(conf) - 1));
	assert(cfg && conf_ok(cfg->conf));
	p.cfg = cfg;
	if (m->type == PQ_ADDR_ADD) {
		struct pq_addr q;

		memcpy(&q, m->data, sizeof(q));
		if (!policy_addr(&p, &q, why)) {
			assert(!strcmp(q.peer, "home"));
			assert(q.addr.len == addr_bits(&q.addr.addr));
		}
	} else if (m->type == PQ_ROUTE_ADD) {
		struct pq_route q;

		memcpy(&q, m->data, sizeof(q));
		if (!policy_route(&p, &q, why))
			assert(prefix_covers(&cfg->peers[0].networks[0], &q.dst) ||
			       prefix_covers(&cfg->peers[0].networks[1], &q.dst));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static int (*const check[])(const struct ipc_msg *m,
				    const char **why) = { proc_check_request, proc_check_keys,
							  proc_check_resolver, proc_check_reply };
	struct rd r = rd_init(data, len);
	uint8_t who = rd_u8(&r) & 3, fds = rd_u8(&r) & 3;
	struct ipc_msg m = { .type = rd_be32(&r), .fd_count = fds };
	const char *why;

	if (r.bad)
		return 0;
	m.len = rd_left(&r);
	m.data = rd_take(&r, m.len);
	if (!check[who](&m, &why) && who == 0)
		judge(&m);
	return 0;
}
