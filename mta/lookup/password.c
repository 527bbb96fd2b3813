/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "password.h"

#include <crypt.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "secret.h"

/* Of no password at all; it only costs what those of hash-password cost. */
#define DUMMY "$y$j9T$0000000000000000000000$0000000000000000000000000000000000000000000"

struct job {
	struct job *next;
	char hash[PASSWORD_HASH_MAX];
	char password[PASSWORD_MAX];
	bool known;
	int right; /* or -errno */
	void (*done)(int right, void *arg);
	void *arg;
};

struct passwords {
	struct loop *loop;
	struct loop_fd lf; /* eventfd: something is in @finished */
	pthread_t thread;
	bool running, stop;
	pthread_mutex_t lock; /* guards all below and @stop */
	pthread_cond_t work;
	struct job *head, **tail, *finished;
	size_t count;		       /* jobs that live */
	char usual[PASSWORD_HASH_MAX]; /* what an unknown login costs; "": DUMMY */
};

static void job_free(struct job *j)
{
	secret_wipe(j, sizeof(*j));
	free(j);
}

static const char *hash(struct crypt_data *data, const char *password, const char *setting, int *err)
{
	const char *got;

	errno = 0;
	got = crypt_rn(password, setting, data, (int)sizeof(*data));
	*err = got ? 0 : errno ? -errno : -EINVAL;
	return got;
}

static int compute(const struct job *j, struct crypt_data *data)
{
	const char *got;
	int err;

	if (!data)
		return -ENOMEM;
	got = hash(data, j->password, j->hash, &err);
	/* That of another login is of no use: who asks for names must not see that by the time. */
	if (!got && !j->known && err != -ENOMEM)
		got = hash(data, j->password, DUMMY, &err);
	if (!j->known)
		return err == -ENOMEM ? err : 0;
	return got ? secret_equal(got, strlen(got), j->hash, strlen(j->hash)) : err;
}

static void *run(void *arg)
{
	struct passwords *p = arg;
	struct crypt_data *data = NULL;

	pthread_mutex_lock(&p->lock);
	while (!p->stop) {
		struct job *j = p->head;
		uint64_t one = 1;

		if (!j) {
			pthread_cond_wait(&p->work, &p->lock);
			continue;
		}
		p->head = j->next;
		if (!p->head)
			p->tail = &p->head;
		pthread_mutex_unlock(&p->lock);
		if (!data)
			data = calloc(1, sizeof(*data));
		j->right = compute(j, data);
		if (data)
			secret_wipe(data, sizeof(*data));
		pthread_mutex_lock(&p->lock);
		j->next = p->finished;
		p->finished = j;
		if (write(p->lf.fd, &one, sizeof(one)) < 0) {
			/* The counter is full: the loop is awake already. */
		}
	}
	pthread_mutex_unlock(&p->lock);
	free(data);
	return NULL;
}

static void on_finished(struct loop_fd *lf, uint32_t events)
{
	struct passwords *p = lf->arg;
	struct job *j;
	uint64_t n;

	(void)events;
	if (read(lf->fd, &n, sizeof(n)) < 0)
		return;
	pthread_mutex_lock(&p->lock);
	j = p->finished;
	p->finished = NULL;
	pthread_mutex_unlock(&p->lock);
	while (j) {
		struct job *next = j->next;

		p->count--;
		j->done(j->right, j->arg);
		job_free(j);
		j = next;
	}
}

struct passwords *passwords_new(struct loop *l)
{
	struct passwords *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->loop = l;
	p->tail = &p->head;
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->work, NULL);
	p->lf = (struct loop_fd){ .fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC),
				  .ready = on_finished,
				  .arg = p };
	if (p->lf.fd < 0 || loop_add(l, &p->lf, EPOLLIN)) {
		if (p->lf.fd >= 0)
			close(p->lf.fd);
		free(p);
		return NULL;
	}
	return p;
}

static void free_list(struct job *j)
{
	while (j) {
		struct job *next = j->next;

		job_free(j);
		j = next;
	}
}

void passwords_free(struct passwords *p)
{
	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	p->stop = true;
	pthread_cond_signal(&p->work);
	pthread_mutex_unlock(&p->lock);
	if (p->running)
		pthread_join(p->thread, NULL);
	free_list(p->head);
	free_list(p->finished);
	loop_del(p->loop, &p->lf);
	close(p->lf.fd);
	secret_wipe(p->usual, sizeof(p->usual));
	pthread_cond_destroy(&p->work);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

static int start_thread(struct passwords *p)
{
	sigset_t all, old;
	int rc;

	if (p->running)
		return 0;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&p->thread, NULL, run, p);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	p->running = !rc;
	return -rc;
}

void passwords_usual(struct passwords *p, const char *hash)
{
	if (!hash || strlen(hash) >= sizeof(p->usual))
		hash = "";
	strcpy(p->usual, hash);
}

int passwords_check(struct passwords *p, const char *hash, const char *password,
		    void (*done)(int right, void *arg), void *arg)
{
	struct job *j;

	if (strlen(password) >= PASSWORD_MAX || (hash && strlen(hash) >= PASSWORD_HASH_MAX))
		return -EINVAL;
	if (p->count >= PASSWORD_QUEUE_MAX || start_thread(p))
		return -EAGAIN;
	j = calloc(1, sizeof(*j));
	if (!j)
		return -EAGAIN;
	j->known = hash;
	strcpy(j->hash, hash ? hash : p->usual[0] ? p->usual : DUMMY);
	strcpy(j->password, password);
	j->done = done;
	j->arg = arg;
	pthread_mutex_lock(&p->lock);
	*p->tail = j;
	p->tail = &j->next;
	p->count++;
	pthread_cond_signal(&p->work);
	pthread_mutex_unlock(&p->lock);
	return 0;
}
