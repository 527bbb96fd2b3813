/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * impair DEV_A DEV_B SOCKET: a wire between two network devices that is as bad as it is told to be.
 *
 * Theory: whole Ethernet frames go from one device to the other through AF_PACKET sockets, so it needs no
 * netem and treats UDP, TCP and ICMP alike. Each direction has its own faults; they work in the
 * order in which a real path has them: the line is cut, loses, has an MTU, a rate with a queue, a
 * delay. SOCKET is a Unix SOCK_SEQPACKET socket for one client at a time; a packet is one command, the answer another:
 *
 *	both|a2b|b2a KEY=VALUE ...	from now on; other keys stay as they are
 *	reset				everything is a perfect wire again
 *	stats				counters of both directions as JSON
 *
 *	cut=0|1			nothing passes
 *	delay=MS jitter=MS	each frame waits delay, and up to jitter more; the order is kept
 *	reorder=% behind=MS	such a part waits so much longer (10) and is overtaken
 *	loss=% dup=%		of frames, independent of each other
 *	burst=% length=N	at each frame a burst of losses may begin, N frames long on average (5)
 *	rate=BIT/S queue=BYTES	a bottleneck with a queue that drops its tail (rate 0: none; 65536)
 *	mtu=BYTES icmp=0|1	IP packets above it: IPv4 without DF is cut, the others are
 *				dropped, with an ICMP error to the sender where icmp is 1 (0: none)
 *	seed=N			the same faults again; for both directions
 *
 * The devices must carry real packets: the other ends need their segmentation and checksum offloads off.
 */
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define FRAME_MAX 65600
#define HELD_MAX  65536
#define IP4_DF	  0x4000
#define IP4_MF	  0x2000

struct faults {
	double delay, jitter, behind;	  /* ms */
	double loss, dup, reorder, burst; /* per cent */
	double length;			  /* frames */
	double rate, queue;		  /* bit/s, bytes */
	double mtu, icmp, cut;
};

struct way {
	const char *name;
	int in, out; /* sockets */
	struct faults f;
	bool in_burst;
	uint64_t random;  /* state: each way its own, so that a seed repeats the same faults */
	uint64_t free_ns; /* when the bottleneck has sent all that it has */
	uint64_t last_ns; /* no frame in order leaves before */
	uint64_t frames, bytes, lost, duplicated, reordered, too_big, tail_dropped, passed;
};

struct held {
	uint64_t due_ns, order;
	struct way *w;
	uint8_t *frame;
	size_t len;
};

static const struct faults perfect = { .behind = 10, .length = 5, .queue = 65536 };
static struct way way[2] = { { .name = "a2b" }, { .name = "b2a" } };
static struct held heap[HELD_MAX];
static size_t held;
static uint64_t order;

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* xorshift64*; 0 <= x < 1 */
static double uniform(struct way *w)
{
	w->random ^= w->random >> 12;
	w->random ^= w->random << 25;
	w->random ^= w->random >> 27;
	return (double)(w->random * 0x2545f4914f6cdd1dull >> 11) / 9007199254740992.0;
}

static bool chance(struct way *w, double percent)
{
	return percent > 0 && uniform(w) * 100 < percent;
}

/* ---- frames that wait: a binary heap by time, then by order ---- */

static bool before(const struct held *a, const struct held *b)
{
	return a->due_ns != b->due_ns ? a->due_ns < b->due_ns : a->order < b->order;
}

static void swap(size_t a, size_t b)
{
	struct held h = heap[a];

	heap[a] = heap[b];
	heap[b] = h;
}

static void hold(struct way *w, const uint8_t *frame, size_t len, uint64_t due_ns)
{
	struct held h = { .due_ns = due_ns, .order = order++, .w = w, .len = len };
	size_t at = held;

	h.frame = held < HELD_MAX ? malloc(len) : NULL;
	if (!h.frame) {
		w->tail_dropped++;
		return;
	}
	memcpy(h.frame, frame, len);
	heap[held++] = h;
	for (; at && before(&heap[at], &heap[(at - 1) / 2]); at = (at - 1) / 2)
		swap(at, (at - 1) / 2);
}

static struct held take(void)
{
	struct held first = heap[0];
	size_t at = 0, next;

	heap[0] = heap[--held];
	while ((next = 2 * at + 1) < held) {
		if (next + 1 < held && before(&heap[next + 1], &heap[next]))
			next++;
		if (!before(&heap[next], &heap[at]))
			break;
		swap(at, next);
		at = next;
	}
	return first;
}

/* ---- packets above the MTU ---- */

static unsigned be16(const uint8_t *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

static void put16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static uint16_t checksum(const uint8_t *p, size_t len, uint32_t sum)
{
	for (; len > 1; p += 2, len -= 2)
		sum += be16(p);
	if (len)
		sum += (uint32_t)*p << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static void pass(struct way *w, const uint8_t *frame, size_t len);

/* Back to the sender, as from the machine it wrote to: a wire has no address of its own. */
static void icmp4(struct way *w, const uint8_t *frame, const uint8_t *ip, size_t len)
{
	size_t quote = len < 548 ? len : 548; /* RFC 1812 s4.3.2.3 */
	uint8_t out[14 + 20 + 8 + 548] = { 0 }, *o = out + 14, *c = o + 20;

	memcpy(out, frame + 6, 6);
	memcpy(out + 6, frame, 6);
	put16(out + 12, ETH_P_IP);
	o[0] = 0x45;
	put16(o + 2, (unsigned)(28 + quote));
	o[8] = 64;
	o[9] = 1;
	memcpy(o + 12, ip + 16, 4);
	memcpy(o + 16, ip + 12, 4);
	put16(o + 10, checksum(o, 20, 0));
	c[0] = 3; /* destination unreachable: fragmentation needed, RFC 1191 */
	c[1] = 4;
	put16(c + 6, (unsigned)w->f.mtu);
	memcpy(c + 8, ip, quote);
	put16(c + 2, checksum(c, 8 + quote, 0));
	(void)!send(w->in, out, 14 + 28 + quote, MSG_DONTWAIT);
}

static void icmp6(struct way *w, const uint8_t *frame, const uint8_t *ip, size_t len)
{
	size_t quote = len < 1232 ? len : 1232;
	uint8_t out[14 + 40 + 8 + 1232] = { 0 }, *o = out + 14, *c = o + 40;

	memcpy(out, frame + 6, 6);
	memcpy(out + 6, frame, 6);
	put16(out + 12, ETH_P_IPV6);
	o[0] = 0x60;
	put16(o + 4, (unsigned)(8 + quote));
	o[6] = 58;
	o[7] = 64;
	memcpy(o + 8, ip + 24, 16);
	memcpy(o + 24, ip + 8, 16);
	c[0] = 2; /* packet too big, RFC 4443 s3.2 */
	put16(c + 6, (unsigned)w->f.mtu);
	memcpy(c + 8, ip, quote);
	/* pseudo header: both addresses stand before it, length and next header are added */
	put16(c + 2, checksum(o + 8, 32 + 8 + quote, (uint32_t)(8 + quote + 58)));
	(void)!send(w->in, out, 14 + 48 + quote, MSG_DONTWAIT);
}

static void cut4(struct way *w, const uint8_t *frame, const uint8_t *ip, size_t len)
{
	size_t head = (size_t)(ip[0] & 15) * 4, room = ((size_t)w->f.mtu - head) & ~(size_t)7;
	unsigned field = be16(ip + 6);
	uint8_t out[FRAME_MAX], *o = out + 14;

	for (size_t at = 0, n; at < len - head; at += n) {
		bool last = len - head - at <= room;

		n = last ? len - head - at : room;
		memcpy(out, frame, 14 + head);
		memcpy(o + head, ip + head + at, n);
		put16(o + 2, (unsigned)(head + n));
		put16(o + 6, (field + (unsigned)(at / 8)) | (last ? 0 : IP4_MF));
		put16(o + 10, 0);
		put16(o + 10, checksum(o, head, 0));
		pass(w, out, 14 + head + n);
	}
}

/* True: too big, and dealt with. */
static bool above_mtu(struct way *w, const uint8_t *frame, size_t len)
{
	const uint8_t *ip = frame + 14;
	unsigned type = be16(frame + 12);
	size_t bytes;

	if (w->f.mtu < 68)
		return false;
	if (type == ETH_P_IP && len >= 34) {
		bytes = be16(ip + 2);
		if (bytes <= (size_t)w->f.mtu || bytes > len - 14 || (ip[0] & 15) < 5)
			return false;
		w->too_big++;
		if (!(be16(ip + 6) & IP4_DF))
			cut4(w, frame, ip, bytes);
		else if (w->f.icmp > 0 && ip[9] != 1)
			icmp4(w, frame, ip, bytes);
		return true;
	}
	if (type == ETH_P_IPV6 && len >= 54) {
		bytes = 40 + be16(ip + 4);
		if (bytes <= (size_t)w->f.mtu || bytes > len - 14)
			return false;
		w->too_big++;
		if (w->f.icmp > 0)
			icmp6(w, frame, ip, bytes);
		return true;
	}
	return false;
}

/* ---- the way of a frame ---- */

static bool lost(struct way *w)
{
	if (w->f.cut > 0)
		return true;
	if (w->in_burst)
		w->in_burst = uniform(w) * w->f.length >= 1;
	else
		w->in_burst = chance(w, w->f.burst);
	return w->in_burst || chance(w, w->f.loss);
}

static void pass(struct way *w, const uint8_t *frame, size_t len)
{
	uint64_t now = now_ns(), due = now;
	double wait = w->f.delay + w->f.jitter * uniform(w);

	if (w->f.rate > 0) {
		uint64_t start = w->free_ns > now ? w->free_ns : now;

		if ((double)(start - now) / 1e9 * w->f.rate / 8 + (double)len > w->f.queue) {
			w->tail_dropped++;
			return;
		}
		due = w->free_ns = start + (uint64_t)((double)len * 8e9 / w->f.rate);
	}
	due += (uint64_t)(wait * 1e6);
	if (chance(w, w->f.reorder)) {
		w->reordered++;
		hold(w, frame, len, due + (uint64_t)(w->f.behind * 1e6));
		return;
	}
	if (due < w->last_ns)
		due = w->last_ns;
	w->last_ns = due;
	hold(w, frame, len, due);
	if (chance(w, w->f.dup)) {
		w->duplicated++;
		hold(w, frame, len, due);
	}
}

static void on_frames(struct way *w)
{
	static uint8_t frame[FRAME_MAX];

	for (int i = 0; i < 256; i++) {
		struct sockaddr_ll from;
		socklen_t flen = sizeof(from);
		ssize_t n = recvfrom(w->in, frame, sizeof(frame), MSG_DONTWAIT | MSG_TRUNC,
				     (struct sockaddr *)&from, &flen);

		if (n < 0)
			return;
		if (from.sll_pkttype == PACKET_OUTGOING || n < 14 || (size_t)n > sizeof(frame))
			continue;
		w->frames++;
		w->bytes += (uint64_t)n;
		if (lost(w))
			w->lost++;
		else if (!above_mtu(w, frame, (size_t)n))
			pass(w, frame, (size_t)n);
	}
}

static void release(void)
{
	uint64_t now = now_ns();

	while (held && heap[0].due_ns <= now) {
		struct held h = take();

		if (send(h.w->out, h.frame, h.len, MSG_DONTWAIT) == (ssize_t)h.len)
			h.w->passed++;
		else
			h.w->tail_dropped++;
		free(h.frame);
	}
}

/* ---- commands ---- */

static const struct {
	const char *key;
	size_t at;
} keys[] = {
	{ "cut", offsetof(struct faults, cut) },
	{ "delay", offsetof(struct faults, delay) },
	{ "jitter", offsetof(struct faults, jitter) },
	{ "reorder", offsetof(struct faults, reorder) },
	{ "behind", offsetof(struct faults, behind) },
	{ "loss", offsetof(struct faults, loss) },
	{ "dup", offsetof(struct faults, dup) },
	{ "burst", offsetof(struct faults, burst) },
	{ "length", offsetof(struct faults, length) },
	{ "rate", offsetof(struct faults, rate) },
	{ "queue", offsetof(struct faults, queue) },
	{ "mtu", offsetof(struct faults, mtu) },
	{ "icmp", offsetof(struct faults, icmp) },
};

static bool set(unsigned which, char *word)
{
	char *eq = strchr(word, '='), *end;
	double v;

	if (!eq)
		return false;
	*eq = '\0';
	v = strtod(eq + 1, &end);
	if (end == eq + 1 || *end || v < 0)
		return false;
	if (!strcmp(word, "seed")) {
		way[0].random = way[1].random = (uint64_t)v + 1;
		return true;
	}
	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++) {
		if (strcmp(keys[i].key, word))
			continue;
		for (unsigned d = 0; d < 2; d++)
			if (which >> d & 1)
				*(double *)((char *)&way[d].f + keys[i].at) = v;
		return true;
	}
	return false;
}

static void command(char *text, char *answer, size_t cap)
{
	char *save = NULL, *word = strtok_r(text, " \n", &save);
	unsigned which;
	size_t n = 0;

	if (word && !strcmp(word, "stats")) {
		for (unsigned d = 0; d < 2 && n < cap; d++) {
			const struct way *w = &way[d];

			n += (size_t)snprintf(
			    answer + n, cap - n,
			    "%s\"%s\": {\"frames\": %llu, \"bytes\": %llu, \"passed\": %llu, "
			    "\"lost\": %llu, \"duplicated\": %llu, \"reordered\": %llu, "
			    "\"too_big\": %llu, \"tail_dropped\": %llu}%s",
			    d ? ", " : "{", w->name, (unsigned long long)w->frames,
			    (unsigned long long)w->bytes, (unsigned long long)w->passed,
			    (unsigned long long)w->lost, (unsigned long long)w->duplicated,
			    (unsigned long long)w->reordered, (unsigned long long)w->too_big,
			    (unsigned long long)w->tail_dropped, d ? "}" : "");
		}
		return;
	}
	snprintf(answer, cap, "ok");
	if (word && !strcmp(word, "reset")) {
		way[0].f = way[1].f = perfect;
		return;
	}
	which = !word			? 0
		: !strcmp(word, "both") ? 3
		: !strcmp(word, "a2b")	? 1
		: !strcmp(word, "b2a")	? 2
					: 0;
	if (!which)
		snprintf(answer, cap, "no such command");
	while (which && (word = strtok_r(NULL, " \n", &save)))
		if (!set(which, word))
			snprintf(answer, cap, "not a fault: %s", word);
}

/* False: the client has gone. */
static bool on_command(int fd)
{
	char text[512], answer[1024] = "";
	ssize_t n = recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT);

	if (n <= 0)
		return n < 0 && errno == EAGAIN;
	text[n] = '\0';
	command(text, answer, sizeof(answer));
	(void)!send(fd, answer, strlen(answer), MSG_DONTWAIT | MSG_NOSIGNAL);
	return true;
}

/* ---- start ---- */

static int die(const char *what)
{
	fprintf(stderr, "impair: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int open_device(const char *name)
{
	struct sockaddr_ll a = { .sll_family = AF_PACKET,
				 .sll_protocol = __builtin_bswap16(ETH_P_ALL),
				 .sll_ifindex = (int)if_nametoindex(name) };
	struct packet_mreq all = { .mr_ifindex = a.sll_ifindex, .mr_type = PACKET_MR_PROMISC };
	int fd = socket(AF_PACKET, SOCK_RAW, 0), room = 8 << 20;

	if (!a.sll_ifindex || fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) ||
	    setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof(all)))
		die(name);
	/* Within a user namespace the limits of the host hold; so much room there is then. */
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room)))
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room)))
		(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	return fd;
}

static int open_socket(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);

	if (strlen(path) >= sizeof(a.sun_path)) {
		errno = ENAMETOOLONG;
		die(path);
	}
	strcpy(a.sun_path, path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) || listen(fd, 1))
		die(path);
	return fd;
}

int main(int argc, char **argv)
{
	struct pollfd p[5] = { 0 };

	if (argc != 4) {
		fprintf(stderr, "usage: impair DEV_A DEV_B SOCKET\n");
		return 2;
	}
	way[0].in = way[1].out = open_device(argv[1]);
	way[0].out = way[1].in = open_device(argv[2]);
	way[0].f = way[1].f = perfect;
	way[0].random = way[1].random = 1;
	p[0].fd = way[0].in;
	p[1].fd = way[1].in;
	p[2].fd = open_socket(argv[3]);
	p[3].fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
	p[4].fd = -1;
	for (int i = 0; i < 5; i++)
		p[i].events = POLLIN;
	for (;;) {
		struct itimerspec t = { 0 };

		release();
		if (held) {
			t.it_value.tv_sec = (time_t)(heap[0].due_ns / 1000000000);
			t.it_value.tv_nsec = (long)(heap[0].due_ns % 1000000000);
		}
		timerfd_settime(p[3].fd, TFD_TIMER_ABSTIME, &t, NULL);
		if (poll(p, 5, -1) < 0 && errno != EINTR)
			die("poll");
		if (p[0].revents)
			on_frames(&way[0]);
		if (p[1].revents)
			on_frames(&way[1]);
		if (p[2].revents && p[4].fd < 0)
			p[4].fd = accept(p[2].fd, NULL, NULL);
		else if (p[4].revents && !on_command(p[4].fd)) {
			close(p[4].fd);
			p[4].fd = -1;
		}
	}
}
