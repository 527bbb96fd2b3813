# SPDX-License-Identifier: GPL-3.0-or-later
"""Behind a carrier's NAT: how long it remembers is measured while the tunnel is idle and kept over a restart, the
VPS gets through first, and a line that costs money has its budget.
"""

import testlib
from testlib import case, check, require, wait_for

lab, net = testlib.start()
import cast  # noqa: E402
import cgnat  # noqa: E402

nat = cgnat.model(net, lifetime=40)
vps, home = cast.tunnel(net, extra="log-level = debug\n")


def ping(to="10.99.0.1", m=net.home, wait="1"):
    return m.run(["ping", "-c1", f"-W{wait}", to], check=False).returncode == 0


def wan(side):
    found = side.status().get("wans", [])
    return found[0] if found else {}


def keepalive():
    return home.peer("vps").get("keepalive", {})


vps.start_posternd()
wait_for("posternd answers", lambda: vps.status())
home.start_posternd()
require("the tunnel comes up", wait_for("ping", ping, 20))

# --- meanwhile the tunnel is idle, and its NAT is measured beside it
wait_for("the WAN is known", lambda: wan(home), 10)
check("15 s to begin with", keepalive()["interval_s"] == 15 and keepalive()["adaptive"], keepalive())
check("the WAN is known by its gateway", wan(home)["interface"] == "wan" and wan(home)["gateway"] == "100.64.0.1", wan(home))
check("the VPS sends none, and needs no WAN", vps.peer("home")["keepalive"]["kind"] == "none" and not wan(vps))
measured = wait_for("a measurement", lambda: wan(home).get("survived_s"), 70, 0.5)
check("a mapping of 40 s lives through 30 s", measured == 30, measured)
check("so the interval is 0.6 of that", wait_for("18", lambda: keepalive().get("interval_s") == 18), keepalive())
check("a port beside the live one was used for it", len(set(nat.mappings())) >= 2, nat.mappings())

# --- 89: nothing was sent for longer than the NAT remembers; then the VPS speaks first
p = vps.peer("home")
case("ike_case_089_after_an_idle_time_the_vps_speaks_first_and_gets_through", ping("10.99.0.2", net.vps, "5"))
check("at the endpoint that there was, and nothing moved", vps.peer("home")["moves"] == p["moves"] == 0, p["moves"])

# --- what was learnt outlives the daemon
home.d.terminate()
home.d.wait(60)
home.start_posternd()
require("up again", wait_for("ping", ping, 20))
wait_for("the WAN is known", lambda: wan(home), 10)
check("the interval is what was learnt", wait_for("18", lambda: keepalive().get("interval_s") == 18), keepalive())

# --- a line that costs money: the same, within a budget
plain = home.m.read("/etc/postern/postern.conf")
home.m.write("/etc/postern/postern.conf", plain + "\n[wan phone]\ninterface = wan\nmetered = yes\nbudget = 1M\n")
home.cli("reload")
check("a budget stretches the interval, and says so", wait_for("it", lambda: (dear := wan(home)).get("metered") and dear["interval_s"] > 60
      and dear["recovery"] == "slowed by the budget" and dear["mb_per_month"] <= 1.05), wan(home))
dear = wan(home)
check("what was used is told", 0 < dear["used_mb"] < 1 and dear["used"]["keepalive"] > 0, dear)
home.m.write("/etc/postern/postern.conf", plain)
home.cli("reload")
check("without it all is as before", wait_for("18", lambda: keepalive().get("interval_s") == 18 and wan(home).get("recovery") == "normal"), wan(home))
testlib.done()
