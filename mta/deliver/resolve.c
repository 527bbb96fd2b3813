/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "resolve.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void lower(char *s)
{
	for (; *s; s++) {
		if (*s >= 'A' && *s <= 'Z')
			*s += 'a' - 'A';
	}
}

/* "user" or "user directory" */
static void take_value(const char *value, const char *dflt, struct mailbox *m)
{
	size_t n = strcspn(value, " \t");

	snprintf(m->user, sizeof(m->user), "%.*s", (int)n, value);
	value += n;
	value += strspn(value, " \t");
	snprintf(m->dir, sizeof(m->dir), "%s", *value ? value : dflt);
}

static int by_name(const struct mta_config *c, const struct table *users, const char *local,
		   struct mailbox *m)
{
	const char *value = table_get(users, local);

	if (value) {
		take_value(value, c->deliver.maildir, m);
		return 0;
	}
	if (!c->deliver.system_users || strpbrk(local, "/\"\\ ") || !getpwnam(local))
		return -ENOENT;
	take_value(local, c->deliver.maildir, m);
	return 0;
}

static int take_user(const struct mta_config *c, struct mailbox *m, char *why, size_t cap)
{
	char *end;
	unsigned long uid = strtoul(m->user, &end, 10);
	struct passwd *pw = *m->user && !*end ? getpwuid((uid_t)uid) : getpwnam(m->user);

	if (!pw) {
		snprintf(why, cap, "user %.32s does not exist", m->user);
		return -ENOENT;
	}
	m->uid = pw->pw_uid;
	m->gid = pw->pw_gid;
	snprintf(m->home, sizeof(m->home), "%s", pw->pw_dir);
	if (!m->uid || !m->gid || m->uid < c->deliver.uid_min) {
		snprintf(why, cap, "user %.32s may not get mail (uid %u, uid-min %u)", m->user,
			 m->uid, c->deliver.uid_min);
		return -EPERM;
	}
	if (m->home[0] != '/' || strlen(pw->pw_dir) >= sizeof(m->home)) {
		snprintf(why, cap, "user %.32s has no home directory", m->user);
		return -EPERM;
	}
	return 0;
}

int resolve_mailbox(const struct mta_config *c, const struct table *users, const char *recipient,
		    struct mailbox *m, char *why, size_t cap)
{
	const char *at = strrchr(recipient, '@');
	char local[512], domain[512], *sub;
	size_t n;
	int rc;

	memset(m, 0, sizeof(*m));
	snprintf(local, sizeof(local), "%.*s", (int)(at ? at - recipient : (long)strlen(recipient)),
		 recipient);
	snprintf(domain, sizeof(domain), "%s", at ? at + 1 : "");
	lower(local);
	lower(domain);
	n = strlen(local);
	if (n > 2 && local[0] == '"' && local[n - 1] == '"') {
		memmove(local, local + 1, n - 2);
		local[n - 2] = 0;
	}
	if (at && !config_is_local(c, domain)) {
		snprintf(why, cap, "the domain is not delivered here");
		return -ENOENT;
	}
	rc = by_name(c, users, local, m);
	sub = rc && c->deliver.subaddress ? strchr(local + 1, c->deliver.subaddress) : NULL;
	if (rc && n && sub) {
		*sub = 0;
		rc = by_name(c, users, local, m);
	}
	if (rc && c->deliver.catch_all)
		rc = by_name(c, users, c->deliver.catch_all, m);
	if (rc) {
		snprintf(why, cap, "no such mailbox");
		return rc;
	}
	return take_user(c, m, why, cap);
}
