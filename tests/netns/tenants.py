# SPDX-License-Identifier: GPL-3.0-or-later
"""Two homes at one edge: neither can send as the other, and a home that is down, flooded and full is nobody else's affair.

	home   example.org, 10.99.0.2		its tunnel goes down, its queue-max is reached
	second example.net, 10.99.0.3		gets and sends its mail all the while
"""
import json
import re
import sys
import time

import testlib
from testlib import check, wait_for

lab, net = testlib.start(hosts=[("mx-a", "198.51.100.31"), ("second", "198.51.100.40")])
import cast  # noqa: E402
import foreign  # noqa: E402
import post  # noqa: E402

vps, home = cast.tunnel(net)
second = cast.Side(net.second, "home")  # as cast has it: one that delivers
net.vps.write("/etc/root.hints", foreign.ROOT_HINTS)
cast.mail(vps, home, vps_extra="""
[route alpha]
kind = smarthost
address = 198.51.100.31
port = 25
tls = none
domains = alpha.example
[listener mx]
sessions-per-prefix = 1000
[listener tunnel]
sessions-per-prefix = 6
""", home_extra="[listener submission]\n[listener submissions]\n")
world = post.sink(net.mx_a, "198.51.100.31")
net.vps.write("/etc/postern/mta.conf", net.vps.read("/etc/postern/mta.conf") + """queue-max = 1M
rate-per-hour = 0
[home second]
domains = example.net
recipients = tables/second
rate-per-hour = 9
""")
net.vps.write("/etc/postern/tables/second", "bob@example.net\n")
net.vps.write("/etc/postern/postern.conf", net.vps.read("/etc/postern/postern.conf") + """
[peer second]
identity = second.example.net
public-key = keys/second.pub
assign = 10.99.0.3, fd99::3
""")
second.m.run(["mkdir", "-p", "/etc/postern/keys"])
second.cli("keygen", "/etc/postern/keys/home.key")
net.vps.write("/etc/postern/keys/second.pub", net.second.read("/etc/postern/keys/home.pub"))
net.second.write("/etc/postern/keys/vps.pub", net.home.read("/etc/postern/keys/vps.pub"))
for name in ("postern.conf", "mta.conf", "tables/users", "tls/cert.pem", "tls/key.pem"):
    net.second.write("/etc/postern/" + name, net.home.read("/etc/postern/" + name).replace(
        "home.example.net", "second.example.net").replace("example.org", "example.net"), mode=0o600 if "key" in name or "users" in name else 0o644)
net.second.write("/etc/hosts", f"127.0.0.1 localhost\n{net.VPS4} vps.example.net\n")
net.second.run(["sh", "-c", "mkdir -p /home/bob && chown bob:bob /home/bob && chmod 700 /home/bob"])


def at(side, user):
    return post.subjects(foreign.maildir_letters(side.m, f"/home/{user}/Maildir"))


def outside():
    return post.subjects(post.letters(world))


def to_home(subject, body="x"):
    return post.send(net.mx_a, net.VPS4, "ann@alpha.example", "alice@example.org", subject, body)


def to_second(subject):
    return post.send(net.mx_a, net.VPS4, "ann@alpha.example", "bob@example.net", subject)


for side in (vps, home, second):
    side.start_posternd()
wait_for("both tunnels", lambda: home.up("vps") and second.up("vps"))
for side in (vps, home, second):
    side.start_mta()
cast.wait_greets(net.mx_a, net.VPS4)
cast.wait_greets(net.home, "10.99.0.1")
cast.wait_greets(net.second, "10.99.0.1")
check("a letter for each is taken", to_home("one")[0] == 250 and to_second("two")[0] == 250)
wait_for("each has its own", lambda: at(home, "alice") == ["one"] and at(second, "bob") == ["two"])

# --- as whom each may send
for what, m, ours, theirs in (("home", net.home, "alice@example.org", "bob@example.net"),
                              ("second", net.second, "bob@example.net", "alice@example.org")):
    def try_it(sender, header_from, subject):
        return post.send(m, "10.99.0.1", sender, "ann@alpha.example", f"{what}-{subject}", header_from=header_from)
    check(f"{what} sends as itself", try_it(ours, ours, "own")[0] == 250)
    for subject, sender, header in (("envelope", theirs, theirs), ("from", ours, theirs), ("both-from", ours, f"{ours}>, <{theirs}"),
                                    ("stranger", "x@alpha.example", "x@alpha.example"), ("no-from", ours, "")):
        code, words = try_it(sender, header, subject)
        check(f"{what}: not as somebody else, by {subject}", code in (550, 554), (code, words))
    check(f"{what}: the null sender is allowed", try_it("", "postmaster@example.com", "null")[0] == 250)
wait_for("what was allowed is outside", lambda: len(outside()) == 4)
check("and nothing else", outside() == ["home-null", "home-own", "second-null", "second-own"], outside())

# --- what each may know of a letter
def trace(side, letter):
    p = side.cli("mail", "trace", letter, "--json", check=False)
    try:
        return json.loads(p.stdout)
    except ValueError:
        return {"events": [], "silent": [], "said": p.stdout + p.stderr}


def xtrace(m, letter):
    """What the edge answers who asks from @m, over the tunnel."""
    return m.python("import socket,sys\ns=socket.create_connection(('10.99.0.1',25),60)\nf=s.makefile('rwb')\nf.readline()\n"
                    "for line in ('EHLO x.example','XTRACE '+sys.argv[1]+' HOPS=2 MS=10000'):\n"
                    " f.write(line.encode()+b'\\r\\n');f.flush()\n"
                    " while True:\n  l=f.readline().decode()\n  sys.stdout.write(l)\n  if l[3:4]!='-': break", letter).stdout


def queued(words):
    return re.search(r"[0-9a-f]{32}", words.decode() if isinstance(words, bytes) else words).group()


own = {}
for what, m, ours in (("home", net.home, "alice@example.org"), ("second", net.second, "bob@example.net")):
    code, words = post.send(m, "10.99.0.1", ours, "ann@alpha.example", f"{what}-traced")
    own[what] = queued(words)
wait_for("both outside", lambda: len([s for s in outside() if s.endswith("-traced")]) == 2, 20)
for what, m, other in (("home", net.home, "second"), ("second", net.second, "home")):
    out = wait_for("its end", lambda: (x if "delivered" in (x := xtrace(m, own[what])) else ""), 20, 2)
    check(f"{what} is told of its own letter", "ann@alpha.example" in out, out)
    out = xtrace(m, own[other])
    check(f"{what} is told nothing of the other's", "250-XTRACE 1" in out and out.rstrip().split("\n")[-1].startswith("550 5.1.1 ")
          and "example.net" not in out.split("ENHANCEDSTATUSCODES")[1], out)
    check("nor of one that never was, by the same words", xtrace(m, "0" * 31 + "1").split("\n")[-2] == out.split("\n")[-2])
code, words = post.send(net.mx_a, net.VPS4, "ann@alpha.example", ["alice@example.org", "bob@example.net"], "three")
shared = queued(words)
wait_for("each has it", lambda: "three" in at(home, "alice") and "three" in at(second, "bob"), 20)

def story(side, whole):
    """Its trace of that letter once it is @whole: where a hop was too slow to answer it is asked again."""
    return wait_for(f"the story, at {side.tag}", lambda: (t if whole(t := trace(side, shared)["events"]) else None), 20, 2)


told = story(vps, lambda events: len([e for e in events if e["event"] == "delivered"]) == 4)
check("the edge's own trace has both homes", {e["host"] for e in told} ==
      {"vps.example.net", "home.example.net", "second.example.net"}, told)
for what, side, theirs in (("home", home, "bob"), ("second", second, "alice")):
    out = wait_for("the edge's answer", lambda: (x if "delivered" in (x := xtrace(side.m, shared)) else ""), 20, 2)
    check(f"of a letter to both {what} learns of its own recipient alone", out.rstrip().endswith("all") and theirs not in out, out)
    told = story(side, lambda events: len(events) >= 4)
    check(f"{what}: its own trace too", len(told) == 4 and theirs not in json.dumps(told), told)

# --- how many letters each may send
codes = [post.send(net.second, "10.99.0.1", "", "ann@alpha.example", f"second-null-{n}")[0] for n in range(9)]
check("the null sender is rated as all of a home's letters", 250 in codes and codes[-1] == 450, codes)
check("while the other home's still go",
      post.send(net.home, "10.99.0.1", "alice@example.org", "ann@alpha.example", "home-unrated")[0] == 250)

# --- sessions: one home that opens all that it gets
hog = net.home.start([sys.executable, "-c", """
import socket, time
held = []
for _ in range(20):
    s = socket.create_connection(("10.99.0.1", 25), 60)
    held.append((s, s.recv(100)))
print("greeted", sum(b.startswith(b"220") for _, b in held), "away", sum(b.startswith(b"421") for _, b in held), flush=True)
time.sleep(600)
"""], log="hog")
wait_for("it has them", lambda: "greeted" in open(hog.log).read())
said = open(hog.log).read().split()
check("a home gets so many sessions and no more", 1 <= int(said[1]) <= 6 and int(said[1]) + int(said[3]) == 20, said)
check("the other home is greeted all the same", wait_for("a greeting", lambda: cast.greets(net.second, "10.99.0.1")))
check("while the first holds its own", hog.poll() is None)
hog.kill()
hog.wait()

# --- home is down, and flooded until its queue-max
home.d.terminate()
home.d.wait(60)
wait_for("the edge knows", lambda: (post.routes(vps).get("home") or {}).get("state") == "down")
flood, codes = [], []
began = time.monotonic()
while not codes or codes[-1] == 250:
    codes.append(to_home(f"flood-{len(codes)}", "y" * 60 + ("\r\n" + "y" * 60) * 1000)[0])
    if codes[-1] == 250:
        flood.append(f"flood-{len(flood)}")
    if len(codes) % 3 == 0:
        code, words = to_second(f"meanwhile-{len(codes)}")
        check("meanwhile the other home's letter is taken", code == 250, words)
    if time.monotonic() - began > 300:
        break
check("a flood for a home that is down ends with 452 at its queue-max", codes[-1] == 452 and 14 <= len(flood) <= 40, codes)
code, words = to_second("after")
check("for that home's recipients alone", code == 250, words)
want = sorted(["two", "three", "after"] + [f"meanwhile-{n}" for n in range(3, len(codes) + 1, 3)])
began = time.monotonic()
wait_for("all of the other home's letters arrive", lambda: at(second, "bob") == want)
print(f"     after {time.monotonic() - began:.1f} s")
p = net.vps.run([testlib.POSTERN, "mail", "queue"], check=False).stdout
check("nothing of the flood was lost, nothing bounced", len(post.queued(vps)) >= len(flood) and
      not [l for l in post.queued(vps) if not l["sender"]], p[-500:])

# --- and back
home.start_posternd()
wait_for("the flood is home", lambda: at(home, "alice") == sorted(["one", "three"] + flood))
check("once, all of it", at(home, "alice") == sorted(["one", "three"] + flood))
check("and there is room again", wait_for("250", lambda: to_home("room")[0] == 250, 60, 0.3))
testlib.done()
