/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "parent.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "aside.h"
#include "hash.h"
#include "log.h"
#include "secret.h"
#include "tls_hop.h"
#include "wire.h"

/*
 * Theory: the parent's part of hop_keys.h. It alone has files, so it makes our own key while it is still root,
 * keeps what relay learns of the peers', and answers for both. What relay tells may add the key of a peer that
 * has none; to take one away is the admin's.
 */

#define LOGGED_MAX (2 * HOP_IDENTITY_MAX + 16)
#define OWN_MS	   20000

const char *hop_own_path(const struct parent *p, char out[static PATH_BYTES])
{
	snprintf(out, PATH_BYTES, "%s/%s", p->config->state_dir, HOP_OWN_NAME);
	return out;
}

/* What is found out of our own key aside, by who has OpenSSL in use and keys in memory for as long as that takes. */
struct own {
	int made; /* 0, -EEXIST, -errno */
	bool whole;
	struct tls_pin pin;
	char why[CONF_WHY_MAX]; /* it is not whole */
};

static void read_own(const char *path, struct own *o)
{
	char *pem = NULL;
	size_t len = 0;
	int rc = conf_file_read(path, CONF_SECRET_FILE, &pem, &len, o->why, sizeof(o->why));

	if (!rc && tls_hop_check(pem, len, &o->pin)) {
		snprintf(o->why, sizeof(o->why), "holds no key with its certificate");
		rc = -EBADMSG;
	}
	if (pem)
		secret_wipe(pem, len);
	free(pem);
	o->whole = !rc;
}

static void check_own(void *arg, void *out)
{
	char path[PATH_BYTES];

	read_own(hop_own_path(arg, path), out);
}

static void make_own(void *arg, void *out)
{
	const struct parent *p = arg;
	int dir = open(p->config->state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct own *o = out;

	o->made = dir < 0 ? -errno : hop_own_make(dir);
	if (!o->made || o->made == -EEXIST)
		check_own(arg, out);
}

/* Whatever it is that stands there, it is not replaced: peers demand the key that was in it. */
static void take_own(struct parent *p, void (*work)(void *arg, void *out))
{
	struct own o;
	char path[PATH_BYTES];
	int rc = aside(work, p, &o, sizeof(o), OWN_MS);

	hop_own_path(p, path);
	if (rc) {
		log_err(NULL,
			"%s: could not be looked at, %s: see to memory, processes and that disk, then "
			"postern mail reload, or a restart where none was made yet; until then %s",
			path, aside_words(rc),
			p->hop_own ? "the key that was found there serves"
				   : "this hop has no key to show");
		return;
	}
	p->hop_own = o.whole;
	p->hop_pin = o.pin;
	if (o.made && o.made != -EEXIST)
		log_warn(NULL, "%s: no hop key can be made: %s", p->config->state_dir,
			 strerror(-o.made));
	else if (!o.whole)
		log_err(NULL,
			"%s %s: put back a copy of it, or remove it and start anew: then a new key is "
			"made, and peers have to forget the old one (postern mail forget-key)",
			path, o.why);
	else if (work == make_own && !o.made)
		log_info(NULL, "a hop key was made file=%s", path);
}

void hop_read_own(struct parent *p)
{
	if (p->config->tunnel)
		take_own(p, check_own);
	else
		p->hop_own = false;
}

void hop_open(struct parent *p)
{
	bool lost = false;
	int dir, rc;

	if (!p->config->tunnel)
		return;
	p->hop_opened = true;
	take_own(p, make_own);
	dir = open(p->config->state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	rc = dir < 0 ? -errno : hop_store_open(&p->hop, dir, &lost);
	if (rc)
		log_warn(NULL, "%s: keys of peers are remembered until the next start only: %s",
			 p->config->state_dir, strerror(-rc));
	if (lost)
		log_err(NULL,
			"%s/hop-keys.*: none is whole: keys of peers are learned anew at the next "
			"contact",
			p->config->state_dir);
	if (dir >= 0)
		close(dir);
}

void hop_send(struct parent *p, struct proc *to)
{
	size_t len;
	char *text = hop_keys_build(&p->hop.keys, &len);

	if (text)
		parent_send_memfd(to, MTA_KEY, MTA_KEY_HOPS, text, len);
	free(text);
}

static int save(struct parent *p)
{
	int rc = hop_store_save(&p->hop);

	if (rc && rc != -EBADF)
		log_err(NULL, "%s/hop-keys.*: cannot be written: %s", p->config->state_dir,
			strerror(-rc));
	return rc;
}

/* Its name in postern.conf, as far as posternd has told. */
static const char *name_of(const struct parent *p, const char *identity)
{
	for (size_t i = 0; i < p->tunnel.peer_count; i++) {
		if (!strcmp(p->tunnel.peers[i].identity, identity))
			return p->tunnel.peers[i].name;
	}
	return identity;
}

/* The same for the log: an identity, which may have blanks and quotes, stands in quotes. */
static const char *logged(const struct parent *p, const char *identity, char out[static LOGGED_MAX])
{
	const char *name = name_of(p, identity);
	char quoted[2 * HOP_IDENTITY_MAX + 8];

	if (name == identity)
		snprintf(out, LOGGED_MAX, "\"%s\"",
			 log_quote(quoted, sizeof(quoted), name, strlen(name)));
	else
		snprintf(out, LOGGED_MAX, "%s", name);
	return out;
}

/* May there be a line of that @kind about the peer now? */
static bool may_log(struct parent *p, const char *identity, uint32_t kind)
{
	uint32_t swallowed;

	return log_limited(&p->hop_quiet, (uint32_t)hash_bytes(identity, strlen(identity)) + kind,
			   loop_now_ms(p->loop), &swallowed);
}

static void learn(struct parent *p, const struct hop_seen *m)
{
	int rc = hop_keys_add(&p->hop.keys, m->identity, m->sha256);
	char name[LOGGED_MAX];

	if (!rc)
		save(p);
	if (!may_log(p, m->identity, 1))
		return;
	logged(p, m->identity, name);
	if (rc)
		log_warn(NULL, "peer=%s msg=\"its hop key is not remembered: %s\"", name,
			 strerror(-rc));
	else
		log_info(NULL,
			 "peer=%s msg=\"its hop key is remembered; no other one will do from now "
			 "on\"",
			 name);
}

void hop_seen(struct parent *p, const uint8_t *data, size_t len)
{
	struct rd r = rd_init(data, len);
	struct hop_seen m;
	struct hop_key *k;
	char words[HOP_WORDS_MAX], quoted[2 * sizeof(words)], name[LOGGED_MAX];
	bool same;

	if (hop_seen_get(&r, &m)) {
		log_err(NULL, "relay tells of a hop key, and is not understood");
		return;
	}
	k = hop_keys_find(&p->hop.keys, m.identity);
	same = k && m.trouble == HOP_FINE && !memcmp(k->sha256, m.sha256, HOP_KEY_LEN);
	if (!k && m.first)
		learn(p, &m);
	if (!k || !hop_key_note(k,
				same			   ? HOP_FINE
				: m.trouble == HOP_NO_TLS ? HOP_NO_TLS
							   : HOP_OTHER_KEY,
				m.sha256))
		return;
	if (!may_log(p, m.identity, 0))
		return;
	hop_key_words(k, name_of(p, k->identity), words, sizeof(words));
	logged(p, k->identity, name);
	if (same)
		log_info(NULL, "peer=%s msg=\"it shows its key again\"", name);
	else
		log_warn(NULL, "peer=%s msg=\"letters wait: %s\"", name,
			 log_quote(quoted, sizeof(quoted), words, strlen(words)));
}

const char *hop_forget(struct parent *p, const char *peer)
{
	const struct tunnel_peer *t = tunnel_peer(&p->tunnel, peer);
	const char *identity = t && *t->identity ? t->identity : peer;
	struct proc *relay = proc_by_id(&p->table, MTA_PROC_RELAY);
	char name[LOGGED_MAX];
	int rc;

	if (!hop_keys_remove(&p->hop.keys, identity) && !p->hop.behind)
		return "no key of this peer is remembered; postern mail status lists them";
	rc = save(p);
	log_info(NULL, "peer=%s msg=\"its hop key is forgotten; the next contact learns it\"",
		 logged(p, identity, name));
	if (relay->ipc)
		hop_send(p, relay);
	return rc ? "forgotten until the next start only: the state folder cannot be written; "
		    "say it again when it can"
		  : NULL;
}

static const char *hex_of(const uint8_t sha256[static HOP_KEY_LEN],
			  char out[static 2 * HOP_KEY_LEN + 1])
{
	for (size_t i = 0; i < HOP_KEY_LEN; i++)
		snprintf(out + 2 * i, 3, "%02x", sha256[i]);
	return out;
}

json_t *hop_json(const struct parent *p)
{
	char hex[2 * HOP_KEY_LEN + 1], words[HOP_WORDS_MAX];
	json_t *keys = json_array();

	for (size_t i = 0; i < p->hop.keys.count; i++) {
		const struct hop_key *k = &p->hop.keys.v[i];
		const char *name = name_of(p, k->identity);

		hop_key_words(k, name, words, sizeof(words));
		json_array_append_new(
		    keys, json_pack("{s:s,s:s,s:s,s:s?}", "peer", name, "identity", k->identity,
				    "sha256", hex_of(k->sha256, hex), "trouble",
				    *words ? words : NULL));
	}
	return json_pack("{s:s?,s:o}", "own", p->hop_own ? hex_of(p->hop_pin.sha256, hex) : NULL,
			 "peers", keys);
}

void hop_close(struct parent *p)
{
	hop_store_close(&p->hop);
}
