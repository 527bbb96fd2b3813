/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine_int.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const why_names[] = {
	[ENGINE_WHY_NONE] = "none",
	[ENGINE_WHY_REPLACED] = "replaced",
	[ENGINE_WHY_DELETED] = "deleted",
	[ENGINE_WHY_ADMIN] = "admin",
	[ENGINE_WHY_AUTH_FAILED] = "authentication",
	[ENGINE_WHY_NO_PROPOSAL] = "proposal",
	[ENGINE_WHY_TS] = "selectors",
	[ENGINE_WHY_ADDRESS] = "address",
	[ENGINE_WHY_PROTOCOL] = "protocol",
	[ENGINE_WHY_TIMEOUT] = "timeout",
	[ENGINE_WHY_CONFIG] = "configuration",
	[ENGINE_WHY_LOCAL] = "local",
	[ENGINE_WHY_REFUSED] = "refused",
	[ENGINE_WHY_IDENTITY_BUSY] = "identity-busy",
};

const char *engine_why_str(enum engine_why why)
{
	return (size_t)why < sizeof(why_names) / sizeof(*why_names) ? why_names[why] : "unknown";
}

void fx_list_clear(struct fx_list *fx)
{
	for (size_t i = 0; i < fx->count; i++) {
		struct fx *f = &fx->v[i];

		if (f->kind == FX_SEND) {
			free(f->send.bytes);
		} else if (f->kind == FX_AUTH) {
			if (f->auth.octets)
				secret_wipe(f->auth.octets, f->auth.len);
			free(f->auth.octets);
		} else if (f->kind == FX_PRIVATE) {
			free(f->private_notify.bytes);
		}
	}
	fx->count = 0;
	fx->lost = false;
}

void fx_list_free(struct fx_list *fx)
{
	fx_list_clear(fx);
	free(fx->v);
	memset(fx, 0, sizeof(*fx));
}

struct fx *fx_add(struct engine *e, enum fx_kind kind)
{
	static struct fx sink; /* out of memory: written and never read */
	struct fx_list *l = e->fx;

	if (l->count == l->cap) {
		size_t cap = l->cap ? 2 * l->cap : 16;
		struct fx *v = realloc(l->v, cap * sizeof(*v));

		if (!v) {
			l->lost = true;
			memset(&sink, 0, sizeof(sink));
			return &sink;
		}
		l->v = v;
		l->cap = cap;
	}
	memset(&l->v[l->count], 0, sizeof(*l->v));
	l->v[l->count].kind = kind;
	return &l->v[l->count++];
}

void fx_send(struct engine *e, const struct engine_path *path, const uint8_t *bytes, size_t len,
	     uint32_t peer)
{
	uint8_t *copy = malloc(len ? len : 1);
	size_t had = e->fx->count;
	struct fx *f;

	if (!copy) {
		e->fx->lost = true;
		return;
	}
	memcpy(copy, bytes, len);
	f = fx_add(e, FX_SEND);
	if (e->fx->count == had) {
		free(copy);
		return;
	}
	f->send.path = *path;
	f->send.bytes = copy;
	f->send.len = len;
	f->send.peer = peer;
	e->n.out++;
}

void fx_child(struct engine *e, enum fx_kind kind, const struct child_sa *c)
{
	struct fx *f = fx_add(e, kind);

	f->child.peer = c->sa->peer ? c->sa->peer->p->id : 0;
	f->child.ike = c->sa->handle;
	f->child.spi_in = c->spi_in;
	f->child.spi_out = c->spi_out;
	f->child.replaces = c->replaces;
	for (const struct child_sa *o = c->sa->children; o; o = o->next)
		f->child.left += o != c && o->announced && child_sa_usable(o);
}

uint32_t prefix_slot(const struct addr *a)
{
	return addr_hash(a, a->family == AF_INET ? 24 : 56) % PREFIX_SLOTS;
}

static bool may_log(struct engine *e, struct log_limit *limit, uint32_t key, const char *whom)
{
	uint32_t swallowed;
	bool ok = log_limited(limit, key, e->now_ms, &swallowed);

	if (!ok)
		e->n.log_suppressed++;
	else if (swallowed)
		log_info(NULL, "%u similar lines about that %s were left out", swallowed, whom);
	return ok;
}

bool sa_may_log(struct engine *e, const struct ike_sa *sa, const struct engine_path *path)
{
	const struct addr *a = &path->remote.addr;

	/* A name is claimed as easily as it is made up: only who has proved his has a budget of his own. */
	if (sa && sa->peer && !sa->auth && sa->state != SA_CALLING)
		return may_log(e, &e->peer_limit, sa->peer->p->id, "peer");
	return may_log(e, &e->limit, addr_hash(a, a->family == AF_INET ? 24 : 56), "network");
}

void stranger_log(struct engine *e, const struct engine_path *path, const char *fmt, ...)
{
	char text[400], where[ENDPOINT_STR_MAX];
	va_list ap;

	if (!sa_may_log(e, NULL, path))
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	log_info(NULL, "from %s: %s", endpoint_str(&path->remote, where), text);
}
