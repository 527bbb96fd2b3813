# SPDX-License-Identifier: GPL-3.0-or-later
"""The same faults against several tunnels: bench/survival has the words for people.

Each system has a laboratory of its own (tests/netns/lab.py), and all run at the same time. A probe sends 50
small datagrams a second inside the tunnel, from either end to the other, which answers each. Counted are, from
when the network would carry them again (or, where it never stopped, from the fault on): the seconds until
answers come, steadily, to what is sent from then on; and before that, the probes that were lost.
"""
import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "netns"))
import testlib  # noqa: E402
from testlib import wait_for  # noqa: E402

args = argparse.ArgumentParser(prog="bench/survival")
args.add_argument("--rounds", type=int, default=3)
args.add_argument("--limit", type=int, default=60, help="seconds after which a fault counts as not survived")
args.add_argument("--beside", type=int, default=1, help="so many times all of it at the same time: as many times the rounds")
args.add_argument("--systems", default="postern,strongswan,strongswan-tuned,wireguard")
args.add_argument("--faults", default="", help="only those with one of these words, comma between")
args.add_argument("--one", help=argparse.SUPPRESS)
args.add_argument("--out", help=argparse.SUPPRESS)
args = args.parse_args()

GAP = 0.02
# argv: own address, the other's, payload bytes, file. Lines of the file: "s N sent" and "r N sent received".
PROBE = """
import select, socket, struct, sys, time
own, other, size, out = sys.argv[1], sys.argv[2], int(sys.argv[3]), open(sys.argv[4], "w", buffering=1)
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_IP, 15, 1)  # IP_FREEBIND
s.bind((own, 0))
s.setblocking(False)
n, due = 0, time.monotonic()
while True:
    now = time.monotonic()
    if now >= due:
        due = max(due + %f, now - 1)
        n += 1
        print("s", n, now, file=out)
        try: s.sendto(struct.pack("!QQd", 77, n, now) + bytes(size), (other, 7077))
        except OSError: pass
    if select.select([s], [], [], max(0, due - time.monotonic()))[0]:
        try: m = s.recv(65535)
        except OSError: continue
        if len(m) >= 24:
            k, i, sent = struct.unpack("!QQd", m[:24])
            print("r", i, sent, time.monotonic(), file=out)
""" % GAP
ECHO = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_IP, 15, 1)
s.bind((sys.argv[1], 7077))
while True:
    try:
        m, a = s.recvfrom(65535)
        s.sendto(m, a)
    except OSError: pass
"""
INNER = {"vps": "10.99.0.1", "home": "10.99.0.2"}


class Probe:
    """Inner traffic from one end."""

    def __init__(self, net, end, size=100):
        self.end, self.m = end, getattr(net, end)
        self.path = f"/run/probe-{end}"
        self.began = time.monotonic()
        self.p = self.m.start([sys.executable, "-c", PROBE, INNER[end], INNER["home" if end == "vps" else "vps"],
                               str(size), self.path], log="probe")

    def seen(self):
        """(times sent, {time sent: time answered})"""
        sent, answered = [], {}
        try:
            text = self.m.read(self.path)
        except Exception:  # not there yet
            return sent, answered
        for line in text.splitlines():
            w = line.split()
            if len(w) == 3 and w[0] == "s":
                sent.append(float(w[2]))
            elif len(w) == 4 and w[0] == "r":
                answered.setdefault(float(w[2]), float(w[3]))
        return sent, answered

    def steady_from(self, since):
        """When the answer came to the first probe, sent at @since or later, from which on 9 of 10 in a second came."""
        sent, answered = self.seen()
        sent = [t for t in sent if t >= since]
        for i, t in enumerate(sent):
            if t not in answered:
                continue
            window = [x for x in sent[i:] if x <= t + 1]
            if sent[-1] < t + 1.3:
                return None  # too early to tell
            if sum(x in answered for x in window) >= 0.9 * len(window):
                return answered[t]
        return None

    def lost(self, since, until):
        sent, answered = self.seen()
        return sum(since <= t <= until and t not in answered for t in sent)

    def stop(self):
        self.p.kill()
        self.p.wait(10)


class Field:
    """One system in its laboratory, and what can be done to the network between its ends."""

    def __init__(self, system):
        import systems
        testlib.need_scratch()
        self.lab, self.net = testlib.start(wire=True)
        net = self.net
        self.lab.link(net.cgnat, "inner2", net.home, "lte")
        net.cgnat.addr("inner2", "100.65.0.1/24")
        net.home.addr("lte", "100.65.0.2/24")
        net.cgnat.run(["nft", "add", "rule", "ip", "filter", "through", "iifname", "inner2", "accept"])
        net.cgnat.run(["ip", "addr", "add", "198.51.100.21/24", "dev", "wan"])
        for m in (net.home, net.vps, net.cgnat):
            m.sysctl(net__ipv4__conf__all__rp_filter=0)
        net.home.sysctl(net__ipv4__conf__lte__rp_filter=0)
        self.lte(False)
        self.system = systems.ALL[system](self.lab, net)
        for end in INNER:
            getattr(net, end).start([sys.executable, "-c", ECHO, INNER[end]], log="echo")
        self.running = False

    def works(self):
        for end, other in (("home", INNER["vps"]), ("vps", INNER["home"])):
            if getattr(self.net, end).run(["ping", "-c1", "-W0.4", "-I", INNER[end], other], check=False).returncode:
                return False
        return True

    def fresh(self):
        """As installed: the network whole, the tunnel up for a while."""
        self.system.stop()
        self.pristine()
        self.system.start()
        wait_for("the tunnel works", self.works, 60, 0.2)
        time.sleep(2)

    # ---- the network ----

    def pristine(self):
        net = self.net
        net.wire.reset()
        self.lte(False)
        for table in ("fault", "eat"):
            net.cgnat.run(["nft", "delete", "table", "ip", table], check=False)
        net.cgnat.run(["ip", "link", "set", "wan", "up"])
        self.home_address("100.64.0.2")
        self.vps_address("198.51.100.10")
        self.snat(None)
        net.cgnat.sysctl(net__netfilter__nf_conntrack_udp_timeout=30, net__netfilter__nf_conntrack_udp_timeout_stream=60)
        net.cgnat.run(["conntrack", "-F"])

    def home_address(self, a):
        m = self.net.home
        m.run(["ip", "link", "set", "wan", "up"])
        m.run(["ip", "addr", "flush", "dev", "wan", "scope", "global"])
        m.run(["ip", "addr", "add", a + "/24", "dev", "wan"])
        m.run(["ip", "route", "replace", "default", "via", "100.64.0.1"])

    def vps_address(self, a):
        m = self.net.vps
        m.run(["ip", "addr", "flush", "dev", "wan", "scope", "global"])
        m.run(["ip", "addr", "add", a + "/24", "dev", "wan"])
        self.net.home.write("/etc/hosts", f"127.0.0.1 localhost home\n{a} vps.example.net\n")

    def snat(self, address):
        m = self.net.cgnat
        m.run(["nft", "flush", "chain", "ip", "nat", "post"])
        to = f"snat to {address} fully-random" if address else "masquerade fully-random"
        m.run(["nft", "add", "rule", "ip", "nat", "post", 'oifname "wan" ' + to])

    def lte(self, on):
        m = self.net.home
        m.run(["ip", "link", "set", "lte", "up" if on else "down"])
        if on:
            m.run(["ip", "route", "replace", "default", "via", "100.65.0.1", "metric", "500"])

    def block(self, rule):
        self.net.cgnat.nft(f"table ip fault {{\n chain c {{\n type filter hook forward priority -10; {rule}\n }}\n}}")

    def unblock(self):
        self.net.cgnat.run(["nft", "delete", "table", "ip", "fault"])

    def rebind(self):
        self.net.nat_rebind()

    def for_a_while(self, rule, seconds):
        self.block(rule)
        time.sleep(seconds)
        self.unblock()

    def cut(self, seconds):
        self.net.cut()
        time.sleep(seconds)
        self.net.mend()

    def restart(self, end, away=0.0):
        """Counted from when it is started: some daemons say that they are ready, some do not."""
        self.system.kill_one(end)
        time.sleep(away)
        started = time.monotonic()
        self.system.start_one(end)
        return started


def idle_then(end, wait):
    """No traffic until @wait seconds after the fault; then @end speaks first."""
    return {"load": (), "wait": wait, "first": end}


def down_up(f):
    f.net.home.run(["ip", "link", "set", "wan", "down"])
    time.sleep(5)
    f.home_address("100.64.0.2")


def moved_vps(f):
    f.vps_address("198.51.100.11")


def eaten(f):
    port = f.system.local_port()
    f.net.cgnat.nft(f"table ip eat {{\n chain c {{\n type filter hook forward priority -10; udp sport {port} drop; udp dport {port} drop\n }}\n}}")


def blocked(f):
    ports = ", ".join(str(p) for p in f.system.ports)
    f.block(f"udp dport {{ {ports} }} drop; udp sport {{ {ports} }} drop")


def short_life(f):
    f.net.cgnat.sysctl(net__netfilter__nf_conntrack_udp_timeout=20, net__netfilter__nf_conntrack_udp_timeout_stream=20)


def rebinds(f):
    for _ in range(5):
        f.rebind()
        time.sleep(3)


def main_line_down(f):
    f.net.home.run(["ip", "link", "set", "wan", "down"])


# words, what is done, and: load (who sends meanwhile), before (network prepared), size of probes in bytes
FAULTS = [
    ("NAT gives another port, traffic both ways", Field.rebind, {}),
    ("NAT gives another port every 3 s, five times", rebinds, {}),
    ("NAT forgets an idle tunnel, 20 s later the VPS speaks first", Field.rebind, idle_then("vps", 20)),
    ("NAT mapping lives 20 s; idle for 50 s, then the VPS speaks first", short_life, idle_then("vps", 50)),
    ("carrier moves us to another public address", lambda f: (f.snat("198.51.100.21"), f.rebind()), {}),
    ("cut of 10 s, idle; then the VPS speaks first", lambda f: f.cut(10), idle_then("vps", 0)),
    ("cut of 60 s, traffic both ways", lambda f: f.cut(60), {}),
    ("cut of 200 s, traffic both ways", lambda f: f.cut(200), {}),
    ("cut of 30 s, NAT empty after it", lambda f: (f.cut(30), f.rebind()), {}),
    ("20 s of loss from VPS to home", lambda f: f.for_a_while('iifname "wan" drop', 20), {}),
    ("20 s of loss from home to VPS", lambda f: f.for_a_while('oifname "wan" drop', 20), {}),
    ("40 % loss for 30 s", lambda f: (f.net.wire.set("both", loss=40), time.sleep(30), f.net.wire.reset()), {}),
    ("home gets another address", lambda f: f.home_address("100.64.0.77"), {}),
    ("home's link is down for 5 s", down_up, {}),
    ("main line down, 4G is there", main_line_down, {"before": lambda f: f.lte(True)}),
    ("main line dead but up, 4G is there", lambda f: f.block("ip saddr 100.64.0.2 drop; ip daddr 100.64.0.2 drop"),
     {"before": lambda f: f.lte(True)}),
    ("the VPS moves to another address behind its name", moved_vps, {}),
    ("server killed, started at once", lambda f: f.restart("vps"), {}),
    ("server away for 30 s", lambda f: f.restart("vps", 30), {}),
    ("home's daemon killed, started at once", lambda f: f.restart("home"), {}),
    ("the home's source port is eaten by a router", eaten, {}),
    ("the server's UDP ports are blocked", blocked, {}),
    ("path MTU falls to 1280 without a word, inner packets of 1300", lambda f: f.net.wire.set("both", mtu=1280, icmp=0),
     {"size": 1300 - 28 - 24}),
]


def one_fault(f, act, how):
    """{"home": (seconds, lost), ...}: by end, whose probes those are; None seconds: not within the limit."""
    f.fresh()
    how.get("before", lambda f: None)(f)
    if "before" in how:
        time.sleep(2)
    load = how.get("load", ("home", "vps"))
    probes = [Probe(f.net, end, how.get("size", 100)) for end in load]
    time.sleep(3)
    fault = time.monotonic()
    since = act(f)
    if not isinstance(since, float):
        since = time.monotonic()
    if "wait" in how:
        time.sleep(how["wait"])
        since = time.monotonic()
        probes = [Probe(f.net, how["first"])]
    end, found = since + args.limit, {}
    while time.monotonic() < end and len(found) < len(probes):
        time.sleep(0.25)
        for p in probes:
            at = p.steady_from(since)
            if at and p.end not in found:
                found[p.end] = (max(0.0, at - since), p.lost(fault, at))
    for p in probes:
        found.setdefault(p.end, (None, p.lost(fault, time.monotonic())))
        p.stop()
    return found


def wanted():
    words = [w for w in args.faults.split(",") if w]
    return [row for row in FAULTS if not words or any(w in row[0] for w in words)]


def run_one(system):
    f = Field(system)
    results = {"what": f.system.what, "rows": {}}
    for r in range(args.rounds):
        for words, act, how in wanted():
            try:
                found = one_fault(f, act, how)
            except testlib.Failed as e:
                found = {"failed": (None, 0)}
                print(f"{system}: {words}: {e}", flush=True)
            results["rows"].setdefault(words, []).append(found)
            print(f"{system}, round {r + 1}: {words}: " +
                  ", ".join(f"{e} {'never' if s is None else f'{s:.2f} s'} ({lost} lost)" for e, (s, lost) in found.items()), flush=True)
            with open(args.out, "w") as out:  # what there is, should the rest not come
                json.dump(results, out)
    testlib.done()


def cell(runs):
    """median (worst) seconds and median lost over all rounds and ends; > limit where one never came back."""
    seconds = [s for found in runs for s, _ in found.values()]
    lost = statistics.median(n for found in runs for _, n in found.values())
    never = sum(s is None for s in seconds)
    if never == len(seconds):
        return f"> {args.limit} | {lost:.0f}"
    known = [args.limit if s is None else s for s in seconds]
    worst = f"> {args.limit}" if never else f"{max(known):.2f}"
    return f"{statistics.median(known):.2f} ({worst}) | {lost:.0f}"


def table(results):
    names = [(s, r) for s, r in results.items() if r]
    faults = f' --faults "{args.faults}"' if args.faults else ""
    lines = [f"machine: {os.cpu_count()} cores, {platform.machine()}, Linux {platform.release()}; commit "
             f"{os.environ.get('POSTERN_COMMIT')}",
             f"command: bench/survival --rounds {args.rounds} --beside {args.beside} --limit {args.limit}{faults}", "",
             "Seconds until the inner network works again, median (worst) of all rounds and both ends, and probes lost of 50 a second.", ""]
    lines += [f"- {s}: {r['what']}" for s, r in names]
    lines += ["", "| fault | " + " | ".join(f"{s}, s | lost" for s, _ in names) + " |", "|---" * (1 + 2 * len(names)) + "|"]
    for words, _, _ in wanted():
        lines.append(f"| {words} | " + " | ".join(cell(r["rows"].get(words) or [{"-": (None, 0)}]) for _, r in names) + " |")
    for s, r in names:
        seconds = sorted(args.limit + 1 if x is None else x for runs in r["rows"].values() for found in runs for x, _ in found.values())
        p99 = seconds[min(len(seconds) - 1, int(0.99 * len(seconds)))]
        lines.append(f"\n{s}: {sum(x <= 5 for x in seconds)} of {len(seconds)} within 5 s; 99 % within "
                     + (f"{p99:.2f} s" if p99 <= args.limit else f"more than {args.limit} s"))
    return "\n".join(lines) + "\n"


def read_all(folder):
    """What the children of each system found, their rounds put together."""
    results = {}
    for name in sorted(os.listdir(folder)):
        system = name.rsplit(".", 1)[0]
        with open(f"{folder}/{name}") as out:
            found = json.load(out)
        rows = results.setdefault(system, {"what": found["what"], "rows": {}})["rows"]
        for words, runs in found["rows"].items():
            rows.setdefault(words, []).extend(runs)
    return results


def main():
    if args.one:
        run_one(args.one)
    folder = f"/var/tmp/survival-{os.getpid()}"  # the laboratories have a /tmp of their own
    os.makedirs(folder)
    systems = args.systems.split(",")
    children = [subprocess.Popen([sys.executable, os.path.abspath(__file__), "--one", s, "--out", f"{folder}/{s}.{i}", "--rounds",
                                  str(args.rounds), "--limit", str(args.limit), "--faults", args.faults])
                for i in range(args.beside) for s in systems]
    for p in children:
        p.wait()
    found = read_all(folder)
    results = {s: found[s] for s in systems if s in found}
    for s in systems:
        if s not in results:
            print(f"{s}: no result", file=sys.stderr)
    text = table(results)
    print(text)
    if os.environ.get("POSTERN_BENCH_OUT"):
        with open(os.environ["POSTERN_BENCH_OUT"], "w") as out:
            out.write("# Survival\n\n" + text)
    subprocess.run(["rm", "-rf", folder], check=True)


main()
