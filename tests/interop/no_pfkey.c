/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Preloaded into OpenIKED where the kernel has no PF_KEY and no ESP: every request on such a socket
 * succeeds and nothing is installed. So its IKE can be met, and its CHILD SAs negotiated, but no data passes.
 */
#include <errno.h>
#include <linux/pfkeyv2.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <signal.h>
#include <unistd.h>

static void answer(int fd)
{
	union {
		struct sadb_msg msg;
		unsigned char b[8192];
	} m;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (recv(fd, &m, sizeof(m), 0) >= (ssize_t)sizeof(m.msg)) {
		struct sadb_sa *sa = (struct sadb_sa *)(&m.msg + 1);

		m.msg.sadb_msg_errno = 0;
		m.msg.sadb_msg_len = sizeof(m.msg) / 8;
		if (m.msg.sadb_msg_type == SADB_GETSPI) {
			memset(sa, 0, sizeof(*sa));
			sa->sadb_sa_len = sizeof(*sa) / 8;
			sa->sadb_sa_exttype = SADB_EXT_SA;
			(void)!getrandom(&sa->sadb_sa_spi, sizeof(sa->sadb_sa_spi), 0);
			m.msg.sadb_msg_len += sizeof(*sa) / 8;
		}
		if (send(fd, &m, m.msg.sadb_msg_len * 8u, MSG_NOSIGNAL) < 0)
			break;
	}
	_exit(0);
}

int socket(int domain, int type, int protocol)
{
	int pair[2];
	pid_t pid;

	if (domain != PF_KEY)
		return (int)syscall(SYS_socket, domain, type, protocol);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair))
		return -1;
	pid = fork();
	if (!pid) {
		close(pair[0]);
		answer(pair[1]);
	}
	close(pair[1]);
	if (pid < 0)
		close(pair[0]);
	return pid < 0 ? -1 : pair[0];
}

/* The kernel would have answered before write() returned, and iked waits accordingly. */
int patient_poll(struct pollfd *p, nfds_t n, int timeout_ms) __asm__("poll");
int patient_poll(struct pollfd *p, nfds_t n, int timeout_ms)
{
	int type = 0;
	socklen_t len = sizeof(type);

	if (n == 1 && !getsockopt(p->fd, SOL_SOCKET, SO_TYPE, &type, &len) &&
	    type == SOCK_SEQPACKET)
		timeout_ms = 10000;
	return (int)syscall(SYS_poll, p, n, timeout_ms);
}

/* "Past all policies" needs no saying where there are none; nor is there ESP to be handed over. */
int setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
	if ((level == IPPROTO_IP && name == IP_IPSEC_POLICY) ||
	    (level == IPPROTO_IPV6 && name == IPV6_IPSEC_POLICY) ||
	    (level == IPPROTO_UDP && name == UDP_ENCAP))
		return 0;
	return (int)syscall(SYS_setsockopt, fd, level, name, value, len);
}
