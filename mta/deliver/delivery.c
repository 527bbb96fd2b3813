/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "delivery.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "confine.h"
#include "log.h"
#include "maildir.h"
#include "mark.h"
#include "proc.h"

static int deliver(const struct maildir_letter *l, const struct mailbox *m, char *why, size_t cap)
{
	int home, dir, rc;
	struct stat st;

	/* Opened before it is named to Landlock: an automounter has its turn here. */
	home = open(m->home, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (home < 0 || fstat(home, &st) < 0) {
		rc = -errno;
		snprintf(why, cap, "cannot open the home directory: %s", strerror(-rc));
		return rc;
	}
	if (st.st_uid != m->uid) {
		snprintf(why, cap, "the home directory belongs to another user");
		return -EPERM;
	}
	rc = confine_child(m->home);
	if (rc) {
		snprintf(why, cap, "the delivery cannot be confined: %s", strerror(-rc));
		return rc;
	}
	dir = maildir_open(home, m->dir, m->uid, why, cap);
	return dir < 0 ? dir : maildir_put(dir, l, why, cap);
}

/*
 * A file of the letter's own for it to read, and the pipe to write to. It stays in the group of
 * processes that is killed at the end of its time, and has what the unit has: no network, and no more
 * rights than the user has without setuid programs.
 */
static int become_command(const struct maildir_letter *l, const struct mailbox *m, int out,
			  char *why, size_t cap)
{
	char home[600], user[80], logname[80], path[] = "PATH=/usr/local/bin:/usr/bin:/bin";
	char *envp[] = { home, user, logname, path, NULL };
	int in = memfd_create("letter", MFD_CLOEXEC), rc = in < 0 ? -errno : letter_write(in, l);

	snprintf(home, sizeof(home), "HOME=%s", m->home);
	snprintf(user, sizeof(user), "USER=%s", m->user);
	snprintf(logname, sizeof(logname), "LOGNAME=%s", m->user);
	if (!rc && (lseek(in, 0, SEEK_SET) || dup2(in, STDIN_FILENO) < 0 ||
		    dup2(out, STDOUT_FILENO) < 0 || dup2(out, STDERR_FILENO) < 0))
		rc = -errno;
	if (rc) {
		snprintf(why, cap, "cannot hand the letter to the command: %s", strerror(-rc));
		return rc;
	}
	/* One that cannot be entered keeps nobody from his mail: some commands have no use for it. */
	if (chdir(m->home) < 0 && chdir("/") < 0)
		return -errno;
	umask(077);
	for (int s = 1; s < NSIG; s++)
		signal(s, SIG_DFL);
	execve(m->command.argv[0], m->command.argv, envp);
	rc = -errno;
	snprintf(why, cap, "cannot run %.100s: %s", m->command.argv[0], strerror(-rc));
	return rc;
}

/* All that is not told apart here is a mistake that can be mended: later. */
static const struct {
	int code;
	const char *enhanced;
} never[] = {
	{ EX_DATAERR, "5.6.0" },     { EX_NOUSER, "5.1.1" }, { EX_NOHOST, "5.1.2" },
	{ EX_UNAVAILABLE, "5.2.0" }, { EX_NOPERM, "5.7.1" },
};

enum deliver_status delivery_verdict(int status, const char **code)
{
	*code = "2.0.0";
	if (WIFEXITED(status) && !WEXITSTATUS(status))
		return DELIVER_DONE;
	for (size_t i = 0; WIFEXITED(status) && i < sizeof(never) / sizeof(never[0]); i++) {
		*code = never[i].enhanced;
		if (WEXITSTATUS(status) == never[i].code)
			return DELIVER_NEVER;
	}
	*code = "4.2.0";
	return DELIVER_LATER;
}

/* The server's descriptors (its clients, the pipes of others) are none of a user's. */
static void close_others(int a, int b)
{
	unsigned lo = (unsigned)(a < b ? a : b), hi = (unsigned)(a < b ? b : a);

	if (lo > STDERR_FILENO + 1)
		syscall(SYS_close_range, STDERR_FILENO + 1u, lo - 1, 0u);
	if (hi > lo + 1)
		syscall(SYS_close_range, lo + 1, hi - 1, 0);
	syscall(SYS_close_range, hi + 1, ~0u, 0);
}

static _Noreturn void end(int out, int status, const char *text)
{
	if (*text && write(out, text, strlen(text)) < 0)
		_exit(EX_TEMPFAIL);
	_exit(status);
}

_Noreturn void delivery_run(const struct deliver_request *r, const struct mailbox *m,
			    const struct mta_config *c, int body, int out)
{
	struct maildir_letter l = { .body = body,
				    .size = r->size,
				    .received_s = r->received_s,
				    .repeat = r->repeat,
				    .sender = r->sender,
				    .recipient = r->recipient,
				    .hostname = c->hostname,
				    .limit = { c->deliver.quota_bytes, c->deliver.quota_letters } };
	struct rlimit none = { 0, 0 };
	char why[DELIVER_TEXT_MAX] = "";
	sigset_t empty;
	int rc, looped;

	sigemptyset(&empty);
	sigprocmask(SIG_SETMASK, &empty, NULL);
	signal(SIGXFSZ, SIG_IGN);
	alarm(DELIVERY_S);
	umask(077);
	setsid();
	setrlimit(RLIMIT_CORE, &none);
	log_setup("postern-deliver", LOG_LVL_ERR, STDERR_FILENO); /* no line per letter */
	memcpy(l.id, r->id, sizeof(l.id));
	close_others(body, out);
	rc = proc_become(m->uid, m->gid);
	/* As the user: it is outside bytes that are read. */
	looped = rc ? 0 : mark_in_file(body, r->recipient, c);
	if (looped > 0)
		end(out, EX_UNAVAILABLE, "5.4.6 it was delivered to this address before: it goes in a circle");
	if (rc)
		snprintf(why, sizeof(why), "cannot become the user: %s", strerror(-rc));
	else if (looped < 0)
		snprintf(why, sizeof(why), "cannot read the letter: %s", strerror(-(rc = looped)));
	else if (!m->dir[0])
		rc = become_command(&l, m, out, why, sizeof(why));
	else
		rc = deliver(&l, m, why, sizeof(why));
	if (rc == -EDQUOT && c->deliver.refuse_full)
		end(out, EX_UNAVAILABLE, "5.2.2 the mailbox is full");
	end(out, rc ? EX_TEMPFAIL : EX_OK, why);
}
