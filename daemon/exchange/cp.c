/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Configuration payloads (RFC 7296 s2.19, s3.15): the initiator asks for addresses inside the tunnel and
 * for name servers there, the responder gives what it has.
 *
 *	CP(CFG_REQUEST) {INTERNAL_IP4_ADDRESS, INTERNAL_IP6_ADDRESS, INTERNAL_IP4_DNS, ..} -->
 *			<-- CP(CFG_REPLY) {INTERNAL_IP4_ADDRESS(a), .., INTERNAL_IP4_DNS(d), ..}
 *			<-- N(INTERNAL_ADDRESS_FAILURE)
 *
 * They go with the request for a CHILD SA, in IKE_AUTH, and again in CREATE_CHILD_SA as long as there is
 * no address. Attributes that we do not know or have no use for are passed over (s3.15.1).
 */
#include "engine_int.h"

#include <stdio.h>

static struct span none(void)
{
	return (struct span){ NULL, 0 };
}

bool cp_missing(const struct ike_sa *sa)
{
	const struct peer_entry *pe = sa->peer;

	return (pe->p->request_v4 || pe->p->request_v6) && !pe->v4.family && !pe->v6.family;
}

void cp_wish(const struct ike_sa *sa, struct ike_build *b)
{
	const struct engine_peer *p = sa->peer->p;
	struct wr *w;

	if (!p->request_v4 && !p->request_v6)
		return;
	w = cp_begin(b, CFG_REQUEST);
	if (p->request_v4)
		cp_attr_add(w, INTERNAL_IP4_ADDRESS, none());
	if (p->request_v6)
		cp_attr_add(w, INTERNAL_IP6_ADDRESS, none());
	if (p->request_v4)
		cp_attr_add(w, INTERNAL_IP4_DNS, none());
	if (p->request_v6)
		cp_attr_add(w, INTERNAL_IP6_DNS, none());
	cp_end(b);
}

/* One that a resolver could be told to ask; each once. */
static void take_dns(struct fx *f, const struct addr *a)
{
	size_t n = f->addresses.dns_count;

	if (n >= ENGINE_DNS_MAX || addr_is_unspecified(a) || addr_is_loopback(a) ||
	    a->b[0] == 0xff || (a->family == AF_INET && a->b[0] >= 224))
		return;
	for (size_t i = 0; i < n; i++)
		if (addr_eq(&f->addresses.dns[i], a))
			return;
	f->addresses.dns[n] = *a;
	f->addresses.dns_count++;
}

void cp_take(struct engine *e, struct ike_sa *sa, const struct ike_msg *m)
{
	const struct engine_peer *p = sa->peer->p;
	struct pld_cp cp = { 0 };
	struct fx *f;

	if (!m->cp.p || cp_parse(m->cp, &cp) || cp.type != CFG_REPLY)
		cp = (struct pld_cp){ 0 };
	/* None now: what an earlier IKE SA brought is not ours any more. */
	if (!cp.count && !sa->peer->v4.family && !sa->peer->v6.family)
		return;
	f = fx_add(e, FX_ADDRESSES);
	f->addresses.peer = p->id;
	f->addresses.ike = sa->handle;
	for (unsigned i = 0; i < cp.count; i++) {
		struct addr a;

		if (cp_attr_addr(&cp.attrs[i], &a))
			continue;
		switch (cp.attrs[i].type) {
		case INTERNAL_IP4_ADDRESS:
			if (p->request_v4)
				f->addresses.v4 = a;
			break;
		case INTERNAL_IP6_ADDRESS:
			if (p->request_v6)
				f->addresses.v6 = a;
			break;
		case INTERNAL_IP4_DNS:
		case INTERNAL_IP6_DNS:
			if (p->request_v4 || p->request_v6)
				take_dns(f, &a);
			break;
		default:
			break;
		}
	}
	sa->peer->v4 = f->addresses.v4;
	sa->peer->v6 = f->addresses.v6;
}

/* ---- responder ---- */

struct wish {
	bool v4, v6, dns4, dns6;
};

static bool wish_parse(const struct ike_msg *m, struct wish *w)
{
	struct pld_cp cp;

	if (!m->cp.p || cp_parse(m->cp, &cp) || cp.type != CFG_REQUEST)
		return false;
	for (unsigned i = 0; i < cp.count; i++) {
		w->v4 |= cp.attrs[i].type == INTERNAL_IP4_ADDRESS;
		w->v6 |= cp.attrs[i].type == INTERNAL_IP6_ADDRESS;
		w->dns4 |= cp.attrs[i].type == INTERNAL_IP4_DNS;
		w->dns6 |= cp.attrs[i].type == INTERNAL_IP6_DNS;
	}
	return true;
}

/* The first of `assign` of each family that is wanted, else one from the pool. */
static void find_addresses(struct engine *e, struct ike_sa *sa, const struct wish *w,
			   struct addr out[static 2])
{
	const struct engine_peer *p = sa->peer->p;
	bool want[2] = { w->v4, w->v6 };

	for (size_t i = 0; i < p->assign_count; i++) {
		int s = p->assign[i].family == AF_INET6;

		if (want[s])
			out[s] = p->assign[i];
		want[s] &= !out[s].family;
	}
	if (!want[0] && !want[1])
		return;
	snprintf(e->cp_why, sizeof(e->cp_why),
		 "its `assign` has none of that family, and it has "
		 "no `pool`");
	if (p->pool && e->ops->address_lease) {
		struct addr got[2] = { { 0 }, { 0 } };
		int rc = e->ops->address_lease(e->arg, p->id, want[0], want[1], got, e->cp_why,
					       sizeof(e->cp_why));

		for (int s = 0; !rc && s < 2; s++) {
			if (!want[s] || !got[s].family)
				continue;
			out[s] = got[s];
			sa->peer->lease[s] = got[s];
		}
	}
}

static void give_dns(const struct engine_peer *p, const struct wish *want, struct wr *w)
{
	for (size_t i = 0; i < p->dns_count && i < ENGINE_DNS_MAX; i++) {
		const struct addr *a = &p->dns[i];
		bool v4 = a->family == AF_INET;

		if (v4 ? want->dns4 : want->dns6)
			cp_attr_add(w, v4 ? INTERNAL_IP4_DNS : INTERNAL_IP6_DNS,
				    (struct span){ a->b, addr_len(a) });
	}
}

bool cp_give(struct engine *e, struct ike_sa *sa, const struct ike_msg *m, struct ike_build *b)
{
	struct addr a[2] = { { 0 }, { 0 } };
	struct wish want = { 0 };
	struct wr *w;

	if (!wish_parse(m, &want))
		return true;
	find_addresses(e, sa, &want, a);
	if ((want.v4 || want.v6) && !a[0].family && !a[1].family) {
		explain(e, sa->peer, sa, &sa->path, ENGINE_WHY_ADDRESS, false,
			"it asks for an address in the tunnel and gets none: %s", e->cp_why);
		return false;
	}
	w = cp_begin(b, CFG_REPLY);
	for (int s = 0; s < 2; s++)
		if (a[s].family)
			cp_attr_add_addr(w, &a[s], (uint8_t)addr_bits(&a[s]));
	give_dns(sa->peer->p, &want, w);
	cp_end(b);
	return true;
}
