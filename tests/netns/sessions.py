# SPDX-License-Identifier: GPL-3.0-or-later
"""Sessions that want more than their share of smtpd: handshakes that stall, floods from one prefix, talk before the greeting,
and letters that are under way when the configuration changes. smtpd_lab.py plays parent and queue."""
import binascii
import select
import socket
import ssl
import struct
import subprocess
import threading
import time

import testlib
from smtpd_lab import CONF, LISTENER, LISTENERS_END, MX, PORTS, SUBMISSION, SUBMISSIONS, Client, Smtpd, certificate, listen
from testlib import case, check, wait_for

HASTY, SIX = 4, 5
LIMIT = 5  # seconds of idle-timeout, where it is short
CONFIG = CONF.replace("address = 127.0.0.1:2465\n", f"address = 127.0.0.1:2465\nidle-timeout = {LIMIT}s\n").replace(
    "run-dir =", "log-level = debug\nrun-dir =") + """
[listener hasty]
class = mx
address = 127.0.0.1:3001
greet-delay = 3s
[listener six]
class = mx
address = [2001:db8:ffff::1]:3002
"""
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
# All of these are this machine: clients of as many addresses as they like.
for net in ("2001:db8:1::/64", "2001:db8:2::/64"):
    subprocess.run(["ip", "-6", "route", "add", "local", net, "dev", "lo"], check=True)
subprocess.run(["ip", "-6", "addr", "add", "2001:db8:ffff::1/128", "dev", "lo", "nodad"], check=True)
keys = certificate("mx.example.net")
d = Smtpd("smtpd")
six = socket.socket(socket.AF_INET6, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
six.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
six.bind(("2001:db8:ffff::1", 3002))
six.listen(1024)
socks = [(MX, listen(PORTS[MX])), (SUBMISSION, listen(PORTS[SUBMISSION])), (SUBMISSIONS, listen(PORTS[SUBMISSIONS])), (HASTY, listen(3001))]


def tell_listeners():
    """As the parent does after each configuration: all of them anew."""
    for i, s in socks:
        at = struct.pack("@BxB16sxH", 0, socket.AF_INET, socket.inet_aton("127.0.0.1").ljust(16, b"\0"), s.getsockname()[1])
        d.parent.send(LISTENER, i, at, [s.fileno()])
    at = struct.pack("@BxB16sxH", 0, socket.AF_INET6, socket.inet_pton(socket.AF_INET6, "2001:db8:ffff::1"), 3002)
    d.parent.send(LISTENER, SIX, at, [six.fileno()])
    d.parent.send(LISTENERS_END)


d.begin([], keys, conf=CONFIG)
for n in (HASTY, SIX):
    d.key(n, keys)
tell_listeners()
q = d.queue
wait_for("it greets", lambda: Client().reply().startswith("220"))

# --- handshakes that stall, at each of their messages
TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
TLS.check_hostname = False
TLS.verify_mode = ssl.CERT_NONE


def flights(sock):
    """What a good client sends in its handshake, flight by flight; each is sent by the caller."""
    into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = TLS.wrap_bio(into, out, server_hostname="mx.example.net")
    while True:
        try:
            tls.do_handshake()
            yield out.read()
            return
        except ssl.SSLWantReadError:
            yield out.read()
            into.write(sock.recv(65536))


def stalled(how, port):
    """A connection whose handshake went so far, and stands."""
    c = Client(port)
    if port != PORTS[SUBMISSIONS]:
        c.hello()
        c.say("STARTTLS")
    steps = flights(c.s)
    if how > 0:
        hello = next(steps)
        c.s.sendall(hello[:len(hello) // 2] if how == 1 else hello)
    if how > 2:
        finished = next(steps)
        c.s.sendall(finished[:len(finished) - 1] if how == 3 else finished[:5])
    return c


def trickle(c, stop):
    """A byte now and then, so that the connection is never idle."""
    for b in next(flights(c.s)):
        if stop.wait(0.2):
            return
        try:
            c.s.sendall(bytes([b]))
        except OSError:
            return


def closed(c):
    """Did the far side end it?"""
    while select.select([c.s], [], [], 0)[0]:
        try:
            if not c.s.recv(65536):
                return True
        except OSError:
            return True
    return False


stop = threading.Event()
began = time.monotonic()
standing = [stalled(how, PORTS[SUBMISSIONS]) for how in range(5)]
slow = Client(PORTS[SUBMISSIONS])
threading.Thread(target=trickle, args=(slow, stop), daemon=True).start()
standing.append(slow)
early = [closed(c) for c in standing]
check("none is closed at once", not any(early) or time.monotonic() - began > LIMIT, early)
good = 0
while (not all(closed(c) for c in standing) and good < 400) or good < 4:
    try:
        with socket.create_connection(("127.0.0.1", PORTS[SUBMISSIONS]), timeout=60) as raw, TLS.wrap_socket(raw) as s:
            good += s.recv(3) == b"220"
    except OSError:  # it was us who stood still for so long
        if time.monotonic() - began > 60:
            break
    c = Client()
    c.hello()
    good += c.say("NOOP").startswith("250")
    c.s.close()
    time.sleep(0.1)
stop.set()
case("mail_case_051_a_handshake_that_stalls_or_trickles_is_closed_and_others_are_served", all(closed(c) for c in standing) and good >= 4,
     ([closed(c) for c in standing], good))
by_starttls = [stalled(how, PORTS[MX]) for how in (0, 2, 3)]
late = Client()
late.hello()
check("behind STARTTLS they hold up nobody either", late.say("NOOP").startswith("250"))
for c in by_starttls:
    c.s.close()

# --- passwords, wrong, right, in clear and cut off, with a log that says all that it can
def base64(*parts):
    return binascii.b2a_base64(b"\0".join(parts), newline=False).decode()


WRONG, RIGHT = b"Hunter2-in-vain", b"secret"
words = [base64(b"", b"joe", WRONG), base64(b"", b"joe", RIGHT), base64(WRONG), base64(RIGHT), WRONG.decode()]
c = Client(PORTS[SUBMISSION])
c.hello()
replies = [c.say(f"AUTH PLAIN {words[0]}"), c.say(words[2])]  # loopback may in clear
c.say("STARTTLS")
c.s = TLS.wrap_socket(c.s)
c.say("EHLO client.example", "AUTH LOGIN", base64(b"joe"))
replies += [c.say(words[2]), c.say(f"AUTH PLAIN {words[0][:-3]}!"), c.say(f"AUTH PLAIN {words[1]}")]
c.s.close()
c = Client(PORTS[SUBMISSIONS])
c.s = TLS.wrap_socket(c.s)
c.hello()
c.say("AUTH LOGIN", base64(b"joe"))
c.s.sendall(words[2].encode())  # and gone, in the middle of its line
c.s.close()
with open(d.log, encoding="latin-1") as f:
    log = f.read()
case("mail_case_045_no_password_is_in_the_log",
     [r[:3] for r in replies] == ["535", "500", "535", "501", "235"] and "debug" in log and not any(w in log for w in words),
     (replies, [w for w in words if w in log]))

# --- talk before the greeting
for _ in range(3):  # who stands still before his word is one who waits
    c = Client(3001)
    c.s.sendall(b"EHLO client.example\r\nMAIL FROM:<a@far.example>\r\nQUIT\r\n")
    out = c.rest()
    if not out.startswith("220"):
        break
p = Client(3001)
patient = p.reply()
case("mail_case_038_a_client_that_does_not_wait_for_the_greeting_is_sent_away_with_554",
     out.startswith("554 5.5.1") and "220" not in out and patient.startswith("220") and p.say("EHLO x").startswith("250"), (out, patient))

# --- ten thousand from one /64
FLOOD = 10000


def connect(source):
    s = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    s.settimeout(60)
    s.setsockopt(socket.IPPROTO_IPV6, 78, 1)  # IPV6_FREEBIND
    s.bind((source, 0))
    s.connect(("2001:db8:ffff::1", 3002))
    return s


held, refused, other = [], 0, []
for n in range(FLOOD):
    s = connect(f"2001:db8:1::{n // 5000:x}:{n + 1:x}")
    word = s.recv(3)
    if word == b"220":
        held.append(s)
    else:
        refused += word == b"421"
        s.close()
    if n % 1000 == 999:  # in the midst of it
        s = connect(f"2001:db8:2::{n:x}")
        other.append(s.recv(3))
        s.close()
case("mail_case_055_ten_thousand_of_one_64_are_capped_and_another_is_served",
     len(held) == 20 and refused == FLOOD - 20 and other == [b"220"] * 10, (len(held), refused, other))
for s in held:
    s.close()

# --- a new configuration while letters are under way
c = Client()
c.hello()
c.say("MAIL FROM:<a@far.example>", "RCPT TO:<b@example.net>", "DATA")
c.s.sendall(b"Subject: reload\r\n\r\nbefore\r\n")
large = Client()
large.hello()
large.say("MAIL FROM:<a@far.example>", "RCPT TO:<b@example.net>", "DATA")
half = b"Subject: large\r\n\r\n" + (b"y" * 70 + b"\r\n") * 3000
large.s.sendall(half)
wait_for("the large one streams", lambda: any(len(b) > 100000 for b in list(q.bodies.values())))
d.config(CONFIG.replace("hostname = mx.example.net", "hostname = new.example.net"), {"mx.pem": keys[0], "users": b""})
for n in range(6):
    d.key(n, keys)
tell_listeners()
wait_for("new sessions have the new name", lambda: "new.example.net" in Client().reply())
c.s.sendall(b"after\r\n.\r\n")
large.s.sendall((b"z" * 70 + b"\r\n") * 3000 + b".\r\n")
first, second = c.reply(), large.reply()
bodies = [body for _, _, body in q.letters]
case("mail_case_060_a_reload_in_data_changes_nothing_for_the_letter",
     first.startswith("250") and second.startswith("250") and any(b.endswith(b"\r\n\r\nbefore\r\nafter\r\n") for b in bodies)
     and any(b.endswith(half + (b"z" * 70 + b"\r\n") * 3000) for b in bodies), (first, second))
d.proc.terminate()
check("it ends in order", d.proc.wait(60) == 0, d.proc.returncode)
testlib.done()
