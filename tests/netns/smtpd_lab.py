# SPDX-License-Identifier: GPL-3.0-or-later
"""The smtpd process alone, with the tests as its parent and its queue.

    client ---- lo, veth ---- smtpd (user 2001) ==== fd 3 ==== the test (parent, queue)
"""
import array
import fcntl
import os
import resource
import select
import socket
import struct
import subprocess
import threading
import time

import testlib
from testlib import BUILD, require

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
[rule unwanted]
action = reject
listeners = tunnel
recipients = @unwanted.example
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
        self.deaf = False       # reads nothing
        self.owed, self.paying = [], threading.Lock()
        self.stop = False

    def state(self, accepting=True, code=250, why="", room=1 << 40):
        self.link.send(Q_STATE, 0, struct.pack(">BHQ", accepting, code, room) + msg_text(why))

    def stored(self, ident, code=250, why="2.0.0 queued"):
        self.link.send(Q_STORED, ident, struct.pack(">HB", code, 0) + msg_text(why))

    def credit(self):
        with self.paying:
            owed, self.owed = self.owed, []
            for ident, n in owed:
                self.link.send(Q_CREDIT, ident, struct.pack(">I", n))

    def run(self):
        while not self.stop:
            if self.deaf:
                time.sleep(0.01)
                continue
            m = self.link.recv(0.2)
            if not m:
                continue
            kind, ident, data = m
            if kind == Q_BODY:
                self.bodies[ident] = self.bodies.get(ident, b"") + data
                with self.paying:
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

    def config(self, conf, files):
        """What the parent reads: the configuration, and by their paths the public files that it names."""
        entries = [("mx.conf", conf.encode()), *files.items()]
        fd = memfd(b"".join(struct.pack(">I", len(n)) + n.encode() + struct.pack(">I", len(d)) + d for n, d in entries))
        self.parent.send(CONFIG, 0, b"", [fd])
        os.close(fd)

    def begin(self, listeners, keys, tunnel=None, conf=CONF, files=None):
        self.config(conf, {"mx.pem": keys[0], "users": b"", **(files or {})})
        m = self.parent.recv(60)
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
        self.parent.send(KEY, i, b"".join(struct.pack(">I", len(k)) + k for k in keys))


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

    def __init__(self, port=2525, addr="127.0.0.1", source="0.0.0.0"):
        self.s = socket.create_connection((addr, port), timeout=60, source_address=(source, 0))
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
