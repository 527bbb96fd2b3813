/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Cases 21 to 25: selectors, identities, certificates, configuration attributes, Deletes. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "odd.h"
#include "sk.h"

static struct odd f;

static struct engine_counters counters(struct world *w, int host)
{
	struct engine_counters n;

	engine_counters_get(w->host[host].e, &n);
	return n;
}

static void over(struct world *w)
{
	world_run(w, 60000);
	world_no_leaks(w);
	world_free(w);
}

/* ---- selectors ---- */

struct sel {
	uint8_t type;
	const char *lo, *hi;
	uint16_t port_lo, port_hi;
	int16_t length; /* that its own field gives; 0: the true one */
};

#define ANY 0, 65535

static void put_ts(uint8_t pld, uint8_t count, const struct sel *sel, size_t n)
{
	struct wr *w = ike_pld_begin(&f.b, pld);
	struct addr lo, hi;

	wr_u8(w, count);
	wr_zero(w, 3);
	for (size_t i = 0; i < n; i++) {
		size_t len;

		assert_int_equal(0, addr_parse(sel[i].lo, &lo));
		assert_int_equal(0, addr_parse(sel[i].hi, &hi));
		len = addr_len(&lo);
		wr_u8(w, sel[i].type);
		wr_u8(w, 0);
		wr_be16(w, (uint16_t)(sel[i].length ? sel[i].length : (int)(8 + 2 * len)));
		wr_be16(w, sel[i].port_lo);
		wr_be16(w, sel[i].port_hi);
		wr_bytes(w, lo.b, len);
		wr_bytes(w, hi.b, len);
	}
	ike_pld_end(&f.b);
}

static const struct sel right = { TS_IPV4_ADDR_RANGE, "10.99.0.2", "10.99.0.2", ANY, 0 };

/* SK {SA, Ni, TSi, TSr} from home with this TSi; what comes of it, 0: a CHILD SA. */
static uint16_t with_tsi(uint8_t count, const struct sel *sel, size_t n)
{
	static const struct sel tsr = { TS_IPV4_ADDR_RANGE, "10.99.0.1", "10.99.0.1", ANY, 0 };
	struct world *w = world_new(21, STYLE_PSK);
	struct ts_list *l = calloc(1, sizeof(*l));
	const struct ike_msg *m;
	uint16_t r;

	world_up(w);
	odd_inner(&f);
	odd_esp(&f);
	odd_nonce(&f, 32);
	put_ts(PLD_TSI, count, sel, n);
	put_ts(PLD_TSR, 1, &tsr, 1);
	odd_request(w, HOME, CREATE_CHILD_SA, &f);
	m = odd_answer(w, HOME, odd_sa_of(w, HOME));
	assert_non_null(m);
	r = m->n_notifies ? m->notifies[0].type : 0;
	if (!r) { /* narrowed to what home may be */
		assert_int_equal(0, ts_parse(m->tsi, l));
		assert_in_range(l->count, 1, ENGINE_TS_MAX);
		for (unsigned i = 0; i < l->count; i++) {
			assert_memory_equal(l->ts[i].lo.b, "\x0a\x63\0\2", 4);
			assert_memory_equal(l->ts[i].hi.b, "\x0a\x63\0\2", 4);
		}
	}
	assert_int_equal(w->host[VPS].child_up, r ? 1 : 2);
	free(l);
	world_free(w);
	return r;
}

static void selectors_of_a_request(void)
{
	static const struct sel odd[] = {
		{ 9, "10.99.0.2", "10.99.0.2", ANY, 0 }, /* TS_FC_ADDR_RANGE */
		{ 9, "fd99::2", "fd99::2", ANY, 0 },
		{ 255, "10.99.0.2", "10.99.0.2", ANY, 0 },
		{ 0, "10.99.0.2", "10.99.0.2", ANY, 0 },
		{ TS_IPV4_ADDR_RANGE, "10.99.0.3", "10.99.0.2", ANY, 0 }, /* start above end */
		{ TS_IPV4_ADDR_RANGE, "10.99.0.2", "10.99.0.2", 9, 8, 0 },
		{ TS_IPV6_ADDR_RANGE, "10.99.0.2", "10.99.0.2", ANY, 0 }, /* too short for one */
		{ TS_IPV4_ADDR_RANGE, "fd99::2", "fd99::2", ANY, 0 },	  /* too long */
		{ TS_IPV6_ADDR_RANGE, "fd99::3", "fd99::2", ANY, 0 },
	};
	struct sel list[255], two[2];

	assert_int_equal(0, with_tsi(1, &right, 1));
	for (size_t i = 0; i < sizeof(odd) / sizeof(*odd); i++) {
		assert_int_equal(TS_UNACCEPTABLE, with_tsi(1, &odd[i], 1));
		two[0] = odd[i];
		two[1] = right;
		assert_int_equal(0, with_tsi(2, two, 2));
	}
	assert_int_equal(TS_UNACCEPTABLE, with_tsi(0, NULL, 0));
	/* 255: the same, each another port, and the one that counts behind 254 others. */
	for (unsigned i = 0; i < 255; i++)
		list[i] = right;
	assert_int_equal(0, with_tsi(255, list, 255));
	for (unsigned i = 0; i < 255; i++)
		list[i].port_lo = list[i].port_hi = (uint16_t)(2 * i);
	assert_int_equal(0, with_tsi(255, list, 255));
	/* The number or a length is a lie: that is no selector, but broken syntax. */
	assert_int_equal(INVALID_SYNTAX, with_tsi(255, list, 254));
	assert_int_equal(INVALID_SYNTAX, with_tsi(1, list, 2));
	assert_int_equal(INVALID_SYNTAX, with_tsi(0, list, 1));
	for (int i = 1; i <= 8; i++) {
		two[1].length = (int16_t)(i == 8 ? 17 : i);
		assert_int_equal(INVALID_SYNTAX, with_tsi(2, two, 2));
	}
}

/* <-- SK {.., TSi, TSr} with one of them replaced: that CHILD SA is not used. */
static void replace_ts(struct odd *out, uint8_t type, uint8_t flags, struct span body,
		       const void *arg)
{
	const struct span *with = arg;

	odd_keep(out, type, flags, type == PLD_TSR ? *with : body, NULL);
}

static void selectors_of_an_answer(const char *body, size_t len)
{
	struct world *w = world_new(21, STYLE_PSK);
	struct span with = { body, len };

	world_up(w);
	DO(w, HOME, assert_int_equal(0, engine_create_child(e, now, w->host[HOME].ike, fx)));
	world_deliver(w, VPS);
	odd_change(w, HOME, odd_sa_of(w, VPS), replace_ts, &with);
	world_run(w, 30000);
	assert_int_equal(w->host[HOME].child_up, 1);
	assert_int_equal(w->host[HOME].failed, 1);
	world_agree(w); /* the peer's half of it was deleted */
	over(w);
}

/* RFC 7296 s3.13, s2.9 */
static void ike_case_021_selectors_that_cannot_be_are_ignored(void **s)
{
	(void)s;
	selectors_of_a_request();
	selectors_of_an_answer("\0\0\0\0", 4);
	selectors_of_an_answer("\1\0\0\0\x09\0\0\x10\0\0\xff\xff\x0a\x63\0\1\x0a\x63\0\1", 20);
	selectors_of_an_answer("\1\0\0\0\x07\0\0\x10\0\0\xff\xff\x0a\x63\0\2\x0a\x63\0\1", 20);
	selectors_of_an_answer("\xff\0\0\0\x07\0\0\x10\0\0\xff\xff\x0a\x63\0\1\x0a\x63\0\1", 20);
}

/* ---- identities ---- */

struct odd_id {
	uint8_t type;
	const char *b;
	size_t len;
};

#define ID(type, text)                                                                             \
	{                                                                                          \
		type, text, sizeof(text) - 1                                                       \
	}

static void replace_idr(struct odd *out, uint8_t type, uint8_t flags, struct span body,
			const void *arg)
{
	const struct odd_id *id = arg;

	if (type == PLD_IDR)
		pld_id_add(&out->b, PLD_IDR, id->type, (struct span){ id->b, id->len });
	else
		odd_keep(out, type, flags, body, NULL);
}

/* Home says it, and has the right PSK: only the name keeps it out. Or the VPS does. */
static void nobody(int liar, const struct odd_id *id)
{
	struct world *w = world_new(22, STYLE_PSK);
	const struct fx *why = &w->host[!liar].last_failed;

	world_start(w);
	if (liar == HOME)
		w->host[HOME].peer.local_id =
		    (struct engine_id){ id->type, (const uint8_t *)id->b, id->len };
	world_call(w, HOME);
	for (int i = 0; i < 3; i++)
		world_deliver(w, i % 2 ? HOME : VPS);
	if (liar == VPS)
		odd_change(w, HOME, w->host[VPS].e->peers->sas, replace_idr, id);
	world_run(w, 1000);
	assert_int_equal(w->host[HOME].up, 0);
	assert_int_equal(w->host[HOME].last_down.down.why, ENGINE_WHY_AUTH_FAILED);
	assert_int_equal(w->host[VPS].up, liar == VPS); /* until it is told */
	assert_int_equal(w->host[VPS].down, liar == VPS);
	assert_int_equal(counters(w, VPS).child_sas, 0);
	/* Told, and printable. */
	assert_int_equal(why->failed.why, ENGINE_WHY_AUTH_FAILED);
	assert_false(why->failed.by_peer);
	assert_non_null(strstr(why->failed.text, "identity")); /* and not for the PSK */
	for (const char *c = why->failed.text; *c; c++)
		assert_in_range((uint8_t)*c, ' ', '~');
	if (id->len && id->type == ID_FQDN && memchr(id->b, 0, id->len))
		assert_non_null(strstr(why->failed.text, "\\x00"));
	over(w);
}

/* RFC 7296 s3.5: an identity equals another one whole and of the same type, or not at all. */
static void ike_case_022_no_identity_is_taken_for_another(void **s)
{
	static const char name[2][24] = { "home.example.net", "vps.example.net" };
	uint8_t text[64];

	(void)s;
	for (int liar = 0; liar < 2; liar++) {
		const char *n = name[liar];
		size_t len = strlen(n);
		struct odd_id ids[] = {
			{ ID_FQDN, n, len - 1 }, /* a beginning */
			{ ID_FQDN, n + 1, len - 1 },
			{ ID_FQDN, n, 0 },
			{ ID_FQDN, n, len + 1 }, /* a NUL behind it */
			{ ID_FQDN, (char *)text, len + 6 },
			ID(ID_FQDN, "\0"),
			ID(ID_FQDN, "a\nb\x1b[2J\xff"),
			{ ID_KEY_ID, n, len },
			{ ID_RFC822_ADDR, n, len },
			{ ID_DER_ASN1_DN, n, len },
			{ ID_NULL, n, 0 },
			{ 0, n, len },
			{ 99, n, len },
			{ 255, n, len },
			ID(ID_IPV4_ADDR, "\x0a\0\0"),
			ID(ID_IPV4_ADDR, "\x0a\0\0\2"),
			ID(ID_IPV6_ADDR, "\x0a\0\0\2"),
		};

		memcpy(text, n, len + 1);
		memcpy(text + len + 1, ".evil", 5);
		for (size_t i = 0; i < sizeof(ids) / sizeof(*ids); i++)
			nobody(liar, &ids[i]);
	}
}

/* ---- certificates ---- */

static void in_one_piece(struct world *w, int host, struct fx *fx)
{
	struct ike_sa *sa = sa_by_handle(w->host[host].e, (uint32_t)fx->auth.token);

	if (sa)
		sa->frag_max = ENGINE_MSG_MAX;
}

struct extra {
	uint8_t encoding; /* 0: each of those that we do not read */
	unsigned before, behind;
	size_t len;
};

static void put_extra(struct odd *out, const struct extra *x, unsigned n)
{
	static const uint8_t unread[] = { 0,  1,  2,  3,  5,  6,  7,   8,  9,
					  10, 11, 12, 13, 14, 15, 201, 255 };
	static const uint8_t junk[4000] = { 0x30, 0x82 };

	for (unsigned i = 0; i < n; i++)
		pld_cert_add(&out->b, x->encoding ? x->encoding : unread[i % sizeof(unread)],
			     (struct span){ junk, x->len });
}

static void add_certs(struct odd *out, uint8_t type, uint8_t flags, struct span body,
		      const void *arg)
{
	const struct extra *x = arg;

	if (type == PLD_AUTH)
		put_extra(out, x, x->behind);
	odd_keep(out, type, flags, body, NULL);
	if (out->b.count == 1) /* IDi or IDr */
		put_extra(out, x, x->before);
}

static bool up_with(const struct extra *x)
{
	struct world *w = world_new(23, STYLE_CERT_ED25519);
	bool up;

	w->before_keys = in_one_piece;
	odd_until_auth(w);
	odd_change(w, VPS, odd_candidate(w, HOME), add_certs, x);
	world_deliver(w, VPS);
	up = w->host[VPS].up;
	if (up) {
		odd_change(w, HOME, w->host[VPS].e->peers->sas, add_certs, x);
		world_run(w, 0);
		world_agree(w);
	} else {
		world_run(w, 1000);
		assert_int_equal(w->host[HOME].last_down.down.why, ENGINE_WHY_AUTH_FAILED);
	}
	over(w);
	return up;
}

/* 64 KiB of certificates in authentic fragments: bounded, and no harm to the message that is true. */
static void a_chain_that_is_too_long(void)
{
	struct world *w = world_new(23, STYLE_CERT_ED25519);
	static const uint8_t inner[64 * 1020];
	struct frag_plan plan = { .total = 64, .chunk = 1020 };
	struct ike_sa *from, *at;
	uint8_t out[1400];
	size_t len;

	w->before_keys = in_one_piece;
	odd_until_auth(w);
	from = odd_candidate(w, HOME);
	for (uint16_t i = 1; i <= 64; i++) {
		struct ike_hdr h = { .spi_i = from->spi_i,
				     .spi_r = from->spi_r,
				     .exchange = IKE_AUTH,
				     .flags = IKE_FLAG_INITIATOR,
				     .id = 1 };

		assert_int_equal(0, skf_seal(from->aead_out, &h, &plan, i, PLD_IDI, inner,
					     sizeof(inner), out, sizeof(out), &len));
		world_inject(w, VPS, &w->host[VPS].path, out, len);
		at = w->host[VPS].e->strangers;
		if (at && at->frags_in[0])
			assert_true(at->frags_in[0]->bytes <= 65536);
	}
	assert_int_equal(world_in_flight(w, HOME), 0);
	world_run(w, 0);
	world_agree(w);
	over(w);
}

/* RFC 7296 s3.6 */
static void ike_case_023_odd_certificates_are_ignored_and_many_are_bounded(void **s)
{
	static const struct extra rows[] = {
		{ 0, 1, 1, 100 },
		{ 0, 17, 17, 100 },
		{ 0, 20, 20, 0 },
		{ 0, 3, 0, 4000 },
		{ CERT_X509_SIGNATURE, 0, 20, 100 },
		{ CERT_X509_SIGNATURE, 0, 3, 4000 },
		{ CERT_X509_SIGNATURE, 0, 20, 0 },
	};

	(void)s;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		assert_true(up_with(&rows[i]));
	/* The first X.509 one is whose it is (s3.6): nobody's here. */
	assert_false(up_with(&(struct extra){ CERT_X509_SIGNATURE, 1, 0, 100 }));
	assert_false(up_with(&(struct extra){ CERT_X509_SIGNATURE, 20, 0, 100 }));
	a_chain_that_is_too_long();
}

/* ---- configuration ---- */

static void replace_cp(struct odd *out, uint8_t type, uint8_t flags, struct span body,
		       const void *arg)
{
	odd_keep(out, type, flags, type == PLD_CP ? *(const struct span *)arg : body, NULL);
}

#define CP_BODY(text)                                                                              \
	&(const struct span)                                                                       \
	{                                                                                          \
		text, sizeof(text) - 1                                                             \
	}

/* Which families home gets when its request, or the answer to it, has @cp for CP. */
static unsigned families(int from, const struct span *cp)
{
	struct world *w = world_new(24, STYLE_PSK);
	unsigned r;

	odd_until_auth(w);
	if (from == HOME)
		odd_change(w, VPS, odd_candidate(w, HOME), replace_cp, cp);
	world_deliver(w, VPS);
	if (from == VPS)
		odd_change(w, HOME, w->host[VPS].e->peers->sas, replace_cp, cp);
	world_deliver(w, HOME);
	assert_int_equal(w->host[HOME].up, 1); /* whatever became of the CHILD SA */
	r = (w->host[HOME].last_addresses.addresses.v4.family ? 4u : 0) |
	    (w->host[HOME].last_addresses.addresses.v6.family ? 2u : 0);
	over(w);
	return r;
}

#define V6_ANY	 "\0\x08\0\0"
#define V6_GIVEN "\0\x08\0\x11\xfd\x99\0\0\0\0\0\0\0\0\0\0\0\0\0\2\x80"
#define V4_GIVEN "\0\1\0\4\x0a\x63\0\2"

/* RFC 7296 s3.15.1 */
static void ike_case_024_an_attribute_of_a_wrong_length_is_ignored(void **s)
{
	(void)s;
	assert_int_equal(6, families(HOME, CP_BODY("\1\0\0\0\0\1\0\0" V6_ANY)));
	for (uint8_t len = 1; len <= 20; len++) {
		uint8_t b[64] = { CFG_REQUEST, 0, 0, 0, 0, INTERNAL_IP4_ADDRESS, 0, len };
		struct span cp = { b, 8u + len + 4 };

		memset(b + 8, 0x0a, len);
		memcpy(b + 8 + len, V6_ANY, 4);
		assert_int_equal(len == 4 ? 6 : 2, families(HOME, &cp));
		/* and in the answer */
		b[0] = CFG_REPLY;
		memcpy(b + 8, "\x0a\x63\0\2", len < 4 ? len : 4);
		memcpy(b + 8 + len, V6_GIVEN, 21);
		cp.len = 8u + len + 21;
		assert_int_equal(len == 4 ? 6 : 2, families(VPS, &cp));
	}
	assert_int_equal(6, families(VPS, CP_BODY("\2\0\0\0" V4_GIVEN V6_GIVEN)));
	assert_int_equal(4, families(VPS, CP_BODY("\2\0\0\0" V4_GIVEN "\0\x08\0\x10"
						  "0123456789abcdef")));
	/* One that promises more than there is spoils what comes behind it, which is nothing. */
	assert_int_equal(0, families(VPS, CP_BODY("\2\0\0\0\0\1\0\x40\x0a\x63\0\2")));
}

/* ---- Deletes ---- */

struct del {
	uint8_t proto, spi_len;
	uint16_t count;
	uint8_t spis; /* so many of four bytes follow */
	bool true_spi;
};

/* SK {D} from home; the SPIs are home's inbound one, or ones that nobody has. */
static const struct ike_msg *delete_by(struct world *w, const struct del *d)
{
	struct ike_sa *home = odd_sa_of(w, HOME);
	struct wr *out;

	odd_inner(&f);
	out = ike_pld_begin(&f.b, PLD_DELETE);
	wr_u8(out, d->proto);
	wr_u8(out, d->spi_len);
	wr_be16(out, d->count);
	for (uint8_t i = 0; i < d->spis; i++)
		wr_be32(out, d->true_spi ? w->host[HOME].child[0].spi_in : 0xdead0000u + i);
	ike_pld_end(&f.b);
	odd_request(w, HOME, INFORMATIONAL, &f);
	return odd_answer(w, HOME, home);
}

/* RFC 7296 s1.4.1, s3.11: answered, and nothing goes that was not named rightly. */
static void ike_case_025_a_delete_that_fits_nothing_deletes_nothing(void **s)
{
	static const struct del rows[] = {
		{ PROTO_ESP, 4, 2, 1, true }, /* count above what is there */
		{ PROTO_ESP, 4, 0xffff, 1, true }, { PROTO_ESP, 4, 0, 1, true }, /* and below */
		{ PROTO_ESP, 4, 1, 2, true },	   { PROTO_ESP, 8, 1, 1, true },
		{ PROTO_ESP, 2, 2, 1, true },	   { PROTO_ESP, 0, 1, 0, true },
		{ PROTO_ESP, 0, 0, 0, true },	   { PROTO_ESP, 255, 255, 1, true },
		{ PROTO_ESP, 4, 0, 0, true },  /* nothing, rightly said */
		{ PROTO_ESP, 4, 1, 1, false }, /* unknown SPIs */
		{ PROTO_ESP, 4, 200, 200, false }, { PROTO_AH, 4, 1, 1, true },
		{ PROTO_NONE, 4, 1, 1, true },	   { 200, 4, 1, 1, true },
		{ PROTO_IKE, 4, 1, 1, true }, /* an IKE SA is named by the header alone */
		{ PROTO_IKE, 0, 1, 0, true },	   { PROTO_IKE, 8, 1, 2, true },
	};
	struct world *w = world_new(25, STYLE_PSK);
	const struct ike_msg *m;

	(void)s;
	world_up(w);
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		m = delete_by(w, &rows[i]);
		if (!m || m->n_payloads)
			fail_msg("row %zu is answered with %u payloads", i, m ? m->n_payloads : 0);
		assert_int_equal(w->host[VPS].child_down, 0);
		assert_int_equal(w->host[VPS].down, 0);
		world_agree(w);
	}
	/* The right one, five times over, goes once; the answer names ours. */
	m = delete_by(w, &(struct del){ PROTO_ESP, 4, 5, 5, true });
	assert_true(m && m->n_payloads == 1 && m->n_deletes == 1);
	assert_int_equal(m->deletes[0].count, 1);
	assert_int_equal(w->host[VPS].child_down, 1);
	assert_int_equal(w->host[VPS].down, 0);
	m = delete_by(w, &(struct del){ PROTO_IKE, 0, 0, 0, true });
	assert_true(m && !m->n_payloads);
	assert_int_equal(w->host[VPS].down, 1);
	over(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ike_case_021_selectors_that_cannot_be_are_ignored),
		cmocka_unit_test(ike_case_022_no_identity_is_taken_for_another),
		cmocka_unit_test(ike_case_023_odd_certificates_are_ignored_and_many_are_bounded),
		cmocka_unit_test(ike_case_024_an_attribute_of_a_wrong_length_is_ignored),
		cmocka_unit_test(ike_case_025_a_delete_that_fits_nothing_deletes_nothing),
	};

	log_setup("exchange", LOG_LVL_ERR, 2);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
