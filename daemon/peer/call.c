/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "call.h"
#include "nat64.h"
#include "path.h"
#include "redirect.h"

#include <stdlib.h>
#include <string.h>

/* From when on the silence of its IKE SA is reason to call beside that. */
static uint64_t beside_ms(const struct supervisor *s)
{
	return s->asked_ms + (s->slept ? SUP_SLEPT_MS : SUP_PARALLEL_MS);
}

bool call_wanted(const struct supervisor *s, uint64_t now_ms)
{
	if (s->admin_down || s->standby || s->cfg.start == SUP_WAIT)
		return false;
	if (s->ike && redirect_leaving(s))
		return true;
	if (s->ike)
		return s->asked_ms && (s->hinted || s->moved || now_ms >= beside_ms(s));
	return s->cfg.start == SUP_ALWAYS || s->wanted;
}

struct sup_attempt *call_find(struct supervisor *s, uint32_t ike)
{
	for (size_t i = 0; i < s->attempt_count; i++)
		if (s->attempt[i].state == SUP_AT_CALLING && s->attempt[i].ike == ike)
			return &s->attempt[i];
	return NULL;
}

int call_sock(const struct supervisor *s, const struct addr *a, size_t from)
{
	for (size_t i = 0; i < s->env->sock_count; i++) {
		size_t n = (from + i) % s->env->sock_count;

		/* An IPv6 socket takes both families (v4 as mapped). */
		if (s->env->sock_set[n] == s->cfg.sock_set && s->env->sock_port[n] &&
		    (s->env->sock_family[n] == AF_INET6 || a->family == AF_INET))
			return (int)n;
	}
	return -1;
}

size_t call_good(const struct supervisor *s)
{
	size_t first = 0;

	for (size_t i = s->env->sock_count; i-- > 0;) {
		if (s->env->sock_set[i] != s->cfg.sock_set)
			continue;
		if (s->env->sock_number[i] == (s->ike ? s->where.path.sock : s->good_sock))
			return i;
		first = i;
	}
	return first;
}

struct engine_path call_path(const struct supervisor *s, size_t sock, const struct addr *src,
			     const struct endpoint *remote)
{
	return (struct engine_path){
		.sock = s->env->sock_number[sock],
		.local = { .addr = *src, .port = s->env->sock_port[sock] },
		.remote = *remote,
	};
}

bool call_depart(struct supervisor *s, const struct sup_attempt *a, struct engine_path *path,
		 uint64_t now_ms)
{
	for (const struct sup_hook *const *h = sup_hooks; *h; h++)
		if ((*h)->depart && !(*h)->depart(s, a, path, now_ms))
			return false;
	return true;
}

static void attempt_end(struct supervisor *s, struct sup_attempt *a)
{
	if (a->state == SUP_AT_CALLING)
		s->env->ops->drop(s->env->arg, a->ike);
	memset(a, 0, sizeof(*a));
}

void call_stop(struct supervisor *s, bool all)
{
	for (size_t i = 0; i < s->attempt_count; i++) {
		struct sup_attempt *a = &s->attempt[i];

		if (!all && a->state == SUP_AT_CALLING &&
		    s->env->ops->answered(s->env->arg, a->ike))
			continue;
		attempt_end(s, a);
	}
}

/* A free place; NULL when all are taken, or without memory: the next round tries again. */
static struct sup_attempt *attempt_room(struct supervisor *s)
{
	struct sup_attempt *grown;

	for (size_t i = 0; i < s->attempt_count; i++)
		if (s->attempt[i].state == SUP_AT_NONE)
			return &s->attempt[i];
	if (s->attempt_count == SUP_TARGETS_MAX)
		return NULL;
	grown = realloc(s->attempt, (s->attempt_count + 1) * sizeof(*grown));
	if (!grown)
		return NULL;
	s->attempt = grown;
	return &grown[s->attempt_count++];
}

/* Of ten thousand peers few call at a time: who does not has no place for it either. */
static void attempts_trim(struct supervisor *s)
{
	for (size_t i = 0; i < s->attempt_count; i++)
		if (s->attempt[i].state != SUP_AT_NONE)
			return;
	free(s->attempt);
	s->attempt = NULL;
	s->attempt_count = 0;
}

void call_add(struct supervisor *s, const struct endpoint *remote, size_t host, uint64_t at_ms)
{
	call_add_way(s, remote, host, 0, at_ms);
}

void call_add_way(struct supervisor *s, const struct endpoint *remote, size_t host,
		  uint32_t ifindex, uint64_t at_ms)
{
	struct sup_attempt *room;

	if (call_sock(s, &remote->addr, 0) < 0)
		return;
	for (size_t i = 0; i < s->attempt_count; i++)
		if (s->attempt[i].state != SUP_AT_NONE && !s->attempt[i].stream &&
		    s->attempt[i].ifindex == ifindex &&
		    endpoint_eq(&s->attempt[i].remote, remote))
			return;
	room = attempt_room(s);
	if (room)
		*room = (struct sup_attempt){ .state = SUP_AT_WAIT,
					      .remote = *remote,
					      .host = host,
					      .ifindex = ifindex,
					      .at_ms = at_ms };
}

uint32_t call_stream(struct supervisor *s, const struct engine_path *path, uint64_t now_ms)
{
	struct sup_attempt *a = attempt_room(s);
	int64_t ike;

	if (!a)
		return 0;
	memset(a, 0, sizeof(*a));
	ike = s->env->ops->initiate(s->env->arg, s->cfg.peer, path);
	if (ike <= 0)
		return 0;
	*a = (struct sup_attempt){ .state = SUP_AT_CALLING,
				   .remote = path->remote,
				   .host = SUP_HOSTS_MAX,
				   .stream = true,
				   .ike = (uint32_t)ike,
				   .at_ms = now_ms };
	return a->ike;
}

void call_drop(struct supervisor *s, uint32_t ike)
{
	struct sup_attempt *a = call_find(s, ike);

	if (a)
		attempt_end(s, a);
}

void call_add_all(struct supervisor *s, size_t host, const struct addr *addr, size_t count,
		    uint64_t now_ms)
{
	size_t next[2] = { 0, 0 }, added = 0;
	static const uint8_t family[2] = { AF_INET6, AF_INET };
	int turn = s->family_first == AF_INET, none = 0;

	while (none < 2 && added < SUP_NAME_ADDRS) {
		size_t *n = &next[turn];

		while (*n < count && addr[*n].family != family[turn])
			(*n)++;
		if (*n < count) {
			struct endpoint e = { addr[(*n)++], s->cfg.port };

			call_add(s, &e, host, now_ms + added++ * SUP_STAGGER_MS);
			none = 0;
		} else {
			none++;
		}
		turn = !turn;
	}
}

/* An IPv4 address that no route leads to: by the NAT64 of this network, where it has one. */
static void call_nat64(struct supervisor *s, const struct sup_attempt *a, uint64_t now_ms)
{
	const struct nat64 *n = s->env->nat64;

	if (a->remote.addr.family != AF_INET || a->host >= SUP_HOSTS_MAX || a->ifindex)
		return;
	if (s->env->ops->nat64)
		s->env->ops->nat64(s->env->arg);
	for (size_t i = 0; n && i < n->count; i++) {
		struct endpoint e = { nat64_make(&n->prefix[i], &a->remote.addr),
				      a->remote.port };

		call_add(s, &e, a->host, now_ms);
	}
	s->due_ms = now_ms;
}

void sup_on_nat64(struct supervisor *s, uint64_t now_ms)
{
	if (!call_wanted(s, now_ms))
		return;
	s->next_call_ms = now_ms;
	s->due_ms = now_ms;
}

/* @list has @a, or that of which @a was made for a NAT64. */
static bool contains(const struct supervisor *s, const struct addr *list, size_t count,
		     const struct addr *a)
{
	struct addr v4;

	if (s->env->nat64 && nat64_from(s->env->nat64, a, &v4) &&
	    contains(s, list, count, &v4))
		return true;
	for (size_t i = 0; i < count; i++)
		if (addr_eq(&list[i], a))
			return true;
	return false;
}

/* What a name says now is kept for when nobody answers; @count <= SUP_NAME_ADDRS. */
static void remember_name(struct supervisor *s, size_t host, const struct addr *addr, size_t count)
{
	struct sup_names *n = s->memory.names;

	if (n && n->count[host] == count && !memcmp(n->addr[host], addr, count * sizeof(*addr)))
		return;
	if (!n)
		n = s->memory.names = calloc(1, sizeof(*n));
	if (!n)
		return;
	memcpy(n->addr[host], addr, count * sizeof(*addr));
	n->count[host] = (uint8_t)count;
	s->env->ops->remember(s->env->arg, s->cfg.peer);
}

/* Is the address of the live IKE SA none that the configuration has, by itself or by a name? */
static bool names_all_differ(const struct supervisor *s)
{
	const struct sup_names *n = s->memory.names;

	for (size_t i = 0; i < s->cfg.host_count; i++) {
		if (!s->cfg.host[i].name ? contains(s, &s->cfg.host[i].addr, 1,
						    &s->where.path.remote.addr)
					 : n && contains(s, n->addr[i], n->count[i],
							 &s->where.path.remote.addr))
			return false;
	}
	return true;
}

void sup_on_resolved(struct supervisor *s, size_t host, int status, const struct addr *addr,
		     size_t count, uint64_t now_ms)
{
	const struct sup_names *known = s->memory.names;

	if (host == SUP_HOST_REDIRECT) {
		if (redirect_active(s) && !status)
			call_add_all(s, host, addr, count, now_ms);
		s->due_ms = now_ms;
		return;
	}
	if (host >= s->cfg.host_count)
		return;
	s->resolving[host] = false;
	if (!status && count) {
		if (count > SUP_NAME_ADDRS)
			count = SUP_NAME_ADDRS;
		/* What the name no longer says is not called any more. */
		for (size_t i = 0; i < s->attempt_count; i++) {
			struct sup_attempt *a = &s->attempt[i];

			if (a->state != SUP_AT_NONE && a->host == host &&
			    !contains(s, addr, count, &a->remote.addr) &&
			    !(a->state == SUP_AT_CALLING &&
			      s->env->ops->answered(s->env->arg, a->ike)))
				attempt_end(s, a);
		}
		remember_name(s, host, addr, count);
		path_on_names(s);
	} else {
		/* No answer now: what it said last is likely still true. */
		addr = known ? known->addr[host] : NULL;
		count = known ? known->count[host] : 0;
	}
	if (s->ike && s->asked_ms && !s->moved && !status && count &&
	    !contains(s, addr, count, &s->where.path.remote.addr) && names_all_differ(s)) {
		if (!call_wanted(s, now_ms))
			s->next_call_ms = now_ms + call_gap_ms(s, now_ms); /* this is a round */
		s->moved = true; /* it does not answer, and is said to be elsewhere: not worth a wait */
	}
	if (!call_wanted(s, now_ms) || now_ms < s->refused_until_ms)
		return;
	call_add_all(s, host, addr, count, now_ms);
	s->due_ms = now_ms;
}

uint64_t call_gap_ms(struct supervisor *s, uint64_t now_ms)
{
	uint32_t (*random)(void *, uint32_t) = s->env->ops->random;
	uint64_t retry_ms = keepalive_retry_max_ms(s);

	if (s->silent_since_ms && now_ms - s->silent_since_ms > SUP_DAY_MS)
		return SUP_LONG_GAP_MS > retry_ms ? SUP_LONG_GAP_MS : retry_ms;
	if (retry_ms > SUP_GAP_MAX_MS)
		return retry_ms / 2 + random(s->env->arg, (uint32_t)(retry_ms / 2) + 1);
	return SUP_GAP_MIN_MS + random(s->env->arg, SUP_GAP_MAX_MS - SUP_GAP_MIN_MS + 1);
}

static void ask_name(struct supervisor *s, size_t i, uint64_t now_ms)
{
	if (!s->cfg.host[i].name || s->resolving[i])
		return;
	s->resolving[i] = true;
	if (s->env->ops->resolve(s->env->arg, s->cfg.peer, i, s->cfg.host[i].name))
		sup_on_resolved(s, i, -1, NULL, 0, now_ms);
}

/* It does not answer: long before it is called anew, its names may know that it has moved. */
static uint64_t rename_tick(struct supervisor *s, uint64_t now_ms)
{
	uint64_t due;

	if (!s->ike || !s->asked_ms || s->cfg.start == SUP_WAIT || call_wanted(s, now_ms))
		return UINT64_MAX;
	due = s->asked_ms + SUP_RENAME_MS;
	if (s->renamed_ms && s->renamed_ms + SUP_RENAME_PACE_MS > due)
		due = s->renamed_ms + SUP_RENAME_PACE_MS;
	if (now_ms < due)
		return due;
	s->renamed_ms = now_ms;
	for (size_t i = 0; i < s->cfg.host_count; i++)
		ask_name(s, i, now_ms);
	return now_ms + SUP_RENAME_PACE_MS;
}

static void begin_round(struct supervisor *s, uint64_t now_ms)
{
	s->rounds++;
	/* Who was sent elsewhere calls there alone, while that may come to something. */
	for (size_t i = 0; i < s->cfg.host_count && !redirect_active(s); i++) {
		const struct sup_host *h = &s->cfg.host[i];

		if (!h->name) {
			struct endpoint e = { h->addr, s->cfg.port };

			call_add(s, &e, i, now_ms + i * SUP_STAGGER_MS);
		} else {
			ask_name(s, i, now_ms);
		}
	}
	for (const struct sup_hook *const *h = sup_hooks; *h; h++)
		if ((*h)->round)
			(*h)->round(s, now_ms);
}

static void attempt_tick(struct supervisor *s, struct sup_attempt *a, uint64_t now_ms)
{
	bool recall = a->host == SUP_HOSTS_MAX;

	if (a->state == SUP_AT_WAIT && now_ms >= a->at_ms) {
		/* Without a way there, nothing is sent; the next round looks again. */
		a->state = SUP_AT_ROUTE;
		if (s->env->ops->route(s->env->arg, s->cfg.peer, &a->remote.addr))
			attempt_end(s, a);
	} else if (a->state == SUP_AT_CALLING) {
		uint64_t limit = recall ? SUP_RECALL_MS : SUP_FRESH_MS;

		if (now_ms - a->at_ms >= limit)
			attempt_end(
			    s, a); /* the next round begins anew, with another SPI and DH value */
	}
}

void sup_recall(struct supervisor *s, uint64_t at_ms)
{
	if (!s->memory.endpoint.addr.family)
		return;
	s->recall_ms = at_ms;
	s->recall_until_ms = at_ms + SUP_RECALL_MS;
	s->due_ms = at_ms < s->due_ms ? at_ms : s->due_ms;
}

void sup_recall_end(struct supervisor *s)
{
	s->recall_ms = s->recall_until_ms = 0;
	for (size_t i = 0; i < s->attempt_count; i++)
		if (s->attempt[i].host == SUP_HOSTS_MAX && !s->attempt[i].stream)
			attempt_end(s, &s->attempt[i]);
	attempts_trim(s);
}

enum recall_state sup_recall_state(const struct supervisor *s)
{
	/* It came by itself since our start, and may have left in good order. */
	if (s->ups || s->cfg.start != SUP_WAIT || !s->memory.endpoint.addr.family)
		return RECALL_DONE;
	for (size_t i = 0; i < s->attempt_count; i++)
		if (s->attempt[i].state == SUP_AT_CALLING &&
		    s->env->ops->answered(s->env->arg, s->attempt[i].ike))
			return RECALL_ANSWERED;
	return s->recall_until_ms || s->attempt_count ? RECALL_SILENT : RECALL_OVER;
}

/* The waiting side after its own start: until the peer is there, or has called itself. */
static uint64_t recall_tick(struct supervisor *s, uint64_t now_ms)
{
	if (!s->recall_until_ms || s->admin_down)
		return UINT64_MAX;
	if (now_ms >= s->recall_until_ms) {
		s->recall_ms = s->recall_until_ms = 0;
		return UINT64_MAX;
	}
	if (now_ms >= s->recall_ms) {
		s->recall_ms = now_ms + SUP_RECALL_GAP_MS;
		if (!s->ike && now_ms >= s->refused_until_ms)
			call_add(s, &s->memory.endpoint, SUP_HOSTS_MAX, now_ms);
	}
	return s->recall_ms;
}

uint64_t call_tick(struct supervisor *s, uint64_t now_ms)
{
	uint64_t due = recall_tick(s, now_ms), next = rename_tick(s, now_ms);

	if (next < due)
		due = next;
	if (call_wanted(s, now_ms)) {
		if (now_ms >= s->next_call_ms && now_ms >= s->refused_until_ms) {
			s->next_call_ms = now_ms + call_gap_ms(s, now_ms);
			begin_round(s, now_ms);
		}
		if (s->next_call_ms > s->refused_until_ms)
			due = s->next_call_ms < due ? s->next_call_ms : due;
		else
			due = s->refused_until_ms < due ? s->refused_until_ms : due;
	} else if (s->ike && s->asked_ms && !s->admin_down && !s->standby &&
		   s->cfg.start != SUP_WAIT && beside_ms(s) < due) {
		due = beside_ms(s);
	}
	for (size_t i = 0; i < s->attempt_count; i++) {
		struct sup_attempt *a = &s->attempt[i];

		attempt_tick(s, a, now_ms);
		if (a->state == SUP_AT_WAIT && a->at_ms < due)
			due = a->at_ms;
		if (a->state == SUP_AT_CALLING && a->host == SUP_HOSTS_MAX &&
		    a->at_ms + SUP_RECALL_MS < due)
			due = a->at_ms + SUP_RECALL_MS;
	}
	attempts_trim(s);
	return due;
}

void sup_on_route(struct supervisor *s, const struct addr *to, int status,
		  const struct sup_route *r, uint64_t now_ms)
{
	for (size_t i = 0; i < s->attempt_count; i++) {
		struct sup_attempt *a = &s->attempt[i], was = *a;
		struct engine_path path;
		int64_t ike = 0;

		if (a->state != SUP_AT_ROUTE || !addr_eq(&a->remote.addr, to))
			continue;
		if (now_ms < s->refused_until_ms) {
			memset(a, 0, sizeof(*a));
			continue;
		}
		if (!status)
			path = call_path(s, (size_t)call_sock(s, to, call_good(s)), &r->src, &a->remote);
		if (!status && call_depart(s, a, &path, now_ms))
			ike = s->env->ops->initiate(s->env->arg, s->cfg.peer, &path);
		if (ike <= 0) {
			memset(a, 0, sizeof(*a));
			if (!ike)
				call_nat64(s, &was, now_ms); /* no way there; takes the place */
			continue;
		}
		a->state = SUP_AT_CALLING;
		a->via = path.ifindex;
		a->ike = (uint32_t)ike;
		a->at_ms = now_ms;
		s->due_ms = now_ms;
	}
	if (status || !s->ike || !addr_eq(&s->where.path.remote.addr, to) || path_leads(s))
		return;
	/* Trigger (4): another interface, source or gateway than before. */
	if (s->route.ifindex &&
	    (s->route.ifindex != r->ifindex || !addr_eq(&s->route.src, &r->src) ||
	     !addr_eq(&s->route.gateway, &r->gateway))) {
		s->where.path.local.addr = r->src;
		(void)call_depart(s, NULL, &s->where.path, now_ms);
		s->env->ops->move(s->env->arg, s->cfg.peer, &s->where.path,
				  s->where.trial_until_ms != 0, 0);
		s->env->ops->set_path(s->env->arg, s->ike, &s->where.path);
		if (s->postern)
			s->env->ops->dummy(s->env->arg, s->cfg.peer);
		sup_ask_moved(s, now_ms);
		s->due_ms = now_ms;
	}
	s->route = *r;
}

void call_now(struct supervisor *s, uint64_t now_ms)
{
	if (now_ms - s->kicked_ms < SUP_KICK_MS && s->kicked_ms)
		return;
	s->kicked_ms = now_ms;
	if (s->hop_due_ms)
		s->hop_due_ms = now_ms + SUP_KICK_MS / 2; /* and that by another way, if need be */
	if (s->ike && s->asked_ms)
		s->env->ops->retransmit(s->env->arg, s->ike, NULL);
	for (size_t i = 0; i < s->attempt_count; i++)
		if (s->attempt[i].state == SUP_AT_CALLING)
			s->env->ops->retransmit(s->env->arg, s->attempt[i].ike, NULL);
	s->next_call_ms = now_ms;
	s->due_ms = now_ms;
}

void call_back_off(struct supervisor *s, enum engine_why why, uint64_t now_ms)
{
	if (why == ENGINE_WHY_IDENTITY_BUSY) {
		s->refused_until_ms = now_ms + SUP_BUSY_MS;
		return;
	}
	s->refused_ms = s->refused_ms ? 2 * s->refused_ms : SUP_REFUSED_MIN_MS;
	if (s->refused_ms > SUP_REFUSED_MAX_MS)
		s->refused_ms = SUP_REFUSED_MAX_MS;
	s->refused_until_ms = now_ms + s->refused_ms;
}

/* As they are on the wire: our IKE_SA_INIT, and a request of an IKE SA, with IPv6 and UDP headers. */
#define INIT_BYTES    480
#define REQUEST_BYTES 180

uint64_t sup_cost_bytes(const struct supervisor *s, uint64_t now_ms)
{
	uint64_t calls = 0, retry_ms = keepalive_retry_max_ms(s);
	uint64_t gap = retry_ms > SUP_GAP_MAX_MS ? retry_ms * 3 / 4
						 : (SUP_GAP_MIN_MS + SUP_GAP_MAX_MS) / 2;

	if (s->silent_since_ms && now_ms - s->silent_since_ms > SUP_DAY_MS)
		gap = SUP_LONG_GAP_MS > retry_ms ? SUP_LONG_GAP_MS : retry_ms;
	for (size_t i = 0; s->cfg.start != SUP_WAIT && i < s->cfg.host_count; i++)
		calls += s->memory.names && s->memory.names->count[i] ? s->memory.names->count[i]
								      : 1;
	return SUP_DAY_MS / gap * (calls * INIT_BYTES + (s->ike ? REQUEST_BYTES : 0));
}
