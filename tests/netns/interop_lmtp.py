# SPDX-License-Identifier: GPL-3.0-or-later
"""LMTP into Dovecot, over a Unix socket as the way of [deliver] and over TCP as a route: letters byte for byte, and
each recipient's answer after the letter by itself (RFC 2033 s4.2), of Dovecot and of a server that says what we want.
"""
import collections
import re

import mtas
import peers
import testlib
from peers import LONG, MX, NO_END, PEER, route, same
from testlib import case, check, wait_for

lab, mx, peer, ca = peers.begin("/usr/sbin/dovecot", "/usr/lib/dovecot/lmtp")
SOCKET = f"{ca.dir}/dovecot-lmtp"  # seen by both machines
asked = collections.Counter()


def verdict(address):
    """later@ gets its letter when it comes again."""
    who = address.split("@")[0]
    asked[who] += 1
    return {"never": "550 5.7.1 not for me"}.get(who) or ("450 4.2.0 not now" if who == "later" and asked[who] == 1 else "250 2.0.0 saved")


reports = peers.Sink(mx, 26)
fake_unix = peers.Sink(peer, path=f"{ca.dir}/fake-lmtp", lmtp=True, end=verdict)
fake_tcp = peers.Sink(peer, 24, lmtp=True, end=verdict, offers=("ENHANCEDSTATUSCODES",))
mx.write("/etc/postern/mailboxes", "".join(f"{who} = alice\n" for who in ("bob", "carl", "full", "broken", "gone")))
post = peers.Postern(mx, ca, f"""users = mailboxes
system-users = no
[route deliver]
kind = lmtp
address = {SOCKET}
retry-first = 1s
retry-max = 1s
bounce = all
""" + route("tcp", "tcp.example", kind="lmtp", address=PEER, port=2424) + route("fake", "fake.example", kind="lmtp", address=f"{ca.dir}/fake-lmtp") +
                     route("slow", "slow.example", kind="lmtp", address=PEER) + route("sink", "sink.example", address=MX, port=26, tls="none"))
dovecot = mtas.dovecot(peer, f"""protocols = lmtp
listen = {PEER}
service lmtp {{
  unix_listener {SOCKET} {{
    mode = 0666
  }}
  inet_listener lmtp {{
    port = 2424
  }}
}}
""", unix=(SOCKET,), users={"broken": "userdb_home=/home/broken", "carl": ""}, quota={"full": 100})
peer.run(["sh", "-c", "mkdir /home/broken && chmod 500 /home/broken"])
post.ready()


def box(subject, who="bob"):
    return peers.maildir_wait(peer, f"/home/mail/{who}/Maildir", subject)


def at(subject, who):
    return peers.maildir_find(peer, f"/home/mail/{who}/Maildir", subject)


def letter(subject):
    return peers.head(subject) + b"hello\r\n"


def told(subject, *who):
    """The report on a letter, when it names these recipients and no other."""
    for k in reports.kept:
        if k.mail.startswith("MAIL FROM:<>") and f"\r\nSubject: {subject}\r\n".encode() in k.text:
            named = set(re.findall(rb"Final-Recipient: rfc822; ?([^\r]*)", k.text))
            if named == {w.encode() for w in who}:
                return k.text.decode()
    return None


def waits(address):
    return address in post.cli("mail", "queue").stdout


# --- Dovecot: from the world by port 25 and the Unix socket, and from a user by TCP
world, own = peers.Talk(peer, MX), post.submit()
for name, text in {**peers.letters(), "long": LONG}.items():
    said = world.send(text, "bob@local.example")
    check(f"{name} is at Dovecot byte for byte, by the Unix socket", said.startswith("250") and same(box(name), text, crlf=False), said)
    text = text.replace(b"Subject: ", b"Subject: tcp-")
    said = own.send(text, "bob@tcp.example")
    check(f"{name} too, by TCP", said.startswith("250") and same(box(f"tcp-{name}"), text, crlf=False), said)
world.send(NO_END, "bob@local.example", bdat=True)
check("what has no last line end gets one", same(box("no-end"), NO_END + b"\n", crlf=False))
check("by LMTP, with who it is for", b" with LMTP" in box("plain") and b"Delivered-To: bob@local.example\n" in box("plain"), box("plain"))
check("whom [deliver] does not know is refused at the door", world.envelope("ann@sink.example", ["alice@local.example"])[1].startswith("550 5.1.1"))
world.say("RSET")
for way, domain, session in (("unix", "local.example", world), ("tcp", "tcp.example", own)):
    names = [f"{who}@{domain}" for who in ("bob", "full", "gone", "broken", "carl")]
    session.send(letter(f"five-{way}"), names)
    box(f"five-{way}", "bob"), box(f"five-{way}", "carl")
    report = wait_for("the reports", lambda: told(f"five-{way}", f"full@{domain}", f"gone@{domain}"))
    check(f"{way}: of five mailboxes Dovecot refuses two for good, and says why", "5.2.2" in report and "5.1.1" in report, report)
    post.logged(f'to="broken@{domain}" .*result=deferred code=4')
    check(f"{way}: one waits, and nobody gets a second copy", waits(f"broken@{domain}") and
          [len(at(f"five-{way}", who)) for who in ("bob", "carl", "full")] == [1, 1, 0])
peer.run(["chmod", "755", "/home/broken"])
peer.run(["chown", "2101:2101", "/home/broken"])
for way in ("unix", "tcp"):
    peers.maildir_wait(peer, "/home/broken/Maildir", f"five-{way}")
check("when its mailbox is mended the last one gets it", len(at("five-unix", "bob")) == len(at("five-tcp", "bob")) == 1)

# --- 250, 450 and 550 after one letter
ok = []
for way, domain, sink in (("by a Unix socket, pipelined", "fake.example", fake_unix), ("by TCP, one command at a time", "slow.example", fake_tcp)):
    asked.clear()
    subject = "three-" + domain.split(".")[0]
    own.send(letter(subject), [f"now@{domain}", f"later@{domain}", f"never@{domain}"])
    report = wait_for("the report", lambda: told(subject, f"never@{domain}"))
    wait_for("the second attempt", lambda: asked["later"] == 2)
    wait_for("the queue to be empty of it", lambda: not waits(domain))
    got = sink.find(subject)
    ok.append([k.rcpts for k in got] == [[f"now@{domain}", f"later@{domain}", f"never@{domain}"], [f"later@{domain}"]] and "5.7.1" in report
              and asked == {"now": 1, "later": 2, "never": 1})
    check(f"{way}: each of three recipients is settled by itself", ok[-1], ([k.rcpts for k in got], asked))
case("mail_case_080_lmtp_three_recipients_three_answers_three_ends", all(ok), ok)
check("a server without 8BITMIME in its offers is not asked for it", all("BODY=" not in k.mail for k in fake_tcp.kept))
testlib.done()
