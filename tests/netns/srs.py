# SPDX-License-Identifier: GPL-3.0-or-later
"""An alias at home that leads outside: the letter leaves with a sender of ours, its bounce comes back to who wrote it,
and nobody without the secret gets anything sent on.
"""
import testlib
from testlib import check, require, wait_for

lab, net = testlib.start(hosts=[("mx-a", "198.51.100.31")])
import cast  # noqa: E402
import foreign  # noqa: E402
import post  # noqa: E402

SRS = """
[srs]
domain = example.org
secret-file = srs.secret
"""
vps, home = cast.tunnel(net)
net.vps.write("/etc/root.hints", foreign.ROOT_HINTS)
cast.mail(vps, home, vps_extra=SRS + """
[route outside]
kind = smarthost
address = 198.51.100.31
port = 25
tls = none
domains = alpha.example, beta.example
""", home_extra=SRS + """
[listener lan]
address = 127.0.0.1:2587
[listener submission]
[listener submissions]
""")
for m in (net.vps, net.home):
    m.write("/etc/postern/srs.secret", "a-secret-of-this-test-0123456789\n", mode=0o600)
net.vps.write("/etc/postern/tables/recipients", "alice@example.org\nfwd@example.org\npostmaster@example.org\n")
net.home.write("/etc/postern/mta.conf", home.m.read("/etc/postern/mta.conf") + "aliases = tables/aliases\n")
net.home.write("/etc/postern/tables/aliases", "fwd: alice, bob@alpha.example\n")
world = post.sink(net.mx_a, "198.51.100.31")
cast.up(net, vps, home)


def outside(subject):
    return wait_for(f"{subject} is outside", lambda: post.envelopes(world).get(subject))


code, words = post.send(net.mx_a, net.VPS4, "Ann@beta.example", "fwd@example.org", "forwarded")
check("a letter for the alias is taken", code == 250, words)
sender, to = outside("forwarded")
require("it leaves with a sender of ours, in which his is", sender.startswith("SRS0=") and
        sender.endswith("=beta.example=Ann@example.org") and to == ["bob@alpha.example"], (sender, to))
text = next(t for t in post.letters(world) if b"Subject: forwarded" in t)
check("what he wrote is as it was", b"\r\nFrom: <Ann@beta.example>\r\n" in text, text[-200:])
wait_for("alice has hers", lambda: foreign.maildir_letters(net.home, "/home/alice/Maildir"))
mine = foreign.maildir_letters(net.home, "/home/alice/Maildir")[0]
check("in the mailbox here the sender is his own", mine.startswith(b"Return-Path: <Ann@beta.example>"), mine[:80])

for rcpt, subject in ((sender, "bounce"), (sender.lower(), "bounce-in-lower-case")):
    code, words = post.send(net.mx_a, net.VPS4, "", rcpt, subject, header_from="MAILER-DAEMON@alpha.example")
    check(f"the {subject} is taken", code == 250, words)
    got = outside(subject)
    check("and goes to who wrote, from nobody", (got[0], [a.lower() for a in got[1]]) == ("", ["ann@beta.example"]), got)

other = "B" if sender[5] != "B" else "C"
for why, rcpt in (("another hash", sender[:5] + other + sender[6:]), ("another address", sender.replace("=Ann@", "=eve@")),
                  ("no hash", "SRS0=x@example.org"), ("an SRS1 of nobody", "SRS1=AAAAAAAA=one.example==B=RA=c=d@example.org")):
    code, words = post.send(net.mx_a, net.VPS4, "", rcpt, "forged")
    check(f"{why} is refused", code == 550, words)

code, words = post.send(net.home, "127.0.0.1", "alice@example.org", "bob@alpha.example", "own", port=2587)
check("what alice writes", code == 250, words)
check("leaves under her own address", outside("own")[0] == "alice@example.org")
# A home that was taken over has no secret but its own: the edge knows what an alias made from what it says.
code, words = post.send(net.home, "10.99.0.1", sender, "bob@alpha.example", "true", header_from="ann@beta.example")
check("a sender that the secret made may have a foreign From", code == 250, words)
code, words = post.send(net.home, "10.99.0.1", sender[:5] + other + sender[6:], "bob@alpha.example", "false",
                        header_from="ann@beta.example")
check("one that it did not make may not", code == 550, words)
check("nothing of what was refused is outside", not {"forged", "false"} & set(post.envelopes(world)))
testlib.done()
