/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "parts.h"

void parts_join(json_t *to, json_t *part)
{
	const char *key;
	json_t *v;

	json_object_foreach(part, key, v)
	{
		json_t *old = json_object_get(to, key);

		if (json_is_array(old) && json_is_array(v))
			json_array_extend(old, v);
		else if (json_is_object(old) && json_is_object(v))
			parts_join(old, v);
		else
			json_object_set(to, key, v);
	}
}
