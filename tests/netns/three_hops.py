# SPDX-License-Identifier: GPL-3.0-or-later
"""Three machines with the same program: what conf/mta-three-*.conf say, running.

	mx-a ---- vps ======== tunnel ======== router (home) ---- LAN ---- workstation (lan)
	          role edge                    role home                   role workstation, mailboxes of example.com

The files are those of conf/, with the pins of this test's keys and a way out to mx-a instead of DNS.
"""
import json
import os
import re
import time

import testlib
from testlib import check, require, wait_for

MX4, MX6 = "198.51.100.31", "2001:db8:51::31"
lab, net = testlib.start(hosts=[("mx-a", MX4)])
import cast  # noqa: E402
import foreign  # noqa: E402
import post  # noqa: E402

CONF = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "conf")
vps, router, workstation = cast.Side(net.vps, "vps"), cast.Side(net.home, "home"), cast.Side(net.lan, "lan")

# ---- wires and addresses of the examples
net.vps.addr("wan", "192.0.2.2/32", "2001:db8:1234:1234::6969/128", "2001:db8:1234:1234::b17e/128")
net.mx_a.addr("wan", MX6 + "/64")
net.mx_a.run(["ip", "route", "add", "192.0.2.2/32", "via", net.VPS4])
net.mx_a.run(["ip", "route", "add", "2001:db8:1234:1234::/64", "via", net.VPS6])
net.home.addr("lan", "2001:db8:6969::1/64")
net.lan.addr("eth0", "2001:db8:6969::2/64")

# ---- posternd
net.home.write("/etc/hosts", f"127.0.0.1 localhost\n{net.VPS4} vps.example.net\n")
cast.keys(vps, router)
net.vps.write("/etc/postern/postern.conf", cast.VPS_CONF.format(extra="", peer="").replace("[peer home]", "[peer router]"))
net.home.write("/etc/postern/postern.conf", cast.HOME_CONF.format(extra="", peer="", address="vps.example.net"))


# ---- postern-mta
def certificate(m, *names):
    for name in names:
        m.run(["sh", "-c", f"mkdir -p /etc/postern/tls && cd /etc/postern/tls && openssl req -x509 -newkey ec -pkeyopt"
               f" ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN={name} -keyout {name}.key -out {name}.pem && chmod 600"
               f" {name}.key"])


def pin(m, name):
    return m.run(["sh", "-c", f"openssl x509 -in /etc/postern/tls/{name}.pem -noout -pubkey | openssl pkey -pubin -outform DER |"
                  " openssl dgst -sha256 -r | cut -d' ' -f1"]).stdout.strip()


def configure(m, name, pins, more=""):
    with open(f"{CONF}/mta-three-{name}.conf") as f:
        text = f.read()
    zeros = "0" * 64
    require(f"mta-three-{name}.conf asks for {len(pins)} pins", text.count(zeros) == len(pins))
    for p in pins:
        text = text.replace(zeros, p, 1)
    m.write("/etc/postern/mta.conf", text + more)


certificate(net.vps, "smtp.example.com", "mx1.example.com", "mx2.example.com")
certificate(net.home, "router.lan")
certificate(net.lan, "workstation.lan")
pin_router, pin_workstation = pin(net.home, "router.lan"), pin(net.lan, "workstation.lan")
configure(net.vps, "vps", [], f"""
[route far]
kind = smarthost
address = {MX6}, {MX4}
port = 25
tls = none
domains = far.example
source = 2001:db8:1234:1234::b17e, 192.0.2.2
""")
configure(net.home, "router", [pin_workstation] * 2)  # as a client, and as a next hop
configure(net.lan, "workstation", [pin_router] * 2)
for m, name in ((net.vps, "valid_users"), (net.lan, "aliases")):
    with open(f"{CONF}/tables/{name}") as f:
        m.write(f"/etc/postern/tables/{name}", f.read())
net.lan.run(["sh", "-c", "echo jay:x:2102:2102::/home/jay:/bin/sh >>/etc/passwd && install -d -m 700 -o 2102 -g 2102 /home/jay"])
world = post.sink(net.mx_a, MX4, MX6)
for side in (vps, router):
    side.start_posternd()
wait_for("tunnel", lambda: router.up("vps"))


def start_deliver():
    workstation.deliver = net.lan.start([testlib.POSTERN_DELIVER, "-c", "/etc/postern/mta.conf", "--listen",
                                         "/run/postern/deliver.sock"], log="postern-deliver")


net.lan.run(["mkdir", "-p", "/run/postern", "/var/lib/postern"])
start_deliver()
for side in (vps, router, workstation):
    side.start_mta()
cast.wait_greets(net.mx_a, "2001:db8:1234:1234::6969")
cast.wait_greets(net.mx_a, "192.0.2.2")
cast.wait_greets(net.lan, "127.0.0.1")
cast.wait_greets(net.home, "10.99.0.1")
cast.wait_greets(net.vps, "10.99.0.2")
cast.wait_greets(net.home, "2001:db8:6969::2")
cast.wait_greets(net.lan, "2001:db8:6969::1")


def mailbox():
    return foreign.maildir_letters(net.lan, "/home/jay/Maildir")


def hops(text):
    """Its Received fields, last hop first, each as one line."""
    head = re.sub(r"\r?\n[ \t]+", " ", text.decode().replace("\r\n", "\n").split("\n\n")[0])
    return [line for line in head.split("\n") if line.startswith("Received:")]


# ---- inward
for host, name in (("2001:db8:1234:1234::6969", "mx1"), ("192.0.2.2", "mx2")):
    code, words = post.send(net.mx_a, host, "ann@far.example", "test@example.com", f"in-{name}")
    check(f"{name} takes a letter for test@example.com", code == 250, words)
wait_for("both in the mailbox", lambda: post.subjects(mailbox()) == ["in-mx1", "in-mx2"])
code, words = post.send(net.mx_a, "192.0.2.2", "ann@far.example", "nobody@example.com", "x")
check("whom the workstation does not have the VPS refuses", code == 550, words)
code, words = post.send(net.mx_a, "192.0.2.2", "ann@far.example", "bob@elsewhere.example", "x")
check("and it relays for nobody", code == 550, words)
letter = next(t for t in mailbox() if b"Subject: in-mx1" in t)
fields = hops(letter)
require("three hops, three fields", len(fields) == 3, fields)
check("the VPS says who brought it, by the name of that listener", f"[IPv6:{MX6}]" in fields[2] and
      " by mx1.example.com (Postern)" in fields[2] and "for <test@example.com>" in fields[2], fields[2])
check("the router had it by TLS from the VPS", "from smtp.example.com " in fields[1] and " by vpn0.example.com (Postern) with ESMTPS"
      in fields[1], fields[1])
check("the workstation had it by TLS from the router", "from router.lan ([IPv6:2001:db8:6969::1])" in fields[0] and
      " by workstation.lan (Postern) with ESMTPS" in fields[0], fields[0])
check("it is delivered to whom the alias names", b"Delivered-To: jay@" in letter and b"Return-Path: <ann@far.example>" in letter,
      letter[:120])

# ---- outward
code, words = post.send(net.lan, "127.0.0.1", "test@example.com", "ann@far.example", "out")
check("the workstation takes what its user writes", code == 250, words)
wait_for("the answer is outside", lambda: post.subjects(post.letters(world)) == ["out"])
text = post.letters(world)[0]
fields = hops(text)
require("again three", len(fields) == 3, fields)
check("router and VPS do not say where they had it from", all(re.match(r"Received: by (smtp\.example\.com|router\.lan) ", f)
                                                            for f in fields[:2]), fields)
inside = [a for a in ("10.99.0.", "fd99:", "192.168.", "100.64.", "2001:db8:6969:", "198.51.100.20") if a in text.decode()]
check("no address of the LAN, the tunnel or the carrier is in it", not inside, (inside, fields))

# ---- what became of a letter, told by all three, asked at each of them
NAMES = {vps: "smtp.example.com", router: "router.lan", workstation: "workstation.lan"}


def trace(side, letter, *more):
    p = side.cli("mail", "trace", *more, letter, "--json", check=False)
    try:
        return json.loads(p.stdout)
    except ValueError:
        return {"events": [], "silent": [], "said": p.stdout + p.stderr}


def told(t):
    """Who told of what, in the order in which it is told."""
    return [(e["host"], e["event"]) for e in t["events"]]


def story(*way):
    return sorted((NAMES[side], event) for side in way for event in ("accepted", "delivered"))


def ids(fields):
    """Of a letter's Received fields: its id at each hop."""
    return {re.search(r" by (\S+) ", f).group(1): re.search(r" id ([0-9a-f]{32})", f).group(1) for f in fields}


def joined(what, side, letter, *way):
    """Asked at @side all of @way tell, in order of time, and nobody is silent."""
    last = None

    def asked():
        nonlocal last
        last = trace(side, letter)
        return sorted(told(last)) == story(*way) and not last["silent"] and last
    try:
        t = wait_for("the whole story", asked, 20, 2)  # a hop answers one question in two seconds
    except testlib.Failed:
        t = last
    times = [e["at_ms"] for e in t["events"]]
    check(f"{what}: one story, by time, nobody silent", sorted(told(t)) == story(*way) and times == sorted(times) and
          not t["silent"], t)
    return t


inward = ids(hops(letter))
outward = ids(fields)
for name, side, key in (("VPS", vps, "mx1.example.com"), ("router", router, "vpn0.example.com"),
                        ("workstation", workstation, "workstation.lan")):
    t = joined(f"a letter inward, asked at the {name}", side, inward[key], vps, router, workstation)
    check(f"{name}: it knows its own id and all others", t["id"] == inward[key] and
          {e["letter"] for e in t["events"]} == set(inward.values()), (t, inward))
for name, side, key in (("VPS", vps, "smtp.example.com"), ("router", router, "router.lan"),
                        ("workstation", workstation, "workstation.lan")):
    t = joined(f"a letter outward, asked at the {name}", side, outward[key], workstation, router, vps)
    check(f"{name}: the end is that mx-a took it", [e["host"] for e in t["events"] if MX6 in e["text"] or MX4 in e["text"]] ==
          ["smtp.example.com"], t)
joined("asked at the VPS by the router's id", vps, inward["vpn0.example.com"], vps, router, workstation)
check("--local asks nobody", told(trace(vps, inward["mx1.example.com"], "--local")) == [
    ("smtp.example.com", "accepted"), ("smtp.example.com", "delivered")])


def says(what, good):
    """What `postern mail trace` says at the VPS, asked again where a hop was too slow to answer."""
    last = None

    def asked():
        nonlocal last
        p = vps.cli("mail", "trace", inward["mx1.example.com"], check=False)
        last = p.stdout
        return p.returncode == 0 and good(last)
    try:
        check(what, wait_for(what, asked, 20, 2))
    except testlib.Failed:
        check(what, False, last)


says("in words: its names, then a line an event with the host's name", lambda out:
     [line.split()[1] for line in out.splitlines()[1:4]] == ["smtp.example.com:", "router.lan:", "workstation.lan:"] and
     out.count(" router.lan        delivered  test@example.com  250  ") == 1)

# ---- a hop that is down
workstation.mta.terminate()
workstation.mta.wait(60)

says("without the workstation the other two tell, and say so", lambda out: out.count("router.lan ") >= 2 and
     re.search(r"^hop 2001:db8:6969::2 did not answer: connect to .*; ask there: postern mail trace "
               + inward["workstation.lan"], out, re.M))
router.d.terminate()
router.d.wait(60)
wait_for("the VPS knows", lambda: (post.routes(vps).get("router") or {}).get("state") == "down", 20)
says("without the tunnel the VPS tells alone", lambda out: "hop router did not answer: the tunnel is down" in out and
     "delivered" in out)
router.start_posternd()
wait_for("tunnel", lambda: router.up("vps"), 30)
workstation.start_mta()
cast.wait_greets(net.home, "2001:db8:6969::2")
joined("after all of it", workstation, inward["workstation.lan"], vps, router, workstation)

# ---- strangers
for what, m, host in (("from outside", net.mx_a, "192.0.2.2"), ("on the VPS itself", net.vps, "127.0.0.1")):
    code = ("import socket,sys\ns=socket.create_connection((sys.argv[1],25),60)\nf=s.makefile('rwb')\nf.readline()\n"
            "f.write(b'EHLO x.example\\r\\n');f.flush()\n"
            "while True:\n l=f.readline()\n sys.stdout.write(l.decode())\n if l[3:4]!=b'-': break\n"
            "f.write(b'XTRACE '+sys.argv[2].encode()+b'\\r\\n');f.flush()\nsys.stdout.write(f.readline().decode())")
    out = m.python(code, host, inward["mx1.example.com"], check=False).stdout
    check(f"nobody {what} is told", "XTRACE" not in out and out.rstrip().split("\n")[-1].startswith("500 "), out)

# ---- who else might speak
net.home.run(["ip", "addr", "add", "2001:db8:6969::7/64", "dev", "lan", "nodad", "preferred_lft", "0"])
code, words = post.send(net.home, "2001:db8:6969::2", "ann@far.example", "test@example.com", "x", source="2001:db8:6969::7")
check("at the workstation the router alone speaks", code in (530, 550), words)
MAIL = """
import smtplib, ssl, sys
ctx = ssl._create_unverified_context()
if sys.argv[2:]:
    ctx.load_cert_chain(*sys.argv[2:])
s = smtplib.SMTP(sys.argv[1], 25, timeout=60)
try:
    s.starttls(context=ctx)
    s.ehlo()
    print(s.docmd("MAIL FROM:<test@example.com>")[0], s.docmd("RCPT TO:<test@example.com>")[0])
except (smtplib.SMTPException, OSError):
    print("refused")
"""
certificate(net.home, "other.lan")
certificate(net.lan, "other.lan")
for where, m, name, host in (("workstation the address of the router", net.home, "router.lan", "2001:db8:6969::2"),
                             ("router the address of the workstation", net.lan, "workstation.lan", "2001:db8:6969::1")):
    files = [[f"/etc/postern/tls/{n}.{end}" for end in ("pem", "key")] for n in (name, "other.lan")]
    said = [m.python(MAIL, host, *f).stdout.strip() for f in ((), files[1], files[0])]
    check(f"at the {where} is not enough, its certificate is", "250" not in said[0] + said[1] and said[2] == "250 250", said)
for sender, why in (("test@elsewhere.example", "under a foreign domain"),):
    code, words = post.send(net.lan, "127.0.0.1", sender, "ann@far.example", "forged")
    check(f"the workstation takes a letter {why} from its own user", code == 250, words)
    wait_for("the router refuses it", lambda: "550" in open(os.path.join(lab.logs, "lan-postern-mta.log"), errors="replace").read())
    check("and it does not leave", "forged" not in post.subjects(post.letters(world)))

# ---- postern-deliver is killed again and again while letters come
COUNT = 40
flow = post.flow(net.mx_a, "192.0.2.2", "ann@far.example", "test@example.com", "storm", COUNT, pause=0.05)
kills = 0
while flow.poll() is None or kills < 6:
    time.sleep(0.25)
    for pid in [workstation.deliver.pid] + net.lan.child_pids(workstation.deliver):
        try:
            os.kill(pid, 9)
        except ProcessLookupError:
            pass
    workstation.deliver.wait(60)
    kills += 1
    start_deliver()
    time.sleep(0.25)
check("the sender has his 250 for all", flow.wait(60) == 0)


def all_there():
    """A letter that met none waits by its route's schedule; here nobody has to."""
    workstation.cli("mail", "flush", check=False)
    return set(want) <= set(post.subjects(mailbox()))


want = sorted([f"storm-{n}" for n in range(COUNT)] + ["in-mx1", "in-mx2"])
wait_for("all are in the mailbox", all_there, 120, 1)
got = post.subjects(mailbox())
check(f"each of {COUNT} once, after {kills} times kill -9 of postern-deliver and its children", got == want,
      [s for s in set(got) if got.count(s) > 1])
testlib.done()
