# SPDX-License-Identifier: GPL-3.0-or-later
"""Exim and Postern, both ways: CHUNKING (Exim's client uses BDAT where it can), STARTTLS and TLS at once by GnuTLS,
AUTH PLAIN and LOGIN, certificates of clients, and what they say to each other of 8 bits, UTF-8 addresses and reports.
"""
import os
import re

import foreign
import mtas
import peers
import testlib
from peers import LOGIN, LONG, MX, NO_END, PASSWORD, PEER, head, route, same
from testlib import check, wait_for

lab, mx, peer, ca = peers.begin("/usr/sbin/exim4")
chain, key = ca.issue("peer", "peer.example")
ours, ours_key = ca.issue("ours", "us.example")
os.chown(key, 2017, 2017)  # Debian-exim reads it
sink = peers.Sink(mx, 26)
SMARTHOST = dict(address=PEER, tls_name="peer.example")
LOGGED_IN = dict(username=LOGIN, password_file="password")
CERTIFICATE = dict(certificate=ours, private_key=ours_key)
ROUTES = (
    ("clear", dict(port=25, tls="none")),
    ("verify", dict(port=25, tls="verify", **CERTIFICATE)),
    ("smtps", dict(port=465, tls="verify", tls_implicit="yes", **LOGGED_IN)),
    ("login", dict(port=587, tls="encrypt", **LOGGED_IN)),
    ("pin", dict(port=25, tls="pin", tls_pins=ca.pin(chain))),
    ("wrong", dict(port=587, tls="encrypt", username="bob", password_file="password")),
)
post = peers.Postern(mx, ca, "".join(route(n, f"{n}.peer.example", **{**SMARTHOST, **k}) for n, k in ROUTES) +
                     route("sink", "sink.example, smtps.sink.example", address=MX, port=26, tls="none") + f"""[listener partner]
class = mx
address = *:2526
client-certificate = verify
client-ca = {ca.pem}
""", domains="local.example, tls.local.example, partner.local.example, stranger.local.example")
exim = mtas.exim(peer, f"""tls_certificate = {chain}
tls_privatekey = {key}
tls_try_verify_hosts = *
tls_verify_certificates = {ca.pem}
tls_on_connect_ports = 465
auth_advertise_hosts = ${{if eq {{$tls_in_cipher}}{{}} {{}} {{*}}}}
acl_smtp_rcpt = relay
begin acl
relay:
  deny condition = ${{if or {{{{eq{{$received_port}}{{465}}}} {{eq{{$received_port}}{{587}}}}}}}}
    !authenticated = *
  accept domains = +local_domains
    verify = recipient
  accept hosts = 127.0.0.1
  deny
""", "".join(f"""{name}:
  driver = manualroute
  domains = {domain}
  transport = {name}
  route_list = * {MX}
  self = send
""" for name, domain in (("clear", "local.example"), ("tls", "tls.local.example"), ("login", "sink.example"), ("smtps", "smtps.sink.example"),
                         ("shown", "partner.local.example"), ("stranger", "stranger.local.example"))),
    "".join(f"""{name}:
  driver = smtp
  message_linelength_limit = 100000
  tls_verify_certificates = {ca.pem}
  tls_sni = mx.example
  tls_verify_cert_hostnames =
{more}
""" for name, more in (("clear", "  hosts_avoid_tls = *"), ("tls", "  hosts_require_tls = *\n  tls_verify_hosts = *\n  hosts_try_chunking ="),
                       ("login", "  port = 587\n  hosts_require_tls = *\n  tls_verify_hosts = *\n  hosts_require_auth = *"),
                       ("smtps", "  port = 465\n  protocol = smtps\n  tls_verify_hosts = *\n  hosts_require_auth = *"),
                       ("shown", f"  port = 2526\n  hosts_require_tls = *\n  tls_certificate = {chain}\n  tls_privatekey = {key}"),
                       ("stranger", "  port = 2526\n  hosts_require_tls = *"))),
    f"""plain:
  driver = plaintext
  public_name = PLAIN
  server_advertise_condition = ${{if eq{{$received_port}}{{465}}}}
  server_condition = ${{if and {{{{eq{{$auth2}}{{{LOGIN}}}}} {{eq{{$auth3}}{{{PASSWORD}}}}}}}}}
  server_set_id = $auth2
  client_condition = ${{if eq{{$transport_name}}{{smtps}}}}
  client_send = ^{LOGIN}^{PASSWORD}
login:
  driver = plaintext
  public_name = LOGIN
  server_advertise_condition = ${{if eq{{$received_port}}{{587}}}}
  server_prompts = Benutzer : Kennwort
  server_condition = ${{if and {{{{eq{{$auth1}}{{{LOGIN}}}}} {{eq{{$auth2}}{{{PASSWORD}}}}}}}}}
  server_set_id = $auth1
  client_send = : {LOGIN} : {PASSWORD}
""", ports=(25, 465, 587))
post.ready()


def exim_log():
    return peer.run(["sh", "-c", "cat /var/spool/exim4/mainlog /var/spool/exim4/paniclog"], check=False).stdout


def found(subject):
    return peers.maildir_find(peer, mtas.BOX, subject)


def at_home(subject):
    return peers.maildir_find(mx, "/home/alice/Maildir", subject)


def box(subject, seconds=60):
    return peers.maildir_wait(peer, mtas.BOX, subject, seconds)


def renamed(name, to):
    return LETTERS[name].replace(b"Subject: " + name.encode(), b"Subject: " + to.encode())


# --- out
LETTERS = peers.letters()
t = post.submit()
for name, saw in (("clear", rb"with esmtp \(cert=0 \)"), ("verify", rb"with esmtps \(TLS1.3\) \(cert=1 CN=us.example\)"),
                  ("smtps", rb"with esmtpsa \(TLS1.3\)"), ("login", rb"with esmtpsa \(TLS1.3\)"), ("pin", rb"with esmtps \(TLS1.3\) \(cert=0 \)")):
    said = t.send(renamed("plain", f"by-{name}"), f"bob@{name}.peer.example")
    text = box(f"by-{name}") if said.startswith("250") else b""
    check(f"to Exim by route {name}", re.search(saw, re.sub(rb"\s+", b" ", text), re.I), text[:900])
for name, letter in {**LETTERS, "long": LONG}.items():
    said = t.send(letter, "bob@verify.peer.example")
    check(f"{name} is at Exim byte for byte", said.startswith("250") and same(box(name), letter, crlf=False), said)
said = t.send(NO_END, "bob@verify.peer.example", bdat=True)
check("what came by BDAT without a last line end has one there", same(box("no-end"), NO_END + b"\n", crlf=False), said)
utf8 = head("utf8", "X-Who: Jürgen\r\n".encode()) + "Grüße\r\n".encode()
t.send(utf8, "bob@verify.peer.example", sender="änn@sink.example", mail=" SMTPUTF8")
text = box("utf8")
check("an internationalized letter is there as one", same(text, utf8, crlf=False) and "Return-path: <änn@sink.example>".encode() in text
      and b"with utf8esmtps" in text, text[:900])
t.send(renamed("plain", "three"), [f"{who}@clear.peer.example" for who in ("bob", "nobody", "carl")])
bounce = wait_for("the report", lambda: [k for k in sink.kept if k.mail.startswith("MAIL FROM:<>")])[0]
check("of three recipients the one that Exim does not know is reported", len(wait_for("both letters", lambda: len(found("three")) == 2 and
      found("three"))) == 2 and bounce.text.count(b"Final-Recipient:") == 1 and b"nobody@clear.peer.example" in bounce.text, bounce.text)
t.send(renamed("plain", "asked"), "bob@clear.peer.example", sender="alice@local.example", mail=" RET=HDRS ENVID=q1+2Bq2",
       rcpt=" NOTIFY=SUCCESS ORCPT=rfc822;bob+2Bx@far.example")
report = wait_for("Exim's report", lambda: [x for x in foreign.maildir_letters(mx, "/home/alice/Maildir")
                                            if b"Original-Envelope-ID: q1+2Bq2" in x])[0]
check("a report of success that was asked for comes from Exim", b"Action: delivered" in report and b"rfc822;bob+2Bx@far.example" in report, report)
t.send(renamed("plain", "wrong"), "bob@wrong.peer.example")
post.logged("route=wrong hop=192.0.2.2 msg=\"cannot be used: .*ncorrect authentication data")
check("a wrong login is a reason to wait", not found("wrong") and "bob@wrong.peer.example" in post.cli("mail", "queue").stdout)
t.close()

# --- in: BDAT on clear, DATA on tls, logged in on 587 and 465
own = peers.Talk(peer, "127.0.0.1")
for name, letter in {**LETTERS, "long": LONG}.items():
    own.send(letter.replace(b"Subject: ", b"Subject: in-"), ["alice@local.example", "alice@tls.local.example", "x@smtps.sink.example"])
for name, letter in {**LETTERS, "long": LONG}.items():
    letter = letter.replace(b"Subject: ", b"Subject: in-")
    two = wait_for(f"in-{name} twice", lambda: len(at_home(f"in-{name}")) == 2 and at_home(f"in-{name}"))
    check(f"{name} of Exim is in the Maildir byte for byte, by BDAT and by DATA", all(same(x, letter, crlf=False) for x in two))
    check(f"and, submitted by 465, in the sink", same(sink.wait(f"in-{name}").text, letter))
# It writes of a letter what it has delivered a moment after we have it.
log = wait_for("Exim to write it down", lambda: (x if all(len(re.findall(rf"=> alice@{name} ", x := exim_log())) > len(LETTERS)
                                                          for name in ("local.example", "tls.local.example")) else ""))
check("by BDAT where it may, by DATA where it may not", re.search(r"=> alice@local.example .* K ", log) and
      not re.search(r"=> alice@tls.local.example .* K ", log), log[-2000:])
own.send(NO_END.replace(b"Subject: ", b"Subject: in-"), "alice@local.example", bdat=True)
text = post.arrived("in-no-end")
check("a letter without a last line end comes through Exim's BDAT", same(text.rstrip(b"\n"), NO_END.replace(b"Subject: ", b"Subject: in-"), crlf=False),
      text[-100:])
own.send(renamed("plain", "in-shown"), "alice@partner.local.example")
check("Exim's certificate opens the listener that verifies", b"with ESMTPS id" in post.arrived("in-shown"))
own.send(renamed("plain", "in-login"), "x@sink.example")
check("Exim logs in by LOGIN", b"with ESMTPSA id" in sink.wait("in-login").text)
own.send(utf8.replace(b"Subject: utf8", b"Subject: in-utf8"), "x@sink.example", sender="änn@sink.example", mail=" SMTPUTF8")
got = sink.wait("in-utf8")
check("an internationalized letter goes through both", "<änn@sink.example>" in got.mail and " SMTPUTF8" in got.mail
      and got.text.endswith(utf8[-20:]), got.mail)
own.send(renamed("plain", "in-dsn"), "x@sink.example", mail=" RET=FULL ENVID=e1", rcpt=" NOTIFY=DELAY ORCPT=rfc822;y@far.example")
got = sink.wait("in-dsn")
check("and wishes for reports too", " ENVID=e1" in got.mail and any("NOTIFY=DELAY" in c and "ORCPT=rfc822;y@far.example" in c for c in got.commands),
      got.commands)
own.send(renamed("plain", "in-two"), ["alice@local.example", "nobody@local.example"])
check("of two recipients that Exim pipelines one is refused", post.arrived("in-two")
      and wait_for("Exim's report", lambda: [k for k in sink.kept if b"nobody@local.example" in k.text and b"550 5.1.1" in k.text]))
own.send(renamed("plain", "in-stranger"), "alice@stranger.local.example")
wait_for("Exim to defer it", lambda: re.search(r"== alice@stranger.local.example.* defer ", exim_log()))
check("who shows no certificate has to wait outside", not at_home("in-stranger"))
own.close()
testlib.done()
