/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Theory: NAT detection (RFC 7296 s2.23) has two uses here that are kept apart. ESP is always
 * encapsulated in UDP, and the peer must agree to that: so the initiator sends a false SOURCE hash, and the
 * responder one where the initiator's hashes show no NAT. Where NATs really are is judged from
 * DESTINATION hashes alone, which are always true: the peer's tells how our own address looks from
 * outside.
 */
#include "engine_int.h"
#include "digest.h"

static void add(struct ike_build *b, uint16_t type, uint64_t spi_i, uint64_t spi_r,
		const struct endpoint *ep)
{
	uint8_t h[SHA1_LEN];

	if (!nat_detection_hash(spi_i, spi_r, ep, h))
		pld_notify_add(b, type, (struct span){ h, sizeof(h) });
}

static void add_false(struct engine *e, struct ike_build *b)
{
	uint8_t h[SHA1_LEN];

	engine_random(e, h, sizeof(h));
	pld_notify_add(b, NAT_DETECTION_SOURCE_IP, (struct span){ h, sizeof(h) });
}

void nat_add_initiator(struct engine *e, struct ike_build *b, uint64_t spi_i, uint64_t spi_r,
		       const struct engine_path *path)
{
	add_false(e, b);
	add(b, NAT_DETECTION_DESTINATION_IP, spi_i, spi_r, &path->remote);
}

static bool matches(const struct pld_notify *n, const struct ike_hdr *h, const struct endpoint *ep)
{
	uint8_t x[SHA1_LEN];

	return n->len == sizeof(x) && !nat_detection_hash(h->spi_i, h->spi_r, ep, x) &&
	       !memcmp(x, n->data, sizeof(x));
}

/* Is @ep among the hashes of that type? A sender with several addresses sends several. */
static bool among(const struct ike_msg *m, uint16_t type, const struct endpoint *ep, bool *any)
{
	*any = false;
	for (unsigned i = 0; i < m->n_notifies; i++) {
		if (m->notifies[i].type != type)
			continue;
		*any = true;
		if (matches(&m->notifies[i], &m->hdr, ep))
			return true;
	}
	return false;
}

void nat_add_responder(struct engine *e, struct ike_build *b, uint64_t spi_i, uint64_t spi_r,
		       const struct engine_path *path, const struct ike_msg *request)
{
	bool s, d;

	if (among(request, NAT_DETECTION_SOURCE_IP, &path->remote, &s) &&
	    among(request, NAT_DETECTION_DESTINATION_IP, &path->local, &d))
		add_false(e, b);
	else
		add(b, NAT_DETECTION_SOURCE_IP, spi_i, spi_r, &path->local);
	add(b, NAT_DETECTION_DESTINATION_IP, spi_i, spi_r, &path->remote);
}

static void judge(const struct ike_msg *m, const struct engine_path *path, bool postern_caller,
		  bool *nat_local, bool *nat_remote)
{
	bool any, match;

	match = among(m, NAT_DETECTION_DESTINATION_IP, &path->local, &any);
	if (any)
		*nat_local = !match;
	match = among(m, NAT_DETECTION_SOURCE_IP, &path->remote, &any);
	/* A Postern initiator's SOURCE says nothing: assume what is usual for the calling side. */
	if (postern_caller)
		*nat_remote = true;
	else if (any)
		*nat_remote = !match;
}

void nat_judge_init(const struct ike_msg *m, const struct engine_path *path, bool *nat_local,
		    bool *nat_remote)
{
	judge(m, path, ike_msg_is_postern(m), nat_local, nat_remote);
}

void nat_judge(struct ike_sa *sa, const struct ike_msg *m, const struct engine_path *path)
{
	judge(m, path, sa->postern && !sa->series_initiator, &sa->nat_local, &sa->nat_remote);
}

bool nat_seen(struct ike_sa *sa, const struct ike_msg *m)
{
	const struct pld_notify *n = ike_msg_notify(m, NAT_DETECTION_DESTINATION_IP);
	bool other;

	if (!n || n->len != sizeof(sa->seen))
		return false;
	other = sa->has_seen && memcmp(sa->seen, n->data, sizeof(sa->seen)) != 0;
	memcpy(sa->seen, n->data, sizeof(sa->seen));
	sa->has_seen = true;
	return other;
}
