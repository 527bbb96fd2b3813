# SPDX-License-Identifier: GPL-3.0-or-later
"""The machine's own firewall: our ports are let in where it drops by default, put back when it is loaded anew, taken
away at the end; it stays readable for its own tools, and what it lets in otherwise stays as it was.
"""
import os
import signal
import time

import testlib
from testlib import check, require, wait_for

lab, net = testlib.start()
import cast  # noqa: E402

# As fw4 writes it: policies, zones by jump, a reject at the end.
FW4 = """
table inet fw4 {
}
flush table inet fw4
table inet fw4 {
	chain input {
		type filter hook input priority filter; policy drop;
		iifname "lo" accept
		ct state established,related accept
		iifname "wan" jump input_wan
		jump handle_reject
	}
	chain forward {
		type filter hook forward priority filter; policy drop;
		ct state established,related accept
		jump handle_reject
	}
	chain output { type filter hook output priority filter; policy accept;
	}
	chain input_wan {
		meta nfproto ipv4 icmp type echo-request accept
	}
	chain handle_reject {
		reject with icmpx admin-prohibited
	}
}
"""
# As firewalld does: the policy is accept, the last rule is not.
FIREWALLD = """
table inet firewalld {
}
flush table inet firewalld
table inet firewalld {
	chain filter_INPUT {
		type filter hook input priority filter + 10; policy accept;
		ct state established,related accept
		iifname "lo" accept
		reject with icmpx admin-prohibited
	}
}
"""
OURS = 6  # rules in an input chain: two ports of UDP, one of TCP; from the tunnel one port, and ping twice
vps, home = cast.tunnel(net)
base = vps.m.read("/etc/postern/postern.conf")


def ping(to="10.99.0.1", m=net.home):
    return m.run(["ping", "-c1", "-W0.3", to], check=False).returncode == 0


def rules(family="inet", table="fw4"):
    """Our rules of a table."""
    return [line.strip() for line in vps.m.run(["nft", "-s", "list", "table", family, table]).stdout.splitlines()
            if "postern" in line]


def connects(port, seconds):
    """Is there an answer at that port of the tunnel's address, a refusal at least?"""
    return net.home.python("import socket,sys\ntry:\n socket.create_connection(('10.99.0.1', int(sys.argv[1])), float(sys.argv[2])).close()\n"
                           "except ConnectionRefusedError: sys.exit(0)\nexcept OSError: sys.exit(1)", port, seconds, check=False).returncode == 0


def stop(side):
    side.d.terminate()
    side.d.wait(60)


vps.m.nft(FW4)
before = vps.m.run(["nft", "-s", "list", "ruleset"]).stdout
vps.start_posternd()
wait_for("posternd answers", lambda: vps.status())
home.start_posternd()
require("fw4: the tunnel comes up through a policy of drop", wait_for("ping", ping, 20))
got = rules()
check("500 and 4500 are open, UDP and TCP, the tunnel to port 25 and ping, forwarding not", len(got) == OURS and "udp dport 4500" in got[0]
      and "udp dport 500 " in got[1] and "tcp dport 4500" in got[2] and 'iifname "postern0" tcp dport 25' in got[3], got)
check("a program behind another port is not reached through the tunnel", not connects(22, 1) and connects(25, 10), got)
vps.m.nft(FW4)
check("loaded anew: they are back", wait_for("rules", lambda: len(rules()) == OURS, 10))
check("and there once", time.sleep(1) is None and len(rules()) == OURS, rules())
vps.m.write("/etc/postern/postern.conf", base.replace("[peer home]", "tunnel-ports = 0\n\n[peer home]\nlocal-ts = 10.99.0.1, fd99::1, 10.44.0.0/24"))
vps.cli("reload")
check("a reload: no port for the tunnel, forwarding for a network behind us", wait_for("rules", lambda: any(
    "oifname" in r for r in rules()) and not any("dport 25" in r for r in rules()), 5), rules())
vps.m.write("/etc/postern/postern.conf", base.replace("[peer home]", "firewall = none\n\n[peer home]"))
vps.cli("reload")
check("firewall = none takes them away", wait_for("none", lambda: not rules(), 5), rules())
vps.m.write("/etc/postern/postern.conf", base)
vps.cli("reload")
wait_for("rules", lambda: len(rules()) == OURS, 5)
for pid in [vps.d.pid] + vps.m.child_pids(vps.d):
    try:
        os.kill(pid, signal.SIGKILL)
    except OSError:
        pass
vps.d.wait(60)
vps.start_posternd()
wait_for("posternd answers", lambda: vps.status())
check("after kill -9 and a start they are there once", wait_for("ping", lambda: ping() and len(rules()) == OURS, 20), rules())
stop(vps)
after = vps.m.run(["nft", "-s", "list", "ruleset"]).stdout
check("a stop takes them away, and leaves the firewall as it was", before in after and not rules(), after)
vps.m.run([testlib.POSTERND, "-c", "/etc/postern/postern.conf", "--cleanup"])
check("--cleanup: what stands is what stood", vps.m.run(["nft", "-s", "list", "ruleset"]).stdout == before)

# --- a router at home: its firewall forwards nothing between LAN and tunnel until the selectors say that a LAN is there
stop(home)
hbase = home.m.read("/etc/postern/postern.conf")
home.m.nft(FW4)
vps.m.write("/etc/postern/postern.conf", base.replace("[peer home]", "[peer home]\nnetworks = 192.168.7.0/24"))
home.m.write("/etc/postern/postern.conf", hbase.replace("[peer vps]", "firewall = none\n\n[peer vps]\nlocal-ts = assigned, 192.168.7.0/24"))
vps.start_posternd()
home.start_posternd()
wait_for("ping", ping, 30)
check("firewall = none: a LAN client does not get through", not ping(m=net.lan))
home.m.write("/etc/postern/postern.conf", home.m.read("/etc/postern/postern.conf").replace("firewall = none", "firewall = auto"))
home.cli("reload")
check("firewall = auto: it does, both ways", wait_for("ping", lambda: ping(m=net.lan) and ping("192.168.7.10", vps.m), 10))
check("and nothing else is forwarded", not ping("198.51.100.10", net.lan))
stop(vps)
stop(home)
check("at the end it is closed again", not ping(m=net.lan) and "postern postern0" not in home.m.run(["nft", "list", "ruleset"]).stdout)
home.m.run(["nft", "delete", "table", "inet", "fw4"])
home.m.write("/etc/postern/postern.conf", hbase)
vps.m.write("/etc/postern/postern.conf", base)
home.start_posternd()

vps.m.run(["nft", "flush", "ruleset"])
vps.m.nft(FIREWALLD)
vps.start_posternd()
check("firewalld: the tunnel comes up past a reject at the end", wait_for("ping", ping, 30))
check("its chain has them", len(rules(table="firewalld")) == OURS, rules(table="firewalld"))
vps.m.nft("table inet other {\n chain in {\n type filter hook input priority 20; policy accept;\n tcp dport 22 drop\n }\n}\n")
time.sleep(1)
check("a chain that drops nothing by default is left alone", not rules(table="other"), rules(table="other"))
stop(vps)
vps.m.run(["nft", "flush", "ruleset"])

# --- ufw and other users of iptables-nft: its own tool must still be able to read
ipt = ["iptables-nft", "ip6tables-nft"]
if vps.m.run(["sh", "-c", "command -v iptables-nft"], check=False).returncode:
    print("note: no iptables-nft in the scratch folder, not tried")
else:
    for tool in ipt:
        for rule in (["-P", "INPUT", "DROP"], ["-P", "FORWARD", "DROP"],
                     ["-A", "INPUT", "-m", "conntrack", "--ctstate", "ESTABLISHED,RELATED", "-j", "ACCEPT"]):
            vps.m.run([tool, *rule])
    was = [vps.m.run([tool, "-S"]).stdout for tool in ipt]
    vps.start_posternd()
    check("iptables-nft: the tunnel comes up", wait_for("ping", ping, 30))
    now = [vps.m.run([tool, "-S"], check=False).stdout for tool in ipt]
    check("iptables-nft can list it, with our rules in its words", all("-p udp -m udp --dport 4500" in t and "-i postern0 -p tcp -m tcp --dport 25" in t
                                                            for t in now), now)
    vps.m.run(["iptables-nft", "-F", "INPUT"])
    vps.m.run(["iptables-nft", "-A", "INPUT", "-m", "conntrack", "--ctstate", "ESTABLISHED,RELATED", "-j", "ACCEPT"])
    check("flushed: they are back", wait_for("rules", lambda: "4500" in vps.m.run(["iptables-nft", "-S"]).stdout, 10))
    stop(vps)
    check("a stop leaves it as it was", [vps.m.run([tool, "-S"]).stdout for tool in ipt] == was,
          [vps.m.run([tool, "-S"]).stdout for tool in ipt])
testlib.done()
