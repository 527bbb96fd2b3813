/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sendmail.h"

#include <errno.h>
#include <getopt.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sysexits.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "base64.h"
#include "config.h"
#include "envelope.h"

#define MTA_CONF "/etc/postern/mta.conf"

/* What programs write: letters that stand for something, and those that once did. */
struct options {
	const char *config, *sender, *fullname, *notify, *ret, *envid;
	bool take_rcpts, no_dot, pipe, verbose;
};

static const char usage_text[] =
    "usage: sendmail [-t] [-i|-oi] [-v] [-f|-r SENDER] [-F NAME] [-N WHEN] [-R full|hdrs]\n"
    "                [-V ENVID] [-C MTA.CONF] [RECIPIENT ...]\n"
    "       sendmail -bs | -bp | -bi | --version\n";

static int fail(int status, const char *what, const char *which)
{
	fprintf(stderr, "sendmail: %s%s%s; the letter was not sent\n", what, which ? ": " : "",
		which ? which : "");
	return status;
}

/* --- this machine --- */

static void set_listener(struct place *p, const struct mta_config *c)
{
	static const uint8_t loopback6[16] = { [15] = 1 };

	for (size_t i = 0; i < c->listener_count; i++) {
		const struct mta_listener *l = &c->listeners[i];

		for (size_t k = 0; k < l->address_count && l->class == LISTEN_LAN; k++) {
			const struct listen_addr *a = &l->addresses[k];
			const struct addr *ip = &a->ep.addr;
			bool six = addr_len(ip) == 16 && !memcmp(ip->b, loopback6, 16);

			if (a->tunnel ||
			    (!a->any && !six && (addr_len(ip) != 4 || ip->b[0] != 127)))
				continue;
			p->port = a->ep.port;
			if (a->any)
				snprintf(p->host, sizeof(p->host), "127.0.0.1");
			else
				addr_str(ip, p->host);
			return;
		}
	}
}

/* "root" of a cron job is to be somebody here: in a domain that is delivered here. */
static void set_names(struct place *p, const struct mta_config *c)
{
	const struct strv *d = &c->deliver.domains;
	const char *domain = d->count ? d->v[0] : c->hostname;

	for (size_t i = 0; i < d->count; i++)
		if (!strcmp(d->v[i], c->hostname))
			domain = c->hostname;
	snprintf(p->hostname, sizeof(p->hostname), "%s", c->hostname);
	snprintf(p->domain, sizeof(p->domain), "%s", domain);
}

static void set_user(struct place *p)
{
	const struct passwd *pw = getpwuid(getuid());
	char number[32], *comma;

	snprintf(number, sizeof(number), "u%lu", (unsigned long)getuid());
	p->user = strdup(pw ? pw->pw_name : number);
	p->fullname = strdup(pw && pw->pw_gecos ? pw->pw_gecos : "");
	comma = p->fullname ? strchr(p->fullname, ',') : NULL;
	if (comma)
		*comma = 0;
}

/* mta.conf, where it can be read; 0 or the exit status. */
static int look_around(struct place *p, const char *path)
{
	struct conf *conf = NULL;
	struct mta_config *c = NULL;

	snprintf(p->host, sizeof(p->host), "127.0.0.1");
	p->port = 25;
	if (gethostname(p->hostname, sizeof(p->hostname) - 1) || !p->hostname[0])
		snprintf(p->hostname, sizeof(p->hostname), "localhost");
	snprintf(p->domain, sizeof(p->domain), "%s", p->hostname);
	set_user(p);
	if (!p->user)
		return fail(EX_OSERR, "out of memory", NULL);
	if (path || !access(MTA_CONF, R_OK)) {
		conf = conf_load(&config_schema, path ? path : MTA_CONF);
		c = conf && conf_ok(conf) ? config_new(conf) : NULL;
	}
	if (path && !c) {
		fail(EX_CONFIG, conf && conf->errors ? conf->errors : "no configuration", path);
		conf_free(conf);
		return EX_CONFIG;
	}
	if (c) {
		set_names(p, c);
		set_listener(p, c);
	}
	config_free(c);
	conf_free(conf);
	return 0;
}

/* --- the fields that lack --- */

static bool plain(const char *s)
{
	for (; *s; s++)
		if ((*s < 'a' || *s > 'z') && (*s < 'A' || *s > 'Z') && (*s < '0' || *s > '9') &&
		    *s != ' ' && *s != '-' && *s != '_' && *s != '\'')
			return false;
	return true;
}

/* A display name (RFC 5322 s3.2.5, RFC 2047 beyond ASCII), a blank behind it; nothing when it is too long. */
static void put_name(FILE *f, const char *name)
{
	char text[BASE64_ROOM(45)];
	bool ascii = true;

	for (const char *p = name; *p; p++)
		ascii &= !(*p & 0x80);
	if (!*name || strlen(name) > (ascii ? 200 : 45))
		return;
	if (!ascii) {
		base64_encode(name, strlen(name), text);
		fprintf(f, "=?UTF-8?B?%s?= ", text);
		return;
	}
	if (plain(name)) {
		fprintf(f, "%s ", name);
		return;
	}
	fputc('"', f);
	for (; *name; name++)
		fprintf(f, "%s%c", strchr("\"\\", *name) ? "\\" : "", *name);
	fputs("\" ", f);
}

static char *missing_fields(const struct message *m, const struct place *p, const char *name,
			    const char *from)
{
	char *text = NULL, when[64], id[LETTER_ID_STR_MAX];
	uint8_t random[LETTER_ID_LEN] = { 0 };
	time_t now = time(NULL);
	struct tm tm;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	if (!f)
		return NULL;
	if (!m->has_date) {
		strftime(when, sizeof(when), "%a, %d %b %Y %H:%M:%S %z", localtime_r(&now, &tm));
		fprintf(f, "Date: %s\r\n", when);
	}
	if (!m->has_message_id && getrandom(random, sizeof(random), 0) == sizeof(random))
		fprintf(f, "Message-ID: <%s@%s>\r\n", letter_id_str(random, id), p->hostname);
	if (!m->has_from) {
		fputs("From: ", f);
		put_name(f, name);
		fprintf(f, "<%s>\r\n", from);
	}
	return fclose(f) ? NULL : text;
}

/* --- options --- */

static int take_mode(struct options *o, const char *arg)
{
	if (!strcmp(arg, "m"))
		return 0;
	if (!strcmp(arg, "s")) {
		o->pipe = true;
		return 0;
	}
	if (!strcmp(arg, "i")) {
		puts("aliases are read by postern-mta when their file changes");
		exit(EX_OK);
	}
	if (!strcmp(arg, "p")) {
		execlp("postern", "postern", "mail", "queue", (char *)NULL);
		return fail(EX_OSFILE, "postern cannot be run", strerror(errno));
	}
	fprintf(stderr,
		"sendmail: -b%s is not for this program: postern-mta is a service of its own\n",
		arg);
	return EX_USAGE;
}

static int notify_ok(const char *s)
{
	static const char *const words[] = { "success", "failure", "delay" };

	if (!strcasecmp(s, "never"))
		return 0;
	while (*s) {
		size_t n = strcspn(s, ","), i = 0;

		while (i < 3 && (strlen(words[i]) != n || strncasecmp(words[i], s, n)))
			i++;
		if (i == 3)
			return -EINVAL;
		s += n + (s[n] == ',' && s[n + 1]);
	}
	return 0;
}

/* xtext (RFC 3461 s4): printable, without blanks, + and =. */
static bool xtext_ok(const char *s)
{
	size_t n = strlen(s);

	for (; *s; s++)
		if (*s < '!' || *s > '~' || *s == '+' || *s == '=')
			return false;
	return n && n <= 100;
}

static bool clean(const char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < ' ' || *s == 127)
			return false;
	return true;
}

static int check_options(const struct options *o)
{
	if (o->fullname && !clean(o->fullname))
		return fail(EX_USAGE, "-F with a control character", NULL);
	if (o->notify && notify_ok(o->notify))
		return fail(EX_USAGE, "-N is never, or success, failure, delay with commas",
			    o->notify);
	if (o->ret && strcasecmp(o->ret, "full") && strcasecmp(o->ret, "hdrs"))
		return fail(EX_USAGE, "-R is full or hdrs", o->ret);
	if (o->envid && !xtext_ok(o->envid))
		return fail(EX_USAGE,
			    "-V is up to 100 printable characters without + and =", o->envid);
	return 0;
}

/* What changes nothing here is taken and forgotten: cron, mailx, mutt and PHP write it. */
static int options(struct options *o, int argc, char **argv)
{
	static const struct option longs[] = { { "help", no_argument, NULL, 'Z' },
					       { "version", no_argument, NULL, 'Y' },
					       { 0 } };
	int c, rc;

	opterr = 0;
	while ((c = getopt_long(argc, argv,
				"+:A:B:C:E:F:GIL:N:O:R:TUV:X:b:ce:f:h:imno:p:q::r:tvxd::", longs,
				NULL)) >= 0) {
		switch (c) {
		case 't':
			o->take_rcpts = true;
			break;
		case 'i':
			o->no_dot = true;
			break;
		case 'o':
			o->no_dot |= !strcmp(optarg, "i");
			break;
		case 'f':
		case 'r':
			o->sender = optarg;
			break;
		case 'F':
			o->fullname = optarg;
			break;
		case 'C':
			o->config = optarg;
			break;
		case 'N':
			o->notify = optarg;
			break;
		case 'R':
			o->ret = optarg;
			break;
		case 'V':
			o->envid = optarg;
			break;
		case 'v':
			o->verbose = true;
			break;
		case 'b':
			rc = take_mode(o, optarg);
			if (rc)
				return rc;
			break;
		case 'q':
			fputs("sendmail: -q is not for this program; see: postern mail flush\n",
			      stderr);
			return EX_USAGE;
		case 'Y':
			puts("sendmail of postern " POSTERN_VERSION);
			exit(EX_OK);
		case 'Z':
			fputs(usage_text, stdout);
			exit(EX_OK);
		case ':':
		case '?':
			fprintf(stderr, "sendmail: option -%c %s; the letter was not sent\n%s",
				optopt, c == ':' ? "needs a value" : "is not known", usage_text);
			return EX_USAGE;
		default:
			break;
		}
	}
	return check_options(o);
}

/* --- from beginning to end --- */

static int reading(int rc, const struct message *m)
{
	switch (rc) {
	case 0:
		return 0;
	case -EBADMSG:
		return fail(EX_DATAERR, "no address, or too many of them", m->bad);
	case -E2BIG:
		return fail(EX_DATAERR, "its header is longer than 1 MiB", NULL);
	case -ENOSPC:
		return fail(EX_TEMPFAIL, "no room for a copy of the letter", strerror(errno));
	case -EIO:
		return fail(EX_IOERR, "standard input cannot be read", NULL);
	default:
		return fail(EX_OSERR, "out of memory", NULL);
	}
}

/* The envelope's sender without brackets. */
static int set_sender(char out[static ADDRESS_MAX + 1], const char *given, const struct place *p)
{
	char bad[ADDRESS_MAX + 1];
	struct rcpts one = { 0 };
	int rc;

	if (given && (!*given || !strcmp(given, "<>"))) {
		*out = 0;
		return 0;
	}
	given = given ? given : p->user;
	rc = clean(given) ? rcpts_add(&one, given, strlen(given), p->hostname, bad) : -EBADMSG;
	if (!rc && one.count == 1)
		memcpy(out, one.v[0], ADDRESS_MAX + 1);
	rc = rc || one.count != 1;
	free(one.v);
	return rc ? fail(EX_USAGE, "the sender is no address", clean(given) ? given : NULL) : 0;
}

static int send_letter(const struct options *o, const struct place *p, struct message *m)
{
	char sender[ADDRESS_MAX + 1], reply[512] = "", *added;
	const char *name = o->fullname ? o->fullname : p->fullname ? p->fullname : "";
	struct submission s = { .place = p,
				.sender = sender,
				.rcpts = &m->rcpts,
				.message = m,
				.notify = o->notify,
				.ret = o->ret,
				.envid = o->envid };
	char from[ADDRESS_MAX + 300];
	int status = set_sender(sender, o->sender, p);

	if (status)
		return status;
	if (!m->rcpts.count)
		return fail(EX_USAGE, "no recipients", NULL);
	snprintf(from, sizeof(from), "%s%s%s", *sender ? sender : p->user, *sender ? "" : "@",
		 *sender ? "" : p->hostname);
	added = missing_fields(m, p, clean(name) ? name : "", from);
	s.added = added ? added : "";
	status = added ? submit(&s, reply, sizeof(reply)) : fail(EX_OSERR, "out of memory", NULL);
	free(added);
	openlog("postern-sendmail", LOG_PID, LOG_MAIL);
	syslog(LOG_INFO, "user=%s uid=%lu from=<%s> rcpts=%zu status=%d reply=\"%s\"", p->user,
	       (unsigned long)getuid(), sender, m->rcpts.count, status, reply);
	if (!status && o->verbose)
		printf("%s\n", reply);
	return status;
}

static int run(const struct options *o, const struct place *p, int argc, char **argv)
{
	struct message m = { 0 };
	int status, rc = 0;

	if (o->pipe)
		return submit_pipe(p);
	status = reading(message_read(&m, stdin, !o->no_dot, o->take_rcpts, p->domain), &m);
	for (int i = optind; i < argc && !status && !rc; i++)
		rc = clean(argv[i])
			 ? rcpts_add(&m.rcpts, argv[i], strlen(argv[i]), p->domain, m.bad)
			 : -EBADMSG;
	if (!status)
		status = rc ? reading(rc, &m) : send_letter(o, p, &m);
	message_clear(&m);
	return status;
}

int main(int argc, char **argv)
{
	const char *name = strrchr(argv[0], '/') ? strrchr(argv[0], '/') + 1 : argv[0];
	struct options o = { 0 };
	struct place p = { 0 };
	int status;

	if (!strcmp(name, "mailq") || !strcmp(name, "newaliases"))
		return take_mode(&o, *name == 'm' ? "p" : "i");
	status = options(&o, argc, argv);
	if (!status)
		status = look_around(&p, o.config);
	if (!status)
		status = run(&o, &p, argc, argv);
	free(p.user);
	free(p.fullname);
	return status;
}
