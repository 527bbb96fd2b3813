/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Theory: proof of identity (RFC 7296 s2.15, RFC 7427). Private keys and PSKs live in the keys process, so
 * making our AUTH, and checking a PSK, is a question (FX_AUTH) and a later answer. Public key
 * signatures are verified here.
 *
 * An identity that nobody configured goes the same way as a wrong key: one MAC with a key that does
 * not exist (key_ref 0), or one verification against a key that nobody owns (motions.c), then the same
 * answer. So does a proof of another kind than the one that is configured.
 */
#include "engine_int.h"

#include <stdio.h>
#include <stdlib.h>

#define OCTETS_MAX (ENGINE_MSG_MAX + NONCE_LEN_MAX + PRF_LEN_MAX)

size_t id_body(const struct engine_id *id, uint8_t out[static 260])
{
	memset(out, 0, 4);
	out[0] = id->type;
	memcpy(out + 4, id->data, id->len);
	return 4 + id->len;
}

/* The octets that one side signs; @ours or the peer's. Caller wipes and frees. */
static uint8_t *octets_of(const struct ike_sa *sa, bool ours, struct span body, size_t *len)
{
	const struct auth_ctx *a = sa->auth;
	bool i = ours == sa->initiator; /* the signer is the initiator */
	struct span msg = { i ? a->msg_i : a->msg_r, i ? a->msg_i_len : a->msg_r_len };
	struct span nonce = nonce_span(i ? &a->nr : &a->ni);
	size_t cap = msg.len + nonce.len + PRF_LEN_MAX;
	uint8_t *out = malloc(cap);

	if (out && auth_octets_build(sa->suite.prf, i ? &sa->keys.sk_pi : &sa->keys.sk_pr, msg,
				     nonce, body, out, cap, len)) {
		free(out);
		out = NULL;
	}
	return out;
}

/* Takes @octets. */
static void ask(struct engine *e, struct ike_sa *sa, enum fx_auth_op op, uint32_t key_ref,
		uint8_t *octets, size_t len)
{
	size_t had = e->fx->count;
	struct fx *f = fx_add(e, FX_AUTH);

	if (e->fx->count == had) {
		free(octets);
		return; /* the half-open timer ends it */
	}
	sa->auth->token = ++e->next_token << 32 | sa->handle;
	f->auth.token = sa->auth->token;
	f->auth.op = op;
	f->auth.key_ref = key_ref;
	f->auth.scheme = op == FX_AUTH_SIGN ? (enum sig_scheme)sa->auth->scheme : SIG_NONE;
	f->auth.prf = sa->suite.prf;
	f->auth.octets = octets;
	f->auth.len = len;
	f->auth.peer = sa->peer ? sa->peer->p->id : 0;
}

int auth_ask_ours(struct engine *e, struct ike_sa *sa)
{
	const struct engine_peer *p = sa->peer->p;
	struct auth_ctx *a = sa->auth;
	uint8_t body[260], *octets;
	size_t len;

	if (p->local_auth.kind == ENGINE_AUTH_PSK) {
		a->method = AUTH_SHARED_KEY;
		a->scheme = SIG_NONE;
	} else {
		a->scheme = (int)sig_scheme_pick(p->local_auth.key_type, a->peer_hashes);
		if (a->scheme == SIG_NONE)
			return -ENOTSUP;
		a->method = (uint8_t)sig_scheme_method((enum sig_scheme)a->scheme);
	}
	len = id_body(&p->local_id, body);
	octets = octets_of(sa, true, (struct span){ body, len }, &len);
	if (!octets)
		return -ENOMEM;
	a->want = AUTH_WANT_OURS;
	ask(e, sa, a->scheme == SIG_NONE ? FX_AUTH_PSK_MAC : FX_AUTH_SIGN, p->local_auth.key_ref,
	    octets, len);
	return 0;
}

int auth_add_ours(struct engine *e, struct ike_sa *sa, struct ike_build *b, const uint8_t *result,
		  size_t len)
{
	const struct engine_auth_local *l = &sa->peer->p->local_auth;
	struct auth_ctx *a = sa->auth;
	uint8_t data[SIG_AUTH_DATA_MAX];
	int err;

	if (!result || !len)
		return -EIO;
	if (l->kind == ENGINE_AUTH_CERT)
		for (size_t i = 0; i < l->chain_count; i++)
			pld_cert_add(b, CERT_X509_SIGNATURE, cert_der(l->chain[i]));
	if (a->scheme == SIG_NONE) {
		pld_auth_add(b, AUTH_SHARED_KEY, (struct span){ result, len });
		return 0;
	}
	err = sig_auth_build((enum sig_scheme)a->scheme, result, len, data, sizeof(data), &len);
	if (!err)
		pld_auth_add(b, a->method, (struct span){ data, len });
	return err;
}

void auth_certreq_add(struct engine *e, struct ike_build *b, const struct engine_peer *p)
{
	uint8_t ids[CERTREQ_KEYIDS_MAX][20];
	const struct ca_store *ca = p->remote_auth.ca;
	size_t n = 0;

	if (p->remote_auth.kind != ENGINE_AUTH_CERT || !ca)
		return;
	while (n < CERTREQ_KEYIDS_MAX && n < ca_store_count(ca) && !ca_store_keyid(ca, n, ids[n]))
		n++;
	if (n)
		pld_certreq_add(b, CERT_X509_SIGNATURE, (struct span){ ids, n * 20 });
}

/* ---- the peer's proof ---- */

static int verify_raw(struct engine *e, const struct engine_auth_remote *r, enum sig_scheme s,
		      struct span octets, struct span sig, char *why, size_t cap)
{
	char fp[KEY_FINGERPRINT_MAX];
	bool tried = false;

	for (size_t i = 0; i < r->public_key_count; i++) {
		if (!sig_scheme_fits(s, pubkey_type(r->public_key[i])))
			continue;
		tried = true;
		if (!sig_verify(r->public_key[i], s, octets, sig))
			return 0;
	}
	if (!tried)
		motions(e, s, octets, sig);
	snprintf(why, cap,
		 "the signature (%s) was not made with the key that `public-key` names%s%s; put its "
		 ".pub there, or its right private-key on the other side",
		 sig_scheme_name(s), r->public_key_count ? ": we expect " : "",
		 r->public_key_count ? pubkey_fingerprint(r->public_key[0], fp) : "");
	return -EKEYREJECTED;
}

static int verify_cert(struct engine *e, struct ike_sa *sa, const struct engine_auth_remote *r,
		       const struct ike_msg *m, const struct pld_id *id, enum sig_scheme s,
		       struct span octets, struct span sig, char *why, size_t cap)
{
	int64_t now = dates_now(e);
	struct span others[IKE_CERTS_MAX];
	struct cert *leaf = NULL;
	struct pubkey *key = NULL;
	bool tried = false;
	const char *text = NULL, *key_name = "ca";
	char subject[120];
	size_t n = 0;
	int err = -EKEYREJECTED;

	for (unsigned i = 0; i < m->n_certs; i++) {
		if (m->certs[i].encoding != CERT_X509_SIGNATURE)
			continue;
		if (!leaf && cert_parse(m->certs[i].data, m->certs[i].len, &leaf))
			goto out;
		others[n++] = (struct span){ m->certs[i].data, m->certs[i].len };
	}
	if (!leaf || !r->ca)
		goto out;
	if (!cert_has_id(leaf, id->type, id->data, id->len)) {
		text = "does not name this identity in its subjectAltName: name it there, or change "
		       "who it says it is";
		key_name = "identity";
		goto out;
	}
	err = cert_verify(leaf, others + 1, n - 1, r->ca, now, &text);
	if (!err)
		err = cert_pubkey(leaf, &key);
	tried = !err && sig_scheme_fits(s, pubkey_type(key));
	if (!err && (!tried || sig_verify(key, s, octets, sig))) {
		text = "is not that of the key that signed: its certificate and its private key do "
		       "not belong together";
		err = -EKEYREJECTED;
	}
	if (!err && now < 0)
		err = dates_keep(e, sa, leaf, others + 1, n - 1);
out:
	if (!tried)
		motions(e, s, octets, sig);
	if (err) {
		if (!leaf)
			snprintf(why, cap,
				 "it signed (%s), and sent no certificate that can be read; `ca` asks "
				 "for one, `public-key` would take its bare key",
				 sig_scheme_name(s));
		else
			snprintf(why, cap, "its certificate (%s) %s; `%s` decides",
				 cert_subject(leaf, subject, sizeof(subject)),
				 text ? text : "has no authority of ours", key_name);
		err = err == -ENOMEM ? err : -EKEYREJECTED;
	}
	pubkey_free(key);
	cert_free(leaf);
	return err;
}

/* The key that says how the peer has to prove itself, and what it asks for. */
static const char *proof_key(const struct engine_auth_remote *r)
{
	return !r || r->kind == ENGINE_AUTH_RAW ? "public-key"
	       : r->kind == ENGINE_AUTH_CERT	? "ca"
						: "psk";
}

static const char *proof_name(const struct engine_auth_remote *r)
{
	return !r || r->kind == ENGINE_AUTH_RAW ? "a signature by its key"
	       : r->kind == ENGINE_AUTH_CERT	? "a certificate"
						: "a PSK";
}

const char *auth_mismatch(const struct ike_sa *sa)
{
	return sa->peer->p->remote_auth.kind == ENGINE_AUTH_RAW
		   ? "it used a PSK, and `public-key` asks for a signature by its key; let it sign, "
		     "or set `psk` here instead"
		   : "it used a PSK, and `ca` asks for a certificate; let it use one, or set `psk` "
		     "here instead";
}

static int check_signature(struct engine *e, struct ike_sa *sa, const struct ike_msg *m,
			   const struct pld_id *id, struct span octets, char *why, size_t cap)
{
	const struct engine_auth_remote *r = sa->peer ? &sa->peer->p->remote_auth : NULL;
	enum sig_scheme s;
	struct span sig;
	int err;

	err = sig_auth_parse(m->auth.method, m->auth.data, m->auth.len, &s, &sig);
	if (err) {
		if (sig_auth_is_sha1(m->auth.method, m->auth.data, m->auth.len))
			snprintf(why, cap,
				 "it signed with SHA-1 (method %s), which Postern does not take, "
				 "whatever `%s` says; let it use SHA-2 (RFC 7427) there",
				 ike_auth_method_name(m->auth.method),
				 r && r->kind == ENGINE_AUTH_CERT ? "ca" : "public-key");
		else
			snprintf(why, cap,
				 "its AUTH (method %s) cannot be read or is not one that Postern has; "
				 "`%s` asks for %s",
				 ike_auth_method_name(m->auth.method), proof_key(r), proof_name(r));
		return -EKEYREJECTED;
	}
	if (sa->auth->unknown) {
		const struct engine_auth_remote nobody = {
			.ca = m->n_certs && !welcome_ready(e) ? e->any_ca : NULL,
		};

		(void)verify_cert(e, sa, &nobody, m, id, s, octets, sig, why, cap);
		return -EKEYREJECTED;
	}
	switch (r->kind) {
	case ENGINE_AUTH_RAW:
		return verify_raw(e, r, s, octets, sig, why, cap);
	case ENGINE_AUTH_CERT:
		return verify_cert(e, sa, r, m, id, s, octets, sig, why, cap);
	default:
		motions(e, s, octets, sig);
		snprintf(why, cap,
			 "it signed (%s), and for this peer `psk` asks for a PSK; let it use that, "
			 "or set `public-key` or `ca` here",
			 sig_scheme_name(s));
		return -EKEYREJECTED;
	}
}

int auth_check_peer(struct engine *e, struct ike_sa *sa, const struct ike_msg *m,
		    const struct pld_id *id, char *why, size_t cap)
{
	const struct engine_auth_remote *r = sa->peer ? &sa->peer->p->remote_auth : NULL;
	uint8_t *octets;
	size_t len;
	int err;

	octets = octets_of(sa, false, id->body, &len);
	if (!octets)
		return -ENOMEM;
	if (m->auth.method != AUTH_SHARED_KEY) {
		err = check_signature(e, sa, m, id, (struct span){ octets, len }, why, cap);
		secret_wipe(octets, len);
		free(octets);
		return err;
	}
	sa->auth->mismatch = r && r->kind != ENGINE_AUTH_PSK && !sa->auth->unknown;
	sa->auth->want = AUTH_WANT_PEERS;
	ask(e, sa, FX_AUTH_PSK_MAC, sa->auth->unknown || sa->auth->mismatch ? 0 : r->psk_ref,
	    octets, len);
	return 1;
}
