/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "hop_files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf.h"
#include "secret.h"
#include "tls_hop.h"
#include "whole.h"

#define OWN_NEW	   HOP_OWN_NAME ".new"
#define CREATE	   (O_CREAT | O_CLOEXEC | O_NOFOLLOW)

static const char *const names[2] = { "hop-keys.0", "hop-keys.1" };

/* ---- our own ---- */

static int write_new(int dir, const char *text, size_t len)
{
	int fd, rc;

	if (unlinkat(dir, OWN_NEW, 0) && errno != ENOENT) /* of a crash */
		return -errno;
	fd = openat(dir, OWN_NEW, O_WRONLY | O_EXCL | CREATE, 0600);
	if (fd < 0)
		return -errno;
	rc = whole_write(fd, text, len);
	if (!rc && fsync(fd))
		rc = -errno;
	if (close(fd) && !rc)
		rc = -errno;
	return rc;
}

int hop_own_make(int dir)
{
	char *pem = NULL;
	size_t len = 0;
	int rc;

	if (!faccessat(dir, HOP_OWN_NAME, F_OK, AT_SYMLINK_NOFOLLOW))
		return -EEXIST;
	if (errno != ENOENT)
		return -errno;
	rc = tls_hop_make(&pem, &len);
	if (rc)
		return rc;
	rc = write_new(dir, pem, len);
	if (!rc && renameat(dir, OWN_NEW, dir, HOP_OWN_NAME))
		rc = -errno;
	if (!rc && fsync(dir))
		rc = -errno;
	secret_wipe(pem, len);
	free(pem);
	return rc;
}

/* ---- those of peers ---- */

/* All of it, or NULL; @len says that there is something. */
static char *read_text(int fd, size_t *len)
{
	struct stat st;
	size_t got = 0;
	ssize_t n = 1;
	char *text;

	*len = 0;
	if (fstat(fd, &st) || st.st_size <= 0)
		return NULL;
	*len = (size_t)st.st_size;
	text = *len <= HOP_TEXT_MAX ? malloc(*len) : NULL;
	while (text && got < *len && n > 0) {
		n = pread(fd, text + got, *len - got, (off_t)got);
		if (n < 0 && errno == EINTR)
			n = 1;
		else if (n > 0)
			got += (size_t)n;
	}
	if (text && got == *len)
		return text;
	free(text);
	return NULL;
}

static int open_one(int dir, const char *name)
{
	int fd = openat(dir, name, O_RDWR | CREATE, 0600), rc;
	char why[CONF_WHY_MAX];
	struct stat st;

	if (fd < 0)
		return -errno;
	rc = fstat(fd, &st) ? -errno : conf_file_check(&st, CONF_SECRET_FILE, why, sizeof(why));
	if (!rc)
		return fd;
	close(fd);
	return rc;
}

/* The newer of the two editions that are whole. */
static void load(struct hop_store *s, bool *lost)
{
	bool found = false, something = false;

	for (int i = 0; i < 2; i++) {
		struct hop_keys got = { 0 };
		size_t len;
		char *text = read_text(s->fd[i], &len);

		something |= len > 0;
		if (text && !hop_keys_parse(&got, text, len) &&
		    (!found || got.edition > s->keys.edition)) {
			hop_keys_clear(&s->keys);
			s->keys = got;
			s->next = !i;
			found = true;
		} else {
			hop_keys_clear(&got);
		}
		free(text);
	}
	*lost = something && !found;
}

int hop_store_open(struct hop_store *s, int dir, bool *lost)
{
	*s = (struct hop_store){ .fd = { -1, -1 } };
	*lost = false;
	for (int i = 0; i < 2; i++) {
		s->fd[i] = open_one(dir, names[i]);
		if (s->fd[i] < 0) {
			int rc = s->fd[i];

			hop_store_close(s);
			return rc;
		}
	}
	load(s, lost);
	return fsync(dir) ? -errno : 0;
}

static int write_at(int fd, const char *text, size_t len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = pwrite(fd, text + done, len - done, (off_t)done);

		if (n < 0 && errno != EINTR)
			return -errno;
		done += n > 0 ? (size_t)n : 0;
	}
	return ftruncate(fd, (off_t)len) || fsync(fd) ? -errno : 0;
}

int hop_store_save(struct hop_store *s)
{
	size_t len;
	char *text;
	int rc;

	if (s->fd[s->next] < 0)
		return -EBADF;
	s->keys.edition++;
	text = hop_keys_build(&s->keys, &len);
	rc = text ? write_at(s->fd[s->next], text, len) : -ENOMEM;
	free(text);
	s->behind = rc != 0;
	if (!rc)
		s->next = !s->next;
	return rc;
}

void hop_store_close(struct hop_store *s)
{
	for (int i = 0; i < 2; i++) {
		if (s->fd[i] >= 0)
			close(s->fd[i]);
		s->fd[i] = -1;
	}
	hop_keys_clear(&s->keys);
}
