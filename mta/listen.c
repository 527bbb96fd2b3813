/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "parent.h"
#include "aside.h"
#include "check.h"

#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "log.h"

#define BACKLOG	 1024
#define RETRY_MS 1000
#define DOORS_MS 30000 /* all pairs of all listeners, from a slow disk */

/*
 * Theory: a socket is made once for each address of each listener and stays until no configuration
 * wants it. IP_FREEBIND lets it stand before its address does. A tunnel socket is bound to the TUN
 * by SO_BINDTODEVICE besides its local tunnel address: a packet for that address that came
 * another way never reaches it. The binding is to an interface number, so a device that was made
 * anew (it is persistent, but an admin may remove it) means a new socket.
 */
static int bind_to(const struct endpoint *at, const char *dev)
{
	/*
	 * Beside "every address" a socket of one address and device may listen on the same port only
	 * with SO_REUSEPORT on both; the kernel prefers the closer match, so tunnel clients come to
	 * the tunnel's socket.
	 */
	bool share = dev || addr_is_unspecified(&at->addr);
	struct sockaddr_storage ss;
	int family = at->addr.family, one = 1, fd, rc;
	socklen_t len = endpoint_to_sockaddr(at, family, &ss);

	fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (share)
		setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (family == AF_INET6) {
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
		setsockopt(fd, IPPROTO_IPV6, IPV6_FREEBIND, &one, sizeof(one));
	} else {
		setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &one, sizeof(one));
	}
	rc = dev ? setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, dev, (socklen_t)strlen(dev)) : 0;
	if (rc < 0 || bind(fd, (struct sockaddr *)&ss, len) < 0 || listen(fd, BACKLOG) < 0) {
		rc = -errno;
		close(fd);
		return rc;
	}
	return fd;
}

static struct bound *find(struct parent *p, uint32_t index, const struct endpoint *at, bool tunnel,
			  unsigned ifindex)
{
	for (size_t i = 0; i < p->bound_count; i++) {
		struct bound *b = &p->bound[i];

		if (!b->wanted && endpoint_eq(&b->at, at) && b->tunnel == tunnel &&
		    b->ifindex == ifindex) {
			b->index = index;
			return b;
		}
	}
	return NULL;
}

/* Returns 0, or -errno when the socket cannot be had now. */
static int want(struct parent *p, uint32_t index, const struct endpoint *at, bool tunnel,
		bool *changed)
{
	unsigned ifindex = tunnel ? if_nametoindex(p->tunnel.dev) : 0;
	struct bound *b;
	char text[ENDPOINT_STR_MAX];
	int fd;

	if (tunnel && !ifindex)
		return -ENODEV;
	b = find(p, index, at, tunnel, ifindex);
	if (b) {
		b->wanted = true;
		return 0;
	}
	fd = bind_to(at, tunnel ? p->tunnel.dev : NULL);
	if (fd == -EADDRINUSE) {
		/* Perhaps it is our own of a device that is gone: free that first. */
		for (size_t i = 0; i < p->bound_count; i++) {
			b = &p->bound[i];
			if (!b->wanted && b->fd >= 0 && endpoint_eq(&b->at, at)) {
				close(b->fd);
				b->fd = -1;
			}
		}
		fd = bind_to(at, tunnel ? p->tunnel.dev : NULL);
	}
	if (fd < 0) {
		if (!p->listen_told)
			log_warn(NULL, "cannot listen at=%s listener=%s: %s; trying again",
				 endpoint_str(at, text), p->config->listeners[index].name,
				 strerror(-fd));
		return fd;
	}
	b = realloc(p->bound, (p->bound_count + 1) * sizeof(*b));
	if (!b) {
		close(fd);
		return -ENOMEM;
	}
	p->bound = b;
	b[p->bound_count++] = (struct bound){ .index = index,
					      .at = *at,
					      .tunnel = tunnel,
					      .ifindex = ifindex,
					      .fd = fd,
					      .wanted = true };
	log_info(NULL, "listening at=%s listener=%s%s%s", endpoint_str(at, text),
		 p->config->listeners[index].name, tunnel ? " dev=" : "",
		 tunnel ? p->tunnel.dev : "");
	*changed = true;
	return 0;
}

static int want_word(struct parent *p, uint32_t index, const struct listen_addr *a, bool *changed)
{
	struct endpoint at = { .port = a->ep.port };
	int rc = 0, rc6;

	if (!a->any && !a->tunnel)
		return want(p, index, &a->ep, false, changed);
	if (a->tunnel) {
		/* Before posternd has told its addresses there is nothing to bind, and no error. */
		for (size_t i = 0; i < p->tunnel.local_count; i++) {
			int one;

			at.addr = p->tunnel.local[i];
			one = want(p, index, &at, true, changed);
			rc = one ? one : rc;
		}
		return rc;
	}
	at.addr.family = AF_INET;
	rc = want(p, index, &at, false, changed);
	at.addr.family = AF_INET6;
	rc6 = want(p, index, &at, false, changed);
	/* A machine without IPv6 is no error. */
	return rc ? rc : rc6 == -EAFNOSUPPORT || rc6 == -EADDRNOTAVAIL ? 0 : rc6;
}

void listen_send(struct parent *p)
{
	struct proc *smtpd = proc_by_id(&p->table, MTA_PROC_SMTPD);

	if (!smtpd || !smtpd->ipc)
		return;
	for (size_t i = 0; i < p->bound_count; i++) {
		const struct bound *b = &p->bound[i];
		struct mta_listen_fd at;

		memset(&at, 0, sizeof(at));
		at.tunnel = b->tunnel;
		at.bound = b->at;
		ipc_send_fds(smtpd->ipc, MTA_LISTENER, b->index, &at, sizeof(at), &b->fd, 1);
	}
	ipc_send(smtpd->ipc, MTA_LISTENERS_END, 0, NULL, 0);
}

void listen_update(struct parent *p)
{
	bool changed = false, failed = false;
	size_t kept = 0;

	for (size_t i = 0; i < p->bound_count; i++)
		p->bound[i].wanted = false;
	for (size_t i = 0; i < p->config->listener_count; i++) {
		const struct mta_listener *l = &p->config->listeners[i];

		for (size_t k = 0; k < l->address_count; k++)
			failed |= want_word(p, (uint32_t)i, &l->addresses[k], &changed) != 0;
	}
	for (size_t i = 0; i < p->bound_count; i++) {
		if (p->bound[i].wanted) {
			p->bound[kept++] = p->bound[i];
			continue;
		}
		/* While the TUN is away its sockets stay: they come back with it, or are replaced. */
		if (p->bound[i].tunnel && failed && p->bound[i].fd >= 0 &&
		    p->bound[i].index < p->config->listener_count &&
		    p->config->listeners[p->bound[i].index].class == LISTEN_TUNNEL) {
			p->bound[kept++] = p->bound[i];
			continue;
		}
		if (p->bound[i].fd >= 0)
			close(p->bound[i].fd);
		changed = true;
	}
	p->bound_count = kept;
	p->listen_told = failed;
	if (changed)
		listen_send(p);
	timer_set(loop_timers(p->loop), &p->listen_timer,
		  loop_now_ms(p->loop) + (failed ? RETRY_MS : 5 * RETRY_MS));
}

void listen_close(struct parent *p)
{
	for (size_t i = 0; i < p->bound_count; i++)
		close(p->bound[i].fd);
	free(p->bound);
	p->bound = NULL;
	p->bound_count = 0;
}

static bool has_listener(const struct mta_config *c, const char *name)
{
	for (size_t i = 0; i < c->listener_count; i++) {
		if (!strcmp(c->listeners[i].name, name))
			return true;
	}
	return false;
}

/* What then holds for letters that wait is in route.c. */
void listen_gone(const struct mta_config *was, const struct mta_config *now)
{
	bool ways = false;

	for (size_t i = 0; i < now->rule_count; i++)
		ways |= now->rules[i].route != NULL;
	for (size_t i = 0; ways && i < was->listener_count; i++) {
		const char *name = was->listeners[i].name;

		if (!has_listener(now, name))
			log_info(
			    NULL,
			    "listener=%s msg=\"is gone, or has another name: letters that came "
			    "by it and wait go by the rules that name no listener, as far as "
			    "none before them names one and would else hold\"",
			    name);
	}
}

/* ---- their TLS ---- */

struct doors {
	const char *path, *text;
	size_t len;
	const struct mta_config *config;
	int bundle;
};

struct doors_told {
	int rc;
	char why[3000];
};

static void judge_doors(void *arg, void *out)
{
	struct doors *d = arg;
	struct doors_told *t = out;

	t->rc = check_doors(d->path, d->text, d->len, d->config, d->bundle, t->why, sizeof(t->why));
}

int listen_check(const struct parent *p, const char *text, size_t len, const struct mta_config *c,
		 int bundle, char *why, size_t cap)
{
	struct doors d = {
		.path = p->path, .text = text, .len = len, .config = c, .bundle = bundle
	};
	struct doors_told t = { 0 };
	int rc = aside(judge_doors, &d, &t, sizeof(t), DOORS_MS);

	if (rc)
		snprintf(why, cap, "certificates cannot be judged: %s", aside_words(rc));
	else
		snprintf(why, cap, "%s", t.why);
	return rc || t.rc ? -EINVAL : 0;
}

void listen_tls(struct parent *p, uint32_t index, const uint8_t *data, size_t len)
{
	struct listener_tls_state *t = &p->tls[index < MTA_LISTENERS_MAX ? index : 0];

	if (index >= MTA_LISTENERS_MAX || !len)
		return;
	t->told = true;
	t->has = data[0];
	snprintf(t->why, sizeof(t->why), "%.*s", (int)(len - 1), (const char *)data + 1);
}
