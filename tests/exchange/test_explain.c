/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Each kind of failure, on both sides: which key decided, and that the text has what both sides had.
 * The text is what the log and `postern status` show.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "certs.h"
#include "proposal_words.h"
#include "world.h"

struct told {
	enum engine_why why; /* NONE: this side has nothing to say */
	const char *key;     /* "": none decided */
	const char *has[3];
};

struct row {
	const char *name;
	enum auth_style style;
	void (*before)(struct world *w, int arg);
	int arg;
	void (*after)(struct world *w); /* engines are there */
	struct told home, vps;
};

static void only(struct proposals *ps, uint8_t proto, const char *words)
{
	char why[256];

	memset(ps, 0, sizeof(*ps));
	ps->count = 1;
	assert_int_equal(0, proposal_from_words(words, proto, &ps->p[0], why, sizeof(why)));
	ps->p[0].number = 1;
}

static void other_ike(struct world *w, int arg)
{
	(void)arg;
	only(&w->host[HOME].ike_ps, PROTO_IKE, "aes256gcm16-prfsha512-modp4096");
	only(&w->host[VPS].ike_ps, PROTO_IKE, "aes256gcm16-prfsha512-x25519");
}

static void weak_ike(struct world *w, int arg)
{
	struct proposal *p = &w->host[HOME].ike_ps.p[0];

	/* KE remains X25519 in the payload: the engine makes no other. */
	(void)arg;
	only(&w->host[HOME].ike_ps, PROTO_IKE, "aes128-sha256-x25519");
	p->t[0] = (struct transform){ TRANSFORM_ENCR, 3, 0 };
	for (unsigned i = 0; i < p->count; i++)
		if (p->t[i].type == TRANSFORM_INTEG || p->t[i].type == TRANSFORM_PRF)
			p->t[i].id = 2;
	transform_add(p, TRANSFORM_KE, 2, 0);
}

static void other_esp(struct world *w, int arg)
{
	(void)arg;
	only(&w->host[HOME].esp_ps, PROTO_ESP, "aes256gcm16");
	only(&w->host[VPS].esp_ps, PROTO_ESP, "chacha20poly1305");
}

static void other_local(struct world *w, int arg)
{
	(void)arg;
	w->host[VPS].local_ts[0].ts.lo.b[3] = w->host[VPS].local_ts[0].ts.hi.b[3] = 77;
	w->host[VPS].conf[0].local_ts_count = 1;
}

static void other_remote(struct world *w, int arg)
{
	struct prefix lan;

	(void)arg;
	/* The home says that it has 10.7.0.0/16; the VPS knows another network there. */
	assert_int_equal(0, prefix_parse("10.7.0.0/16", &lan));
	w->host[HOME].local_ts[0] = (struct engine_ts){ .ts = ts_from_prefix(&lan) };
	w->host[HOME].conf[0].local_ts_count = 1;
	w->host[HOME].peer.request_v4 = w->host[HOME].peer.request_v6 = false;
	assert_int_equal(0, prefix_parse("10.8.0.0/16", &lan));
	w->host[VPS].remote_ts[0] = (struct engine_ts){ .ts = ts_from_prefix(&lan) };
	w->host[VPS].conf[0].remote_ts_count = 1;
	w->host[VPS].peer.assign_count = 0;
}

static void no_address(struct world *w, int arg)
{
	(void)arg;
	w->host[VPS].peer.assign_count = 0;
}

static void other_psk(struct world *w, int arg)
{
	(void)arg;
	secret_set(&w->host[HOME].psk, "not the same", 12);
}

static void other_key(struct world *w, int arg)
{
	w->host[arg].other_pub[0] = w->host[arg].pub;
}

static void no_identity(struct world *w, int arg)
{
	(void)arg;
	w->host[HOME].peer.local_id =
	    (struct engine_id){ ID_FQDN, (const uint8_t *)"stranger.example.net", 20 };
}

/* The responder is somebody else than whom the initiator asks for. */
static void other_name(struct world *w, int arg)
{
	(void)arg;
	w->host[VPS].peer.local_id =
	    (struct engine_id){ ID_FQDN, (const uint8_t *)"other.example.net", 17 };
}

static void psk_for_key(struct world *w, int arg)
{
	(void)arg;
	secret_set(&w->host[HOME].psk, "x", 1);
	w->host[HOME].peer.local_auth.kind = ENGINE_AUTH_PSK;
}

static void key_for_psk(struct world *w, int arg)
{
	(void)arg;
	w->host[VPS].peer.remote_auth.kind = ENGINE_AUTH_PSK;
	w->host[VPS].peer.remote_auth.psk_ref = 1;
	secret_set(&w->host[VPS].psk, "x", 1);
}

static void no_cert(struct world *w, int arg)
{
	(void)arg;
	w->host[HOME].peer.local_auth.kind = ENGINE_AUTH_RAW;
}

/* The home's chain, and the authority that the VPS trusts. */
static void pki(struct world *w, int fault)
{
	struct host *h = &w->host[HOME];
	struct engine_auth_remote *r = &w->host[VPS].peer.remote_auth;

	for (size_t i = 0; i < h->peer.local_auth.chain_count; i++)
		cert_free(h->chain[i]);
	privkey_free(h->key);
	ca_store_free((struct ca_store *)(uintptr_t)r->ca);
	test_pki((enum pki_fault)fault, HOME, &h->key, h->chain, &h->peer.local_auth.chain_count,
		 &r->ca);
	h->peer.local_auth.key_type = privkey_type(h->key);
}

static void no_keys(struct world *w, int arg)
{
	w->host[arg].keys_fail = true;
}

static void from_elsewhere(struct world *w, int arg)
{
	(void)arg;
	assert_int_equal(0, prefix_parse("198.51.100.0/24", &w->host[VPS].from[0]));
	w->host[VPS].peer.from = w->host[VPS].from;
	w->host[VPS].peer.from_count = 1;
}

static void narrow_list(struct world *w, int arg)
{
	(void)arg;
	only(&w->host[VPS].ike_ps, PROTO_IKE, "aes256gcm16-prfsha512-modp4096");
}

/* Another peer, which may come from anywhere and takes what there is. */
static void second_peer(struct world *w)
{
	static struct proposals all;
	static struct engine_peer p; /* the engine borrows it */

	p = w->host[VPS].peer;
	proposals_default_ike(&all, true);
	p.id = 99;
	p.name = "second";
	p.remote_id = (struct engine_id){ ID_FQDN, (const uint8_t *)"second.example.net", 18 };
	p.ike = &all;
	p.from_count = 0;
	/* First in the list that the responder goes through. */
	DO(w, VPS, engine_peer_remove(e, now, w->host[VPS].peer.id, fx));
	DO(w, VPS, assert_int_equal(0, engine_peer_update(e, now, &w->host[VPS].peer, fx)));
	DO(w, VPS, assert_int_equal(0, engine_peer_update(e, now, &p, fx)));
}

#define AUTH ENGINE_WHY_AUTH_FAILED
#define BY_PEER(k)                                                                                 \
	{                                                                                          \
		AUTH, k,                                                                           \
		{                                                                                  \
			"AUTHENTICATION_FAILED", "home.example.net",                               \
			    "`local-auth`, `identity`: compare them with the other side's, its "   \
			    "log says"                                                             \
		}                                                                                  \
	}
#define CERT(text, fault, k, w1, w2)                                                               \
	{                                                                                          \
		text, STYLE_CERT_ECDSA, pki, fault, NULL, BY_PEER("private-key"),                  \
		{                                                                                  \
			AUTH, k,                                                                   \
			{                                                                          \
				"home.example.net", w1, w2                                         \
			}                                                                          \
		}                                                                                  \
	}

static const struct row rows[] = {
	{ "no IKE proposal",
	  STYLE_PSK,
	  other_ike,
	  0,
	  NULL,
	  { ENGINE_WHY_NO_PROPOSAL, "ike-proposals", { "NO_PROPOSAL_CHOSEN", "modp4096" } },
	  { ENGINE_WHY_NO_PROPOSAL,
	    "ike-proposals",
	    { "theirs: aes256gcm16-prfsha512-modp4096;", "ours: aes256gcm16-prfsha512-x25519;",
	      "add one of theirs here" } } },
	{ "only weak ones",
	  STYLE_PSK,
	  weak_ike,
	  0,
	  NULL,
	  { ENGINE_WHY_NO_PROPOSAL, "ike-proposals", { "NO_PROPOSAL_CHOSEN", "3DES" } },
	  { ENGINE_WHY_NO_PROPOSAL,
	    "ike-proposals",
	    { "Postern has no 3DES, HMAC_SHA1_96, PRF_HMAC_SHA1", "no value of",
	      "give the other side one such as" } } },
	{ "no ESP proposal",
	  STYLE_PSK,
	  other_esp,
	  0,
	  NULL,
	  { ENGINE_WHY_NO_PROPOSAL, "esp-proposals", { "ours: aes256gcm16-esn-noesn" } },
	  { ENGINE_WHY_NO_PROPOSAL,
	    "esp-proposals",
	    { "theirs: aes256gcm16-esn-noesn;", "ours: chacha20poly1305-esn-noesn;" } } },
	{ "selectors of our side",
	  STYLE_PSK,
	  other_local,
	  0,
	  NULL,
	  { ENGINE_WHY_TS, "remote-ts", { "TS_UNACCEPTABLE", "10.99.0.1" } },
	  { ENGINE_WHY_TS, "local-ts", { "10.99.0.1/32", "10.99.0.77/32", "tunnel-address" } } },
	{ "selectors of its side",
	  STYLE_PSK,
	  other_remote,
	  0,
	  NULL,
	  { ENGINE_WHY_TS, "remote-ts", { "TS_UNACCEPTABLE", "10.7.0.0/16" } },
	  { ENGINE_WHY_TS, "remote-ts", { "theirs: 10.7.0.0/16", "10.8.0.0/16", "networks" } } },
	{ "no address",
	  STYLE_PSK,
	  no_address,
	  0,
	  NULL,
	  { ENGINE_WHY_ADDRESS, "request-address", { "INTERNAL_ADDRESS_FAILURE" } },
	  { ENGINE_WHY_ADDRESS, "assign", { "pool" } } },
	{ "unknown identity",
	  STYLE_PSK,
	  no_identity,
	  0,
	  NULL,
	  { AUTH, "psk", { "stranger.example.net", "AUTHENTICATION_FAILED" } },
	  { AUTH, "identity", { "stranger.example.net", "no peer section", "vps.example.net" } } },
	{ "from elsewhere",
	  STYLE_PSK,
	  from_elsewhere,
	  0,
	  second_peer,
	  BY_PEER("psk"),
	  { AUTH, "from", { "[peer home]", "10.0.0.2" } } },
	{ "wrong PSK",
	  STYLE_PSK,
	  other_psk,
	  0,
	  NULL,
	  BY_PEER("psk"),
	  { AUTH, "psk", { "home.example.net", "PSK is another", "same file" } } },
	{ "wrong key",
	  STYLE_RAW,
	  other_key,
	  VPS,
	  NULL,
	  BY_PEER("private-key"),
	  { AUTH, "public-key", { "home.example.net", "we expect SHA256:", "ed25519" } } },
	{ "wrong key of the responder",
	  STYLE_RAW,
	  other_key,
	  HOME,
	  NULL,
	  { AUTH, "public-key", { "not who it should be", "we expect SHA256:" } },
	  { AUTH, "private-key", { "does not believe", "`local-auth`" } } },
	{ "it is somebody else",
	  STYLE_PSK,
	  other_name,
	  0,
	  NULL,
	  { AUTH, "psk", { "AUTHENTICATION_FAILED", "vps.example.net" } },
	  { AUTH, "identity", { "wants vps.example.net" } } },
	{ "PSK for a key",
	  STYLE_RAW,
	  psk_for_key,
	  0,
	  NULL,
	  BY_PEER("psk"),
	  { AUTH, "public-key", { "it used a PSK" } } },
	{ "key for a PSK",
	  STYLE_RAW,
	  key_for_psk,
	  0,
	  NULL,
	  BY_PEER("private-key"),
	  { AUTH, "psk", { "it signed (ed25519)" } } },
	{ "no certificate",
	  STYLE_CERT_ECDSA,
	  no_cert,
	  0,
	  NULL,
	  BY_PEER("private-key"),
	  { AUTH, "ca", { "sent no certificate" } } },
	CERT("certificate of another CA", PKI_OTHER_CA, "ca", "CN=home.example.net", "another key"),
	CERT("certificate of another name", PKI_OTHER_NAME, "identity", "subjectAltName",
	     "change who it says it is"),
	CERT("expired", PKI_EXPIRED, "ca", "has expired", "ca"),
	CERT("not yet valid", PKI_NOT_YET, "ca", "not yet valid", "ca"),
	CERT("weak key", PKI_WEAK_CA_KEY, "ca", "too small a key", "ca"),
	CERT("SHA-1", PKI_SHA1, "ca", "SHA-1", "SHA-2"),
	CERT("path length", PKI_PATH_LENGTH, "ca", "path length", "ca"),
	CERT("name constraints", PKI_CONSTRAINT, "ca", "name constraints", "ca"),
	CERT("no authority", PKI_NOT_CA, "ca", "basicConstraints", "ca"),
	CERT("key usage", PKI_KEY_USAGE, "ca", "keyUsage", "ca"),
	CERT("extended key usage", PKI_CODE_SIGNING, "ca", "extendedKeyUsage", "ca"),
	CERT("part of the chain missing", PKI_MISSING_INTER, "ca", "not sent", "ca"),
	{ "suite of another peer",
	  STYLE_PSK,
	  narrow_list,
	  0,
	  second_peer,
	  BY_PEER("psk"),
	  { AUTH, "ike-proposals", { "before it said who it is" } } },
	{ "its secret is not there",
	  STYLE_PSK,
	  no_keys,
	  VPS,
	  NULL,
	  BY_PEER("psk"),
	  { AUTH, "psk", { "keys process", "postern check" } } },
	{ "our key is not there",
	  STYLE_RAW,
	  no_keys,
	  VPS,
	  NULL,
	  { ENGINE_WHY_REFUSED, "private-key", { "TEMPORARY_FAILURE" } },
	  { ENGINE_WHY_LOCAL, "private-key", { "keys process", "postern check" } } },
	{ "our secret is not there",
	  STYLE_PSK,
	  no_keys,
	  HOME,
	  NULL,
	  { ENGINE_WHY_LOCAL, "psk", { "keys process", "postern check" } },
	  { ENGINE_WHY_NONE, NULL, { NULL } } },
};

static void check(const struct row *r, const struct host *h, const struct told *t)
{
	const char *text = h->last_failed.failed.text;
	char decided[80];

	if (t->why == ENGINE_WHY_NONE)
		return;
	if (!h->failed || h->last_failed.failed.why != t->why ||
	    strcmp(h->last_failed.failed.key, t->key))
		fail_msg("%s, host %d: why=%s key=%s: %s", r->name, h->index,
			 engine_why_str(h->last_failed.failed.why), h->last_failed.failed.key,
			 text);
	for (int i = 0; i < 3 && t->has[i]; i++)
		if (!strstr(text, t->has[i]))
			fail_msg("%s, host %d: no \"%s\" in: %s", r->name, h->index, t->has[i],
				 text);
	/* Where it stands, whole: nothing was cut. */
	snprintf(decided, sizeof(decided), "[decided by %s, conf:%s%s]", t->key,
		 h->last_failed.failed.peer ? "" : "posternd/", t->key);
	if (!strstr(text, decided))
		fail_msg("%s, host %d: no \"%s\" in: %s", r->name, h->index, decided, text);
}

static void every_failure_names_what_decided(void **s)
{
	(void)s;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct row *r = &rows[i];
		struct world *w = world_new(100 + i, r->style);

		r->before(w, r->arg);
		world_start(w);
		if (r->after)
			r->after(w);
		world_call(w, HOME);
		world_run(w, 5000);
		check(r, &w->host[HOME], &r->home);
		check(r, &w->host[VPS], &r->vps);
		world_free(w);
	}
}

static void good_certificates_come_up(void **s)
{
	(void)s;
	for (int f = PKI_GOOD; f < PKI_KINDS; f++) {
		struct world *w = world_new(200 + (uint64_t)f, STYLE_CERT_ECDSA);

		pki(w, f);
		world_up(w);
		world_no_leaks(w);
		world_free(w);
	}
}

/* Whoever it is: five lines in ten seconds for one network, whatever he does wrong. */
static void strangers_have_a_budget_of_lines(void **s)
{
	static const int kinds[] = { 0, 1, 6 };

	(void)s;
	for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
		const struct row *r = &rows[kinds[k]];
		struct world *w = world_new(300 + k, r->style);
		struct engine_counters n;

		r->before(w, r->arg);
		world_start(w);
		for (int i = 0; i < 50; i++) {
			world_call(w, HOME);
			world_run(w, 150);
		}
		engine_counters_get(w->host[VPS].e, &n);
		assert_true(w->host[VPS].failed >= 50);
		assert_int_equal(n.log_suppressed, w->host[VPS].failed - 5);
		world_free(w);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_failure_names_what_decided),
		cmocka_unit_test(good_certificates_come_up),
		cmocka_unit_test(strangers_have_a_budget_of_lines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
