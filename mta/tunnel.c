/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tunnel.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "wire.h"

/* Copies text that must fit and hold no control character; false otherwise. */
static bool text_set(char *to, size_t cap, const json_t *from)
{
	const char *s = json_string_value(from);
	size_t len = s ? json_string_length(from) : 0;

	if (!s || len >= cap || strlen(s) != len)
		return false;
	for (size_t i = 0; i < len; i++) {
		if ((unsigned char)s[i] < 0x20 || s[i] == 0x7f)
			return false;
	}
	memcpy(to, s, len + 1);
	return true;
}

static bool dev_valid(const char *dev)
{
	return *dev && !strchr(dev, '/') && strcmp(dev, ".") && strcmp(dev, "..");
}

static int on_addresses(struct tunnel_table *t, const json_t *o, bool *changed)
{
	const json_t *list = json_object_get(o, "addresses");
	struct addr local[TUNNEL_ADDRS_MAX];
	char dev[TUNNEL_DEV_MAX];
	size_t n = json_array_size(list);

	if (!text_set(dev, sizeof(dev), json_object_get(o, "tun")) || (*dev && !dev_valid(dev)) ||
	    !json_is_array(list))
		return -EBADMSG;
	if (n > TUNNEL_ADDRS_MAX)
		return -E2BIG;
	memset(local, 0, sizeof(local));
	for (size_t i = 0; i < n; i++) {
		const char *s = json_string_value(json_array_get(list, i));
		struct prefix p;

		/* An address, with or without the length of its prefix. */
		if (!s || (addr_parse(s, &local[i]) && prefix_parse(s, &p)))
			return -EBADMSG;
		if (!local[i].family)
			local[i] = p.addr;
	}
	if (n != t->local_count || strcmp(dev, t->dev) ||
	    memcmp(local, t->local, n * sizeof(local[0]))) {
		memcpy(t->local, local, sizeof(local));
		memcpy(t->dev, dev, sizeof(dev));
		t->local_count = n;
		*changed = true;
	}
	return 0;
}

static int peer_read(const json_t *o, struct tunnel_peer *p)
{
	const json_t *inner = json_object_get(o, "inner"),
		     *identity = json_object_get(o, "identity");
	const char *state = json_string_value(json_object_get(o, "state"));

	memset(p, 0, sizeof(*p));
	if (!text_set(p->name, sizeof(p->name), json_object_get(o, "peer")) || !p->name[0] ||
	    (identity && !json_is_null(identity) &&
	     !text_set(p->identity, sizeof(p->identity), identity)) ||
	    !text_set(p->dev, sizeof(p->dev), json_object_get(o, "tun")) ||
	    (p->dev[0] && !dev_valid(p->dev)) || !state || !json_is_array(inner))
		return -EBADMSG;
	if (!strcmp(state, "up"))
		p->state = TUNNEL_UP;
	else if (strcmp(state, "down"))
		return -EBADMSG;
	if (json_array_size(inner) > TUNNEL_INNER_MAX)
		return -E2BIG;
	for (size_t i = 0; i < json_array_size(inner); i++) {
		const char *s = json_string_value(json_array_get(inner, i));

		if (!s || prefix_parse(s, &p->inner[p->inner_count++]))
			return -EBADMSG;
	}
	return 0;
}

static struct tunnel_peer *find(const struct tunnel_table *t, const char *name)
{
	for (size_t i = 0; i < t->peer_count; i++) {
		if (!strcmp(t->peers[i].name, name))
			return &t->peers[i];
	}
	return NULL;
}

static struct tunnel_peer *add(struct tunnel_table *t, const char *name)
{
	struct tunnel_peer *p;

	if (t->peer_count == t->peer_cap) {
		size_t cap = t->peer_cap ? t->peer_cap * 2 : 8;

		p = realloc(t->peers, cap * sizeof(*p));
		if (!p)
			return NULL;
		t->peers = p;
		t->peer_cap = cap;
	}
	p = &t->peers[t->peer_count++];
	memset(p, 0, sizeof(*p));
	memcpy(p->name, name, strlen(name) + 1);
	return p;
}

static int on_peer(struct tunnel_table *t, const json_t *o, uint64_t now_ms, bool *changed)
{
	struct tunnel_peer got, *p;
	int rc = peer_read(o, &got);

	if (rc)
		return rc;
	p = find(t, got.name);
	if (!p) {
		if (t->peer_count >= TUNNEL_PEERS_MAX)
			return -E2BIG;
		p = add(t, got.name);
		if (!p)
			return -ENOMEM;
		*changed = true;
	} else {
		got.changed_ms = p->changed_ms;
	}
	if (*changed || p->state != got.state) {
		got.changed_ms = now_ms;
		*changed = true;
	}
	if (strcmp(p->dev, got.dev) || strcmp(p->identity, got.identity) ||
	    p->inner_count != got.inner_count || memcmp(p->inner, got.inner, sizeof(p->inner)))
		*changed = true;
	got.seen = true;
	*p = got;
	return 0;
}

/* The list is complete: who was not named since the hello is no peer any more. */
static void on_ready(struct tunnel_table *t, bool *changed)
{
	size_t kept = 0;

	for (size_t i = 0; i < t->peer_count; i++) {
		if (t->peers[i].seen)
			t->peers[kept++] = t->peers[i];
	}
	*changed = kept != t->peer_count || !t->connected;
	t->peer_count = kept;
	t->connected = true;
}

int tunnel_apply(struct tunnel_table *t, const json_t *o, uint64_t now_ms, bool *changed)
{
	const char *event = json_string_value(json_object_get(o, "event"));
	int rc = 0;

	*changed = false;
	if (!event || json_integer_value(json_object_get(o, "v")) != 1)
		return -EBADMSG;
	if (!strcmp(event, "hello")) {
		rc = on_addresses(t, o, changed);
		for (size_t i = 0; !rc && i < t->peer_count; i++)
			t->peers[i].seen = false;
	} else if (!strcmp(event, "addresses")) {
		rc = on_addresses(t, o, changed);
	} else if (!strcmp(event, "peer")) {
		rc = on_peer(t, o, now_ms, changed);
	} else if (!strcmp(event, "ready")) {
		on_ready(t, changed);
	}
	if (!rc && *changed)
		t->serial++;
	return rc;
}

int tunnel_event(struct tunnel_table *t, const char *line, size_t len, uint64_t now_ms,
		 bool *changed)
{
	json_t *o;
	int rc;

	*changed = false;
	if (len > TUNNEL_LINE_MAX)
		return -EBADMSG;
	o = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);
	rc = tunnel_apply(t, o, now_ms, changed);
	json_decref(o);
	return rc;
}

bool tunnel_lost(struct tunnel_table *t, uint64_t now_ms)
{
	bool changed = t->connected;

	t->connected = false;
	for (size_t i = 0; i < t->peer_count; i++) {
		if (t->peers[i].state == TUNNEL_UNKNOWN)
			continue;
		t->peers[i].state = TUNNEL_UNKNOWN;
		t->peers[i].changed_ms = now_ms;
		changed = true;
	}
	t->serial += changed;
	return changed;
}

void tunnel_clear(struct tunnel_table *t)
{
	free(t->peers);
	memset(t, 0, sizeof(*t));
}

static void addr_put(struct wr *w, const struct addr *a)
{
	wr_u8(w, a->family);
	wr_bytes(w, a->b, sizeof(a->b));
}

static void addr_get(struct rd *r, struct addr *a)
{
	a->family = rd_u8(r);
	rd_copy(r, a->b, sizeof(a->b));
	if (a->family != AF_INET && a->family != AF_INET6)
		r->bad = true;
}

static void text_put(struct wr *w, const char *s)
{
	size_t len = strlen(s);

	wr_be16(w, (uint16_t)len);
	wr_bytes(w, s, len);
}

static void text_get(struct rd *r, char *to, size_t cap)
{
	size_t len = rd_be16(r);

	if (len >= cap)
		r->bad = true;
	rd_copy(r, to, r->bad ? 0 : len);
	to[r->bad ? 0 : len] = 0;
}

#define ADDR_BYTES 17
#define HEAD_BYTES (2 + TUNNEL_DEV_MAX + 1 + TUNNEL_ADDRS_MAX * ADDR_BYTES + 1 + 4 + 4)
#define PEER_BYTES                                                                                 \
	(2 + TUNNEL_NAME_MAX + 2 + 256 + 1 + 2 + TUNNEL_DEV_MAX + 1 +                              \
	 TUNNEL_INNER_MAX * (ADDR_BYTES + 1) + 8)

uint8_t *tunnel_encode(const struct tunnel_table *t, size_t *len)
{
	size_t cap = HEAD_BYTES + t->peer_count * PEER_BYTES;
	uint8_t *buf = malloc(cap);
	struct wr w = wr_init(buf, cap);

	if (!buf)
		return NULL;
	text_put(&w, t->dev);
	wr_u8(&w, (uint8_t)t->local_count);
	for (size_t i = 0; i < t->local_count; i++)
		addr_put(&w, &t->local[i]);
	wr_u8(&w, t->connected);
	wr_be32(&w, t->serial);
	wr_be32(&w, (uint32_t)t->peer_count);
	for (size_t i = 0; i < t->peer_count; i++) {
		const struct tunnel_peer *p = &t->peers[i];

		text_put(&w, p->name);
		text_put(&w, p->identity);
		wr_u8(&w, (uint8_t)p->state);
		text_put(&w, p->dev);
		wr_u8(&w, (uint8_t)p->inner_count);
		for (size_t k = 0; k < p->inner_count; k++) {
			addr_put(&w, &p->inner[k].addr);
			wr_u8(&w, p->inner[k].len);
		}
		wr_be64(&w, p->changed_ms);
	}
	if (wr_finish(&w, len)) {
		free(buf);
		return NULL;
	}
	return buf;
}

static void peer_get(struct rd *r, struct tunnel_peer *p)
{
	uint8_t state;

	text_get(r, p->name, sizeof(p->name));
	text_get(r, p->identity, sizeof(p->identity));
	state = rd_u8(r);
	text_get(r, p->dev, sizeof(p->dev));
	p->inner_count = rd_u8(r);
	if (p->inner_count > TUNNEL_INNER_MAX || state > TUNNEL_UNKNOWN) {
		r->bad = true;
		return;
	}
	p->state = state;
	for (size_t i = 0; i < p->inner_count; i++) {
		addr_get(r, &p->inner[i].addr);
		p->inner[i].len = rd_u8(r);
		if (p->inner[i].len > addr_bits(&p->inner[i].addr))
			r->bad = true;
	}
	p->changed_ms = rd_be64(r);
}

int tunnel_decode(struct tunnel_table *t, const void *data, size_t len)
{
	struct rd r = rd_init(data, len);
	struct tunnel_table n = { 0 };
	size_t count;

	text_get(&r, n.dev, sizeof(n.dev));
	n.local_count = rd_u8(&r);
	if (n.local_count > TUNNEL_ADDRS_MAX)
		return -EBADMSG;
	for (size_t i = 0; i < n.local_count; i++)
		addr_get(&r, &n.local[i]);
	n.connected = rd_u8(&r);
	n.serial = rd_be32(&r);
	count = rd_be32(&r);
	if (r.bad || count > TUNNEL_PEERS_MAX)
		return -EBADMSG;
	n.peers = count ? calloc(count, sizeof(*n.peers)) : NULL;
	if (count && !n.peers)
		return -ENOMEM;
	n.peer_count = n.peer_cap = count;
	for (size_t i = 0; i < count && !r.bad; i++)
		peer_get(&r, &n.peers[i]);
	if (r.bad || rd_left(&r)) {
		tunnel_clear(&n);
		return -EBADMSG;
	}
	tunnel_clear(t);
	*t = n;
	return 0;
}

const struct tunnel_peer *tunnel_peer(const struct tunnel_table *t, const char *name)
{
	return find(t, name);
}

const struct tunnel_peer *tunnel_peer_by_addr(const struct tunnel_table *t, const struct addr *a)
{
	const struct tunnel_peer *best = NULL;
	int bits = -1;

	for (size_t i = 0; i < t->peer_count; i++) {
		for (size_t k = 0; k < t->peers[i].inner_count; k++) {
			const struct prefix *in = &t->peers[i].inner[k];

			if (in->len > bits && prefix_contains(in, a)) {
				best = &t->peers[i];
				bits = in->len;
			}
		}
	}
	return best;
}

const struct addr *tunnel_source(const struct tunnel_table *t, int family)
{
	for (size_t i = 0; i < t->local_count; i++) {
		if (t->local[i].family == family)
			return &t->local[i];
	}
	return NULL;
}
