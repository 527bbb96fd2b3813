/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <grp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "control.h"
#include "log.h"

static char dir[] = "/tmp/postern-control-XXXXXX";
static char path[64];
static struct loop *loop;
static struct control_server *server;
static struct control_ref later;
static int runs, depth, deepest;

static void do_echo(struct control_server *s, struct control_ref ref, const json_t *args, void *arg)
{
	(void)arg;
	runs++;
	depth++;
	deepest = depth > deepest ? depth : deepest;
	control_reply(s, ref, json_pack("{s:O}", "args", args));
	depth--;
}

static void do_fail(struct control_server *s, struct control_ref ref, const json_t *args, void *arg)
{
	(void)args, (void)arg;
	control_fail(s, ref, "no \"%s\"\n", "luck");
}

static void do_later(struct control_server *s, struct control_ref ref, const json_t *args,
		     void *arg)
{
	(void)s, (void)args, (void)arg;
	later = ref;
}

static uint64_t listed, list_end;

static json_t *element(void *arg, uint64_t *at)
{
	(void)arg;
	listed = *at;
	return *at < list_end ? json_pack("{s:I, s:s}", "n", (json_int_t)(*at)++, "text",
					  "so long that not many of them go at once")
			      : NULL;
}

static void do_list(struct control_server *s, struct control_ref ref, const json_t *args, void *arg)
{
	(void)args, (void)arg;
	control_reply_list(s, ref, json_pack("{s:i}", "b", 2), "list", element);
}

static const struct control_verb verbs[] = {
	{ "list", CONTROL_READ, do_list, NULL },
	{ "echo", CONTROL_READ, do_echo, NULL },
	{ "change", CONTROL_CHANGE, do_echo, NULL },
	{ "fail", CONTROL_READ, do_fail, NULL },
	{ "later", CONTROL_READ, do_later, NULL },
	{ NULL, 0, NULL, NULL },
};

static void greet(struct control_server *s, struct control_ref ref, void *arg)
{
	(void)arg;
	control_event_to(s, ref, json_pack("{s:s}", "event", "hello"));
}

static void serve(bool events, gid_t admin, bool anyone)
{
	struct control_config cfg = {
		.verbs = verbs,
		.admin_gid = admin,
		.anyone_may_read = anyone,
		.greet = events ? greet : NULL,
	};
	int fd = control_listen(path, 0666, (gid_t)-1);

	assert_true(fd >= 0);
	loop = loop_new();
	server = control_server_new(loop, fd, &cfg);
	assert_non_null(server);
}

static int accepts;

/* The linker puts it before the real one. */
int __real_accept4(int fd, struct sockaddr *sa, socklen_t *len, int flags);
int __wrap_accept4(int fd, struct sockaddr *sa, socklen_t *len, int flags);

int __wrap_accept4(int fd, struct sockaddr *sa, socklen_t *len, int flags)
{
	accepts++;
	return __real_accept4(fd, sa, len, flags);
}

static int stop(void **state)
{
	(void)state;
	control_server_free(server);
	server = NULL;
	if (loop)
		loop_free(loop);
	loop = NULL;
	return 0;
}

static void turn(int n)
{
	while (n--)
		assert_int_equal(loop_once(loop, 5), 0);
}

static int dial(void)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	strcpy(sun.sun_path, path);
	assert_int_equal(connect(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	return fd;
}

static void say(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
	turn(4);
}

static const char *hear(int fd)
{
	static char buf[8192];
	ssize_t n = recv(fd, buf, sizeof(buf) - 1, MSG_DONTWAIT);

	buf[n > 0 ? n : 0] = '\0';
	return n == 0 ? "EOF" : buf;
}

static void a_verb_is_answered_on_one_line(void **state)
{
	int fd;

	(void)state;
	serve(false, (gid_t)-1, true);
	fd = dial();
	say(fd, "{\"v\":1,\"verb\":\"echo\",\"args\":{\"a\":[1,\"x\\ny\"]}}\n");
	assert_string_equal(hear(fd), "{\"v\":1,\"ok\":true,\"args\":{\"a\":[1,\"x\\ny\"]}}\n");
	say(fd, "{\"v\":1,\"verb\":\"fail\"}\n");
	assert_string_equal(hear(fd), "{\"v\":1,\"ok\":false,\"error\":\"no \\\"luck\\\"\\n\"}\n");
	close(fd);
	turn(2);
}

static void bad_lines_are_answered_with_the_fault(void **state)
{
	static const struct {
		const char *line, *want;
	} t[] = {
		{ "nonsense\n", "not a JSON object: " },
		{ "[1]\n", "not a JSON object" },
		{ "{\"v\":2,\"verb\":\"echo\"}\n", "\\\"v\\\" must be 1" },
		{ "{\"v\":1}\n", "\\\"verb\\\" must be a string" },
		{ "{\"v\":1,\"verb\":\"echo\",\"args\":[]}\n", "\\\"args\\\" must be an object" },
		{ "{\"v\":1,\"verb\":\"nope\"}\n", "unknown verb \\\"nope\\\"" },
		{ "{\"v\":1,\"v\":1,\"verb\":\"echo\"}\n", "not a JSON object: duplicate" },
	};
	int fd;

	(void)state;
	serve(false, (gid_t)-1, true);
	fd = dial();
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		const char *got;

		say(fd, t[i].line);
		got = hear(fd);
		if (!strstr(got, t[i].want))
			fail_msg("%s -> %s", t[i].line, got);
		assert_non_null(strstr(got, "\"ok\":false"));
	}
	close(fd);
	turn(2);
}

static void many_lines_at_once_are_taken_in_order_without_recursion(void **state)
{
	char line[] = "{\"v\":1,\"verb\":\"echo\"}\n";
	char *many = malloc(sizeof(line) * 2000);
	int fd;

	(void)state;
	serve(false, (gid_t)-1, true);
	fd = dial();
	runs = 0;
	many[0] = '\0';
	for (int i = 0; i < 2000; i++)
		memcpy(many + (size_t)i * (sizeof(line) - 1), line, sizeof(line));
	say(fd, many);
	for (int i = 0; i < 100 && runs < 2000; i++) {
		turn(1);
		hear(fd);
	}
	assert_int_equal(runs, 2000);
	assert_int_equal(deepest, 1);
	free(many);
	close(fd);
	turn(2);
}

static void a_late_answer_holds_back_the_next_line(void **state)
{
	int fd;

	(void)state;
	serve(false, (gid_t)-1, true);
	fd = dial();
	say(fd, "{\"v\":1,\"verb\":\"later\"}\n{\"v\":1,\"verb\":\"echo\"}\n");
	assert_string_equal(hear(fd), "");
	control_reply(server, later, json_pack("{s:i}", "n", 7));
	turn(2);
	assert_string_equal(hear(fd),
			    "{\"v\":1,\"ok\":true,\"n\":7}\n{\"v\":1,\"ok\":true,\"args\":{}}\n");
	/* gone meanwhile: the answer is dropped */
	say(fd, "{\"v\":1,\"verb\":\"later\"}\n");
	turn(1);
	assert_true(control_here(server, later));
	close(fd);
	turn(3);
	assert_false(control_here(server, later));
	control_reply(server, later, NULL);
}

static void a_list_is_answered_as_one_line(void **state)
{
	int fd;

	(void)state;
	serve(false, (gid_t)-1, true);
	fd = dial();
	list_end = 0;
	say(fd, "{\"v\":1,\"verb\":\"list\"}\n{\"v\":1,\"verb\":\"echo\"}\n");
	turn(2);
	assert_string_equal(hear(fd), "{\"v\":1,\"ok\":true,\"b\":2,\"list\":[]}\n"
				      "{\"v\":1,\"ok\":true,\"args\":{}}\n");
	close(fd);
	turn(2);
}

/* Reads all that comes, until a line ends; the caller frees. */
static char *hear_line(int fd)
{
	size_t len = 0, cap = 4u << 20;
	char *all = malloc(cap);

	for (int i = 0; i < 100000 && (!len || all[len - 1] != '\n'); i++) {
		ssize_t n = read(fd, all + len, cap - 1 - len);

		len += n > 0 ? (size_t)n : 0;
		turn(1);
	}
	all[len] = '\0';
	return all;
}

static void a_long_list_is_made_as_the_client_reads(void **state)
{
	char *line, *end;
	json_t *o;
	int fd;

	(void)state;
	serve(false, (gid_t)-1, true);
	fd = dial();
	list_end = 20000;
	say(fd, "{\"v\":1,\"verb\":\"subscribe\"}\n");
	assert_string_equal(hear(fd), "{\"v\":1,\"ok\":true}\n");
	say(fd, "{\"v\":1,\"verb\":\"list\"}\n{\"v\":1,\"verb\":\"echo\"}\n");
	turn(30);
	assert_true(listed > 100 && listed < 15000); /* it does not read: no more is made */
	line = hear_line(fd);
	end = strchr(line, '\n');
	assert_non_null(end);
	*end = '\0';
	o = json_loads(line, 0, NULL);
	assert_int_equal(json_array_size(json_object_get(o, "list")), list_end);
	assert_int_equal(json_integer_value(json_object_get(
			     json_array_get(json_object_get(o, "list"), list_end - 1), "n")),
			 list_end - 1);
	json_decref(o);
	turn(2);
	assert_string_equal(end[1] ? end + 1 : hear(fd), "{\"v\":1,\"ok\":true,\"args\":{}}\n");
	free(line);
	/* An event meanwhile stands behind the list, not within. */
	say(fd, "{\"v\":1,\"verb\":\"list\"}\n{\"v\":1,\"verb\":\"echo\"}\n");
	turn(3);
	control_event(server, json_pack("{s:s}", "event", "peer"));
	line = hear_line(fd);
	turn(5);
	assert_non_null(strstr(line, "]}\n{\"v\":1,\"event\":\"peer\"}\n"));
	if (!strstr(line, "args"))
		assert_string_equal(hear(fd), "{\"v\":1,\"ok\":true,\"args\":{}}\n");
	free(line);
	/* Gone in the middle: nobody is asked any more. */
	say(fd, "{\"v\":1,\"verb\":\"list\"}\n");
	turn(3);
	close(fd);
	turn(5);
	assert_true(listed < 15000);
}

static void a_line_without_end_is_refused_and_the_client_closed(void **state)
{
	char *x = malloc(CONTROL_LINE_MAX + 1);
	const char *got;
	int fd;

	(void)state;
	serve(false, (gid_t)-1, true);
	fd = dial();
	memset(x, 'x', CONTROL_LINE_MAX);
	x[CONTROL_LINE_MAX] = '\0';
	say(fd, x);
	turn(10);
	got = hear(fd);
	assert_non_null(strstr(got, "a line of more than 65536 bytes"));
	turn(4);
	assert_string_equal(hear(fd), "EOF");
	free(x);
	close(fd);
}

static void subscribers_get_events_and_slow_ones_are_dropped(void **state)
{
	int fd, other;
	char big[60000];

	(void)state;
	serve(false, (gid_t)-1, true);
	fd = dial();
	other = dial();
	say(other, "");
	say(fd, "{\"v\":1,\"verb\":\"subscribe\"}\n");
	assert_string_equal(hear(fd), "{\"v\":1,\"ok\":true}\n");
	assert_int_equal(control_subscribers(server), 1);
	control_event(server, json_pack("{s:s}", "event", "peer"));
	turn(2);
	assert_string_equal(hear(fd), "{\"v\":1,\"event\":\"peer\"}\n");
	assert_string_equal(hear(other), "");
	memset(big, 'b', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	for (int i = 0; i < 200 && control_subscribers(server); i++)
		control_event(server, json_pack("{s:s}", "event", big));
	assert_int_equal(control_subscribers(server), 0);
	say(other, "{\"v\":1,\"verb\":\"echo\"}\n"); /* others live */
	assert_string_equal(hear(other), "{\"v\":1,\"ok\":true,\"args\":{}}\n");
	close(fd);
	close(other);
	turn(2);
}

static void one_client_too_many_is_told_so(void **state)
{
	int fd[CONTROL_CLIENTS_MAX + 1];

	(void)state;
	serve(false, (gid_t)-1, true);
	for (int i = 0; i <= CONTROL_CLIENTS_MAX; i++) {
		fd[i] = dial();
		turn(2);
	}
	assert_non_null(strstr(hear(fd[CONTROL_CLIENTS_MAX]), "too many clients"));
	close(fd[0]);
	turn(2);
	close(fd[CONTROL_CLIENTS_MAX]);
	fd[0] = dial();
	turn(1);
	say(fd[0], "{\"v\":1,\"verb\":\"echo\"}\n");
	assert_non_null(strstr(hear(fd[0]), "\"ok\":true"));
	for (int i = 0; i < CONTROL_CLIENTS_MAX; i++)
		close(fd[i]);
	turn(4);
}

static void events_sock_greets_and_does_not_listen(void **state)
{
	int fd;

	(void)state;
	serve(true, (gid_t)-1, false);
	fd = dial();
	turn(2);
	assert_string_equal(hear(fd), "{\"v\":1,\"event\":\"hello\"}\n");
	say(fd, "{\"v\":1,\"verb\":\"change\"}\n");
	assert_string_equal(hear(fd), "");
	control_event(server, json_pack("{s:s}", "event", "peer"));
	assert_string_equal(hear(fd), "{\"v\":1,\"event\":\"peer\"}\n");
	close(fd);
	turn(2);
}

/* A child of another user asks; the server turns here. Exit status: 0 ok, 1 refused, 2 else. */
static int ask_as(uid_t uid, gid_t gid, gid_t extra, const char *verb)
{
	pid_t pid = fork();
	int status = 0;

	if (!pid) {
		json_t *reply;
		char why[256];
		int rc;

		if (setgroups(extra == (gid_t)-1 ? 0 : 1, &extra) || setgid(gid) || setuid(uid))
			_exit(3);
		rc = control_call(path, verb, NULL, 30000, &reply, why, sizeof(why));
		_exit(!rc ? 0 : rc == -EREMOTEIO && strstr(why, "not allowed") ? 1 : 2);
	}
	while (waitpid(pid, &status, WNOHANG) == 0)
		turn(1);
	return WEXITSTATUS(status);
}

static void classes_follow_the_credentials_of_the_client(void **state)
{
	(void)state;
	if (geteuid() != 0) {
		print_message("needs root to become other users\n");
		skip();
	}
	serve(false, 3001, true);
	assert_int_equal(ask_as(0, 0, (gid_t)-1, "change"), 0);
	assert_int_equal(ask_as(2002, 2002, (gid_t)-1, "change"), 1);
	assert_int_equal(ask_as(2002, 2002, (gid_t)-1, "echo"), 0);
	assert_int_equal(ask_as(2002, 3001, (gid_t)-1, "change"), 0);
	assert_int_equal(ask_as(2002, 2002, 3001, "change"), 0);
	stop(NULL);
	serve(false, 3001, false);
	assert_int_equal(ask_as(2002, 2002, (gid_t)-1, "echo"), 1);
	assert_int_equal(ask_as(2002, 2002, (gid_t)-1, "subscribe"), 2); /* not even known */
}

/* Another user dials @n times, and waits for the answers. Exit status: how many were refused. */
static int dial_as(uid_t uid, int n)
{
	pid_t pid = fork();
	int status = 0;

	if (!pid) {
		int refused = 0;

		if (setgroups(0, NULL) || setgid(uid) || setuid(uid))
			_exit(255);
		for (int i = 0; i < n; i++) {
			int fd = dial();

			poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, 60000); /* it greets, or not */
			refused += strstr(hear(fd), "too many") != NULL;
		}
		_exit(refused);
	}
	while (waitpid(pid, &status, WNOHANG) == 0)
		turn(1);
	return WEXITSTATUS(status);
}

static void one_user_does_not_take_every_place(void **state)
{
	(void)state;
	if (geteuid() != 0) {
		print_message("needs root to become another user\n");
		skip();
	}
	serve(true, (gid_t)-1, false);
	assert_int_equal(dial_as(2002, CONTROL_PER_USER + 10), 10);
	turn(4);
	assert_int_equal(dial_as(2002, 1), 0); /* they are his again */
}

static int heard;
static int closed_err;

static void on_line(struct control_client *c, const json_t *obj, void *arg)
{
	(void)arg;
	if (!strcmp(json_string_value(json_object_get(obj, "event")), "bye")) {
		control_client_free(c);
		heard = -1;
		return;
	}
	heard++;
}

static void on_closed(struct control_client *c, int err, void *arg)
{
	(void)arg;
	closed_err = err;
	control_client_free(c);
}

static void the_loop_client_reads_events_and_may_free_itself(void **state)
{
	static const struct control_client_ops ops = { on_line, on_closed };
	struct control_client *c;

	(void)state;
	serve(true, (gid_t)-1, false);
	heard = 0;
	c = control_client_new(loop, path, &ops, NULL);
	assert_non_null(c);
	turn(3);
	assert_int_equal(heard, 1);
	control_event(server, json_pack("{s:s}", "event", "bye"));
	control_event(server, json_pack("{s:s}", "event", "more"));
	turn(3);
	assert_int_equal(heard, -1);
	c = control_client_new(loop, path, &ops, NULL);
	turn(3);
	control_server_free(server);
	server = NULL;
	turn(3);
	assert_int_equal(closed_err, -EPIPE);
	assert_null(control_client_new(loop, path, &ops, NULL));
	assert_int_equal(errno, ECONNREFUSED);
}

static int make_dir(void **state)
{
	(void)state;
	log_setup("test", LOG_LVL_ERR, 2);
	if (!mkdtemp(dir) || chmod(dir, 0755))
		return -1;
	snprintf(path, sizeof(path), "%s/s", dir);
	return 0;
}

static int remove_dir(void **state)
{
	(void)state;
	unlink(path);
	return rmdir(dir);
}

static void out_of_descriptors_accept_is_paused_and_goes_on(void **state)
{
	struct rlimit was, none;
	int fd;

	(void)state;
	serve(false, (gid_t)-1, true);
	fd = dial();
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
	none = was;
	none.rlim_cur = (rlim_t)fd + 1;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	accepts = runs = 0;
	turn(20);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
	assert_in_range(accepts, 1, 2);
	say(fd, "{\"v\":1,\"verb\":\"echo\"}\n");
	for (int i = 0; i < 12000 && !runs; i++)
		turn(1);
	assert_true(runs > 0);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(a_verb_is_answered_on_one_line, stop),
		cmocka_unit_test_teardown(bad_lines_are_answered_with_the_fault, stop),
		cmocka_unit_test_teardown(many_lines_at_once_are_taken_in_order_without_recursion,
					  stop),
		cmocka_unit_test_teardown(a_late_answer_holds_back_the_next_line, stop),
		cmocka_unit_test_teardown(a_list_is_answered_as_one_line, stop),
		cmocka_unit_test_teardown(a_long_list_is_made_as_the_client_reads, stop),
		cmocka_unit_test_teardown(a_line_without_end_is_refused_and_the_client_closed,
					  stop),
		cmocka_unit_test_teardown(subscribers_get_events_and_slow_ones_are_dropped, stop),
		cmocka_unit_test_teardown(one_client_too_many_is_told_so, stop),
		cmocka_unit_test_teardown(out_of_descriptors_accept_is_paused_and_goes_on, stop),
		cmocka_unit_test_teardown(one_user_does_not_take_every_place, stop),
		cmocka_unit_test_teardown(events_sock_greets_and_does_not_listen, stop),
		cmocka_unit_test_teardown(classes_follow_the_credentials_of_the_client, stop),
		cmocka_unit_test_teardown(the_loop_client_reads_events_and_may_free_itself, stop),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
