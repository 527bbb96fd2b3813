/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a datagram on 4500 or 500 is; first byte chooses the port. */
#include <stdlib.h>

#include "esp.h"
#include "udp_classify.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const size_t least[] = { [UDP_IKE] = UDP_IKE_MIN,
					[UDP_IKE_MARKED] = 4 + UDP_IKE_MIN,
					[UDP_RESERVED] = ESP_HEAD_LEN,
					[UDP_ESP] = ESP_HEAD_LEN };
	bool natt;
	enum udp_class c;

	if (!len)
		return 0;
	natt = data[0] & 1;
	c = udp_classify(natt, data + 1, len - 1);
	/* What comes after relies on these. */
	if (len - 1 < least[c] || (!natt && c != UDP_IKE && c != UDP_RUNT) ||
	    (natt && c == UDP_IKE))
		abort();
	return 0;
}
