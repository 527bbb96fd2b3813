/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Runs a fuzz target over a folder of inputs as a plain test: each file whole, every truncation of
 * it (up to 4096 bytes), and a fixed, reproducible set of single-byte changes. A fault shows as a
 * crash or a sanitizer report; that the folder is empty is a failure too.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define INPUT_MAX (1 << 20)
#define FLIPS	  512

static void one(const uint8_t *data, size_t len)
{
	/* An exact heap copy, so that a read past the end is seen. */
	uint8_t *copy = malloc(len ? len : 1);

	if (!copy)
		abort();
	memcpy(copy, data, len);
	LLVMFuzzerTestOneInput(copy, len);
	free(copy);
}

static void variations(uint8_t *data, size_t len)
{
	uint32_t seed = 2463534242u;

	one(data, len);
	for (size_t n = 0; n < len && n < 4096; n++)
		one(data, n);
	for (int i = 0; len && i < FLIPS; i++) {
		size_t at;
		uint8_t was;

		seed ^= seed << 13;
		seed ^= seed >> 17;
		seed ^= seed << 5;
		at = seed % len;
		was = data[at];
		data[at] = (uint8_t)(seed >> 24);
		one(data, len);
		data[at] = was;
	}
}

int main(int argc, char **argv)
{
	static uint8_t buf[INPUT_MAX];
	int files = 0;

	for (int i = 1; i < argc; i++) {
		struct dirent *e;
		DIR *d = opendir(argv[i]);

		if (!d) {
			perror(argv[i]);
			return 1;
		}
		while ((e = readdir(d))) {
			char path[4096];
			size_t len;
			FILE *f;

			if (e->d_name[0] == '.')
				continue;
			snprintf(path, sizeof(path), "%s/%s", argv[i], e->d_name);
			f = fopen(path, "rb");
			if (!f) {
				perror(path);
				return 1;
			}
			len = fread(buf, 1, sizeof(buf), f);
			fclose(f);
			variations(buf, len);
			files++;
		}
		closedir(d);
	}
	printf("%d inputs\n", files);
	return files ? 0 : 1;
}
