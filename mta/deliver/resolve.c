/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "resolve.h"

#include <errno.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "user", "user directory", "user | command" */
static const char *take_value(const char *value, struct mailbox *m)
{
	size_t n = strcspn(value, " \t|");

	snprintf(m->user, sizeof(m->user), "%.*s", (int)n, value);
	value += n;
	return value + strspn(value, " \t");
}

/* As lookup sees it (tables.h): one who gets no mail has no name here, and is left to "@d" and the catch-all. */
static bool is_system_user(const struct mta_config *c, const char *name)
{
	const struct passwd *pw = *name && !strpbrk(name, "/\"\\ ") ? getpwnam(name) : NULL;

	return pw && config_user_gets_mail(c->deliver.uid_min, pw->pw_uid, pw->pw_gid);
}

/* In the order of tables.h. What stands behind the user, or NULL: nobody has that name. */
static const char *by_name(const struct mta_config *c, const struct table *users,
			   struct table_name *n, struct mailbox *m)
{
	bool virtual = config_is_virtual(c, n->domain);
	const char *value = table_find(users, c, n);

	if (value)
		return take_value(value, m);
	if (c->deliver.system_users && !virtual) {
		if (is_system_user(c, n->local))
			return take_value(n->local, m);
		if (is_system_user(c, n->base))
			return take_value(n->base, m);
	}
	value = table_find_rest(users, n);
	if (value)
		return take_value(value, m);
	if (!c->deliver.catch_all || virtual)
		return NULL;
	snprintf(n->local, sizeof(n->local), "%s", c->deliver.catch_all);
	snprintf(n->base, sizeof(n->base), "%s", c->deliver.catch_all);
	value = table_find(users, c, n);
	if (value)
		return take_value(value, m);
	return c->deliver.system_users && is_system_user(c, n->local) ? take_value(n->local, m) : NULL;
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
	if (!config_user_gets_mail(c->deliver.uid_min, m->uid, m->gid)) {
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

/* What a line says, or [deliver] where it says nothing. */
static int take_place(const struct mta_config *c, const char *value, const struct table_name *n,
		      const struct deliver_request *r, struct mailbox *m, char *why, size_t cap)
{
	size_t base = strlen(n->base);
	char id[LETTER_ID_STR_MAX];
	const struct template_values v = { .user = m->user,
					   .home = m->home,
					   .local = n->base,
					   .extension = n->local[base] ? n->local + base + 1 : "",
					   .domain = n->domain,
					   .recipient = r->recipient,
					   .sender = r->sender,
					   .id = letter_id_str(r->id, id) };

	const char *command = *value == '|' ? value + 1 : *value ? NULL : c->deliver.pipe;
	int rc;

	if (command) {
		snprintf(m->box, sizeof(m->box), "%s@%s", n->base, n->domain);
		return template_command(command, &v, &m->command, why, cap);
	}
	rc = template_dir(*value ? value : c->deliver.maildir, &v, m->dir, sizeof(m->dir), why,
			  cap);
	snprintf(m->box, sizeof(m->box), "%s", m->dir);
	return rc;
}

int resolve_mailbox(const struct mta_config *c, const struct table *users,
		    const struct deliver_request *r, struct mailbox *m, char *why, size_t cap)
{
	struct table_name n;
	const char *value;
	int rc;

	memset(m, 0, sizeof(*m));
	if (strlen(r->recipient) >= sizeof(n.local)) {
		snprintf(why, cap, "no such mailbox");
		return -ENOENT;
	}
	table_name(r->recipient, c->deliver.subaddress, &n);
	if (n.domain[0] && !config_is_local(c, n.domain)) {
		snprintf(why, cap, "the domain is not delivered here");
		return -ENOENT;
	}
	value = n.local[0] ? by_name(c, users, &n, m) : NULL;
	if (!value) {
		snprintf(why, cap, "no such mailbox");
		return -ENOENT;
	}
	rc = take_user(c, m, why, cap);
	return rc ? rc : take_place(c, value, &n, r, m, why, cap);
}
