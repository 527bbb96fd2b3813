# SPDX-License-Identifier: GPL-3.0-or-later
"""Descriptors and memory run out under a running tunnel, for each process and for all: it goes on passing packets,
nothing ends, nothing spins, and with what is missing back everything works again.
"""
import json
import os
import socket
import sys
import time

import testlib
from testlib import case, check, require, wait_for

lab, net = testlib.start()
import cast  # noqa: E402

vps, home = cast.tunnel(net, extra="metrics = 127.0.0.1:9109\n")
vps.start_posternd()
home.start_posternd()


def ping(m=net.home, to="10.99.0.1", size=56):
    return m.run(["ping", "-c1", "-W5", "-s", str(size), to], check=False).returncode == 0


wait_for("the tunnel is up", lambda: home.up("vps") and vps.up("home") and ping(), 40)


def procs(side):
    """The parent and its processes, by role: pid."""
    def command(pid):
        with open(f"/proc/{pid}/cmdline", "rb") as f:
            return f.read().split(b"\0")
    out = {}
    for pid in side.m.child_pids(side.d) + [side.d.pid]:
        try:
            with open(f"/proc/{pid}/comm") as f:
                comm = f.read().strip()
            argv = b" ".join(command(pid)).decode(errors="replace")
        except OSError:
            continue
        if comm == "nsenter":
            continue
        out[pid] = argv or comm
    return out


def ticks(pid):
    with open(f"/proc/{pid}/stat") as f:
        w = f.read().rsplit(")", 1)[1].split()
    return (int(w[11]) + int(w[12])) / os.sysconf("SC_CLK_TCK")


def limit(pid, what, value):
    net.vps.run(["prlimit", f"--pid={pid}", f"--{what}={value}:"])


def fds(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def vm(pid):
    with open(f"/proc/{pid}/status") as f:
        return next(int(line.split()[1]) * 1024 for line in f if line.startswith("VmSize"))


before = procs(vps)
check("posternd is a parent and three children", len(before) == 4, before)

# --- no descriptor is left, for any process of the VPS
for pid in before:
    limit(pid, "nofile", fds(pid))
start, at = {p: ticks(p) for p in before}, time.monotonic()
knock = """import socket, time
held = []
for i in range(20):
    s = socket.socket(socket.AF_UNIX); s.setblocking(False)
    try:
        s.connect('/run/postern/control.sock')
    except OSError:
        pass
    held.append(s)
for i in range(8):
    s = socket.socket(); s.setblocking(False)
    try:
        s.connect(('127.0.0.1', 9109))
    except OSError:
        pass
    held.append(s)
time.sleep(4)
"""
k = net.vps.start([sys.executable, "-c", knock], log="knock")
good = 0
for i in range(8):
    good += ping() and ping(net.vps, "10.99.0.2")
    time.sleep(0.3)
k.wait(60)
spent = {p: ticks(p) - start[p] for p in before if os.path.exists(f"/proc/{p}")}
share = max(spent.values()) / (time.monotonic() - at)
check("the tunnel passes all that while", good == 8, good)
check("nobody waits for a descriptor by spinning", share < 0.5, share)
check("nothing ended", procs(vps).keys() == before.keys(), procs(vps))
net.home.run(["conntrack", "-F"], check=False)
net.nat_rebind()
check("nor does a rebind need one", bool(wait_for("ping", ping, 20)))
home.d.terminate()
home.d.wait(60)
home.start_posternd()
check("nor a peer that calls anew", bool(wait_for("up", lambda: home.up("vps") and ping(), 40)))
for pid in before:
    limit(pid, "nofile", 1024)
check("with descriptors again status answers", bool(wait_for("status", lambda: vps.up("home"), 20)))
case("ike_case_118_out_of_descriptors_the_tunnel_stays_and_nothing_exits",
     good == 8 and share < 0.5 and procs(vps).keys() == before.keys(), (good, share))

# --- a child that dies meanwhile: its parent has no descriptor to start another, and waits for one
parent = vps.d.pid if vps.d.pid in before else min(before)
child = next(p for p in before if any("dp-0" in open(f"/proc/{p}/task/{t}/comm").read() for t in os.listdir(f"/proc/{p}/task")))
limit(parent, "nofile", 3)
os.kill(child, 9)
wait_for("the parent has tried", lambda: "cannot start proc=child" in vps.m.run(["cat", vps.d.log], check=False).stdout
         or "cannot start proc=child" in open(vps.d.log).read(), 20)
check("the parent lives without descriptors", os.path.exists(f"/proc/{parent}"))
limit(parent, "nofile", 1024)
up = wait_for("the tunnel is back", lambda: vps.up("home") and ping(), 60)
case("ike_case_118_a_child_is_started_again_when_there_are_descriptors", bool(up))

# A sanitizer lives on terabytes of addresses, and ends a program that gets no more.
with open(testlib.POSTERND, "rb") as f:
    if b"__asan_init" in f.read():
        testlib.done()

# --- no memory: what is there now is all that there will be
before = procs(vps)
squeezed = 0
for pid in before:
    # The parent's forks and the children's heaps alike: any growth is refused.
    limit(pid, "as", vm(pid) + 64 * 1024)
    squeezed += 1
# Three thousand more peers are more than there is room for, in the parent as in its children.
conf = vps.m.read("/etc/postern/postern.conf")
more = "".join(f"[peer p{i}]\nidentity = p{i}.example.net\npublic-key = keys/home.pub\nassign = 10.99.{4 + i // 250}.{1 + i % 250}\n"
               for i in range(3000))
vps.m.write("/etc/postern/postern.conf", conf + more)
good, tries = 0, 0
for i in range(12):
    vps.m.run([testlib.POSTERN, "status", "--json"], check=False, timeout=20)
    vps.m.run([testlib.POSTERN, "reload"], check=False, timeout=20)
    home.d.send_signal(1)
    tries += 1
    good += ping(size=1200)
# The parent has room again and hands the new configuration to those who have none.
limit(parent, "as", "unlimited")
for i in range(3):
    vps.m.run([testlib.POSTERN, "reload"], check=False, timeout=20)
    time.sleep(1)
    tries += 1
    good += ping(size=1200)
home.d.terminate()
home.d.wait(60)
home.start_posternd()
for i in range(6):
    ping()
    time.sleep(0.5)
alive = procs(vps).keys()
vps.m.write("/etc/postern/postern.conf", conf)
with open(vps.d.log) as f:
    said = [line for line in f if "memory" in line or "allocate" in line]
check("something was refused, and it was told", len(said) > 0)
check("no process ended for want of memory", alive == before.keys(), (sorted(alive), sorted(before)))
check("packets passed all that while", good >= tries - 2, (good, tries))
for pid in alive:
    limit(pid, "as", "unlimited")
up = wait_for("the tunnel is up", lambda: home.up("vps") and vps.up("home") and ping(), 60)
check("with memory again it is up", bool(up))
reloaded = vps.m.run([testlib.POSTERN, "reload"], check=False)
check("and a reload is taken", reloaded.returncode == 0, reloaded.stdout)
check("out of memory the tunnel stays and nothing exits (case 118)",
     alive == before.keys() and good >= tries - 2 and bool(up), (good, tries))
testlib.done()
