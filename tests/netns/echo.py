# SPDX-License-Identifier: GPL-3.0-or-later
"""An inner TCP connection that asks and is answered for as long as it lives, and a machine behind several servers
whose answers go back by the one that the last packet came from."""
import sys
import time

from lab import wait_for

SERVER = """
import socket, sys, threading
def answer(c):
    try:
        while d := c.recv(4096): c.sendall(d)
    except OSError: pass
s = socket.create_server((sys.argv[1], 7000)); print("ready", flush=True)
while True:
    c, _ = s.accept()
    threading.Thread(target=answer, args=(c,), daemon=True).start()
"""
# Says how many answers came, and how long the longest took.
CLIENT = """
import socket, sys, time
c = socket.create_connection((sys.argv[1], 7000), 10); c.settimeout(60); worst = 0; n = 0
end = time.monotonic() + float(sys.argv[2])
while time.monotonic() < end:
    t = time.monotonic(); c.sendall(b"x" * 100); left = 100
    while left: left -= len(c.recv(left)) or sys.exit("closed")
    worst = max(worst, time.monotonic() - t); n += 1; time.sleep(0.02)
    print(n, "%.3f" % worst, flush=True)
print("whole", flush=True)
"""
# No state but the route: what comes from INNER says by its sender's MAC who has it now.
FOLLOW = """
import socket, subprocess, sys
inner, gateways = sys.argv[1], sys.argv[2:]
def mac(gw):
    subprocess.run(["ping", "-c1", "-W1", gw], stdout=subprocess.DEVNULL)
    return subprocess.run(["ip", "neigh", "show", gw], capture_output=True, text=True).stdout.split("lladdr ")[1].split()[0]
who = {bytes.fromhex(mac(gw).replace(":", "")): gw for gw in gateways}
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800)); now = None
print("ready", flush=True)
while True:
    p = s.recv(128); gw = who.get(p[6:12])
    if gw and gw != now and p[26:30] == socket.inet_aton(inner):
        subprocess.run(["ip", "route", "replace", inner, "via", gw]); now = gw; print(gw, flush=True)
"""


def _ready(p):
    wait_for("it is ready", lambda: p.poll() is None and "ready" in open(p.log).read())
    return p


def serve(m, address):
    return _ready(m.start([sys.executable, "-c", SERVER, address], log=f"echo-{address}"))


def follow(far, inner, *gateways):
    """Answers of @far to @inner go to the gateway (an address of a server on its link) that @inner is behind now."""
    return _ready(far.start([sys.executable, "-c", FOLLOW, inner, *gateways], log="follow"))


class Connection:
    """One connection from @m to @address for @seconds, begun when this returns."""

    def __init__(self, m, address, seconds):
        self.p = m.start([sys.executable, "-c", CLIENT, address, str(seconds)], log=f"client-{time.monotonic_ns()}")
        wait_for(f"the connection to {address}", lambda: self.p.poll() is not None or len(self.lines()) > 5)

    def lines(self):
        with open(self.p.log) as f:
            return f.read().split("\n")[:-1]

    def alive(self):
        return self.p.poll() is None

    def goes_on(self, seconds=20):
        """Seconds until it is answered again; None: it has ended."""
        t, n = time.monotonic(), len(self.lines())
        wait_for("an answer in the inner connection", lambda: not self.alive() or len(self.lines()) > n + 5, seconds)
        return time.monotonic() - t if self.alive() else None

    def longest(self):
        """Seconds that the longest answer took so far."""
        return max([float(line.split()[1]) for line in self.lines() if line[:1].isdigit()] or [0])

    def stop(self):
        if self.alive():
            self.p.terminate()
