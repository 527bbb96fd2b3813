/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "resolver.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unbound.h>
#include <unistd.h>

#include "log.h"

struct context {
	struct resolver *owner;
	struct context *next;
	struct ub_ctx *ub;
	struct loop_fd lf;
	int hints_fd;
	size_t open; /* questions that libunbound has */
};

struct question {
	struct context *ctx; /* NULL: libunbound is done with it, or was told to forget it */
	struct resolver *owner;
	struct question *next;
	int async_id;
	struct timer timer;
	void (*done)(void *arg, const struct resolver_answer *a);
	void *arg;
};

struct resolver {
	struct loop *loop;
	struct context *now;   /* takes new questions */
	struct context *older; /* drain */
	struct timer reap;
	uint32_t timeout_ms;
	struct question *questions;
	size_t open;
};

static void context_free(struct context *c)
{
	if (c->lf.added)
		loop_del(c->owner->loop, &c->lf);
	if (c->ub)
		ub_ctx_delete(c->ub);
	if (c->hints_fd >= 0)
		close(c->hints_fd);
	free(c);
}

/* Not from inside of ub_process(), which may call us: a timer at once. */
static void on_reap(struct timer *t, uint64_t now_ms)
{
	struct resolver *r = t->arg;
	struct context **at = &r->older;

	(void)now_ms;
	while (*at) {
		struct context *c = *at;

		if (c->open) {
			at = &c->next;
			continue;
		}
		*at = c->next;
		context_free(c);
	}
}

static void on_ready(struct loop_fd *lf, uint32_t events)
{
	struct context *c = lf->arg;

	(void)events;
	ub_process(c->ub);
}

static void question_end(struct question *q, const struct resolver_answer *a)
{
	struct resolver *r = q->owner;
	struct question **at = &r->questions;

	while (*at != q)
		at = &(*at)->next;
	*at = q->next;
	r->open--;
	timer_clear(loop_timers(r->loop), &q->timer);
	if (q->ctx && !--q->ctx->open && q->ctx != r->now)
		timer_set(loop_timers(r->loop), &r->reap, loop_now_ms(r->loop));
	q->done(q->arg, a);
	free(q);
}

static void on_timeout(struct timer *t, uint64_t now_ms)
{
	static const struct resolver_answer late = { .status = LOOKUP_TEMPFAIL };
	struct question *q = t->arg;

	(void)now_ms;
	ub_cancel(q->ctx->ub, q->async_id);
	question_end(q, &late);
}

static void on_answer(void *arg, int err, struct ub_result *res)
{
	struct question *q = arg;
	struct resolver_answer a = { .status = LOOKUP_TEMPFAIL };

	if (!err && res && !res->bogus) {
		a.secure = res->secure;
		if (res->havedata) {
			a.status = LOOKUP_OK;
			a.data = (uint8_t *const *)res->data;
			a.len = res->len;
		} else if (res->nxdomain || res->rcode == 0) {
			a.status = LOOKUP_NONE;
			a.exists = !res->nxdomain;
		}
	} else if (!err && res) {
		log_info(NULL, "DNSSEC validation failed name=%s: %s", res->qname ? res->qname : "",
			 res->why_bogus ? res->why_bogus : "");
	}
	question_end(q, &a);
	if (res)
		ub_resolve_free(res);
}

/* ---- settings ---- */

static void set(struct context *c, const char *option, const char *value)
{
	int rc = ub_ctx_set_option(c->ub, option, value);

	if (rc)
		log_warn(NULL, "libunbound refuses %s %s: %s", option, value, ub_strerror(rc));
}

static int forward(struct context *c, const struct endpoint *e)
{
	char addr[ADDR_STR_MAX], text[ADDR_STR_MAX + 8];
	int rc;

	addr_str(&e->addr, addr);
	snprintf(text, sizeof(text), e->port == 53 ? "%s" : "%s@%u", addr, e->port);
	if (addr_is_loopback(&e->addr))
		set(c, "do-not-query-localhost:", "no");
	rc = ub_ctx_set_fwd(c->ub, text);
	if (rc)
		log_warn(NULL, "libunbound refuses forwarder=%s: %s", text, ub_strerror(rc));
	return rc ? -EINVAL : 0;
}

/* "nameserver ADDRESS" lines; 0 when there is none. */
static size_t system_servers(struct context *c, const char *resolv)
{
	size_t n = 0;

	while (*resolv && n < 3) {
		char word[ADDR_STR_MAX + 16];
		struct endpoint e = { .port = 53 };

		if (sscanf(resolv, "nameserver %61s", word) == 1) {
			word[strcspn(word, "%")] = 0;
			if (!addr_parse(word, &e.addr) && !forward(c, &e))
				n++;
		}
		resolv += strcspn(resolv, "\n");
		resolv += *resolv == '\n';
	}
	return n;
}

/* The file of the bundle under a name that libunbound can open. */
static void root_hints(struct context *c, const struct bundle *b, const char *path)
{
	char name[64];
	size_t len;
	const char *text = bundle_file(b, path, &len);

	c->hints_fd = text ? memfd_create("hints", MFD_CLOEXEC) : -1;
	if (c->hints_fd < 0 || write(c->hints_fd, text, len) != (ssize_t)len) {
		log_err(NULL, "root hints %s cannot be used", path);
		return;
	}
	snprintf(name, sizeof(name), "/proc/self/fd/%d", c->hints_fd);
	set(c, "root-hints:", name);
	set(c, "do-not-query-localhost:", "no");
}

static void trust_anchors(struct context *c, const struct bundle *b, const char *path)
{
	char line[2048];
	size_t len;
	const char *text = bundle_file(b, path, &len);

	while (text && *text) {
		size_t n = strcspn(text, "\n");

		if (n && n < sizeof(line) && *text != ';') {
			memcpy(line, text, n);
			line[n] = 0;
			if (ub_ctx_add_ta(c->ub, line))
				log_err(NULL, "trust anchor %s: a line is not understood", path);
		}
		text += n;
		text += *text == '\n';
	}
}

static struct context *context_new(struct resolver *r, const struct mta_config *cfg,
				   const struct bundle *b, const char *resolv)
{
	struct context *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->owner = r;
	c->hints_fd = -1;
	c->ub = ub_ctx_create();
	if (!c->ub) {
		free(c);
		return NULL;
	}
	ub_ctx_async(c->ub, 1);
	/* Small: a mail server asks for little, and a router has little. */
	set(c, "msg-cache-size:", "1m");
	set(c, "rrset-cache-size:", "2m");
	set(c, "key-cache-size:", "512k");
	set(c, "neg-cache-size:", "128k");
	set(c, "infra-cache-numhosts:", "1000");
	set(c, "outgoing-range:", "128");
	set(c, "num-queries-per-thread:", "64");
	set(c, "edns-buffer-size:", "1232");
	set(c, "cache-max-ttl:", "86400");
	set(c, "cache-max-negative-ttl:", "300");
	if (cfg->dns_trust_anchor)
		trust_anchors(c, b, cfg->dns_trust_anchor);
	if (cfg->dns_root_hints && cfg->dns == DNS_RECURSE)
		root_hints(c, b, cfg->dns_root_hints);
	for (size_t i = 0; i < cfg->dns_server_count; i++)
		forward(c, &cfg->dns_servers[i]);
	if (cfg->dns == DNS_SYSTEM && !system_servers(c, resolv))
		log_info(NULL, "resolv.conf names no server; own recursion is used");
	c->lf = (struct loop_fd){ .fd = ub_fd(c->ub), .ready = on_ready, .arg = c };
	if (c->lf.fd < 0 || loop_add(r->loop, &c->lf, EPOLLIN)) {
		context_free(c);
		return NULL;
	}
	return c;
}

struct resolver *resolver_new(struct loop *l)
{
	struct resolver *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->loop = l;
	r->reap = (struct timer){ .fire = on_reap, .arg = r };
	return r;
}

int resolver_setup(struct resolver *r, const struct mta_config *c, const struct bundle *b,
		   const char *resolv)
{
	struct context *n = context_new(r, c, b, resolv);

	if (!n) {
		log_err(NULL, "cannot set up libunbound");
		return -ENOMEM;
	}
	r->timeout_ms = c->dns_timeout_ms;
	if (r->now) {
		r->now->next = r->older;
		r->older = r->now;
		timer_set(loop_timers(r->loop), &r->reap, loop_now_ms(r->loop));
	}
	r->now = n;
	return 0;
}

void resolver_free(struct resolver *r)
{
	if (!r)
		return;
	while (r->questions) {
		struct question *q = r->questions;

		r->questions = q->next;
		timer_clear(loop_timers(r->loop), &q->timer);
		ub_cancel(q->ctx->ub, q->async_id);
		q->ctx->open--;
		free(q);
	}
	timer_clear(loop_timers(r->loop), &r->reap);
	on_reap(&r->reap, 0);
	if (r->now)
		context_free(r->now);
	free(r);
}

static bool name_valid(const char *name)
{
	size_t label = 0, n = strlen(name);

	if (!n || n > 253)
		return false;
	for (; *name; name++) {
		if (*name == '.') {
			if (!label && name[1])
				return false;
			label = 0;
		} else if (++label > 63 || (unsigned char)*name <= ' ' || *name == 0x7f) {
			return false;
		}
	}
	return true;
}

int resolver_ask(struct resolver *r, const char *name, int type,
		 void (*done)(void *arg, const struct resolver_answer *a), void *arg)
{
	struct question *q;
	int rc;

	if (!name_valid(name))
		return -EINVAL;
	if (r->open >= RESOLVER_OPEN_MAX || !r->now)
		return -EAGAIN;
	q = calloc(1, sizeof(*q));
	if (!q)
		return -ENOMEM;
	q->owner = r;
	q->ctx = r->now;
	q->done = done;
	q->arg = arg;
	q->timer = (struct timer){ .fire = on_timeout, .arg = q };
	rc = ub_resolve_async(r->now->ub, name, type, 1, q, on_answer, &q->async_id);
	if (rc ||
	    timer_set(loop_timers(r->loop), &q->timer, loop_now_ms(r->loop) + r->timeout_ms)) {
		if (!rc)
			ub_cancel(r->now->ub, q->async_id);
		else
			log_warn(NULL, "libunbound: %s", ub_strerror(rc));
		free(q);
		return -EAGAIN;
	}
	q->next = r->questions;
	r->questions = q;
	q->ctx->open++;
	r->open++;
	return 0;
}
