/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a peer of the tunnel shows is compared with what it has shown before (hop_keys.h). The relay keeps no
 * files: the parent gave it the set, and is told what is new. That the relay knows a key at once, and does not
 * wait for the disk, costs nothing: after a crash in between the next contact is a first one.
 */
#include <errno.h>
#include <string.h>

#include "log.h"
#include "relay.h"
#include "tls_hop.h"

void hop_pins_take(struct relay *r, const char *text, size_t len)
{
	struct hop_keys got = { 0 };
	int rc = hop_keys_parse(&got, text, len);

	if (rc) {
		log_err(NULL, "keys of peers from the parent refused: %s", strerror(-rc));
		return;
	}
	hop_keys_clear(&r->shown);
	r->shown = got;
	r->shown_known = true;
	publisher_soon(&r->publisher);
}

static void tell(struct relay *r, struct hop_seen m)
{
	uint8_t buf[HOP_IDENTITY_MAX + HOP_KEY_LEN + 16];
	struct wr w = wr_init(buf, sizeof(buf));
	size_t len;

	hop_seen_put(&w, &m);
	if (!wr_finish(&w, &len))
		ipc_send(r->ch->parent, MTA_HOP_SEEN, 0, buf, len);
}

void hop_pin_begin(struct conn *c, const struct mta_route *route)
{
	struct relay *r = c->hop->relay;
	const struct tunnel_peer *p = tunnel_peer(&r->ch->tunnel, route->peer);
	const struct hop_key *k;

	if (!route->tls_learn || !p)
		return;
	memcpy(c->identity, p->identity, sizeof(c->identity));
	k = hop_keys_find(&r->shown, c->identity);
	if (!k)
		return;
	c->pinned = true;
	c->route.tls = TLS_PIN;
	memcpy(c->pin, k->sha256, sizeof(c->pin));
}

void hop_pin_seen(struct conn *c)
{
	static const uint8_t none[HOP_KEY_LEN];
	struct relay *r = c->hop->relay;
	char quoted[2 * HOP_IDENTITY_MAX];
	struct tls_pin pin;
	struct hop_key *k;
	int rc;

	if (!c->identity[0])
		return;
	k = hop_keys_find(&r->shown, c->identity);
	if (c->pinned) { /* and it was right */
		if (k && hop_key_note(k, HOP_FINE, none))
			tell(r, (struct hop_seen){ .identity = c->identity, .sha256 = c->pin });
		return;
	}
	/* A foreign server's certificate is renewed with another key: it is not held to that. */
	if (k || tls_peer_hop(c->tls, &pin))
		return;
	rc = hop_keys_add(&r->shown, c->identity, pin.sha256);
	if (rc)
		log_warn(NULL, "peer=\"%s\" msg=\"its hop key is not remembered: %s\"",
			 log_quote(quoted, sizeof(quoted), c->identity, strlen(c->identity)),
			 strerror(-rc));
	else
		tell(r, (struct hop_seen){
			    .identity = c->identity, .first = true, .sha256 = pin.sha256 });
}

const char *hop_pin_refused(struct conn *c, char *out, size_t cap)
{
	struct relay *r = c->hop->relay;
	const struct mta_route *route = relay_route(c->hop);
	struct hop_key now = { 0 }, *k = hop_keys_find(&r->shown, c->identity);
	struct tls_pin pin = { { 0 } };

	memcpy(now.sha256, c->pin, sizeof(now.sha256));
	/* A certificate without a key of ours in it is another key all the same. */
	now.trouble = c->tls && !tls_peer_pin(c->tls, &pin) ? HOP_OTHER_KEY : HOP_NO_TLS;
	memcpy(now.other, pin.sha256, sizeof(now.other));
	if (k && !memcmp(k->sha256, c->pin, sizeof(c->pin)) &&
	    hop_key_note(k, (enum hop_trouble)now.trouble, pin.sha256))
		tell(r, (struct hop_seen){ .identity = c->identity,
					   .trouble = now.trouble,
					   .sha256 = pin.sha256 });
	return hop_key_words(&now, route && route->peer ? route->peer : c->identity, out, cap);
}
