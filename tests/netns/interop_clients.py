# SPDX-License-Identifier: GPL-3.0-or-later
"""What people write mail with, at the submission ports: msmtp, swaks and curl, and clients of our own that pipeline
everything or write byte by byte. What they submit goes on to a sink that keeps every byte.
"""
import os
import re
import socket

import peers
import testlib
from peers import LOGIN, LONG, MX, NO_END, PASSWORD, PEER, head, same
from testlib import case, check, require

lab, mx, peer, ca = peers.begin("/usr/bin/msmtp", "/usr/bin/swaks", "/usr/bin/curl")
sink = peers.Sink(peer)
bare = peers.Sink(peer, 26, offers=(), rcpt=lambda a: "550 5.1.1 nobody" if a.startswith("nobody@") else "250 2.1.5 ok")
post = peers.Postern(mx, ca, peers.route("sink", "sink.example", address=PEER, port=25, tls="none") +
                     peers.route("bare", "bare.example", address=PEER, port=26, tls="none"))
peer.write("/etc/hosts", f"127.0.0.1 localhost\n{MX} mx.example\n")
peer.write("/etc/password", PASSWORD + "\n")
LETTERS = peers.letters()
post.ready()


def file(name, text):
    path = f"{ca.dir}/{name}"
    with open(path, "wb") as f:
        f.write(text)
    return path


def command(program, letter, *args, rcpt="x@sink.example"):
    """Run @program on the peer with the letter as its input."""
    return peer.run(["sh", "-c", 'in=$1; shift; exec "$@" <"$in"', "sh", file("input", letter), program, *args, rcpt],
                    check=False)


# --- msmtp: lines of its input end in LF
def msmtp(letter, *args, password="/etc/password"):
    return command("msmtp", letter, "-C", "/dev/null", "--host=mx.example", "--from=ann@sink.example", "--tls=on",
                   f"--tls-trust-file={ca.pem}", f"--user={LOGIN}", f"--passwordeval=cat {password}", *args)


for port, starttls, auth in ((587, "on", "plain"), (465, "off", "login")):
    for name, letter in LETTERS.items():
        letter = letter.replace(b"Subject: ", f"Subject: msmtp-{port}-".encode())
        p = msmtp(letter.replace(b"\r\n", b"\n"), f"--port={port}", f"--tls-starttls={starttls}", f"--auth={auth}")
        got = sink.wait(f"msmtp-{port}-{name}") if p.returncode == 0 else None
        check(f"msmtp by {port}, AUTH {auth}: {name} arrives byte for byte", got and same(got.text, letter), p.stdout or got.text[:600])
check("what says who sent it by which protocol", re.search(rb"with (ESMTP|UTF8SMTP)SA id ", got.text) and MX.encode() not in got.text
      and PEER.encode() not in got.text, got.text[:600])
peer.write("/etc/wrong", "no garden\n")
p = msmtp(LETTERS["plain"], "--port=465", "--tls-starttls=off", "--auth=plain", password="/etc/wrong")
check("msmtp with a wrong password is told so", p.returncode == 77 and "535" in p.stdout, p.stdout)
p = command("msmtp", LETTERS["plain"], "-C", "/dev/null", "--host=mx.example", "--port=587", "--from=ann@sink.example", "--auth=plain",
            f"--user={LOGIN}", "--passwordeval=cat /etc/password", "--tls=off")
check("without TLS msmtp is offered no AUTH", p.returncode != 0 and "support authentication" in p.stdout, p.stdout)


# --- swaks
def swaks(*args, rcpt="x@sink.example"):
    return peer.run(["swaks", "--server", "mx.example", "--from", "ann@sink.example", "--to", rcpt, "--timeout", "60",
                     "--auth-user", LOGIN, "--auth-password", PASSWORD, *args], check=False)


for words, args in (("STARTTLS, AUTH LOGIN", ("--port", "587", "--tls", "--auth", "LOGIN")),
                    ("implicit TLS, AUTH PLAIN", ("--port", "465", "--tls-on-connect", "--auth", "PLAIN")),
                    ("everything pipelined", ("--port", "587", "--tls", "--auth", "PLAIN", "--pipeline"))):
    name = "swaks-" + re.sub("[^a-z]+", "-", words.lower())
    letter = LETTERS["dots"].replace(b"Subject: dots", b"Subject: " + name.encode()) + b"end\r\n"
    p = swaks(*args, "--data", "@" + file("letter", letter.replace(b"\r\n", b"\n")[:-1]))  # the last line end is its own
    got = sink.wait(name) if p.returncode == 0 else None
    check(f"swaks, {words}: byte for byte", got and same(got.text, letter), p.stdout[-900:])
p = swaks("--port", "587", "--tls", "--auth", "CRAM-MD5")
check("a mechanism that stores passwords in clear is not there", p.returncode != 0 and "<" in p.stdout, p.stdout[-500:])


# --- curl: the file as it is
def curl(url, letter, *args):
    return peer.run(["curl", "-sS", "-v", "--max-time", "120", "--url", url, "--cacert", ca.pem, "--mail-from", "ann@sink.example",
                     "--mail-rcpt", "x@sink.example", "--upload-file", file("letter", letter), *args], check=False)


USER = ("--user", f"{LOGIN}:{PASSWORD}")
for words, url, args in (("smtp:// with --ssl-reqd", "smtp://mx.example:587", ("--ssl-reqd", *USER)),
                         ("smtps://", "smtps://mx.example:465", USER),
                         ("AUTH=LOGIN", "smtps://mx.example", (*USER, "--login-options", "AUTH=LOGIN"))):
    name = "curl-" + re.sub("[^a-z]+", "-", words.lower())
    letter = LETTERS["edges"].replace(b"Subject: edges", b"Subject: " + name.encode())
    p = curl(url, letter, *args)
    got = sink.wait(name) if p.returncode == 0 else None
    check(f"curl, {words}: byte for byte", got and same(got.text, letter), p.stdout)
p = curl("smtp://mx.example:587", LETTERS["plain"], "--ssl-reqd")
check("curl without a login is refused", p.returncode != 0 and "530" in p.stdout, p.stdout[-500:])
p = curl("smtp://mx.example:25", LETTERS["plain"], "--ssl-reqd", "--mail-rcpt", "far@far.example")
check("and port 25 relays for nobody", p.returncode != 0 and "550" in p.stdout, p.stdout[-500:])

# --- all in one piece, and all in pieces of one byte
t = peers.Talk(mx, MX, hello=False)
one, two = head("one-flight") + b"..\r\n", head("second") + b"by BDAT\r\n"
t.s.sendall(b"EHLO client.example\r\nMAIL FROM:<ann@sink.example>\r\nRCPT TO:<alice@local.example>\r\nRCPT TO:<nobody@local.example>\r\n"
            b"RCPT TO:<x@far.example>\r\nDATA\r\n" + peers.stuffed(one) + b".\r\nMAIL FROM:<ann@sink.example>\r\n"
            b"RCPT TO:<alice@local.example>\r\nBDAT 10\r\n" + two[:10] + b"BDAT %d LAST\r\n" % (len(two) - 10) + two[10:] + b"QUIT\r\n")
codes = [t.reply()[:3] for _ in range(12)]
case("mail_case_037_one_flight_of_everything_is_answered_in_order",
     codes == ["250", "250", "250", "550", "550", "354", "250", "250", "250", "250", "250", "221"], codes)
for subject, letter in (("one-flight", one), ("second", two)):
    check(f"and {subject} is delivered once", same(post.arrived(subject), letter, crlf=False)
          and len(peers.maildir_find(mx, "/home/alice/Maildir", subject)) == 1)
t.s.close()

slow = post.submit(peer)
slow.s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
letter = head("bytes") + b".\r\n..\r\n\r\n.x\r\n"


def trickle(text):
    for b in text:
        slow.s.sendall(bytes([b]))  # a TLS record each
    return slow.reply()


said = [trickle(x) for x in (b"MAIL FROM:<ann@sink.example>\r\n", b"RCPT TO:<x@sink.example>\r\n", b"DATA\r\n")]
said.append(trickle(peers.stuffed(letter) + b".\r\n"))
case("mail_case_009_a_letter_in_records_of_one_byte_is_whole",
     [x[:3] for x in said] == ["250", "250", "354", "250"] and same(sink.wait("bytes").text, letter), said)
slow.close()

# --- what goes on, and what cannot
def reports(envid):
    return [k.text.decode() for k in sink.kept if k.mail.startswith("MAIL FROM:<>") and f"\r\nOriginal-Envelope-Id: {envid}\r\n".encode() in k.text]


t = post.submit(peer)
check("submission offers what it should", {"PIPELINING", "8BITMIME", "SMTPUTF8", "CHUNKING", "DSN", "ENHANCEDSTATUSCODES"} <= set(t.offers)
      and not any(o.startswith("STARTTLS") for o in t.offers), t.offers)
said = t.send(LONG, "x@sink.example")
case("mail_case_013_a_line_of_1992_octets_goes_on_as_it_is", said.startswith("250") and same(sink.wait("long").text, LONG), said)
said = t.send(NO_END, "x@sink.example", bdat=True)
case("mail_case_012_a_letter_without_a_last_line_end_gets_one_on_its_way_by_data",
     said.startswith("250") and same(sink.wait("no-end").text, NO_END + b"\r\n"), said)
letter = LETTERS["eightbit"].replace(b"Subject: eightbit", b"Subject: unsaid")
said = t.send(letter, "x@sink.example", mail=" BODY=7BIT")
case("mail_case_019_eight_bits_that_were_not_announced_pass_unchanged",
     said.startswith("250") and same(sink.wait("unsaid").text, letter), said)
said = t.send(head("dsn") + b"x\r\n", ["x@sink.example", "y@sink.example"], mail=" RET=HDRS ENVID=abc+2Bdef",
              rcpt=" NOTIFY=SUCCESS,DELAY ORCPT=rfc822;x+2By@sink.example")
require("parameters of DSN are taken", said.startswith("250"), said)
got = sink.wait("dsn")
check("DSN parameters are passed on", " RET=HDRS" in got.mail and " ENVID=abc+2Bdef" in got.mail and
      all(" NOTIFY=SUCCESS,DELAY" in c and " ORCPT=rfc822;x+2By@sink.example" in c for c in got.commands if c.startswith("RCPT")),
      got.commands)
check("both recipients are in one transaction", got.rcpts == ["x@sink.example", "y@sink.example"], got.rcpts)
check("of what was passed on with the wish for a report we make none", not [k for k in sink.kept if k.mail.startswith("MAIL FROM:<>")])
t.send(head("asked") + b"x\r\n", ["alice@local.example", "x@bare.example", "nobody@bare.example"], mail=" RET=HDRS ENVID=e1",
       rcpt=" NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;o@far.example")
found = testlib.wait_for("the reports", lambda: len(reports("e1")) == 3 and reports("e1"))
for words, address, action in (("of a letter in its mailbox", "alice@local.example", "delivered"), ("passed on to who knows none", "x@bare.example", "relayed"),
                               ("that was refused", "nobody@bare.example", "failed")):
    text = next((r for r in found if f"Final-Recipient: rfc822; {address}\r\n" in r), "")
    check(f"a report {words}", f"\r\nAction: {action}\r\nStatus: {'5' if action == 'failed' else '2'}." in text and text.count("Final-Recipient:") == 1
          and "\r\nOriginal-Recipient: rfc822;o@far.example\r\n" in text, text)
utf8 = head("utf8", "X-Who: Jürgen\r\n".encode()) + "Grüße\r\n".encode()
said = t.send(utf8, "jürgen@sink.example", sender="änn@sink.example", mail=" SMTPUTF8")
got = sink.wait("utf8") if said.startswith("250") else None
check("SMTPUTF8 is passed on", got and same(got.text, utf8) and "<änn@sink.example>" in got.mail and " SMTPUTF8" in got.mail
      and got.rcpts == ["jürgen@sink.example"], (said, got))
check("with UTF8SMTPSA as its protocol", got and b" with UTF8SMTPSA id " in got.text, got and got.text[:500])

# A host that offers nothing: 8 bits are just sent, DSN is kept back, SMTPUTF8 cannot go.
letter = LETTERS["eightbit"].replace(b"Subject: eightbit", b"Subject: to-bare")
t.send(letter, "x@bare.example", mail=" RET=HDRS ENVID=q", rcpt=" NOTIFY=FAILURE ORCPT=rfc822;x@bare.example")
got = bare.wait("to-bare")
check("a host without extensions gets none", same(got.text, letter) and got.mail == "MAIL FROM:<ann@sink.example>"
      and "RCPT TO:<x@bare.example>" in got.commands, got.commands)
t.send(utf8.replace(b"Subject: utf8", b"Subject: no-utf8"), "jürgen@bare.example", mail=" SMTPUTF8")
bounce = testlib.wait_for("the report", lambda: [k for k in sink.kept if k.mail.startswith("MAIL FROM:<>") and b"Subject: no-utf8" in k.text])[0]
check("a letter that needs SMTPUTF8 comes back from there", b"5.6.7" in bounce.text and b"multipart/report" in bounce.text
      and not bare.find("no-utf8") and bounce.rcpts == ["ann@sink.example"], bounce.text)
t.close()
testlib.done()
