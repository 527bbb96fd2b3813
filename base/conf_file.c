/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "conf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hash.h"
#include "secret.h"

int conf_file_check(const struct stat *st, unsigned flags, char *why, size_t cap)
{
	unsigned mode = st->st_mode & 07777;

	if (!S_ISREG(st->st_mode)) {
		snprintf(why, cap, "is not a regular file");
		return -EPERM;
	}
	if (st->st_uid != 0 && st->st_uid != geteuid()) {
		snprintf(why, cap, "belongs to user %u; chown it to root", (unsigned)st->st_uid);
		return -EPERM;
	}
	if (mode & 022) {
		snprintf(why, cap, "is writable by others (mode %04o); chmod go-w", mode);
		return -EPERM;
	}
	if ((flags & CONF_SECRET_FILE) && (mode & 044)) {
		snprintf(why, cap, "is a secret readable by others (mode %04o); chmod 0600", mode);
		return -EPERM;
	}
	return 0;
}

static int read_all(int fd, char **data, size_t *len)
{
	size_t cap = 4096, n = 0;
	char *buf = malloc(cap), *grown;
	ssize_t got;
	int rc = -ENOMEM;

	while (buf) {
		got = read(fd, buf + n, cap - n - 1);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			rc = -errno;
			break;
		}
		if (!got) {
			buf[n] = '\0';
			*data = buf;
			*len = n;
			return 0;
		}
		n += (size_t)got;
		if (n > CONF_SIZE_MAX) {
			rc = -EFBIG;
			break;
		}
		if (n + 1 < cap)
			continue;
		/* Not realloc: an old copy of a secret would stay behind. */
		grown = malloc(cap * 2);
		if (grown)
			memcpy(grown, buf, n);
		secret_wipe(buf, n);
		free(buf);
		buf = grown;
		cap *= 2;
	}
	if (buf)
		secret_wipe(buf, n);
	free(buf);
	return rc;
}

int conf_file_read(const char *path, unsigned flags, char **data, size_t *len, char *why,
		   size_t cap)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY), rc;

	*data = NULL;
	*len = 0;
	if (fd < 0) {
		rc = -errno;
		snprintf(why, cap, "cannot be opened: %s", strerror(-rc));
		return rc;
	}
	if (fstat(fd, &st)) {
		rc = -errno;
		snprintf(why, cap, "cannot be read: %s", strerror(-rc));
	} else {
		rc = conf_file_check(&st, flags, why, cap);
		if (!rc) {
			rc = read_all(fd, data, len);
			if (rc)
				snprintf(why, cap, "cannot be read: %s", strerror(-rc));
		}
	}
	close(fd);
	return rc;
}

static int disk_read(void *arg, const char *path, unsigned flags, char **data, size_t *len,
		     char *why, size_t cap)
{
	(void)arg;
	return conf_file_read(path, flags, data, len, why, cap);
}

const struct conf_files conf_files_disk = { .read = disk_read };

struct conf *conf_load(const struct conf_schema *schema, const char *path)
{
	char *text, why[CONF_WHY_MAX];
	size_t len;
	struct conf *c;
	int rc = conf_file_read(path, 0, &text, &len, why, sizeof(why));

	c = conf_parse(schema, path, rc ? "" : text, rc ? 0 : len);
	if (c && rc) {
		/* What is missing in an empty text is no news beside this. */
		free(c->errors);
		c->errors = NULL;
		c->error_count = 0;
		conf_error(c, 0, "%s", why);
	}
	free(text);
	return c;
}

int conf_paths(const struct conf *c,
	       int (*fn)(const struct conf_section *s, const struct conf_key *k,
			 const struct conf_value *v, void *arg),
	       void *arg)
{
	int rc = 0;

	for (size_t i = 0; i < c->section_count && !rc; i++) {
		const struct conf_section *s = &c->sections[i];

		for (size_t k = 0; k < s->kind->key_count && !rc; k++) {
			const struct conf_key *key = &s->kind->keys[k];
			const struct conf_entry *e;

			if (!(key->flags & (CONF_PUBLIC_FILE | CONF_SECRET_FILE)))
				continue;
			e = conf_get(s, key->name);
			for (size_t n = 0; n < e->count && !rc; n++)
				rc = fn(s, key, &e->values[n], arg);
		}
	}
	return rc;
}

uint64_t conf_file_mark(const char *path)
{
	struct stat st;
	uint64_t v[6];

	if (!path || stat(path, &st))
		return 0;
	v[0] = st.st_ino;
	v[1] = (uint64_t)st.st_size;
	v[2] = (uint64_t)st.st_mtim.tv_sec;
	v[3] = (uint64_t)st.st_mtim.tv_nsec;
	v[4] = (uint64_t)st.st_ctim.tv_sec;
	v[5] = (uint64_t)st.st_ctim.tv_nsec;
	return hash_bytes(v, sizeof(v)) | 1;
}
