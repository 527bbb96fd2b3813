/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "parent.h"

static char folder[64], path[108];
static struct mta_config config = { .events = path, .tunnel = true };
static struct parent p;

/* What the parent would do with the news. */
void listen_update(struct parent *parent)
{
	(void)parent;
}

void parent_send_tunnel(struct parent *parent, struct proc *to)
{
	(void)parent;
	(void)to;
}

static int posternd_starts(void)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(at.sun_path, sizeof(at.sun_path), "%s", path);
	unlink(path);
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(fd, 4), 0);
	return fd;
}

static void turns_until_connected(unsigned turns)
{
	for (; turns && !p.events; turns--)
		assert_int_equal(loop_once(p.loop, 1000), 0);
	assert_non_null(p.events);
}

static int start(void **state)
{
	(void)state;
	snprintf(folder, sizeof(folder), "/tmp/postern-events.XXXXXX");
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/run/events.sock", folder);
	p = (struct parent){ .config = &config, .loop = loop_new() };
	assert_non_null(p.loop);
	events_start(&p);
	return 0;
}

static int stop(void **state)
{
	char run[80];

	(void)state;
	events_stop(&p);
	tunnel_clear(&p.tunnel);
	loop_free(p.loop);
	unlink(path);
	snprintf(run, sizeof(run), "%s/run", folder);
	rmdir(run);
	return rmdir(folder);
}

static void make_run(void)
{
	char run[80];

	snprintf(run, sizeof(run), "%s/run", folder);
	assert_int_equal(mkdir(run, 0755), 0);
}

static void a_posternd_that_starts_is_noticed_by_its_name(void **state)
{
	int fd;

	(void)state;
	make_run();
	assert_int_equal(loop_once(p.loop, 1000), 0);
	assert_null(p.events);
	/* So that only the name can hasten it. */
	timer_clear(loop_timers(p.loop), &p.events_timer);
	fd = posternd_starts();
	turns_until_connected(20);
	close(fd);
}

static void another_name_in_its_folder_is_none_of_ours(void **state)
{
	char other[108];
	FILE *f;

	(void)state;
	make_run();
	assert_int_equal(loop_once(p.loop, 1000), 0);
	timer_clear(loop_timers(p.loop), &p.events_timer);
	snprintf(other, sizeof(other), "%s/run/events.soc", folder);
	f = fopen(other, "w");
	assert_non_null(f);
	fclose(f);
	assert_int_equal(loop_once(p.loop, 20), 0);
	assert_false(timer_armed(&p.events_timer));
	unlink(other);
}

static void a_folder_that_comes_later_is_found(void **state)
{
	int fd;

	(void)state;
	assert_int_equal(loop_once(p.loop, 1000), 0);
	make_run();
	assert_int_equal(loop_once(p.loop, 1000), 0); /* the next try */
	assert_null(p.events);
	timer_clear(loop_timers(p.loop), &p.events_timer);
	fd = posternd_starts();
	turns_until_connected(20);
	close(fd);
}

static void one_that_was_started_anew_is_found(void **state)
{
	int fd, old, session;

	(void)state;
	make_run();
	old = posternd_starts();
	turns_until_connected(20);
	session = accept(old, NULL, NULL);
	assert_true(session >= 0);
	/* The next one is there before the end of the last one was seen. */
	fd = posternd_starts();
	close(session);
	close(old);
	for (int i = 0; i < 10 && p.events; i++)
		assert_int_equal(loop_once(p.loop, 1000), 0);
	assert_null(p.events);
	turns_until_connected(20);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, start, stop)
		T(a_posternd_that_starts_is_noticed_by_its_name),
		T(another_name_in_its_folder_is_none_of_ours),
		T(a_folder_that_comes_later_is_found),
		T(one_that_was_started_anew_is_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
