# SPDX-License-Identifier: GPL-3.0-or-later
"""How mail leaves: from which address, by which family, as whom, to which of several hosts; names from unbound.

	vps (postern-mta, unbound) ---- internet ---- dns (nsd)
	.10 .11 ::10 ::11                      `----- mx-a (sink.py; .31 .32 .33, ::31 ::32; ::dead swallows all)
"""
import json
import os

import testlib
from lab import Internet as I
from lab import wait_for
from testlib import case, check, require

testlib.need_scratch()
lab, net = testlib.start(hosts=[("dns", I.DNS4), ("mx-a", I.MXA4)])
import cast  # noqa: E402
import foreign  # noqa: E402
import sink  # noqa: E402

V6 = "2001:db8:51::"
A, B, C, SLOW, SINGLE, GRIM = (f"198.51.100.{n}" for n in range(31, 37))
OWN4, OWN6 = ("198.51.100.10", "198.51.100.11"), (V6 + "10", V6 + "11")
HELO = {OWN4[0]: "out1.example.net", OWN4[1]: "out2.example.net", OWN6[0]: "out1.v6.example.net", OWN6[1]: "out2.v6.example.net"}
POOL = f"source = {', '.join(HELO)}\nhelo = {', '.join(HELO.values())}\nletters-per-session = 1\n"

foreign.ZONES["example"] += f"""
both.example.	IN MX 10 mx.both.example.
mx.both.example. IN A {A}
mx.both.example. IN AAAA {V6}31
four.example.	IN MX 10 mx.four.example.
mx.four.example. IN A {A}
six.example.	IN MX 10 mx.six.example.
mx.six.example. IN AAAA {V6}31
slow.example.	IN MX 10 mx.slow.example.
mx.slow.example. IN A {A}
mx.slow.example. IN AAAA {V6}dead
implicit.example. IN A {A}
order.example.	IN MX 20 mx2.order.example.
order.example.	IN MX 10 mx1.order.example.
mx1.order.example. IN A {B}
mx2.order.example. IN A {A}
refused.example. IN MX 10 mx1.refused.example.
refused.example. IN MX 20 mx2.refused.example.
mx1.refused.example. IN A {C}
mx2.refused.example. IN A {B}
loop.example.	IN MX 10 vps.example.net.
loop.example.	IN MX 20 mx.both.example.
second.example.	IN MX 10 mx1.refused.example.
second.example.	IN MX 20 vps.example.net.
second.example.	IN MX 30 mx.both.example.
smart.example.	IN A {A}
single.example.	IN A {SINGLE}
""" + "".join(f"t{i}.example. IN A {SLOW}\n" for i in range(6))

CONF = """[mta]
role = edge
hostname = vps.example.net
tunnel = no
dns = forward
dns-servers = 127.0.0.1
[listener mx]
address = 127.0.0.2:25
[listener lan]
address = 127.0.0.1:2587
[route internet]
retry-first = 1s
retry-max = 2s
retry-jitter = 0
{internet}
{rest}
"""

vps = cast.Side(net.vps, "vps")


def configure(internet, rest=""):
    net.vps.write("/etc/postern/mta.conf", CONF.format(internet=internet, rest=rest))
    if not vps.mta:
        vps.start_mta()
        cast.wait_greets(net.vps, "127.0.0.1", 2587)
        return
    p = vps.cli("mail", "reload", check=False)
    require("the configuration is taken", p.returncode == 0, p.stdout)


SEND = """
import smtplib, sys
for to, subject in zip(sys.argv[1::2], sys.argv[2::2]):
    with smtplib.SMTP("127.0.0.1", 2587, timeout=60) as s:
        s.sendmail("joe@vps.example.net", [to], "Subject: %s\\r\\n\\r\\nx\\r\\n" % subject)
"""
count = 0


def send(*to):
    """One letter to each; their subjects."""
    global count
    words = []
    for t in to:
        count += 1
        words += [t, f"s{count}"]
    net.vps.python(SEND, *words)
    return words[1::2]


def letters(subjects):
    return [e for e in sink.events(net.mx_a) if e["subject"] in subjects]


def source_of(letter):
    return next(e["source"] for e in sink.events(net.mx_a, "open") if e["session"] == letter["session"])


def arrive(subjects, seconds=60):
    return wait_for(f"{subjects} to arrive", lambda: len(x := letters(subjects)) >= len(subjects) and x, seconds)


def routes():
    p = vps.cli("--json", "mail", "routes", check=False)
    return json.loads(p.stdout)["routes"] if p.returncode == 0 else []


def fault(hop):
    return next((r["fault"] or "" for r in routes() if r["hop"] == hop), "")


def log():
    with open(os.path.join(lab.logs, f"{net.vps.name}-postern-mta.log"), errors="replace") as f:
        return f.read()


def taken_by(*to):
    """Where each letter came from, with the name that it came by."""
    got = {e["subject"]: (source_of(e), e["helo"]) for e in arrive(send(*to))}
    return [got[s] for s in sorted(got, key=lambda s: int(s[1:]))]


# ---- the stage
net.vps.addr("wan", "198.51.100.11/24", V6 + "11/64")
net.mx_a.addr("wan", f"{B}/24", f"{C}/24", f"{SLOW}/24", f"{SINGLE}/24", f"{GRIM}/24",
                 V6 + "31/64", V6 + "32/64", V6 + "dead/64")
# Neither an answer nor a refusal: as a path with a hole in it. What knocks is counted.
net.mx_a.nft(f"""table ip6 hole {{
	counter knocks {{ }}
	chain c {{
		type filter hook input priority 0
		ip6 daddr {V6}dead tcp dport 25 counter name knocks drop
	}}
}}
""")
foreign.dns(net.dns)
foreign.resolver(net.vps)
sink.start(net.mx_a, [(C, "refuse"), (SLOW, "slow"), (SINGLE, "single"), (GRIM, "refuse")])

# ---- a pool of each family, each address with its name
configure(POOL)
came = taken_by(*["x@both.example"] * 4)
check("v6-first: the two IPv6 sources take turns, each with its name", sorted(came) == sorted([(a, HELO[a]) for a in OWN6] * 2), came)
came = taken_by(*["x@four.example"] * 4)
check("where there is only IPv4 its two sources do", sorted(came) == sorted([(a, HELO[a]) for a in OWN4] * 2), came)
configure(POOL + "family = v4-first\n")
came = taken_by(*["x@both.example"] * 2)
check("v4-first", sorted(came) == sorted((a, HELO[a]) for a in OWN4), came)


def went(family):
    return log().count(f'host=mx.both.example family={family} tls="" result=delivered')


wait_for("the log to have the last of them, which comes after it", lambda: went("ipv6") + went("ipv4") >= 6)
check("the log says by which family, and by what, each letter went", (went("ipv6"), went("ipv4")) == (4, 2), log()[-2000:])
configure(POOL + "family = balance\n")
came = taken_by(*["x@both.example"] * 8)
check("balance: each connection begins with the other family, and all four sources have their turn",
      sorted(came) == sorted(list(HELO.items()) * 2), came)
configure("family = v6-only\nletters-per-session = 1\nhelo = only6.example.net\n")
came = taken_by("x@both.example")
check("v6-only, with one name for the route", came in [[(a, "only6.example.net")] for a in OWN6], came)
waits = send("x@four.example")
said = wait_for("the fault", lambda: "IPv4" in (f := fault("four.example")) and f)
check("v6-only: to a host with IPv4 alone nothing is sent, and why stands in `mail routes`",
      "only IPv4 addresses, and route internet goes by IPv6 alone" in said and not letters(waits), said)
configure("family = v4-only\nletters-per-session = 1\n")
came = taken_by("x@both.example")
check("v4-only", came in [[(a, "vps.example.net")] for a in OWN4], came)
arrive(waits)
check("what waited goes when the route may use IPv4", True)

# ---- a host with IPv6 alone, and sources of IPv4
opened = len(sink.events(net.mx_a, "open"))
configure(f"source = {OWN4[0]}\n")
waits = send("x@six.example")
said = wait_for("the fault", lambda: "IPv6" in (f := fault("six.example")) and f)
wait_for("more attempts", lambda: log().count("only IPv6 addresses") >= 3)
tries = log().count("hop=six.example msg=\"cannot be used")
case("mail_case_078_a_host_with_v6_alone_and_v4_sources_is_a_clear_fault_and_no_loop",
     "mx" not in letters(waits) and "only IPv6 addresses, and route internet goes by IPv4 alone" in said and tries < 10 and
     len(sink.events(net.mx_a, "open")) == opened, (said, tries))

# ---- a source that is not there
configure(f"source = 198.51.100.99, {OWN4[1]}\nletters-per-session = 1\n")
came = taken_by(*["x@four.example"] * 3)
check("a source that this machine does not have is passed over, and told",
      [a for a, _ in came] == [OWN4[1]] * 3 and "source 198.51.100.99 is no address of this machine" in log(), came)
configure("source = 198.51.100.99\n")
absent = send("x@implicit.example")
said = wait_for("the fault", lambda: "198.51.100.99" in (f := fault("implicit.example")) and f)
check("where it is the only one nothing leaves, and `mail routes` says why",
      "source 198.51.100.99 is no address of this machine" in said and not letters(absent), said)
net.vps.addr("wan", "198.51.100.99/24")
check("when the address is there the letter goes, from it", source_of(arrive(absent)[0]) == "198.51.100.99")

# ---- happy eyeballs: IPv6 leads nowhere
configure("")
arrive(waits)
check("without sources the kernel chooses, and the host with IPv6 alone gets its letter", source_of(letters(waits)[0]) in OWN6)


def knocks():
    rules = json.loads(net.mx_a.run(["nft", "-j", "list", "counter", "ip6", "hole", "knocks"]).stdout)
    return next(e["counter"]["packets"] for e in rules["nftables"] if "counter" in e)


before = len(sink.events(net.mx_a, "open"))
first = arrive(send("x@slow.example"))[0]
knocked = knocks()
wait_for("the session to end", lambda: any(e["session"] == first["session"] for e in sink.events(net.mx_a, "close")))
second = arrive(send("x@slow.example"))[0]
case("mail_case_078_a_black_hole_in_v6_costs_a_moment_once_and_one_session",
     knocked >= 1 and knocks() == knocked and source_of(first) in OWN4 and source_of(second) in OWN4 and
     len(sink.events(net.mx_a, "open")) == before + 2, (knocked, knocks(), source_of(first)))

# ---- MX
gone = send("x@null.example")
wait_for("the failure", lambda: any("null.example" in l and "556" in l for l in log().splitlines()))
case("mail_case_077_null_mx_fails_at_once_and_asks_no_address", not letters(gone))
came = arrive(send("x@implicit.example"))[0]
check("without MX the address of the domain itself is the host", came["at"] == A, came)
came = arrive(send("x@order.example"))[0]
check("of two hosts the one with the lower preference", came["at"] == B, came)
came = arrive(send("x@refused.example"))[0]
check("which gives way to the next when it greets with 554", came["at"] == B, came)
gone, held = send("x@loop.example", "x@second.example")
wait_for("the failure", lambda: any("loop.example" in l and "loops back" in l for l in log().splitlines()))
wait_for("the deferral", lambda: "not here" in fault("second.example"))
case("mail_case_076_of_mail_hosts_we_are_one_of_only_better_ones_are_asked", not letters([gone, held]), fault("second.example"))
came = arrive(send(f"x@[{A}]", f"x@[IPv6:{V6}32]"))
check("address literals", sorted(e["at"] for e in came) == sorted([A, V6 + "32"]), came)

# ---- next hops in a list, and the bound of a route
configure("sessions-total = 2\n", f"""[route smart]
kind = smarthost
address = 198.51.100.77:26, {GRIM}:25, smart.example:2525, {B}:25
domains = far.example
tls = may
letters-per-session = 1
retry-first = 1s
retry-max = 1s
""")
net.mx_a.addr("wan", "198.51.100.77/24")  # where nobody listens on 26
came = arrive(send("x@far.example", "x@far.example"))
check("next hops are tried in their order: one that refuses the connect, one that greets with 554, then a name with a port",
      {e["at"] for e in came} == {A} and
      {e["port"] for e in sink.events(net.mx_a, "open") if e["session"] == came[0]["session"]} == {2525}, came)
refused = sum(e["at"] == GRIM for e in sink.events(net.mx_a, "open"))
arrive(send("x@far.example", "x@far.example"))
check("the one that worked comes first for a while: who refused is not asked by each connection",
      refused and sum(e["at"] == GRIM for e in sink.events(net.mx_a, "open")) == refused, refused)

# Six domains, each a next hop of its own, at a host that takes a second for a letter. A session is over at the earliest when
# its letter is.
vps.cli("mail", "hold", "internet")
six = send(*[f"x@t{i}.example" for i in range(6)])
vps.cli("mail", "release", "internet")  # so that they are there at the same time, however long each took to come
came = arrive(six)
edges = sorted([(e["t"], 1) for e in sink.events(net.mx_a, "open") if e["at"] == SLOW] +
               [(e["t"], -1) for e in came])
most, now = 0, 0
for _, step in edges:
    now += step
    most = max(most, now)
check("sessions-total: to six next hops there are two sessions at a time", most == 2 and len(came) == 6, most)

# ---- a host that wants one session at a time, and takes long over a letter
first = send("x@single.example")
wait_for("the first letter to be under way", lambda: any(e["at"] == SINGLE for e in sink.events(net.mx_a, "held")))
came = arrive(first + send("x@single.example"))
tries = len([e for e in sink.events(net.mx_a, "open") if e["at"] == SINGLE])
check("a host that turns further sessions away is not asked for one more at once, again and again", len(came) == 2 and tries < 12, tries)

# ---- a backup: a next hop that is not there, and comes back
LATE = "198.51.100.78"
configure("", f"""[route far]
kind = smarthost
address = {LATE}:25
domains = far.example
tls = may
retry-first = 1s
retry-max = 1s
backup = other
backup-after = 2s
[route other]
kind = smarthost
address = {B}:25
tls = may
""")


def far():
    return next((r for r in routes() if r["route"] == "far"), {})


came = arrive(send("x@far.example"))[0]
r = far()
check("what a next hop fails to take for backup-after goes by the backup", came["at"] == B and r["on_backup"] and r["backup"] == "other", (came, r))
p = vps.cli("mail", "routes", check=False)
check("`postern mail routes` says so", "letters go by other" in p.stdout, p.stdout)
p = vps.cli("mail", "explain", "--would", "joe@vps.example.net", "127.0.0.1", "x@far.example", "--listener", "lan", check=False)
check("`postern mail explain` knows of the way", "2 s it goes by route other" in p.stdout, p.stdout)
net.mx_a.addr("wan", f"{LATE}/24")
wait_for("a letter by the route itself", lambda: arrive(send("x@far.example"))[0]["at"] == LATE, 60)
wait_for("its return", lambda: not far().get("on_backup"), 30)
came = arrive(send("x@far.example"))[0]
check("and with the first letter that it takes all go by it again", came["at"] == LATE, came)

vps.mta.terminate()
check("postern-mta ends in order", vps.mta.wait(60) == 0)
testlib.done()
