# SPDX-License-Identifier: GPL-3.0-or-later
"""`postern mail path-test` over the tunnel, both ways, and out to a host that is no Postern of ours."""
import json

import testlib
from testlib import check, require, wait_for

MX4 = "198.51.100.31"
lab, net = testlib.start(hosts=[("mx-a", MX4)])
import cast  # noqa: E402
import foreign  # noqa: E402
import post  # noqa: E402

ROUTES = """
[route far]
kind = smarthost
address = {mx}
port = 25
tls = may
domains = far.example
[route clear]
kind = smarthost
address = {mx}
port = 25
tls = none
domains = clear.example
""".format(mx=MX4)

vps, home = cast.tunnel(net)
cast.mail(vps, home)
conf = net.vps.read("/etc/postern/mta.conf")
net.vps.write("/etc/postern/mta.conf", conf.replace("dns = recurse\ndns-root-hints = /etc/root.hints\n", "") + ROUTES)

# The host outside is a postern-mta too, which has no tunnel: nobody's probe is one for it.
far = cast.Side(net.mx_a, "mx-a")
cast.certificate(net.mx_a, "mx.far.example")
net.mx_a.run(["sh", "-c", "echo ann:x:2103:2103::/home/ann:/bin/sh >>/etc/passwd"])
net.mx_a.write("/etc/postern/mta.conf", """[mta]
role = edge
hostname = mx.far.example
tunnel = no
certificate = tls/cert.pem
private-key = tls/key.pem
[deliver]
domains = far.example, clear.example
""")
for side in (vps, home):
    side.start_posternd()
wait_for("tunnel", lambda: home.up("vps"))
for side in (vps, home, far):
    side.start_mta()
cast.wait_greets(net.mx_a, net.VPS4)
cast.wait_greets(net.vps, "10.99.0.2")
cast.wait_greets(net.home, "10.99.0.1")
cast.wait_greets(net.vps, MX4)


def probe(side, *args):
    """Its exit status and what it told."""
    p = side.cli("mail", "path-test", "--json", *args, check=False)
    try:
        return p.returncode, json.loads(p.stdout)
    except ValueError:
        require("path-test answers in JSON", False, (p.returncode, p.stdout, p.stderr))


# ---- inward: it ends before the mailbox
code, o = probe(vps, "alice@example.org")
check("from the VPS to a mailbox at home: as it should be", code == 0 and o["ok"], o)
check("the home tells that it ended there", o["report"]["by"] == "home.example.net" and o["report"]["action"] == "delivered" and
      "before the mailbox" in o["report"]["diagnostic"], o["report"])
check("by TLS over the tunnel, and under an id of its own there", o["first"]["tls"].startswith("TLSv1.") and
      len(o["first"]["next_id"]) == 32, o["first"])
check("the home's Received stands in it as it was", len(o["received"]) == 1 and "by home.example.net (Postern)" in o["received"][0] and
      o["first"]["next_id"] in o["received"][0] and "using TLSv1." in o["received"][0], o["received"])
trace = home.cli("mail", "trace", o["first"]["next_id"]).stdout
check("the home's own trace goes on with it", "probed" in trace and "vps" in trace, trace)
check("nothing is in the mailbox", not foreign.maildir_letters(net.home, "/home/alice/Maildir"))
code, o = probe(vps, "--mailbox", "alice@example.org")
check("unless it is asked for", code == 0 and o["report"]["action"] == "delivered" and "before" not in o["report"]["diagnostic"], o)
check("then it is there", post.subjects(foreign.maildir_letters(net.home, "/home/alice/Maildir")) == ["Probe of the way of mail"])
code, o = probe(vps, "nobody@example.org")
check("whom nobody knows is no way", code == 1 and not o["ok"], o)

# ---- outward: what the edge met, and what it would have told of the inside
code, o = probe(home, "ann@far.example")
check("the home is told what the host outside said to the VPS", o["report"]["by"] == "vps.example.net" and
      o["report"]["action"] == "relayed" and o["report"]["host"] == MX4 and o["report"]["tls"].startswith("TLSv1."), o["report"])
check("the tunnel's address is found in what the VPS writes", code == 1 and o["outside"] and
      [(x["kind"], x["what"]) for x in o["leaks"]] == [("address", "10.99.0.2")] or
      [(x["kind"], x["what"]) for x in o["leaks"]] == [("address", "IPv6:fd99::2")], o["leaks"])
net.vps.write("/etc/postern/mta.conf", net.vps.read("/etc/postern/mta.conf") + "\n[listener tunnel]\nmask-source = yes\n")
vps.mta.terminate()  # a reload leaves sessions as they are, and the home keeps one
vps.mta.wait(60)
vps.start_mta()
cast.wait_greets(net.home, "10.99.0.1")
cast.wait_greets(net.mx_a, net.VPS4)
code, o = probe(home, "ann@far.example")
check("with mask-source nothing is left to tell, and all is well", code == 0 and o["ok"] and not o["leaks"], o)
code, o = probe(home, "ann@clear.example")
check("a host outside that is told in clear is not", code == 1 and any("in clear" in x for x in o["problems"]), o["problems"])
code, o = probe(home, "nobody@far.example")
check("and the reply of one that refuses comes back", code == 1 and o["report"]["action"] == "failed" and
      "550" in o["report"]["diagnostic"], o)
code, o = probe(vps, "ann@far.example")
check("asked at the VPS no report is due", code == 0 and o["report"] is None and o["first"]["host"] == MX4, o)

# ---- who else might speak, and what is left
words = post.send(net.mx_a, net.VPS4, "ann@far.example", "0" * 32 + "@probe.postern.invalid", "x")
check("a stranger has no report to bring", words[0] == 550, words)
p = home.cli("mail", "path-test", "ann@far.example", check=False)
check("for people it is a table", p.returncode == 0 and "the end    vps.example.net: relayed" in p.stdout and "ok  " in p.stdout, p.stdout)
vps.mta.terminate()
vps.mta.wait(60)
code, o = probe(home, "--timeout", "2", "ann@far.example")
check("without a next hop it waits, and time is over", code == 1 and o["state"] == "queued" and o["report"] is None, o)
wait_for("it was taken back", lambda: json.loads(home.cli("mail", "queue", "--json").stdout)["letters"] == [])
check("no dead letters", json.loads(home.cli("mail", "queue", "--dead", "--json").stdout)["letters"] == [])
testlib.done()
