/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "redirect.h"

#include <stdlib.h>
#include <string.h>

#include "call.h"

bool redirect_active(const struct supervisor *s)
{
	return s->redirect && s->redirect->active;
}

bool redirect_leaving(const struct supervisor *s)
{
	return s->redirect && s->redirect->active && s->redirect->leaving;
}

void redirect_free(struct supervisor *s)
{
	free(s->redirect);
	s->redirect = NULL;
}

/* Two gateways that send us to each other, or somebody who plays with us, end here (s8). */
static bool allowed(struct sup_redirect *r, uint64_t now_ms)
{
	if (!r->count || now_ms - r->window_ms >= REDIRECT_WINDOW_MS) {
		r->window_ms = now_ms;
		r->count = 0;
	}
	if (r->count >= REDIRECT_MAX_COUNT) {
		r->refused++;
		return false;
	}
	r->count++;
	r->followed++;
	return true;
}

static void go(struct supervisor *s, const struct fx *fx, uint64_t now_ms)
{
	const struct engine_gateway *to = &fx->redirect.to;
	struct sup_redirect *r = s->redirect;

	if (!r)
		r = s->redirect = calloc(1, sizeof(*r));
	if (!r || s->cfg.start == SUP_WAIT || s->admin_down || !allowed(r, now_ms))
		return;
	r->addr = to->addr;
	memcpy(r->name, to->name, sizeof(r->name));
	r->active = true;
	r->leaving = s->ike != 0;
	r->since_ms = now_ms;
	call_stop(s, true);
	s->refused_until_ms = 0;
	s->next_call_ms = now_ms;
	s->due_ms = now_ms;
}

static void on_fx(struct supervisor *s, const struct fx *fx, uint64_t now_ms)
{
	if (fx->kind == FX_REDIRECT)
		go(s, fx, now_ms);
	else if (fx->kind == FX_PEER_UP && s->redirect)
		s->redirect->active = s->redirect->leaving = false;
}

static uint64_t tick(struct supervisor *s, uint64_t now_ms)
{
	struct sup_redirect *r = s->redirect;

	if (!r || !r->active)
		return UINT64_MAX;
	if (now_ms - r->since_ms < REDIRECT_TRY_MS)
		return r->since_ms + REDIRECT_TRY_MS;
	/* Nobody is there: the address that the admin wrote is tried again. */
	r->active = r->leaving = false;
	call_stop(s, true);
	s->next_call_ms = now_ms;
	return UINT64_MAX;
}

static void round_begins(struct supervisor *s, uint64_t now_ms)
{
	struct sup_redirect *r = s->redirect;

	if (!redirect_active(s))
		return;
	if (r->addr.family) {
		struct endpoint e = { r->addr, s->cfg.port };

		call_add(s, &e, SUP_HOST_REDIRECT, now_ms);
	} else {
		(void)s->env->ops->resolve(s->env->arg, s->cfg.peer, SUP_HOST_REDIRECT, r->name);
	}
}

const struct sup_hook redirect_hook = {
	.tick = tick,
	.round = round_begins,
	.fx = on_fx,
};
