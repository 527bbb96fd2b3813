/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A stream from its first byte to its last: by the control thread, until a peer has authenticated on it. */
#include "stream.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "stream_int.h"
#include "udp_classify.h"

#define POLL_EVENTS   32
#define OWN_RING      (256 << 10)
#define GONE_AGAIN_MS 2000

/*
 * What the kernel may hold unsent: with it and ->out a slow line has a bounded queue, and a
 * retransmission of the inner TCP does not wait behind megabytes.
 */
#define LOWAT_BYTES   (128 << 10)
#define USER_MS	      20000 /* sent and not acknowledged: the line is dead */
#define KEEP_IDLE_S   30
#define KEEP_INTVL_S  5
#define KEEP_COUNT    4

/* ---- events of the control thread to itself ---- */

static void own_event(struct dp *dp, struct dp_event *ev)
{
	uint64_t one = 1;

	ev->at_ms = clock_boot_ms();
	if (!evq_push(&dp->stream_evq, ev)) {
		stats_add(&dp->stats, ev->kind == DP_EV_IKE ? DP_DROP_IKE_QUEUE : DP_EVENT_LOST, 1);
		return;
	}
	if (!atomic_exchange(&dp->event_told, true)) {
		ssize_t n = write(dp->event_fd, &one, sizeof(one));

		(void)n;
	}
}

static struct dp_event event_of(const struct stream *s, enum dp_event_kind kind)
{
	return (struct dp_event){ .kind = kind,
				  .peer = DP_PEERS_MAX,
				  .path = { .sock = s->sock.group,
					    .local = s->local.addr,
					    .remote = s->remote },
				  .icmp_errno = (uint32_t)atomic_load(&s->error) };
}

static void tell_gone(struct stream *s, struct worker *w)
{
	struct dp_event ev = event_of(s, DP_EV_STREAM_GONE);

	if (w)
		worker_event(w, &ev);
	else
		own_event(s->dp, &ev);
}

void stream_die(struct stream *s, struct worker *w, int error)
{
	if (atomic_load(&s->state) == STREAM_DEAD)
		return;
	atomic_store(&s->error, error);
	atomic_store_explicit(&s->state, STREAM_DEAD, memory_order_release);
	pthread_mutex_lock(&s->lock);
	if (s->epfd >= 0)
		(void)epoll_ctl(s->epfd, EPOLL_CTL_DEL, s->fd, NULL);
	s->epfd = -1;
	pthread_mutex_unlock(&s->lock);
	tell_gone(s, w);
}

/* ---- the table ---- */

struct stream *stream_find(const struct dp *dp, uint32_t number)
{
	struct stream *s;

	if (number < DP_STREAM_FIRST)
		return NULL;
	s = dp->stream[(number - DP_STREAM_FIRST) % DP_STREAMS_MAX];
	return s && s->sock.group == number ? s : NULL;
}

void stream_hold(struct stream *s)
{
	s->refs++;
}

static void stream_free(struct stream *s)
{
	close(s->fd);
	cloak_free(s->cloak);
	pthread_mutex_destroy(&s->lock);
	free(s->out);
	free(s->part);
	free(s);
}

void stream_drop(struct stream *s)
{
	if (!--s->refs)
		stream_free(s);
}

static void unlisted(struct rcu_node *n)
{
	stream_drop((struct stream *)((char *)n - offsetof(struct stream, rcu)));
}

static uint32_t free_number(struct dp *dp)
{
	for (uint32_t i = 0; i < DP_STREAMS_MAX; i++) {
		uint32_t n = dp->stream_next++;

		/* The slots one after the other: a number comes again after two thousand million. */
		if (n >= UINT32_MAX - DP_STREAM_FIRST - DP_STREAMS_MAX)
			n = dp->stream_next = 0;
		if (!dp->stream[n % DP_STREAMS_MAX])
			return DP_STREAM_FIRST + n;
	}
	return 0;
}

/* ---- birth ---- */

static void socket_options(int fd)
{
	static const struct {
		int level, name, value;
	} set[] = {
		{ SOL_SOCKET, SO_KEEPALIVE, 1 },
		{ IPPROTO_TCP, TCP_NODELAY, 1 },
		{ IPPROTO_TCP, TCP_NOTSENT_LOWAT, LOWAT_BYTES },
		{ IPPROTO_TCP, TCP_USER_TIMEOUT, USER_MS },
		{ IPPROTO_TCP, TCP_KEEPIDLE, KEEP_IDLE_S },
		{ IPPROTO_TCP, TCP_KEEPINTVL, KEEP_INTVL_S },
		{ IPPROTO_TCP, TCP_KEEPCNT, KEEP_COUNT },
	};

	/* None of them is needed for it to work. */
	for (size_t i = 0; i < sizeof(set) / sizeof(*set); i++)
		(void)setsockopt(fd, set[i].level, set[i].name, &set[i].value, sizeof(int));
}

static int make(struct dp *dp, const struct dp_stream *d, struct stream **out)
{
	struct stream *s = calloc(1, sizeof(*s));
	struct cloak_io io = { stream_put, stream_take, s };

	if (!s)
		return -ENOMEM;
	pthread_mutex_init(&s->lock, NULL);
	s->dp = dp;
	s->refs = 1;
	s->accepted = d->accepted;
	s->local = d->local;
	s->remote = d->remote;
	s->since_ms = clock_boot_ms();
	s->out = malloc(STREAM_OUT_YOUNG);
	s->part = malloc(STREAM_IKE_MAX);
	s->out_cap = STREAM_OUT_YOUNG;
	s->part_cap = STREAM_IKE_MAX;
	if (d->cloak)
		s->cloak = cloak_new(d->cloak, d->name, &io);
	s->sock.fd = s->fd = d->fd;
	s->sock.role = DP_SOCK_HOP;
	s->sock.family = s->remote.addr.family;
	if (!s->out || !s->part || (d->cloak && !s->cloak) ||
	    !endpoint_to_sockaddr(&s->remote, s->sock.family, &s->from)) {
		s->fd = -1; /* the caller's still */
		stream_free(s);
		return -ENOMEM;
	}
	atomic_init(&s->state, d->accepted ? d->cloak ? STREAM_CLOAKING : STREAM_PREFIX
					   : STREAM_CONNECTING);
	*out = s;
	return 0;
}

int dp_stream_add(struct dp *dp, const struct dp_stream *d, uint32_t *sock)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLOUT };
	uint32_t number = free_number(dp);
	struct stream *s;
	int rc = number ? make(dp, d, &s) : -ENFILE;

	if (rc)
		return rc;
	s->sock.group = number;
	s->epfd = dp->stream_epfd;
	s->want_out = true; /* connected, or at once for the first handshake bytes */
	ev.data.ptr = s;
	if (epoll_ctl(dp->stream_epfd, EPOLL_CTL_ADD, s->fd, &ev)) {
		rc = -errno;
		s->fd = -1;
		stream_free(s);
		return rc;
	}
	socket_options(s->fd);
	dp->stream[(number - DP_STREAM_FIRST) % DP_STREAMS_MAX] = s;
	*sock = number;
	return 0;
}

/* ---- youth ---- */

static int connected(struct stream *s)
{
	int error = 0;
	socklen_t len = sizeof(error);

	if (getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &error, &len) || error)
		return error ? -error : -EIO;
	if (s->cloak)
		atomic_store(&s->state, STREAM_CLOAKING);
	return 0;
}

/* Ours is open when its prefix is on its way; theirs when theirs has come. */
static int opened(struct stream *s)
{
	struct dp_event ev;

	if (s->accepted) {
		atomic_store(&s->state, STREAM_PREFIX);
		return 0;
	}
	if (stream_write(s, FRAME_PREFIX, FRAME_PREFIX_LEN))
		return -EPIPE;
	atomic_store(&s->state, STREAM_OPEN);
	ev = event_of(s, DP_EV_STREAM_OPEN);
	own_event(s->dp, &ev);
	return 0;
}

static void ike_frame(struct stream *s, const uint8_t *p, size_t len)
{
	struct dp_event ev = event_of(s, DP_EV_IKE);

	if (udp_classify(true, p, len) != UDP_IKE_MARKED) {
		/* ESP of nobody whom we know; or a keepalive, which TCP needs none of. */
		stats_add(&s->dp->stats, DP_DROP_STREAM_YOUNG, 1);
		return;
	}
	ev.data = p + 4;
	ev.len = len - 4;
	/* Nobody forges the address of a connection: it does not count as opening. */
	stats_add(&s->dp->stats, DP_IN_IKE, 1);
	own_event(s->dp, &ev);
}

/*
 * One frame a turn: others have theirs, and what this one brings may make the stream a trusted one,
 * whose worker goes on with the rest.
 */
static int young_frames(struct stream *s)
{
	size_t len, used = 0;
	enum frame_word word;

	if (atomic_load(&s->state) == STREAM_PREFIX) {
		word = frame_prefix(s->part, s->part_len);
		if (word == FRAME_BROKEN)
			return -EBADMSG;
		if (word == FRAME_PART)
			return 0;
		used = FRAME_PREFIX_LEN;
		atomic_store(&s->state, STREAM_OPEN);
	}
	word = frame_next(s->part + used, s->part_len - used, s->part_cap, &len);
	if (word == FRAME_BROKEN)
		return -EBADMSG;
	if (word == FRAME_WHOLE) {
		ike_frame(s, s->part + used + FRAME_HEAD, len);
		used += FRAME_HEAD + len;
	}
	s->part_len -= used;
	memmove(s->part, s->part + used, s->part_len);
	return 0;
}

/* Is there something to do of which no poll will tell? */
static bool more(const struct stream *s)
{
	size_t len;

	return (s->cloak && s->filled) ||
	       frame_next(s->part, s->part_len, s->part_cap, &len) != FRAME_PART;
}

static int young_read(struct stream *s)
{
	ssize_t n = 0;

	while (s->part_len < s->part_cap) {
		n = stream_read(s, s->part + s->part_len, s->part_cap - s->part_len);
		if (n <= 0)
			break;
		s->part_len += (size_t)n;
	}
	s->filled = s->part_len == s->part_cap; /* TLS may hold more, of which no poll knows */
	if (!s->filled && n != -EAGAIN)
		return n ? (int)n : -ECONNRESET;
	return young_frames(s);
}

static int step(struct stream *s, uint32_t events)
{
	int rc = 0;

	if (atomic_load(&s->state) == STREAM_CONNECTING) {
		if (!(events & (EPOLLOUT | EPOLLERR | EPOLLHUP)))
			return 0;
		rc = connected(s);
	}
	pthread_mutex_lock(&s->lock);
	if (!rc && atomic_load(&s->state) == STREAM_CONNECTING)
		rc = opened(s);
	if (!rc && atomic_load(&s->state) == STREAM_CLOAKING) {
		rc = cloak_handshake(s->cloak);
		if (!rc)
			rc = opened(s);
		else if (rc == -EAGAIN)
			rc = 0;
	}
	if (!rc)
		rc = stream_flush(s); /* stops listening for room when nothing waits */
	pthread_mutex_unlock(&s->lock);
	if (!rc && atomic_load(&s->state) >= STREAM_PREFIX)
		rc = young_read(s);
	return rc;
}

void stream_again(struct stream *s)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLOUT, .data.ptr = s };

	pthread_mutex_lock(&s->lock);
	if (s->epfd >= 0 && !s->want_out) {
		s->want_out = true;
		(void)epoll_ctl(s->epfd, EPOLL_CTL_MOD, s->fd, &ev);
	}
	pthread_mutex_unlock(&s->lock);
}

void dp_stream_poll(struct dp *dp)
{
	struct epoll_event ev[POLL_EVENTS];
	int n = epoll_wait(dp->stream_epfd, ev, POLL_EVENTS, 0);

	for (int i = 0; i < n; i++) {
		struct stream *s = ev[i].data.ptr;
		int rc;

		if (atomic_load(&s->state) == STREAM_DEAD)
			continue;
		rc = step(s, ev[i].events);
		if (rc)
			stream_die(s, NULL, -rc);
		else if (atomic_load(&s->state) == STREAM_OPEN && more(s))
			stream_again(s);
	}
}

/* ---- trust ---- */

/* Larger buffers, with what is in the small ones. */
static int grow(struct stream *s)
{
	uint8_t *out = realloc(s->out, STREAM_OUT), *part;

	if (!out)
		return -ENOMEM;
	s->out = out;
	s->out_cap = STREAM_OUT;
	part = realloc(s->part, FRAME_MAX);
	if (!part)
		return -ENOMEM;
	s->part = part;
	s->part_cap = FRAME_MAX;
	return 0;
}

int dp_stream_trust(struct dp *dp, uint32_t sock, uint32_t peer)
{
	struct peer *p = peer < dp->peers_max ? atomic_load(&dp->peers[peer]) : NULL;
	struct stream *s = stream_find(dp, sock);
	struct epoll_event ev = { .events = EPOLLIN | EPOLLOUT };
	int rc = 0;

	if (!s || !p)
		return -ENOENT;
	if (s->reader || atomic_load(&s->state) != STREAM_OPEN)
		return s->reader ? 0 : -ENOTCONN;
	pthread_mutex_lock(&s->lock);
	rc = grow(s);
	if (!rc) {
		(void)epoll_ctl(s->epfd, EPOLL_CTL_DEL, s->fd, NULL);
		s->fresh = true;
		s->reader = dp->worker[p->owner];
		s->epfd = s->reader->stream_epfd;
		s->want_out = true; /* ready at once: what lies in ->part or in TLS waits for nothing */
		ev.data.ptr = s;
		if (epoll_ctl(s->epfd, EPOLL_CTL_ADD, s->fd, &ev)) {
			rc = -errno;
			s->epfd = -1;
		}
	}
	pthread_mutex_unlock(&s->lock);
	return rc;
}

/* ---- death ---- */

void dp_stream_close(struct dp *dp, uint32_t sock)
{
	struct stream *s = stream_find(dp, sock);

	if (!s)
		return;
	atomic_store(&s->state, STREAM_DEAD);
	pthread_mutex_lock(&s->lock);
	if (s->epfd >= 0)
		(void)epoll_ctl(s->epfd, EPOLL_CTL_DEL, s->fd, NULL);
	s->epfd = -1;
	pthread_mutex_unlock(&s->lock);
	/* The descriptor itself is closed when no worker can look at it any more. */
	(void)shutdown(s->fd, SHUT_RDWR);
	dp->stream[(sock - DP_STREAM_FIRST) % DP_STREAMS_MAX] = NULL;
	rcu_retire(&dp->rcu, &s->rcu, unlisted);
	install_reap(dp);
}

void dp_stream_sweep(struct dp *dp, uint64_t now_ms)
{
	for (uint32_t i = 0; i < DP_STREAMS_MAX; i++) {
		struct stream *s = dp->stream[i];
		uint64_t stuck;

		if (!s)
			continue;
		stuck = atomic_load_explicit(&s->stuck_ms, memory_order_relaxed);
		if (atomic_load(&s->state) == STREAM_DEAD) {
			tell_gone(s, NULL); /* told before, but the ring was full */
		} else if (!s->reader && now_ms - s->since_ms >= DP_STREAM_YOUNG_MS) {
			stream_die(s, NULL, ETIMEDOUT);
		} else if (stuck && now_ms > stuck && now_ms - stuck >= DP_STREAM_STUCK_MS) {
			/* Its reader may be a worker: that finds the end of it, and tells. */
			(void)shutdown(s->fd, SHUT_RDWR);
		}
	}
}

int dp_stream_fd(const struct dp *dp)
{
	return dp->stream_epfd;
}

bool dp_stream_info(const struct dp *dp, uint32_t sock, struct dp_stream_info *info)
{
	const struct stream *s = stream_find(dp, sock);

	if (!s)
		return false;
	*info = (struct dp_stream_info){ .remote = s->remote,
					 .local = s->local,
					 .tls = s->cloak != NULL,
					 .accepted = s->accepted };
	return true;
}

int streams_open(struct dp *dp)
{
	dp->stream_epfd = epoll_create1(EPOLL_CLOEXEC);
	if (dp->stream_epfd < 0)
		return -errno;
	dp->stream = calloc(DP_STREAMS_MAX, sizeof(struct stream *));
	return dp->stream ? evq_init(&dp->stream_evq, OWN_RING) : -ENOMEM;
}

void streams_close(struct dp *dp)
{
	for (uint32_t i = 0; dp->stream && i < DP_STREAMS_MAX; i++) {
		if (dp->stream[i])
			dp_stream_close(dp, dp->stream[i]->sock.group);
	}
	rcu_reap(&dp->rcu, NULL, 0);
	free(dp->stream);
	evq_free(&dp->stream_evq);
	if (dp->stream_epfd >= 0)
		close(dp->stream_epfd);
}
