/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Theory: each negotiation that fails is one line in the log and one field in status. Both are made
 * here, so that all of them have the same parts:
 *
 *	what failed: theirs: what they sent; ours: what we have; `key`: what to change
 *			[decided by key, FILE:LINE] (why, address of the peer)
 *
 * The first `key` of a text is the one that decided; engine_ops.where() knows where it stands. Text
 * from the network is printed by functions that escape it. What a stranger can cause is limited by
 * sa_may_log().
 */
#include "engine_int.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define OFFER_TEXT 200 /* of one list of proposals */
#define TS_TEXT	   100

/* The first word between backquotes. */
static void first_key(const char *text, char *out, size_t cap)
{
	const char *a = strchr(text, '`'), *b = a ? strchr(a + 1, '`') : NULL;

	out[0] = '\0';
	if (b && (size_t)(b - a) <= cap)
		snprintf(out, cap, "%.*s", (int)(b - a - 1), a + 1);
}

static void add_where(struct engine *e, struct fx *f)
{
	char where[ENGINE_WHERE_MAX] = "";
	size_t n = strlen(f->failed.text);

	if (!f->failed.key[0] || !e->ops->where)
		return;
	e->ops->where(e->arg, f->failed.peer, f->failed.key, where, sizeof(where));
	if (where[0])
		snprintf(f->failed.text + n, sizeof(f->failed.text) - n, " [decided by %s, %s]",
			 f->failed.key, where);
}

void explain(struct engine *e, const struct peer_entry *pe, const struct ike_sa *sa,
	     const struct engine_path *path, enum engine_why why, bool by_peer, const char *fmt,
	     ...)
{
	struct fx *f = fx_add(e, FX_FAILED);
	char from[ENDPOINT_STR_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(f->failed.text, sizeof(f->failed.text), fmt, ap);
	va_end(ap);
	f->failed.peer = pe ? pe->p->id : 0;
	first_key(f->failed.text, f->failed.key, sizeof(f->failed.key));
	add_where(e, f);
	f->failed.ike = sa ? sa->handle : 0;
	f->failed.why = why;
	f->failed.by_peer = by_peer;
	f->failed.claim = sa && sa->peer && !ike_sa_peers(sa) && !sa->auth->proved;
	f->failed.path = *path;
	if (sa_may_log(e, sa, path))
		log_warn(sa   ? &sa->log
			 : pe ? &pe->log
			      : NULL,
			 "%s (%s, %s)", f->failed.text, engine_why_str(why),
			 endpoint_str(&path->remote, from));
}

/* ---- proposals ---- */

/* As proposals_str(), and what did not fit shows. */
static const char *offer_text(const struct proposals *ps, char out[static OFFER_TEXT])
{
	proposals_str(ps, out, OFFER_TEXT);
	if (strlen(out) == OFFER_TEXT - 1)
		memcpy(out + OFFER_TEXT - 4, "...", 4);
	return out;
}

static void no_proposal(struct engine *e, const struct ike_sa *sa, const struct engine_path *path,
			const struct proposals *offer, const struct proposals *ours)
{
	bool ike = offer->count && offer->p[0].proto == PROTO_IKE;
	char theirs[OFFER_TEXT], mine[OFFER_TEXT], weak[OFFER_TEXT];

	offer_text(offer, theirs);
	offer_text(ours, mine);
	if (proposals_lack(offer, weak, sizeof(weak)))
		explain(
		    e, sa ? sa->peer : NULL, sa, path, ENGINE_WHY_NO_PROPOSAL, false,
		    "no common %s proposal: theirs: %s; ours: %s; Postern has no %s, too weak or "
		    "not written: no value of `%s` helps, give the other side one such as %s",
		    ike ? "IKE" : "ESP", theirs, mine, weak,
		    ike ? "ike-proposals" : "esp-proposals",
		    ike ? "aes256gcm16-prfsha256-ecp256" : "aes256gcm16");
	else
		explain(
		    e, sa ? sa->peer : NULL, sa, path, ENGINE_WHY_NO_PROPOSAL, false,
		    "no common %s proposal: theirs: %s; ours: %s; `%s`: add one of theirs here, "
		    "or one of ours there",
		    ike ? "IKE" : "ESP", theirs, mine, ike ? "ike-proposals" : "esp-proposals");
}

void explain_ike_offer(struct engine *e, const struct engine_path *path,
		       const struct proposals *offer, const struct proposals *ours)
{
	static const struct proposals none;

	no_proposal(e, NULL, path, offer, ours ? ours : &none);
}

void explain_call(struct engine *e, struct ike_sa *sa, enum engine_why why, uint16_t notify)
{
	char ours[OFFER_TEXT], name[IKE_NOTIFY_STR_MAX];

	if (notify == CHILDLESS_IKEV2_SUPPORTED)
		explain(e, sa->peer, sa, &sa->path, why, false,
			"the peer's answer to IKE_SA_INIT does not say that it can do without a "
			"CHILD SA in IKE_AUTH; `childless`: force asks for just that, prefer does "
			"not insist");
	else
		explain(e, sa->peer, sa, &sa->path, why, true,
			"the peer refused IKE_SA_INIT with %s (unauthenticated); ours: %s; "
			"`ike-proposals`: compare with the other side's, its log says what it "
			"accepts",
			ike_notify_str(notify, name),
			offer_text(sa->peer->p->ike, ours));
}

/* ---- identity and proof ---- */

static const char *id_text(const struct engine_id *id, char *out, size_t cap)
{
	return pld_id_str(id->type, id_span(id), out, cap);
}

static const char *secret_key_name(const struct engine_auth_local *l)
{
	return l->kind == ENGINE_AUTH_PSK ? "psk" : "private-key";
}

void explain_caller(struct engine *e, struct ike_sa *sa, const struct ike_msg *m, const char *why)
{
	const struct peer_entry *pe = sa->auth->unknown ? NULL : sa->peer;
	char idi[100], idr[100], from[ADDR_STR_MAX], other[400];
	const struct peer_entry *there;

	pld_id_str(m->idi.type, (struct span){ m->idi.data, m->idi.len }, idi, sizeof(idi));
	if (m->idr.body.p)
		pld_id_str(m->idr.type, (struct span){ m->idr.data, m->idr.len }, idr, sizeof(idr));
	else
		snprintf(idr, sizeof(idr), "anybody");
	there = peer_by_id(e, sa->auth->elsewhere);
	if (there) {
		snprintf(other, sizeof(other),
			 "`from` of [peer %s] does not hold %s; add its network there",
			 there->p->name, addr_str(&sa->auth->path.remote.addr, from));
		why = other;
	} else if (sa->auth->unknown) {
		why =
		    "no peer section has this `identity`; add one, or correct what the other side "
		    "says it is and whom it calls";
	}
	explain(e, pe, sa, &sa->auth->path, ENGINE_WHY_AUTH_FAILED, false,
		"refused: caller says it is %s and wants %s: %s", idi, idr, why);
}

void explain_refused_auth(struct engine *e, struct ike_sa *sa, uint16_t notify, enum engine_why why)
{
	const struct engine_peer *p = sa->peer->p;
	char us[80], them[80], name[IKE_NOTIFY_STR_MAX];

	explain(e, sa->peer, sa, &sa->path, why, true,
		"the peer answers %s: we are %s (%s) and called it %s; `%s`, `local-auth`, "
		"`identity`: compare them with the other side's, its log says which",
		ike_notify_str(notify, name), id_text(&p->local_id, us, sizeof(us)),
		sa->auth->method == AUTH_SHARED_KEY
		    ? "PSK"
		    : sig_scheme_name((enum sig_scheme)sa->auth->scheme),
		id_text(&p->remote_id, them, sizeof(them)), secret_key_name(&p->local_auth));
}

const char *explain_unsigned(const struct ike_sa *sa)
{
	const struct engine_auth_local *l = &sa->peer->p->local_auth;

	if (l->key_type == KEY_RSA && !sa->auth->peer_hashes)
		return "`private-key` is RSA, and the peer sent no SIGNATURE_HASH_ALGORITHMS (RFC "
		       "7427): what remains for RSA is method 1 with SHA-1, which Postern does not "
		       "have; take an ECDSA key, or an IKEv2 with RFC 7427 there";
	if (l->key_type == KEY_ED25519)
		return "`private-key` is Ed25519, and the peer does not say that it can check that "
		       "(RFC 8420); take an ECDSA or RSA key, or a newer IKEv2 there";
	return "`private-key`: the peer announces no hash (SHA-2) with which its signatures can be "
	       "checked";
}

void explain_our_secret(struct engine *e, struct ike_sa *sa, const struct engine_path *path)
{
	explain(e, sa->peer, sa, path, ENGINE_WHY_LOCAL, false,
		"the keys process cannot use our `%s`: the log of the start or of the last reload "
		"says why, and so does postern check",
		secret_key_name(&sa->peer->p->local_auth));
}

/* ---- CHILD SAs ---- */

/* What the configuration has for one side of @p, all CHILD SAs together. */
static void ours_of(const struct engine_peer *p, bool local, struct ts_list *out)
{
	out->count = 0;
	for (size_t i = 0; i < p->child_count; i++) {
		const struct engine_child_conf *c = &p->child[i];
		const struct engine_ts *v = local ? c->local_ts : c->remote_ts;
		size_t n = local ? c->local_ts_count : c->remote_ts_count;

		for (size_t k = 0; k < n; k++)
			if (!v[k].assigned)
				(void)ts_append(out, &v[k].ts);
	}
	for (size_t i = 0; !local && i < p->assign_count; i++) {
		struct prefix host = prefix_host(&p->assign[i]);
		struct ts t = ts_from_prefix(&host);

		(void)ts_append(out, &t);
	}
}

static void no_selectors(struct engine *e, struct ike_sa *sa, const struct engine_path *path,
			 const struct ike_msg *m)
{
	struct ts_list *l = calloc(5, sizeof(*l)); /* TSi, TSr, our local, our remote, spare */
	char a[TS_TEXT], b[TS_TEXT], c[TS_TEXT], d[TS_TEXT];
	bool local;

	if (!l || ts_parse(m->tsi, &l[0]) || ts_parse(m->tsr, &l[1])) {
		free(l);
		return;
	}
	ours_of(sa->peer->p, true, &l[2]);
	ours_of(sa->peer->p, false, &l[3]);
	/* TSr is what it wants to reach on our side. */
	local = ts_narrow(&l[1], &l[2], &l[4]) != 0;
	explain(e, sa->peer, sa, path, ENGINE_WHY_TS, false,
		"no common selectors: theirs: %s === %s; ours: %s === %s; %s",
		ts_list_str(&l[0], a, sizeof(a)), ts_list_str(&l[1], b, sizeof(b)),
		ts_list_str(&l[3], c, sizeof(c)), ts_list_str(&l[2], d, sizeof(d)),
		local
		    ? "`local-ts` (else `tunnel-address`) does not hold what it wants to reach "
		      "here: widen it, or its remote side there"
		    : "`remote-ts` (else `networks`, `assign`) does not hold what it says it has: "
		      "widen it, or its local side there");
	free(l);
}

static void no_esp_proposal(struct engine *e, struct ike_sa *sa, const struct engine_path *path,
			    const struct ike_msg *m)
{
	const struct engine_peer *p = sa->peer->p;
	struct proposals *ps = calloc(1, sizeof(*ps));

	if (ps && m->sa.p && !sa_parse(m->sa, ps))
		no_proposal(e, sa, path, ps,
			    p->child_count && p->child[0].esp ? p->child[0].esp : p->esp);
	free(ps);
}

void explain_child(struct engine *e, struct ike_sa *sa, const struct engine_path *path,
		   const struct ike_msg *m, uint16_t notify)
{
	char name[IKE_NOTIFY_STR_MAX];

	switch (notify) {
	case TS_UNACCEPTABLE:
		no_selectors(e, sa, path, m);
		return;
	case NO_PROPOSAL_CHOSEN:
		if (m->sa.p)
			no_esp_proposal(e, sa, path, m);
		else
			explain(e, sa->peer, sa, path, ENGINE_WHY_REFUSED, false,
				"it asks for no CHILD SA in IKE_AUTH, which we did not say it may; "
				"the IKE SA stays; `childless`: allow, prefer or force take that");
		return;
	default:
		if (sa_may_log(e, sa, path))
			log_info(&sa->log, "a CHILD SA of the peer's is refused with %s",
				 ike_notify_str(notify, name));
	}
}

void explain_child_by_peer(struct engine *e, struct ike_sa *sa, const struct child_sa *c,
			   uint16_t notify, const char *what)
{
	const struct engine_peer *p = sa->peer->p;
	struct ts_list *l = calloc(2, sizeof(*l));
	char a[TS_TEXT] = "", b[TS_TEXT] = "", offer[OFFER_TEXT], name[IKE_NOTIFY_STR_MAX];

	if (l && c)
		child_wish(c, NULL, &l[0], &l[1]);
	if (l && !c) {
		ours_of(p, true, &l[0]);
		ours_of(p, false, &l[1]);
	}
	if (l) {
		ts_list_str(&l[0], a, sizeof(a));
		ts_list_str(&l[1], b, sizeof(b));
	}
	free(l);
	if (notify == TS_UNACCEPTABLE)
		explain(
		    e, sa->peer, sa, &sa->path, ENGINE_WHY_TS, true,
		    "the peer refuses %s with %s: ours: %s === %s; `remote-ts` (else `networks`, "
		    "`local-ts`): compare with the other side's, its log says what it has",
		    what, ike_notify_str(notify, name), a, b);
	else if (notify == NO_PROPOSAL_CHOSEN || notify == INVALID_KE_PAYLOAD)
		explain(e, sa->peer, sa, &sa->path, ENGINE_WHY_NO_PROPOSAL, true,
			"the peer refuses %s with %s: ours: %s; `esp-proposals`: compare with the "
			"other side's, its log says what it accepts",
			what, ike_notify_str(notify, name),
			offer_text(p->child_count && p->child[0].esp ? p->child[0].esp : p->esp,
				   offer));
	else if (notify == INTERNAL_ADDRESS_FAILURE || notify == FAILED_CP_REQUIRED)
		explain(e, sa->peer, sa, &sa->path, ENGINE_WHY_ADDRESS, true,
			"the peer refuses %s with %s: it has no tunnel address for us; "
			"`request-address`: no, with a `tunnel-address` of our own, or an address "
			"for us there (`assign`)",
			what, ike_notify_str(notify, name));
	else
		explain(e, sa->peer, sa, &sa->path, ENGINE_WHY_REFUSED, true,
			"the peer refuses %s with %s; its log says more", what,
			ike_notify_str(notify, name));
}
