# SPDX-License-Identifier: GPL-3.0-or-later
"""IKE under load: bench/run ike [handshakes] [peers] [flood] ...

handshakes   INIT + AUTH + CHILD at a real posternd, by kind of authentication: wall rate, and the CPU seconds of
             all its processes, kernel's work in their time included
peers        --homes of them up: memory of all processes beside the same with no peer, CPU while all idle, and
             how long until all are up again after the server was killed
flood        forged IKE_SA_INITs beside a tunnel that carries a stream both ways, and a home that comes up then

The other end is bench/load (ike_load), in a namespace of its own beside the server's.
"""
import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "netns"))
import testlib  # noqa: E402
import usage  # noqa: E402
from testlib import wait_for  # noqa: E402

args = argparse.ArgumentParser()
args.add_argument("what", nargs="*", default=[], help="handshakes, peers, flood; all when none is named")
args.add_argument("--homes", type=int, default=10000, help="of peers")
args.add_argument("--handshakes", type=int, default=5000, help="of each kind")
args.add_argument("--certificates", type=int, default=300)
args.add_argument("--idle", type=int, default=60, help="seconds that idle peers are watched")
args.add_argument("--rate", type=int, default=100000, help="forged requests in a second")
args.add_argument("--seconds", type=int, default=10, help="that the flood lasts")
args.add_argument("--io", default="auto")
args.add_argument("--perf", help="write a profile of the server's handshakes or flood there (perf record)")
args = args.parse_args()
args.what = args.what or ["handshakes", "peers", "flood"]

lab, _ = testlib.start(topology=False)
LOAD = os.path.join(testlib.BUILD, "bench", "ike_load")
KEYS = os.path.join(os.environ["POSTERN_LAB_DISK"], "bench-keys")  # machines have a /tmp of their own
os.makedirs(KEYS, mode=0o755)
vps, crowd = lab.machine("vps"), lab.machine("crowd")
lab.link(vps, "wan", crowd, "wan")
vps.addr("wan", "192.0.2.1/24")
crowd.addr("wan", "192.0.2.2/24", "10.200.0.2/32")  # a router, and behind it the address of a carrier's NAT
vps.run(["ip", "route", "add", "default", "via", "192.0.2.2"])
for m in (vps, crowd):
    m.sysctl(net__ipv4__conf__all__rp_filter=0, net__ipv4__conf__wan__rp_filter=0)


def openssl(*argv):
    subprocess.run(["openssl", *argv], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def key_file(name):
    return os.path.join(KEYS, name)


def make_keys():
    for name in ("vps", "home"):
        openssl("genpkey", "-algorithm", "ed25519", "-out", key_file(name + ".key"))
        openssl("pkey", "-in", key_file(name + ".key"), "-pubout", "-out", key_file(name + ".pub"))
    with open(key_file("psk"), "w") as f:
        f.write("a secret of many words, for benchmarks")
    os.chmod(key_file("psk"), 0o600)


def make_certificates(kind, count):
    new = ["-algorithm", "ed25519"] if kind == "ed25519" else ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]
    folder = key_file("cert-" + kind)
    os.makedirs(folder)
    at = lambda n: os.path.join(folder, n)
    openssl("genpkey", *new, "-out", at("ca.key"))
    openssl("req", "-x509", "-new", "-key", at("ca.key"), "-subj", "/CN=Bench CA", "-days", "30", "-out", at("ca.crt"))
    for i in range(-1, count):
        name = "vps" if i < 0 else f"h{i:05d}"
        openssl("genpkey", *new, "-out", at(name + ".key"))
        openssl("req", "-x509", "-new", "-key", at(name + ".key"), "-CA", at("ca.crt"), "-CAkey", at("ca.key"),
                "-subj", f"/CN={name}.example.net", "-addext", f"subjectAltName=DNS:{name}.example.net",
                "-addext", "basicConstraints=critical,CA:FALSE", "-days", "30", "-out", at(name + ".crt"))
    return folder


def configure(style, homes, keys=KEYS, more=""):
    at = lambda n: os.path.join(keys, n)
    lines = ["[posternd]", "identity = vps.example.net", "tunnel-address = 10.99.0.1", f"io = {args.io}"]
    if style != "psk":
        lines.append(f"private-key = {at('vps.key')}")
    if style == "cert":
        lines.append(f"certificate = {at('vps.crt')}")
    proof = {"psk": f"psk = {at('psk')}", "raw": f"public-key = {at('home.pub')}", "cert": f"ca = {at('ca.crt')}"}[style]
    for i in range(homes):
        n = (10 << 24) + (100 << 16) + i + 2
        lines += [f"[peer h{i:05d}]", f"identity = h{i:05d}.example.net", proof,
                  "networks = " + ".".join(str(n >> s & 255) for s in (24, 16, 8, 0))]
    vps.write("/etc/postern/postern.conf", "\n".join(lines) + "\n" + more)


def pids(d):
    return [d.pid] + vps.child_pids(d)


def words(pid):
    """Its command line from the program's name on."""
    with open(f"/proc/{pid}/cmdline") as f:
        return f.read().replace(chr(0), " ").strip().split("/")[-1]


def start():
    vps.run(["mkdir", "-p", "/run/postern", "/var/lib/postern"])
    d = vps.start([testlib.POSTERND, "-c", "/etc/postern/postern.conf"], log="posternd")
    wait_for("posternd", lambda: vps.run([testlib.POSTERN, "status", "--json"], check=False).returncode == 0, 60)
    return d


def stop(d):
    d.terminate()
    d.wait(60)
    shutil.rmtree(os.path.join(vps.varlib, "postern"), ignore_errors=True)


def homes(style, n, seconds, keys=KEYS, parallel=64, address="192.0.2.2"):
    """ike_load homes in the background; its lines by lines_of()."""
    p = crowd.start([LOAD, "homes", "--server", "192.0.2.1:4500", "--from", address, "--style", style, "--keys", keys,
                     "--homes", n, "--parallel", parallel, "--seconds", seconds], log=f"homes-{time.monotonic_ns()}")
    wait_for("the homes have their sockets", lambda: lines_of(p), 120)
    return p


def lines_of(p):
    with open(p.log) as f:
        return [json.loads(line) for line in f if line.startswith("{") and line.endswith("}\n")]


def all_up(p, seconds=120):
    return wait_for("all are up", lambda: [x for x in lines_of(p) if x.get("what") == "all-up"], seconds)[0]["seconds"]


def perf(d, seconds, tag):
    if not args.perf:
        return None
    return subprocess.Popen(["perf", "record", "-q", "-e", "cpu-clock", "-g", "-o", f"{args.perf}-{tag}.data", "-p",
                             ",".join(map(str, pids(d)[1:])), "--", "sleep", str(seconds)])


report = []


def say(text=""):
    print(text, flush=True)
    report.append(text)


def bench_handshakes():
    say("## Handshakes at the responder: IKE_SA_INIT, IKE_AUTH, one CHILD SA")
    say()
    say("| authentication | handshakes | CPU ms each | handshakes per core and second | wall, per second |")
    say("|---|---|---|---|---|")
    kinds = [("PSK", "psk", KEYS, args.handshakes), ("Ed25519 raw keys", "raw", KEYS, args.handshakes)]
    for kind in ("ecdsa", "ed25519"):
        name = {"ecdsa": "certificate, ECDSA P-256", "ed25519": "certificate, Ed25519"}[kind]
        kinds.append((name, "cert", make_certificates(kind, args.certificates), args.certificates))
    for name, style, keys, n in kinds:
        configure(style, n, keys)
        d = start()
        time.sleep(1)
        used = usage.cpu(pids(d))
        profile = perf(d, 4, style)
        p = homes(style, n, 0.01, keys)
        seconds = all_up(p)
        time.sleep(0.2)
        used = usage.cpu(pids(d)) - used
        if profile:
            profile.wait()
        say(f"| {name} | {n} | {used / n * 1e3:.2f} | {n / used:.0f} | {n / seconds:.0f} |")
        p.wait(60)
        stop(d)
    say()


def bench_peers():
    n = args.homes
    say(f"## {n} peers, Ed25519")
    say()
    say("| | all processes, PSS MiB | of it per peer, KiB |")
    say("|---|---|---|")
    configure("raw", 0)
    d = start()
    time.sleep(2)
    base = usage.pss(pids(d))
    say(f"| no peer | {base / 1024:.1f} | |")
    stop(d)
    configure("raw", n)
    began = time.monotonic()
    d = start()
    started = time.monotonic() - began
    time.sleep(5)
    configured = usage.pss(pids(d))
    say(f"| {n} configured, none up | {configured / 1024:.1f} | {(configured - base) / n:.2f} |")
    p = homes("raw", n, 3600)
    up = all_up(p, 300)
    time.sleep(45)  # half-open ones and retransmissions are gone
    live = usage.pss(pids(d))
    say(f"| all up, idle | {live / 1024:.1f} | {(live - base) / n:.2f} |")
    say()
    say("By process, KiB: " + ", ".join(f"{words(pid)} {v}" for pid, v in usage.pss_each(pids(d)).items()))
    used, began = usage.cpu(pids(d)), time.monotonic()
    time.sleep(args.idle)
    used = (usage.cpu(pids(d)) - used) / (time.monotonic() - began)
    state = lines_of(p)[-1]
    say()
    say(f"Start with {n} configured until status answers: {started:.2f} s. All up: {up:.1f} s.")
    say(f"All idle for {args.idle} s (a dummy or a liveness exchange each 15 s): {used * 100:.1f} % of a core; "
        f"{state['up']} up, {state['downs']} lost.")
    ups, killed = lines_of(p)[-1]["ups"], time.monotonic()  # before any of them can be back
    for pid in pids(d)[1:]:
        try:
            os.kill(pid, 9)
        except ProcessLookupError:
            pass
    d.kill()
    d.wait(10)
    d = start()

    def back():
        x = [y for y in lines_of(p) if "t" in y][-1]
        return x["up"] == n and x["ups"] - ups >= n
    try:
        wait_for("all are back", back, 180, 0.2)
        say(f"Killed and started again: all {n} are up after {time.monotonic() - killed:.1f} s.")
    except testlib.Failed:
        say(f"Killed and started again: after 180 s {lines_of(p)[-1]}")
    p.terminate()
    stop(d)
    say()


def stream(to_m, from_m, address, seconds):
    r = to_m.start([LOAD, "stream-receive", "--server", f"{address}:7000", "--seconds", seconds + 2],
                   log=f"receive-{time.monotonic_ns()}")
    time.sleep(0.3)
    s = from_m.start([LOAD, "stream-send", "--server", f"{address}:7000", "--rate", 5000, "--bytes", 1000,
                      "--seconds", seconds], log=f"send-{time.monotonic_ns()}")
    return r, s


def loss(pair):
    r, s = pair
    s.wait(60)
    r.wait(60)
    sent, got = lines_of(s)[-1]["sent"], lines_of(r)[-1]["got"]
    return 100 * (sent - got) / sent


def bench_flood():
    home = lab.machine("home")
    lab.link(home, "wan", vps, "lan")
    vps.addr("lan", "198.51.100.1/24")
    home.addr("wan", "198.51.100.2/24")
    home.run(["ip", "route", "add", "default", "via", "198.51.100.1"])
    vps.sysctl(net__ipv4__conf__lan__rp_filter=0)
    configure("raw", 2000, more=f"""[peer home]
identity = home.example.net
public-key = {key_file('home.pub')}
assign = 10.99.0.2
""")
    home.write("/etc/postern/postern.conf", f"""[posternd]
identity = home.example.net
private-key = {key_file('home.key')}
io = {args.io}
[peer vps]
address = 198.51.100.1
identity = vps.example.net
public-key = {key_file('vps.pub')}
networks = 10.99.0.1
start = always
""")
    d = start()
    home.run(["mkdir", "-p", "/run/postern", "/var/lib/postern"])
    h = home.start([testlib.POSTERND, "-c", "/etc/postern/postern.conf"], log="posternd")
    wait_for("the tunnel", lambda: home.run(["ping", "-c1", "-W1", "10.99.0.1"], check=False).returncode == 0, 30)
    say(f"## {args.rate} forged IKE_SA_INITs a second beside a tunnel with 5 000 datagrams of 1 000 bytes a second each way")
    say()
    say("| | lost up | lost down | server CPU, cores | postern status, ms |")
    say("|---|---|---|---|---|")
    notes = []
    for what in ("quiet", "forged from everywhere", "2 000 homes call, forged from their /24"):
        forger = crowd_homes = None
        prefix = "10.200.0.0/24" if "homes" in what else "0.0.0.0/1"
        if what != "quiet":
            forger = crowd.start([LOAD, "forge", "--server", "192.0.2.1:4500", "--from", prefix, "--rate", args.rate,
                                  "--seconds", args.seconds + 4], log=f"forge-{time.monotonic_ns()}")
            time.sleep(2)
        profile = perf(d, args.seconds - 1, "flood") if "everywhere" in what else None
        used, began = usage.cpu(pids(d)), time.monotonic()
        if "homes" in what:
            crowd_homes = homes("raw", 2000, 0.01, parallel=2000, address="10.200.0.2")
        up = stream(vps, home, "10.99.0.1", args.seconds)
        down = stream(home, vps, "10.99.0.2", args.seconds)
        time.sleep(1)
        asked = time.monotonic()
        vps.run([testlib.POSTERN, "status", "--json"])
        asked = time.monotonic() - asked
        lost = loss(up), loss(down)
        used = (usage.cpu(pids(d)) - used) / (time.monotonic() - began)
        say(f"| {what} | {lost[0]:.2f} % | {lost[1]:.2f} % | {used:.2f} | {asked * 1e3:.0f} |")
        if profile:
            profile.wait()
        if forger:
            forger.wait(60)
            told = f"{what}: {lines_of(forger)[-1]['rate']:.0f} in a second"
        if crowd_homes:
            told += f"; all 2 000 up after {all_up(crowd_homes):.1f} s"
            crowd_homes.wait(60)
        if what != "quiet":
            notes.append(told)
    say()
    for note in notes:
        say("- " + note)
    say()
    status = json.loads(vps.run([testlib.POSTERN, "status", "--json", "--counters"]).stdout)
    n = status.get("counters", {})
    say("Counters of the server after it: " + ", ".join(f"{k} {n[k]}" for k in (
        "ike_in", "ike_cookies_sent", "ike_half_open_refused", "ike_queue_full") if k in n))
    h.terminate()
    h.wait(20)
    stop(d)
    say()


make_keys()
say("# IKE under load")
say()
say(f"machine: {os.cpu_count()} cores, {platform.machine()}, Linux {platform.release()}; commit {os.environ.get('POSTERN_COMMIT')}; "
    f"io = {args.io}")
say(f"command: bench/run ike {' '.join(args.what)}")
say()
for name in args.what:
    {"handshakes": bench_handshakes, "peers": bench_peers, "flood": bench_flood}[name]()
where = os.environ.get("POSTERN_BENCH_OUT")
if where:
    with open(where, "w") as f:
        f.write("\n".join(report) + "\n")
testlib.done()
