/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Cases 9 to 14: which payloads a message may hold, how many, how often, and of what size. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "forge.h"
#include "odd.h"

/* The linker puts these before the real ones: what one message makes us allocate. */
void *__real_malloc(size_t len);
void *__wrap_malloc(size_t len);
void *__real_calloc(size_t n, size_t len);
void *__wrap_calloc(size_t n, size_t len);
void *__real_realloc(void *p, size_t len);
void *__wrap_realloc(void *p, size_t len);

static size_t allocated;

void *__wrap_malloc(size_t len)
{
	allocated += len;
	return __real_malloc(len);
}

void *__wrap_calloc(size_t n, size_t len)
{
	allocated += n * len;
	return __real_calloc(n, len);
}

void *__wrap_realloc(void *p, size_t len)
{
	allocated += len;
	return __real_realloc(p, len);
}

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

static bool init_dropped(struct world *w)
{
	struct engine_path p = odd_stranger(2);
	const struct ike_msg *m;

	odd_end(&f);
	odd_inject(w, VPS, &p, &f);
	m = odd_answer(w, HOME, NULL);
	return !m && !counters(w, VPS).half_open;
}

static bool init_accepted(struct world *w)
{
	struct engine_path p = odd_stranger(1);
	const struct ike_msg *m;

	odd_end(&f);
	odd_inject(w, VPS, &p, &f);
	m = odd_answer(w, HOME, NULL);
	return m && m->sa.p && m->ke.data && m->nonce.p;
}

/* A chain from home as this exchange, on an SA made for it; the answer is to be looked at at once. */
static const struct ike_msg *ask(struct world *w, uint8_t exchange)
{
	struct ike_sa *home = odd_sa_of(w, HOME);

	odd_request(w, HOME, exchange, &f);
	return odd_answer(w, HOME, home);
}

static void unknown_critical_in_requests(void)
{
	struct world *w = world_new(9, STYLE_PSK);
	struct engine_path p = odd_stranger(1);
	const struct ike_msg *m;
	uint32_t spi;

	world_up(w);
	odd_init(&f, 1);
	odd_rest(&f);
	odd_payload(&f, 99, 0x80, "?", 1);
	odd_end(&f);
	odd_inject(w, VPS, &p, &f);
	m = odd_answer(w, HOME, NULL);
	assert_true(odd_notify_only(m, UNSUPPORTED_CRITICAL_PAYLOAD));
	assert_int_equal(m->notifies[0].len, 1);
	assert_int_equal(m->notifies[0].data[0], 99);
	assert_int_equal(counters(w, VPS).half_open, 0);
	for (int i = 0; i < 1000; i++)
		odd_inject(w, VPS, &p, &f);
	assert_in_range(world_in_flight(w, HOME), 1, 20);
	while (world_lose(w, HOME))
		;
	/* SK {D(ESP, spi), ?}: refused as a whole, and the IKE SA lives. */
	spi = w->host[HOME].child[0].spi_in;
	odd_inner(&f);
	pld_delete_add_esp(&f.b, &spi, 1);
	odd_payload(&f, 50, 0x80, "?", 1);
	m = ask(w, INFORMATIONAL);
	assert_true(odd_notify_only(m, UNSUPPORTED_CRITICAL_PAYLOAD));
	assert_int_equal(m->notifies[0].len, 1);
	assert_int_equal(m->notifies[0].data[0], 50);
	assert_int_equal(w->host[VPS].child_down, 0);
	assert_int_equal(w->host[VPS].down, 0);
	world_agree(w);
	w->host[HOME].e->peers->sas->win.next_out++; /* as if it had asked */
	over(w);
}

static void add_critical(struct odd *out, uint8_t type, uint8_t flags, struct span body,
			 const void *arg)
{
	odd_keep(out, type, flags, body, arg);
	if (!type)
		odd_payload(out, 255, 0x80, "?", 1);
}

static void unknown_critical_in_ike_auth(void)
{
	struct world *w = world_new(9, STYLE_PSK);
	struct ike_sa *home;
	const struct ike_msg *m;

	odd_until_auth(w);
	home = odd_candidate(w, HOME);
	odd_change(w, VPS, home, add_critical, NULL);
	world_deliver(w, VPS);
	m = odd_answer(w, HOME, home);
	assert_true(odd_notify_only(m, UNSUPPORTED_CRITICAL_PAYLOAD));
	assert_int_equal(w->host[VPS].up, 0);
	w->cut[VPS] = true;
	world_run(w, AFTER_REPLY_MS + 1000); /* it stayed for its last answer only */
	assert_int_equal(counters(w, VPS).ike_sas, 0);
	w->cut[VPS] = false;
	over(w);
}

/* In an answer: the SA has failed, and nothing is said about it (s2.5). */
static void unknown_critical_in_answers(void)
{
	struct world *w = world_new(9, STYLE_PSK);

	world_start(w);
	world_call(w, HOME);
	world_deliver(w, VPS);
	/* IKE_SA_INIT is nobody's: oddd ones do not stop the true one. */
	odd_begin(&f, &(struct ike_hdr){ .spi_i = odd_calling(w),
					 .spi_r = 1,
					 .exchange = IKE_SA_INIT,
					 .flags = IKE_FLAG_RESPONSE });
	odd_rest(&f);
	odd_payload(&f, 99, 0x80, "?", 1);
	odd_end(&f);
	odd_inject(w, HOME, &w->host[HOME].path, &f);
	assert_int_equal(world_in_flight(w, VPS), 0);
	world_run(w, 0);
	world_agree(w);
	DO(w, HOME, assert_int_equal(0, engine_liveness(e, now, w->host[HOME].ike, fx)));
	world_lose(w, VPS);
	odd_inner(&f);
	odd_payload(&f, 49, 0x80, "?", 1);
	odd_response(w, VPS, &f);
	assert_int_equal(w->host[HOME].down, 1);
	assert_int_equal(w->host[HOME].last_down.down.why, ENGINE_WHY_PROTOCOL);
	assert_int_equal(counters(w, HOME).ike_sas, 0);
	assert_int_equal(world_in_flight(w, VPS), 0);
	over(w);
	/* <-- SK {IDr, AUTH, .., ?} */
	w = world_new(10, STYLE_PSK);
	odd_until_auth(w);
	world_deliver(w, VPS);
	odd_change(w, HOME, w->host[VPS].e->peers->sas, add_critical, NULL);
	w->cut[VPS] = true;
	world_deliver(w, HOME);
	assert_int_equal(w->host[HOME].up, 0);
	for (unsigned i = 0; i < w->flights; i++) { /* at most a new call */
		struct ike_hdr h;

		assert_int_equal(0, ike_hdr_parse(w->flight[i].bytes, w->flight[i].len, &h));
		assert_int_equal(h.exchange, IKE_SA_INIT);
	}
	w->cut[VPS] = false;
	world_run(w, 30000);
	world_agree(w);
	over(w);
}

/* RFC 7296 s2.5, s2.21.2 */
static void ike_case_009_an_unknown_critical_payload_rejects_the_message(void **s)
{
	(void)s;
	unknown_critical_in_requests();
	unknown_critical_in_ike_auth();
	unknown_critical_in_answers();
}

static void add_unknown(struct odd *out, uint8_t type, uint8_t flags, struct span body,
			const void *arg)
{
	odd_payload(out, 49, 0x7f, "", 0);
	odd_keep(out, type, flags, body, arg);
	odd_payload(out, 254, 0, "unknown", 7);
}

static void make_critical(struct odd *out, uint8_t type, uint8_t flags, struct span body,
			  const void *arg)
{
	odd_keep(out, type, flags | 0x80, body, arg);
}

/* RFC 7296 s2.5: C clear means skip; on a payload that we know it says nothing. */
static void ike_case_010_unknown_payloads_are_skipped_and_known_ones_may_be_critical(void **s)
{
	static const odd_edit edits[] = { add_unknown, make_critical };

	(void)s;
	for (size_t i = 0; i < 2; i++) {
		struct world *w = world_new(10, STYLE_PSK);

		odd_until_auth(w);
		odd_change(w, VPS, odd_candidate(w, HOME), edits[i], NULL);
		world_deliver(w, VPS);
		odd_change(w, HOME, w->host[VPS].e->peers->sas, edits[i], NULL);
		world_run(w, 0);
		world_agree(w);
		odd_init(&f, 1);
		if (!i)
			odd_payload(&f, 1, 0, "unknown", 7);
		odd_rest(&f);
		if (!i)
			odd_payload(&f, 128, 0, "unknown", 7);
		odd_end(&f);
		for (size_t at = 28; i && at < f.len;
		     at += (size_t)(f.buf[at + 2] << 8 | f.buf[at + 3]))
			f.buf[at + 1] = 0x80;
		assert_true(init_accepted(w));
		over(w);
	}
}

/* ---- notifies ---- */

#define UNKNOWN_ERROR  8000
#define PRIVATE_ERROR  16383
#define UNKNOWN_STATUS 40000

static void add_status(struct odd *out, uint8_t type, uint8_t flags, struct span body,
		       const void *arg)
{
	odd_keep(out, type, flags, body, arg);
	if (!type)
		for (uint16_t n = UNKNOWN_STATUS; n < UNKNOWN_STATUS + 5; n++)
			pld_notify_add(&out->b, n, (struct span){ "any", 3 });
}

static void add_error(struct odd *out, uint8_t type, uint8_t flags, struct span body,
		      const void *arg)
{
	odd_keep(out, type, flags, body, arg);
	if (!type)
		pld_notify_add_be16(&out->b, *(const uint16_t *)arg, 7);
}

static void unknown_status_means_nothing(void)
{
	struct world *w = world_new(11, STYLE_PSK);
	const struct ike_msg *m;

	odd_until_auth(w);
	odd_change(w, VPS, odd_candidate(w, HOME), add_status, NULL);
	world_deliver(w, VPS);
	odd_change(w, HOME, w->host[VPS].e->peers->sas, add_status, NULL);
	world_run(w, 0);
	world_agree(w);
	odd_inner(&f);
	pld_notify_add(&f.b, 65535, (struct span){ "any", 3 });
	m = ask(w, INFORMATIONAL);
	assert_true(m && !m->n_payloads);
	assert_int_equal(w->host[VPS].private_count, 1); /* of a Postern: told, and that is all */
	odd_init(&f, 1);
	odd_rest(&f);
	pld_notify_add(&f.b, 30000, (struct span){ NULL, 0 });
	assert_true(init_accepted(w));
	world_agree(w);
	w->host[HOME].e->peers->sas->win.next_out++;
	over(w);
}

/* In a request: no reason not to do what it asks; one line in the log names the number. */
static void unknown_error_in_a_request(void)
{
	struct world *w = world_new(11, STYLE_PSK);
	const struct ike_msg *m;
	char text[4096] = "";
	FILE *log = tmpfile();

	world_up(w);
	log_setup("exchange", LOG_LVL_INFO, fileno(log));
	odd_inner(&f);
	pld_notify_add(&f.b, UNKNOWN_ERROR, (struct span){ NULL, 0 });
	m = ask(w, INFORMATIONAL);
	log_setup("exchange", LOG_LVL_ERR, 2);
	assert_true(m && !m->n_payloads);
	rewind(log);
	assert_true(fread(text, 1, sizeof(text) - 1, log) > 0);
	assert_non_null(strstr(text, "8000"));
	fclose(log);
	assert_int_equal(w->host[VPS].down, 0);
	odd_inner(&f);
	odd_esp(&f);
	odd_nonce(&f, 32);
	odd_ts(&f);
	pld_notify_add(&f.b, PRIVATE_ERROR, (struct span){ NULL, 0 });
	m = ask(w, CREATE_CHILD_SA);
	assert_true(m && m->sa.p);
	world_free(w);
	w = world_new(11, STYLE_PSK);
	odd_until_auth(w);
	odd_change(w, VPS, odd_candidate(w, HOME), add_error, &(uint16_t){ UNKNOWN_ERROR });
	world_run(w, 0);
	world_agree(w);
	over(w);
}

/* In an answer: that request has failed entirely, and what is no part of it stays. */
static void unknown_error_in_an_answer(uint16_t type)
{
	struct world *w = world_new(11, STYLE_PSK);
	struct ike_hdr h;

	world_up(w);
	DO(w, HOME, assert_int_equal(0, engine_create_child(e, now, w->host[HOME].ike, fx)));
	world_lose(w, VPS);
	odd_inner(&f);
	pld_notify_add(&f.b, type, (struct span){ NULL, 0 });
	odd_response(w, VPS, &f);
	assert_int_equal(w->host[HOME].failed, 1);
	assert_non_null(
	    strstr(w->host[HOME].last_failed.failed.text, type == 8000 ? "8000" : "16383"));
	assert_int_equal(w->host[HOME].down, 0);
	world_agree(w);
	world_free(w);
	/* With a CHILD SA beside it: that goes again. */
	w = world_new(11, STYLE_PSK);
	world_up(w);
	DO(w, HOME, assert_int_equal(0, engine_create_child(e, now, w->host[HOME].ike, fx)));
	world_deliver(w, VPS);
	assert_int_equal(w->host[VPS].child_up, 2);
	odd_change(w, HOME, odd_sa_of(w, VPS), add_error, &type);
	world_run(w, 30000);
	assert_int_equal(w->host[HOME].child_up, 1);
	assert_int_equal(w->host[HOME].failed, 1);
	world_agree(w);
	over(w);
	/* With a new IKE SA: there is no telling which of the two lives over there. */
	w = world_new(11, STYLE_PSK);
	world_up(w);
	DO(w, HOME, assert_int_equal(0, engine_rekey_ike(e, now, w->host[HOME].ike, fx)));
	world_deliver(w, VPS);
	assert_int_equal(0, ike_hdr_parse(w->flight[0].bytes, w->flight[0].len, &h));
	odd_change(w, HOME, forge_sa(w, VPS, &h), add_error, &type);
	world_run(w, 1000);
	assert_int_equal(w->host[HOME].ike_rekeyed, 0);
	assert_int_equal(w->host[HOME].down, 1);
	assert_int_equal(w->host[HOME].last_down.down.why, ENGINE_WHY_PROTOCOL);
	over(w);
	/* IKE_AUTH too: whatever else it brings, we are not up. */
	w = world_new(12, STYLE_PSK);
	odd_until_auth(w);
	world_deliver(w, VPS);
	odd_change(w, HOME, w->host[VPS].e->peers->sas, add_error, &type);
	world_deliver(w, HOME);
	assert_int_equal(w->host[HOME].up, 0);
	assert_int_equal(w->host[HOME].down, 1);
	assert_int_equal(w->host[HOME].last_down.down.why, ENGINE_WHY_REFUSED);
	world_run(w, 1000); /* the peer, who believes otherwise, was told */
	assert_int_equal(w->host[VPS].down, 1);
	over(w);
}

/* RFC 7296 s3.10.1 */
static void ike_case_011_unknown_notifies_by_their_range(void **s)
{
	(void)s;
	unknown_status_means_nothing();
	unknown_error_in_a_request();
	unknown_error_in_an_answer(UNKNOWN_ERROR);
	unknown_error_in_an_answer(PRIVATE_ERROR);
}

/* ---- order, number, size ---- */

static struct kept {
	uint8_t type, flags;
	struct span body;
} kept[64];
static unsigned kept_count;

static void reverse(struct odd *out, uint8_t type, uint8_t flags, struct span body, const void *arg)
{
	(void)arg;
	if (type) {
		assert_true(kept_count < 64);
		kept[kept_count++] = (struct kept){ type, flags, body };
		return;
	}
	while (kept_count--)
		odd_payload(out, kept[kept_count].type, kept[kept_count].flags,
			    kept[kept_count].body.p, kept[kept_count].body.len);
	kept_count = 0;
}

static void twice(struct odd *out, uint8_t type, uint8_t flags, struct span body, const void *arg)
{
	odd_keep(out, type, flags, body, arg);
	if (type == *(const uint8_t *)arg)
		odd_keep(out, type, flags, body, arg);
}

static void doubled_in_create_child(uint8_t type)
{
	struct world *w = world_new(12, STYLE_PSK);
	const struct ike_msg *m;

	world_up(w);
	odd_inner(&f);
	for (int i = 0; i <= (type == PLD_SA); i++)
		odd_esp(&f);
	for (int i = 0; i <= (type == PLD_NONCE); i++)
		odd_nonce(&f, 32);
	for (int i = 0; i < 2 * (type == PLD_KE); i++)
		odd_ke(&f);
	for (int i = 0; i <= (type == PLD_TSI); i++)
		odd_ts(&f);
	m = ask(w, CREATE_CHILD_SA);
	if (type) {
		assert_true(odd_notify_only(m, INVALID_SYNTAX));
	} else {
		assert_true(m && m->sa.p && m->nonce.p && m->tsi.p && m->tsr.p);
	}
	world_free(w);
}

/* RFC 7296 s2.5: a sender should keep the order of s1.2, a receiver must not ask for it. */
static void ike_case_012_any_order_is_accepted_and_doubles_are_not(void **s)
{
	static const uint8_t one_of_each[] = {
		PLD_IDI, PLD_AUTH, PLD_SA, PLD_TSI, PLD_TSR, PLD_CP
	};
	struct world *w = world_new(12, STYLE_PSK);

	(void)s;
	odd_until_auth(w);
	odd_change(w, VPS, odd_candidate(w, HOME), reverse, NULL);
	world_deliver(w, VPS);
	odd_change(w, HOME, w->host[VPS].e->peers->sas, reverse, NULL);
	world_run(w, 0);
	world_agree(w);
	for (int i = 0; i < 4; i++) { /* SA, KE, Nonce: one of them doubled, in whatever order */
		odd_init(&f, 1);
		odd_nonce(&f, 32);
		if (i == 1)
			odd_nonce(&f, 32);
		pld_vendor_add(&f.b, (struct span){ "between", 7 });
		odd_ke(&f);
		odd_sa(&f);
		if (i == 2)
			odd_ke(&f);
		if (i == 3)
			odd_sa(&f);
		assert_true(i ? init_dropped(w) : init_accepted(w));
		if (!i)
			world_run(w, 60000);
	}
	over(w);
	doubled_in_create_child(PLD_NONE);
	doubled_in_create_child(PLD_SA);
	doubled_in_create_child(PLD_NONCE);
	doubled_in_create_child(PLD_KE);
	doubled_in_create_child(PLD_TSI);
	for (size_t i = 0; i < sizeof(one_of_each); i++) {
		struct ike_sa *home;

		w = world_new(12, STYLE_PSK);
		odd_until_auth(w);
		home = odd_candidate(w, HOME);
		odd_change(w, VPS, home, twice, &one_of_each[i]);
		world_deliver(w, VPS);
		assert_true(odd_notify_only(odd_answer(w, HOME, home), INVALID_SYNTAX));
		assert_int_equal(w->host[VPS].up, 0);
		over(w);
	}
}

/* An SA body of @proposals, each with @transforms and at its end @tail; the @good-th is usable. */
static size_t many(uint8_t *b, size_t cap, unsigned proposals, unsigned transforms, unsigned good)
{
	static const uint8_t usable[] = {
		3, 0, 0, 12, 1, 0, 0, 20, 0x80, 14, 0, 128, /* AES_GCM_16, 128 bits */
		3, 0, 0, 8,  2, 0, 0, 5,		    /* PRF_HMAC_SHA2_256 */
		0, 0, 0, 8,  4, 0, 0, 31,		    /* curve25519 */
	};
	size_t n = 0;

	for (unsigned i = 1; i <= proposals; i++) {
		unsigned count = i == good ? 3 : transforms;
		size_t len = 8 + (i == good ? sizeof(usable) : 8 * (size_t)transforms);

		assert_true(n + len <= cap);
		b[n++] = i < proposals ? 2 : 0;
		b[n++] = 0;
		b[n++] = (uint8_t)(len >> 8);
		b[n++] = (uint8_t)len;
		b[n++] = (uint8_t)i;
		b[n++] = PROTO_IKE;
		b[n++] = 0;
		b[n++] = (uint8_t)count;
		if (i == good)
			memcpy(b + n, usable, sizeof(usable));
		for (unsigned t = 1; i != good && t <= transforms; t++)
			memcpy(b + n + 8 * (t - 1),
			       (uint8_t[]){ t < transforms ? 3 : 0, 0, 0, 8, 1, 0, 0, (uint8_t)t },
			       8);
		n += len - 8;
	}
	return n;
}

static void offer(const uint8_t *b, size_t len)
{
	odd_init(&f, 1);
	odd_payload(&f, PLD_SA, 0, b, len);
	odd_ke(&f);
	odd_nonce(&f, 32);
	allocated = 0;
}

#define MEMORY_PER_MESSAGE (256 * 1024)

static void large_offers_are_bounded(struct world *w)
{
	static uint8_t b[IKE_MSG_MAX];

	offer(b, many(b, sizeof(b), 3, 8, 3));
	assert_true(init_accepted(w));
	/* 101 proposals, 255 transforms in each of seven, 255 proposals of which the first is good. */
	offer(b, many(b, sizeof(b), 101, 15, 0));
	assert_false(init_accepted(w));
	assert_true(allocated < MEMORY_PER_MESSAGE);
	offer(b, many(b, sizeof(b), 7, 255, 0));
	assert_false(init_accepted(w));
	assert_true(allocated < MEMORY_PER_MESSAGE);
	world_run(w, 60000);
	offer(b, many(b, sizeof(b), 16, 100, 0));
	assert_false(init_accepted(w));
	assert_true(allocated < MEMORY_PER_MESSAGE);
	world_run(w, 60000);
	offer(b, many(b, sizeof(b), 255, 0, 1));
	assert_true(init_accepted(w));
	assert_true(allocated < MEMORY_PER_MESSAGE);
	world_run(w, 60000);
}

/* Lengths within lengths that promise more than there is, or nothing at all. */
static void lengths_that_lie_are_dropped(struct world *w)
{
	static const struct lie {
		size_t at;
		uint8_t value;
	} lies[] = {
		{ 2, 0xff },  { 3, 0 },	    { 3, 7 },	  { 6, 255 },
		{ 7, 255 },   { 7, 0 },	    { 7, 4 },	  { 8 + 2, 1 },
		{ 8 + 3, 0 }, { 8 + 3, 7 }, { 8 + 3, 9 }, { 28 + 3, 255 },
	};
	uint8_t b[256];
	size_t n;

	for (size_t i = 0; i < sizeof(lies) / sizeof(*lies); i++) {
		n = many(b, sizeof(b), 1, 0, 1);
		b[lies[i].at] = lies[i].value;
		offer(b, n);
		if (!init_dropped(w))
			fail_msg("%zu set to %u passes", lies[i].at, lies[i].value);
		assert_true(allocated < MEMORY_PER_MESSAGE);
	}
}

static void many_payloads_are_bounded(struct world *w)
{
	for (int over_max = 0; over_max < 2; over_max++) {
		odd_init(&f, 1);
		odd_rest(&f);
		for (int i = 3; i < IKE_PAYLOADS_MAX + over_max; i++)
			odd_payload(&f, 200, 0, NULL, 0);
		f.b.count = 1; /* an honest builder stops here */
		allocated = 0;
		assert_true(over_max ? init_dropped(w) : init_accepted(w));
		assert_true(allocated < MEMORY_PER_MESSAGE);
		world_run(w, 60000);
	}
	odd_init(&f, 1);
	odd_rest(&f);
	for (int i = 3; i < IKE_PAYLOADS_MAX; i++)
		pld_notify_add(&f.b, UNKNOWN_STATUS, (struct span){ NULL, 0 });
	assert_true(init_dropped(w));
	odd_init(&f, 1);
	odd_rest(&f);
	while (f.b.w.len < ENGINE_MSG_MAX - 8)
		pld_notify_add(&f.b, COOKIE, (struct span){ NULL, 0 });
	f.b.count = 1;
	allocated = 0;
	assert_true(init_dropped(w));
	assert_true(allocated < MEMORY_PER_MESSAGE);
}

/* RFC 7296 sets no bounds to how many there may be: we have to. */
static void ike_case_013_payloads_proposals_and_lengths_are_bounded(void **s)
{
	struct world *w = world_new(13, STYLE_PSK);
	struct ike_sa *home;
	const struct ike_msg *m;

	(void)s;
	world_start(w);
	large_offers_are_bounded(w);
	lengths_that_lie_are_dropped(w);
	many_payloads_are_bounded(w);
	world_call(w, HOME);
	world_run(w, 0);
	world_agree(w);
	/* The same from a peer: it may be told. */
	home = odd_sa_of(w, HOME);
	odd_inner(&f);
	for (int i = 0; i < 1000; i++)
		pld_notify_add(&f.b, UNKNOWN_STATUS, (struct span){ NULL, 0 });
	f.b.count = 1;
	allocated = 0;
	odd_request(w, HOME, INFORMATIONAL, &f);
	assert_true(allocated < MEMORY_PER_MESSAGE);
	m = odd_answer(w, HOME, home);
	assert_true(odd_notify_only(m, INVALID_SYNTAX));
	over(w);
}

static void nonce_in_create_child(size_t len, bool good)
{
	struct world *w = world_new(14, STYLE_PSK);
	const struct ike_msg *m;

	world_up(w);
	odd_inner(&f);
	odd_esp(&f);
	odd_nonce(&f, len);
	odd_ts(&f);
	m = ask(w, CREATE_CHILD_SA);
	if (good) {
		assert_true(m && m->sa.p && m->nonce.p);
	} else {
		assert_true(odd_notify_only(m, INVALID_SYNTAX));
	}
	world_free(w);
}

/* RFC 7296 s3.9 */
static void ike_case_014_nonces_have_16_to_256_bytes(void **s)
{
	static const size_t lens[] = { 15, 257, 0, 300, 16, 256 };

	(void)s;
	for (size_t i = 0; i < sizeof(lens) / sizeof(*lens); i++) {
		struct world *w = world_new(14, STYLE_PSK);
		bool good = lens[i] == 16 || lens[i] == 256;

		world_start(w);
		odd_init(&f, 1);
		odd_sa(&f);
		odd_ke(&f);
		odd_nonce(&f, lens[i]);
		assert_true(good ? init_accepted(w) : init_dropped(w));
		/* In an answer: as if it had not come. */
		world_call(w, HOME);
		odd_begin(&f, &(struct ike_hdr){ .spi_i = odd_calling(w),
						 .spi_r = 1,
						 .exchange = IKE_SA_INIT,
						 .flags = IKE_FLAG_RESPONSE });
		odd_choice(&f);
		odd_ke(&f);
		odd_nonce(&f, lens[i]);
		odd_end(&f);
		odd_inject(w, HOME, &w->host[HOME].path, &f);
		assert_int_equal(world_in_flight(w, VPS), good ? 2 : 1); /* IKE_AUTH --> */
		world_run(w, 30000);
		world_agree(w);
		over(w);
		nonce_in_create_child(lens[i], good);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ike_case_009_an_unknown_critical_payload_rejects_the_message),
		cmocka_unit_test(
		    ike_case_010_unknown_payloads_are_skipped_and_known_ones_may_be_critical),
		cmocka_unit_test(ike_case_011_unknown_notifies_by_their_range),
		cmocka_unit_test(ike_case_012_any_order_is_accepted_and_doubles_are_not),
		cmocka_unit_test(ike_case_013_payloads_proposals_and_lengths_are_bounded),
		cmocka_unit_test(ike_case_014_nonces_have_16_to_256_bytes),
	};

	log_setup("exchange", LOG_LVL_ERR, 2);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
