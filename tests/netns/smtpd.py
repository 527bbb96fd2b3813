# SPDX-License-Identifier: GPL-3.0-or-later
"""The smtpd process over real sockets and TLS; smtpd_lab.py plays its parent and its queue."""
import os
import re
import select
import signal
import smtplib
import socket
import ssl
import struct
import subprocess
import time

import testlib
from smtpd_lab import INNER, MX, PEER, PORTS, Q_HOME, Client, Queue, Smtpd, certificate, lab, listen, msg_text, text16
from testlib import case, check


def in_data(**kw):
    c = Client(**kw)
    c.hello()
    c.say("MAIL FROM:<a@far.example>", "RCPT TO:<b@example.net>", "DATA")
    return c


def comes_to(start, *commands):
    """What smtpd is told by its other processes reaches it a moment later: a session in which the last reply is that one,
    of as many as it takes."""
    def tried():
        c = Client()
        c.hello()
        last[:] = [c.say(*commands)]
        if last[0].startswith(start):
            return c
        c.s.close()
        return None
    last = []
    try:
        return testlib.wait_for(start, tried, step=0.2)
    except testlib.Failed:
        print("     the last reply was", last)
        return None


TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
TLS.check_hostname = False
TLS.verify_mode = ssl.CERT_NONE
keys = certificate("mx.example.net")
new_keys = certificate("new.example.net")
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
# A veth that is called as the TUN would be, its far end at the peer's.
peer = lab.machine("peer")
subprocess.run(["ip", "link", "add", "postern0", "type", "veth", "peer", "name", "far0"], check=True)
subprocess.run(["ip", "link", "set", "far0", "netns", str(peer.pid)], check=True)
subprocess.run(["ip", "addr", "add", "10.99.0.1/24", "dev", "postern0"], check=True)
subprocess.run(["ip", "link", "set", "postern0", "up"], check=True)
peer.addr("far0", "10.99.0.2/24", "10.99.0.66/24")

# A neighbour on the WAN segment has a way to the address, and even the peer's own as its source.
neighbour = lab.machine("neighbour")
subprocess.run(["ip", "link", "add", "wan0", "type", "veth", "peer", "name", "eth0"], check=True)
subprocess.run(["ip", "link", "set", "eth0", "netns", str(neighbour.pid)], check=True)
subprocess.run(["ip", "addr", "add", "192.0.2.1/24", "dev", "wan0"], check=True)
subprocess.run(["ip", "link", "set", "wan0", "up"], check=True)
neighbour.addr("eth0", "192.0.2.66/24")
neighbour.run(["ip", "route", "add", "10.99.0.1", "via", "192.0.2.1"])


def addr17(a):
    return bytes([socket.AF_INET]) + socket.inet_aton(a).ljust(16, b"\0")


tunnel = (text16(b"postern0") + b"\1" + addr17("10.99.0.1") + b"\1" + struct.pack(">II", 1, 1) + text16(b"home") + text16(b"home.example.net")
          + b"\1" + text16(b"postern0") + b"\1" + addr17("10.99.0.2") + bytes([32]) + struct.pack(">Q", 1))
socks = [(i, listen(p)) for i, p in PORTS.items()] + [(INNER, listen(2526, "10.99.0.1", "postern0")), (MX, listen(2527, "10.99.0.1"))]
d = Smtpd("smtpd")
d.begin(socks, keys, tunnel)
q = d.queue

with open(f"/proc/{d.proc.pid}/status") as f:
    status = dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
check("smtpd stands behind seccomp", status["Seccomp"] == "2" and status["NoNewPrivs"] == "1", status.get("Seccomp"))
check("smtpd runs as its own user without capabilities", status["Uid"].split()[0] == "2001" and int(status["CapEff"], 16) == 0, status["Uid"])

# --- a letter, and who may send where
with smtplib.SMTP("127.0.0.1", 2525, "client.example", timeout=60) as s:
    s.sendmail("a@far.example", ["b@example.net"], b"Subject: one\r\n\r\n.dot\r\n")
check("a letter of the internet reaches the queue", len(q.letters) == 1 and q.letters[0][2].endswith(b"\r\nSubject: one\r\n\r\n.dot\r\n"), q.letters)
check("its Received tells client, protocol, id and recipient", b"Received: from client.example ([127.0.0.1])\r\n\tby mx.example.net (Postern) "
      b"with ESMTP id " in q.letters[0][2] and b"for <b@example.net>;" in q.letters[0][2])
c = Client()
c.hello()
c.say("MAIL FROM:<a@far.example>")
check("an unknown recipient is 550 before DATA", c.say("RCPT TO:<unknown@example.net>").startswith("550 5.1.1"))
check("one that cannot be checked is 451", c.say("RCPT TO:<later@example.net>").startswith("451 4.3.0"))
check("relaying is denied", c.say("RCPT TO:<x@far.example>").startswith("550 5.7.1"))
check("a route inside of the local part is denied", c.say("RCPT TO:<x%far.example@example.net>").startswith("550 5.7.1"))
check("AUTH is not known on the public port", c.say("AUTH PLAIN AGpvZQBzZWNyZXQ=").startswith("502"))
check("XPOSTERN is not known on the public port", c.say("RSET", "MAIL FROM:<a@x.example> XPOSTERN-ID=" + "0" * 32 + ".1.1").startswith("555"))
c.s.close()

# --- one flight, one answer; 250 only when stored
c = Client()
c.hello()
c.s.sendall(b"MAIL FROM:<>\r\nRCPT TO:<b@example.net>\r\nRCPT TO:<unknown@example.net>\r\nBDAT 6 LAST\r\nA: b\r\n")
check("a pipelined flight is answered in order", [c.reply()[:3] for _ in range(4)] == ["250", "250", "550", "250"])
q.hold = True
c.s.sendall(b"MAIL FROM:<>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n")
[c.reply() for _ in range(3)]
for b in b"A: b\r\n\r\nx\r\n.\r\n":
    c.s.sendall(bytes([b]))
    time.sleep(0.002)
testlib.wait_for("the letter is at the queue", lambda: len(q.letters) == 3)
c.s.settimeout(0.3)
try:
    early = c.s.recv(100)
except TimeoutError:
    early = None
check("no 250 before the queue has stored, with each byte in a segment of its own", early is None, early)
q.hold = False
q.stored(q.letters[-1][0], 250, "2.0.0 safe now")
c.s.settimeout(60)
check("250 after it", c.reply() == "250 2.0.0 safe now")
c.s.close()

# --- smuggling, over the wire
for name, seq in (("LF.LF", b"\n.\n"), ("LF.CRLF", b"\n.\r\n"), ("CRLF.LF", b"\r\n.\n"), ("CR.CR", b"\r.\r"), ("CRCRLF.CRCRLF", b"\r\r\n.\r\r\n")):
    before = len(q.letters)
    for _ in range(3):  # what it goes on to read it reads for two seconds, which a machine may stand still
        c = in_data()
        try:
            c.s.sendall(b"A: b\r\n\r\nx" + seq + b"MAIL FROM:<evil@x.example>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n\r\n\r\n.\r\n"
                        b"MAIL FROM:<evil@x.example>\r\nRCPT TO:<b@example.net>\r\nDATA\r\nA: b\r\n.\r\n" + b"NOOP\r\n" * 50000)
            out = c.rest()
            break
        except ConnectionError as e:
            out = repr(e)
    check(f"{name} ends nothing: 550, 421, close, no reset", [r[:9] for r in out.splitlines()] == ["550 5.5.2", "421 4.5.0"], out)
    check(f"{name}: nothing is stored", len(q.letters) == before)

# --- STARTTLS
c = Client()
c.hello()
c.s.sendall(b"STARTTLS\r\nMAIL FROM:<evil@x.example>\r\n")
case("mail_case_041_bytes_behind_starttls_are_554_and_the_end", c.rest().startswith("554 5.5.0"))
c = Client()
c.hello()
check("STARTTLS is granted", c.say("STARTTLS").startswith("220"))
c.s.sendall(b"MAIL FROM:<evil@x.example>\r\nRCPT TO:<b@example.net>\r\n")
try:
    out = c.rest()
except ConnectionResetError:
    out = ""
case("mail_case_041_clear_text_instead_of_a_handshake_is_never_run", "250" not in out, out)
c = Client()
c.hello()
c.say("MAIL FROM:<a@far.example>", "STARTTLS")
c.s = TLS.wrap_socket(c.s, server_hostname="mx.example.net")
check("TLS is 1.3 with our certificate", c.s.version() == "TLSv1.3" and ssl.DER_cert_to_PEM_cert(c.s.getpeercert(True)).split() == keys[0].decode().split())
check("what was said before TLS is forgotten", c.say("RCPT TO:<b@example.net>").startswith("503") and c.say("MAIL FROM:<a@far.example>").startswith("503"))
c.say("EHLO client.example", "MAIL FROM:<a@far.example>", "RCPT TO:<b@example.net>", "DATA")
check("a letter inside of TLS", c.say(b"A: b\r\n\r\nx\r\n.\r\n").startswith("250") and b"with ESMTPS id" in q.letters[-1][2]
      and b"using TLSv1.3 with cipher TLS_" in q.letters[-1][2])
old = c
d.key(MX, new_keys)


def shown():
    """The certificate of a new session."""
    c = Client()
    c.hello()
    c.say("STARTTLS")
    with TLS.wrap_socket(c.s) as s:
        return ssl.DER_cert_to_PEM_cert(s.getpeercert(True)).split()


check("a new certificate serves new sessions", testlib.wait_for("it", lambda: shown() == new_keys[0].decode().split()))
check("and the old session goes on", old.say("NOOP").startswith("250"))
old.s.close()
stalled = [Client(2465) for _ in range(20)]  # they never say hello to TLS
with smtplib.SMTP_SSL("127.0.0.1", 2465, context=TLS, timeout=60) as s:
    check("stalled handshakes hold nobody up", s.ehlo("printer")[0] == 250)
    code, why = s.docmd("MAIL FROM:<joe@example.net>")
    check("submission without AUTH is 530", code == 530, why)
    try:
        s.login("joe", "wrong")
        check("a wrong password is refused", False)
    except smtplib.SMTPAuthenticationError as e:
        check("a wrong password is refused", e.smtp_code == 535)
    s.login("joe", "secret")
    check("another's sender is refused", s.docmd("MAIL FROM:<boss@example.net>")[0] == 550)
    s.sendmail("joe@example.net", ["x@far.example"], b"From: joe@example.net\r\nSubject: out\r\n\r\nhi\r\n")
    check("a submission goes out, complete and without its client's address",
          b"with ESMTPSA id" in q.letters[-1][2] and b"127.0.0.1" not in q.letters[-1][2] and b"\r\nDate: " in q.letters[-1][2]
          and b"\r\nMessage-ID: <" in q.letters[-1][2], q.letters[-1][2])
    try:
        s.sendmail("joe@example.net", ["x@far.example"], b"From: boss@example.net\r\n\r\nhi\r\n")
        check("another's From is refused", False)
    except smtplib.SMTPDataError as e:
        check("another's From is refused", e.smtp_code == 550)
with open(d.log) as f:
    text = f.read()
check("the log says who has logged in, and by what a letter came",
      re.search(r'client=127.0.0.1 family=ipv4 listener=\S+ user="joe" by=password tls="TLSv1.3 \S+" msg="authenticated"', text) and
      re.search(r'family=ipv4 listener=\S+ letter=[0-9a-f]{32} helo="[^"]*" tls="TLSv1.3 \S+" .*user="joe" .*"accepted"', text) and
      re.search(r'family=ipv4 listener=\S+ letter=[0-9a-f]{32} helo="[^"]*" tls="" .*user="" .*"accepted"', text), text[-3000:])
with smtplib.SMTP("127.0.0.1", 2587, timeout=60) as s:
    check("on 587 nothing goes before TLS", s.docmd("EHLO x")[0] == 250 and s.docmd("MAIL FROM:<joe@example.net>")[0] == 530
          and s.docmd("AUTH PLAIN AGpvZQBzZWNyZXQ=")[0] in (235, 538))
[x.s.close() for x in stalled]

# --- a large letter, a slow queue
big = b"A: b\r\n\r\n" + (b"x" * 998 + b"\r\n") * 6000
q.hold_credit = True
c = in_data()
sent = 0
c.s.settimeout(0.5)
try:
    while sent < len(big):
        sent += c.s.send(big[sent:sent + 65536])
except TimeoutError:
    pass
under_way = sum(n for _, n in q.owed)
check("without credit the client has to wait", sent < len(big) and under_way <= 65536, (sent, under_way))
other = in_data()
check("and others are served meanwhile", other.say(b"A: b\r\n\r\n.\r\n").startswith("250"))
other.s.close()
q.hold_credit = False
q.credit()
c.s.settimeout(60)
c.s.sendall(big[sent:])
check("with credit it arrives whole", c.say(b".\r\n").startswith("250") and q.letters[-1][2].endswith(big))
with open(f"/proc/{d.proc.pid}/status") as f:
    hwm = [int(x.split()[1]) for x in f if x.startswith("VmHWM")][0]
print(f"     peak memory {hwm} KB")
c.s.close()
c = in_data()
c.s.sendall(big[:500000])
testlib.wait_for("some of it is under way", lambda: q.bodies)
c.s.close()
testlib.wait_for("a lost connection aborts the letter at the queue", lambda: q.aborts == 1)

# --- large letters of many at a time, a queue that is busy elsewhere
CROWD = 250
body = b"A: b\r\n\r\n" + (b"y" * 998 + b"\r\n") * 200
q.deaf = True
before = len(q.letters)
crowd = [in_data(source=f"127.0.1.{i + 1}") for i in range(CROWD)]
left = {c: body + b".\r\n" for c in crowd}
while any(left.values()):
    able = select.select([], [c.s for c in crowd if left[c]], [], 0.5)[1]
    if not able:
        break  # it takes no more from anybody
    for c in crowd:
        if c.s in able:
            left[c] = left[c][c.s.send(left[c][:65536]):]
q.deaf = False
for c in crowd:
    c.s.settimeout(60)
answers = [c.say(left[c]) for c in crowd]
check("each of many large letters waits until the queue has room", all(a.startswith("250") for a in answers),
      {a: answers.count(a) for a in answers if not a.startswith("250")})
check("and comes whole", sum(letter[2].endswith(body) for letter in q.letters[before:]) == CROWD)
for c in crowd:
    c.s.close()

# --- the queue is full, or goes away
q.state(False, 452, "4.3.1 Insufficient system storage")
check("a full queue is 452 at MAIL", comes_to("452 4.3.1", "MAIL FROM:<a@far.example>"))
q.state(True, 250, "", 1000)
c = comes_to("250", "MAIL FROM:<a@far.example> SIZE=1000")
check("SIZE beyond its room is 452", c and c.say("RSET", "MAIL FROM:<a@far.example> SIZE=1001").startswith("452 4.3.1"))
q.state()
check("and service resumes", comes_to("250", "MAIL FROM:<a@far.example> SIZE=1001"))
check("in a session that stands too", c and c.say("MAIL FROM:<a@far.example> SIZE=1001").startswith("250"))
q.link.send(Q_HOME, 0, b"\1" + msg_text("home"))
check("a full home is 452 for its recipients", comes_to("452 4.2.2", "MAIL FROM:<a@far.example>", "RCPT TO:<b@example.net>"))
q.link.send(Q_HOME, 0, b"\0" + msg_text("home"))
check("until it has room", comes_to("250", "MAIL FROM:<a@far.example>", "RCPT TO:<b@example.net>"))
check("in a session that stands too", c and c.say("RCPT TO:<b@example.net>").startswith("250"))
q.hold = True
c.say("DATA")
c.s.sendall(b"A: b\r\n\r\n.\r\n")
testlib.wait_for("the letter waits", lambda: q.letters[-1][2].endswith(b"A: b\r\n\r\n"))
q.stop = True
q.join()
q.link.sock.close()
check("a queue that dies makes 451 of a letter under way", c.reply().startswith("451 4.3.0"))
check("and 451 of the next MAIL", c.say("MAIL FROM:<a@far.example>").startswith("451 4.3.0"))
q = d.queue = Queue()
d.parent.send(PEER, 1, b"", [q.link.far.fileno()])
q.link.far.close()
q.start()
q.state()
check("with a new queue MAIL is taken", comes_to("250", "MAIL FROM:<a@far.example>"))
c.say("MAIL FROM:<a@far.example>", "RCPT TO:<b@example.net>", "DATA")
check("a new queue takes letters again", c.say(b"A: b\r\n\r\n.\r\n").startswith("250"))
c.s.close()

# --- the tunnel: who is a peer
ASK = """
import socket, sys
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=60, source_address=(sys.argv[3], 0))
f = s.makefile("rwb", buffering=0)
print(f.readline().decode().strip())
for c in sys.argv[4:]:
    f.write(c.encode() + b"\\r\\n")
    while True:
        r = f.readline().decode().rstrip()
        print(r)
        if r[3:4] != "-":
            break
"""
out = peer.python(ASK, "10.99.0.1", "2526", "10.99.0.2", "EHLO home.example.net",
                  "MAIL FROM:<b@example.net> XPOSTERN-ID=" + "ab" * 16 + ".7.3 XPOSTERN-HELO=laptop", "RCPT TO:<x@far.example>",
                  "DATA", "From: b@example.net\r\n\r\nhi\r\n.").stdout
check("a peer is offered XPOSTERN and may relay from its domains", "250-XPOSTERN 1" in out and out.strip().splitlines()[-1].startswith("250 "), out)
check("the queue is told peer and letter id", b"home\0" in q.letters[-1][1] and bytes.fromhex("ab" * 16) in q.letters[-1][1])
out = peer.python(ASK, "10.99.0.1", "2526", "10.99.0.2", "EHLO x", "MAIL FROM:<b@far.example>").stdout
check("but not with a sender of others", out.strip().splitlines()[-1].startswith("550 5.7.1"), out)
out = peer.python(ASK, "10.99.0.1", "2526", "10.99.0.2", "EHLO x", "MAIL FROM:<b@example.net>",
                  *[f"RCPT TO:<x{n}@unwanted.example>" for n in range(80)]).stdout
with open(d.log, errors="replace") as f:
    told = f.read().count("@unwanted.example")
check("a peer may be refused as often as it likes, and does not fill the log",
      out.count("\n550 5.7.1 ") == 80 and 0 < told < 80, (told, out[-200:]))
out = peer.python(ASK, "10.99.0.1", "2526", "10.99.0.66").stdout
check("an address that no peer has is turned away", out.startswith("421 ") and "tunnel peer" in out, out)
out = peer.python(ASK, "10.99.0.1", "2527", "10.99.0.2", "EHLO x").stdout
check("a peer's address on another listener is no peer", "XPOSTERN" not in out and "250" in out, out)
check("a neighbour reaches the address", neighbour.python(ASK, "10.99.0.1", "2527", "192.0.2.66").stdout.startswith("220"))
out = neighbour.python(ASK, "10.99.0.1", "2526", "192.0.2.66", check=False).stdout
check("but the tunnel listener is on the device alone", "Refused" in out or "timed out" in out, out)

# --- limits
MANY = """
import socket
socks = [socket.create_connection(("10.99.0.1", 2527), timeout=50) for _ in range(25)]
print(sorted(s.recv(3) for s in socks))
"""
testlib.wait_for("those before have gone", lambda: not subprocess.run(
    ["ss", "-Htn", "state", "established", "state", "close-wait", "src", "10.99.0.1"], stdout=subprocess.PIPE, check=True).stdout)
out = peer.python(MANY).stdout
check("the 21st session of one prefix is 421", out.count("220") == 20 and out.count("421") == 5, out)

# --- shutdown
c = in_data()
idle = Client()
idle.hello()
q.hold = True
c.s.sendall(b"A: b\r\n\r\nlast\r\n.\r\n")
testlib.wait_for("the last letter is at the queue", lambda: q.letters[-1][2].endswith(b"last\r\n"))
d.proc.send_signal(signal.SIGTERM)
check("SIGTERM says 421 to idle sessions", idle.rest().startswith("421 4.3.2"))
q.stored(q.letters[-1][0])
case("mail_case_060_sigterm_lets_a_letter_that_is_whole_get_its_answer", c.rest().startswith("250 2.0.0 queued"))
check("then smtpd ends in order", d.proc.wait(60) == 0, d.proc.returncode)

# --- out of descriptors
for _, s in socks:
    s.close()
d = Smtpd("smtpd-few", files=40)
d.begin([(MX, listen(2525))], keys)
first = Client()
first.hello()
more = [socket.create_connection(("127.0.0.1", 2525), timeout=60) for _ in range(60)]


def ticks():
    with open(f"/proc/{d.proc.pid}/stat") as f:
        return sum(int(x) for x in f.read().rsplit(")", 1)[1].split()[11:13])


def rests():
    """In two seconds it takes a fifth of one at most; who has not had his greeting yet may cost it more once."""
    before = ticks()
    time.sleep(2)
    used.append(ticks() - before)
    return used[-1] < 20


used = []
case("mail_case_058_out_of_descriptors_it_does_not_spin", any(rests() for _ in range(10)), used)
case("mail_case_058_sessions_that_stand_are_served", first.say("NOOP").startswith("250"))
for s in more[:50]:
    s.close()
more[-1].settimeout(60)
case("mail_case_058_those_that_waited_are_welcomed_once_others_have_gone", more[-1].recv(3) == b"220")
d.proc.send_signal(signal.SIGTERM)
check("and it ends in order too", d.proc.wait(60) == 0, d.proc.returncode)
testlib.done()
