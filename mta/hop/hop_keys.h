/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_HOP_HOP_KEYS_H
#define MTA_HOP_HOP_KEYS_H

/*
 * Theory: which hop key (tls_hop.h) a peer of the tunnel has shown. Relay learns, the parent keeps:
 *
 *	first contact	 relay --MTA_HOP_SEEN--> parent: into the set, on disk
 *	ever after	 parent --MTA_KEY_HOPS--> relay: that key, or no letter
 *	another, or none relay --MTA_HOP_SEEN--> parent: the log and `mail status` say so
 *	its own again	 relay --MTA_HOP_SEEN--> parent: the trouble is over
 *	forget-key	 parent: out of the set, on disk; relay gets the set anew
 *
 * A first contact alone is learned: what was under way when a key was forgotten does not bring it back.
 *
 * A peer is named by its identity, which posternd has verified: names of sections and addresses may
 * change. What a first contact learns is that peer's, since it is made inside of the tunnel, whose ends
 * IKE has authenticated, with a socket that cannot leave the device.
 *
 * As text, "SHA256 IDENTITY" a line in the order of learning, between a head with the number of the
 * edition and an end with a checksum over all before it:
 *
 *	postern hop keys 1 7
 *	0f3c...9a home.example.net
 *	end 5e88c2a90b71f3d8
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HOP_KEY_LEN	 32
#define HOP_KEYS_MAX	 4096
#define HOP_IDENTITY_MAX 256	 /* NUL included, as in struct tunnel_peer */
#define HOP_WORDS_MAX	 (2 * HOP_IDENTITY_MAX + 160)
#define HOP_TEXT_MAX	 (2048 * 1024) /* of HOP_KEYS_MAX entries and more */

/* What a peer showed instead of its key, since it was last seen. */
enum hop_trouble { HOP_FINE, HOP_OTHER_KEY, HOP_NO_TLS, HOP_TROUBLES };

struct hop_key {
	char identity[HOP_IDENTITY_MAX];
	uint8_t sha256[HOP_KEY_LEN]; /* of its SubjectPublicKeyInfo */
	/* Not in the text. */
	uint8_t trouble;	    /* enum hop_trouble */
	uint8_t other[HOP_KEY_LEN]; /* HOP_OTHER_KEY */
};

struct hop_keys {
	struct hop_key *v;
	size_t count, cap;
	uint64_t edition; /* grows with each text that is written */
};

struct hop_key *hop_keys_find(const struct hop_keys *s, const char *identity);
/**
 * hop_keys_add() - 0; -EEXIST when it has one already, which stays; -EINVAL for an identity that is empty,
 * too long or has control characters; -E2BIG, -ENOMEM.
 */
int hop_keys_add(struct hop_keys *s, const char *identity, const uint8_t sha256[static HOP_KEY_LEN]);
/** hop_keys_remove() - True if it was there. */
bool hop_keys_remove(struct hop_keys *s, const char *identity);
/** hop_key_note() - It showed @trouble (with @other its key). True if that is news. */
bool hop_key_note(struct hop_key *k, enum hop_trouble trouble,
		  const uint8_t other[static HOP_KEY_LEN]);
/**
 * hop_key_words() - What is wrong and what to do, one line; "" for HOP_FINE.
 * @peer: its name in postern.conf, or its identity. HOP_WORDS_MAX holds either.
 */
const char *hop_key_words(const struct hop_key *k, const char *peer, char *out, size_t cap);

/** hop_keys_parse() - @text into an empty set; 0, -EBADMSG for what is not whole (@s is empty then), -ENOMEM. */
int hop_keys_parse(struct hop_keys *s, const char *text, size_t len);
/** hop_keys_build() - malloc'd, the caller's; NULL: no memory. */
char *hop_keys_build(const struct hop_keys *s, size_t *len);
void hop_keys_clear(struct hop_keys *s);

/* The message of relay: what a peer showed. */
struct hop_seen {
	const char *identity;
	bool first;	 /* contact: to be learned, HOP_FINE; else relay knew a key of it */
	uint8_t trouble; /* HOP_FINE: @sha256 is its key */
	const uint8_t *sha256;
};

struct wr;
struct rd;
void hop_seen_put(struct wr *w, const struct hop_seen *m);
/** hop_seen_get() - 0 or -EBADMSG; points into the message. */
int hop_seen_get(struct rd *r, struct hop_seen *m);

#endif
