# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses from a pool: the next free one, the same one after a reconnect, a restart of either side and a lost SA; the
name servers with it; a pool that is used up says so, and is asked again.
"""
import os
import signal
import time

import testlib
from testlib import check, require, wait_for

lab, net = testlib.start(hosts=[("second", "198.51.100.40")])
import cast  # noqa: E402

vps, home = cast.tunnel(net)
second = cast.Side(net.second, "second")

POOL = """[posternd]
identity = vps.example.net
private-key = keys/vps.key
tunnel-address = 10.99.0.1, fd99::1

[pool homes]
addresses = {addresses}
dns = 10.99.0.1, fd99::1

[peer fixed]
identity = fixed.example.net
public-key = keys/home.pub
assign = 10.99.4.1

[peer home]
identity = home.example.net
public-key = keys/home.pub
pool = homes

[peer second]
identity = second.example.net
public-key = keys/second.pub
pool = homes
dns = 10.99.0.53
"""


def configure(addresses):
    net.vps.write("/etc/postern/postern.conf", POOL.format(addresses=addresses))


def addresses(side):
    return side.status().get("tun", {}).get("addresses")


def up(side, to="10.99.0.1"):
    return side.m.run(["ping", "-c1", "-W0.3", to], check=False).returncode == 0


def restart(side):
    side.d.terminate()
    side.d.wait(60)
    side.start_posternd()
    wait_for("posternd answers", lambda: side.status())


# The second home is another machine, with a key of its own.
second.m.run(["mkdir", "-p", "/etc/postern/keys"])
second.cli("keygen", "/etc/postern/keys/home.key")
net.vps.write("/etc/postern/keys/second.pub", net.second.read("/etc/postern/keys/home.pub"))
net.second.write("/etc/postern/keys/vps.pub", net.home.read("/etc/postern/keys/vps.pub"))
net.second.write("/etc/postern/postern.conf",
                 net.home.read("/etc/postern/postern.conf").replace("home.example.net", "second.example.net"))
net.second.write("/etc/hosts", "127.0.0.1 localhost\n198.51.100.10 vps.example.net\n")

# 10.99.4.0 is the network, .1 is somebody's, .3 is the broadcast address: there is one left.
configure("10.99.4.0/30, fd99:4::/64")
vps.start_posternd()
wait_for("posternd answers", lambda: vps.status())
home.start_posternd()
require("the tunnel comes up", wait_for("ping", lambda: up(home), 20))
check("home has the one IPv4 address that is nobody's, and an IPv6 one",
      addresses(home) == ["10.99.4.2", "fd99:4::1"], addresses(home))
check("the VPS reaches it there", wait_for("ping", lambda: up(vps, "10.99.4.2"), 5))
check("by IPv6 too", wait_for("ping", lambda: up(vps, "fd99:4::1"), 5))
check("the VPS tells who has them", vps.peer("home")["inner"] == ["10.99.4.2", "fd99:4::1"], vps.peer("home")["inner"])
check("home was told the pool's name servers", home.peer("vps")["dns"] == ["10.99.0.1", "fd99::1"], home.peer("vps")["dns"])
route = vps.m.run(["ip", "route", "get", "10.99.4.2"]).stdout
check("the route goes into the tunnel", "postern0" in route, route)

# --- used up: IPv6 alone is enough, and when there is neither it is explained
second.start_posternd()
check("the second home gets what there is", wait_for("up", lambda: addresses(second) == ["fd99:4::2"], 20), addresses(second))
check("and its own name server", wait_for("it", lambda: second.peer("vps").get("dns") == ["10.99.0.53"]), second.peer("vps"))
second.d.terminate()
second.d.wait(60)
configure("10.99.4.0/30")
vps.cli("reload")
check("home has kept its IPv4 address", wait_for("ping", lambda: addresses(home) == ["10.99.4.2"] and up(home), 20),
      addresses(home))
second.start_posternd()
check("the second one is refused, with the reason",
      wait_for("failure", lambda: "INTERNAL_ADDRESS_FAILURE" in str(second.peer("vps").get("failure")), 15),
      second.peer("vps").get("failure"))
check("the VPS says which pool and how many",
      "all 1 addresses of pool homes are taken" in str(vps.peer("second")["failure"]), vps.peer("second")["failure"])
configure("10.99.4.0/29, fd99:4::/64")
vps.cli("reload")
check("a larger pool, and it comes up by itself", wait_for("ping", lambda: up(second), 40))
check("with the next address", addresses(second)[0] == "10.99.4.3", addresses(second))

# --- the same address after everything
check("home is up", wait_for("ping", lambda: up(home), 20))
want = addresses(second)
for what, side in (("the home", second), ("the VPS", vps)):
    restart(side)
    check(f"{what} was restarted: up again", wait_for("ping", lambda: up(second), 30))
    check("with the same address", addresses(second) == want, addresses(second))
    check("and so is the first", wait_for("ping", lambda: up(home), 30) and addresses(home)[0] == "10.99.4.2",
          addresses(home))
for n in range(2):
    second.cli("down", "vps")
    second.cli("up", "vps")
    check("called anew: the same address", wait_for("ping", lambda: up(second), 20) and addresses(second) == want,
          addresses(second))

# --- the hook: what it is told, what it has, and that nobody waits for it
HOOK = """#!/bin/sh
{
  echo "run args=$#"
  tr '\\0' '\\n' < /proc/$$/environ
  ls -l /proc/$$/fd
  grep -E 'NSpid|NSsid' /proc/$$/status
  echo end
} >> /run/hook.log
[ ! -e /run/hook.slow ] || { sleep 4711 & sleep 4711; }
"""


def words(key):
    """One dictionary for each whole run."""
    try:
        runs = net.home.read("/run/hook.log").split("run ")[1:]
    except Exception:
        return []
    return [dict(line.split("=", 1) for line in r.splitlines() if line.startswith("POSTERN_")).get(key)
            for r in runs if r.endswith("end\n")]


def hook_conf(mode):
    net.home.write("/etc/postern/hook", HOOK, mode=mode)
    text = net.home.read("/etc/postern/postern.conf").replace("hook = /etc/postern/hook\n", "")
    net.home.write("/etc/postern/postern.conf", text.replace("[peer", "hook = /etc/postern/hook\n[peer", 1))
    return home.cli("reload", check=False)


p = hook_conf(0o777)
check("a hook that others can write is refused, with the reason", p.returncode and "writable by others" in (p.stdout or "") + (p.stderr or ""),
      (p.stdout, p.stderr))
# The name is root's, and so is the program; the folder on the way is not, and its owner could put another link there.
net.home.run(["sh", "-c", "mkdir -p /home/alice && chown alice /home/alice && cd /home/alice && ln -sf /etc/postern/hook step && "
              "ln -sf /home/alice/step /etc/postern/by-alice && ln -sf postern/hook /etc/by-root"])
text = net.home.read("/etc/postern/postern.conf")
for path, ok in (("/etc/postern/by-alice", False), ("/etc/by-root", True)):
    net.home.write("/etc/postern/hook", HOOK, mode=0o755)
    net.home.write("/etc/postern/postern.conf", text.replace("hook = /etc/postern/hook", f"hook = {path}"))
    p = home.cli("reload", check=False)
    check(f"a hook by a link through {'root' if ok else 'another user'}'s folder is {'taken' if ok else 'refused'}",
          (p.returncode == 0) == ok and (ok or "/home/alice belongs to" in p.stdout), p.stdout)
net.home.write("/etc/postern/postern.conf", text)
hook_conf(0o755)
home.cli("down", "vps")
home.cli("up", "vps")
check("the hook ran", wait_for("hook", lambda: words("POSTERN_EVENT")[-1:] == ["up"], 20), words("POSTERN_EVENT"))
log = net.home.read("/run/hook.log").split("run ")[-1]
check("it has no arguments", log.startswith("args=0"), log)
check("it knows peer and device", (words("POSTERN_PEER")[-1], words("POSTERN_DEVICE")[-1]) == ("vps", "postern0"), log)
check("the name servers", words("POSTERN_DNS")[-1] == "10.99.0.1 fd99::1", log)
check("and our addresses", sorted(words("POSTERN_ADDRESSES")[-1].split()) == sorted(addresses(home)), log)
env = [line.split("=")[0] for line in log.splitlines() if "=" in line and not line.startswith("args")]
check("nothing else is in its environment",
      sorted(env) == ["POSTERN_ADDRESSES", "POSTERN_DEVICE", "POSTERN_DNS", "POSTERN_EVENT", "POSTERN_PEER"], env)
# 10 is the script itself, which the shell reads; 1 was turned into the log by it.
fds = [line for line in log.splitlines() if " -> " in line]
check("and no descriptor of ours",
      len(fds) > 2 and all(line.endswith(("/dev/null", "hook.log", "/etc/postern/hook")) for line in fds), fds)
pid, sid = (line.split()[-1] for line in log.splitlines() if line.startswith("NS"))
check("it is in a session of its own", pid == sid, log)
n = len(words("POSTERN_EVENT"))
home.cli("down", "vps")
check("it is told that the tunnel went", wait_for("down", lambda: words("POSTERN_EVENT")[-1] == "down", 10))
net.home.write("/run/hook.slow", "")
home.cli("up", "vps")
check("it hangs, and the tunnel is up all the same", wait_for("ping", lambda: up(home), 10))
check("so does the parent answer", home.cli("reload").returncode == 0)
net.home.run(["rm", "/run/hook.slow"])
home.cli("down", "vps")
check("the next word waits its turn, and the one that hung is killed",
      wait_for("down", lambda: words("POSTERN_EVENT")[-1] == "down", 20))
check("with what it had started", wait_for("they end", lambda: "sleep 4711" not in net.home.run(["ps", "-e", "-o", "args"], check=False).stdout))
home.cli("up", "vps")
wait_for("up", lambda: words("POSTERN_EVENT")[-1] == "up", 10)
time.sleep(0.5)  # the run before is over
# The child dies without a word: who was told "up" hears that it went, and that it is there again.
n = len(words("POSTERN_EVENT"))
for pid in net.home.child_pids(home.d):
    with open(f"/proc/{pid}/cmdline", "rb") as f:
        if f.read().split(b"\0")[1:3] == [b"--proc", b"child"]:
            os.kill(pid, signal.SIGKILL)
check("the child was killed: down, and up again", wait_for("both", lambda: words("POSTERN_EVENT")[n:] == ["down", "up"], 20), words("POSTERN_EVENT")[n:])
# Its section goes while it is up; that of another name comes for the same peer.
net.home.write("/etc/postern/postern.conf",
               net.home.read("/etc/postern/postern.conf").replace("[peer vps]", "[peer gate]"))
home.cli("reload")
said = lambda: list(zip(words("POSTERN_PEER"), words("POSTERN_EVENT")))
check("a peer that a reload removes has gone down", wait_for("down", lambda: ("vps", "down") in said()[-2:], 10), said())
check("the one in its place comes up", wait_for("up", lambda: said()[-1] == ("gate", "up"), 20), said())
home.d.terminate()
home.d.wait(60)
check("at the end of posternd it is told too", wait_for("down", lambda: words("POSTERN_EVENT")[-1] == "down"), words("POSTERN_EVENT"))
testlib.done()
