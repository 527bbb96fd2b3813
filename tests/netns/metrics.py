# SPDX-License-Identifier: GPL-3.0-or-later
"""What postern-mta counts, asked for as Prometheus does: by listener, route, address family and reason; nothing that
a client says becomes a label; a process that is killed goes on counting where it was.

	client ---- lo ---- postern-mta (edge: mx, lan) ---- lo ---- sink (takes, refuses, greylists), or nobody
"""
import os
import re
import signal
import sys

import testlib
from testlib import check, require, wait_for

lab, _ = testlib.start(topology=False)
m = lab.machine("mx")
m.addr("lo")

CONF = """[mta]
role = edge
hostname = mx.example.net
tunnel = no
queue-volatile = yes
dns = forward
dns-servers = 127.0.0.1
users = users
metrics = {metrics}
[listener mx]
address = 127.0.0.1:25, [::1]:25
sessions-max = 3
[listener lan]
class = lan
address = 127.0.0.1:2587
[route sink]
kind = smarthost
address = {sink}
port = 2525
tls = none
domains = sink.example
retry-first = 1h
[route {gone}]
kind = smarthost
address = ::1
port = 2526
tls = none
domains = gone.example
retry-first = 1h
"""
SINK = """
import socket, socketserver
class Sink(socketserver.StreamRequestHandler):
    def handle(self):
        say = lambda s: self.wfile.write(s.encode() + b"\\r\\n")
        say("220 sink")
        for line in self.rfile:
            word = line[:4].upper()
            if word == b"RCPT":
                say("550 5.1.1 nobody" if b"never" in line else "451 4.7.1 come later" if b"later" in line else "250 ok")
            elif word == b"DATA":
                say("354 go")
                for l in self.rfile:
                    if l == b".\\r\\n":
                        break
                say("250 ok")
            elif word == b"QUIT":
                return say("221 bye")
            else:
                say("250 ok")
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address, daemon_threads, address_family = True, True, socket.AF_INET
Server(("127.0.0.1", 2525), Sink).serve_forever()
"""
# One session: what is said after EHLO, a line each; replies come back.
TALK = """
import smtplib, sys
s = smtplib.SMTP(sys.argv[1], int(sys.argv[2]), local_hostname="stranger.example", timeout=60)
s.ehlo()
for line in sys.argv[3:]:
    if line == "DATA":
        print(s.data(b"From: bob@stranger.example\\r\\nSubject: stranger\\r\\n\\r\\nhello\\r\\n"))
    else:
        print(s.docmd(line))
s.quit()
"""
SCRAPE = """
import socket, sys
s = socket.create_connection(("127.0.0.1", 9411), timeout=60) if sys.argv[1] == "tcp" else socket.socket(socket.AF_UNIX)
if sys.argv[1] != "tcp":
    s.settimeout(60)
    s.connect(sys.argv[1])
s.sendall(b"GET /metrics HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
out = b""
while True:
    b = s.recv(65536)
    if not b:
        break
    out += b
sys.stdout.write(out.decode())
"""


def write(sink="127.0.0.1", gone="gone", metrics="127.0.0.1:9411"):
    m.write("/etc/postern/mta.conf", CONF.format(sink=sink, gone=gone, metrics=metrics))


def talk(host, port, *lines):
    return m.python(TALK, host, str(port), *lines).stdout


def scrape(where="tcp"):
    """As nobody, who may ask; {series: value}."""
    p = m.run(["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", sys.executable, "-c", SCRAPE, where])
    head, _, body = p.stdout.partition("\n\n")  # as text: no CR is left
    if not head.startswith("HTTP/1.1 200 ") or "text/plain" not in head:
        require("the answer is Prometheus text", False, p.stdout[:300])
    bad = [line for line in body.splitlines() if line[:1] != "#" and
           not re.fullmatch(r'postern_mta_[a-z_]+(\{[a-z]+="[A-Za-z0-9._-]+"(,[a-z]+="[a-z0-9-]+")*\})? \d+', line)]
    if bad:
        check("each line has the form", False, bad[:3])
    return {line.rpartition(" ")[0]: int(line.rpartition(" ")[2]) for line in body.splitlines() if line[:1] != "#"}


def series(name, **labels):
    order = ("listener", "route", "family", "result", "state", "reason")
    inside = ",".join(f'{k}="{labels[k]}"' for k in order if k in labels)
    return f"postern_mta_{name}" + (f"{{{inside}}}" if inside else "")


def value(name, **labels):
    return scrape().get(series(name, **labels))


def is_told(what, want, name, **labels):
    key = series(name, **labels)
    try:
        wait_for(what, lambda: scrape().get(key) == want)
    except testlib.Failed:
        return check(what, False, {k: v for k, v in scrape().items() if k.split("{")[0] == key.split("{")[0]})
    return check(what, True)


def process(name):
    """Its pid, once it is there."""
    def look():
        for pid in m.child_pids(mta):
            try:
                with open(f"/proc/{pid}/cmdline") as f:
                    if f.read().split("\0")[1:3] == ["--proc", name]:
                        return pid
            except OSError:
                pass
        return None
    return wait_for(f"{name} runs", look)


def kill(name):
    pid = process(name)
    os.kill(pid, signal.SIGKILL)
    wait_for(f"another {name}", lambda: process(name) != pid)


def greets():
    wait_for("lan greets and takes letters", lambda: "250" in m.run(
        [sys.executable, "-c", TALK, "127.0.0.1", "2587", "MAIL FROM:<bob@stranger.example>"], check=False).stdout)


m.write("/etc/postern/users", "", 0o600)
write()
sink = m.start([sys.executable, "-c", SINK], log="sink")
mta = m.start([testlib.POSTERN_MTA, "-c", "/etc/postern/mta.conf"], log="postern-mta")
greets()

# ---- smtpd ----
before = scrape()
talk("::1", 25, "MAIL FROM:<bob@stranger.example>", "RCPT TO:<a@elsewhere.example>", "STRANGER", "MAIL FROM:<nobody")
now = scrape()
refused = {k: v - before.get(k, 0) for k, v in now.items() if "refusals_total" in k and v != before.get(k, 0)}
check("refusals are counted by listener, family, code and subject", refused == {
    series("refusals_total", listener="mx", family="ipv6", result="permanent", reason="policy"): 1,
    series("refusals_total", listener="mx", family="ipv6", result="permanent", reason="protocol"): 2}, refused)
check("the session is counted", now.get(series("sessions_total", listener="mx", family="ipv6")) == 1, now)
talk("127.0.0.1", 2587, "AUTH PLAIN AGpvZQB3cm9uZw==")
is_told("a wrong password is counted", 1, "auth_total", listener="lan", family="ipv4", result="wrong")
is_told("who was there has gone", 0, "sessions", listener="mx", family="ipv6")
FLOOD = "import smtplib,sys\nk=[]\nfor i in range(5):\n try: k.append(smtplib.SMTP('127.0.0.1',25,timeout=60))\n except smtplib.SMTPException: pass\n"
m.python(FLOOD + "print(len(k))")
is_told("who is turned away is counted by reason", 2, "turned_away_total", listener="mx", family="ipv4", reason="listener-full")
is_told("sessions that are over are none", 0, "sessions", listener="mx", family="ipv4")

# ---- relay and queue ----
said = talk("127.0.0.1", 2587, "MAIL FROM:<bob@stranger.example>", "RCPT TO:<joe@sink.example>", "RCPT TO:<never@sink.example>",
            "RCPT TO:<later@sink.example>", "DATA")
check("the letter is accepted", "queued" in said, said)
talk("127.0.0.1", 2587, "MAIL FROM:<bob@stranger.example>", "RCPT TO:<joe@gone.example>", "DATA")
is_told("letters are counted", 2, "letters_accepted_total", listener="lan", family="ipv4")
is_told("a delivery", 1, "recipients_total", route="sink", family="ipv4", result="delivered")
is_told("a firm no, by its subject", 1, "recipients_total", route="sink", family="ipv4", result="failed", reason="address")
is_told("greylisting", 1, "recipients_total", route="sink", family="ipv4", result="deferred", reason="policy")
is_told("a connection that came up", 1, "connections_total", route="sink", family="ipv4", result="ok")
check("one that nobody answers", wait_for(
    "it", lambda: (value("connections_total", route="gone", family="ipv6", result="failed") or 0) >= 1))
check("and whom it was for", wait_for(
    "it", lambda: (value("recipients_total", route="gone", family="ipv6", result="deferred", reason="network") or 0) >= 1))
is_told("what waits", 2, "queue_letters", state="queued")
is_told("for which route", 1, "route_letters", route="gone")
is_told("how its next hop is", 1, "route_next_hops", route="gone", state="probing")
is_told("that the queue takes letters", 1, "queue_accepting")
now = scrape()
check("the journal's syncs", now.get(series("journal_syncs_total", result="ok"), 0) >= 2, now)
check("no event was without a place", now.get("postern_mta_counts_lost_total") == 0, now)
told = " ".join(now)
check("no word of a stranger is a label", not any(w in told for w in ("stranger", "elsewhere", "joe", "example", "127.")), told)

# ---- life ----
accepted = series("letters_accepted_total", listener="lan", family="ipv4")
delivered = series("recipients_total", route="sink", family="ipv4", result="delivered")
for name in ("relay", "queue", "smtpd"):
    kill(name)
greets()
talk("127.0.0.1", 2587, "MAIL FROM:<bob@stranger.example>", "RCPT TO:<joe@sink.example>", "DATA")
wait_for("a delivery after that", lambda: (scrape().get(delivered) or 0) == 2)
now = scrape()
check("killed processes go on counting where they were", now.get(accepted) == 3 and now.get(delivered) == 2, now)
write(gone="lost")
mta.send_signal(signal.SIGHUP)
is_told("after a reload the letter waits for the route of another name", 1, "route_letters", route="lost")
check("and none for the old one", value("route_letters", route="gone") == 0)
write(gone="lost", metrics="127.0.0.1:9412")
said = m.run([testlib.POSTERN, "mail", "reload"], check=False).stdout
check("another address needs a restart, and the admin is told", "a change of metrics needs a restart" in said, said)
m.write("/etc/postern/mta.conf", CONF.replace("tunnel = no", "tunnel = yes").format(sink="127.0.0.1", gone="lost", metrics="127.0.0.1:9411"))
said = m.run([testlib.POSTERN, "mail", "reload"], check=False).stdout
check("a tunnel, whose keys are read at the start, too", "a change of tunnel needs a restart" in said, said)

# ---- a socket; nowhere ----
mta.terminate()
mta.wait(60)
write(gone="lost", metrics="/run/postern/mta-metrics.sock")
mta = m.start([testlib.POSTERN_MTA, "-c", "/etc/postern/mta.conf"], log="postern-mta-2")
greets()
now = scrape("/run/postern/mta-metrics.sock")
check("a socket serves them too, from 0", now.get(accepted) is None and now.get(series("sessions_total", listener="lan", family="ipv4")), now)
write(gone="lost", metrics="192.0.2.1:9411")
p = m.run([testlib.POSTERN_MTA, "-c", "/etc/postern/mta.conf", "-n"], check=False)
check("an address that others reach is refused", p.returncode and "neither a loopback address" in p.stdout, p.stdout)
testlib.done()
