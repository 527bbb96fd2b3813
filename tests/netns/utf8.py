# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses and fields in UTF-8 over both hops: in by BDAT to a Maildir, out to a host that has SMTPUTF8 and to one that has
not, which still gets what needs none of it.
"""
import json
import os
import sys

import testlib
from testlib import case, check, wait_for

WIDE, NARROW = "198.51.100.31", "198.51.100.32"
lab, net = testlib.start(hosts=[("mx-a", WIDE), ("mx-b", NARROW)])
import cast  # noqa: E402
import foreign  # noqa: E402
import post  # noqa: E402

# Says each text and waits for its answer; prints the answers.
TALK = r"""
import json, socket, sys
host, port, texts = json.loads(sys.argv[1])
s = socket.create_connection((host, port), 60)
f = s.makefile("rb")
def answer():
    while True:
        line = f.readline()
        if line[3:4] != b"-": return line.decode().strip()
out = [answer()]
for t in texts:
    s.sendall(t.encode())
    out.append(answer())
print(json.dumps(out))
"""


def talk(m, host, port, *texts):
    return json.loads(m.run([sys.executable, "-c", TALK, json.dumps([host, port, texts])]).stdout)


def letter(m, host, port, sender, to, text, params=" SMTPUTF8 BODY=8BITMIME"):
    """By BDAT, cut in the middle of a line and of a character."""
    raw = text.encode()
    cut = len(raw) // 2
    first, last = raw[:cut], raw[cut:]
    # The wire takes text: what is cut inside of a character goes as two chunks of one text.
    return talk(m, host, port, "EHLO client.example\r\n", f"MAIL FROM:<{sender}>{params}\r\n", f"RCPT TO:<{to}>\r\n",
                f"BDAT {len(first)}\r\n" + first.decode(), f"BDAT {len(last)} LAST\r\n" + last.decode(), "QUIT\r\n")


def text(subject, extra=""):
    body = "".join(f".{'.' * (n % 3)} a line with dots\r\n" for n in range(40)) + ".\r\nend\r\n"
    return f"From: x@example.org\r\nSubject: {subject}\r\n{extra}\r\n{body}"


vps, home = cast.tunnel(net)
net.vps.write("/etc/root.hints", foreign.ROOT_HINTS)
cast.mail(vps, home, vps_extra=f"""
[route wide]
kind = smarthost
address = {WIDE}
port = 25
tls = none
domains = wide.example, bücher.example
[route narrow]
kind = smarthost
address = {NARROW}
port = 25
tls = none
domains = narrow.example
""", home_extra="""
[listener lan]
address = 127.0.0.1:2587
[listener submission]
[listener submissions]
""")
wide = post.sink(net.mx_a, WIDE, offers="PIPELINING 8BITMIME SMTPUTF8 CHUNKING")
narrow = post.sink(net.mx_b, NARROW)
cast.up(net, vps, home)


def lines(t):
    """Of its body; home adds a Date to the fields."""
    return t.split(b"\r\n\r\n", 1)[1]


def mailbox(subject):
    return next((t for t in foreign.maildir_letters(net.home, "/home/alice/Maildir") if subject.encode() in t), None)


def log(side):
    with open(os.path.join(lab.logs, f"{side}-postern-mta.log"), errors="replace") as f:
        return f.read()


# ---- inward
got = letter(net.mx_a, net.VPS4, 25, "jörg@far.example", "alice@example.org", text("grüße"))
check("the edge takes it in chunks", [a[:3] for a in got] == ["220"] + ["250"] * 5 + ["221"], got)
t = wait_for("it is home", lambda: mailbox("Subject: grüße"))
check("the sender is as he is called", t.startswith("Return-Path: <jörg@far.example>".encode()), t[:80])
check("both hops had it as UTF-8", t.count(b"with UTF8SMTP") == 2, t[:600])
check("no dot is lost or new", t.replace(b"\n", b"\r\n").endswith(text("grüße").encode()), t[-300:])
got = talk(net.mx_a, net.VPS4, 25, "EHLO x.example\r\n", "MAIL FROM:<jörg@far.example>\r\n", "MAIL FROM:<j@far.example>\r\n",
           "RCPT TO:<älice@example.org>\r\n", "QUIT\r\n")
case("mail_case_036_utf8_without_the_parameter_is_refused_on_the_wire", got[2].startswith("553 5.6.7")
     and got[4].startswith("553 5.6.7"), got)

# ---- outward, to a host that has it
got = letter(net.home, "127.0.0.1", 2587, "alice@example.org", "bjørn@wide.example", text("ærlig"))
check("home takes it", got[5].startswith("250"), got)
env = wait_for("it is at the wide host", lambda: post.envelopes(wide).get("ærlig"))
check("to the address as it is written", env == ("alice@example.org", ["bjørn@wide.example"]), env)
with open(wide + "/1.env", "rb") as f:
    check("which was asked for SMTPUTF8", b" SMTPUTF8" in f.readline())
check("its lines, and its field", lines(post.letters(wide)[0]) == lines(text("ærlig").encode()) and
      "Subject: ærlig\r\n".encode() in post.letters(wide)[0], post.letters(wide)[0][-200:])

# ---- a domain that has two spellings, of which the configuration knows one
for to, words, params in (("kauf@bücher.example", "breit", " SMTPUTF8 BODY=8BITMIME"),
                          ("kauf@XN--BCHER-KVA.example", "schmal", " BODY=8BITMIME")):
    got = letter(net.home, "127.0.0.1", 2587, "alice@example.org", to, text(words), params)
    check(f"home takes a letter to {to}", got[5].startswith("250"), got)
    env = wait_for("it is at the wide host", lambda: post.envelopes(wide).get(words))
    check("it goes by the route of that domain, to the address as it is written", env == ("alice@example.org", [to]), env)

# ---- outward, to a host that has not
got = letter(net.home, "127.0.0.1", 2587, "alice@example.org", "bob@narrow.example", text("only in ascii"))
check("home takes a letter whose client asked for more than it needs", got[5].startswith("250"), got)
env = wait_for("it is at the narrow host", lambda: post.envelopes(narrow).get("only in ascii"))
check("which was not asked for what it has not", env == ("alice@example.org", ["bob@narrow.example"]), env)
check("the same lines", lines(post.letters(narrow)[0]) == lines(text("only in ascii").encode()), post.letters(narrow)[0][-200:])
for what, to, words in (("a field", "bob@narrow.example", text("øre")), ("an address", "børge@narrow.example", text("plain"))):
    got = letter(net.home, "127.0.0.1", 2587, "alice@example.org", to, words)
    check(f"home takes a letter with {what} in UTF-8", got[5].startswith("250"), got)
wait_for("both fail", lambda: log("vps").count("does not offer SMTPUTF8") == 2)
check("for good", len([line for line in log("vps").splitlines() if "does not offer SMTPUTF8" in line
                       and "result=failed" in line]) == 2, log("vps")[-600:])
check("and the host has seen neither", len(post.letters(narrow)) == 1)
testlib.done()
