/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "endpoint.h"

#include <stdlib.h>
#include <string.h>

void endpoint_clear(struct endpoint_rule *r)
{
	free(r->ignored);
	memset(r, 0, sizeof(*r));
}

void endpoint_set(struct endpoint_rule *r, const struct engine_path *path)
{
	endpoint_clear(r);
	r->path = *path; /* no move: the first may follow at once */
}

static bool is_ignored(const struct endpoint_rule *r, const struct addr *a, uint64_t now_ms)
{
	for (int i = 0; r->ignored && i < ENDPOINT_IGNORED; i++)
		if (r->ignored[i].until_ms > now_ms && addr_eq(&r->ignored[i].addr, a))
			return true;
	return false;
}

static void ignore(struct endpoint_rule *r, const struct addr *a, uint64_t now_ms)
{
	int oldest = 0;

	if (!r->ignored)
		r->ignored = calloc(ENDPOINT_IGNORED, sizeof(*r->ignored));
	if (!r->ignored)
		return; /* then it may be tried again sooner */
	for (int i = 1; i < ENDPOINT_IGNORED; i++)
		if (r->ignored[i].until_ms < r->ignored[oldest].until_ms)
			oldest = i;
	r->ignored[oldest].addr = *a;
	r->ignored[oldest].until_ms = now_ms + ENDPOINT_IGNORE_MS;
}

enum endpoint_verdict endpoint_offer(struct endpoint_rule *r, const struct engine_path *path,
				     bool silent, uint64_t now_ms)
{
	bool near;

	if (path->sock == r->path.sock && endpoint_eq(&path->remote, &r->path.remote)) {
		/* Our own address may have changed under it; on another device it is another one. */
		if (!r->path.ifindex || r->path.ifindex == path->ifindex)
			r->path.local = path->local;
		return ENDPOINT_STAY;
	}
	if (r->trial_until_ms && path->sock == r->old.sock &&
	    endpoint_eq(&path->remote, &r->old.remote)) {
		/* Its newest packet comes from the sure path: the trial was somebody's detour. */
		r->path = *path;
		r->trial_until_ms = 0;
		r->moved_ms = now_ms;
		return ENDPOINT_MOVE;
	}
	if (!silent && is_ignored(r, &path->remote.addr, now_ms))
		return ENDPOINT_STAY;
	near = addr_eq(&path->remote.addr, &r->path.remote.addr);
	if (r->moved_ms && now_ms - r->moved_ms < ENDPOINT_PACE_MS) {
		if (!near || !r->ports)
			return ENDPOINT_STAY;
		r->ports--;
		r->path = *path;
		return ENDPOINT_MOVE;
	}
	r->moved_ms = now_ms;
	r->ports = near ? 0 : ENDPOINT_PORTS;
	if (near) {
		r->path = *path;
		return ENDPOINT_MOVE;
	}
	if (!r->trial_until_ms)
		r->old = r->path; /* the last sure one is what we go back to */
	r->path = *path;
	r->trial_until_ms = now_ms + ENDPOINT_TRIAL_MS;
	return ENDPOINT_TRIAL;
}

bool endpoint_told(struct endpoint_rule *r, const struct engine_path *path, bool unproved,
		   uint64_t now_ms)
{
	/* ESP was here first, by another mapping: saying so is no answer. */
	bool still = r->trial_until_ms && addr_eq(&path->remote.addr, &r->path.remote.addr);

	if (unproved && !r->trial_until_ms)
		r->old = r->path;
	r->path = *path;
	r->moved_ms = now_ms;
	r->ports = ENDPOINT_PORTS;
	if (unproved)
		r->trial_until_ms = now_ms + ENDPOINT_TRIAL_MS;
	else if (!still)
		r->trial_until_ms = 0;
	return unproved || still;
}

bool endpoint_proved(struct endpoint_rule *r, const struct engine_path *path)
{
	for (int i = 0; r->ignored && i < ENDPOINT_IGNORED; i++)
		if (addr_eq(&r->ignored[i].addr, &path->remote.addr))
			r->ignored[i].until_ms = 0;
	if (!r->trial_until_ms || !addr_eq(&path->remote.addr, &r->path.remote.addr) ||
	    (path->sock != r->path.sock && path->remote.port != r->path.remote.port))
		return false;
	r->path.remote.port = path->remote.port;
	r->trial_until_ms = 0;
	return true;
}

bool endpoint_expired(struct endpoint_rule *r, uint64_t now_ms)
{
	if (!r->trial_until_ms || now_ms < r->trial_until_ms)
		return false;
	ignore(r, &r->path.remote.addr, now_ms);
	r->path = r->old;
	r->trial_until_ms = 0;
	r->moved_ms = now_ms;
	return true;
}
