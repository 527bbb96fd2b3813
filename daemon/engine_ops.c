/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The engine's questions, answered at once. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "child_int.h"
#include "secret.h"

static int op_spi_alloc(void *arg, uint32_t peer, uint32_t *spi)
{
	struct child *c = arg;
	int rc = dp_spi_alloc(c->dp, spi);

	(void)peer;
	*spi = ntohl(*spi);
	return rc;
}

static void op_spi_free(void *arg, uint32_t peer, uint32_t spi)
{
	struct child *c = arg;

	(void)peer;
	dp_spi_release(c->dp, htonl(spi));
}

static int cipher_of(const struct esp_suite *s, enum dp_cipher *cipher)
{
	bool large = s->encr_bits == 256;

	switch (s->encr) {
	case ENCR_AES_GCM_16:
		*cipher = large ? DP_AES_256_GCM_16 : DP_AES_128_GCM_16;
		return 0;
	case ENCR_CHACHA20_POLY1305:
		*cipher = DP_CHACHA20_POLY1305;
		return 0;
	case ENCR_AES_CBC:
		*cipher = large ? DP_AES_256_CBC_SHA256 : DP_AES_128_CBC_SHA256;
		if (s->integ == AUTH_HMAC_SHA2_384_192)
			*cipher += DP_AES_128_CBC_SHA384 - DP_AES_128_CBC_SHA256;
		else if (s->integ == AUTH_HMAC_SHA2_512_256)
			*cipher += DP_AES_128_CBC_SHA512 - DP_AES_128_CBC_SHA256;
		return 0;
	default:
		return -ENOTSUP;
	}
}

static void ts_for_dp(struct dp_ts *to, const struct ts *from, size_t count)
{
	for (size_t i = 0; i < count; i++)
		to[i] = (struct dp_ts){ .from = from[i].lo,
					.to = from[i].hi,
					.proto = from[i].proto,
					.port_from = from[i].port_lo,
					.port_to = from[i].port_hi };
}

struct pair *pair_of(struct peer *p, uint32_t spi_in)
{
	for (size_t i = 0; i < p->pair_count; i++)
		if (p->pair[i].spi_in == spi_in)
			return &p->pair[i];
	return NULL;
}

static struct pair *pair_new(struct peer *p, uint32_t spi_in)
{
	struct pair *pair = pair_of(p, 0);

	if (!pair) {
		pair = realloc(p->pair, (p->pair_count + 1) * sizeof(*pair));
		if (!pair)
			return NULL;
		p->pair = pair;
		pair = &p->pair[p->pair_count++];
	}
	*pair = (struct pair){ .spi_in = spi_in, .generation = ++p->generation };
	return pair;
}

static int op_child_install(void *arg, enum engine_dir dir, const struct engine_child *ch)
{
	struct child *c = arg;
	struct peer *p = child_peer(c, ch->peer);
	struct dp_ts local[ENGINE_TS_MAX], remote[ENGINE_TS_MAX];
	struct dp_sa sa = { .peer = ch->peer };
	struct pair *pair = p ? pair_of(p, ch->spi_in) : NULL;
	uint8_t key[DP_CIPHER_KEY_LEN_MAX];
	int rc = p ? cipher_of(&ch->suite, &sa.cipher) : -ENOENT;

	if (rc)
		return rc;
	if (ch->key.len + ch->integ_key.len > sizeof(key))
		return -EINVAL;
	if (!pair)
		pair = pair_new(p, ch->spi_in);
	if (!pair)
		return -ENOMEM;
	pair->spi_out = ch->spi_out;
	ts_for_dp(local, ch->local_ts, ch->local_ts_count);
	ts_for_dp(remote, ch->remote_ts, ch->remote_ts_count);
	sa.spi = htonl(dir == ENGINE_IN ? ch->spi_in : ch->spi_out);
	sa.generation = pair->generation;
	sa.line = ch->line;
	sa.replay_window = ch->replay_window;
	sa.soft_bytes = ch->soft_bytes;
	sa.hard_bytes = ch->hard_bytes;
	sa.soft_pkts = ch->soft_pkts;
	sa.hard_pkts = ch->hard_pkts;
	memcpy(key, ch->key.p, ch->key.len);
	if (ch->integ_key.len)
		memcpy(key + ch->key.len, ch->integ_key.p, ch->integ_key.len);
	sa.key = key;
	sa.key_len = ch->key.len + ch->integ_key.len;
	sa.esn = ch->suite.esn == ESN_YES;
	sa.local = local;
	sa.local_count = ch->local_ts_count;
	sa.remote = remote;
	sa.remote_count = ch->remote_ts_count;
	rc = dir == ENGINE_IN ? dp_sa_install_in(c->dp, &sa) : dp_sa_install_out(c->dp, &sa);
	secret_wipe(key, sizeof(key));
	if (!rc)
		path_mtu_cipher(c, sa.cipher);
	log_debug(&p->log, "CHILD SA %s spi=%08x generation=%u: %s",
		  dir == ENGINE_IN ? "in" : "out", ntohl(sa.spi), sa.generation,
		  rc ? strerror(-rc) : "installed");
	if (rc && dir == ENGINE_IN)
		memset(pair, 0, sizeof(*pair));
	return rc;
}

static bool has_key(const struct conf_section *s, const char *key)
{
	for (size_t i = 0; i < s->kind->key_count; i++)
		if (!strcmp(s->kind->keys[i].name, key))
			return true;
	return false;
}

static void op_where(void *arg, uint32_t id, const char *key, char *out, size_t cap)
{
	struct child *c = arg;
	const struct conf *conf = c->cfg->conf;
	const struct peer *known = child_peer(c, id); /* by number: strangers make us ask, thousands of times */
	const struct config_peer *p = known ? known->cfg : NULL;
	const struct conf_section *all = conf_find(conf, "posternd", ""),
				  *own = p ? conf_find(conf, "peer", p->of ? p->of->name : p->name) : NULL;

	/* Its own line, else that of all, else where it could be written. */
	if (own && has_key(own, key) && conf_is_set(own, key))
		snprintf(out, cap, "%s:%u", conf->path, conf_line(own, key));
	else if (has_key(all, key) && conf_is_set(all, key))
		snprintf(out, cap, "%s:%u", conf->path, conf_line(all, key));
	else if (own && has_key(own, key))
		snprintf(out, cap, "not set in [peer %s], %s:%u", p->name, conf->path, own->line);
	else if (has_key(all, key))
		snprintf(out, cap, "not set in [posternd], %s:%u", conf->path, all->line);
}

const struct engine_ops child_engine_ops = {
	.spi_alloc = op_spi_alloc,
	.spi_free = op_spi_free,
	.child_install = op_child_install,
	.address_lease = op_address_lease,
	.where = op_where,
};
