/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef VECTORS_IKE_BODIES_H
#define VECTORS_IKE_BODIES_H

/* For the fuzz targets: everything that the engine does with the bodies of a parsed message. */

#include "payload.h"
#include "proposal_words.h"
#include "selector.h"
#include "sign.h"

static inline void use_bodies(const struct ike_msg *m)
{
	static struct proposals ours, offer;
	static struct ts_list a, b, narrowed;
	struct sa_choice c;
	char text[300];
	struct addr addr;
	struct pld_cp cp;
	struct span sig;
	enum sig_scheme s;

	if (m->sa.p && !sa_parse(m->sa, &offer)) {
		proposals_default_ike(&ours, true);
		sa_choose(&ours, &offer, m->ke.group, false, &c);
		sa_check_reply(&ours, &offer, false, &c);
		proposals_default_esp(&ours, true, true);
		sa_choose(&ours, &offer, m->ke.group, false, &c);
		sa_check_reply(&ours, &offer, true, &c);
		proposals_str(&offer, text, sizeof(text));
		sa_choice_str(&c, text, sizeof(text));
	}
	if (m->tsi.p && m->tsr.p && !ts_parse(m->tsi, &a) && !ts_parse(m->tsr, &b)) {
		ts_narrow(&a, &b, &narrowed);
		ts_narrow(&a, &a, &narrowed);
		ts_list_str(&a, text, sizeof(text));
	}
	if (m->cp.p && !cp_parse(m->cp, &cp)) {
		for (unsigned i = 0; i < cp.count; i++)
			cp_attr_addr(&cp.attrs[i], &addr);
	}
	if (m->idi.body.p) {
		struct span id = { m->idi.data, m->idi.len };

		pld_id_str(m->idi.type, id, text, sizeof(text));
		pld_id_equal(m->idi.type, id, m->idr.type,
			     (struct span){ m->idr.data, m->idr.len });
	}
	if (m->auth.method)
		sig_auth_parse(m->auth.method, m->auth.data, m->auth.len, &s, &sig);
	for (unsigned i = 0; i < m->n_notifies; i++) {
		pld_hashes_parse(&m->notifies[i]);
		pld_notify_spi(&m->notifies[i]);
	}
	for (unsigned i = 0; i < m->n_deletes; i++) {
		for (unsigned k = 0; k <= m->deletes[i].count; k++)
			pld_delete_spi(&m->deletes[i], k);
	}
	ike_msg_is_postern(m);
	ike_msg_error(m);
}

#endif
