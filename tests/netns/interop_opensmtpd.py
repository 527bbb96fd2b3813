# SPDX-License-Identifier: GPL-3.0-or-later
"""OpenSMTPD and Postern, both ways. Debian's OpenSMTPD cannot do TLS as a server, so what goes to it goes in clear; as
a client it comes by STARTTLS, by TLS at once, with AUTH. It pipelines nothing and offers neither BDAT nor UTF-8 addresses.
"""
import re

import mtas
import peers
import testlib
from peers import LONG, MX, NO_END, PEER, head, route, same
from testlib import check, wait_for

lab, mx, peer, ca = peers.begin("/usr/libexec/opensmtpd/mail.maildir", "/usr/sbin/unbound")
sink = peers.Sink(mx, 26)
mtas.names(peer, "peer.example. IN MX 10 peer.example.", "peer.example. IN A 192.0.2.2", "mx.example. IN A 192.0.2.1")
post = peers.Postern(mx, ca, route("clear", "clear.peer.example", address=PEER, port=25, tls="may") +
                     route("encrypt", "tls.peer.example", address=PEER, port=25, tls="encrypt") +
                     route("sink", "sink.example, smtps.sink.example", address=MX, port=26, tls="none") +
                     "[route internet]\nretry-first = 1s\nretry-max = 1s\n", domains="local.example, tls.local.example")
smtpd = mtas.opensmtpd(peer, ca.pem, """
action "clear" relay host "smtp+notls://mx.example"
action "tls" relay host "smtp+tls://mx.example"
action "login" relay host "smtp+tls://us@mx.example:587" auth <creds>
action "smtps" relay host "smtps://us@mx.example:465" auth <creds>
match from any for domain "local.example" action "clear"
match from any for domain "tls.local.example" action "tls"
match from any for domain "sink.example" action "login"
match from any for domain "smtps.sink.example" action "smtps"
""")
post.ready()


def box(subject):
    return peers.maildir_wait(peer, mtas.BOX, subject)


def renamed(name, to):
    return LETTERS[name].replace(b"Subject: " + name.encode(), b"Subject: " + to.encode())


# --- out
LETTERS = peers.letters()
t = post.submit()
for name, letter in {**LETTERS, "long": LONG}.items():
    said = t.send(letter, "bob@clear.peer.example")
    check(f"{name} is at OpenSMTPD byte for byte", said.startswith("250") and same(box(name), letter, crlf=False), said)
t.send(NO_END, "bob@clear.peer.example", bdat=True)
check("what came by BDAT without a last line end has one there", same(box("no-end"), NO_END + b"\n", crlf=False))
t.send(renamed("plain", "by-mx"), "bob@peer.example")
check("by MX, in clear where there is no TLS", b" with ESMTP id " in box("by-mx").split(b"Received:")[1], box("by-mx"))
t.send(renamed("plain", "encrypt"), "bob@tls.peer.example")
post.logged("route=encrypt .*STARTTLS")
check("a route that wants TLS waits", "bob@tls.peer.example" in post.cli("mail", "queue").stdout
      and not peers.maildir_find(peer, mtas.BOX, "encrypt"))
t.send(renamed("plain", "three"), [f"{who}@clear.peer.example" for who in ("bob", "nobody", "carl")])
bounce = wait_for("the report", lambda: [k for k in sink.kept if k.mail.startswith("MAIL FROM:<>")])[0]
check("of three recipients the one that OpenSMTPD does not know is reported", b"nobody@clear.peer.example" in bounce.text
      and bounce.text.count(b"Final-Recipient:") == 1 and b"524 5.2.4" in bounce.text, bounce.text)
wait_for("the letter for the other two", lambda: len(peers.maildir_find(peer, mtas.BOX, "three")) == 2)
t.send(renamed("plain", "asked"), "bob@clear.peer.example", sender="alice@local.example", mail=" RET=HDRS ENVID=q1",
       rcpt=" NOTIFY=SUCCESS ORCPT=rfc822;bob@far.example")
report = wait_for("OpenSMTPD's report", lambda: peers.maildir_find(mx, "/home/alice/Maildir", "Delivery status notification: delivered"))[0]
check("a report of success that was asked for comes from OpenSMTPD", b"bob@clear.peer.example" in report, report)
t.send(head("utf8", "X-Who: Jürgen\r\n".encode()) + b"x\r\n", "bob@clear.peer.example", sender="ann@sink.example", mail=" SMTPUTF8")
wait_for("the other report", lambda: [k for k in sink.kept if k.mail.startswith("MAIL FROM:<>") and b"5.6.7" in k.text])
check("an internationalized letter comes back from who cannot have it", not peers.maildir_find(peer, mtas.BOX, "utf8"))
t.close()

# --- in: by four ways
own = peers.Talk(peer, "127.0.0.1")
WAYS = (("clear", "alice@local.example", b" with ESMTP id "), ("tls", "alice@tls.local.example", b" with ESMTPS id "),
        ("login", "x@sink.example", b" with ESMTPSA id "), ("smtps", "x@smtps.sink.example", b" with ESMTPSA id "))
for name, letter in {**LETTERS, "long": LONG}.items():
    for way, rcpt, _ in WAYS:
        own.send(letter.replace(b"Subject: ", f"Subject: {way}-".encode()), rcpt)
for name, letter in {**LETTERS, "long": LONG}.items():
    for way, rcpt, protocol in WAYS:
        text = post.arrived(f"{way}-{name}") if "local" in rcpt else sink.wait(f"{way}-{name}").text
        check(f"{name} of OpenSMTPD by {way}", same(text, letter.replace(b"Subject: ", f"Subject: {way}-".encode()), crlf="sink" in rcpt)
              and protocol in re.sub(rb"\s+", b" ", text).split(b"Received: ")[1], text[:700])
own.close()
testlib.done()
