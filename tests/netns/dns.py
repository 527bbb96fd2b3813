# SPDX-License-Identifier: GPL-3.0-or-later
"""Name servers that lie, cut their answers short, send us in circles or say nothing: mail waits, goes where the truth says, and
no answer costs more than it should.

	edge (postern-mta, a resolver that forwards) 192.0.2.1 ---- 192.0.2.10 world (name server, mail hosts)
"""
import json
import os
import re
import socket
import struct
import sys
import threading
import time

GOOD, EVIL = "192.0.2.20", "192.0.2.66"
CHAIN = 20  # CNAMEs one behind the other

# ---- what runs in the world ----


def dname(n):
    return b"".join(bytes([len(x)]) + x.encode() for x in n.split(".") if x) + b"\0"


def rr(name, kind, data, ttl=60):
    return dname(name) + struct.pack(">HHIH", kind, 1, ttl, len(data)) + data


def mx(name, host, ttl=60):
    return rr(name, 15, struct.pack(">H", 10) + dname(host), ttl)


def address(name, ip, ttl=60):
    return rr(name, 1, socket.inet_aton(ip), ttl)


def records(name, kind):
    """The truth, as answer sections; None: there is no such name."""
    if name in ("plain.example", "cut.example", "forged.example", "many.example") and kind == 15:
        if name == "many.example":
            return [rr(name, 15, struct.pack(">H", 5) + dname(f"a-long-name-of-a-mail-host-number-{n}.nowhere.example"))
                    for n in range(300)] + [rr(name, 15, struct.pack(">H", 1) + dname("good.example"))]
        return [mx(name, "good.example")]
    if name == "good.example":
        return [address(name, GOOD)] if kind == 1 else []
    if name == "zero.example":
        return [mx(name, "zero-host.example", 0)] if kind == 15 else []
    if name == "zero-host.example":
        return [address(name, GOOD, 0)] if kind == 1 else []
    if name == "chain.example":
        return [mx(name, "c0.chain.example")] if kind == 15 else []
    m = re.fullmatch(r"c(\d+)\.chain\.example", name)
    if m:
        n = int(m[1])
        return ([address(name, GOOD)] if kind == 1 else []) if n == CHAIN else [rr(name, 5, dname(f"c{n + 1}.chain.example"))]
    if name == "circle.example":
        return [rr(name, 5, dname("circle2.example"))]
    if name == "circle2.example":
        return [rr(name, 5, dname("circle.example"))]
    if name in ("silent.example", "junk.example", "fail.example"):
        return []
    return None


def answer(query, over_tcp, asked):
    """The bytes of the answer, or None."""
    labels, p = [], 12
    while query[p]:
        labels.append(query[p + 1:p + 1 + query[p]].decode().lower())
        p += query[p] + 1
    name, kind = ".".join(labels), struct.unpack(">H", query[p + 1:p + 3])[0]
    asked.write(f"{'tcp' if over_tcp else 'udp'} {name} {kind}\n")
    asked.flush()
    question = query[12:p + 5]
    if name == "silent.example":
        return name, None, question
    found = records(name, kind)
    rcode = 2 if name == "fail.example" else 3 if found is None else 0
    body = b"".join(found or [])
    flags = 0x8180 | rcode
    if not over_tcp and (name == "cut.example" or len(body) > 1100):
        return name, query[:2] + struct.pack(">HHHHH", flags | 0x200, 1, 0, 0, 0) + question, question
    out = query[:2] + struct.pack(">HHHHH", flags, 1, len(found or []), 0, 0) + question + body
    if name == "junk.example":  # a pointer to itself, and an answer that ends in its middle
        at = 12 + len(question)
        out = query[:2] + struct.pack(">HHHHH", flags, 1, 2, 0, 0) + question + struct.pack(">HHHIH", 0xc000 | at, 15, 1, 60, 400)
    return name, out, question


def world(directory):
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("192.0.2.10", 53))
    tcp = socket.create_server(("192.0.2.10", 53), backlog=100)
    asked = open(f"{directory}/asked", "a")
    lie = struct.pack(">HHHHH", 0x8180, 1, 1, 0, 0)

    def forge(question, to, ident):
        """What comes from somebody who cannot see the question: a wrong id, a wrong port, a question of his own."""
        elsewhere = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        elsewhere.bind(("192.0.2.10", 0))  # the right address, and another port
        evil = mx("forged.example", "evil.example") + address("evil.example", EVIL)
        for n in range(30):
            wrong = struct.pack(">H", (ident + 1 + n * 1777) & 0xffff)
            udp.sendto(wrong + lie + question + evil, to)
            elsewhere.sendto(struct.pack(">H", ident) + lie + question + evil, to)
            udp.sendto(wrong + lie + dname("other.example") + b"\0\x0f\0\1" + evil, to)

    def ask_udp():
        while True:
            q, who = udp.recvfrom(4096)
            try:
                name, out, question = answer(q, False, asked)
            except (IndexError, struct.error, UnicodeDecodeError):
                continue
            if name == "forged.example":
                forge(question, who, struct.unpack(">H", q[:2])[0])
                time.sleep(0.1)
            if out:
                udp.sendto(out, who)

    def ask_tcp(c):
        try:
            while True:
                head = c.recv(2, socket.MSG_WAITALL)
                if len(head) < 2:
                    break
                _, out, _ = answer(c.recv(struct.unpack(">H", head)[0], socket.MSG_WAITALL), True, asked)
                if out:
                    c.sendall(struct.pack(">H", len(out)) + out)
        except OSError:
            pass
        c.close()

    def sink(ip):
        server = socket.create_server((ip, 25), backlog=100)

        def session(s):
            f = s.makefile("rb")
            s.sendall(b"220 sink\r\n")
            for line in f:
                if line[:4].upper() == b"DATA":
                    s.sendall(b"354 go\r\n")
                    for l in f:
                        if l.startswith(b"Subject: "):
                            with open(f"{directory}/{'good' if ip == GOOD else 'evil'}", "ab") as o:
                                o.write(l[9:])
                        if l == b".\r\n":
                            break
                s.sendall(b"250 ok\r\n")
        while True:
            c, _ = server.accept()
            threading.Thread(target=session, args=(c,), daemon=True).start()

    def accept():
        while True:
            c, _ = tcp.accept()
            threading.Thread(target=ask_tcp, args=(c,), daemon=True).start()
    for fn, args in ((ask_udp, ()), (accept, ()), (sink, (GOOD,)), (sink, (EVIL,))):
        threading.Thread(target=fn, args=args, daemon=True).start()
    open(f"{directory}/ready", "w").close()
    threading.Event().wait()


if sys.argv[1:2] == ["--world"]:
    world(sys.argv[2])

# ---- the test ----
import testlib  # noqa: E402
from testlib import POSTERN, POSTERN_MTA, case, check, wait_for  # noqa: E402

CONF = """[mta]
role = edge
hostname = edge.example.net
run-dir = /run/mta
state-dir = /var/lib/mta
user = 2001
queue-user = 2002
queue-volatile = yes
dns = forward
dns-servers = 192.0.2.10
dns-timeout = 3s
[listener lan]
address = 127.0.0.1:2587
sessions-per-prefix = 1000
[route internet]
retry-first = 2s
retry-max = 2s
retry-jitter = 0
"""
lab, _ = testlib.start(topology=False)
edge, far = lab.machine("edge"), lab.machine("world")
lab.link(edge, "e0", far, "w0")
edge.addr("e0", "192.0.2.1/24")
far.addr("w0", "192.0.2.10/24", f"{GOOD}/24", f"{EVIL}/24")
edge.run(["ip", "link", "set", "lo", "up"])
edge.run(["sh", "-c", "mkdir -p /run/mta /var/lib/mta && chmod 755 /run/mta /var/lib/mta"])
edge.write("/etc/mta.conf", CONF)
said = f"/proc/{far.pid}/root/tmp/said"
far.run(["mkdir", "-p", "/tmp/said"])
far.start([sys.executable, os.path.abspath(__file__), "--world", "/tmp/said"], log="world")
wait_for("the world is ready", lambda: os.path.exists(f"{said}/ready"))
mta = edge.start([POSTERN_MTA, "-c", "/etc/mta.conf"], log="postern-mta")
SEND = """
import smtplib, sys, time
for _ in range(200):
    try:
        s = smtplib.SMTP("127.0.0.1", 2587, timeout=60)
        break
    except OSError:
        time.sleep(0.1)
for name in sys.argv[1:]:
    s.sendmail("joe@edge.example.net", ["x@" + name.split("/")[0]], "From: <joe@edge.example.net>\\r\\nSubject: %s\\r\\n\\r\\nx\\r\\n" % name)
"""


def send(*names):
    edge.python(SEND, *names)


def lines(name):
    path = os.path.join(said, name)
    return open(path).read().split("\n")[:-1] if os.path.exists(path) else []


def got(subject):
    return subject in [l.strip() for l in lines("good")]


def waits(domain):
    """The last word on its recipient in the queue, or None."""
    out = edge.run([POSTERN, "--run-dir", "/run/mta", "--json", "mail", "queue"]).stdout
    return next((r for l in json.loads(out)["letters"] for r in l["recipients"] if r["address"] == f"x@{domain}"), None)


def deferred(domain):
    r = waits(domain)
    return r and "4.4.3" in json.dumps(r)


send("plain.example")
wait_for("a plain letter", lambda: got("plain.example"))
BAD = ("chain.example", "circle.example", "silent.example", "junk.example", "fail.example")
send("cut.example", "forged.example", "many.example", "zero.example", *BAD)
case("mail_case_097_a_truncated_answer_is_asked_for_by_tcp",
     wait_for("the letter", lambda: got("cut.example")) and "tcp cut.example 15" in lines("asked"), lines("asked"))
case("mail_case_097_forged_answers_are_passed_over", wait_for("the letter", lambda: got("forged.example")) and not lines("evil"), lines("evil"))
for name in BAD:
    what = name.split(".", maxsplit=1)[0]
    wait_for(f"{name} is put off with 4.4.3", lambda n=name: deferred(n))
    check(f"{what}: put off with 4.4.3, not lost", deferred(name), waits(name))
case("mail_case_097_chains_circles_silence_and_junk_are_deferred_with_4_4_3", all(deferred(n) for n in BAD), [waits(n) for n in BAD])
check("of three hundred hosts the best is tried", wait_for("the letter", lambda: got("many.example")))

# Each try may ask again, and a chain or a circle is followed so far and no further.
before = {n: len([l for l in lines("asked") if n in l]) for n in BAD}
start = time.monotonic()
time.sleep(6)
tries = (time.monotonic() - start) / 2 + 1
after = {n: len([l for l in lines("asked") if n in l]) - before[n] for n in BAD}
check("what cannot be answered is not asked for without end", all(n <= 100 * tries for n in after.values()), (after, tries))
wait_for("a name with a TTL of 0", lambda: got("zero.example"))
for n in range(20):
    send(f"zero.example/{n}")
wait_for("twenty more to it", lambda: all(got(f"zero.example/{n}") for n in range(20)))
asked = [l for l in lines("asked") if "zero" in l]  # where this world is slow libunbound says each again
case("mail_case_097_a_ttl_of_0_is_asked_for_anew_and_costs_no_more", len(asked) <= 21 * 30, len(asked))
send("plain.example/last")
check("and all the while others are served", wait_for("a plain letter", lambda: got("plain.example/last")))
check("it lives", mta.poll() is None)
mta.terminate()
check("it ends in order", mta.wait(60) == 0, mta.returncode)
testlib.done()
