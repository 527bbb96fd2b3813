# SPDX-License-Identifier: GPL-3.0-or-later
"""TCP connections that tell when they were lost: both ends send a stream of numbers and check the other's."""
import sys

from testlib import wait_for

# Until there is a file of that name, or for so many seconds. The last line is "whole SENT RECEIVED".
SCRIPT = """
import os, socket, struct, sys, threading, time
role, address, port, until = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
batch, pause, patience = int(sys.argv[5]), float(sys.argv[6]), float(sys.argv[7]) or None
family = socket.AF_INET6 if ":" in address else socket.AF_INET
if role == "listen":
    l = socket.create_server((address, port), family=family); print("ready", flush=True); s, _ = l.accept()
else:
    s = socket.create_connection((address, port), 60)
s.settimeout(patience)
end, went, came = time.monotonic() + (float("inf") if "/" in until else float(until)), 0, 0
def send():
    global went
    while time.monotonic() < end and not os.path.exists(until):
        s.sendall(b"".join(struct.pack("!Q", n) for n in range(went, went + batch))); went += batch
        time.sleep(pause)
    s.shutdown(socket.SHUT_WR)
t = threading.Thread(target=send); t.start()
buf = b""
while True:
    d = s.recv(1 << 16)
    if not d: break
    buf += d; n = len(buf) // 8
    got = struct.unpack("!%dQ" % n, buf[:8 * n]); buf = buf[8 * n:]
    if got != tuple(range(came, came + n)): print("WRONG at", came); sys.exit(1)
    came += n
t.join()
print("whole", went, came, flush=True)
"""


def begin(vps, home, until, batch, pause, patience=0):
    """One connection each way through the tunnel, IPv4 and IPv6: the four ends. @until: a path, or seconds; @patience:
    seconds of silence that end one, 0: none do."""
    ends = []
    for address, listener, caller, port in (("10.99.0.1", vps, home, 7001), ("fd99::2", home, vps, 7002)):
        argv = [address, str(port), str(until), str(batch), str(pause), str(patience)]
        a = listener.start([sys.executable, "-c", SCRIPT, "listen", *argv], log=f"talk-{port}-listen")
        wait_for("the listener", lambda: "ready" in open(a.log).read())
        ends += [a, caller.start([sys.executable, "-c", SCRIPT, "call", *argv], log=f"talk-{port}-call")]
    return ends


def last_words(ends):
    return [open(p.log).read().strip().splitlines()[-1] for p in ends]
