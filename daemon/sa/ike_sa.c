/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ike_sa.h"

#include <stdlib.h>

static const char *const state_names[SA_STATES] = {
	[SA_CALLING] = "calling",    [SA_I_SIGN] = "signing",	[SA_I_AUTH] = "auth-sent",
	[SA_I_VERIFY] = "verifying", [SA_R_INIT] = "half-open", [SA_R_VERIFY] = "verifying",
	[SA_R_ASK] = "asking",	     [SA_R_SIGN] = "signing",	[SA_UP] = "up",
	[SA_REKEYED] = "rekeyed",    [SA_RETIRED] = "retired",	[SA_CLOSING] = "closing",
	[SA_DEAD] = "dead",
};

const char *sa_state_name(enum sa_state s)
{
	return state_names[s];
}

struct ike_sa *ike_sa_new(void)
{
	return calloc(1, sizeof(struct ike_sa));
}

static void wiped_free(uint8_t *p, size_t len)
{
	if (p)
		secret_wipe(p, len);
	free(p);
}

void auth_ctx_free(struct auth_ctx *a)
{
	if (!a)
		return;
	free(a->msg_i);
	free(a->msg_r);
	wiped_free(a->plain, a->plain_len);
	free(a);
}

void call_free(struct call *c)
{
	if (!c)
		return;
	dh_free(c->dh);
	free(c);
}

void task_clear(struct task *t)
{
	free(t->bytes);
	memset(t, 0, sizeof(*t));
}

void outreq_clear(struct outreq *o)
{
	task_clear(&o->task);
	datagrams_clear(&o->datagrams);
	wiped_free(o->inner, o->inner_len);
	dh_free(o->dh);
	memset(o, 0, sizeof(*o));
}

void dates_free(struct dates *d)
{
	if (!d)
		return;
	cert_free(d->leaf);
	for (size_t i = 0; i < d->count; i++)
		cert_free(d->other[i]);
	free(d);
}

void ike_sa_free(struct ike_sa *sa)
{
	if (!sa)
		return;
	outreq_clear(&sa->out);
	ike_sa_tasks_clear(sa);
	free(sa->due);
	free(sa->others);
	free(sa->qcd);
	dates_free(sa->dates);
	auth_ctx_free(sa->auth);
	call_free(sa->call);
	for (int i = 0; i < 2; i++) {
		if (sa->frags_in[i])
			frag_clear(sa->frags_in[i]);
		free(sa->frags_in[i]);
	}
	window_clear(&sa->win);
	if (sa->sync)
		datagrams_clear(&sa->sync->reply);
	free(sa->sync);
	ike_keys_clear(&sa->keys);
	ike_aead_free(sa->aead_in);
	ike_aead_free(sa->aead_out);
	log_clear(&sa->log);
	free(sa);
}

int ike_sa_keyed(struct ike_sa *sa)
{
	struct ike_keys *k = &sa->keys;
	struct ike_aead *i = NULL, *r = NULL;
	int err;

	err = ike_aead_new(&sa->suite, &k->sk_ei, &k->sk_ai, &i);
	if (!err)
		err = ike_aead_new(&sa->suite, &k->sk_er, &k->sk_ar, &r);
	if (err) {
		ike_aead_free(i);
		return err;
	}
	sa->aead_out = sa->initiator ? i : r;
	sa->aead_in = sa->initiator ? r : i;
	/* The contexts have them; kept twice they would only be there to be found. */
	secret_clear(&k->sk_ei);
	secret_clear(&k->sk_ai);
	secret_clear(&k->sk_er);
	secret_clear(&k->sk_ar);
	return 0;
}

uint64_t ike_sa_own_spi(const struct ike_sa *sa)
{
	return sa->initiator ? sa->spi_i : sa->spi_r;
}

bool ike_sa_peers(const struct ike_sa *sa)
{
	return sa->peer && (sa->series_initiator || !sa->auth);
}

struct child_sa *ike_sa_child_in(const struct ike_sa *sa, uint32_t spi_in)
{
	for (struct child_sa *c = sa->children; c; c = c->next)
		if (c->spi_in == spi_in)
			return c;
	return NULL;
}

struct child_sa *ike_sa_child_out(const struct ike_sa *sa, uint32_t spi_out)
{
	for (struct child_sa *c = sa->children; c; c = c->next)
		if (c->spi_out == spi_out && c->state != CHILD_NEW && c->state != CHILD_LINGER)
			return c;
	return NULL;
}

struct child_sa *ike_sa_child_of(const struct ike_sa *sa, uint32_t conf)
{
	for (struct child_sa *c = sa->children; c; c = c->next)
		if (c->conf == conf && child_sa_usable(c) && !c->condemned)
			return c;
	return NULL;
}

bool ike_sa_creates(const struct ike_sa *sa, uint32_t conf)
{
	if (sa->win.outstanding && sa->out.task.kind == TASK_CREATE_CHILD &&
	    sa->out.task.conf == conf)
		return true;
	for (unsigned i = 0; i < sa->task_count; i++)
		if (sa->tasks[i].kind == TASK_CREATE_CHILD && sa->tasks[i].conf == conf)
			return true;
	return false;
}

unsigned ike_sa_children_up(const struct ike_sa *sa)
{
	unsigned n = 0;

	for (struct child_sa *c = sa->children; c; c = c->next)
		n += child_sa_usable(c);
	return n;
}

bool ike_sa_task_has(const struct ike_sa *sa, enum task_kind kind, uint32_t spi)
{
	if (sa->win.outstanding && sa->out.task.kind == kind && (!spi || sa->out.task.spi == spi))
		return true;
	for (unsigned i = 0; i < sa->task_count; i++)
		if (sa->tasks[i].kind == kind && (!spi || sa->tasks[i].spi == spi))
			return true;
	return false;
}

int ike_sa_task_add(struct ike_sa *sa, struct task *t)
{
	bool waits = false;

	for (unsigned i = 0; i < sa->task_count; i++)
		waits |= sa->tasks[i].kind == t->kind && sa->tasks[i].spi == t->spi &&
			 sa->tasks[i].conf == t->conf && t->kind != TASK_PRIVATE;
	if (waits || sa->task_count == IKE_TASKS_MAX) {
		task_clear(t);
		return waits ? 0 : -ENOSPC;
	}
	if (!sa->tasks)
		sa->tasks = calloc(IKE_TASKS_MAX, sizeof(*sa->tasks));
	if (!sa->tasks) {
		task_clear(t);
		return -ENOMEM;
	}
	sa->tasks[sa->task_count++] = *t;
	memset(t, 0, sizeof(*t));
	return 0;
}

int ike_sa_task_first(struct ike_sa *sa, struct task *t)
{
	enum task_kind kind = t->kind;
	struct task first;
	unsigned at = 0;
	int err = ike_sa_task_add(sa, t);

	while (at < sa->task_count && sa->tasks[at].kind != kind)
		at++;
	if (at == sa->task_count)
		return err;
	first = sa->tasks[at];
	memmove(sa->tasks + 1, sa->tasks, at * sizeof(first));
	sa->tasks[0] = first;
	return 0;
}

void ike_sa_task_drop(struct ike_sa *sa, enum task_kind kind, uint32_t spi)
{
	unsigned n = 0;

	for (unsigned i = 0; i < sa->task_count; i++) {
		if (sa->tasks[i].kind == kind && (!spi || sa->tasks[i].spi == spi))
			task_clear(&sa->tasks[i]);
		else
			sa->tasks[n++] = sa->tasks[i];
	}
	sa->task_count = n;
	if (!n)
		ike_sa_tasks_clear(sa);
}

struct task ike_sa_task_next(struct ike_sa *sa)
{
	struct task t = sa->tasks[0];

	memmove(sa->tasks, sa->tasks + 1, --sa->task_count * sizeof(t));
	if (!sa->task_count)
		ike_sa_tasks_clear(sa);
	return t;
}

void ike_sa_tasks_clear(struct ike_sa *sa)
{
	for (unsigned i = 0; i < sa->task_count; i++)
		task_clear(&sa->tasks[i]);
	free(sa->tasks);
	sa->tasks = NULL;
	sa->task_count = 0;
}

int nonce_cmp(const struct nonce_head *a, const struct nonce_head *b)
{
	size_t n = a->len < b->len ? a->len : b->len;
	int c = memcmp(a->b, b->b, n);

	return c ? c : (a->len > b->len) - (a->len < b->len);
}

void nonce_set(struct nonce *n, struct span from)
{
	n->len = from.len <= sizeof(n->b) ? from.len : sizeof(n->b);
	memcpy(n->b, from.p, n->len);
}

struct span nonce_span(const struct nonce *n)
{
	return (struct span){ n->b, n->len };
}

struct nonce_head nonce_head(const struct nonce *n)
{
	struct nonce_head h = { .len = (uint8_t)(n->len < NONCE_LEN ? n->len : NONCE_LEN) };

	memcpy(h.b, n->b, h.len);
	return h;
}

struct nonce nonce_own(const struct nonce_head *n)
{
	struct nonce whole = { .len = n->len };

	memcpy(whole.b, n->b, n->len);
	return whole;
}

struct nonce_head nonce_lower(const struct nonce *a, const struct nonce *b)
{
	struct nonce_head x = nonce_head(a), y = nonce_head(b);

	return nonce_cmp(&x, &y) < 0 ? x : y;
}
