/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bundle.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hash.h"
#include "names.h"
#include "secret.h"
#include "whole.h"
#include "wire.h"

#define ENTRIES_MAX  16384
#define PATH_LEN_MAX 4096
#define MARK	     "secret:" /* before the path of a secret: no configured file has such a name */

struct bundle {
	size_t count;
	struct bundle_entry {
		char *path;
		char *text;
		size_t len;
	} * entries; /* texts are terminated copies */
};

/* ---- making ---- */

struct maker {
	struct conf *c;
	int fd;
	size_t total;
	int rc;
	struct names seen;
	const struct bundle_secrets *secrets;
};

static int put(struct maker *m, const void *p, size_t len)
{
	m->total += len;
	return m->total > BUNDLE_SIZE_MAX ? -EFBIG : whole_write(m->fd, p, len);
}

static int put_entry(struct maker *m, const char *path, const char *text, size_t len)
{
	uint8_t b[4];
	struct wr w = wr_init(b, 4);
	int rc;

	wr_be32(&w, (uint32_t)strlen(path));
	rc = put(m, b, 4);
	if (!rc)
		rc = put(m, path, strlen(path));
	w = wr_init(b, 4);
	wr_be32(&w, (uint32_t)len);
	if (!rc)
		rc = put(m, b, 4);
	return rc ? rc : put(m, text, len);
}

/* A secret does not go along, only by what one tells whether it is still the same. */
static int put_mark(struct maker *m, const char *path, const char *text, size_t len)
{
	uint64_t mark = hash_bytes(text, len);
	char *name = NULL;
	int rc;

	if (asprintf(&name, "%s%s", MARK, path) < 0)
		return -ENOMEM;
	rc = put_entry(m, name, (const char *)&mark, sizeof(mark));
	free(name);
	return rc;
}

static int put_path(const struct conf_section *s, const struct conf_key *k,
		    const struct conf_value *v, void *arg)
{
	struct maker *m = arg;
	char *text, why[CONF_WHY_MAX];
	size_t len;
	int rc;

	(void)s;
	if (k->flags & CONF_SECRET_FILE && m->secrets && !m->secrets->take)
		return 0;
	rc = names_add(&m->seen, v->text);
	if (rc <= 0)
		return rc;
	rc = conf_file_read(v->text, k->flags, &text, &len, why, sizeof(why));
	if (rc) {
		conf_error(m->c, v->line, "%s = %s: %s", k->name, v->text, why);
		m->rc = rc; /* go on: all faults are told at once */
		return 0;
	}
	if (k->flags & CONF_SECRET_FILE) {
		/* One reading: what has this mark is what is taken. */
		rc = put_mark(m, v->text, text, len);
		if (!rc && m->secrets)
			rc = m->secrets->take(m->secrets->arg, k, v, text, len);
		secret_wipe(text, len);
	} else {
		rc = put_entry(m, v->text, text, len);
	}
	free(text);
	return rc;
}

int bundle_make(struct conf *c, const char *text, size_t len, const struct bundle_secrets *secrets)
{
	struct maker m = { .c = c, .secrets = secrets };
	const char *base = strrchr(c->path, '/');
	char *full = NULL;

	m.fd = memfd_create("postern-bundle", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (m.fd < 0) {
		m.rc = -errno;
		conf_error(c, 0, "no memory file: %s", strerror(errno));
		return m.rc;
	}
	if (asprintf(&full, "%s/%s", c->dir, base ? base + 1 : c->path) < 0)
		full = NULL;
	m.rc = full ? put_entry(&m, full, text, len) : -ENOMEM;
	if (!m.rc) {
		int rc = conf_paths(c, put_path, &m);

		m.rc = rc ? rc : m.rc;
	}
	if (!m.rc &&
	    fcntl(m.fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE))
		m.rc = -errno;
	if (m.rc && conf_ok(c))
		conf_error(c, 0, "cannot be handed to the children: %s", strerror(-m.rc));
	names_clear(&m.seen);
	free(full);
	if (m.rc) {
		close(m.fd);
		return m.rc;
	}
	return m.fd;
}

/* ---- reading ---- */

static char *take_text(struct rd *r, size_t *len)
{
	const uint8_t *p;
	char *s;

	*len = rd_be32(r);
	p = rd_take(r, *len);
	if (!p)
		return NULL;
	s = malloc(*len + 1);
	if (!s)
		return NULL;
	memcpy(s, p, *len);
	s[*len] = '\0';
	return s;
}

static int by_path(const void *x, const void *y)
{
	return strcmp(((const struct bundle_entry *)x)->path,
		      ((const struct bundle_entry *)y)->path);
}

struct bundle *bundle_parse(const void *data, size_t len)
{
	struct rd r = rd_init(data, len);
	struct bundle *b = calloc(1, sizeof(*b));
	size_t n;

	if (!b)
		return NULL;
	while (rd_left(&r)) {
		struct bundle_entry *grown = realloc(b->entries, (b->count + 1) * sizeof(*grown)),
				    *e;

		if (!grown)
			goto bad;
		b->entries = grown;
		e = &grown[b->count++];
		*e = (struct bundle_entry){ 0 };
		e->path = take_text(&r, &n);
		if (!e->path || !n || n > PATH_LEN_MAX || strlen(e->path) != n)
			goto bad;
		e->text = take_text(&r, &e->len);
		if (!e->text || b->count > ENTRIES_MAX)
			goto bad;
	}
	/* The first is the configuration; what it names is looked up by the thousand. */
	if (b->count > 1)
		qsort(b->entries + 1, b->count - 1, sizeof(*b->entries), by_path);
	if (b->count)
		return b;
bad:
	bundle_free(b);
	errno = EBADMSG;
	return NULL;
}

struct bundle *bundle_open(int fd)
{
	struct bundle *b;
	struct stat st;
	size_t at = 0, len;
	char *data;
	int seals = fcntl(fd, F_GET_SEALS);

	/* Sealed: it cannot change while it is read, nor shrink under us. */
	if (seals < 0 ||
	    (seals & (F_SEAL_WRITE | F_SEAL_SHRINK)) != (F_SEAL_WRITE | F_SEAL_SHRINK) ||
	    fstat(fd, &st) || st.st_size <= 0 || st.st_size > BUNDLE_SIZE_MAX) {
		errno = EBADMSG;
		return NULL;
	}
	len = (size_t)st.st_size;
	data = malloc(len);
	if (!data)
		return NULL;
	while (at < len) {
		ssize_t n = pread(fd, data + at, len - at, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			free(data);
			errno = EBADMSG;
			return NULL;
		}
		at += (size_t)n;
	}
	b = bundle_parse(data, len);
	free(data);
	return b;
}

void bundle_free(struct bundle *b)
{
	if (!b)
		return;
	for (size_t i = 0; i < b->count; i++) {
		free(b->entries[i].path);
		free(b->entries[i].text);
	}
	free(b->entries);
	free(b);
}

struct conf *bundle_conf(const struct bundle *b, const struct conf_schema *schema)
{
	return conf_parse(schema, b->entries[0].path, b->entries[0].text, b->entries[0].len);
}

void bundle_forget_conf(struct bundle *b)
{
	free(b->entries[0].text);
	b->entries[0].text = NULL;
	b->entries[0].len = 0;
}

static const struct bundle_entry *find(const struct bundle *b, const char *path)
{
	const struct bundle_entry key = { .path = (char *)(uintptr_t)path };

	return b->count > 1 ? bsearch(&key, b->entries + 1, b->count - 1, sizeof(key), by_path)
			    : NULL;
}

const char *bundle_file(const struct bundle *b, const char *path, size_t *len)
{
	const struct bundle_entry *e = find(b, path);

	if (e && len)
		*len = e->len;
	return e ? e->text : NULL;
}

uint64_t bundle_mark(const struct bundle *b, const char *path)
{
	char name[sizeof(MARK) + PATH_LEN_MAX];
	const struct bundle_entry *e = NULL;
	uint64_t mark = 0;

	if (snprintf(name, sizeof(name), MARK "%s", path) < (int)sizeof(name))
		e = find(b, name);
	if (e && e->len == sizeof(mark))
		memcpy(&mark, e->text, sizeof(mark));
	return mark;
}

static uint64_t files_mark(void *arg, const char *path)
{
	return bundle_mark(arg, path);
}

static int files_read(void *arg, const char *path, unsigned flags, char **data, size_t *len,
		      char *why, size_t cap)
{
	const char *text = bundle_file(arg, path, len);

	(void)flags;
	if (!text) {
		snprintf(why, cap, "is not in the bundle");
		return -ENOENT;
	}
	*data = malloc(*len + 1);
	if (!*data)
		return -ENOMEM;
	memcpy(*data, text, *len + 1);
	return 0;
}

struct conf_files bundle_files(const struct bundle *b)
{
	return (struct conf_files){ .read = files_read, .mark = files_mark, .arg = (void *)b };
}
