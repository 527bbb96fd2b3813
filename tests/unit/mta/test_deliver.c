/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "confine.h"
#include "deliver.h"
#include "maildir.h"
#include "resolve.h"
#include "sandbox.h"

static char base[] = "/tmp/postern-deliver-XXXXXX";
static int home = -1;
static char why[200];

static int begin(void **state)
{
	(void)state;
	strcpy(base + strlen(base) - 6, "XXXXXX");
	if (!mkdtemp(base))
		return -1;
	home = open(base, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return home < 0;
}

static int finish(void **state)
{
	char cmd[64];

	(void)state;
	close(home);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", base);
	return system(cmd);
}

static struct maildir_letter letter(const char *text)
{
	struct maildir_letter l = { .id = { 1 },
				    .received_s = 1700000000,
				    .sender = "a@b.example",
				    .recipient = "joe@d.example",
				    .hostname = "h/o:st" };

	l.body = memfd_create("body", MFD_CLOEXEC);
	l.size = strlen(text);
	assert_int_equal(write(l.body, text, l.size), (ssize_t)l.size);
	return l;
}

static size_t files(const char *dir, char *last, size_t cap)
{
	char path[256];
	struct dirent *e;
	size_t n = 0;
	DIR *d;

	snprintf(path, sizeof(path), "%s/%s", base, dir);
	d = opendir(path);
	while (d && (e = readdir(d))) {
		if (e->d_name[0] == '.')
			continue;
		n++;
		if (last)
			snprintf(last, cap, "%s/%s", path, e->d_name);
	}
	if (d)
		closedir(d);
	return n;
}

static void a_letter_lies_in_new_with_its_two_fields(void **state)
{
	struct maildir_letter l = letter("Subject: x\r\n\r\na\rb\r\n\r\r\nend\r");
	char path[600], text[400];
	int dir = maildir_open(home, "Mail/in", geteuid(), why, sizeof(why)), fd;
	ssize_t n;

	(void)state;
	assert_true(dir >= 0);
	for (int i = 0; i < 3; i++) {
		l.id[0] = (uint8_t)i;
		assert_int_equal(maildir_put(dir, &l, why, sizeof(why)), 0);
	}
	assert_int_equal(files("Mail/in/new", path, sizeof(path)), 3);
	assert_int_equal(files("Mail/in/tmp", NULL, 0), 0);
	assert_null(strchr(strrchr(path, '/'), ':'));
	fd = open(path, O_RDONLY);
	n = read(fd, text, sizeof(text) - 1);
	text[n] = 0;
	assert_string_equal(text, "Return-Path: <a@b.example>\nDelivered-To: joe@d.example\n"
				  "Subject: x\n\na\rb\n\r\nend\r");
	close(fd);
	close(l.body);
	close(dir);
}

/* The time in a name is the letter's own: clocks and processes have no part in it. */
static void mail_case_079_letters_of_one_second_have_names_of_their_own(void **state)
{
	struct maildir_letter l = letter("x\r\n");
	int dir = maildir_open(home, "Maildir", geteuid(), why, sizeof(why));

	(void)state;
	for (int i = 0; i < 200; i++) {
		l.id[i % LETTER_ID_LEN] = (uint8_t)(i + 1);
		l.received_s += i % 3 - 1; /* there and back */
		assert_int_equal(maildir_put(dir, &l, why, sizeof(why)), 0);
		assert_int_equal(files("Maildir/new", NULL, 0), i + 1);
	}
	assert_int_equal(files("Maildir/tmp", NULL, 0), 0);
	close(l.body);
	close(dir);
}

/* It dies with the file in tmp, or with the file in new and nobody told: one copy is shown. */
static void mail_case_079_a_delivery_that_dies_anywhere_shows_one_copy(void **state)
{
	int dir = maildir_open(home, "Maildir", geteuid(), why, sizeof(why)), shown = 0, n;

	(void)state;
	for (n = 0; n < 1000 && !shown; n++) {
		struct maildir_letter l = letter("x\r\n");
		pid_t pid;
		int status;

		l.id[0] = (uint8_t)(n + 1);
		l.id[1] = (uint8_t)(n >> 8);
		pid = fork();
		if (!pid) { /* dies before its nth system call, or behind it */
			ptrace(PTRACE_TRACEME, 0, NULL, NULL);
			raise(SIGSTOP);
			_exit(maildir_put(dir, &l, why, sizeof(why)) != 0);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		for (int calls = 0; !WIFEXITED(status) && !WIFSIGNALED(status); calls++) {
			if (calls == n)
				kill(pid, SIGKILL);
			else
				assert_int_equal(ptrace(PTRACE_SYSCALL, pid, NULL, NULL), 0);
			assert_int_equal(waitpid(pid, &status, 0), pid);
		}
		shown = WIFEXITED(status);
		assert_in_range(files("Maildir/new", NULL, 0), n, n + 1);
		/* Nobody heard of its end, so it comes again. */
		l.repeat = true;
		assert_int_equal(maildir_put(dir, &l, why, sizeof(why)), 0);
		assert_int_equal(files("Maildir/new", NULL, 0), n + 1);
		close(l.body);
	}
	assert_true(shown && n > 10);
	close(dir);
}

/* The word of a delivery is lost on its way back, whatever the user does meanwhile. */
static void mail_case_079_a_letter_that_comes_again_is_there_once(void **state)
{
	struct maildir_letter l = letter("x\r\n");
	int dir = maildir_open(home, "Maildir", geteuid(), why, sizeof(why));
	char path[600], seen[700];

	(void)state;
	assert_int_equal(maildir_put(dir, &l, why, sizeof(why)), 0);
	assert_int_equal(maildir_put(dir, &l, why, sizeof(why)), 0); /* two at once */
	l.repeat = true;
	assert_int_equal(maildir_put(dir, &l, why, sizeof(why)), 0);
	assert_int_equal(files("Maildir/new", path, sizeof(path)), 1);
	for (int i = 0; i < 3; i++) {
		static const char *const flags[] = { "", ":2,S", ",S=42:2," };

		snprintf(seen, sizeof(seen), "%s/Maildir/cur/%s%s", base, strrchr(path, '/') + 1,
			 flags[i]);
		assert_int_equal(rename(path, seen), 0);
		assert_int_equal(maildir_put(dir, &l, why, sizeof(why)), 0);
		assert_int_equal(files("Maildir/new", NULL, 0), 0);
		assert_int_equal(rename(seen, path), 0);
	}
	/* The same letter for another of his addresses is another delivery. */
	l.recipient = "jim@d.example";
	assert_int_equal(maildir_put(dir, &l, why, sizeof(why)), 0);
	assert_int_equal(files("Maildir/new", NULL, 0), 2);
	assert_int_equal(files("Maildir/tmp", NULL, 0), 0);
	close(l.body);
	close(dir);
}

/* What cannot be looked for may lie there. */
static void a_letter_that_comes_again_waits_where_cur_cannot_be_read(void **state)
{
	struct maildir_letter l = letter("x\r\n");
	int dir = maildir_open(home, "Maildir", geteuid(), why, sizeof(why)), used[64];
	struct rlimit was, few;
	size_t n = 0;

	(void)state;
	l.repeat = true;
	assert_int_equal(maildir_put(dir, &l, why, sizeof(why)), 0);
	l.id[0] = 2;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
	few = (struct rlimit){ .rlim_cur = 40, .rlim_max = was.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	while (n < 64 && (used[n] = dup(dir)) >= 0)
		n++;
	/* Three are left: tmp, new and cur, none to read cur by. */
	for (int i = 0; i < 3; i++)
		close(used[--n]);
	assert_int_equal(maildir_put(dir, &l, why, sizeof(why)), -EMFILE);
	assert_string_equal(why, "cannot look for the letter: Too many open files");
	while (n)
		close(used[--n]);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
	assert_int_equal(maildir_put(dir, &l, why, sizeof(why)), 0);
	assert_int_equal(files("Maildir/new", NULL, 0), 2);
	close(l.body);
	close(dir);
}

/* As NFS: a rename takes no flags. */
static int rename_takes_no_flags(void)
{
	struct sock_filter f[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_renameat2, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[4])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog p = { .len = sizeof(f) / sizeof(f[0]), .filter = f };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -1;
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &p);
}

static int deliver_as_on_nfs(void)
{
	struct maildir_letter l = letter("x\r\n");
	int dir = maildir_open(home, "Maildir", geteuid(), why, sizeof(why));

	if (dir < 0 || rename_takes_no_flags())
		return 1;
	for (int i = 0; i < 3; i++) {
		l.repeat = i == 2;
		if (maildir_put(dir, &l, why, sizeof(why)))
			return 2;
	}
	if (files("Maildir/new", NULL, 0) != 1 || files("Maildir/tmp", NULL, 0))
		return 3;
	return 0;
}

static void a_home_whose_rename_takes_no_flags_gets_its_letters(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	pid = fork();
	if (!pid)
		_exit(deliver_as_on_nfs());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static bool refused(const char *dir, const char *name, int flags)
{
	char path[300];
	int fd;

	snprintf(path, sizeof(path), "%s%s", dir, name);
	fd = open(path, flags, 0600);
	if (fd >= 0)
		close(fd);
	return fd < 0;
}

/* In a child that was confined to base/home; the number of the first thing that it may and should not. */
static int try_what_is_forbidden(void)
{
	struct maildir_letter l = letter("x\r\n");
	bool landlock = sandbox_landlock_abi() > 1;
	char path[300];
	int dir;

	snprintf(path, sizeof(path), "%s/home", base);
	mkdir(path, 0700);
	home = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (confine_child(path))
		return 1;
	dir = maildir_open(home, "Maildir", geteuid(), why, sizeof(why));
	if (dir < 0 || maildir_put(dir, &l, why, sizeof(why)))
		return 2;
	l.repeat = true;
	if (maildir_put(dir, &l, why, sizeof(why)))
		return 3;
	if (landlock && !refused("/etc/", "passwd", O_RDONLY))
		return 4;
	if (landlock && !refused(base, "/outside", O_WRONLY | O_CREAT))
		return 5;
	snprintf(path, sizeof(path), "%s/dir", base);
	if (landlock && !mkdir(path, 0700))
		return 6;
	if (socket(AF_UNIX, SOCK_STREAM, 0) >= 0 || socket(AF_INET, SOCK_STREAM, 0) >= 0)
		return 7;
	if (fork() >= 0)
		return 8;
	if (!kill(getppid(), 0))
		return 9;
	if (setuid(geteuid()) == 0)
		return 10;
	return 0;
}

static void a_delivery_reaches_its_home_and_nothing_else(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	pid = fork();
	if (!pid)
		_exit(try_what_is_forbidden());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	/* A program to run is what an intruder wants first: that ends the process. */
	pid = fork();
	if (!pid) {
		if (!confine_child(base))
			execl("/bin/true", "true", NULL);
		_exit(1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) == 1);
}

/* Under the first Landlock no letter could move from tmp to new. */
static void a_landlock_that_lets_no_letter_move_is_left_alone(void **state)
{
	const struct sandbox_path in = { "/x", SANDBOX_PATH_READ },
				  out = { "/x", SANDBOX_PATH_READ | SANDBOX_PATH_WRITE };

	(void)state;
	assert_false(sandbox_landlock_fits(0, &in, 1));
	assert_true(sandbox_landlock_fits(1, NULL, 0));
	assert_true(sandbox_landlock_fits(1, &in, 1));
	assert_false(sandbox_landlock_fits(1, &out, 1));
	assert_true(sandbox_landlock_fits(2, &out, 1));
}

static void links_lead_nowhere(void **state)
{
	char path[300];
	int dir;

	(void)state;
	snprintf(path, sizeof(path), "%s/outside", base);
	mkdir(path, 0700);
	snprintf(path, sizeof(path), "%s/Maildir", base);
	assert_int_equal(symlink("outside", path), 0);
	assert_int_equal(maildir_open(home, "Maildir", geteuid(), why, sizeof(why)), -ELOOP);
	assert_string_equal(why, "cannot open directory Maildir: it is a symbolic link");
	unlink(path);
	dir = maildir_open(home, "Maildir", geteuid(), why, sizeof(why));
	assert_true(dir >= 0);
	snprintf(path, sizeof(path), "%s/Maildir/new", base);
	assert_int_equal(symlink("/tmp", path), 0);
	{
		struct maildir_letter l = letter("x\r\n");

		assert_int_equal(maildir_put(dir, &l, why, sizeof(why)), -ELOOP);
		close(l.body);
	}
	close(dir);
	assert_int_equal(maildir_open(home, "../x", geteuid(), why, sizeof(why)), -EINVAL);
	assert_int_equal(maildir_open(home, "", geteuid(), why, sizeof(why)), -EINVAL);
	assert_int_equal(maildir_open(home, "Maildir", geteuid() + 1, why, sizeof(why)), -EPERM);
}

static void a_body_that_ends_early_leaves_nothing(void **state)
{
	struct maildir_letter l = letter("short\r\n");
	int dir = maildir_open(home, "Maildir", geteuid(), why, sizeof(why));

	(void)state;
	l.size += 10;
	assert_int_equal(maildir_put(dir, &l, why, sizeof(why)), -EIO);
	assert_int_equal(files("Maildir/tmp", NULL, 0), 0);
	assert_int_equal(files("Maildir/new", NULL, 0), 0);
	close(l.body);
	close(dir);
}

static void forged_requests_are_refused(void **state)
{
	struct deliver_request r = { .size = 5,
				     .number = 9,
				     .received_s = 1700000000,
				     .repeat = true,
				     .recipient = "joe@d.example" },
			       got;
	uint8_t b[DELIVER_PACKET_MAX];
	size_t len;

	(void)state;
	assert_int_equal(deliver_request_build(&r, b, &len), 0);
	assert_int_equal(deliver_request_parse(&got, b, len), 0);
	assert_string_equal(got.recipient, "joe@d.example");
	assert_true(got.repeat);
	assert_int_equal(got.received_s, 1700000000);
	assert_int_equal(got.number, 9);
	for (size_t i = 0; i < len; i++)
		assert_int_equal(deliver_request_parse(&got, b, i), -EBADMSG);
	b[len - 4] = '\n'; /* in the recipient */
	assert_int_equal(deliver_request_parse(&got, b, len), -EBADMSG);
	b[len - 4] = 0;
	assert_int_equal(deliver_request_parse(&got, b, len), -EBADMSG);
	b[0] = 'X';
	assert_int_equal(deliver_request_parse(&got, b, len), -EBADMSG);
	r.recipient[0] = 0;
	assert_int_equal(deliver_request_build(&r, b, &len), 0);
	assert_int_equal(deliver_request_parse(&got, b, len), -EBADMSG);
}

static int resolve(const struct mta_config *c, const struct table *users, const char *recipient,
		   struct mailbox *m)
{
	struct deliver_request r = { .sender = "ann@far.example" };

	snprintf(r.recipient, sizeof(r.recipient), "%s", recipient);
	return resolve_mailbox(c, users, &r, m, why, sizeof(why));
}

static void root_and_system_users_get_no_mail(void **state)
{
	static const char text[] = "[mta]\nrole = home\nhostname = h.example\nedge = e\n"
				   "[deliver]\ndomains = d.example\nusers = u\nsystem-users = no\n";
	static const char lines[] = "root = root\nzero = 0\nlow = daemon\ngone = nosuchuser\n"
				    "none = 65534\n";
	struct conf *c = conf_parse(&config_schema, "/c", text, sizeof(text) - 1);
	struct mta_config *config = config_new(c);
	struct table users = { 0 };
	struct mailbox m;

	(void)state;
	assert_non_null(config);
	assert_int_equal(table_parse(&users, lines, sizeof(lines) - 1, "=", why, sizeof(why)), 0);
	assert_int_equal(resolve(config, &users, "root@d.example", &m),
			 -EPERM);
	assert_int_equal(resolve(config, &users, "zero@d.example", &m),
			 -EPERM);
	assert_int_equal(resolve(config, &users, "low@d.example", &m),
			 -EPERM);
	if (getpwuid(65534))
		assert_int_equal(
		    resolve(config, &users, "none@d.example", &m),
		    -EPERM);
	assert_int_equal(resolve(config, &users, "gone@d.example", &m),
			 -ENOENT);
	assert_int_equal(resolve(config, &users, "nobody@d.example", &m),
			 -ENOENT);
	assert_int_equal(
	    resolve(config, &users, "root@other.example", &m), -ENOENT);
	assert_true(config_user_gets_mail(1000, 1000, 100));
	assert_false(config_user_gets_mail(1000, 999, 100));
	assert_false(config_user_gets_mail(1000, 1000, 0));
	assert_false(config_user_gets_mail(0, 0, 100));
	assert_false(config_user_gets_mail(1000, 65534, 65534));
	assert_false(config_user_gets_mail(1000, 65535, 100));
	assert_false(config_user_gets_mail(1000, UINT32_MAX, 100));
	assert_true(config_user_gets_mail(1000, 1000001, 1000001)); /* of a directory service */
	table_clear(&users);
	config_free(config);
	conf_free(c);
}

/* Lookup has taken such letters for the catch-all: here they must not wait for a user who gets none. */
static void users_who_get_no_mail_do_not_stand_before_the_rest(void **state)
{
	static const char text[] = "[mta]\nrole = home\nhostname = h.example\nedge = e\n"
				   "[deliver]\ndomains = d.example, e.example\nusers = u\n"
				   "uid-min = 1\ncatch-all = rest\n";
	static const char lines[] = "rest = daemon rest\n@e.example = daemon %l\n";
	struct conf *c = conf_parse(&config_schema, "/c", text, sizeof(text) - 1);
	struct mta_config *config = config_new(c);
	struct table users = { 0 };
	struct mailbox m;

	(void)state;
	assert_non_null(config);
	assert_int_equal(table_parse(&users, lines, sizeof(lines) - 1, "=", why, sizeof(why)), 0);
	assert_int_equal(resolve(config, &users, "daemon@d.example", &m), 0);
	assert_string_equal(m.dir, "Maildir");
	assert_int_equal(resolve(config, &users, "root@d.example", &m), 0);
	assert_string_equal(m.dir, "rest");
	assert_int_equal(resolve(config, &users, "root+x@e.example", &m), 0);
	assert_string_equal(m.dir, "root");
	table_clear(&users);
	config_free(config);
	conf_free(c);
}

static void a_body_that_can_still_change_is_refused(void **state)
{
	int file = open(base, O_TMPFILE | O_RDWR, 0600), fd = memfd_create("t", MFD_ALLOW_SEALING);

	(void)state;
	assert_int_equal(write(file, "body", 4), 4);
	assert_int_equal(write(fd, "body", 4), 4);
	assert_int_equal(deliver_body_check(file, 4), -EPROTO); /* knows no seals at all */
	assert_int_equal(deliver_body_check(fd, 4), -EPROTO);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK), 0);
	assert_int_equal(deliver_body_check(fd, 4), -EPROTO);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW), 0);
	assert_int_equal(deliver_body_check(fd, 5), -EPROTO);
	assert_int_equal(deliver_body_check(fd, 4), 0);
	assert_int_equal(deliver_body_check(STDERR_FILENO, 0), -EPROTO);
	close(file);
	close(fd);
}

/* Letters of a byte each in @folder/@part. */
static void fill(int dir, const char *folder, const char *part, int count)
{
	char path[100];
	int fd;

	mkdirat(dir, folder, 0700);
	snprintf(path, sizeof(path), "%s/%s", folder, part);
	mkdirat(dir, path, 0700);
	for (int i = 0; i < count; i++) {
		snprintf(path, sizeof(path), "%s/%s/%d", folder, part, i);
		fd = openat(dir, path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
		assert_int_equal(write(fd, "x", 1), 1);
		close(fd);
	}
}

static void note(int dir, const char *text)
{
	int fd = openat(dir, "maildirsize", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static void a_huge_maildir_is_counted_in_slices_and_refuses_nobody_meanwhile(void **state)
{
	int dir = maildir_open(home, "Maildir", geteuid(), why, sizeof(why)), fd, slices;
	struct quota_limit all = { .letters = 2101 }, full = { .letters = 2100 };
	char text[200] = "";

	(void)state;
	fill(dir, ".", "cur", 1000);
	fill(dir, ".", "new", 100);
	fill(dir, ".Lists", "cur", 600);
	fill(dir, ".Old", "new", 400);
	/* Nobody knows: the letters come in until it is known, and then there is room for one. */
	for (slices = 0; slices < 50 && faccessat(dir, "maildirsize", F_OK, 0); slices++)
		assert_int_equal(quota_room(dir, &all, 1, 0), 0);
	assert_in_range(slices, 4, 10);
	fd = openat(dir, "maildirsize", O_RDONLY | O_CLOEXEC);
	assert_true(read(fd, text, sizeof(text) - 1) > 0);
	close(fd);
	assert_string_equal(text, "2101C\n2100 2100\n");
	assert_int_not_equal(faccessat(dir, "maildirsize.part", F_OK, 0), 0);
	assert_int_equal(quota_room(dir, &all, 1, 0), 0);
	/* It was full: later, until it is known that it still is. */
	note(dir, "2100C\n2100 2100\n");
	for (slices = 0; slices < 50 && quota_room(dir, &full, 1, 0) == -EAGAIN; slices++)
		;
	assert_in_range(slices, 4, 10);
	note(dir, "2100C\n2100 2100\n");
	assert_int_equal(quota_room(dir, &full, 1, QUOTA_SLICE_MS), -EDQUOT);
	assert_int_equal(unlinkat(dir, ".Old/new/7", 0), 0);
	assert_int_equal(quota_room(dir, &full, 1, QUOTA_SLICE_MS), 0);
	/* A place that nobody wrote leads nowhere else. */
	fd = openat(dir, "maildirsize.part", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(write(fd, "1 2 3 7 99999999999999999999 9 -5 rubbish", 41) == 41);
	close(fd);
	note(dir, "rubbish");
	assert_int_equal(quota_room(dir, &full, 1, QUOTA_SLICE_MS), 0);
	assert_int_equal(quota_room(dir, &full, 1, QUOTA_SLICE_MS), 0);
	close(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_letter_lies_in_new_with_its_two_fields, begin,
						finish),
		cmocka_unit_test_setup_teardown(
		    mail_case_079_letters_of_one_second_have_names_of_their_own, begin, finish),
		cmocka_unit_test_setup_teardown(
		    mail_case_079_a_delivery_that_dies_anywhere_shows_one_copy, begin, finish),
		cmocka_unit_test_setup_teardown(
		    mail_case_079_a_letter_that_comes_again_is_there_once, begin, finish),
		cmocka_unit_test_setup_teardown(
		    a_letter_that_comes_again_waits_where_cur_cannot_be_read, begin, finish),
		cmocka_unit_test_setup_teardown(a_home_whose_rename_takes_no_flags_gets_its_letters,
						begin, finish),
		cmocka_unit_test_setup_teardown(a_delivery_reaches_its_home_and_nothing_else, begin,
						finish),
		cmocka_unit_test(a_landlock_that_lets_no_letter_move_is_left_alone),
		cmocka_unit_test_setup_teardown(links_lead_nowhere, begin, finish),
		cmocka_unit_test_setup_teardown(a_body_that_ends_early_leaves_nothing, begin,
						finish),
		cmocka_unit_test(forged_requests_are_refused),
		cmocka_unit_test(root_and_system_users_get_no_mail),
		cmocka_unit_test(users_who_get_no_mail_do_not_stand_before_the_rest),
		cmocka_unit_test_setup_teardown(a_body_that_can_still_change_is_refused, begin,
						finish),
		cmocka_unit_test_setup_teardown(
		    a_huge_maildir_is_counted_in_slices_and_refuses_nobody_meanwhile, begin, finish),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
