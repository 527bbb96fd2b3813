/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "parent.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "secret.h"
#include "wire.h"

/*
 * Theory: children have no files. Certificates, keys, passwords and other private files are read here, each time
 * anew, and handed to who has a use for them; nothing of them stays in the parent.
 */

static bool read_or_why(const char *path, unsigned flags, char **data, size_t *len, char *why,
			size_t cap)
{
	char file_why[CONF_WHY_MAX];

	if (!conf_file_read(path, flags, data, len, file_why, sizeof(file_why)))
		return true;
	snprintf(why, cap, "%s: %s", path, file_why);
	return false;
}

static bool read_file(const char *path, unsigned flags, char **data, size_t *len)
{
	char why[1024];

	if (read_or_why(path, flags, data, len, why, sizeof(why)))
		return true;
	log_err(NULL, "%s", why);
	return false;
}

/* A certificate's file and its key's, which may be one: both are secret then. */
struct pair {
	char *certificate, *key;
	size_t certificate_len, key_len;
};

/* False: it cannot be read; @why has the file. pair_free() follows either way. */
static bool pair_read(struct pair *p, const char *certificate, const char *key, char *why,
		      size_t cap)
{
	*p = (struct pair){ 0 };
	return read_or_why(certificate, 0, &p->certificate, &p->certificate_len, why, cap) &&
	       read_or_why(key, CONF_SECRET_FILE, &p->key, &p->key_len, why, cap);
}

static void pair_free(struct pair *p)
{
	if (p->certificate)
		secret_wipe(p->certificate, p->certificate_len);
	if (p->key)
		secret_wipe(p->key, p->key_len);
	free(p->certificate);
	free(p->key);
}

static void send_key(struct proc *to, uint32_t id, const char *certificate, const char *key)
{
	uint8_t *buf = NULL;
	size_t cap, len = 0;
	char why[1024];
	struct pair p;
	struct wr w;

	if (!pair_read(&p, certificate, key, why, sizeof(why))) {
		log_err(NULL, "%s", why);
		goto out;
	}
	cap = 4 + p.certificate_len + p.key_len;
	buf = malloc(cap);
	if (!buf)
		goto out;
	w = wr_init(buf, cap);
	wr_be32(&w, (uint32_t)p.certificate_len);
	wr_bytes(&w, p.certificate, p.certificate_len);
	wr_bytes(&w, p.key, p.key_len);
	if (wr_finish(&w, &len) || ipc_send(to->ipc, MTA_KEY, id, buf, len))
		log_err(NULL, "certificate %s is too large", certificate);
	secret_wipe(buf, cap);
out:
	free(buf);
	pair_free(&p);
}

/* False: it cannot be read; @why has the file. */
static bool put_pair(struct wr *w, const char *certificate, const char *key, char *why, size_t cap)
{
	struct pair p;
	bool whole = pair_read(&p, certificate, key, why, cap);

	if (whole) {
		wr_be32(w, (uint32_t)p.certificate_len);
		wr_bytes(w, p.certificate, p.certificate_len);
		wr_be32(w, (uint32_t)p.key_len);
		wr_bytes(w, p.key, p.key_len);
	}
	pair_free(&p);
	return whole;
}

/* All pairs of a listener, or none: half of them would serve wrong names. @hop: before them, or NULL. */
static void send_listener_keys(struct proc *to, uint32_t id, const struct mta_listener *l,
			       const char *hop)
{
	uint8_t *buf = malloc(IPC_PAYLOAD_MAX);
	struct wr w = wr_init(buf, buf ? IPC_PAYLOAD_MAX : 0);
	char why[1024] = "out of memory";
	size_t len = 0;
	bool whole = buf && (!hop || put_pair(&w, hop, hop, why, sizeof(why)));

	for (size_t i = 0; whole && i < l->certificates.count; i++)
		whole = put_pair(&w, l->certificates.v[i], l->private_keys.v[i], why, sizeof(why));
	if (whole && (wr_finish(&w, &len) || ipc_send(to->ipc, MTA_KEY, id, buf, len))) {
		snprintf(why, sizeof(why), "certificates are too large together");
		whole = false;
	}
	if (!whole) /* what it has by now is smtpd's to say */
		ipc_send(to->ipc, MTA_KEY, MTA_KEY_UNREAD + id, why, strlen(why));
	if (buf)
		secret_wipe(buf, IPC_PAYLOAD_MAX);
	free(buf);
}

static void send_password(struct proc *to, uint32_t id, const char *path)
{
	char *s = NULL;
	size_t len = 0;

	if (!read_file(path, CONF_SECRET_FILE, &s, &len))
		return;
	ipc_send(to->ipc, MTA_KEY, id, s, strcspn(s, "\r\n"));
	secret_wipe(s, len);
	free(s);
}

#define SYSTEM_CA "/etc/ssl/certs/ca-certificates.crt"

/* Too large for every child's bundle; only who verifies gets it. */
static void send_authorities(struct parent *p, struct proc *to)
{
	const struct mta_config *c = p->config;
	char *s = NULL;
	size_t len = 0;
	bool wanted = false;

	for (size_t i = 0; i < c->route_count; i++)
		wanted |= c->routes[i].tls == TLS_VERIFY;
	if (!wanted || c->ca_file || !read_file(SYSTEM_CA, 0, &s, &len))
		return;
	parent_send_memfd(to, MTA_KEY, MTA_KEY_CA, s, len);
	free(s);
}

/* relay signs; lookup and smtpd know again. */
static void send_srs(const struct mta_config *c, struct proc *to)
{
	char *s = NULL;
	size_t len = 0;

	if (!c->srs.secret_file || to->spec->id == MTA_PROC_QUEUE ||
	    !read_file(c->srs.secret_file, CONF_SECRET_FILE, &s, &len))
		return;
	parent_send_memfd(to, MTA_KEY, MTA_KEY_SRS, s, len);
	secret_wipe(s, len);
	free(s);
}

void keys_send(struct parent *p, struct proc *to)
{
	const struct mta_config *c = p->config;
	char path[PATH_BYTES];
	const char *hop = p->hop_own ? hop_own_path(p, path) : NULL;
	char *s = NULL;
	size_t len = 0;

	send_srs(c, to);
	switch ((enum mta_proc)to->spec->id) {
	case MTA_PROC_SMTPD:
		for (size_t i = 0; i < c->listener_count; i++) {
			const char *first = c->listeners[i].hop_key ? hop : NULL;

			if (c->listeners[i].certificates.count || first)
				send_listener_keys(to, (uint32_t)i, &c->listeners[i], first);
		}
		break;
	case MTA_PROC_RELAY:
		if (hop)
			send_key(to, MTA_KEY_CLIENT, hop, hop);
		else if (c->certificate)
			send_key(to, MTA_KEY_CLIENT, c->certificate, c->private_key);
		hop_send(p, to);
		send_authorities(p, to);
		for (size_t i = 0; i < c->route_count; i++) {
			if (c->routes[i].certificate)
				send_key(to, MTA_KEY_ROUTE + (uint32_t)i, c->routes[i].certificate,
					 c->routes[i].private_key);
			if (c->routes[i].password_file)
				send_password(to, MTA_KEY_PASSWORD + (uint32_t)i,
					      c->routes[i].password_file);
		}
		break;
	case MTA_PROC_LOOKUP:
		if (c->users && read_file(c->users, CONF_SECRET_FILE, &s, &len)) {
			parent_send_memfd(to, MTA_KEY, MTA_KEY_USERS, s, len);
			secret_wipe(s, len);
			free(s);
		}
		if (conf_file_read("/etc/resolv.conf", 0, &s, &len, (char[CONF_WHY_MAX]){ 0 },
				   CONF_WHY_MAX)) {
			parent_send_memfd(to, MTA_KEY, MTA_KEY_RESOLV, "", 0);
		} else {
			parent_send_memfd(to, MTA_KEY, MTA_KEY_RESOLV, s, len);
			free(s);
		}
		break;
	default:
		break;
	}
}
