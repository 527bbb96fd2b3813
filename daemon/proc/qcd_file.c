/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The secret behind our tokens of RFC 6290: state-dir/qcd.secret, made once, for root alone. Who reads it could
 * make our peers call anew, no more. It outlives every crash: a file that is not whole, as after
 * a power cut while it was made, is made again.
 */
#include "parent_int.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"
#include "secret.h"

static int make(int fd, uint8_t secret[static PROC_QCD_LEN])
{
	int rc = secret_random(secret, PROC_QCD_LEN);

	if (rc)
		return rc;
	if (ftruncate(fd, 0) || pwrite(fd, secret, PROC_QCD_LEN, 0) != PROC_QCD_LEN || fsync(fd))
		return errno ? -errno : -EIO;
	return 0;
}

int qcd_file(const char *dir, uint8_t secret[static PROC_QCD_LEN])
{
	char path[4096];
	struct stat st;
	int fd, rc = 0;

	snprintf(path, sizeof(path), "%s/qcd.secret", dir);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0) {
		rc = -errno;
	} else if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
		rc = -EINVAL;
	} else if ((st.st_mode & 077) || st.st_uid != geteuid() || st.st_size != PROC_QCD_LEN ||
		   pread(fd, secret, PROC_QCD_LEN, 0) != PROC_QCD_LEN) {
		/* Others may have read it, or it is not whole: peers that hold an old token only wait longer. */
		errno = 0;
		rc = fchmod(fd, 0600) ? -errno : make(fd, secret);
	}
	if (fd >= 0)
		close(fd);
	if (rc)
		log_err(NULL, "state-dir: %s: %s", path, strerror(-rc));
	return rc;
}
