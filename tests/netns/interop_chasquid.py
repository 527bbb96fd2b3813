# SPDX-License-Identifier: GPL-3.0-or-later
"""chasquid and Postern, both ways: by MX records, STARTTLS, its submission ports with AUTH PLAIN, UTF-8 addresses."""
import base64
import re

import mtas
import peers
import testlib
from peers import LONG, MX, NO_END, PASSWORD, PEER, head, route, same
from testlib import check, wait_for

lab, mx, peer, ca = peers.begin("/usr/bin/chasquid", "/usr/sbin/unbound")
chain, key = ca.issue("peer", "peer.example")
sink = peers.Sink(mx, 26)
mtas.names(peer, "peer.example. IN MX 10 peer.example.", "peer.example. IN A 192.0.2.2", "mx.example. IN A 192.0.2.1",
           "local.example. IN MX 10 mx.example.")
TO = dict(address=PEER, tls_name="peer.example")
LOGGED_IN = dict(username="alice@peer.example", password_file="password", **TO)
WAYS = (("verify", dict(port=25, tls="verify", **TO)), ("pin", dict(port=25, tls="pin", tls_pins=ca.pin(chain), **TO)),
        ("login", dict(port=587, **LOGGED_IN)), ("smtps", dict(port=465, tls_implicit="yes", **LOGGED_IN)))
post = peers.Postern(mx, ca, "".join(route(name, f"{name}.peer.example", **keys) for name, keys in WAYS) +
                     route("sink", "sink.example", address=MX, port=26, tls="none") + "[route internet]\nretry-first = 1s\nretry-max = 1s\n")
chasquid = mtas.chasquid(peer, chain, key, [name + ".peer.example" for name, _ in WAYS])
post.ready()


def box(subject):
    return peers.maildir_wait(peer, mtas.BOX, subject)


def renamed(name, to):
    return LETTERS[name].replace(b"Subject: " + name.encode(), b"Subject: " + to.encode())


# --- out
LETTERS = peers.letters()
t = post.submit()
for name, keys in WAYS:
    said = t.send(renamed("plain", f"by-{name}"), f"bob@{name}.peer.example")
    want = rb"with ESMTPSA? tls TLS_.*TLS-1.3" if "username" in keys else rb"with ESMTPS tls TLS_.*TLS-1.3"
    check(f"to chasquid by route {name}", re.search(want, re.sub(rb"\s+", b" ", box(f"by-{name}"))), box(f"by-{name}"))
t.send(renamed("plain", "by-mx"), "bob@peer.example")
check("and by MX, with TLS as it offers it", b"with ESMTPS" in box("by-mx"), box("by-mx"))
for name, letter in {**LETTERS, "long": LONG}.items():
    said = t.send(letter, "bob@login.peer.example")
    check(f"{name} is at chasquid byte for byte", said.startswith("250") and same(box(name), letter, crlf=False), (said, box(name)[-200:]))
t.send(NO_END, "bob@verify.peer.example", bdat=True)
check("what came by BDAT without a last line end has one there", same(box("no-end"), NO_END + b"\n", crlf=False))
utf8 = head("utf8", "X-Who: Jürgen\r\n".encode()) + "Grüße\r\n".encode()
t.send(utf8, "bob@verify.peer.example", sender="änn@sink.example", mail=" SMTPUTF8")
check("an internationalized letter is there as one", same(box("utf8"), utf8, crlf=False)
      and "Return-Path: <änn@sink.example>".encode() in box("utf8"), box("utf8"))
t.send(renamed("plain", "three"), [f"{who}@verify.peer.example" for who in ("bob", "nobody", "carl")])
bounce = wait_for("the report", lambda: [k for k in sink.kept if k.mail.startswith("MAIL FROM:<>")])[0]
check("of three recipients the one that chasquid does not know is reported", b"nobody@verify.peer.example" in bounce.text
      and bounce.text.count(b"Final-Recipient:") == 1, bounce.text)
wait_for("the letter for the other two", lambda: len(peers.maildir_find(peer, mtas.BOX, "three")) == 2)
t.close()

# --- in: submitted to chasquid, which finds us by MX and takes TLS
own = peers.Talk(peer, "127.0.0.1", 587, server="peer.example").starttls(peers.trust(ca))
said = own.say("AUTH PLAIN " + base64.b64encode(b"\0alice@peer.example\0" + PASSWORD.encode()).decode())
check("chasquid takes its user", said.startswith("235"), said)
for name, letter in {**LETTERS, "long": LONG}.items():
    letter = letter.replace(b"Subject: ", b"Subject: in-")
    own.send(letter, "alice@local.example", sender="alice@peer.example")
    text = post.arrived(f"in-{name}")
    check(f"{name} of chasquid is in the Maildir byte for byte", same(text, letter, crlf=False) and b" with ESMTPS id " in re.sub(rb"\s+", b" ", text),
          text[:600])
own.send(utf8.replace(b"Subject: utf8", b"Subject: in-utf8"), "alice@local.example", sender="alice@peer.example", mail=" SMTPUTF8")
check("and an internationalized one", post.arrived("in-utf8").endswith(utf8[-20:].replace(b"\r\n", b"\n")))
own.send(renamed("plain", "in-two"), ["alice@local.example", "nobody@local.example"], sender="alice@peer.example")
wait_for("chasquid to hear of nobody", lambda: re.search("nobody@local.example.*550", open(chasquid.log, errors="replace").read()))
check("a recipient that we do not have is told to chasquid, the other gets the letter", post.arrived("in-two"))
own.close()
testlib.done()
