# SPDX-License-Identifier: GPL-3.0-or-later
"""Postfix and Postern, both ways: STARTTLS, implicit TLS, AUTH, certificates of clients, and what they say to each
other of 8 bits, UTF-8 addresses and delivery reports. (Postfix asks Dovecot who may log in.)
"""
import re

import foreign
import mtas
import peers
import testlib
from peers import LOGIN, LONG, MX, NO_END, PASSWORD, PEER, head, route, same
from testlib import case, check, wait_for

lab, mx, peer, ca = peers.begin("/usr/sbin/postfix", "/usr/sbin/dovecot")
chain, key = ca.issue("peer", "peer.example")
ours, ours_key = ca.issue("ours", "us.example")
sink = peers.Sink(mx, 26)
peers.Authority(ca.dir, "second")
SMARTHOST = dict(address=PEER, tls_name="peer.example")
LOGGED_IN = dict(username=LOGIN, password_file="password")
CERTIFICATE = dict(certificate=ours, private_key=ours_key)
ROUTES = (
    ("clear", dict(port=25, tls="none")),
    ("verify", dict(port=25, tls="verify", **CERTIFICATE)),
    ("smtps", dict(port=465, tls="verify", tls_implicit="yes", **LOGGED_IN)),
    ("login", dict(port=587, tls="encrypt", **LOGGED_IN)),
    ("pin", dict(port=25, tls="pin", tls_pins=ca.pin(chain))),
    ("shown", dict(port=2525, tls="verify", **CERTIFICATE)),
    ("hidden", dict(port=2525, tls="verify")),
    ("wrongpin", dict(port=25, tls="pin", tls_pins=ca.pin(ours))),
    ("wrongname", dict(port=25, tls="verify", tls_name="other.example")),
    ("wrongca", dict(port=25, tls="verify", ca_file=f"{ca.dir}/second.pem")),
    ("gateway", dict(port=465, tls="verify", tls_implicit="yes", tls_versions="1.2", **LOGGED_IN)),  # of conf/mta-rules.conf
    ("cipher", dict(port=25, tls="verify", tls_ciphers="TLS_CHACHA20_POLY1305_SHA256", ca_file=ca.pem)),
)
PARTNER = f"""[listener partner]
class = mx
address = *:2526
client-certificate = verify
client-ca = {ca.pem}
[listener pinned]
class = mx
address = *:2527
client-certificate = verify
client-pins = {ca.pin(chain)}
[rule pinned]
action = accept
listeners = pinned
recipients = @sink.example
"""
post = peers.Postern(mx, ca, "".join(route(n, f"{n}.peer.example", **{**SMARTHOST, **k}) for n, k in ROUTES) +
                     route("sink", "sink.example, smtps.sink.example", address=MX, port=26, tls="none") + PARTNER,
                     domains="local.example, tls.local.example, partner.local.example, stranger.local.example")
mtas.dovecot(peer, """protocols =
service auth {
  unix_listener /run/sasl {
    mode = 0666
  }
}
""", unix=("/run/sasl",))
postfix = mtas.postfix(peer, f"""smtpd_tls_chain_files = {key}, {chain}
smtpd_tls_CAfile = {ca.pem}
smtpd_tls_security_level = may
smtpd_tls_ask_ccert = yes
smtpd_tls_received_header = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = /run/sasl
relay_clientcerts =
smtp_tls_CAfile = {ca.pem}
smtp_tls_loglevel = 1
smtp_sasl_password_maps = inline:{{ {{ mx.example = {LOGIN}:{PASSWORD} }} }}
smtp_sasl_security_options = noanonymous
transport_maps = inline:{{ {{ local.example = clear:[mx.example] }} {{ tls.local.example = tls:[mx.example] }}
	{{ sink.example = login:[mx.example]:587 }} {{ smtps.sink.example = smtps:[mx.example]:465 }}
	{{ partner.local.example = shown:[mx.example]:2526 }} {{ stranger.local.example = tls:[mx.example]:2526 }}
	{{ pinned@sink.example = shown:[mx.example]:2527 }} }}
""", """
465 inet n - n - - smtpd -o smtpd_tls_wrappermode=yes -o smtpd_sasl_auth_enable=yes -o smtpd_sasl_mechanism_filter=plain
	-o smtpd_client_restrictions=permit_sasl_authenticated,reject
587 inet n - n - - smtpd -o smtpd_tls_security_level=encrypt -o smtpd_sasl_auth_enable=yes -o smtpd_sasl_mechanism_filter=login
	-o smtpd_client_restrictions=permit_sasl_authenticated,reject
2525 inet n - n - - smtpd -o smtpd_tls_security_level=encrypt -o smtpd_tls_req_ccert=yes
clear unix - - n - - smtp
tls unix - - n - - smtp -o smtp_tls_security_level=secure
login unix - - n - - smtp -o smtp_tls_security_level=secure -o smtp_sasl_auth_enable=yes -o smtp_sasl_mechanism_filter=login
smtps unix - - n - - smtp -o smtp_tls_security_level=secure -o smtp_tls_wrappermode=yes -o smtp_sasl_auth_enable=yes
	-o smtp_sasl_mechanism_filter=plain
shown unix - - n - - smtp -o smtp_tls_security_level=secure -o smtp_tls_chain_files={key},{chain}
""".replace("{key}", key).replace("{chain}", chain), ports=(25, 465, 587, 2525))
post.ready()


def arrived():
    return foreign.maildir_letters(mx, "/home/alice/Maildir")


def found(subject):
    return peers.maildir_find(peer, mtas.BOX, subject)


def postfix_log():
    with open(postfix.log, errors="replace") as f:
        return f.read()


def box(subject, seconds=60):
    return peers.maildir_wait(peer, mtas.BOX, subject, seconds)


def renamed(name, to):
    return LETTERS[name].replace(b"Subject: " + name.encode(), b"Subject: " + to.encode())


# --- out: by every way; what Postfix says of the session stands in its Received
LETTERS = peers.letters()
SHOWN = rb'Client CN "us.example", Issuer "ca" [(]verified OK[)]'
t = post.submit()
for name, saw in (("clear", rb"from mx.example [(]unknown \[192.0.2.1\][)] by peer.example [(]Postfix[)] with ESMTP id"),
                  ("verify", rb"using TLSv1.3 .*" + SHOWN + rb".* with ESMTPS id"), ("smtps", rb"using TLSv1.3 .* with ESMTPSA id"),
                  ("login", rb"using TLSv1.3 .* with ESMTPSA id"), ("pin", rb"using TLSv1.3 .*client did not present a certificate.* with ESMTPS id"),
                  ("shown", SHOWN), ("gateway", rb"using TLSv1.2 .* with ESMTPSA id"),
                  ("cipher", rb"using TLSv1.3 with cipher TLS_CHACHA20_POLY1305_SHA256 ")):
    said = t.send(renamed("plain", f"by-{name}"), f"bob@{name}.peer.example")
    text = box(f"by-{name}") if said.startswith("250") else b""
    check(f"to Postfix by route {name}", re.search(saw, re.sub(rb"\s+", b" ", text), re.I), text[:900])
for name, letter in {**LETTERS, "long": LONG}.items():
    said = t.send(letter, "bob@verify.peer.example")
    check(f"{name} is at Postfix byte for byte", said.startswith("250") and same(box(name), letter, crlf=False), said)
said = t.send(NO_END, "bob@verify.peer.example", bdat=True)
check("what came by BDAT without a last line end has one there", same(box("no-end"), NO_END + b"\n", crlf=False), said)
utf8 = head("utf8", "X-Who: Jürgen\r\n".encode()) + "Grüße\r\n".encode()
t.send(utf8, "bob@verify.peer.example", sender="änn@sink.example", mail=" SMTPUTF8")
text = box("utf8")
check("an internationalized letter is there as one", same(text, utf8, crlf=False) and "Return-Path: <änn@sink.example>".encode() in text
      and b"with UTF8SMTPS id" in text, text[:900])

t.send(renamed("plain", "three"), [f"{who}@clear.peer.example" for who in ("bob", "nobody", "carl")])
bounce = wait_for("the report", lambda: [k for k in sink.kept if k.mail.startswith("MAIL FROM:<>")])[0]
case("mail_case_071_of_three_recipients_at_postfix_two_get_the_letter_and_one_is_reported",
     len(wait_for("both letters", lambda: len(found("three")) == 2 and found("three"))) == 2 and
     bounce.text.count(b"Final-Recipient:") == 1 and b"nobody@clear.peer.example" in bounce.text and b"5.1.1" in bounce.text,
     bounce.text)
t.send(renamed("plain", "asked"), "bob@clear.peer.example", sender="alice@local.example", mail=" RET=HDRS ENVID=q1+2Bq2",
       rcpt=" NOTIFY=SUCCESS ORCPT=rfc822;bob+2Bx@far.example")
report = wait_for("Postfix's report", lambda: [x for x in arrived() if b"Original-Envelope-Id: q1+q2" in x])[0]
check("a report of success that was asked for comes from Postfix", b"Action: delivered" in report
      and b"Original-Recipient: rfc822;bob+x@far.example" in report and b"\nhello" not in report, report)

# --- what must not go there waits
for name, why in (("hidden", "hidden.*No client certificate presented"), ("wrongpin", "wrongpin.*pin"),
                  ("wrongname", "wrongname.*(name|verif|match)"), ("wrongca", "wrongca.*certificate")):
    t.send(renamed("plain", f"no-{name}"), f"bob@{name}.peer.example")
    post.logged(f"route={why}")
for name in ("hidden", "wrongpin", "wrongname", "wrongca"):
    check(f"by route {name} nothing reaches Postfix", not found(f"no-{name}"))
waiting = post.cli("mail", "queue").stdout
case("mail_case_052_a_wrong_key_a_wrong_name_and_a_missing_certificate_are_reasons_to_wait",
     all(f"bob@{name}.peer.example" in waiting for name in ("hidden", "wrongpin", "wrongname", "wrongca")), waiting)
t.close()

# --- in: Postfix's own client, which pipelines
own = peers.Talk(peer, "127.0.0.1")
for name, letter in {**LETTERS, "long": LONG}.items():
    own.send(letter.replace(b"Subject: ", b"Subject: in-"), ["alice@local.example", "x@smtps.sink.example"])
for name, letter in {**LETTERS, "long": LONG}.items():
    letter = letter.replace(b"Subject: ", b"Subject: in-")
    check(f"{name} of Postfix is in the Maildir byte for byte", same(post.arrived(f"in-{name}"), letter, crlf=False))
    check(f"and, submitted by 465, in the sink", same(sink.wait(f"in-{name}").text, letter))
for subject, rcpt, seen in (("in-tls", "alice@tls.local.example", rb" with ESMTPS id .*using TLSv1.3"),
                            ("in-shown", "alice@partner.local.example", rb" with ESMTPS id .*using TLSv1.3")):
    own.send(renamed("plain", subject), rcpt)
    text = post.arrived(subject)
    check(f"to {rcpt}: " + seen.decode(), re.search(seen, re.sub(rb"\s+", b" ", text)), text[:700])
for subject, rcpt, seen in (("in-login", "x@sink.example", rb" with ESMTPSA id "), ("in-pinned", "pinned@sink.example", rb" with ESMTPS id ")):
    own.send(renamed("plain", subject), rcpt)
    text = sink.wait(subject).text
    check(f"to {rcpt}: " + seen.decode(), seen in re.sub(rb"\s+", b" ", text), text[:700])
own.send(utf8.replace(b"Subject: utf8", b"Subject: in-utf8"), "x@sink.example", sender="änn@sink.example", mail=" SMTPUTF8")
got = sink.wait("in-utf8")
check("and an internationalized letter goes through both", "<änn@sink.example>" in got.mail and " SMTPUTF8" in got.mail
      and got.text.endswith(utf8[-20:]), got.mail)
own.send(renamed("plain", "in-two"), ["alice@local.example", "nobody@local.example"])
check("of two recipients that Postfix pipelines one is refused", post.arrived("in-two")
      and wait_for("Postfix's report", lambda: [k for k in sink.kept if b"nobody@local.example" in k.text and b"550 5.1.1" in k.text]))
own.send(renamed("plain", "in-stranger"), "alice@stranger.local.example")
said = wait_for("Postfix to defer it", lambda: re.search(r"alice@stranger.local.example.*status=deferred.*", postfix_log()))
case("mail_case_050_a_listener_that_verifies_takes_nothing_from_who_shows_nothing",
     not peers.maildir_find(mx, "/home/alice/Maildir", "in-stranger"), said)
print("     Postfix was told:", said.group(0))
own.close()
testlib.done()
