/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Theory: the one process that holds private keys and PSKs. It reads nothing but typed requests of the
 * child, has no file, no socket and no network after start, and gives out results only: whoever
 * takes over the child can use the keys while he is there, and takes none away.
 *
 * A (re)load comes as PM_CONFIG, then all secret files as PM_SECRETS, then PM_GO: only then
 * does the new set replace the old one, whole. Of the configuration only the peers' names and which
 * of the files are theirs is kept: thousands of them shall not stand here once more.
 */
#include "procs.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config.h"
#include "hash.h"
#include "log.h"
#include "loop.h"
#include "prf.h"
#include "proc.h"
#include "psk.h"
#include "secret.h"
#include "sign.h"
#include "wire.h"

struct file {
	struct hash_node by_path;
	char *path;
	struct secret text;
	struct privkey *key; /* made at PM_GO, when a peer names it as private-key */
	const char *weak;    /* why it was refused as a PSK, or NULL */
	struct file *next;
};

struct owner {
	char *name;
	struct file *psk, *private_key; /* of the set; NULL: it has none that can be used */
};

struct set {
	struct bundle *bundle; /* until PM_GO */
	struct config *cfg;    /* the same */
	struct file *files;
	struct hash_table by_path;
	struct owner *owners; /* sorted by name */
	size_t owner_count;
};

struct keys {
	struct loop *loop;
	struct ipc *child; /* NULL: no link */
	struct set now, next;
	bool running;
	bool skip; /* what belongs to a configuration that was not taken */
	int status;
	struct log_limit limit;
};

static void set_clear(struct set *s)
{
	while (s->files) {
		struct file *f = s->files;

		s->files = f->next;
		secret_clear(&f->text);
		privkey_free(f->key);
		free(f->path);
		free(f);
	}
	hash_free(&s->by_path);
	for (size_t i = 0; i < s->owner_count; i++)
		free(s->owners[i].name);
	free(s->owners);
	config_free(s->cfg);
	bundle_free(s->bundle);
	memset(s, 0, sizeof(*s));
}

static struct file *find_file(const struct set *s, const char *path)
{
	struct hash_node *n = path ? hash_first(&s->by_path, hash_bytes(path, strlen(path))) : NULL;

	while (n && strcmp(((struct file *)n)->path, path) != 0)
		n = hash_next(n);
	return (struct file *)n;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct owner *)a)->name, ((const struct owner *)b)->name);
}

static const struct owner *find_owner(const struct set *s, char *name)
{
	struct owner key = { .name = name };

	return s->owner_count ? bsearch(&key, s->owners, s->owner_count, sizeof(key), by_name)
			      : NULL;
}

/* ---- requests ---- */

static void reply(struct keys *k, uint32_t token, uint32_t request, int status, const uint8_t *data,
		  size_t len)
{
	uint8_t buf[sizeof(struct kr_reply) + PROC_RESULT_MAX];
	struct kr_reply r = { .status = status, .request = request };

	if (!status && len <= PROC_RESULT_MAX) {
		memcpy(buf + sizeof(r), data, len);
		r.len = (uint32_t)len;
	}
	memcpy(buf, &r, sizeof(r));
	if (ipc_send(k->child, KR_REPLY, token, buf, sizeof(r) + r.len))
		log_warn(NULL, "the child does not take a result");
}

static int sign(const struct owner *peer, const struct ipc_msg *m, uint8_t *out, size_t *len)
{
	struct file *f = peer->private_key;
	struct kq_sign q;
	struct span octets;

	memcpy(&q, m->data, sizeof(q));
	octets = (struct span){ .p = m->data + sizeof(q), .len = q.len };
	if (!f || !f->key)
		return -ENOENT;
	if (proc_check_octets(octets.p, octets.len))
		return -EBADMSG;
	return sig_make(f->key, (enum sig_scheme)q.scheme, octets, out, PROC_RESULT_MAX, len);
}

/* @peer NULL, or without a PSK: the same work with a secret that nobody has, and no result. */
static int psk_auth(const struct owner *peer, const struct ipc_msg *m, uint8_t *out, size_t *len)
{
	struct secret nobody = { .data = (uint8_t[32]){ 1 }, .len = 32 };
	struct file *named = peer ? peer->psk : NULL;
	struct file *f = named && named->text.len ? named : NULL;
	struct kq_psk q;
	struct span octets;
	int rc;

	memcpy(&q, m->data, sizeof(q));
	octets = (struct span){ .p = m->data + sizeof(q), .len = q.len };
	rc = auth_psk((uint16_t)q.prf, f ? &f->text : &nobody, octets, out, len);
	return f ? rc : -ENOENT;
}

static int public_half(const struct owner *peer, uint8_t *out, size_t *len)
{
	struct file *f = peer->private_key;
	struct pubkey *pub;
	int rc;

	if (!f || !f->key)
		return -ENOENT;
	rc = privkey_public(f->key, &pub);
	if (rc)
		return rc;
	rc = pubkey_spki(pub, out, PROC_RESULT_MAX, len);
	pubkey_free(pub);
	return rc;
}

static void on_request(struct ipc *ipc, struct ipc_msg *m, void *arg)
{
	const struct owner *peer;
	uint8_t out[PROC_RESULT_MAX];
	char name[PROC_NAME_MAX];
	struct keys *k = arg;
	uint32_t suppressed;
	const char *why;
	size_t len = 0;
	int rc;

	(void)ipc;
	if (proc_check_keys(m, &why)) {
		if (log_limited(&k->limit, m->type, loop_now_ms(k->loop), &suppressed))
			log_warn(NULL,
				 "request type=%u len=%zu of the child refused: %s (%u like it)",
				 m->type, m->len, why, suppressed);
		reply(k, m->id, m->type, -EBADMSG, NULL, 0);
		return;
	}
	memcpy(name, m->data, sizeof(name)); /* first in all three, terminated: checked */
	peer = find_owner(&k->now, name);
	if (m->type == KQ_PSK_AUTH)
		rc = psk_auth(peer, m, out, &len);
	else if (!peer)
		rc = -ENOENT;
	else if (m->type == KQ_SIGN)
		rc = sign(peer, m, out, &len);
	else
		rc = public_half(peer, out, &len);
	/* A stranger's unknown identity comes here too, as often as he likes. */
	if (rc && log_limited(&k->limit, (uint32_t)hash_bytes(name, strlen(name)),
			      loop_now_ms(k->loop), &suppressed))
		log_warn(NULL, "request type=%u for peer=%s: %s (%u like it)", m->type, name,
			 strerror(-rc), suppressed);
	reply(k, m->id, m->type, rc, out, len);
	secret_wipe(out, sizeof(out));
}

static void on_child_gone(struct ipc *ipc, void *arg)
{
	struct keys *k = arg;

	k->child = NULL; /* the parent restarts it and sends a new link */
	ipc_free(ipc);
}

static const struct ipc_ops child_ops = { .message = on_request, .closed = on_child_gone };

/* ---- from the parent ---- */

static int take_secret(struct set *s, struct span path, struct span text)
{
	struct file *f = calloc(1, sizeof(*f));
	int rc;

	if (!f)
		return -ENOMEM;
	f->path = strndup((const char *)path.p, path.len);
	rc = f->path ? secret_set(&f->text, text.p, text.len) : -ENOMEM;
	if (!rc)
		rc = hash_insert(&s->by_path, &f->by_path, hash_bytes(f->path, strlen(f->path)));
	if (rc) {
		secret_clear(&f->text);
		free(f->path);
		free(f);
		return rc;
	}
	f->next = s->files;
	s->files = f;
	return 0;
}

static int take_secrets(struct set *s, struct ipc_msg *m)
{
	struct stat st;
	struct rd r;
	void *map;
	int rc = 0;

	if (fstat(m->fd[0], &st) < 0)
		return -errno;
	if (!st.st_size)
		return 0; /* none is named */
	map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, m->fd[0], 0);
	if (map == MAP_FAILED)
		return -errno;
	r = rd_init(map, (size_t)st.st_size);
	while (!rc && rd_left(&r)) {
		struct span path, text;

		path.len = rd_be16(&r);
		path.p = rd_take(&r, path.len);
		text.len = rd_be16(&r);
		text.p = rd_take(&r, text.len);
		rc = r.bad ? -EBADMSG : take_secret(s, path, text);
	}
	munmap(map, (size_t)st.st_size);
	return rc;
}

/* What is wrong with it as a PSK, or NULL; then it is without the end of its line. */
static const char *make_psk(struct file *f)
{
	const char *fault;

	if (!f)
		return strerror(ENOENT);
	f->text.len = psk_trim(f->text.data, f->text.len);
	fault = f->weak ? f->weak : psk_fault(f->text.data, f->text.len);
	if (fault)
		secret_clear(&f->text);
	return f->weak = fault;
}

static const char *make_private(struct file *f)
{
	int rc;

	if (!f)
		return strerror(ENOENT);
	if (f->key)
		return NULL;
	rc = privkey_load(&f->text, &f->key);
	secret_clear(&f->text);
	return !rc		? NULL
	       : rc == -ENOTSUP ? "is of a type or size that Postern does not have"
				: "holds no private key; postern keygen makes one";
}

/* One bad file must not stop the other peers: it is named, and cannot be used. */
static void owner_fill(const struct set *s, const struct config_peer *p, struct owner *o)
{
	const char *fault;

	o->psk = find_file(s, p->psk);
	fault = p->psk ? make_psk(o->psk) : NULL;
	if (fault)
		log_err(NULL, "peer=%s psk=%s: %s", p->name, p->psk, fault);
	o->private_key = find_file(s, p->private_key);
	fault = p->private_key ? make_private(o->private_key) : NULL;
	if (fault)
		log_err(NULL, "peer=%s private-key=%s: %s", p->name, p->private_key, fault);
}

static int make_owners(struct set *s)
{
	size_t n = s->cfg->peer_count;

	s->owners = calloc(n ? n : 1, sizeof(*s->owners));
	if (!s->owners)
		return -ENOMEM;
	for (; s->owner_count < n; s->owner_count++) {
		const struct config_peer *p = &s->cfg->peers[s->owner_count];
		struct owner *o = &s->owners[s->owner_count];

		o->name = strdup(p->name);
		if (!o->name)
			return -ENOMEM;
		owner_fill(s, p, o);
	}
	qsort(s->owners, n, sizeof(*s->owners), by_name);
	config_free(s->cfg);
	s->cfg = NULL;
	bundle_free(s->bundle);
	s->bundle = NULL;
	(void)malloc_trim(0);
	return 0;
}

static int go(struct keys *k)
{
	const struct sandbox_role *role = &posternd_roles[PROC_KEYS];
	int rc;

	if (!k->next.cfg)
		return -EBADMSG;
	rc = make_owners(&k->next);
	if (rc)
		return rc;
	set_clear(&k->now);
	k->now = k->next;
	memset(&k->next, 0, sizeof(k->next));
	if (k->running)
		return 0;
	k->running = true;
	rc = sandbox_opened(role, NULL, 0);
	return rc ? rc : sandbox_run(role);
}

static int on_config(struct keys *k, struct ipc_msg *m)
{
	set_clear(&k->next);
	k->next.bundle = bundle_open(m->fd[0]);
	k->next.cfg = k->next.bundle ? config_from_bundle(k->next.bundle) : NULL;
	return k->next.cfg && conf_ok(k->next.cfg->conf) ? 0 : -EBADMSG;
}

static void on_parent(struct ipc *ipc, struct ipc_msg *m, void *arg)
{
	struct keys *k = arg;
	const char *why;
	int rc = 0;

	(void)ipc;
	if (m->type == PM_CONFIG)
		k->skip = false;
	if (proc_check_reply(m, &why)) {
		log_err(NULL, "parent: message type=%u refused: %s", m->type, why);
		rc = -EBADMSG;
	} else if (k->skip && (m->type == PM_SECRETS || m->type == PM_GO)) {
		return; /* of a configuration that there was no room for */
	} else if (m->type == PM_CONFIG) {
		rc = on_config(k, m);
	} else if (m->type == PM_SECRETS) {
		rc = take_secrets(&k->next, m);
	} else if (m->type == PM_GO) {
		rc = go(k);
	} else if (m->type == PM_LINK) {
		ipc_free(k->child);
		k->child = ipc_new(k->loop, m->fd[0], &child_ops, k);
		m->fd[0] = -1;
	}
	if (rc && k->running &&
	    (m->type == PM_CONFIG || m->type == PM_SECRETS || m->type == PM_GO)) {
		/* The keys of those who are there already are worth more than an end and a new start. */
		log_err(NULL, "the new configuration is not taken, the old keys stay: %s", strerror(-rc));
		set_clear(&k->next);
		k->skip = true;
	} else if (rc) {
		log_err(NULL, "message type=%u of the parent: %s", m->type, strerror(-rc));
		k->status = 1;
		loop_stop(k->loop);
	}
}

static void on_parent_gone(struct ipc *ipc, void *arg)
{
	struct keys *k = arg;

	(void)ipc;
	loop_stop(k->loop);
}

int keys_main(void)
{
	static const struct ipc_ops ops = { .message = on_parent, .closed = on_parent_gone };
	struct keys k = { 0 };
	struct ipc *parent;

	if (proc_enter(PROC_KEYS))
		return 1;
	k.loop = loop_new();
	parent = k.loop ? ipc_new(k.loop, PROC_IPC_FD, &ops, &k) : NULL;
	if (!parent)
		return 1;
	if (loop_run(k.loop))
		k.status = 1;
	set_clear(&k.now);
	set_clear(&k.next);
	ipc_free(k.child);
	ipc_free(parent);
	loop_free(k.loop);
	return k.status;
}
