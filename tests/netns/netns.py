# SPDX-License-Identifier: GPL-3.0-or-later
"""Outer packets in one network namespace, the TUN in another, both ways round: what is in the TUN's namespace
reaches the peer and nothing else, what is outside of it has no tunnel.
"""
import testlib
from testlib import check, require, wait_for

lab, net = testlib.start()
import cast  # noqa: E402

vps, home = cast.tunnel(net)
conf = home.m.read("/etc/postern/postern.conf")


def ping(*inside):
    return net.home.run([*inside, "ping", "-c1", "-W0.5", "10.99.0.1"], check=False).returncode == 0


def start(line):
    if home.d:
        home.d.terminate()
        home.d.wait(60)
        home.m.run([testlib.POSTERND, "-c", "/etc/postern/postern.conf", "--cleanup"])
    home.m.write("/etc/postern/postern.conf", conf.replace("[posternd]\n", "[posternd]\n" + line))
    home.start_posternd()
    wait_for("posternd answers", lambda: home.status())


apps = ["ip", "netns", "exec", "apps"]
uplink = ["ip", "netns", "exec", "uplink"]
net.home.run(["ip", "netns", "add", "apps"])
net.home.run([*apps, "ip", "link", "set", "lo", "up"])
vps.start_posternd()
wait_for("posternd answers", lambda: vps.status())

# --- the TUN in a namespace of its own
start("tun-netns = apps\n")
require("the tunnel comes up in its namespace", wait_for("ping", lambda: ping(*apps), 20))
check("the TUN is there and not here", net.home.run([*apps, "ip", "link", "show", "postern0"], check=False).returncode == 0 and
      net.home.run(["ip", "link", "show", "postern0"], check=False).returncode != 0)
check("from here the tunnel is not reached", not ping())
check("nor the internet from there", net.home.run([*apps, "ping", "-c1", "-W1", "198.51.100.10"], check=False).returncode != 0)
check("the TUN's MTU is that of the outer path", "mtu 1418" in net.home.run([*apps, "ip", "link", "show", "postern0"]).stdout,
      net.home.run([*apps, "ip", "link", "show", "postern0"]).stdout)

# --- what happens outside is noticed
net.home.run(["ip", "addr", "del", "100.64.0.2/24", "dev", "wan"])
net.home.run(["ip", "addr", "add", "100.64.0.99/24", "dev", "wan"])
net.home.run(["ip", "route", "replace", "default", "via", "100.64.0.1"])
ups = home.peer("vps")["ups"]
check("another outer address", wait_for("ping", lambda: ping(*apps), 15) and
      wait_for("source", lambda: home.peer("vps")["path"]["source"] == "100.64.0.99", 10), home.peer("vps"))
check("without a new IKE SA", home.peer("vps")["ups"] == ups)

# --- the uplink in a namespace of its own
net.home.run(["ip", "netns", "add", "uplink"])
net.home.run(["ip", "link", "set", "wan", "netns", "uplink"])
net.home.run([*uplink, "ip", "link", "set", "lo", "up"])
net.home.run([*uplink, "ip", "addr", "add", "100.64.0.2/24", "dev", "wan"])
net.home.run([*uplink, "ip", "link", "set", "wan", "up"])
net.home.run([*uplink, "ip", "route", "add", "default", "via", "100.64.0.1"])
start("outer-netns = uplink\n")
check("the TUN here, the uplink elsewhere", wait_for("ping", ping, 20))
check("nothing but the tunnel leads out", net.home.run(["ping", "-c1", "-W1", "198.51.100.10"], check=False).returncode != 0)
check("the TUN was taken away from where it was", net.home.run([*apps, "ip", "link", "show", "postern0"], check=False).returncode != 0)
home.d.terminate()
home.d.wait(60)
home.m.run([testlib.POSTERND, "-c", "/etc/postern/postern.conf", "--cleanup"])
check("and is cleaned up here", net.home.run(["ip", "link", "show", "postern0"], check=False).returncode != 0)

# --- one that is not there
home.m.write("/etc/postern/postern.conf", conf.replace("[posternd]\n", "[posternd]\ntun-netns = nowhere\n"))
out = home.m.run([testlib.POSTERND, "-c", "/etc/postern/postern.conf"], check=False, timeout=20)
check("a namespace that is not there is said", out.returncode == 1 and "tun-netns = nowhere" in out.stdout and
      "ip netns add" in out.stdout, out.stdout)
testlib.done()
