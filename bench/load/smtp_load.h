/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BENCH_SMTP_LOAD_H
#define BENCH_SMTP_LOAD_H

/*
 * Theory: one process is both the clients and the host behind the server, so one clock times a letter from
 * its dot to the server's 250 and to the dot that arrives at the other end. Clients and sink have a thread each,
 * so that a handshake of the one is no delay of the other:
 *
 *	smtp_send.c	sessions that hand letters in, in plain or with STARTTLS
 *	smtp_sink.c	where the server relays them to
 *	smtp_load.c	options, the loop, what is told
 *
 * The local part of its recipient says which letter it is, and of which run: l123-7@sink.example. What an
 * earlier run left in a queue is taken and not counted.
 */

#include <netinet/in.h>
#include <openssl/ssl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SESSIONS_MAX 2000
#define LETTERS_MAX  1000000
#define BYTES_MIN    400 /* the header */
#define BYTES_MAX    (64u << 20)

struct letter {
	uint64_t dot_ns; /* its last byte was given to the kernel */
	uint64_t ok_ns;	 /* 250 */
	uint64_t got_ns; /* its dot came to the sink; the sink's */
};

struct load {
	/* what is asked for */
	struct sockaddr_in to, at; /* of the server; of the sink, port 0: none */
	uint32_t sessions, letters, run;
	size_t bytes;
	double seconds, drain_s;
	bool tls, renew; /* @renew: a new session for each letter */
	/* what is under way */
	int epoll, sink_epoll;
	atomic_bool ended; /* the sink may go */
	SSL_CTX *ctx;
	char *body; /* with the dot */
	size_t body_len;
	uint64_t start_ns, end_ns; /* of the time in which letters are begun */
	uint32_t busy;		   /* sessions that have not ended */
	/* what happened */
	struct letter *letter;
	uint32_t begun, accepted;
	uint32_t refused; /* 4xx, 5xx, or no more letters in this session */
	uint32_t faults;  /* connections that broke */
	uint32_t connects;
	uint64_t last_ok_ns;
	/* the sink's; settled when it has ended */
	atomic_uint delivered;
	uint32_t twice, cut;
	uint64_t first_got_ns, last_got_ns;
};

/* What stands in epoll's data. */
struct handle {
	void (*ready)(struct load *ld, struct handle *h, uint32_t events, uint64_t now_ns);
	int fd;
};

uint64_t load_ns(void);
/** load_watch() - Add or change; false: it cannot be watched. */
bool load_watch(int epoll, struct handle *h, uint32_t events, bool add);
/** load_turn() - What happens on @epoll within a moment. */
void load_turn(struct load *ld, int epoll);
/** load_more() - May another letter be begun? */
bool load_more(const struct load *ld, uint64_t now_ns);

/** send_start() - All sessions, as far as @ld wants them; 0 or -1. */
int send_start(struct load *ld);
/** send_again() - Sessions that broke call again after a while. */
void send_again(struct load *ld, uint64_t now_ns);
/** sink_start() - Its thread; 0 or -1. */
int sink_start(struct load *ld);
void sink_end(struct load *ld);

#endif
