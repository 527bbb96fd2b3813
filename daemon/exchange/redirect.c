/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Theory: IKE redirect (RFC 5685). Who calls says that it may be sent elsewhere; who is called does so
 * in place of an IKE SA, or later within one. The caller's policy, its limit and the new call are its
 * supervisor's: here the word is only checked and told (FX_REDIRECT).
 *
 *	IKE_SA_INIT	-> N(REDIRECT_SUPPORTED), or N(REDIRECTED_FROM) after a redirect
 *			<- N(REDIRECT: gateway, our nonce), and nothing else		(s3, s5)
 *	IKE_AUTH	<- IDr, [CERT,] AUTH, N(REDIRECT: gateway), and no CHILD SA; then
 *			-> Delete of the IKE SA						(s6)
 *	INFORMATIONAL	<- N(REDIRECT: gateway), answered empty				(s5)
 *
 * Gateway: type (1 IPv4, 2 IPv6, 3 name), length, identity; in IKE_SA_INIT the nonce behind it
 * keeps those out who did not see the request. Who was sent to us by the very gateway that we would
 * send it to is not sent back (REDIRECTED_FROM): while we drain it gets no answer, and where only its
 * own section sends it away it is served here.
 */
#include "engine_int.h"

#include <stdlib.h>
#include <string.h>

enum { GW_IPV4 = 1, GW_IPV6 = 2, GW_FQDN = 3 };

#define REDIRECT_MAX (2 + 255 + NONCE_LEN_MAX)

static size_t put_gateway(const struct engine_gateway *to, uint8_t out[static REDIRECT_MAX])
{
	size_t len = to->addr.family ? addr_len(&to->addr) : strlen(to->name);

	out[0] = to->addr.family == AF_INET ? GW_IPV4 : to->addr.family ? GW_IPV6 : GW_FQDN;
	out[1] = (uint8_t)len;
	memcpy(out + 2, to->addr.family ? (const void *)to->addr.b : to->name, len);
	return len + 2;
}

static bool known(const struct engine_gateway *to)
{
	return to && (to->addr.family || to->name[0]);
}

static bool name_ok(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!(s[i] >= 'a' && s[i] <= 'z') && !(s[i] >= 'A' && s[i] <= 'Z') &&
		    !(s[i] >= '0' && s[i] <= '9') && s[i] != '-' && s[i] != '.' && s[i] != '_')
			return false;
	return len > 0;
}

/* @nonce: what has to stand behind the gateway; NULL: nothing is looked at there. */
static bool take_gateway(const struct pld_notify *n, const struct nonce *nonce,
			 struct engine_gateway *to)
{
	struct rd r = rd_init(n->data, n->len);
	unsigned type = rd_u8(&r);
	size_t len = rd_u8(&r);
	const uint8_t *id = rd_take(&r, len);

	memset(to, 0, sizeof(*to));
	if (!id || r.bad)
		return false;
	if (nonce && (rd_left(&r) != nonce->len || memcmp(id + len, nonce->b, nonce->len) != 0))
		return false;
	if (type == GW_IPV4 || type == GW_IPV6)
		return len == (type == GW_IPV4 ? 4u : 16u) &&
		       !addr_from_bytes(&to->addr, id, len) && !addr_is_unspecified(&to->addr) &&
		       !addr_is_loopback(&to->addr);
	if (type != GW_FQDN || len >= sizeof(to->name) || !name_ok((const char *)id, len))
		return false;
	memcpy(to->name, id, len);
	return true;
}

static void tell(struct engine *e, const struct ike_sa *sa, const struct engine_gateway *to)
{
	struct fx *f = fx_add(e, FX_REDIRECT);

	f->redirect.peer = sa->peer->p->id;
	f->redirect.ike = sa->handle;
	f->redirect.to = *to;
	f->redirect.log = sa_may_log(e, sa, &sa->path);
}

/* ---- who calls ---- */

void redirect_offer(const struct ike_sa *call, struct ike_build *b)
{
	const struct addr *from = &call->peer->redirected_from;
	struct engine_gateway gw = { .addr = *from };
	uint8_t data[REDIRECT_MAX];

	if (!call->peer->p->redirect)
		return;
	/* Whoever sent us away and is called again all the same has sent us nowhere. */
	if (from->family && !addr_eq(from, &call->path.remote.addr))
		pld_notify_add(b, REDIRECTED_FROM, (struct span){ data, put_gateway(&gw, data) });
	else
		pld_notify_add(b, REDIRECT_SUPPORTED, (struct span){ NULL, 0 });
}

bool redirect_instead(struct engine *e, struct ike_sa *call, const struct ike_msg *m)
{
	const struct pld_notify *n = ike_msg_notify(m, REDIRECT);
	struct engine_gateway to;

	if (!n || call->call->redirected || !call->peer->p->redirect ||
	    !take_gateway(n, &call->call->ni, &to))
		return false;
	call->call->redirected = true;
	call->peer->redirected_from = call->path.remote.addr;
	tell(e, call, &to);
	return true;
}

bool redirect_unserved(struct engine *e, struct ike_sa *sa, const struct ike_msg *m)
{
	const struct pld_notify *n = ike_msg_notify(m, REDIRECT);
	struct engine_gateway to;

	if (!n || m->sa.p || !sa->caller || !sa->peer->p->redirect || !take_gateway(n, NULL, &to))
		return false;
	sa->peer->redirected_from = sa->path.remote.addr;
	tell(e, sa->caller, &to);
	pld_delete_add_ike(inner_begin(e));
	request_once(e, sa, INFORMATIONAL);
	return true;
}

void redirect_heard(struct engine *e, struct ike_sa *sa, const struct ike_msg *m)
{
	const struct pld_notify *n = ike_msg_notify(m, REDIRECT);
	struct engine_gateway to;

	/* A gateway sends its clients away, never the other way round. */
	if (!n || !sa->series_initiator || !sa->peer->p->redirect || !take_gateway(n, NULL, &to))
		return;
	sa->peer->redirected_from = sa->path.remote.addr;
	tell(e, sa, &to);
}

/* ---- who is called ---- */

void engine_drain(struct engine *e, bool on, const struct engine_gateway *to)
{
	e->drain = on;
	memset(&e->drain_to, 0, sizeof(e->drain_to));
	if (on && to)
		e->drain_to = *to;
}

bool redirect_supported(const struct ike_msg *m)
{
	return ike_msg_notify(m, REDIRECT_SUPPORTED) || ike_msg_notify(m, REDIRECTED_FROM);
}

struct addr redirect_origin(const struct ike_msg *m)
{
	const struct pld_notify *n = ike_msg_notify(m, REDIRECTED_FROM);
	struct engine_gateway from;

	return n && take_gateway(n, NULL, &from) ? from.addr : (struct addr){ 0 };
}

/* Was it sent here from there? A name is nobody's address: those who follow it count for themselves. */
static bool sent_back(const struct engine_gateway *to, const struct addr *origin)
{
	return to->addr.family && addr_eq(&to->addr, origin);
}

bool redirect_add(const struct engine *e, const struct ike_sa *sa, struct ike_build *b)
{
	const struct engine_gateway *to = sa->peer->p->redirect_to;
	uint8_t data[REDIRECT_MAX];

	if (!known(to))
		to = e->drain ? &e->drain_to : NULL;
	if (!sa->redirects || !known(to) || sent_back(to, &sa->auth->origin))
		return false;
	pld_notify_add(b, REDIRECT, (struct span){ data, put_gateway(to, data) });
	return true;
}

bool redirect_away(struct engine *e, const struct ike_msg *m, const struct engine_path *path)
{
	const struct addr origin = redirect_origin(m);
	uint8_t data[REDIRECT_MAX];
	size_t len;

	if (!e->drain)
		return false;
	e->n.in_dropped++;
	if (!known(&e->drain_to) || !redirect_supported(m) || sent_back(&e->drain_to, &origin) ||
	    m->nonce.len > NONCE_LEN_MAX || !stray_allowed(e))
		return true;
	len = put_gateway(&e->drain_to, data);
	memcpy(data + len, m->nonce.p, m->nonce.len);
	answer_notify(e, &m->hdr, path, REDIRECT, data, len + m->nonce.len);
	return true;
}

unsigned engine_redirect(struct engine *e, uint64_t now_ms, uint32_t peer,
			 const struct engine_gateway *to, struct fx_list *fx)
{
	struct peer_entry *pe = peer_by_id(e, peer);
	uint8_t data[REDIRECT_MAX];
	unsigned told = 0;
	size_t len;

	if (!pe || !known(to))
		return 0;
	len = put_gateway(to, data);
	engine_enter(e, now_ms, fx);
	for (struct ike_sa *sa = pe->sas, *next; sa; sa = next) {
		struct task t = { .kind = TASK_PRIVATE, .type = REDIRECT, .len = len };

		next = sa->peer_next;
		if (sa->state != SA_UP || sa->series_initiator || !sa->redirects)
			continue;
		t.bytes = malloc(len);
		if (!t.bytes)
			break;
		memcpy(t.bytes, data, len);
		if (!ike_sa_task_add(sa, &t))
			told++;
		tasks_run(e, sa);
	}
	engine_leave(e);
	return told;
}
