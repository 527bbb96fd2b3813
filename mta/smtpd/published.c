/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The sets of the edge's homes (hop/publication.h), as far as smtpd is concerned: it keeps a copy of
 * each, because lookup and the queue may be restarted on their own.
 *
 *	queue's link is new   queue tells all that it keeps -> ours, and lookup's
 *	XPUBLISH	      checked -> queue -> 250 -> ours, and lookup's -> 250
 *	lookup's link is new  ours -> lookup's
 *
 * Before the queue has told what it keeps, nobody knows the serial, so nothing is taken. One set of a
 * home is under way at a time, and one in PUBLISH_GAP_MS is taken, so a home cannot wear out the disk; nor
 * memory, by many that never become whole.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hash.h"
#include "publication.h"
#include "smtpd.h"

#define PUBLISH_GAP_MS 2000
#define PUBLISHERS_MAX 4 /* sessions of a home with a set that is not whole: one, and those whose link broke */

struct held {
	struct held *next;
	char home[MTA_NAME_MAX];
	char *text; /* NULL: none yet */
	size_t len;
	struct publication set; /* of @text */
	/* What is under way. */
	uint32_t id;	   /* at the queue; 0: nothing */
	struct conn *from; /* NULL: it is gone */
	char *new_text;
	size_t new_len;
	uint64_t taken_ms; /* last time; 0: never */
};

static uint64_t now(const struct smtpd *d)
{
	return loop_now_ms(d->ch->loop);
}

static struct held *find(const struct smtpd *d, const char *home)
{
	struct held *h = d->held;

	while (h && strcmp(h->home, home))
		h = h->next;
	return h;
}

static struct held *get(struct smtpd *d, const char *home)
{
	struct held *h = find(d, home);

	if (h)
		return h;
	h = calloc(1, sizeof(*h));
	if (!h)
		return NULL;
	snprintf(h->home, sizeof(h->home), "%s", home);
	h->next = d->held;
	d->held = h;
	return h;
}

static bool publishes(const struct mta_home *h)
{
	return !h->recipients && !h->recipients_any;
}

/* The home that may publish over this session, or NULL. */
static const struct mta_home *publisher(const struct mta_config *cfg, const char *peer)
{
	const struct mta_home *h = peer ? config_home_by_peer(cfg, peer) : NULL;

	return h && publishes(h) ? h : NULL;
}

bool published_offered(const struct mta_config *cfg, const char *peer)
{
	return publisher(cfg, peer) != NULL;
}

static uint64_t serial_held(const struct smtpd *d, const char *home)
{
	const struct held *h = find(d, home);

	return h && h->text ? h->set.serial : 0;
}

uint64_t published_serial(const struct conn *c)
{
	const struct mta_home *home = publisher(c->d->ch->config, c->peer);

	return home ? serial_held(c->d, home->name) : 0;
}

bool published_size(const struct smtpd *d, const struct mta_home *home, uint64_t *bytes)
{
	const struct held *h = publishes(home) ? find(d, home->name) : NULL;
	bool told = h && h->text;

	*bytes = told ? h->set.size_max_bytes : 0;
	if (home->size_max_bytes && (!*bytes || home->size_max_bytes < *bytes))
		*bytes = home->size_max_bytes;
	return told || d->held_known || !publishes(home);
}

static bool is_crowded(const struct conn *c)
{
	size_t n = 0;

	for (const struct conn *o = c->d->conns; o; o = o->next)
		n += o != c && o->s.publication && !strcmp(o->peer, c->peer);
	return n >= PUBLISHERS_MAX;
}

bool published_may(struct conn *c, struct reply *r)
{
	const struct mta_home *home = publisher(c->d->ch->config, c->peer);
	const struct held *h = home ? find(c->d, home->name) : NULL;

	*r = (struct reply){ 0 };
	if (!answers_listener(c))
		*r = (struct reply){ 451, "4.3.2 This listener is no more, connect again" };
	else if (!home)
		*r = (struct reply){ 550, "5.7.1 This home has its recipients in a file here" };
	else if (!answers_pinned(c, home))
		*r = answers_unpinned();
	else if (!c->d->queue || !c->d->held_known)
		*r = (struct reply){ 451, "4.3.0 Queue is starting, try again" };
	else if (h && h->id)
		*r = (struct reply){ 450, "4.3.2 Another set of this home is under way" };
	else if (is_crowded(c))
		*r = (struct reply){ 450, "4.3.2 Too many sets of this home are under way" };
	else if (h && h->taken_ms && now(c->d) - h->taken_ms < PUBLISH_GAP_MS)
		*r = (struct reply){ 450, "4.7.0 The last set of this home is new, come later" };
	return !r->code;
}

/* @text, malloc'd, is in force: takes it. */
static void keep(struct smtpd *d, struct held *h, char *text, size_t len)
{
	const char *why;

	free(h->text);
	h->text = text;
	h->len = len;
	publication_parse(&h->set, text, len, &why);
	lookup_publish(d->lookup, h->home, text, len); /* not now: when its link stands */
}

static void answer(struct held *h, uint16_t code, const char *text)
{
	struct reply r = { code, text };
	struct conn *c = h->from;

	h->id = 0;
	h->from = NULL;
	free(h->new_text);
	h->new_text = NULL;
	if (!c)
		return;
	session_published(&c->s, &r, now(c->d));
	connection_pump(c);
}

/* A home may send as many as it likes. */
static void tell_refused(struct smtpd *d, const struct mta_home *home, const char *why)
{
	uint32_t key = (uint32_t)hash_bytes(home->name, strlen(home->name)), swallowed;

	if (log_limited(&d->quiet, key, now(d), &swallowed))
		log_warn(NULL, "published recipients refused home=%s: %s (%u more not told)",
			 home->name, why, swallowed);
}

/* What speaks against the set; code 0: nothing. 250: it is in force already. */
static struct reply judge(struct smtpd *d, const struct mta_home *home, const char *text,
			  size_t len)
{
	const struct held *h = find(d, home->name);
	struct publication p;
	const char *why;
	int rc = publication_parse(&p, text, len, &why);

	if (rc) {
		tell_refused(d, home, why);
		return (struct reply){ rc == -EPROTONOSUPPORT ? 501 : 554,
				       rc == -EPROTONOSUPPORT
					   ? "5.5.4 A version of the set that is not known here"
					   : "5.6.0 The set cannot be read" };
	}
	if (!publication_covers(&p, &home->domains)) {
		tell_refused(d, home, "none in its domains");
		return (struct reply){ 553, "5.7.1 Nobody of the set is in the domains of this home" };
	}
	if (p.serial - 1 != serial_held(d, home->name))
		return (struct reply){ 450, "4.3.2 Another serial is due, see EHLO" };
	if (h && h->text && publication_same(&h->set, &p))
		return (struct reply){ 250, "2.0.0 Published before" };
	return (struct reply){ 0 };
}

static int to_queue(struct smtpd *d, const struct held *h)
{
	uint8_t buf[MTA_NAME_MAX + 8];
	struct wr w = wr_init(buf, sizeof(buf));
	int fd = msg_memfd("published", h->new_text, h->new_len), rc;

	if (fd < 0)
		return fd;
	msg_text_put(&w, h->home);
	rc = ipc_send_fds(d->queue, MSG_Q_PUBLISH, h->id, buf, w.len, &fd, 1);
	close(fd);
	return rc;
}

void published_take(struct conn *c, const char *text, size_t len)
{
	struct reply later = { 451, "4.3.0 The set cannot be kept now" }, r;
	const struct mta_home *home = publisher(c->d->ch->config, c->peer);
	struct smtpd *d = c->d;
	struct held *h;

	/* All may have changed since the command. */
	if (!published_may(c, &r))
		return session_published(&c->s, &r, now(d));
	r = judge(d, home, text, len);
	if (r.code)
		return session_published(&c->s, &r, now(d));
	h = get(d, home->name);
	if (h)
		h->new_text = malloc(len);
	if (!h || !h->new_text)
		return session_published(&c->s, &later, now(d));
	memcpy(h->new_text, text, len);
	h->new_len = len;
	h->from = c;
	h->taken_ms = now(d);
	h->id = ++d->next_set ? d->next_set : ++d->next_set;
	if (!to_queue(d, h))
		return;
	h->from = NULL;
	answer(h, 0, NULL);
	session_published(&c->s, &later, now(d));
}

void published_stored(struct smtpd *d, uint32_t id, struct rd *r)
{
	struct msg_q_stored m;
	struct held *h = d->held;
	char *text;

	while (h && h->id != id)
		h = h->next;
	if (msg_q_stored_get(r, &m) || !id || !h) {
		if (h)
			log_err(NULL, "malformed answer from the queue");
		return;
	}
	if (m.code == 250) {
		text = h->new_text;
		h->new_text = NULL;
		keep(d, h, text, h->new_len);
	}
	answer(h, m.code, m.code == 250 ? "2.0.0 Published" : "4.3.0 The set cannot be kept now");
}

/* What the queue keeps. A set that we know to be newer is on its way there. */
void published_kept(struct smtpd *d, const struct ipc_msg *m)
{
	struct rd in = rd_init(m->data, m->len);
	const char *home = msg_text_get(&in), *why;
	struct publication p;
	struct held *h;
	struct stat st;
	char *text;
	ssize_t n;

	if (in.bad || rd_left(&in) || m->fd_count != 1 || fstat(m->fd[0], &st) || st.st_size <= 0 ||
	    st.st_size > (off_t)PUBLICATION_MAX || !config_home(d->ch->config, home))
		return;
	text = malloc((size_t)st.st_size);
	n = text ? pread(m->fd[0], text, (size_t)st.st_size, 0) : -1;
	h = n == st.st_size ? get(d, home) : NULL;
	if (!h || publication_parse(&p, text, (size_t)n, &why) ||
	    (h->text && p.serial < h->set.serial)) {
		if (h && !h->text)
			log_err(
			    NULL,
			    "home=%s msg=\"what was kept of its recipients cannot be read: %s\"",
			    home, why);
		free(text);
		return;
	}
	keep(d, h, text, (size_t)n);
}

void published_attach(struct smtpd *d)
{
	for (const struct held *h = d->held; h; h = h->next) {
		if (h->text)
			lookup_publish(d->lookup, h->home, h->text, h->len);
	}
}

void published_lost(struct smtpd *d)
{
	d->held_known = false;
	for (struct held *h = d->held; h; h = h->next) {
		if (h->id)
			answer(h, 451, "4.3.0 Queue went away, try again");
	}
}

void published_forget(const struct conn *c)
{
	for (struct held *h = c->d->held; h; h = h->next) {
		if (h->from == c)
			h->from = NULL;
	}
}
