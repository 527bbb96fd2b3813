/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "dial.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "msg.h"
#include "tls.h"

static uint8_t family_bit(int family)
{
	return family == AF_INET6 ? MSG_R_FAMILY6 : family == AF_INET ? MSG_R_FAMILY4 : 0;
}

void dial_init(struct dial *d, struct loop *l, void (*done)(struct dial *d, int fd, size_t target),
	       void *arg)
{
	memset(d, 0, sizeof(*d));
	d->loop = l;
	d->done = done;
	d->arg = arg;
}

bool dial_add(struct dial *d, const struct dial_target *t)
{
	if (d->count == DIAL_TARGETS_MAX)
		return false;
	d->target[d->count++] = *t;
	return true;
}

static void close_try(struct dial *d, struct dial_try *t)
{
	if (!t->open)
		return;
	loop_del(d->loop, &t->lf);
	close(t->lf.fd);
	t->open = false;
}

void dial_stop(struct dial *d)
{
	for (size_t i = 0; i < DIAL_RACE_MAX; i++)
		close_try(d, &d->race[i]);
	if (d->loop) {
		timer_clear(loop_timers(d->loop), &d->stagger);
		timer_clear(loop_timers(d->loop), &d->host_timer);
	}
}

bool dial_more(const struct dial *d)
{
	return d->next < d->count;
}

static void failed(struct dial *d, size_t target, int err)
{
	const struct dial_target *t = &d->target[target];
	char text[ENDPOINT_STR_MAX];

	d->failed |= family_bit(t->at.addr.family);
	if (t->path[0])
		snprintf(d->why, sizeof(d->why), "connect to %.90s: %s", t->path, strerror(err));
	else
		snprintf(d->why, sizeof(d->why), "connect to %s%s%s: %s",
			 endpoint_str(&t->at, text), d->dev[0] ? " by " : "", d->dev,
			 strerror(err));
}

static void won(struct dial *d, struct dial_try *t)
{
	size_t target = t->target;
	int fd = t->lf.fd;

	loop_del(d->loop, &t->lf);
	t->open = false;
	dial_stop(d);
	d->ok |= family_bit(d->target[target].at.addr.family);
	d->failed &= (uint8_t)~d->ok;
	/* The rest of this host is not wanted any more. */
	while (d->next < d->count && d->target[d->next].host == d->host)
		d->next++;
	tls_socket_prepare(fd);
	d->done(d, fd, target);
}

static void go_on(struct dial *d);

static void on_ready(struct loop_fd *lf, uint32_t events)
{
	struct dial_try *t = lf->arg;
	struct dial *d = t->dial;
	socklen_t len = sizeof(int);
	int err = 0;

	(void)events;
	if (getsockopt(lf->fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0)
		err = errno;
	if (!err) {
		won(d, t);
		return;
	}
	failed(d, t->target, err);
	close_try(d, t);
	go_on(d);
}

static int unix_socket(const struct dial_target *t)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	snprintf(un.sun_path, sizeof(un.sun_path), "%s", t->path);
	if (connect(fd, (struct sockaddr *)&un, sizeof(un)) < 0) {
		int rc = -errno;

		close(fd);
		return rc;
	}
	return fd;
}

static int inet_socket(const struct dial *d, const struct dial_target *t)
{
	struct sockaddr_storage ss;
	int family = t->at.addr.family, rc = 0;
	int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	socklen_t len;

	if (fd < 0)
		return -errno;
	if (d->dev[0])
		rc = setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, d->dev, (socklen_t)strlen(d->dev));
	if (!rc && t->source.family) {
		struct endpoint from = { .addr = t->source };

		len = endpoint_to_sockaddr(&from, family, &ss);
		rc = bind(fd, (struct sockaddr *)&ss, len);
	}
	len = endpoint_to_sockaddr(&t->at, family, &ss);
	if (!rc)
		rc = connect(fd, (struct sockaddr *)&ss, len);
	if (rc < 0 && errno != EINPROGRESS) {
		rc = -errno;
		close(fd);
		return rc;
	}
	return fd;
}

/* Starts the next target. False when none of the same host is left or the race is full. */
static bool start_one(struct dial *d)
{
	struct dial_try *t = NULL;
	size_t target = d->next;
	int fd;

	for (size_t i = 0; i < DIAL_RACE_MAX && !t; i++) {
		if (!d->race[i].open)
			t = &d->race[i];
	}
	if (!t || d->next >= d->count || d->target[d->next].host != d->host)
		return false;
	d->next++;
	fd = d->target[target].path[0] ? unix_socket(&d->target[target])
				       : inet_socket(d, &d->target[target]);
	if (fd < 0) {
		failed(d, target, -fd);
		return start_one(d);
	}
	*t = (struct dial_try){ .dial = d,
				.target = target,
				.open = true,
				.lf = { .fd = fd, .ready = on_ready, .arg = t } };
	if (loop_add(d->loop, &t->lf, EPOLLOUT)) {
		close(fd);
		t->open = false;
		failed(d, target, ENOMEM);
		return start_one(d);
	}
	timer_set(loop_timers(d->loop), &d->stagger, loop_now_ms(d->loop) + DIAL_STAGGER_MS);
	return true;
}

static bool racing(const struct dial *d)
{
	for (size_t i = 0; i < DIAL_RACE_MAX; i++) {
		if (d->race[i].open)
			return true;
	}
	return false;
}

/* Something failed: the next of this host at once, or the next host, or the end. */
static void go_on(struct dial *d)
{
	if (start_one(d) || racing(d))
		return;
	if (d->next < d->count) {
		dial_start(d);
		return;
	}
	dial_stop(d);
	d->done(d, -1, 0);
}

static void on_stagger(struct timer *t, uint64_t now_ms)
{
	struct dial *d = t->arg;

	(void)now_ms;
	if (!start_one(d) && !racing(d))
		go_on(d);
}

static void on_host_timer(struct timer *t, uint64_t now_ms)
{
	struct dial *d = t->arg;

	(void)now_ms;
	for (size_t i = 0; i < DIAL_RACE_MAX; i++) {
		if (!d->race[i].open)
			continue;
		failed(d, d->race[i].target, ETIMEDOUT);
		close_try(d, &d->race[i]);
	}
	while (d->next < d->count && d->target[d->next].host == d->host)
		d->next++;
	go_on(d);
}

/* The first connect is made from the loop, so that its failure is told from there too. */
static void on_first(struct timer *t, uint64_t now_ms)
{
	struct dial *d = t->arg;

	d->stagger = (struct timer){ .fire = on_stagger, .arg = d };
	timer_set(loop_timers(d->loop), &d->host_timer, now_ms + DIAL_HOST_MS);
	if (d->next < d->count)
		d->host = d->target[d->next].host;
	go_on(d);
}

void dial_start(struct dial *d)
{
	dial_stop(d);
	d->stagger = (struct timer){ .fire = on_first, .arg = d };
	d->host_timer = (struct timer){ .fire = on_host_timer, .arg = d };
	timer_set(loop_timers(d->loop), &d->stagger, loop_now_ms(d->loop));
}

/* ---- lists ---- */

/* The first of that family; family 0: as the kernel chooses. */
static struct addr source_of(const struct mta_route *r, int family)
{
	for (size_t i = 0; i < r->source_count; i++) {
		if (r->sources[i].addr.family == family)
			return r->sources[i].addr;
	}
	return (struct addr){ 0 };
}

size_t dial_hosts(struct dial *d, const struct mta_route *route, const struct lookup_host *host,
		  size_t host_count, uint8_t families, char why[static DIAL_WHY_MAX])
{
	struct addr source4 = source_of(route, AF_INET), source6 = source_of(route, AF_INET6);
	bool sources = route->source_count > 0;
	bool v6_first = route->family == FAMILY_V6_FIRST || route->family == FAMILY_V6_ONLY;
	size_t added = 0, seen = 0;

	if (route->family == FAMILY_V6_ONLY || (sources && !source4.family))
		families &= (uint8_t)~MSG_R_FAMILY4;
	if (route->family == FAMILY_V4_ONLY || (sources && !source6.family))
		families &= (uint8_t)~MSG_R_FAMILY6;
	for (size_t i = 0; i < host_count; i++) {
		size_t at[2] = { 0, 0 };
		int turn = v6_first ? 1 : 0; /* 0: v4, 1: v6 */

		for (size_t k = 0; k < host[i].addr_count; k++, turn ^= 1) {
			struct dial_target t = { .host = (unsigned)i };
			size_t n;
			int family = turn ? AF_INET6 : AF_INET;

			for (n = at[turn];
			     n < host[i].addr_count && host[i].addr[n].family != family; n++)
				;
			if (n == host[i].addr_count) { /* none left of this family */
				turn ^= 1;
				family = turn ? AF_INET6 : AF_INET;
				for (n = at[turn];
				     n < host[i].addr_count && host[i].addr[n].family != family;
				     n++)
					;
				if (n == host[i].addr_count)
					break;
			}
			at[turn] = n + 1;
			seen++;
			if (!(families & family_bit(family)))
				continue;
			t.at.addr = host[i].addr[n];
			t.at.port = route->port;
			t.source = turn ? source6 : source4;
			snprintf(t.name, sizeof(t.name), "%s", host[i].name);
			added += dial_add(d, &t);
		}
	}
	if (!added && seen)
		snprintf(why, DIAL_WHY_MAX,
			 "the next hop has no address of a family that route %s uses", route->name);
	else if (!added)
		snprintf(why, DIAL_WHY_MAX, "the next hop has no address");
	return added;
}

size_t dial_mx_self(const struct lookup_host *host, size_t count,
		    bool (*is_self)(void *arg, const struct lookup_host *h), void *arg)
{
	for (size_t i = 0; i < count; i++) {
		size_t n = i;

		if (!is_self(arg, &host[i]))
			continue;
		while (n && host[n - 1].preference >= host[i].preference)
			n--;
		return n;
	}
	return count;
}

/*
 * To an address of its own the kernel goes from that address. To try whether it can be bound says
 * nothing where net.ipv4.ip_nonlocal_bind is set: there each can.
 */
bool dial_addr_is_local(const struct addr *a)
{
	struct endpoint to = { .addr = *a, .port = 25 }, from;
	struct sockaddr_storage ss;
	socklen_t len = endpoint_to_sockaddr(&to, a->family, &ss);
	int fd;
	bool local;

	if (addr_is_unspecified(a) || addr_is_loopback(a))
		return true;
	fd = socket(a->family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return false;
	local = !connect(fd, (struct sockaddr *)&ss, len);
	len = sizeof(ss);
	local = local && !getsockname(fd, (struct sockaddr *)&ss, &len) &&
		!endpoint_from_sockaddr(&from, (struct sockaddr *)&ss) && addr_eq(&from.addr, a);
	close(fd);
	return local;
}
