/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Theory: under load an IKE_SA_INIT costs us one hash and no memory (RFC 7296 s2.6):
 *
 *	cookie = version | SHA-256(secret[version] | SPIi | address | port | Ni), cut to 16 bytes
 *
 * The secret changes each minute and the one before stays valid, so that a cookie lives one to
 * two minutes. Before a cookie has come back nothing is counted against a source.
 */
#include "engine_int.h"
#include "digest.h"

bool cookie_wanted(const struct engine *e)
{
	return e->n.half_open >= e->cookie_from ||
	       (e->init_seen > INIT_RATE_MAX && e->now_ms - e->init_since_ms < 1000);
}

void cookie_count(struct engine *e)
{
	if (e->now_ms - e->init_since_ms >= 1000) {
		e->init_since_ms = e->now_ms;
		/* A flood is not over because a second is. */
		e->init_seen = e->init_seen > INIT_RATE_MAX ? INIT_RATE_MAX / 2 : 0;
	}
	if (e->init_seen <= INIT_RATE_MAX)
		e->init_seen++;
}

static void rotate(struct engine *e)
{
	if (e->now_ms - e->cookie_since_ms < COOKIE_SECRET_MS)
		return;
	/* After a long silence neither secret may be used any more. */
	if (e->now_ms - e->cookie_since_ms < 2 * COOKIE_SECRET_MS)
		memcpy(e->cookie_secret[1], e->cookie_secret[0], sizeof(e->cookie_secret[1]));
	else
		engine_random(e, e->cookie_secret[1], sizeof(e->cookie_secret[1]));
	engine_random(e, e->cookie_secret[0], sizeof(e->cookie_secret[0]));
	e->cookie_version++;
	e->cookie_since_ms = e->now_ms;
}

static int compute(const uint8_t secret[static 32], uint8_t version, const struct ike_msg *m,
		   const struct engine_path *path, uint8_t out[static COOKIE_LEN])
{
	uint8_t fixed[8 + 1 + 16 + 2], h[SHA256_LEN];
	struct wr w = wr_init(fixed, sizeof(fixed));
	struct span parts[3];
	int err;

	wr_be64(&w, m->hdr.spi_i);
	wr_u8(&w, path->remote.addr.family == AF_INET ? 4 : 6);
	wr_bytes(&w, path->remote.addr.b, 16);
	wr_be16(&w, path->remote.port);
	parts[0] = (struct span){ secret, 32 };
	parts[1] = (struct span){ fixed, w.len };
	parts[2] = m->nonce;
	err = digest_sha256(parts, 3, h);
	out[0] = version;
	memcpy(out + 1, h, COOKIE_LEN - 1);
	return err;
}

int cookie_make(struct engine *e, const struct ike_msg *m, const struct engine_path *path,
		uint8_t out[static COOKIE_LEN])
{
	rotate(e);
	return compute(e->cookie_secret[0], e->cookie_version, m, path, out);
}

bool cookie_check(struct engine *e, const struct ike_msg *m, const struct engine_path *path)
{
	const struct pld_notify *n = ike_msg_notify(m, COOKIE);
	uint8_t want[COOKIE_LEN];
	uint8_t age;

	if (!n || n->len != COOKIE_LEN)
		return false;
	rotate(e);
	age = (uint8_t)(e->cookie_version - n->data[0]);
	if (age > 1 || compute(e->cookie_secret[age], n->data[0], m, path, want))
		return false;
	return secret_equal(want, sizeof(want), n->data, n->len);
}
