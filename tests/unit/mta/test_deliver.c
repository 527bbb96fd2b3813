/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "deliver.h"
#include "maildir.h"
#include "resolve.h"

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
	struct maildir_letter l = { .sender = "a@b.example",
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
	for (int i = 0; i < 3; i++)
		assert_int_equal(maildir_put(dir, &l, why, sizeof(why)), 0);
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
	struct deliver_request r = { .size = 5, .number = 9, .recipient = "joe@d.example" }, got;
	uint8_t b[DELIVER_PACKET_MAX];
	size_t len;

	(void)state;
	assert_int_equal(deliver_request_build(&r, b, &len), 0);
	assert_int_equal(deliver_request_parse(&got, b, len), 0);
	assert_string_equal(got.recipient, "joe@d.example");
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

static void root_and_system_users_get_no_mail(void **state)
{
	static const char text[] = "[mta]\nrole = home\nhostname = h.example\nedge = e\n"
				   "[deliver]\ndomains = d.example\nusers = u\nsystem-users = no\n";
	static const char lines[] = "root = root\nzero = 0\nlow = daemon\ngone = nosuchuser\n";
	struct conf *c = conf_parse(&config_schema, "/c", text, sizeof(text) - 1);
	struct mta_config *config = config_new(c);
	struct table users = { 0 };
	struct mailbox m;

	(void)state;
	assert_non_null(config);
	assert_int_equal(table_parse(&users, lines, sizeof(lines) - 1, "=", why, sizeof(why)), 0);
	assert_int_equal(resolve_mailbox(config, &users, "root@d.example", &m, why, sizeof(why)),
			 -EPERM);
	assert_int_equal(resolve_mailbox(config, &users, "zero@d.example", &m, why, sizeof(why)),
			 -EPERM);
	assert_int_equal(resolve_mailbox(config, &users, "low@d.example", &m, why, sizeof(why)),
			 -EPERM);
	assert_int_equal(resolve_mailbox(config, &users, "gone@d.example", &m, why, sizeof(why)),
			 -ENOENT);
	assert_int_equal(resolve_mailbox(config, &users, "nobody@d.example", &m, why, sizeof(why)),
			 -ENOENT);
	assert_int_equal(
	    resolve_mailbox(config, &users, "root@other.example", &m, why, sizeof(why)), -ENOENT);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_letter_lies_in_new_with_its_two_fields, begin,
						finish),
		cmocka_unit_test_setup_teardown(links_lead_nowhere, begin, finish),
		cmocka_unit_test_setup_teardown(a_body_that_ends_early_leaves_nothing, begin,
						finish),
		cmocka_unit_test(forged_requests_are_refused),
		cmocka_unit_test(root_and_system_users_get_no_mail),
		cmocka_unit_test_setup_teardown(a_body_that_can_still_change_is_refused, begin,
						finish),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
