# SPDX-License-Identifier: GPL-3.0-or-later
"""The smtpd process over real sockets and TLS; this script plays its parent and its queue.

    client ---- lo, veth ---- smtpd (user 2001) ==== fd 3 ==== this script (parent, queue)
"""
import array
import fcntl
import os
import resource
import select
import signal
import smtplib
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time

import testlib
from testlib import BUILD, check, require

SMTPD = os.path.join(BUILD, "tests", "netns", "smtpd_alone")
if not os.path.exists(SMTPD):
    testlib.skip(f"{SMTPD} is not built")
lab, _ = testlib.start(topology=False)

CONFIG, PEER, LISTENER, LISTENERS_END, KEY, TUNNEL, READY = 1, 2, 3, 4, 5, 6, 9
Q_STATE, Q_HOME, Q_BODY, Q_CREDIT, Q_STORE, Q_ABORT, Q_STORED = range(0x200, 0x207)
MX, SUBMISSION, SUBMISSIONS, INNER = range(4)
PORTS = {MX: 2525, SUBMISSION: 2587, SUBMISSIONS: 2465}
CONF = """
[mta]
role = edge
hostname = mx.example.net
run-dir = /run
state-dir = /run
user = 2001
queue-user = 2002
users = users
certificate = mx.pem
private-key = mx.key
[listener mx]
address = 127.0.0.1:2525
[listener submission]
address = 127.0.0.1:2587
[listener submissions]
address = 127.0.0.1:2465
[listener tunnel]
[home home]
domains = example.net
check-recipients = no
"""


def memfd(data):
    fd = os.memfd_create("test", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
    os.write(fd, data)
    fcntl.fcntl(fd, 1033, 0xf)  # F_ADD_SEALS
    return fd


def text16(s):
    return struct.pack(">H", len(s)) + s


def msg_text(s):
    return text16(s.encode() + b"\0")


def certificate(name):
    d = os.path.join(lab.dir, name)
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
                    "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}", "-keyout", d + ".key", "-out", d + ".pem"],
                   check=True, stderr=subprocess.DEVNULL)
    with open(d + ".pem", "rb") as c, open(d + ".key", "rb") as k:
        return c.read(), k.read()


class Link:
    """Our end of a struct ipc."""

    def __init__(self):
        self.sock, self.far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for s in (self.sock, self.far):
            s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)

    def send(self, kind, ident=0, data=b"", fds=()):
        head = struct.pack("=III", kind, ident, len(data))
        anc = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        self.sock.sendmsg([head + data], anc)

    def recv(self, seconds=5.0):
        if not select.select([self.sock], [], [], seconds)[0]:
            return None
        raw = self.sock.recv(1 << 20)
        if not raw:
            return None
        kind, ident, n = struct.unpack("=III", raw[:12])
        return kind, ident, raw[12:12 + n]


class Queue(threading.Thread):
    """Answers as it is told; keeps every letter."""

    def __init__(self):
        super().__init__(daemon=True)
        self.link = Link()
        self.letters, self.bodies, self.aborts = [], {}, 0
        self.hold = False       # no answers to letters
        self.hold_credit = False
        self.owed = []
        self.stop = False

    def state(self, accepting=True, code=250, why="", room=1 << 40):
        self.link.send(Q_STATE, 0, struct.pack(">BHQ", accepting, code, room) + msg_text(why))

    def stored(self, ident, code=250, why="2.0.0 queued"):
        self.link.send(Q_STORED, ident, struct.pack(">HB", code, 0) + msg_text(why))

    def credit(self):
        for ident, n in self.owed:
            self.link.send(Q_CREDIT, ident, struct.pack(">I", n))
        self.owed = []

    def run(self):
        while not self.stop:
            m = self.link.recv(0.2)
            if not m:
                continue
            kind, ident, data = m
            if kind == Q_BODY:
                self.bodies[ident] = self.bodies.get(ident, b"") + data
                self.owed.append((ident, len(data)))
                if not self.hold_credit:
                    self.credit()
            elif kind == Q_ABORT:
                self.aborts += 1
                self.bodies.pop(ident, None)
            elif kind == Q_STORE:
                streamed, size = struct.unpack(">BQ", data[:9])
                body = self.bodies.pop(ident, b"") if streamed else data[len(data) - size:] if size else b""
                self.letters.append((ident, data, body))
                assert len(body) == size, (len(body), size)
                if not self.hold:
                    self.stored(ident)


class Smtpd:
    def __init__(self, name, files=None):
        self.parent = Link()
        far = self.parent.far.fileno()
        self.log = os.path.join(lab.logs, f"{name}.log")

        def child():
            os.dup2(far, 3)
            os.set_inheritable(3, True)
            if files:
                resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
        with open(self.log, "ab") as log:
            self.proc = subprocess.Popen([SMTPD, "--proc", "smtpd"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, close_fds=False,
                                         preexec_fn=child)
        self.parent.far.close()
        self.queue = Queue()

    def begin(self, listeners, keys, tunnel=None):
        names = {"mx.pem": keys[0], "mx.conf": CONF.encode(), "users": b""}
        data = b"".join(struct.pack(">I", len(n)) + n.encode() + struct.pack(">I", len(names[n])) + names[n]
                        for n in ("mx.conf", "mx.pem", "users"))
        fd = memfd(data)
        self.parent.send(CONFIG, 0, b"", [fd])
        os.close(fd)
        m = self.parent.recv(10)
        require("smtpd takes its configuration and is ready", m and m[0] == READY, m or open(self.log).read())
        self.parent.send(PEER, 1, b"", [self.queue.link.far.fileno()])
        self.queue.link.far.close()
        self.queue.start()
        self.queue.state()
        for i in range(4):
            self.key(i, keys)
        if tunnel:
            fd = memfd(tunnel)
            self.parent.send(TUNNEL, 0, b"", [fd])
            os.close(fd)
        for i, sock in listeners:
            at = struct.pack("@BxB16sxH", i == INNER, socket.AF_INET, socket.inet_aton(sock.getsockname()[0]).ljust(16, b"\0"),
                             sock.getsockname()[1])
            self.parent.send(LISTENER, i, at, [sock.fileno()])
        self.parent.send(LISTENERS_END)

    def key(self, i, keys):
        self.parent.send(KEY, i, struct.pack(">I", len(keys[0])) + keys[0] + keys[1])


def listen(port, addr="127.0.0.1", dev=None):
    s = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if dev:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, dev.encode())
    s.bind((addr, port))
    s.listen(1024)
    return s


class Client:
    """Bytes, as a client that keeps to no rule would send them."""

    def __init__(self, port=2525, addr="127.0.0.1"):
        self.s = socket.create_connection((addr, port), timeout=10)
        self.s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buf = b""

    def line(self):
        while b"\r\n" not in self.buf:
            d = self.s.recv(65536)
            if not d:
                return None
            self.buf += d
        out, self.buf = self.buf.split(b"\r\n", 1)
        return out.decode()

    def reply(self):
        while True:
            r = self.line()
            if r is None or r[3:4] != "-":
                return r

    def say(self, *commands):
        """Each command, each reply; gives the last."""
        for c in commands:
            self.s.sendall(c if isinstance(c, bytes) else c.encode() + b"\r\n")
            r = self.reply()
        return r

    def hello(self):
        self.reply()
        return self.say("EHLO client.example")

    def rest(self):
        """All that comes to the orderly end; a reset raises."""
        while True:
            d = self.s.recv(65536)
            if not d:
                out, self.buf = self.buf, b""
                return out.decode()
            self.buf += d


def in_data(**kw):
    c = Client(**kw)
    c.hello()
    c.say("MAIL FROM:<a@far.example>", "RCPT TO:<b@example.net>", "DATA")
    return c


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
with smtplib.SMTP("127.0.0.1", 2525, "client.example", timeout=10) as s:
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
c.s.settimeout(10)
check("250 after it", c.reply() == "250 2.0.0 safe now")
c.s.close()

# --- smuggling, over the wire
for name, seq in (("LF.LF", b"\n.\n"), ("LF.CRLF", b"\n.\r\n"), ("CRLF.LF", b"\r\n.\n"), ("CR.CR", b"\r.\r"), ("CRCRLF.CRCRLF", b"\r\r\n.\r\r\n")):
    before = len(q.letters)
    c = in_data()
    c.s.sendall(b"A: b\r\n\r\nx" + seq + b"MAIL FROM:<evil@x.example>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n\r\n\r\n.\r\n"
                b"MAIL FROM:<evil@x.example>\r\nRCPT TO:<b@example.net>\r\nDATA\r\nA: b\r\n.\r\n" + b"NOOP\r\n" * 50000)
    out = c.rest()
    check(f"{name} ends nothing: 550, 421, close, no reset", [r[:9] for r in out.splitlines()] == ["550 5.5.2", "421 4.5.0"], out)
    check(f"{name}: nothing is stored", len(q.letters) == before)

# --- STARTTLS
c = Client()
c.hello()
c.s.sendall(b"STARTTLS\r\nMAIL FROM:<evil@x.example>\r\n")
check("bytes behind STARTTLS are 554 and the end", c.rest().startswith("554 5.5.0"))
c = Client()
c.hello()
check("STARTTLS is granted", c.say("STARTTLS").startswith("220"))
c.s.sendall(b"MAIL FROM:<evil@x.example>\r\nRCPT TO:<b@example.net>\r\n")
try:
    out = c.rest()
except ConnectionResetError:
    out = ""
check("clear text instead of a handshake is never run", "250" not in out, out)
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
time.sleep(0.2)
c = Client()
c.hello()
c.say("STARTTLS")
c.s = TLS.wrap_socket(c.s)
check("a new certificate serves new sessions", ssl.DER_cert_to_PEM_cert(c.s.getpeercert(True)).split() == new_keys[0].decode().split())
check("and the old session goes on", old.say("NOOP").startswith("250"))
c.s.close()
old.s.close()
stalled = [Client(2465) for _ in range(20)]  # they never say hello to TLS
began = time.monotonic()
with smtplib.SMTP_SSL("127.0.0.1", 2465, context=TLS, timeout=10) as s:
    check("stalled handshakes hold nobody up", time.monotonic() - began < 2)
    s.ehlo("printer")
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
with smtplib.SMTP("127.0.0.1", 2587, timeout=10) as s:
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
c.s.settimeout(10)
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

# --- the queue is full, or goes away
q.state(False, 452, "4.3.1 Insufficient system storage")
time.sleep(0.1)
c = Client()
c.hello()
check("a full queue is 452 at MAIL", c.say("MAIL FROM:<a@far.example>").startswith("452 4.3.1"))
q.state(True, 250, "", 1000)
time.sleep(0.1)
check("SIZE beyond its room is 452", c.say("MAIL FROM:<a@far.example> SIZE=1001").startswith("452 4.3.1"))
q.state()
time.sleep(0.1)
check("and service resumes", c.say("MAIL FROM:<a@far.example> SIZE=1001").startswith("250"))
q.link.send(Q_HOME, 0, b"\1" + msg_text("home"))
time.sleep(0.1)
check("a full home is 452 for its recipients", c.say("RCPT TO:<b@example.net>").startswith("452 4.2.2"))
q.link.send(Q_HOME, 0, b"\0" + msg_text("home"))
time.sleep(0.1)
check("until it has room", c.say("RCPT TO:<b@example.net>").startswith("250"))
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
time.sleep(0.1)
c.say("MAIL FROM:<a@far.example>", "RCPT TO:<b@example.net>", "DATA")
check("a new queue takes letters again", c.say(b"A: b\r\n\r\n.\r\n").startswith("250"))
c.s.close()

# --- the tunnel: who is a peer
ASK = """
import socket, sys
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=5, source_address=(sys.argv[3], 0))
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
out = peer.python(ASK, "10.99.0.1", "2526", "10.99.0.66").stdout
check("an address that no peer has is turned away", out.startswith("421 ") and "tunnel peer" in out, out)
out = peer.python(ASK, "10.99.0.1", "2527", "10.99.0.2", "EHLO x").stdout
check("a peer's address on another listener is no peer", "XPOSTERN" not in out and "250" in out, out)
check("a neighbour reaches the address", neighbour.python(ASK, "10.99.0.1", "2527", "192.0.2.66").stdout.startswith("220"))
out = neighbour.python(ASK, "10.99.0.1", "2526", "192.0.2.66", check=False).stdout
check("but the tunnel listener is on the device alone", "Refused" in out or "timed out" in out, out)

# --- limits
MANY = """
import socket, time
socks = [socket.create_connection(("10.99.0.1", 2527), timeout=5) for _ in range(25)]
print(sorted(s.recv(3) for s in socks))
"""
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
check("and a letter that is whole gets its answer", c.rest().startswith("250 2.0.0 queued"))
check("then smtpd ends in order", d.proc.wait(10) == 0, d.proc.returncode)

# --- out of descriptors
for _, s in socks:
    s.close()
d = Smtpd("smtpd-few", files=40)
d.begin([(MX, listen(2525))], keys)
first = Client()
first.hello()
more = [socket.create_connection(("127.0.0.1", 2525), timeout=5) for _ in range(60)]
time.sleep(1)
t0 = sum(os.times()[:2])
with open(f"/proc/{d.proc.pid}/stat") as f:
    used = [int(x) for x in f.read().rsplit(")", 1)[1].split()[11:13]]
time.sleep(2)
with open(f"/proc/{d.proc.pid}/stat") as f:
    used = sum(int(x) for x in f.read().rsplit(")", 1)[1].split()[11:13]) - sum(used)
check("out of descriptors, it does not spin", used < 20, used)
check("and sessions that stand are served", first.say("NOOP").startswith("250"))
for s in more[:50]:
    s.close()
more[-1].settimeout(5)
check("those that waited are welcomed once others have gone", more[-1].recv(3) == b"220")
d.proc.send_signal(signal.SIGTERM)
check("and it ends in order too", d.proc.wait(10) == 0, d.proc.returncode)
testlib.done()
