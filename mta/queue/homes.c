/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Published sets on their way between smtpd and the disk. The helper thread writes, one after the
 * other; what smtpd may not count on is not answered 250.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"
#include "publication.h"
#include "published.h"
#include "queue.h"

struct write_job {
	struct job job;
	struct queue *q;
	uint32_t id;
	uint32_t generation; /* of smtpd's link */
	char home[MTA_NAME_MAX];
	char *text;
	size_t len;
	int rc;
};

static void answer(struct queue *q, uint32_t id, int rc)
{
	struct msg_q_stored m = { .code = rc ? 451 : 250,
				  .text = rc ? "4.3.0 The set cannot be kept now" : "2.0.0 Published" };
	uint8_t buf[256];
	struct wr w = wr_init(buf, sizeof(buf));

	msg_q_stored_put(&w, &m);
	if (q->smtpd)
		ipc_send(q->smtpd, MSG_Q_PUBLISHED, id, buf, w.len);
}

static void run(struct job *job)
{
	struct write_job *j = (struct write_job *)(void *)job;

	j->rc = published_write(&j->q->dir.vfs, j->home, j->text, j->len);
}

static void done(struct job *job)
{
	struct write_job *j = (struct write_job *)(void *)job;

	if (j->rc)
		log_err(NULL, "home=%s msg=\"its recipients cannot be kept: %s\"", j->home,
			strerror(-j->rc));
	if (j->generation == j->q->smtpd_generation)
		answer(j->q, j->id, j->rc);
	free(j->text);
	free(j);
}

/* The descriptor's bytes, copied: smtpd could change them under us. */
static int take_text(struct write_job *j, int fd)
{
	struct stat st;
	ssize_t n;

	if (fstat(fd, &st) || st.st_size <= 0 || st.st_size > (off_t)PUBLICATION_MAX)
		return -EBADMSG;
	j->len = (size_t)st.st_size;
	j->text = malloc(j->len);
	if (!j->text)
		return -ENOMEM;
	n = pread(fd, j->text, j->len, 0);
	return n == (ssize_t)j->len ? 0 : -EIO;
}

void homes_publish(struct queue *q, struct ipc_msg *m)
{
	struct rd in = rd_init(m->data, m->len);
	const char *home = msg_text_get(&in);
	struct write_job *j;
	int rc = -EBADMSG;

	if (in.bad || rd_left(&in) || m->fd_count != 1 || !config_home(q->ch->config, home))
		return answer(q, m->id, rc);
	j = calloc(1, sizeof(*j));
	rc = j ? take_text(j, m->fd[0]) : -ENOMEM;
	if (rc) {
		if (j)
			free(j->text);
		free(j);
		return answer(q, m->id, rc);
	}
	j->job = (struct job){ .run = run, .done = done };
	j->q = q;
	j->id = m->id;
	j->generation = q->smtpd_generation;
	snprintf(j->home, sizeof(j->home), "%s", home);
	worker_submit(q->worker, &j->job);
}

static void tell(struct queue *q, const char *home, const char *text, size_t len)
{
	uint8_t buf[MTA_NAME_MAX + 8];
	struct wr w = wr_init(buf, sizeof(buf));
	int fd = msg_memfd("published", text, len);

	msg_text_put(&w, home);
	if (fd >= 0) {
		ipc_send_fds(q->smtpd, MSG_Q_PUBLICATION, 0, buf, w.len, &fd, 1);
		close(fd);
	}
}

void homes_tell(struct queue *q)
{
	const struct mta_config *c = q->ch->config;

	if (!q->smtpd)
		return;
	for (size_t i = 0; i < c->home_count; i++) {
		char *text;
		size_t len;
		int rc = published_read(&q->dir.vfs, c->homes[i].name, &text, &len);

		if (!rc) {
			tell(q, c->homes[i].name, text, len);
			free(text);
		} else if (rc != -ENOENT) {
			log_err(NULL, "home=%s msg=\"its recipients cannot be read: %s\"",
				c->homes[i].name, strerror(-rc));
		}
	}
	ipc_send(q->smtpd, MSG_Q_PUBLICATIONS, 0, NULL, 0);
}
