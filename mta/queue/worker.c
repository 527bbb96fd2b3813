/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "worker.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct fifo {
	struct job *first, **last;
};

struct worker {
	struct loop *loop;
	pthread_t thread;
	pthread_mutex_t lock; /* all below but the loop's parts */
	pthread_cond_t wake, idle;
	struct fifo todo, finished;
	struct loop_fd event;
	bool busy; /* a job runs: it is in neither list */
	bool stop;
};

static void put(struct fifo *f, struct job *j)
{
	j->next = NULL;
	*f->last = j;
	f->last = &j->next;
}

static struct job *take(struct fifo *f)
{
	struct job *j = f->first;

	if (j) {
		f->first = j->next;
		if (!f->first)
			f->last = &f->first;
	}
	return j;
}

static void *body(void *arg)
{
	struct worker *w = arg;
	struct job *j;

	pthread_mutex_lock(&w->lock);
	for (;;) {
		while (!w->todo.first && !w->stop)
			pthread_cond_wait(&w->wake, &w->lock);
		j = take(&w->todo);
		if (!j)
			break;
		w->busy = true;
		pthread_mutex_unlock(&w->lock);
		j->run(j);
		pthread_mutex_lock(&w->lock);
		w->busy = false;
		put(&w->finished, j);
		pthread_cond_signal(&w->idle);
		eventfd_write(w->event.fd, 1);
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

static bool finish_one(struct worker *w)
{
	struct job *j;

	pthread_mutex_lock(&w->lock);
	j = take(&w->finished);
	pthread_mutex_unlock(&w->lock);
	if (j)
		j->done(j);
	return j != NULL;
}

static void on_event(struct loop_fd *lf, uint32_t events)
{
	eventfd_t n;

	(void)events;
	eventfd_read(lf->fd, &n);
	while (finish_one(lf->arg))
		;
}

struct worker *worker_new(struct loop *l)
{
	struct worker *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	w->loop = l;
	w->todo.last = &w->todo.first;
	w->finished.last = &w->finished.first;
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->wake, NULL);
	pthread_cond_init(&w->idle, NULL);
	w->event.fd = -1;
	if (!l)
		return w;
	w->event = (struct loop_fd){ .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
				     .ready = on_event,
				     .arg = w };
	if (w->event.fd < 0 || loop_add(l, &w->event, EPOLLIN))
		goto fail;
	if (pthread_create(&w->thread, NULL, body, w)) {
		loop_del(l, &w->event);
		goto fail;
	}
	return w;
fail:
	if (w->event.fd >= 0)
		close(w->event.fd);
	free(w);
	return NULL;
}

void worker_submit(struct worker *w, struct job *j)
{
	pthread_mutex_lock(&w->lock);
	put(&w->todo, j);
	pthread_cond_signal(&w->wake);
	pthread_mutex_unlock(&w->lock);
}

bool worker_step(struct worker *w)
{
	struct job *j = take(&w->todo);

	if (!j)
		return false;
	j->run(j);
	j->done(j);
	return true;
}

void worker_drain(struct worker *w)
{
	bool more = true;

	if (!w->loop) {
		while (worker_step(w))
			;
		return;
	}
	while (more) {
		pthread_mutex_lock(&w->lock);
		while ((w->todo.first || w->busy) && !w->finished.first)
			pthread_cond_wait(&w->idle, &w->lock);
		pthread_mutex_unlock(&w->lock);
		more = false;
		while (finish_one(w))
			more = true;
	}
}

void worker_free(struct worker *w)
{
	if (!w)
		return;
	if (w->loop) {
		pthread_mutex_lock(&w->lock);
		w->stop = true;
		pthread_cond_signal(&w->wake);
		pthread_mutex_unlock(&w->lock);
		pthread_join(w->thread, NULL);
		while (finish_one(w))
			;
		loop_del(w->loop, &w->event);
		close(w->event.fd);
	}
	pthread_cond_destroy(&w->wake);
	pthread_cond_destroy(&w->idle);
	pthread_mutex_destroy(&w->lock);
	free(w);
}
