/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Theory: getaddrinfo blocks and cannot be stopped, so it runs on a few threads behind a bounded queue.
 * The loop's thread keeps the clock: a request is answered when its thread is done or when its
 * time is over, whichever comes first; a thread that is still busy then works for nobody until the
 * system's resolver lets it go (RES_OPTIONS bounds that). One slow name takes one thread of
 * THREADS.
 *
 *	loop: queue[] --lock, signal--> thread: getaddrinfo --> done[] --eventfd--> loop: reply
 */
#include "procs.h"

#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "log.h"
#include "loop.h"
#include "proc.h"
#include "sandbox.h"

#define THREADS	    8
#define STACK_BYTES (256 * 1024)
#define JOBS_MAX    256

enum job_state { JOB_FREE, JOB_WAITS, JOB_RUNS, JOB_DONE, JOB_LATE };

struct job {
	enum job_state state; /* under the lock */
	char name[PROC_HOST_MAX];
	struct rr_reply result;
	uint32_t token;
	uint64_t order;
	struct timer timer;
	struct resolver *r;
};

struct resolver {
	struct loop *loop;
	struct ipc *child;
	struct loop_fd wake;
	pthread_mutex_t lock;
	pthread_cond_t work;
	struct job jobs[JOBS_MAX];
	uint64_t order;
	bool running;
	int status;
	struct log_limit limit;
};

/* ---- threads ---- */

static int status_of(int gai)
{
	switch (gai) {
	case EAI_NONAME:
#ifdef EAI_NODATA
	case EAI_NODATA:
#endif
		return -ENOENT;
	case EAI_MEMORY:
		return -ENOMEM;
	default:
		return -EAGAIN;
	}
}

static void lookup(const char *name, struct rr_reply *out)
{
	struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_DGRAM };
	struct addrinfo *list = NULL;
	int rc = getaddrinfo(name, NULL, &hints, &list);

	memset(out, 0, sizeof(*out));
	out->status = rc ? status_of(rc) : 0;
	for (struct addrinfo *a = list; a && out->count < PROC_ADDRS_MAX; a = a->ai_next) {
		struct endpoint e;

		if (!endpoint_from_sockaddr(&e, a->ai_addr))
			out->addr[out->count++] = e.addr;
	}
	if (!rc && !out->count)
		out->status = -ENOENT;
	if (list)
		freeaddrinfo(list);
}

static struct job *oldest(struct resolver *r)
{
	struct job *found = NULL;

	for (size_t i = 0; i < JOBS_MAX; i++) {
		struct job *j = &r->jobs[i];

		if (j->state == JOB_WAITS && (!found || j->order < found->order))
			found = j;
	}
	return found;
}

static void *work(void *arg)
{
	struct resolver *r = arg;
	uint64_t one = 1;

	pthread_mutex_lock(&r->lock);
	for (;;) {
		struct job *j = oldest(r);
		struct rr_reply result;

		if (!j) {
			pthread_cond_wait(&r->work, &r->lock);
			continue;
		}
		j->state = JOB_RUNS;
		pthread_mutex_unlock(&r->lock);
		lookup(j->name, &result);
		pthread_mutex_lock(&r->lock);
		j->result = result;
		/* Late: already answered by the clock, the slot is only given back. */
		j->state = j->state == JOB_LATE ? JOB_FREE : JOB_DONE;
		if (write(r->wake.fd, &one, sizeof(one)) < 0)
			log_debug(NULL, "eventfd: %s", strerror(errno));
	}
	return NULL;
}

static int start_threads(struct resolver *r)
{
	sigset_t all, old;
	pthread_attr_t attr;
	pthread_t t;
	int rc = 0;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	for (int i = 0; !rc && i < THREADS; i++)
		rc = -pthread_create(&t, &attr, work, r);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	return rc;
}

/* ---- requests ---- */

static void answer(struct resolver *r, uint32_t token, const struct rr_reply *reply)
{
	if (r->child && ipc_send(r->child, RR_REPLY, token, reply, sizeof(*reply)))
		log_warn(NULL, "the child does not take an answer");
}

static void answer_status(struct resolver *r, uint32_t token, int status)
{
	struct rr_reply reply = { .status = status };

	answer(r, token, &reply);
}

/* The clock has spoken; a job that runs keeps its slot until its thread is back. */
static void give_up(struct job *j, int status)
{
	struct resolver *r = j->r;
	bool tell = false;

	timer_clear(loop_timers(r->loop), &j->timer);
	pthread_mutex_lock(&r->lock);
	if (j->state == JOB_WAITS || j->state == JOB_RUNS) {
		j->state = j->state == JOB_RUNS ? JOB_LATE : JOB_FREE;
		tell = true;
	}
	pthread_mutex_unlock(&r->lock);
	if (tell)
		answer_status(r, j->token, status);
}

static void on_timeout(struct timer *t, uint64_t now_ms)
{
	(void)now_ms;
	give_up(t->arg, -ETIMEDOUT);
}

static void on_wake(struct loop_fd *lf, uint32_t events)
{
	struct resolver *r = lf->arg;
	uint64_t n;

	(void)events;
	if (read(lf->fd, &n, sizeof(n)) < 0)
		return;
	for (size_t i = 0; i < JOBS_MAX; i++) {
		struct job *j = &r->jobs[i];
		bool done;

		pthread_mutex_lock(&r->lock);
		done = j->state == JOB_DONE;
		pthread_mutex_unlock(&r->lock);
		if (!done)
			continue;
		timer_clear(loop_timers(r->loop), &j->timer);
		answer(r, j->token, &j->result);
		pthread_mutex_lock(&r->lock);
		j->state = JOB_FREE;
		pthread_mutex_unlock(&r->lock);
	}
}

static void enqueue(struct resolver *r, uint32_t token, const struct rq_lookup *q)
{
	struct job *j = NULL;

	pthread_mutex_lock(&r->lock);
	for (size_t i = 0; i < JOBS_MAX && !j; i++)
		j = r->jobs[i].state == JOB_FREE ? &r->jobs[i] : NULL;
	if (j) {
		timer_clear(loop_timers(r->loop), &j->timer);
		*j = (struct job){ .state = JOB_WAITS,
				   .token = token,
				   .order = r->order++,
				   .timer = { .fire = on_timeout, .arg = j },
				   .r = r };
		memcpy(j->name, q->name, sizeof(j->name));
		pthread_cond_signal(&r->work);
	}
	pthread_mutex_unlock(&r->lock);
	if (!j)
		answer_status(r, token, -EBUSY);
	else if (timer_set(loop_timers(r->loop), &j->timer, loop_now_ms(r->loop) + q->timeout_ms))
		give_up(j, -ENOMEM);
}

static void flush(struct resolver *r, int status)
{
	for (size_t i = 0; i < JOBS_MAX; i++) {
		if (r->jobs[i].r)
			give_up(&r->jobs[i], status);
	}
}

/* The tokens of a child that is gone mean something else to the next one: nothing may be left. */
static void forget_child(struct resolver *r)
{
	struct ipc *old = r->child;

	r->child = NULL;
	flush(r, -ECONNRESET); /* to nobody */
	pthread_mutex_lock(&r->lock);
	for (size_t i = 0; i < JOBS_MAX; i++) {
		if (r->jobs[i].state == JOB_DONE)
			r->jobs[i].state = JOB_FREE;
	}
	pthread_mutex_unlock(&r->lock);
	ipc_free(old);
}

static void on_request(struct ipc *ipc, struct ipc_msg *m, void *arg)
{
	struct resolver *r = arg;
	struct rq_lookup q;
	uint32_t suppressed;
	const char *why;

	(void)ipc;
	if (proc_check_resolver(m, &why)) {
		if (log_limited(&r->limit, m->type, loop_now_ms(r->loop), &suppressed))
			log_warn(NULL,
				 "request type=%u len=%zu of the child refused: %s (%u like it)",
				 m->type, m->len, why, suppressed);
		answer_status(r, m->id, -EBADMSG);
		return;
	}
	if (m->type == RQ_FLUSH) {
		flush(r, -ECANCELED);
		return;
	}
	memcpy(&q, m->data, sizeof(q));
	enqueue(r, m->id, &q);
}

static void on_child_gone(struct ipc *ipc, void *arg)
{
	(void)ipc;
	forget_child(arg);
}

static const struct ipc_ops child_ops = { .message = on_request, .closed = on_child_gone };

/* ---- from the parent ---- */

static int go(struct resolver *r)
{
	const struct sandbox_role *role = &posternd_roles[PROC_RESOLVER];
	int rc;

	if (r->running)
		return 0;
	r->running = true;
	rc = sandbox_opened(role, resolver_paths, resolver_path_count);
	if (!rc)
		rc = start_threads(r);
	return rc ? rc : sandbox_run(role);
}

static void on_parent(struct ipc *ipc, struct ipc_msg *m, void *arg)
{
	struct resolver *r = arg;
	const char *why;
	int rc = 0;

	(void)ipc;
	if (proc_check_reply(m, &why)) {
		log_err(NULL, "parent: message type=%u refused: %s", m->type, why);
		rc = -EBADMSG;
	} else if (m->type == PM_GO) {
		rc = go(r);
	} else if (m->type == PM_LINK) {
		forget_child(r);
		r->child = ipc_new(r->loop, m->fd[0], &child_ops, r);
		m->fd[0] = -1;
	}
	/* PM_CONFIG: nothing in it is for us. */
	if (rc) {
		log_err(NULL, "message type=%u of the parent: %s", m->type, strerror(-rc));
		r->status = 1;
		loop_stop(r->loop);
	}
}

static void on_parent_gone(struct ipc *ipc, void *arg)
{
	struct resolver *r = arg;

	(void)ipc;
	loop_stop(r->loop);
}

int resolver_main(void)
{
	static const struct ipc_ops ops = { .message = on_parent, .closed = on_parent_gone };
	static struct resolver r = { .lock = PTHREAD_MUTEX_INITIALIZER,
				     .work = PTHREAD_COND_INITIALIZER };
	struct ipc *parent;

	if (proc_enter(PROC_RESOLVER))
		return 1;
	/* A dead server costs a thread 2 x 2 s, not 30 s. */
	setenv("RES_OPTIONS", "timeout:2 attempts:2", 0);
	r.loop = loop_new();
	r.wake = (struct loop_fd){ .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
				   .ready = on_wake,
				   .arg = &r };
	parent = r.loop ? ipc_new(r.loop, PROC_IPC_FD, &ops, &r) : NULL;
	if (!parent || r.wake.fd < 0 || loop_add(r.loop, &r.wake, EPOLLIN))
		return 1;
	if (loop_run(r.loop))
		r.status = 1;
	/* Threads may be inside of getaddrinfo: no tidying up around them. */
	_exit(r.status);
}
