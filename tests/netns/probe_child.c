/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A child of posternd that has been taken over: it goes through the same stages as the real one
 * (main.c is the real one's too) and then does over its control socket whatever the test tells it:
 * system calls that it must not have, requests that the parent must refuse.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "config.h"
#include "control.h"
#include "log.h"
#include "priv.h"
#include "proc.h"
#include "procs.h"
#include "ring.h"

static struct loop *loop;
static struct priv *priv;
static struct priv_inventory inv;
static struct ring ring;
static struct control_server *server;
static uint64_t generation;
static unsigned path_changes;

struct ask {
	struct control_ref ref;
};

static struct ask *ask_new(struct control_ref ref)
{
	struct ask *a = calloc(1, sizeof(*a));

	if (!a)
		abort();
	a->ref = ref;
	return a;
}

static const char *text_of(const json_t *args, const char *key)
{
	const char *s = json_string_value(json_object_get(args, key));

	return s ? s : "";
}

static void status_reply(struct control_ref ref, int status)
{
	control_reply(server, ref, json_pack("{s:i}", "status", status));
}

static void on_status(int status, void *arg)
{
	struct ask *a = arg;

	status_reply(a->ref, status);
	free(a);
}

/* ---- what must not be possible ---- */

static int ring_try(uint8_t op)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring.u);
	struct io_uring_cqe *cqe;
	int rc;

	if (!sqe)
		return -ENOSPC;
	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = op;
	if (op == IORING_OP_OPENAT) {
		sqe->fd = AT_FDCWD;
		sqe->addr = (uint64_t)(uintptr_t) "/etc/passwd";
		sqe->open_flags = O_RDONLY;
	} else {
		sqe->fd = AF_INET;
		sqe->off = SOCK_DGRAM;
	}
	rc = io_uring_submit_and_wait(&ring.u, 1);
	if (rc < 0)
		return rc;
	rc = io_uring_wait_cqe(&ring.u, &cqe);
	if (rc)
		return rc;
	rc = cqe->res;
	io_uring_cqe_seen(&ring.u, cqe);
	return rc;
}

static long try_it(const char *what)
{
	struct io_uring_params up = { 0 };
	char *argv[] = { (char *)(uintptr_t) "/bin/true", NULL };

	if (!strcmp(what, "open"))
		return open("/etc/passwd", O_RDONLY);
	if (!strcmp(what, "create"))
		return open("/tmp/probe", O_WRONLY | O_CREAT, 0600);
	if (!strcmp(what, "socket"))
		return socket(AF_INET, SOCK_DGRAM, 0);
	if (!strcmp(what, "socket-netlink"))
		return socket(AF_NETLINK, SOCK_RAW, 0);
	if (!strcmp(what, "socket-unix"))
		return socket(AF_UNIX, SOCK_STREAM, 0);
	if (!strcmp(what, "fork"))
		return syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	if (!strcmp(what, "setuid"))
		return syscall(SYS_setresuid, 0, 0, 0);
	if (!strcmp(what, "kill-parent"))
		return kill(getppid(), 0);
	if (!strcmp(what, "ring-setup"))
		return syscall(SYS_io_uring_setup, 4, &up);
	if (!strcmp(what, "mmap-exec"))
		return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1,
			    0) == MAP_FAILED
			   ? -1
			   : 0;
	if (!strcmp(what, "execve"))
		return execv(argv[0], argv);
	if (!strcmp(what, "ptrace"))
		return syscall(SYS_ptrace, 0, 0, 0, 0);
	errno = EINVAL;
	return -1;
}

static void on_try(struct control_server *s, struct control_ref ref, const json_t *args, void *arg)
{
	const char *what = text_of(args, "what");
	long rc;

	(void)s;
	(void)arg;
	if (!strcmp(what, "ring-open") || !strcmp(what, "ring-socket")) {
		rc = ring.open ? ring_try(!strcmp(what, "ring-open") ? IORING_OP_OPENAT
								     : IORING_OP_SOCKET)
			       : -ENOSYS;
		status_reply(ref, (int)rc);
		return;
	}
	rc = try_it(what);
	status_reply(ref, rc < 0 ? -errno : (int)rc);
}

/* ---- requests ---- */

/* Any bytes at all, past the stub and its checks: the header as ipc.c writes it. */
static void on_forge(struct control_server *s, struct control_ref ref, const json_t *args,
		     void *arg)
{
	uint32_t type = (uint32_t)json_integer_value(json_object_get(args, "type"));
	size_t len = (size_t)json_integer_value(json_object_get(args, "len"));
	size_t fds = (size_t)json_integer_value(json_object_get(args, "fds"));
	const char *fill = text_of(args, "hex");
	uint8_t buf[12 + 8192] = { 0 };
	uint32_t h[3];
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int))];
	} ctl = { 0 };
	struct iovec iov = { buf, 0 };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };

	(void)s;
	(void)arg;
	if (len > 8192)
		len = 8192;
	h[0] = type;
	h[1] = 0x7fffffff;
	h[2] = (uint32_t)len;
	memcpy(buf, h, sizeof(h));
	for (size_t i = 0; i < len && fill[2 * i] && fill[2 * i + 1]; i++) {
		char two[3] = { fill[2 * i], fill[2 * i + 1], 0 };

		buf[12 + i] = (uint8_t)strtoul(two, NULL, 16);
	}
	iov.iov_len = 12 + len;
	if (fds) {
		struct cmsghdr *c;
		int fd = STDERR_FILENO;

		mh.msg_control = ctl.buf;
		mh.msg_controllen = sizeof(ctl.buf);
		c = CMSG_FIRSTHDR(&mh);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	}
	status_reply(ref, sendmsg(PROC_IPC_FD, &mh, MSG_NOSIGNAL) < 0 ? -errno : 0);
}

static void on_addr(struct control_server *s, struct control_ref ref, const json_t *args, void *arg)
{
	bool add = json_is_true(json_object_get(args, "add"));
	const char *peer = text_of(args, "peer");
	struct ask *a = ask_new(ref);
	struct addr addr;
	int rc = addr_parse(text_of(args, "addr"), &addr);

	(void)s;
	(void)arg;
	if (!rc)
		rc = add ? priv_addr_add(priv, peer, &addr, on_status, a)
			 : priv_addr_del(priv, peer, &addr, on_status, a);
	if (rc)
		on_status(rc, a);
}

static void on_route(struct control_server *s, struct control_ref ref, const json_t *args,
		     void *arg)
{
	bool add = json_is_true(json_object_get(args, "add"));
	const char *peer = text_of(args, "peer");
	struct ask *a = ask_new(ref);
	struct addr src = { 0 };
	struct prefix dst;
	int rc = prefix_parse(text_of(args, "dst"), &dst);

	(void)s;
	(void)arg;
	if (!rc && *text_of(args, "src"))
		rc = addr_parse(text_of(args, "src"), &src);
	if (!rc)
		rc = add ? priv_route_add(priv, peer, &dst, src.family ? &src : NULL, on_status, a)
			 : priv_route_del(priv, peer, &dst, on_status, a);
	if (rc)
		on_status(rc, a);
}

static void on_link(struct control_server *s, struct control_ref ref, const json_t *args, void *arg)
{
	struct ask *a = ask_new(ref);
	int rc = priv_link_set(priv, (uint32_t)json_integer_value(json_object_get(args, "mtu")), 0,
			       (uint32_t)json_integer_value(json_object_get(args, "segs")),
			       on_status, a);

	(void)s;
	(void)arg;
	if (rc)
		on_status(rc, a);
}

static void on_path_reply(int status, const struct pr_path *path, void *arg)
{
	struct ask *a = arg;
	char src[ADDR_STR_MAX], gw[ADDR_STR_MAX];

	if (status)
		status_reply(a->ref, status);
	else
		control_reply(server, a->ref,
			      json_pack("{s:i,s:i,s:s,s:s}", "status", 0, "ifindex",
					(int)path->ifindex, "src", addr_str(&path->src, src),
					"gateway",
					path->gateway.family ? addr_str(&path->gateway, gw) : ""));
	free(a);
}

static void on_path(struct control_server *s, struct control_ref ref, const json_t *args, void *arg)
{
	struct ask *a = ask_new(ref);
	struct addr dst;
	int rc = addr_parse(text_of(args, "dst"), &dst);

	(void)s;
	(void)arg;
	if (!rc)
		rc = priv_path(priv, &dst,
			       (uint32_t)json_integer_value(json_object_get(args, "mark")),
			       on_path_reply, a);
	if (rc)
		on_path_reply(rc, NULL, a);
}

static void on_hop_reply(int status, const struct priv_socket *sock, void *arg)
{
	struct ask *a = arg;

	control_reply(server, a->ref,
		      json_pack("{s:i,s:i}", "status", status, "port", status ? 0 : sock->port));
	if (!status) {
		close(inv.hop[0].fd);
		inv.hop[0] = *sock;
	}
	free(a);
}

static void on_hop(struct control_server *s, struct control_ref ref, const json_t *args, void *arg)
{
	struct ask *a = ask_new(ref);
	int rc = priv_hop(priv, 0, on_hop_reply, a);

	(void)s;
	(void)args;
	(void)arg;
	if (rc)
		on_hop_reply(rc, NULL, a);
}

static void on_stream_reply(int status, int fd, void *arg)
{
	struct ask *a = arg;
	uint32_t mark = 0;
	socklen_t len = sizeof(mark);

	if (fd >= 0)
		(void)getsockopt(fd, SOL_SOCKET, SO_MARK, &mark, &len);
	control_reply(server, a->ref, json_pack("{s:i,s:i}", "status", status, "mark", (int)mark));
	if (fd >= 0)
		close(fd);
	free(a);
}

static void on_stream(struct control_server *s, struct control_ref ref, const json_t *args,
		      void *arg)
{
	struct ask *a = ask_new(ref);
	struct endpoint to;
	int rc = endpoint_parse(text_of(args, "to"), 0, &to);

	(void)s;
	(void)arg;
	if (!rc)
		rc = priv_stream(priv, text_of(args, "peer"), &to,
				 json_is_true(json_object_get(args, "tls")), on_stream_reply, a);
	if (rc)
		on_stream_reply(rc, -1, a);
}

static void on_reload_reply(int status, const char *text, void *arg)
{
	struct ask *a = arg;

	control_reply(server, a->ref, json_pack("{s:i,s:s}", "status", status, "text", text));
	free(a);
}

static void on_reload(struct control_server *s, struct control_ref ref, const json_t *args,
		      void *arg)
{
	struct ask *a = ask_new(ref);
	int rc = priv_reload(priv, on_reload_reply, a);

	(void)s;
	(void)args;
	(void)arg;
	if (rc)
		on_reload_reply(rc, "", a);
}

static void on_octets(int status, const uint8_t *data, size_t len, void *arg)
{
	struct ask *a = arg;
	char hex[2 * PROC_RESULT_MAX + 1] = "";

	for (size_t i = 0; i < len && i < PROC_RESULT_MAX; i++)
		snprintf(hex + 2 * i, 3, "%02x", data[i]);
	control_reply(server, a->ref, json_pack("{s:i,s:s}", "status", status, "hex", hex));
	free(a);
}

static void on_key(struct control_server *s, struct control_ref ref, const json_t *args, void *arg)
{
	const char *what = text_of(args, "what"), *peer = text_of(args, "peer");
	const char *octets = text_of(args, "octets");
	struct ask *a = ask_new(ref);
	int rc;

	(void)s;
	(void)arg;
	uint8_t bytes[1024];
	size_t len = 0;

	/* What is to be signed comes in hexadecimal: it has the form of an IKE message. */
	while (len < sizeof(bytes) && sscanf(octets + 2 * len, "%2hhx", &bytes[len]) == 1)
		len++;
	if (!strcmp(what, "sign"))
		rc = priv_sign(priv, peer, SIG_ED25519, bytes, len, on_octets, a);
	else if (!strcmp(what, "psk"))
		rc = priv_psk_auth(priv, peer, PRF_HMAC_SHA2_256, octets, strlen(octets), on_octets,
				   a);
	else
		rc = priv_public(priv, peer, on_octets, a);
	if (rc)
		on_octets(rc, NULL, 0, a);
}

static void on_resolved(int status, const struct addr *addr, size_t count, void *arg)
{
	struct ask *a = arg;
	json_t *list = json_array();

	for (size_t i = 0; i < count; i++) {
		char text[ADDR_STR_MAX];

		json_array_append_new(list, json_string(addr_str(&addr[i], text)));
	}
	control_reply(server, a->ref, json_pack("{s:i,s:o}", "status", status, "addrs", list));
	free(a);
}

static void on_resolve(struct control_server *s, struct control_ref ref, const json_t *args,
		       void *arg)
{
	struct ask *a = ask_new(ref);
	int rc = priv_resolve(priv, text_of(args, "name"),
			      (uint32_t)json_integer_value(json_object_get(args, "timeout")),
			      on_resolved, a);

	(void)s;
	(void)arg;
	if (rc)
		on_resolved(rc, NULL, 0, a);
}

static void on_info(struct control_server *s, struct control_ref ref, const json_t *args, void *arg)
{
	(void)s;
	(void)args;
	(void)arg;
	control_reply(server, ref,
		      json_pack("{s:i,s:i,s:i,s:i,s:i,s:s,s:i,s:b,s:i}", "pid", (int)getpid(),
				"generation", (int)generation, "tuns", (int)inv.tun_count, "outer",
				(int)inv.outer_count, "port", inv.outer[0].port, "tun",
				inv.tun_name, "mtu", (int)inv.tun_mtu, "ring", ring.open,
				"path_changes", (int)path_changes));
}

static const struct control_verb verbs[] = {
	{ "try", CONTROL_CHANGE, on_try, "" },	       { "forge", CONTROL_CHANGE, on_forge, "" },
	{ "addr", CONTROL_CHANGE, on_addr, "" },       { "route", CONTROL_CHANGE, on_route, "" },
	{ "link", CONTROL_CHANGE, on_link, "" },       { "path", CONTROL_CHANGE, on_path, "" },
	{ "hop", CONTROL_CHANGE, on_hop, "" },	       { "reload", CONTROL_CHANGE, on_reload, "" },
	{ "key", CONTROL_CHANGE, on_key, "" },	       { "info", CONTROL_READ, on_info, "" },
	{ "resolve", CONTROL_CHANGE, on_resolve, "" }, { "stream", CONTROL_CHANGE, on_stream, "" },
	{ 0 },
};

/* ---- life: the same stages as the real child ---- */

static void on_config(struct bundle *b, uint64_t gen, void *arg)
{
	(void)arg;
	generation = gen;
	bundle_free(b);
}

static void on_path_changed(void *arg)
{
	(void)arg;
	path_changes++;
}

static void on_end(void *arg)
{
	(void)arg;
	loop_stop(loop);
}

static void make_ring(void)
{
	static const uint8_t ops[] = { IORING_OP_RECVMSG, IORING_OP_SENDMSG, IORING_OP_READ,
				       IORING_OP_WRITE };
	int fds[2] = { inv.tun_fd[0], inv.outer[0].fd };

	if (ring_open(&ring, 8, false))
		return; /* the machine has no io_uring */
	if (ring_files(&ring, fds, 2) || ring_restrict(&ring, ops, sizeof(ops)) ||
	    ring_enable(&ring))
		ring_close(&ring);
}

int child_main(void)
{
	static const struct priv_ops ops = {
		.config = on_config, .path_changed = on_path_changed, .stop = on_end, .gone = on_end
	};
	struct control_config cc = { .verbs = verbs, .admin_gid = (gid_t)-1 };

	if (proc_enter(PROC_CHILD))
		return 1;
	loop = loop_new();
	priv = loop ? priv_new(loop, &ops, NULL) : NULL;
	if (!priv || priv_wait(priv, 10000, &inv))
		return 1;
	generation = inv.generation;
	if (sandbox_opened(&posternd_roles[PROC_CHILD], NULL, 0))
		return 1;
	make_ring();
	if (sandbox_run(&posternd_roles[PROC_CHILD]))
		return 1;
	server = control_server_new(loop, inv.listener[PROC_LISTENER_CONTROL], &cc);
	if (!server)
		return 1;
	log_info(NULL, "probe ready");
	return loop_run(loop) ? 1 : 0;
}
