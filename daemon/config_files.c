/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What `postern check` adds to the configuration's own checks: the files that it names. */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "psk.h"
#include "secret.h"
#include "sign.h"
#include "view.h"

static void blame(struct config *cfg, const struct conf_section *s, const char *key,
		  const char *path, const char *why)
{
	conf_error(cfg->conf, conf_line(s, key), "%s = %s: %s", key, path, why);
}

static void check_secret(struct config *cfg, const struct conf_section *s, const char *key,
			 const struct conf_files *files)
{
	const char *path = conf_text(s, key);
	char *text = NULL, why[CONF_WHY_MAX];
	struct secret sec = { 0 };
	struct privkey *k = NULL;
	const char *fault;
	size_t len = 0;
	int rc;

	if (!path)
		return;
	rc = files->read(files->arg, path, CONF_SECRET_FILE, &text, &len, why, sizeof(why));
	if (rc == -EACCES && geteuid() != 0)
		return; /* not ours to read: root will check it at start */
	if (rc) {
		blame(cfg, s, key, path, why);
		return;
	}
	if (!strcmp(key, "psk")) {
		fault = psk_fault((uint8_t *)text, psk_trim((uint8_t *)text, len));
		if (fault)
			blame(cfg, s, key, path, fault);
	} else {
		rc = secret_set(&sec, text, len ? len : 1);
		rc = rc ? rc : privkey_load(&sec, &k);
		if (rc == -ENOTSUP)
			blame(cfg, s, key, path,
			      "is of a type or size that Postern does not have (" KEY_TYPES_TAKEN
			      "); make one with postern keygen");
		else if (rc)
			blame(cfg, s, key, path,
			      "holds no private key; make one with postern keygen");
	}
	secret_wipe(text, len);
	free(text);
	secret_clear(&sec);
	privkey_free(k);
}

void config_files_check(struct config *cfg, const struct conf_files *files)
{
	const struct conf_section *s = conf_find(cfg->conf, "posternd", "");
	char why[2 * CONF_WHY_MAX];

	if (!conf_ok(cfg->conf))
		return;
	check_secret(cfg, s, "private-key", files);
	if (cfg->hook && config_hook_check(cfg->hook, why, sizeof(why)))
		blame(cfg, s, "hook", cfg->hook, why);
	s = NULL;
	for (size_t i = 0; i < cfg->peer_count; i++) {
		const struct config_peer *p = &cfg->peers[i];
		struct view *v;

		s = p->of ? conf_find(cfg->conf, "peer", p->of->name)
			  : conf_next(cfg->conf, "peer", s);
		check_secret(cfg, s, "private-key", files);
		check_secret(cfg, s, "psk", files);
		v = view_new(p, files, KEY_NONE, NULL, NULL, why, sizeof(why));
		if (!v)
			conf_error(cfg->conf,
				   conf_line(s, p->auth == CONFIG_AUTH_RAW ? "public-key" : "ca"),
				   "[peer %s] %s", p->name, why);
		view_free(v);
	}
}

int config_judge(const char *path)
{
	struct config *cfg = config_load(path);
	int rc;

	if (!cfg) {
		fprintf(stderr, "%s: out of memory\n", path);
		return 1;
	}
	config_files_check(cfg, &conf_files_disk);
	rc = conf_ok(cfg->conf) ? 0 : 1;
	if (rc)
		fprintf(stderr, "%s\n", cfg->conf->errors);
	else
		printf("%s: %zu peer%s, nothing wrong\n", path, cfg->peer_count,
		       cfg->peer_count == 1 ? "" : "s");
	config_free(cfg);
	return rc;
}
