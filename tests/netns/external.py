# SPDX-License-Identifier: GPL-3.0-or-later
"""One Postern logs in at another by its certificate alone: by a name that an authority gave it, and by a pinned key.

	alice ---> mx 192.0.2.1 ---- AUTH EXTERNAL ---> peer 192.0.2.2 ---> the sink, on mx
"""
import base64
import re

import peers
import testlib
from peers import MX, PASSWORD, PEER, head, route
from testlib import check, wait_for

lab, mx, peer, ca = peers.begin()
home, strange = ca.issue("home", "home.example"), ca.issue("strange", "strange.example")
old = peers.Authority(ca.dir, "other").issue("spare", "spare.example")
TO = dict(address=PEER, tls_name="peer.example", auth="external")


def by(pair):
    return dict(certificate=pair[0], private_key=pair[1], **TO)


sink = peers.Sink(mx, 26)
post = peers.Postern(mx, ca, route("named", "named.example", port=587, **by(home)) +
                     route("pinned", "pinned.example", port=465, tls_implicit="yes", **by(old)) +
                     route("strange", "strange.example", port=587, **by(strange)))
far = peers.Postern(peer, ca, route("sink", "named.example, pinned.example", address=MX, port=26, tls="none"), name="peer",
                    submission=f"client-certificate = request\nclient-ca = {ca.pem}\n"
                               f"client-logins = home:home.example, spare:{ca.pin(old[0])}",
                    users="home:*:@sink.example\nspare:*:ann@sink.example\n")
for p in (post, far):
    p.ready()
t = post.submit()
for name, who, words in (("named", "home", "submission verified=1"), ("pinned", "spare", "submissions verified=0")):
    t.send(head(name) + b"hello\r\n", f"bob@{name}.example")
    text = sink.wait(name).text
    check(f"{name}: a certificate is a login at the next Postern", re.search(rb"by peer.example[^;]*with ESMTPSA", text), text[:900])
    far.logged(rf"listener={words} pin=[0-9a-f]+ login={who}")
t.send(head("nobody") + b"hello\r\n", "bob@strange.example")
post.logged("does not offer AUTH EXTERNAL to our certificate")
queued = wait_for("the letter of the stranger waits", lambda: "strange.example" in post.cli("mail", "queue").stdout)
check("the host that does not know the certificate gets nothing, and the letter waits", queued and not sink.find("nobody"))

text = peer.read("/etc/postern/mta.conf")
peer.write("/etc/postern/wrong.conf", text.replace("client-logins = home:", "client-logins = nobody:"))
said = peer.run([testlib.POSTERN_MTA, "-n", "-c", "/etc/postern/wrong.conf"], check=False)
check("a login without a line in users is found before the start", said.returncode and "nobody of client-logins is not in" in said.stdout, said.stdout)

# --- the other end, by hand
t = peers.Talk(mx, PEER, 587, server="peer.example").starttls(peers.trust(ca, *home))
check("EXTERNAL stands beside the others", "AUTH PLAIN LOGIN EXTERNAL" in t.offers, t.offers)
said = t.say("AUTH PLAIN " + base64.b64encode(b"\0home\0" + PASSWORD.encode()).decode())
check("who has no password gives none", said.startswith("535"), said)
said = t.say("AUTH EXTERNAL " + base64.b64encode(b"spare").decode())
check("nor is it another login", said.startswith("535"), said)
said = t.say("AUTH EXTERNAL =")
check("its certificate is enough", said.startswith("235"), said)
said = t.envelope("ann@elsewhere.example", []) + t.envelope("ann@sink.example", [])
check("its senders are those of users", said[0].startswith("550 5.7.1") and said[1].startswith("250"), said)
t.close()
t = peers.Talk(mx, PEER, 587, server="peer.example").starttls(peers.trust(ca, *strange))
check("a name without a login is offered a password only", "AUTH PLAIN LOGIN" in t.offers and t.say("AUTH EXTERNAL =").startswith("504"), t.offers)
t.close()
testlib.done()
