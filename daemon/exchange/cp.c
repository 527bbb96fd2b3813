/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Configuration payloads (RFC 7296 s2.19, s3.15): the initiator asks for addresses inside the tunnel, the
 * responder gives them.
 *
 *	CP(CFG_REQUEST) {INTERNAL_IP4_ADDRESS, INTERNAL_IP6_ADDRESS} -->
 *			<-- CP(CFG_REPLY) {INTERNAL_IP4_ADDRESS(a), INTERNAL_IP6_ADDRESS(a)}
 *			<-- N(INTERNAL_ADDRESS_FAILURE)
 */
#include "engine_int.h"

void cp_wish(struct ike_build *b, const struct engine_peer *p)
{
	struct wr *w;

	if (!p->request_v4 && !p->request_v6)
		return;
	w = cp_begin(b, CFG_REQUEST);
	if (p->request_v4)
		cp_attr_add(w, INTERNAL_IP4_ADDRESS, (struct span){ NULL, 0 });
	if (p->request_v6)
		cp_attr_add(w, INTERNAL_IP6_ADDRESS, (struct span){ NULL, 0 });
	cp_end(b);
}

void cp_take(struct engine *e, struct ike_sa *sa, const struct ike_msg *m)
{
	const struct engine_peer *p = sa->peer->p;
	struct pld_cp cp;
	struct fx *f;

	if (!m->cp.p || cp_parse(m->cp, &cp) || cp.type != CFG_REPLY)
		return;
	f = fx_add(e, FX_ADDRESSES);
	f->addresses.peer = p->id;
	f->addresses.ike = sa->handle;
	for (unsigned i = 0; i < cp.count; i++) {
		struct addr a;

		if (cp_attr_addr(&cp.attrs[i], &a))
			continue;
		if (cp.attrs[i].type == INTERNAL_IP4_ADDRESS && p->request_v4)
			f->addresses.v4 = a;
		else if (cp.attrs[i].type == INTERNAL_IP6_ADDRESS && p->request_v6)
			f->addresses.v6 = a;
	}
	sa->peer->v4 = f->addresses.v4;
	sa->peer->v6 = f->addresses.v6;
}

bool cp_give(struct ike_sa *sa, const struct ike_msg *m, struct ike_build *b)
{
	const struct engine_peer *p = sa->peer->p;
	const struct addr *v4 = NULL, *v6 = NULL;
	bool want4 = false, want6 = false;
	struct pld_cp cp;
	struct wr *w;

	if (!m->cp.p || cp_parse(m->cp, &cp) || cp.type != CFG_REQUEST)
		return true;
	for (unsigned i = 0; i < cp.count; i++) {
		want4 |= cp.attrs[i].type == INTERNAL_IP4_ADDRESS;
		want6 |= cp.attrs[i].type == INTERNAL_IP6_ADDRESS;
	}
	for (size_t i = p->assign_count; i-- > 0;) {
		if (p->assign[i].family == AF_INET && want4)
			v4 = &p->assign[i];
		else if (p->assign[i].family == AF_INET6 && want6)
			v6 = &p->assign[i];
	}
	if (!v4 && !v6)
		return !want4 && !want6;
	w = cp_begin(b, CFG_REPLY);
	if (v4)
		cp_attr_add_addr(w, v4, 32);
	if (v6)
		cp_attr_add_addr(w, v6, 128);
	cp_end(b);
	return true;
}
