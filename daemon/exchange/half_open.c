/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine_int.h"

#include <malloc.h>
#include <stdlib.h>

#include "pack.h"

#define OF_NODE(n, field) ((struct half_open *)((char *)(n)-offsetof(struct half_open, field)))

/* ---- finding ---- */

static uint64_t init_hash(uint64_t spi_i, const struct endpoint *from)
{
	uint8_t b[8 + 1 + 16 + 2];
	struct wr w = wr_init(b, sizeof(b));

	wr_be64(&w, spi_i);
	wr_u8(&w, from->addr.family == AF_INET ? 4 : 6);
	wr_bytes(&w, from->addr.b, 16);
	wr_be16(&w, from->port);
	return hash_bytes(b, w.len);
}

static struct half_open *by_init(const struct engine *e, uint64_t spi_i,
				 const struct engine_path *path)
{
	struct hash_node *n = hash_first(&e->half_by_init, init_hash(spi_i, &path->remote));

	for (; n; n = hash_next(n)) {
		struct half_open *ho = OF_NODE(n, by_init);

		if (ho->spi_i == spi_i && endpoint_eq(&ho->remote, &path->remote))
			return ho;
	}
	return NULL;
}

/* An IKE SA that came of it: a late copy of its first message makes no second one. */
static bool has_sa(const struct engine *e, uint64_t spi_i, const struct engine_path *path)
{
	struct hash_node *n = hash_first(&e->by_init, init_hash(spi_i, &path->remote));

	for (; n; n = hash_next(n)) {
		struct ike_sa *sa = (struct ike_sa *)((char *)n - offsetof(struct ike_sa, by_init));

		/* The 64 bit keyed hash stands for the endpoint, which may have moved since. */
		if (sa->spi_i == spi_i)
			return true;
	}
	return false;
}

static struct half_open *spi_next(struct hash_node *n, uint64_t spi_r)
{
	while (n && OF_NODE(n, by_spi)->spi_r != spi_r)
		n = hash_next(n);
	return n ? OF_NODE(n, by_spi) : NULL;
}

bool half_open_has_spi(const struct engine *e, uint64_t spi_r)
{
	return spi_next(hash_first(&e->half_by_spi, hash_bytes(&spi_r, sizeof(spi_r))), spi_r);
}

struct half_open *half_open_by_spi(const struct engine *e, uint64_t spi_i, uint64_t spi_r)
{
	struct half_open *ho =
	    spi_next(hash_first(&e->half_by_spi, hash_bytes(&spi_r, sizeof(spi_r))), spi_r);

	return ho && ho->spi_i == spi_i ? ho : NULL;
}

/* ---- life ---- */

void half_open_forget(struct engine *e, bool cookie, uint32_t prefix)
{
	e->n.half_open--;
	if (cookie && e->prefix_half_open[prefix])
		e->prefix_half_open[prefix]--;
}

static size_t excess(struct half_open *ho)
{
	size_t bytes = malloc_usable_size(ho);

	return bytes > HALF_OPEN_BYTES ? bytes - HALF_OPEN_BYTES : 0;
}

/* Out of the tables and gone; what it counted for goes on counting. */
static void release(struct engine *e, struct half_open *ho)
{
	hash_remove(&e->half_by_spi, &ho->by_spi);
	hash_remove(&e->half_by_init, &ho->by_init);
	*ho->prev = ho->next;
	if (ho->next)
		ho->next->prev = ho->prev;
	else
		e->half_last = ho->prev;
	e->half_excess -= excess(ho);
	secret_wipe(ho->secret, sizeof(ho->secret));
	free(ho);
}

static void end(struct engine *e, struct half_open *ho)
{
	half_open_forget(e, ho->cookie, ho->prefix);
	release(e, ho);
}

/* One timer for all: they are as old as their place in the list. */
void half_open_expire(struct engine *e, uint64_t now_ms, bool all)
{
	while (e->half_first && (all || e->half_first->since_ms + HALF_OPEN_MS <= now_ms))
		end(e, e->half_first);
	if (e->half_first)
		timer_arm(e, &e->half_life, e->half_first->since_ms + HALF_OPEN_MS);
	else
		timer_clear(&e->timers, &e->half_life);
}

/* Those that had an authentic first fragment and still wait for the rest. */
static struct ike_sa *oldest_waiting(const struct engine *e, int slot)
{
	struct ike_sa *oldest = NULL;

	for (struct ike_sa *sa = e->strangers; sa; sa = sa->peer_next)
		if (sa->state == SA_R_INIT &&
		    (slot < 0 || (sa->auth->cookie && sa->auth->prefix == (uint32_t)slot)))
			oldest = sa; /* the list has the newest first */
	return oldest;
}

bool half_open_evict(struct engine *e, int slot, uint64_t *since_ms)
{
	struct half_open *ho = e->half_first;
	struct ike_sa *sa = oldest_waiting(e, slot);

	while (ho && slot >= 0 && (!ho->cookie || ho->prefix != (uint16_t)slot))
		ho = ho->next;
	*since_ms = ho && (!sa || ho->since_ms <= sa->since_ms) ? ho->since_ms
		    : sa					? sa->since_ms
								: e->now_ms;
	if ((!ho && !sa) || *since_ms + HALF_OPEN_FAIR_MS > e->now_ms)
		return false;
	e->n.half_open_evicted++;
	if (ho && *since_ms == ho->since_ms)
		end(e, ho);
	else
		sa_end(e, sa, ENGINE_WHY_TIMEOUT, false);
	return true;
}

/* Both messages as one packed piece, with the entry before it. */
static struct half_open *entry_new(struct engine *e, struct span request, struct span reply)
{
	uint8_t packed[PACK_ROOM(2 * HALF_OPEN_MSG_MAX)];
	struct half_open *ho;
	size_t n;

	memcpy(e->plain, request.p, request.len);
	memcpy(e->plain + request.len, reply.p, reply.len);
	n = pack_bytes(e->plain, request.len + reply.len, packed);
	ho = malloc(sizeof(*ho) + n);
	if (!ho)
		return NULL;
	memset(ho, 0, sizeof(*ho));
	memcpy(ho->packed, packed, n);
	ho->packed_len = (uint16_t)n;
	ho->request_len = (uint16_t)request.len;
	ho->reply_len = (uint16_t)reply.len;
	return ho;
}

int half_open_add(struct engine *e, const struct ike_msg *m, const struct engine_path *path,
		  uint64_t spi_r, const struct ike_suite *suite, const struct dh *dh,
		  struct span reply, bool cookie)
{
	struct half_open *ho;
	size_t len;

	if (m->raw.len > HALF_OPEN_MSG_MAX || reply.len > HALF_OPEN_MSG_MAX)
		return -EMSGSIZE;
	ho = entry_new(e, m->raw, reply);
	if (!ho)
		return -ENOMEM;
	if (excess(ho) && e->half_excess + excess(ho) > HALF_OPEN_EXCESS_MAX) {
		free(ho);
		return -ENOBUFS;
	}
	ho->spi_i = m->hdr.spi_i;
	ho->spi_r = spi_r;
	ho->since_ms = e->now_ms;
	ho->remote = path->remote;
	ho->suite = *suite;
	ho->cookie = cookie;
	ho->prefix = (uint16_t)prefix_slot(&path->remote.addr);
	nat_judge_init(m, path, &ho->nat_local, &ho->nat_remote);
	ho->frag = ike_msg_notify(m, IKEV2_FRAGMENTATION_SUPPORTED) != NULL;
	if (dh_private(dh, ho->secret, &len) ||
	    hash_insert(&e->half_by_spi, &ho->by_spi, hash_bytes(&spi_r, sizeof(spi_r)))) {
		secret_wipe(ho->secret, sizeof(ho->secret));
		free(ho);
		return -ENOMEM;
	}
	if (hash_insert(&e->half_by_init, &ho->by_init, init_hash(ho->spi_i, &path->remote))) {
		hash_remove(&e->half_by_spi, &ho->by_spi);
		secret_wipe(ho->secret, sizeof(ho->secret));
		free(ho);
		return -ENOMEM;
	}
	ho->secret_len = (uint8_t)len;
	ho->prev = e->half_last;
	*e->half_last = ho;
	e->half_last = &ho->next;
	e->half_excess += excess(ho);
	e->n.half_open++;
	if (cookie)
		e->prefix_half_open[ho->prefix]++;
	if (!timer_armed(&e->half_life))
		timer_arm(e, &e->half_life, e->now_ms + HALF_OPEN_MS);
	return 0;
}

/* Both messages, in e->build. */
static int unpack(struct engine *e, const struct half_open *ho, struct span *request,
		  struct span *reply)
{
	*request = (struct span){ e->build, ho->request_len };
	*reply = (struct span){ e->build + ho->request_len, ho->reply_len };
	return pack_open(ho->packed, ho->packed_len, e->build,
			 (size_t)ho->request_len + ho->reply_len);
}

bool half_open_repeated(struct engine *e, const struct ike_msg *m, const struct engine_path *path)
{
	struct half_open *ho = by_init(e, m->hdr.spi_i, path);
	struct span request, reply;

	if (!ho) {
		if (!has_sa(e, m->hdr.spi_i, path))
			return false;
		e->n.in_dropped++;
		return true;
	}
	if (m->raw.len != ho->request_len || unpack(e, ho, &request, &reply) ||
	    memcmp(m->raw.p, request.p, request.len) != 0) {
		e->n.in_dropped++;
		return true;
	}
	e->n.in_retransmits++;
	fx_send(e, path, reply.p, reply.len, 0);
	return true;
}

/* ---- IKE_AUTH ---- */

/* Could this be the awaited message? Asked before it costs a DH. */
static bool plausible(const struct half_open *ho, const struct ike_msg *m)
{
	struct integ_info integ;
	struct encr_info encr;

	if (m->hdr.exchange != IKE_AUTH || ike_hdr_is_response(&m->hdr) || m->hdr.id != 1 ||
	    !(m->hdr.flags & IKE_FLAG_INITIATOR) || (m->sk.type == PLD_SKF && !ho->frag))
		return false;
	if (encr_info(ho->suite.encr, ho->suite.encr_bits, &encr) ||
	    integ_info(ho->suite.integ, &integ))
		return false;
	return m->raw.len >
	       m->sk.body_at + encr.iv_len + (encr.aead ? encr.icv_len : integ.icv_len);
}

/* g^ir, the one time; from then on SKEYSEED is all that there is. */
static int agree(struct half_open *ho, const struct ike_msg *request, const struct ike_msg *reply)
{
	const struct span private = { ho->secret, ho->secret_len };
	const struct span public = { reply->ke.data, reply->ke.len };
	struct secret shared = { 0 };
	uint8_t seed[PRF_LEN_MAX];
	struct dh *dh = NULL;
	int err = dh_restore(ho->suite.ke, private, public, &dh);

	_Static_assert(sizeof(seed) <= sizeof(ho->secret),
		       "SKEYSEED takes the private value's place");
	if (!err)
		err = dh_shared(dh, request->ke.data, request->ke.len, &shared);
	if (!err)
		err = ike_skeyseed(ho->suite.prf, request->nonce, reply->nonce, &shared, seed);
	dh_free(dh);
	secret_clear(&shared);
	secret_wipe(ho->secret, sizeof(ho->secret));
	if (!err) {
		memcpy(ho->secret, seed, prf_len(ho->suite.prf));
		ho->secret_len = (uint8_t)prf_len(ho->suite.prf);
		ho->keyed = true;
	}
	secret_wipe(seed, sizeof(seed));
	return err;
}

/* Does the SK payload of @m open with these keys? The context lives no longer than that. */
static int try_open(struct engine *e, const struct half_open *ho, const struct ike_keys *k,
		    const struct ike_msg *m)
{
	struct ike_aead *in;
	size_t len = 0;
	int err = ike_aead_new(&ho->suite, &k->sk_ei, &k->sk_ai, &in);

	if (!err)
		err = sk_open(in, m, e->plain, sizeof(e->plain), &len);
	secret_wipe(e->plain, len);
	ike_aead_free(in);
	return err;
}

static int auth_fill(struct auth_ctx *a, const struct ike_msg *request, const struct ike_msg *reply)
{
	const struct pld_notify *hashes = ike_msg_notify(request, SIGNATURE_HASH_ALGORITHMS);

	nonce_set(&a->ni, request->nonce);
	nonce_set(&a->nr, reply->nonce);
	a->childless = ike_msg_notify(reply, CHILDLESS_IKEV2_SUPPORTED) != NULL;
	a->peer_hashes = hashes ? pld_hashes_parse(hashes) : 0;
	return auth_keep_messages(a, request->raw, reply->raw);
}

/* Takes @keys, and the entry when it succeeds. */
static struct ike_sa *become_sa(struct engine *e, struct half_open *ho, struct ike_keys *keys,
				const struct ike_msg *request, const struct ike_msg *reply,
				const struct engine_path *path)
{
	struct ike_sa *sa = sa_register(e, NULL, ho->spi_i, ho->spi_r, false);
	int err;

	if (!sa)
		return NULL;
	sa->state = SA_R_INIT;
	sa->path = *path;
	sa->suite = ho->suite;
	sa->keys = *keys;
	memset(keys, 0, sizeof(*keys));
	sa->frag = ho->frag;
	sa->postern = ike_msg_is_postern(request);
	sa->win.next_in = 1; /* IKE_SA_INIT was 0 */
	sa->auth = calloc(1, sizeof(*sa->auth));
	err = sa->auth ? auth_fill(sa->auth, request, reply) : -ENOMEM;
	sa->redirects = redirect_supported(request);
	if (!err)
		sa->auth->origin = redirect_origin(request);
	if (!err)
		err = ike_sa_keyed(sa);
	if (!err)
		err = hash_insert(&e->by_init, &sa->by_init, ho->by_init.h);
	if (err) {
		sa_end(e, sa, ENGINE_WHY_LOCAL, false);
		return NULL;
	}
	sa->lowest = nonce_lower(&sa->auth->ni, &sa->auth->nr);
	sa->in_init = true;
	sa->half_open = true;
	sa->auth->cookie = ho->cookie;
	sa->auth->prefix = ho->prefix;
	sa->nat_local = ho->nat_local;
	sa->nat_remote = ho->nat_remote;
	sa->begun_ms = ho->since_ms;
	timer_arm(e, &sa->life, ho->since_ms + HALF_OPEN_MS);
	release(e, ho);
	return sa;
}

struct ike_sa *half_open_open(struct engine *e, struct half_open *ho, const struct ike_msg *m,
			      const struct engine_path *path)
{
	static struct ike_msg request, reply; /* one thread; too large for a stack frame */
	struct ike_keys keys = { 0 };
	struct ike_sa *sa = NULL;
	struct span i, r;
	int err = -EBADMSG;

	if (!plausible(ho, m)) {
		e->n.in_dropped++;
		return NULL;
	}
	memset(&request, 0, sizeof(request));
	memset(&reply, 0, sizeof(reply));
	if (!unpack(e, ho, &i, &r) && !ike_msg_parse(i.p, i.len, &request) &&
	    !ike_msg_parse(r.p, r.len, &reply))
		err = ho->keyed ? 0 : agree(ho, &request, &reply);
	if (err) {
		/* The caller's value is in no group, or we ran out of memory: it must begin anew. */
		e->n.in_malformed++;
		end(e, ho);
		return NULL;
	}
	err = ike_keys_expand(&ho->suite, ho->secret, request.nonce, reply.nonce, ho->spi_i,
			      ho->spi_r, &keys);
	if (!err)
		err = try_open(e, ho, &keys, m);
	if (!err)
		sa = become_sa(e, ho, &keys, &request, &reply, path);
	else if (err == -EKEYREJECTED || err == -EBADMSG)
		e->n.in_unauthenticated++;
	ike_keys_clear(&keys);
	return sa;
}
