# SPDX-License-Identifier: GPL-3.0-or-later
"""A mail host that writes down who came, from where, as whom and in which order; what it does depends on the address
that it is asked at.

usage: sink.py REPORT [ADDRESS=BEHAVIOUR,...]...    listens on port 25 of all addresses, and on 2525

Behaviours: refuse (554 as greeting), slow (a second before the reply to the dot), single (three seconds before that,
and meanwhile 421 to whoever else comes).
Recipients never@ get 550, later@ 451.
Each line of REPORT is one event as JSON: {"session": 3, "what": "open" | "letter" | "close", ...}.
"""
import json
import os
import socket
import sys
import threading
import time


class Sink:
    def __init__(self, report, behaviours):
        self.out, self.behaviours, self.lock, self.sessions = open(report, "a"), behaviours, threading.Lock(), 0
        self.single = threading.Lock()

    def tell(self, session, what, **more):
        with self.lock:
            self.out.write(json.dumps(dict(session=session, what=what, t=time.monotonic(), wall=time.time(), **more)) + "\n")
            self.out.flush()

    def serve(self, port):
        server = socket.socket(socket.AF_INET6)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        server.bind(("::", port))
        server.listen(200)
        while True:
            c, peer = server.accept()
            with self.lock:
                self.sessions += 1
            threading.Thread(target=self.session, args=(c, peer[0], self.sessions), daemon=True).start()

    def session(self, c, peer, number):
        at, port = (c.getsockname()[0].replace("::ffff:", ""), c.getsockname()[1])
        behaviour = self.behaviours.get(at, "")
        c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.tell(number, "open", source=peer.replace("::ffff:", ""), at=at, port=port)
        try:
            if "single" not in behaviour:
                self.talk(c, c.makefile("rb"), number, behaviour, dict(at=at))
            elif self.single.acquire(blocking=False):
                try:
                    self.talk(c, c.makefile("rb"), number, behaviour, dict(at=at))
                finally:
                    self.single.release()
            else:
                c.sendall(b"421 4.7.0 one at a time\r\n")
        except (OSError, ValueError):
            pass
        self.tell(number, "close")
        c.close()

    def talk(self, c, f, number, behaviour, facts):
        def say(text):
            c.sendall(text.encode() + b"\r\n")
        if "refuse" in behaviour:
            return say("554 5.3.2 not here")
        say("220 sink.example")
        for line in f:
            word = line[:4].upper()
            if word in (b"EHLO", b"HELO"):
                facts["helo"] = line.split()[1].decode()
                say("250-sink.example\r\n250-PIPELINING\r\n250 8BITMIME")
            elif word == b"DATA":
                say("354 go on")
                body = self.body(f)
                if body is None:
                    return
                if behaviour in ("slow", "single"):
                    self.tell(number, "held", at=facts["at"])
                    time.sleep(1 if behaviour == "slow" else 3)
                self.tell(number, "letter", subject=self.subject(body), size=len(body), **facts)
                say("250 2.0.0 taken")
            elif word == b"QUIT":
                return say("221 bye")
            elif word == b"RCPT" and b"<never@" in line:
                say("550 5.1.1 nobody of that name")
            elif word == b"RCPT" and b"<later@" in line:
                say("451 4.2.0 come again")
            else:
                if word in (b"MAIL", b"RCPT"):
                    facts[word.decode().lower()] = line.split(b"<")[1].split(b">")[0].decode()
                say("250 2.0.0 ok")

    @staticmethod
    def body(f):
        out = []
        for line in f:
            if line == b".\r\n":
                return b"".join(out)
            out.append(line)
        return None

    @staticmethod
    def subject(body):
        for line in body.split(b"\r\n"):
            if line.lower().startswith(b"subject: "):
                return line[9:].decode()
        return ""


REPORT = "sink-report"


def start(m, behaviours=()):
    """On machine @m; @behaviours: pairs of address and behaviour."""
    from lab import wait_for
    p = m.start([sys.executable, __file__, f"/tmp/{REPORT}", *(f"{a}={b}" for a, b in behaviours)], log="sink")
    code = "import socket; socket.create_connection(('127.0.0.1', 25), 1).close()"
    wait_for("the sink to listen", lambda: m.python(code, check=False).returncode == 0)
    return p


def events(m, what="letter"):
    """Of the sink on @m, but for what came from that machine itself."""
    try:
        with open(os.path.join(m.dir, "tmp", REPORT)) as f:
            lines = f.read().split("\n")[:-1]
    except FileNotFoundError:
        return []
    return [e for e in map(json.loads, lines) if e["what"] == what and e.get("source") != "127.0.0.1"]


if __name__ == "__main__":
    sink = Sink(sys.argv[1], dict(a.split("=", 1) for a in sys.argv[2:]))
    threading.Thread(target=sink.serve, args=(2525,), daemon=True).start()
    sink.serve(25)
