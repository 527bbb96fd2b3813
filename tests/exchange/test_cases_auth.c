/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Cases 38 to 44: authentication. Each test is one sentence about what a peer may send and what has to come of it
 * (RFC 7296 s1.2, s2.4, s2.15, s2.21.2).
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "forge.h"
#include "engine_int.h"

/* ---- what the engines do, counted; the linker puts these before the real ones ---- */

int __real_sig_verify(const struct pubkey *k, enum sig_scheme s, struct span o, struct span sig);
int __wrap_sig_verify(const struct pubkey *k, enum sig_scheme s, struct span o, struct span sig);
bool __real_secret_equal(const void *a, size_t alen, const void *b, size_t blen);
bool __wrap_secret_equal(const void *a, size_t alen, const void *b, size_t blen);

/* The cryptographic work of one refusal, and what the caller sees of it. */
static struct work {
	unsigned verified[KEY_RSA + 1], macs, signatures, compared;
	unsigned answers, others;
	unsigned answer_len;
	unsigned plain_refusal; /* SK {N(AUTHENTICATION_FAILED)} and nothing else */
} work;

int __wrap_sig_verify(const struct pubkey *k, enum sig_scheme s, struct span o, struct span sig)
{
	work.verified[pubkey_type(k)]++;
	return __real_sig_verify(k, s, o, sig);
}

bool __wrap_secret_equal(const void *a, size_t alen, const void *b, size_t blen)
{
	if (alen == blen)
		work.compared++;
	return __real_secret_equal(a, alen, b, blen);
}

static void count_keys(struct world *w, int host, struct fx *f)
{
	(void)w;
	if (host != VPS)
		return;
	if (f->auth.op == FX_AUTH_SIGN)
		work.signatures++;
	else
		work.macs++;
}

static bool watch_answer(struct world *w, int to, const struct engine_path *path, uint8_t *bytes,
			 size_t *len)
{
	static struct chain c;
	struct ike_hdr h;

	(void)path;
	if (to != HOME || ike_hdr_parse(bytes, *len, &h) || h.exchange == IKE_SA_INIT)
		return true;
	if (!forge_open(w, VPS, bytes, *len, &h, &c)) {
		work.others++;
		return true;
	}
	work.answers++;
	work.answer_len = (unsigned)*len;
	work.plain_refusal =
	    h.exchange == IKE_AUTH && c.n == 1 && chain_notify(&c, AUTHENTICATION_FAILED);
	return true;
}

static struct engine_id name_id(const char *text)
{
	return (struct engine_id){ ID_FQDN, (const uint8_t *)text, strlen(text) };
}

/* One call that the VPS has to refuse; what that cost and gave. */
static struct work refused_call(struct world *w)
{
	world_start(w);
	w->filter = watch_answer;
	w->before_keys = count_keys;
	world_call(w, HOME);
	memset(&work, 0, sizeof(work));
	world_run(w, 300);
	w->filter = NULL;
	w->before_keys = NULL;
	assert_int_equal(work.answers, 1);
	assert_int_equal(work.others, 0);
	assert_true(work.plain_refusal);
	assert_int_equal(w->host[VPS].up + w->host[HOME].up, 0);
	EACH_HOST(a)
	assert_int_equal(paper_children(&w->host[a], false, false), 0);
	world_no_leaks(w);
	return work;
}

/*
 * HDR, SK {IDi, AUTH, ...} -->   <-- HDR, SK {N(AUTHENTICATION_FAILED)}
 * The VPS has @known configured for home. Who calls has secrets of the kind @liar, all of them wrong: a
 * certificate may be good, but the key is not its.
 */
static struct work wrong_secret(enum auth_style known, enum auth_style liar, const char *as)
{
	struct world *w = world_new(38, known), *other = world_new(39, liar);
	struct host *h = &w->host[HOME], *l = &other->host[HOME];
	struct engine_auth_local local = h->peer.local_auth;
	struct privkey *key = h->key;
	struct work got;

	if (as)
		h->peer.local_id = name_id(as);
	if (liar == STYLE_PSK)
		secret_set(&h->psk, "not the same", 12);
	h->key = other->host[VPS].key;
	h->peer.local_auth = l->peer.local_auth;
	got = refused_call(w);
	h->key = key;
	h->peer.local_auth = local;
	world_free(w);
	world_free(other);
	return got;
}

static void ike_case_038_wrong_psk_and_unknown_identity_cost_and_tell_the_same(void **s)
{
	static const enum auth_style styles[] = { STYLE_PSK, STYLE_RAW, STYLE_CERT_ED25519,
						  STYLE_CERT_ECDSA, STYLE_CERT_RSA };

	(void)s;
	/* What the VPS has configured must not matter, only what the caller sends. */
	for (size_t liar = 0; liar < 5; liar++) {
		struct work unknown = wrong_secret(STYLE_RAW, styles[liar], "stranger.example.net");

		for (size_t known = 0; known < 5; known++) {
			struct work wrong = wrong_secret(styles[known], styles[liar], NULL);

			assert_memory_equal(&wrong, &unknown, sizeof(wrong));
		}
		if (styles[liar] == STYLE_PSK) {
			assert_int_equal(unknown.macs, 1);
			assert_int_equal(unknown.compared, 1); /* in constant time */
		} else {
			assert_int_equal(unknown.verified[KEY_ED25519] +
					     unknown.verified[KEY_P256] + unknown.verified[KEY_RSA],
					 1);
		}
		assert_int_equal(unknown.signatures, 0); /* nothing of ours is proved to him */
	}
}

/* ---- 39 ---- */

enum tamper {
	TAMPER_NOT,
	OCTETS_SHORT,
	OCTETS_LONG,
	OCTETS_NONCE,
	OCTETS_SPI,
	OCTETS_ID,
	DATA_SHORT,
	DATA_LONG,
	DATA_EMPTY,
	DATA_OWN, /* what the other side has just sent */
	DATA_AND_ID_OWN,
	TAMPERS
};

static struct {
	enum tamper how;
	int who;
	uint8_t own_id[300], own_auth[600];
	size_t own_id_len, own_auth_len;
} liar;

/* Is this question about that host's own AUTH? A PSK is asked for to check the peer's too. */
static bool asks_own(struct world *w, int host, const struct fx *f)
{
	struct ike_sa *sa = sa_by_handle(w->host[host].e, (uint32_t)f->auth.token);

	return sa && sa->auth->want == AUTH_WANT_OURS;
}

static void sign_something_else(struct world *w, int host, struct fx *f)
{
	struct ike_sa *sa = sa_by_handle(w->host[host].e, (uint32_t)f->auth.token);
	size_t prf_len;

	if (host != liar.who || !asks_own(w, host, f))
		return;
	prf_len = sa->keys.sk_pi.len;
	switch (liar.how) {
	case OCTETS_SHORT:
		f->auth.len--;
		break;
	case OCTETS_LONG:
		f->auth.octets = realloc(f->auth.octets, f->auth.len + 1);
		f->auth.octets[f->auth.len++] = 0;
		break;
	case OCTETS_NONCE:
		f->auth.octets[f->auth.len - prf_len - 1] ^= 1;
		break;
	case OCTETS_SPI:
		f->auth.octets[host == HOME ? 7 : 15] ^= 1;
		break;
	case OCTETS_ID:
		f->auth.octets[f->auth.len - 1] ^= 1;
		break;
	default:
		break;
	}
}

static bool say_something_else(struct world *w, struct chain *c, struct ike_hdr *h, void *arg)
{
	struct link *auth = chain_find(c, PLD_AUTH), *id;
	static uint8_t longer[700];

	(void)w;
	(void)arg;
	if (!auth)
		return false;
	if (!ike_hdr_is_response(h)) {
		id = chain_find(c, PLD_IDI);
		memcpy(liar.own_id, id->body, liar.own_id_len = id->len);
		memcpy(liar.own_auth, auth->body, liar.own_auth_len = auth->len);
	}
	if (ike_hdr_is_response(h) != (liar.who == VPS))
		return false;
	switch (liar.how) {
	case DATA_SHORT:
		auth->len--;
		return true;
	case DATA_LONG:
		memcpy(longer, auth->body, auth->len);
		longer[auth->len] = 0;
		auth->body = longer;
		auth->len++;
		return true;
	case DATA_EMPTY:
		auth->len = 4;
		return true;
	case DATA_AND_ID_OWN:
		id = chain_find(c, PLD_IDR);
		id->body = liar.own_id;
		id->len = liar.own_id_len;
		/* fall through */
	case DATA_OWN:
		auth->body = liar.own_auth;
		auth->len = liar.own_auth_len;
		return true;
	default:
		return false;
	}
}

/* Both kinds of message are edited: the request is read even where the answer is to be changed. */
static bool both_ways(struct world *w, int to, const struct engine_path *path, uint8_t *bytes,
		      size_t *len)
{
	struct forgery f = { .from = !to,
			     .exchange = IKE_AUTH,
			     .response = to == HOME,
			     .edit = say_something_else };
	bool pass;

	w->filter_arg = &f;
	pass = forge_filter(w, to, path, bytes, len);
	w->filter_arg = NULL;
	return pass;
}

static void ike_case_039_auth_over_other_octets_or_reflected_fails(void **s)
{
	(void)s;
	for (int style = STYLE_PSK; style <= STYLE_RAW; style++)
		for (int who = 0; who < 2; who++)
			for (int how = TAMPER_NOT; how < TAMPERS; how++) {
				struct world *w = world_new(39, (enum auth_style)style);

				if (who == HOME && how >= DATA_OWN) {
					world_start(w);
					world_free(w);
					continue;
				}
				liar.how = (enum tamper)how;
				liar.who = who;
				w->before_keys = sign_something_else;
				w->filter = both_ways;
				world_start(w);
				world_call(w, HOME);
				world_run(w, 400);
				w->filter = NULL;
				w->before_keys = NULL;
				assert_int_equal(w->host[!who].up, how == TAMPER_NOT);
				if (how != TAMPER_NOT) {
					assert_int_equal(w->host[!who].last_failed.failed.why,
							 ENGINE_WHY_AUTH_FAILED);
					assert_int_equal(
					    paper_children(&w->host[!who], false, false), 0);
				}
				world_no_leaks(w);
				world_free(w);
			}
}

/* Everything that home says comes back to home: it must not take itself for the VPS. */
static bool mirror(struct world *w, int to, const struct engine_path *path, uint8_t *bytes,
		   size_t *len)
{
	if (to == VPS)
		world_send(w, HOME, &w->host[HOME].path, bytes, *len);
	(void)path;
	return false;
}

static void ike_case_039_a_mirror_is_not_the_peer(void **s)
{
	(void)s;
	for (int style = STYLE_PSK; style <= STYLE_CERT_ED25519; style++) {
		struct world *w = world_new(40, (enum auth_style)style);

		w->host[HOME].peer.accept = true;
		w->filter = mirror;
		world_start(w);
		world_call(w, HOME);
		world_run(w, 20000);
		assert_int_equal(w->host[HOME].up, 0);
		assert_true(w->host[HOME].failed >= 1);
		world_no_leaks(w);
		world_free(w);
	}
}

/* ---- 41 ---- */

static bool without_idr(struct world *w, struct chain *c, struct ike_hdr *h, void *arg)
{
	(void)w;
	(void)h;
	(void)arg;
	chain_drop(c, PLD_IDR);
	return true;
}

static bool other_idr(struct world *w, struct chain *c, struct ike_hdr *h, void *arg)
{
	struct link *id = chain_find(c, PLD_IDR);

	(void)w;
	(void)h;
	id->body = arg;
	id->len = 4 + strlen((const char *)arg + 4);
	return true;
}

static void ike_case_041_idr_absent_means_the_default_and_a_foreign_one_is_refused(void **s)
{
	static char other[] = "\x02\0\0\0other.example.net";

	(void)s;
	for (int style = STYLE_PSK; style <= STYLE_RAW; style++)
		for (int asked = 0; asked < 2; asked++)
			for (int who = 0; who < 2; who++) {
				struct forgery f = { .from = who,
						     .exchange = IKE_AUTH,
						     .response = who == VPS,
						     .edit = asked ? other_idr : without_idr,
						     .arg = other + (asked ? 0 : 0) };
				struct world *w = world_new(41, (enum auth_style)style);

				w->filter = forge_filter;
				w->filter_arg = &f;
				world_start(w);
				world_call(w, HOME);
				world_run(w, 300);
				assert_true(f.done >= 1);
				w->filter = NULL;
				/*
				 * A request may leave the choice to us (s2.15); an answer has to say
				 * who gives it, and it must be whom we called.
				 */
				if (who == HOME && !asked)
					world_agree(w);
				else
					assert_int_equal(w->host[HOME].up, 0);
				if (who == HOME)
					assert_int_equal(w->host[VPS].up, !asked);
				if (who == VPS || asked)
					assert_int_equal(w->host[HOME].last_failed.failed.why,
							 ENGINE_WHY_AUTH_FAILED);
				world_no_leaks(w);
				world_free(w);
			}
}

/* ---- 43 ---- */

static struct {
	uint64_t at_ms[200];
	unsigned n;
} tried;

static bool note_child_requests(struct world *w, int to, const struct engine_path *path,
				uint8_t *bytes, size_t *len)
{
	struct ike_hdr h;

	(void)path;
	if (to == VPS && !ike_hdr_parse(bytes, *len, &h) && h.exchange == CREATE_CHILD_SA &&
	    !ike_hdr_is_response(&h) && tried.n < 200)
		tried.at_ms[tried.n++] = w->now_ms;
	return true;
}

static void ike_case_043_a_failed_child_leaves_the_ike_sa_and_is_tried_again(void **s)
{
	static const struct {
		enum engine_why why;
		const char *at_home, *at_vps;
	} want[] = { { ENGINE_WHY_NO_PROPOSAL, "NO_PROPOSAL_CHOSEN", "esp-proposals" },
		     { ENGINE_WHY_TS, "TS_UNACCEPTABLE", "local-ts" },
		     { ENGINE_WHY_ADDRESS, "INTERNAL_ADDRESS_FAILURE", "assign" } };

	(void)s;
	for (int i = 0; i < 3; i++) {
		struct world *w = world_new(43, STYLE_PSK);
		struct host *h = &w->host[HOME], *v = &w->host[VPS];
		size_t esp = v->esp_ps.count, assign = v->peer.assign_count;

		if (i == 0)
			v->esp_ps.count = 0;
		if (i == 1) {
			v->local_ts[0].ts.lo.b[3] = v->local_ts[0].ts.hi.b[3] = 77;
			v->conf[0].local_ts_count = 1;
		}
		if (i == 2)
			v->peer.assign_count = 0;
		tried.n = 0;
		w->filter = note_child_requests;
		world_start(w);
		world_call(w, HOME);
		world_run(w, 500);
		EACH_HOST(a)
		{
			struct host *x = &w->host[a];

			assert_int_equal(x->up, 1);
			assert_false(x->last_up.up.child);
			assert_int_equal(x->last_failed.failed.why, want[i].why);
			assert_int_equal(x->last_failed.failed.by_peer, a == HOME);
			if (a == HOME || want[i].at_vps)
				assert_non_null(
				    strstr(x->last_failed.failed.text,
					   a == HOME ? want[i].at_home : want[i].at_vps));
		}
		world_run(w, 610000);
		EACH_HOST(a)
		{
			assert_int_equal(w->host[a].up, 1); /* one IKE SA, all the time */
			assert_int_equal(w->host[a].down, 0);
			assert_int_equal(w->host[a].spis, 0);
		}
		/* Again and again, at growing gaps, but never so far apart that mending it goes unseen. */
		assert_in_range(tried.n, 15, 40);
		for (unsigned k = 2; k < tried.n; k++) {
			uint64_t gap = tried.at_ms[k] - tried.at_ms[k - 1];

			assert_true(gap + 500 >= tried.at_ms[k - 1] - tried.at_ms[k - 2]);
			assert_in_range(gap, 1000, 60000);
		}
		v->esp_ps.count = (uint8_t)esp;
		v->peer.assign_count = assign;
		v->local_ts[0].ts.lo.b[3] = v->local_ts[0].ts.hi.b[3] = 1;
		world_run(w, 60000);
		world_agree(w);
		assert_int_equal(h->up, 1);
		if (i == 2)
			assert_true(addr_eq(&h->last_addresses.addresses.v4, &v->assign[0]));
		world_no_leaks(w);
		world_free(w);
	}
}

/* ---- 44 ---- */

static bool sees_initial_contact(struct world *w, struct chain *c, struct ike_hdr *h, void *arg)
{
	(void)w;
	(void)h;
	*(unsigned *)arg += chain_notify(c, INITIAL_CONTACT) != NULL;
	return false;
}

static unsigned deletes_sent;

static bool no_delete(struct world *w, struct chain *c, struct ike_hdr *h, void *arg)
{
	(void)w;
	(void)h;
	(void)arg;
	deletes_sent += chain_find(c, PLD_DELETE) != NULL;
	return false;
}

/* The same caller once more, with the same right to it: what it had is forgotten without a word. */
static void contact_of_the_peer_itself(void)
{
	struct forgery f = { .from = VPS, .exchange = INFORMATIONAL, .edit = no_delete };
	struct world *w = world_new(44, STYLE_PSK);
	struct engine_counters n;

	world_up(w);
	deletes_sent = 0;
	w->filter = forge_filter;
	w->filter_arg = &f;
	world_restart(w, HOME);
	world_call(w, HOME);
	world_run(w, 100);
	engine_counters_get(w->host[VPS].e, &n);
	assert_int_equal(n.ike_sas, 1);
	world_run(w, 5000);
	assert_int_equal(deletes_sent, 0);
	world_agree(w);
	assert_int_equal(w->host[VPS].down, 1);
	assert_true(w->host[VPS].last_down.down.replaced);
	world_no_leaks(w);
	world_free(w);
}

static void contact_without_proof(enum auth_style style)
{
	unsigned seen = 0;
	struct forgery f = {
		.from = HOME, .exchange = IKE_AUTH, .edit = sees_initial_contact, .arg = &seen
	};
	struct world *w = world_new(45, style), *x = world_new(46, style);
	struct privkey *key = w->host[HOME].key;
	struct engine_ike_info i;
	uint32_t ike;

	world_up(w);
	ike = w->host[VPS].ike;
	w->filter = forge_filter;
	w->filter_arg = &f;
	world_restart(w, HOME);
	w->host[HOME].key = x->host[HOME].key;
	secret_set(&w->host[HOME].psk, "not the same", 12);
	world_call(w, HOME);
	world_run(w, 5000);
	assert_true(seen >= 1);
	assert_int_equal(w->host[VPS].down, 0);
	assert_true(engine_ike_info(w->host[VPS].e, ike, &i) && i.established &&
		    i.child_count == 1);
	w->host[HOME].key = key;
	world_start(x);
	world_free(x);
	world_free(w);
}

/* A second peer of the VPS comes with INITIAL_CONTACT, from the same machine even. */
static void contact_of_another(void)
{
	unsigned seen = 0;
	struct forgery f = {
		.from = HOME, .exchange = IKE_AUTH, .edit = sees_initial_contact, .arg = &seen
	};
	struct world *w = world_new(47, STYLE_PSK);
	struct proposals none = { 0 };
	struct engine_peer there = w->host[VPS].peer, here = w->host[HOME].peer;
	struct engine_ike_info i;
	uint32_t ike;

	there.id = here.id = 99;
	there.name = here.name = "other";
	there.remote_id = here.local_id = name_id("other.example.net");
	there.esp = &none; /* its CHILD SA is of no interest */
	there.assign_count = 0;
	world_up(w);
	ike = w->host[VPS].ike;
	w->filter = forge_filter;
	w->filter_arg = &f;
	DO(w, VPS, assert_int_equal(0, engine_peer_update(e, now, &there, fx)));
	DO(w, HOME, assert_int_equal(0, engine_peer_update(e, now, &here, fx)));
	DO(w, HOME, assert_true(engine_initiate(e, now, 99, &w->host[HOME].path, fx) > 0));
	world_run(w, 500);
	assert_int_equal(seen, 1);
	assert_int_equal(w->host[VPS].up, 2);
	assert_int_equal(w->host[VPS].down, 0);
	assert_true(engine_ike_info(w->host[VPS].e, ike, &i) && i.established &&
		    i.child_count == 1);
	w->filter = NULL;
	world_no_leaks(w);
	world_free(w);
}

static void ike_case_044_initial_contact_counts_for_who_proved_it_alone(void **s)
{
	(void)s;
	contact_of_the_peer_itself();
	contact_without_proof(STYLE_PSK);
	contact_without_proof(STYLE_RAW);
	contact_of_another();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    ike_case_038_wrong_psk_and_unknown_identity_cost_and_tell_the_same),
		cmocka_unit_test(ike_case_039_auth_over_other_octets_or_reflected_fails),
		cmocka_unit_test(ike_case_039_a_mirror_is_not_the_peer),
		cmocka_unit_test(
		    ike_case_041_idr_absent_means_the_default_and_a_foreign_one_is_refused),
		cmocka_unit_test(ike_case_043_a_failed_child_leaves_the_ike_sa_and_is_tried_again),
		cmocka_unit_test(ike_case_044_initial_contact_counts_for_who_proved_it_alone),
	};

	log_setup("exchange", LOG_LVL_ERR, 2);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
