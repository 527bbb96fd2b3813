# SPDX-License-Identifier: GPL-3.0-or-later
"""Operations: reloads that are wrong or change one peer, kill -9, a device, an address, a route or a rule taken away from
under the daemon, the outer interface pulled out and put back, certificates whose revocation servers do not answer.
"""
import os
import signal
import sys
import time

import testlib
from testlib import case, check, require, wait_for

lab, net = testlib.start(hosts=[("second", "198.51.100.40")])
import cast  # noqa: E402

vps, home = cast.tunnel(net)
second = cast.Side(net.second, "second")
DEAD = "198.51.100.99"  # nobody has it: what is sent there is never answered
net.second.write("/etc/hosts", f"127.0.0.1 localhost second\n{net.VPS4} vps.example.net\n")
net.second.run(["mkdir", "-p", "/etc/postern/keys"])
# The second one comes by certificate; who signed it names servers of revocation that are dead.
CERTS = r"""
set -e; mkdir -p /tmp/ca; cd /tmp/ca; umask 077
openssl req -x509 -newkey ed25519 -nodes -keyout ca.key -out ca.pem -days 30 -subj /CN=ca -addext basicConstraints=critical,CA:TRUE 2>/dev/null
for n in vps second; do
    openssl req -newkey ed25519 -nodes -keyout $n.key -out $n.csr -subj /CN=$n.example.net 2>/dev/null
    printf 'subjectAltName=DNS:%s.example.net\ncrlDistributionPoints=URI:http://DEAD/crl\nauthorityInfoAccess=OCSP;URI:http://DEAD/ocsp\n' $n >$n.ext
    openssl x509 -req -in $n.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out $n.pem -days 30 -extfile $n.ext 2>/dev/null
done
""".replace("DEAD", DEAD)
net.vps.run(["sh", "-c", CERTS])
for m, name in ((net.vps, "vps"), (net.second, "second")):
    for f, mode in ((f"{name}.key", 0o600), (f"{name}.pem", 0o644), ("ca.pem", 0o644)):
        m.write(f"/etc/postern/keys/x-{f}", net.vps.read(f"/tmp/ca/{f}"), mode=mode)
SECOND = """
[peer second]
identity = second.example.net
ca = keys/x-ca.pem
certificate = keys/x-vps.pem
private-key = keys/x-vps.key
assign = 10.99.0.3
"""
base = vps.m.read("/etc/postern/postern.conf")
vps.m.write("/etc/postern/postern.conf", base + SECOND)
second.m.write("/etc/postern/postern.conf", f"""[posternd]
identity = second.example.net
private-key = keys/x-second.key
certificate = keys/x-second.pem

[peer vps]
address = {net.VPS4}
identity = vps.example.net
ca = keys/x-ca.pem
networks = 10.99.0.1
start = always
""")
net.wan.nft(f"table bridge watch {{\n chain c {{\n type filter hook prerouting priority 0;\n ip daddr {DEAD} counter\n"
            f" arp daddr ip {DEAD} counter\n }}\n}}\n")


def ping(to="10.99.0.1", m=net.home, wait="0.3"):
    return m.run(["ping", "-c1", f"-W{wait}", to], check=False).returncode == 0


def log(side):
    with open(side.d.log) as f:
        return f.read()


def spis(name):
    """Of all IKE SAs that the VPS has with a peer, and of their CHILD SAs."""
    p = vps.peer(name)
    ikes = [p["ike"], *p.get("beside", [])] if p.get("ike") else []
    return sorted([i["spi_i"] + i["spi_r"] for i in ikes] + [c["spi_in"] + c["spi_out"] for i in ikes for c in i["children"]])


def kill_all(side):
    for pid in [side.d.pid] + side.m.child_pids(side.d):
        try:
            os.kill(pid, signal.SIGKILL)
        except OSError:
            pass
    side.d.wait(60)


def kernel(m):
    """What stands in the kernel, without what may differ."""
    out = []
    for argv in (["ip", "-4", "rule"], ["ip", "-6", "rule"], ["ip", "-4", "route", "show", "table", "15700"],
                 ["ip", "-6", "route", "show", "table", "15700"], ["ip", "-br", "addr", "show", "dev", "postern0"],
                 ["nft", "-s", "list", "ruleset"]):
        lines = m.run(argv, check=False).stdout.splitlines()
        out.append(sorted(" ".join(w for w in line.split() if w not in ("linkdown", "UNKNOWN", "DOWN", "UP")) for line in lines))
    return out


def settled(m):
    """kernel(), once nothing of it changes any more."""
    seen = []

    def same():
        seen.append(kernel(m))
        return seen[-4:] == 4 * seen[-1:]
    wait_for("all stands", same, 20, 0.2)
    return seen[-1]


vps.start_posternd()
wait_for("posternd answers", lambda: vps.status())
home.start_posternd()
second.start_posternd()
require("both tunnels come up", wait_for("ping", lambda: ping() and ping(m=net.second), 30))
standing = settled(net.home)

# --- 120: nobody asks the servers of revocation, so nobody waits for them
net.second.run(["sh", "-c", "true"])
second.cli("down", "vps")
second.cli("up", "vps")
home.cli("down", "vps")
home.cli("up", "vps")
both = wait_for("both", lambda: ping() and ping(m=net.second), 30)
asked = net.wan.run(["nft", "list", "table", "bridge", "watch"]).stdout
case("ike_case_120_dead_revocation_servers_delay_nobody", both and asked.count("packets 0 ") == 2 and vps.peer("second")["ike"], asked)

# --- 114
before, was = spis("home"), vps.status()["peers"]
vps.m.write("/etc/postern/postern.conf", base + SECOND + "\n[peer third]\nidentiy = third.example.net\n")
told = vps.cli("reload", check=False)
line = len((base + SECOND).splitlines()) + 3
where = f"/etc/postern/postern.conf:{line}:"
os.kill(vps.d.pid, signal.SIGHUP)
wait_for("the log", lambda: log(vps).count("the old configuration stays") >= 2, 10)
case("ike_case_114_reload_with_an_error_changes_nothing", told.returncode and where in told.stdout and log(vps).count(where) >= 2 and
     len(vps.status()["peers"]) == len(was) and spis("home") == before and ping(wait="5"), (told.stdout, where))

# --- 115
vps.m.write("/etc/postern/postern.conf", base + SECOND + "lifetime = 2h\n")
old = spis("second")
vps.cli("reload")
wait_for("reload", lambda: "configuration changed" in log(vps), 10)
time.sleep(1)
case("ike_case_115_reload_of_one_peer_leaves_the_others", spis("home") == before and before and log(vps).count("configuration changed") == 1
     and wait_for("second", lambda: ping(m=net.second), 20), (before, spis("home"), old, spis("second")))

# --- an inner connection that has to live through the rest
ECHO = "import socket\ns=socket.create_server(('10.99.0.1',7))\nwhile True:\n c,_=s.accept()\n while (d:=c.recv(9)): c.sendall(d)\n"
TALK = ("import socket,time\nc=socket.create_connection(('10.99.0.1',7),10)\nc.settimeout(90)\nn=0\n"
        "while True:\n c.sendall(b'x')\n assert c.recv(1)\n n+=1\n print(n,flush=True)\n time.sleep(0.05)\n")
net.vps.start([sys.executable, "-c", ECHO], log="echo")
testlib.listening(net.vps, 7)
talk = net.home.start([sys.executable, "-c", TALK], log="talk")


def said():
    with open(talk.log) as f:
        return len(f.read().split())


def goes_on(what, seconds=40):
    n = said()
    return check(f"{what}: the inner connection goes on", wait_for(what, lambda: said() > n + 5, seconds))


goes_on("at first")

# --- 117
old = spis("home")
kill_all(home)
time.sleep(0.5)
home.start_posternd()
goes_on("kill -9 and a start")
new = wait_for("one IKE SA with one CHILD SA", lambda: len(spis("home")) == 2 and spis("home"), 20)
case("ike_case_117_kill_and_start_leave_one_sa_and_the_same_routes", not set(old) & set(new) and bool(wait_for("as before", lambda: kernel(net.home) == standing, 20)) and
     talk.poll() is None, (old, new, kernel(net.home), standing))

# --- 119
ok = []
for what, argv in (("an address flushed", ["ip", "addr", "flush", "dev", "postern0"]),
                   ("a route stolen", ["ip", "route", "replace", "10.99.0.1/32", "via", "100.64.0.1", "table", "15700", "metric", "157"]),
                   ("a route of a better metric", ["ip", "route", "del", "10.99.0.1/32", "table", "15700", "metric", "157"]),
                   ("all its routes flushed", ["sh", "-c", "ip route flush table 15700; ip -6 route flush table 15700"]),
                   ("a rule deleted", ["ip", "rule", "del", "priority", "15702"]),
                   ("the device set down", ["ip", "link", "set", "postern0", "down"]),
                   ("its nft table deleted", ["nft", "delete", "table", "inet", "postern"]),
                   ("the device deleted", ["ip", "link", "del", "postern0"])):
    net.home.run(argv)
    ok.append(goes_on(what))
    ok.append(check(f"{what}: all stands again", wait_for("as before", lambda: kernel(net.home) == standing, 20)))
# A route of a stranger in our table, and one in front of it.
net.home.run(["ip", "route", "add", "10.99.0.1/32", "via", "100.64.0.1", "table", "main"])
ok.append(goes_on("a route in the main table"))
net.home.run(["ip", "route", "del", "10.99.0.1/32", "table", "main"])
case("ike_case_119_what_is_taken_from_under_the_daemon_is_put_back", all(ok) and talk.poll() is None, ok)

# --- the outer interface is pulled out, as a USB modem is, and put back
net.home.run(["ip", "link", "del", "wan"])
time.sleep(2)
check("without a line the daemon runs", home.status() != {} and home.d.poll() is None)
lab.link(net.cgnat, "inner", net.home, "wan")
net.cgnat.addr("inner", "100.64.0.1/24")
net.home.addr("wan", "100.64.0.2/24")
net.home.run(["ip", "route", "add", "default", "via", "100.64.0.1"])
goes_on("the outer interface was pulled out and put back")
check("it is one connection all along", talk.poll() is None)
testlib.done()
