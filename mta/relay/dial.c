/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "dial.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "log.h"
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

void dial_from(struct dial *d, const struct mta_route *route, uint32_t turn)
{
	d->turn = turn;
	d->balance = route->family == FAMILY_BALANCE;
	for (size_t i = 0; i < route->source_count && i < ROUTE_SOURCES_MAX; i++) {
		struct dial_source *s = &d->source[d->source_count++];

		s->addr = route->sources[i].addr;
		snprintf(s->helo, sizeof(s->helo), "%s",
			 route->sources[i].helo ? route->sources[i].helo : "");
	}
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
	char text[ENDPOINT_STR_MAX], source[ADDR_STR_MAX];

	d->failed |= family_bit(t->at.addr.family);
	if (t->path[0])
		snprintf(d->why, sizeof(d->why), "connect to %.90s: %s", t->path, strerror(err));
	else if (d->missing.family == t->at.addr.family)
		snprintf(d->why, sizeof(d->why),
			 "connect to %s: source %s is no address of this machine",
			 endpoint_str(&t->at, text), addr_str(&d->missing, source));
	else
		snprintf(d->why, sizeof(d->why), "connect to %s%s%s: %s",
			 endpoint_str(&t->at, text), d->dev[0] ? " by " : "", d->dev,
			 strerror(err));
}

/* Who had his head start and is not there yet counts as failed: his family is left out for a while. */
static void note_losers(struct dial *d)
{
	uint64_t now_ms = loop_now_ms(d->loop);

	for (size_t i = 0; i < DIAL_RACE_MAX; i++)
		if (d->race[i].open && now_ms - d->race[i].begun_ms >= DIAL_STAGGER_MS)
			d->failed |= family_bit(d->target[d->race[i].target].at.addr.family);
}

static void won(struct dial *d, struct dial_try *t)
{
	size_t target = t->target, source = t->source;
	int fd = t->lf.fd;

	note_losers(d);
	d->helo =
	    source < d->source_count && d->source[source].helo[0] ? d->source[source].helo : NULL;
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

static int bind_to(int fd, const struct addr *a)
{
	struct endpoint from = { .addr = *a };
	struct sockaddr_storage ss;
	socklen_t len = endpoint_to_sockaddr(&from, a->family, &ss);

	return bind(fd, (struct sockaddr *)&ss, len) < 0 ? -errno : 0;
}

static void tell_missing(struct dial *d, const struct addr *a)
{
	static struct log_limit quiet;
	char text[ADDR_STR_MAX];
	uint32_t swallowed;

	d->missing = *a;
	if (log_limited(&quiet, addr_hash(a, addr_bits(a)), loop_now_ms(d->loop), &swallowed))
		log_warn(NULL, "source %s is no address of this machine: not used",
			 addr_str(a, text));
}

/* From the next source of @family that this machine has; @chosen says which. */
static int bind_source(struct dial *d, int fd, int family, size_t *chosen)
{
	size_t of_family[ROUTE_SOURCES_MAX], n = 0;
	uint32_t turn = d->balance ? d->turn / 2 : d->turn;
	int rc = 0;

	*chosen = SIZE_MAX;
	for (size_t i = 0; i < d->source_count; i++)
		if (d->source[i].addr.family == family)
			of_family[n++] = i;
	for (size_t k = 0; k < n; k++) {
		size_t i = of_family[(turn + k) % n];

		rc = bind_to(fd, &d->source[i].addr);
		if (rc != -EADDRNOTAVAIL) {
			*chosen = i;
			break;
		}
		tell_missing(d, &d->source[i].addr);
	}
	return n || !d->source_count ? rc : -EADDRNOTAVAIL;
}

static int inet_socket(struct dial *d, const struct dial_target *t, size_t *source)
{
	struct sockaddr_storage ss;
	int family = t->at.addr.family, rc = 0;
	int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	socklen_t len;

	if (fd < 0)
		return -errno;
	d->missing.family = 0;
	*source = SIZE_MAX;
	if (d->dev[0] &&
	    setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, d->dev, (socklen_t)strlen(d->dev)))
		rc = -errno;
	if (!rc)
		rc =
		    t->source.family ? bind_to(fd, &t->source) : bind_source(d, fd, family, source);
	len = endpoint_to_sockaddr(&t->at, family, &ss);
	if (!rc) {
		d->missing.family = 0;
		if (connect(fd, (struct sockaddr *)&ss, len) < 0 && errno != EINPROGRESS)
			rc = -errno;
	}
	if (rc) {
		close(fd);
		return rc;
	}
	return fd;
}

/* Starts the next target. False when none of the same host is left or the race is full. */
static bool start_one(struct dial *d)
{
	struct dial_try *t = NULL;
	size_t target = d->next, source = SIZE_MAX;
	int fd;

	for (size_t i = 0; i < DIAL_RACE_MAX && !t; i++) {
		if (!d->race[i].open)
			t = &d->race[i];
	}
	if (!t || d->next >= d->count || d->target[d->next].host != d->host)
		return false;
	d->next++;
	fd = d->target[target].path[0] ? unix_socket(&d->target[target])
				       : inet_socket(d, &d->target[target], &source);
	if (fd < 0) {
		failed(d, target, -fd);
		return start_one(d);
	}
	*t = (struct dial_try){ .dial = d,
				.target = target,
				.source = source,
				.begun_ms = loop_now_ms(d->loop),
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

/* The next address of @family from @at on; SIZE_MAX: none. */
static size_t next_of(const struct lookup_host *h, size_t at, int family)
{
	while (at < h->addr_count && h->addr[at].family != family)
		at++;
	return at < h->addr_count ? at : SIZE_MAX;
}

bool dial_v6_first(const struct dial *d, const struct mta_route *route)
{
	return route->family == FAMILY_V6_FIRST || route->family == FAMILY_V6_ONLY ||
	       (route->family == FAMILY_BALANCE && d->turn % 2 == 0);
}

/* Addresses of one host, the families alternating. */
static size_t add_host(struct dial *d, const struct mta_route *route, const struct lookup_host *h,
		       unsigned number, uint8_t families)
{
	static const int family[2] = { AF_INET, AF_INET6 };
	bool v6_first = dial_v6_first(d, route);
	size_t at[2] = { next_of(h, 0, AF_INET), next_of(h, 0, AF_INET6) }, added = 0;
	struct dial_target t = { .host = number, .at.port = route->port };

	snprintf(t.name, sizeof(t.name), "%s", h->name);
	for (int turn = v6_first; at[0] != SIZE_MAX || at[1] != SIZE_MAX; turn ^= 1) {
		if (at[turn] == SIZE_MAX)
			continue;
		t.at.addr = h->addr[at[turn]];
		at[turn] = next_of(h, at[turn] + 1, family[turn]);
		if (families & family_bit(family[turn]))
			added += dial_add(d, &t);
	}
	return added;
}

size_t dial_hosts(struct dial *d, const struct mta_route *route, const struct lookup_host *host,
		  size_t host_count, uint8_t families, char why[static DIAL_WHY_MAX])
{
	static const char *const words[] = { "no", "IPv4", "IPv6", "any" };
	uint8_t uses = route_families(route), has = 0;
	size_t added = 0;

	for (size_t i = 0; i < host_count; i++) {
		for (size_t k = 0; k < host[i].addr_count; k++)
			has |= family_bit(host[i].addr[k].family);
		added += add_host(d, route, &host[i], (unsigned)i, families & uses);
	}
	/* @families is what worked lately; better a family that did not than no attempt. */
	for (size_t i = 0; !added && i < host_count; i++)
		added = add_host(d, route, &host[i], (unsigned)i, uses);
	if (added)
		return added;
	if (!has)
		snprintf(why, DIAL_WHY_MAX, "the next hop has no address");
	else
		snprintf(
		    why, DIAL_WHY_MAX,
		    "the next hop has only %s addresses, and route %s goes by %s alone: see its "
		    "family and source",
		    words[has], route->name, words[uses]);
	return 0;
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
