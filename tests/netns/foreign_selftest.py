# SPDX-License-Identifier: GPL-3.0-or-later
"""The foreign cast among itself: a letter from swaks by Postfix to aiosmtpd, found by MX, and one to Postfix."""
import testlib
from testlib import check, wait_for

testlib.need_scratch()
lab, net = testlib.start(hosts=[("dns", "198.51.100.53"), ("mx-a", "198.51.100.31"), ("mx-b", "198.51.100.32")])
import foreign  # noqa: E402

foreign.dns(net.dns)
foreign.postfix(net.mx_a)
foreign.aiosmtpd(net.mx_b)
net.mx_a.run(["swaks", "--from", "bob@alpha.example", "--to", "carol@beta.example", "--server", "127.0.0.1",
              "--h-Subject", "over MX"])
got = wait_for("the letter at beta", lambda: foreign.sink_letters(net.mx_b))
check("it came from alpha", got[0][0]["peer"] == net.MXA4 and b"Subject: over MX" in got[0][1], got)
net.mx_b.run(["swaks", "--from", "carol@beta.example", "--to", "bob@alpha.example", "--server", net.MXA4,
              "--h-Subject", "to the mailbox"])
text = wait_for("the letter in bob's Maildir", lambda: foreign.maildir_letters(net.mx_a, "/home/mail/bob/Maildir"))
check("Postfix delivered it", b"Subject: to the mailbox" in text[0])
testlib.done()
