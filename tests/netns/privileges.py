# SPDX-License-Identifier: GPL-3.0-or-later
"""What a taken-over child of posternd cannot do, and what stands in the kernel whatever happens to it.

        neighbour 203.0.113.9 ---- 203.0.113.2 gate (posternd with a child that obeys this test)

The child (tests/netns/probe_child.c) goes through the real stages; the parent, keys and resolver are
the real ones.
"""
import json
import os
import signal
import socket
import subprocess
import time
import testlib
from testlib import check, require, wait_for

PROBE = os.path.join(testlib.BUILD, "tests", "netns", "posternd_probe")
SANDBOX = os.path.join(testlib.BUILD, "tests", "netns", "sandbox_probe")
for binary in (PROBE, SANDBOX):
    if not os.path.exists(binary):
        testlib.skip(f"{binary} is not built")
if not os.path.exists("/dev/net/tun"):
    testlib.skip("/dev/net/tun is missing: load the tun module")

EPERM, EACCES, EPROTO, ENOENT = 1, 13, 71, 2
CAP_SYS_ADMIN, CAP_DAC_OVERRIDE, CAP_SYS_PTRACE, CAP_NET_ADMIN = 21, 1, 19, 12
PQ_RELOAD = 39
lab, _ = testlib.start(topology=False)
gate, neighbour = lab.machine("gate"), lab.machine("neighbour")
lab.link(gate, "wan", neighbour, "wan")
gate.addr("wan", "203.0.113.2/24", "2001:db8:113::2/64")
gate.addr("lo", "10.1.0.1/16")  # a local subnet inside of the peer's 10.0.0.0/10
neighbour.addr("wan", "203.0.113.9/24", "2001:db8:113::9/64")
gate.run(["ip", "route", "add", "default", "via", "203.0.113.9"])

CONF = """
[posternd]
identity = gate.example.net
private-key = gate.key
tunnel-address = 10.99.0.1, fd99::1
run-dir = /run/postern
state-dir = /var/lib/postern
user = 2001
keys-user = 2002
resolver-user = 2003
admin-group = 2004
workers = 2
{posternd}
[peer home]
identity = home.example.net
public-key = home.pub
assign = 10.99.0.2, fd99::2
leak = never

[peer vps]
address = 203.0.113.9
identity = vps.example.net
psk = vps.psk
networks = 10.0.0.0/10, fd77::1
start = always
request-address = yes
{peer}
"""


def configure(posternd="", peer=""):
    gate.write("/etc/postern/postern.conf", CONF.format(posternd=posternd, peer=peer))


gate.run(["sh", "-c", "mkdir -p /etc/postern && cd /etc/postern && umask 077 && "
          "openssl genpkey -algorithm ed25519 -out gate.key && openssl genpkey -algorithm ed25519 -out home.key && "
          "openssl pkey -in home.key -pubout -out home.pub && openssl pkey -in gate.key -pubout -out gate.pub && "
          "printf 'q7Rk2VtW9xYb4ZpL8mNc5\\n' > vps.psk && chmod 644 *.pub"])
configure()


def sock():
    return gate.dir + "/run/postern/control.sock"


def ask(verb, **args):
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(60)
        s.connect(sock())
        s.sendall(json.dumps({"v": 1, "verb": verb, "args": args}).encode() + b"\n")
        data = b""
        while not data.endswith(b"\n"):
            more = s.recv(65536)
            if not more:
                raise OSError("the child hung up")
            data += more
    reply = json.loads(data)
    if not reply.get("ok"):
        raise OSError(reply)
    return reply


def attempt(what):
    return ask("try", what=what)["status"]


def alive():
    try:
        return ask("info")
    except (OSError, ValueError):
        return None


def log():
    with open(lab.logs + "/gate-posternd.log", errors="replace") as f:
        return f.read()


def start():
    p = gate.start([PROBE, "-c", "/etc/postern/postern.conf"], log="posternd")
    wait_for("the child answers", alive)
    return p


def processes(p):
    """Name -> pid of parent and children."""
    out = {}
    for pid in gate.child_pids(p) + [p.pid]:
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                argv = f.read().decode().split("\0")
        except OSError:
            continue
        if "--proc" in argv:
            out[argv[2]] = pid
        elif argv[0] in (PROBE, testlib.POSTERND):
            out["parent"] = pid
    return out


def status(pid):
    with open(f"/proc/{pid}/status") as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


def state():
    """What stands in the kernel, without counters and indexes that may differ."""
    out = {}
    for name, argv in {
        "addr": ["ip", "-br", "addr", "show", "dev", "postern0"],
        "route4": ["ip", "-4", "route", "show", "table", "15700"],
        "route6": ["ip", "-6", "route", "show", "table", "15700"],
        "rule4": ["ip", "-4", "rule"], "rule6": ["ip", "-6", "rule"],
        "nft": ["nft", "-s", "list", "table", "inet", "postern"],
        "guard": ["nft", "-s", "list", "table", "inet", "postern_leak"],
    }.items():
        lines = gate.run(argv, check=False).stdout.splitlines()
        out[name] = sorted(" ".join(x for x in line.split() if x != "linkdown") for line in lines)
    out["addr"] = [line.replace("DOWN", "UNKNOWN") for line in out["addr"]]
    return out


def filters(s):
    return int(s.get("Seccomp_filters", 2))  # Linux 5.9


def links(folder):
    """What a process holds; one that it lets go just then is not held."""
    out = []
    for fd in os.listdir(folder):
        try:
            out.append(os.readlink(f"{folder}/{fd}"))
        except FileNotFoundError:
            pass
    return out


def check_privileges(pids):
    """What the kernel tells of the processes, in /proc/PID/status."""
    for name, uid in (("child", "2001"), ("keys", "2002"), ("resolver", "2003")):
        s = status(pids[name])
        check(f"{name}: all four user ids are {uid}", s["Uid"].split() == [uid] * 4, s["Uid"])
        check(f"{name}: all four group ids are {uid}", s["Gid"].split() == [uid] * 4, s["Gid"])
        check(f"{name}: no supplementary groups", s["Groups"].split() == [], s["Groups"])
        for caps in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            check(f"{name}: {caps} is empty", int(s[caps], 16) == 0, s[caps])
        check(f"{name}: no new privileges", s["NoNewPrivs"] == "1", s["NoNewPrivs"])
        # The parent's filter is inherited: each has one of its own besides.
        check(f"{name}: seccomp filter", s["Seccomp"] == "2" and filters(s) == 2, s)
        # The kernel keeps /proc/PID of a process that is not dumpable for root.
        check(f"{name}: not dumpable", os.stat(f"/proc/{pids[name]}/mem").st_uid == 0)
        tasks = os.listdir(f"/proc/{pids[name]}/task")
        for task in tasks:
            t = status(f"{pids[name]}/task/{task}")
            check(f"{name}: thread {t['Name']} has the filter and the user", filters(t) == 2 and
                  t["Uid"].split() == [uid] * 4 and int(t["CapEff"], 16) == 0, t["Seccomp"])
    s = status(pids["parent"])
    check("parent: seccomp filter and no new privileges", (s["Seccomp"], s["NoNewPrivs"]) == ("2", "1"), s["Seccomp"])
    eff = int(s["CapEff"], 16)
    check("parent: CAP_NET_ADMIN is there", eff >> CAP_NET_ADMIN & 1)
    for cap in (CAP_SYS_ADMIN, CAP_DAC_OVERRIDE, CAP_SYS_PTRACE):
        check(f"parent: capability {cap} is gone", not eff >> cap & 1, hex(eff))
    for name in ("child", "keys"):
        fds = links(f"/proc/{pids[name]}/fd")
        files = [f for f in fds if f.startswith("/") and not f.startswith(("/dev/", lab.logs, "/memfd:"))]
        want = 4 if name == "child" else 0  # state of peers, state of ways out: two by turns each
        check(f"{name}: holds {want} files of the file system", len(files) == want, fds)


def confined(of):
    pids = processes(of)
    return len(pids) == 4 and all(filters(status(pids[n])) == 2 for n in ("child", "keys", "resolver")) and pids


p = start()
info = alive()
pids = wait_for("all are confined", lambda: confined(p))
require("parent, child, keys and resolver run", set(pids) == {"parent", "child", "keys", "resolver"}, pids)
check("the child has two TUN queues and two outer sockets", (info["tuns"], info["outer"]) == (2, 2), info)
check("the outer port is 4500, since a peer calls", info["port"] == 4500, info)

check_privileges(pids)

# ---- forbidden calls from inside of the running child
for what in ("open", "create", "socket", "socket-netlink", "socket-unix", "fork", "setuid", "ring-setup",
             "mmap-exec", "kill-parent"):
    got = attempt(what)
    check(f"child: {what} is refused", got == -EPERM, got)
if info["ring"]:
    for what in ("ring-open", "ring-socket"):
        got = attempt(what)
        check(f"child: {what} through its own ring is refused", got == -EACCES, got)
else:
    print("note: no io_uring on this machine, rings not tried")


def died_of_sigsys(what):
    before = processes(p)["child"]
    try:
        attempt(what)
    except OSError:
        pass
    wait_for("a new child", lambda: alive() and processes(p).get("child") not in (None, before))
    return "signal=31" in log()


standing = state()
if "asan" not in testlib.BUILD:
    check("child: ptrace is death", died_of_sigsys("ptrace"))
    check("child: execve is death", died_of_sigsys("execve"))
    check("and what stands in the kernel is the same", state() == standing, state())

# ---- the same for each role, and a run unconfined that shows what the test would see otherwise
tries = ("open-etc", "open-root", "create", "socket-inet", "socket-packet", "ring-setup", "by-ring-open", "by-ring-socket")
want = {
    "none": dict.fromkeys(tries, {"ok"}),
    "child": {**dict.fromkeys(tries, {"EPERM"}), **dict.fromkeys(tries[6:], {"EACCES", "no-ring"})},
    "keys": {**dict.fromkeys(tries, {"EPERM"}), **dict.fromkeys(tries[6:], {"EPERM", "no-ring"})},
    # It may read /etc and open internet sockets, by system call only.
    "resolver": {**dict.fromkeys(tries, {"EPERM"}), **dict.fromkeys(tries[6:], {"EPERM", "no-ring"}),
                 "open-etc": {"ok"}, "socket-inet": {"ok"}, "open-root": {"EACCES", "ok"}},
}
no_landlock = "no Landlock" in log()
for role, expected in want.items():
    for what, allowed in expected.items():
        if role == "none":
            allowed = allowed | {"no-ring"}
            if what in ("socket-packet",):
                allowed = allowed | {"EPERM"}
        if role == "resolver" and what == "open-root" and not no_landlock:
            allowed = {"EACCES"}
        r = gate.run([SANDBOX, role, "2001", what], check=False)
        got = r.stdout.split()[-1] if r.stdout.split() else r.returncode
        check(f"{role}: {what} gives {'/'.join(sorted(allowed))}", got in allowed, r.stdout)

# ---- what the parent refuses
before = state()


def addr(peer, a, add=True):
    return ask("addr", peer=peer, addr=a, add=add)["status"]


for a, why in (("198.51.100.7", "outside accept-assigned"), ("10.1.2.3", "inside a local subnet"),
               ("10.99.0.2", "assigned to another peer"), ("203.0.113.9", "a peer's outer address"),
               ("127.0.0.1", "loopback"), ("2001:db8::1", "v6 outside accept-assigned"),
               ("ff02::1", "multicast")):
    got = addr("vps", a)
    check(f"an address {why} is refused", got == -EPROTO, got)
check("an address from a peer that we do not ask is refused", addr("home", "10.98.0.7") == -EPROTO)
check("an address from a peer that is not configured is refused", addr("nobody", "10.98.0.7") == -EPROTO)
check("removing our own address is refused", addr("vps", "10.99.0.1", add=False) == -EPROTO)


def route(peer, dst, src="", add=True):
    return ask("route", peer=peer, dst=dst, src=src, add=add)["status"]


check("a route outside of the peer's networks is refused", route("vps", "198.51.100.0/24") == -EPROTO)
check("a default route is refused", route("vps", "0.0.0.0/0") == -EPROTO)
check("a wider route is refused", route("vps", "10.0.0.0/9") == -EPROTO)
check("another peer's network is refused", route("home", "10.5.0.0/16") == -EPROTO)
check("a source that is not ours is refused", route("vps", "10.5.0.0/16", "10.4.4.4") == -EPROTO)
check("an MTU out of range is refused", ask("link", mtu=100)["status"] == -74)
check("nothing of that has changed anything", state() == before, state())
text = log()
check("the refusals are logged, with peer and reason",
      "peer=vps 198.51.100.7/32: not inside accept-assigned" in text)

began = time.monotonic()
# Forged: every type, lengths around the true ones, garbage, descriptors where none belong.
for kind in list(range(0, 128)) + [0xffffffff]:
    for length in (0, 1, 8, 16, 24, 273, 274, 275, 291, 292, 293, 600):
        if kind == PQ_RELOAD and not length:
            continue  # that one is a true request
        ask("forge", type=kind, len=length, hex=("41" * length if length % 2 else "00" * length), fds=0)
ask("forge", type=37, len=17, hex="02" + "00" * 16, fds=1)
check("after 1500 forged requests the parent lives and nothing changed",
      processes(p).get("parent") == pids["parent"] and alive() and state() == before, state())
check("forged requests are logged", "refused: unknown type" in log() and "refused: length" in log())
lines = sum("posternd/parent" in line and "refused:" in line for line in log().splitlines())
seconds = time.monotonic() - began
check("and the log is bounded", lines < 129 * 5 + 6.4 * seconds, (lines, seconds))  # 5 of a kind, then one in 10 s for each of 64 slots

# ---- what it grants
check("an assigned address inside accept-assigned is taken", addr("vps", "10.98.0.7") == 0)
check("and stands on the TUN", "10.98.0.7/32" in gate.run(["ip", "addr", "show", "postern0"]).stdout)
check("its guard stands too", "10.98.0.7" in gate.run(["nft", "list", "table", "inet", "postern"]).stdout)
check("another address takes its place", addr("vps", "10.98.0.8") == 0
      and "10.98.0.7" not in gate.run(["ip", "addr", "show", "postern0"]).stdout)
check("a narrower route with our source is taken", route("vps", "10.5.1.0/24", "10.98.0.8") == 0)
check("mtu and segments are set", ask("link", mtu=1380, segs=40)["status"] == 0
      and "mtu 1380" in gate.run(["ip", "-d", "link", "show", "postern0"]).stdout)
path = ask("path", dst="203.0.113.9")
check("a path look-up gives the interface and source", path["status"] == 0 and path["src"] == "203.0.113.2", path)
path = ask("path", dst="10.7.7.7")
check("a mark that no peer has is nobody's to ask about", ask("path", dst="203.0.113.9", mark=77)["status"] == -71)
check("with our mark no path leads into the tunnel", path.get("gateway") == "203.0.113.9", path)
port = ask("hop")["port"]
check("a new hop socket has another port", port and port not in (4500, ask("hop")["port"]), port)

# ---- TCP encapsulation: the parent connects, where the configuration says
for why, q in (("to a port that is none of the peer's", {"peer": "vps", "to": "203.0.113.9:25"}),
               ("without TLS where TLS is configured", {"peer": "vps", "to": "203.0.113.9:443"}),
               ("for a peer that calls us", {"peer": "home", "to": "203.0.113.9:4500"}),
               ("for nobody", {"peer": "nobody", "to": "203.0.113.9:4500"})):
    got = ask("stream", **q)
    check(f"a TCP connection {why} is refused", got["status"] == -EPROTO, got)
got = ask("stream", peer="vps", to="203.0.113.9:443", tls=True)
check("one to a tcp-port of the peer is begun, with our mark", got["status"] == 0 and got["mark"], got)

# ---- keys and names
public = gate.run(["openssl", "pkey", "-in", "/etc/postern/gate.key", "-pubout", "-outform", "DER"], check=True)
spki = ask("key", what="public", peer="home")
check("keys gives the public half", spki["status"] == 0 and len(spki["hex"]) == 88, spki)


def octets(exchange=34, version=0x20, length=None, tail=32 + 32):
    """<SignedOctets> of RFC 7296 s2.15: IKE_SA_INIT, nonce, prf."""
    body = b"\x00\x00\x00\x08abcd"
    n = 28 + len(body) if length is None else length
    return (b"initiato" + bytes(8) + bytes([33, version, exchange, 8]) + bytes(4) + n.to_bytes(4, "big") + body +
            b"n" * tail).hex()


sig = ask("key", what="sign", peer="home", octets=octets())
gate.python("import sys; open('/tmp/m', 'wb').write(bytes.fromhex(sys.argv[2])); "
            "open('/tmp/s', 'wb').write(bytes.fromhex(sys.argv[1]))", sig["hex"], octets())
r = gate.run(["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", "/etc/postern/gate.pub", "-rawin", "-in", "/tmp/m",
              "-sigfile", "/tmp/s"], check=False)
check("keys signs, and the public key agrees", r.returncode == 0, r.stdout)
for what, wrong in (("any text", b"sign me, a certificate or whatever it is".hex() * 4), ("another exchange", octets(exchange=35)),
                    ("IKEv1", octets(version=0x10)), ("a message that ends elsewhere", octets(length=30)),
                    ("no nonce", octets(tail=0)), ("a tail too long", octets(tail=400))):
    r = ask("key", what="sign", peer="home", octets=wrong)
    check(f"keys signs no {what}", r["status"] == -74 and not r["hex"], r)
import hashlib
import hmac
inner = hmac.new(b"q7Rk2VtW9xYb4ZpL8mNc5", b"Key Pad for IKEv2", hashlib.sha256).digest()
mac = ask("key", what="psk", peer="vps", octets="mac me")
check("keys makes the PSK's MAC", mac["hex"] == hmac.new(inner, b"mac me", hashlib.sha256).hexdigest(), mac)
check("no PSK for a peer with a key", ask("key", what="psk", peer="home", octets="x")["status"] == -ENOENT)
check("no key for a peer that is not configured", ask("key", what="sign", peer="nobody", octets=octets())["status"] == -ENOENT)
gate.write("/etc/hosts", "127.0.0.1 localhost\n192.0.2.80 vps.example.net\n2001:db8::80 vps.example.net\n")
gate.write("/etc/nsswitch.conf", "hosts: files dns\n")
gate.write("/etc/resolv.conf", "nameserver 203.0.113.77\n")  # nobody there: every look-up is slow
got = ask("resolve", name="vps.example.net", timeout=5000)
check("the resolver reads /etc/hosts", sorted(got["addrs"]) == ["192.0.2.80", "2001:db8::80"], got)
begin = time.monotonic()
got = ask("resolve", name="slow.example.net", timeout=1000)
took = time.monotonic() - begin
check("a slow name is answered by the clock", got["status"] == -110 and took > 0.9, (got, took))
socks = []
for i in range(6):
    s = socket.socket(socket.AF_UNIX)
    s.connect(sock())
    s.sendall(json.dumps({"v": 1, "verb": "resolve", "args": {"name": f"slow{i}.example.net", "timeout": 8000}}).encode() + b"\n")
    socks.append(s)
got = ask("resolve", name="vps.example.net", timeout=5000)
check("six slow names do not hold up another", got["status"] == 0, got)
for s in socks:
    s.close()
check("a name that is none is refused", ask("resolve", name="a b", timeout=1000)["status"] == -74)

# ---- kill -9 of each process: what stands, stands
full = state()
for name in ("keys", "resolver", "child"):
    old = processes(p)[name]
    os.kill(old, signal.SIGKILL)
    wait_for(f"a new {name}", lambda: processes(p).get(name) not in (None, old) and alive())
    check(f"kill -9 of {name}: addresses, routes, rules and guard stand", state() == full, state())
wait_for("the siblings are linked again", lambda: ask("key", what="public", peer="home")["status"] == 0)
check("keys answers the new child", ask("key", what="public", peer="home")["hex"] == spki["hex"])
check("the resolver answers the new child", ask("resolve", name="vps.example.net", timeout=5000)["status"] == 0)
link = gate.run(["ip", "-o", "link", "show", "postern0"]).stdout
check("the TUN has its carrier", "NO-CARRIER" not in link, link)

# ---- the guard against a neighbour
neighbour.run(["ip", "route", "add", "10.99.0.1", "via", "203.0.113.2"])
neighbour.run(["ip", "-6", "route", "add", "fd99::1", "via", "2001:db8:113::2"])


def drops():
    text = gate.run(["nft", "list", "table", "inet", "postern"]).stdout
    return [int(line.split("packets ")[1].split()[0]) for line in text.splitlines() if "counter" in line]


at = drops()
check("a neighbour reaches the outer address", testlib.answered(neighbour, "203.0.113.2"))
check("a neighbour does not reach the tunnel address", neighbour.run(["ping", "-c3", "-W1", "10.99.0.1"], check=False).returncode != 0)
check("nor by IPv6", neighbour.run(["ping", "-c3", "-W1", "fd99::1"], check=False).returncode != 0)
check("and the guard has counted them", wait_for("two of each", lambda: all(n >= a + 2 for a, n in zip(at, drops()))), (at, drops()))
check("the machine itself reaches it", gate.run(["ping", "-c1", "-W5", "10.99.0.1"], check=False).returncode == 0)

# ---- re-assertion
gate.run(["nft", "flush", "ruleset"])
gate.run(["ip", "route", "flush", "table", "15700"])
gate.run(["ip", "rule", "del", "prio", "15700"])
gate.run(["ip", "addr", "add", "10.50.0.1/24", "dev", "postern0"])
gate.run(["ip", "addr", "del", "fd99::1/128", "dev", "postern0"])
try:
    wait_for("all stands again", lambda: state() == full, seconds=5)
    check("what others flush, comes back", True)
except testlib.Failed:
    check("what others flush, comes back", False, [(a, state()[a]) for a in full if full[a] != state()[a]])
gate.run(["ip", "link", "set", "postern0", "down"])
wait_for("the TUN is up again", lambda: ",UP" in gate.run(["ip", "link", "show", "postern0"]).stdout, seconds=5)
wait_for("with its routes", lambda: state() == full, seconds=5)

# ---- somebody removes the device itself
old = processes(p)["child"]
gate.run(["ip", "link", "del", "postern0"])
wait_for("a new child with a new TUN", lambda: processes(p).get("child") not in (None, old) and alive())
try:
    wait_for("all stands again", lambda: state() == full, seconds=5)
    check("a removed TUN is made again", True)
except testlib.Failed:
    check("a removed TUN is made again", False, [(a, state()[a]) for a in full if full[a] != state()[a]])
check("with its carrier", "NO-CARRIER" not in gate.run(["ip", "-o", "link", "show", "postern0"]).stdout)

# ---- reload: only differences, errors leave the old one
gate.run(["sh", "-c", "echo 'nonsense = 1' >> /etc/postern/postern.conf"])
got = ask("reload")
check("a broken file is refused and says where", got["status"] != 0 and "postern.conf:" in got["text"] and "nonsense" in got["text"], got)
check("and the old one stays", state() == full)
configure(posternd="tun = other0")
check("a new TUN name wants a restart", ask("reload")["status"] != 0)
gate.run(["chmod", "644", "/etc/postern/vps.psk"])
configure()
got = ask("reload")
check("a PSK that others can read is refused", got["status"] != 0 and "vps.psk" in got["text"], got)
gate.run(["chmod", "600", "/etc/postern/vps.psk"])
gate.run(["chmod", "666", "/etc/postern/postern.conf"])
got = ask("reload")
check("a configuration that others can write is refused", got["status"] != 0 and "postern.conf" in got["text"], got)
configure(peer="accept-assigned = 192.168.0.0/16")
changes = alive()["path_changes"]
check("a good file is taken", ask("reload")["status"] == 0)
check("the child has it", wait_for("new generation", lambda: alive()["generation"] == 2))
check("an address that it no longer accepts is gone", "10.98.0.8" not in gate.run(["ip", "addr", "show", "postern0"]).stdout)
gate.run(["ip", "addr", "add", "203.0.113.50/24", "dev", "wan"])
check("the child hears of changed paths", wait_for("path event", lambda: alive()["path_changes"] > changes))
configure()
os.kill(pids["parent"], signal.SIGHUP)
wait_for("SIGHUP reloads", lambda: alive()["generation"] == 3)
check("and the address may come back", addr("vps", "10.98.0.8") == 0 and route("vps", "10.5.1.0/24", "10.98.0.8") == 0)

# ---- the parent: killed, and started again
full = state()
old = processes(p).values()
os.kill(pids["parent"], signal.SIGKILL)
p.wait()


def gone(pid):
    try:
        return status(pid)["State"].startswith("Z")
    except (OSError, KeyError):
        return True


wait_for("the children end with it", lambda: all(gone(pid) for pid in old))
# A ring lets go of its descriptors late.
wait_for("the TUN outlives its parent, without carrier",
         lambda: "NO-CARRIER" in gate.run(["ip", "-o", "link", "show", "postern0"]).stdout)
check("addresses, routes, rules and guard stand", state() == full, state())
gate.sysctl(net__ipv4__conf__postern0__ignore_routes_with_linkdown=1)
r = gate.run(["ip", "route", "get", "10.5.5.5"], check=False)
check("without carrier the unreachable route holds", "unreachable" in r.stdout.lower() or "no route" in r.stdout.lower(), r.stdout)
r = gate.run(["ping", "-c1", "-W1", "10.5.5.5"], check=False)
check("and nothing leaks to the default route", "unreachable" in r.stdout.lower() or "no route" in r.stdout.lower(), r.stdout)
# Stale things from another life
gate.run(["ip", "route", "add", "10.20.0.0/16", "dev", "wan", "proto", "157", "table", "15700"])
gate.run(["ip", "route", "add", "192.0.2.0/24", "dev", "wan", "proto", "157"])  # not in our tables: not ours to judge
gate.run(["ip", "rule", "add", "prio", "15703", "lookup", "99", "protocol", "157"])
gate.run(["ip", "tuntap", "add", "stale0", "mode", "tun", "multi_queue"])
gate.run(["ip", "link", "set", "stale0", "alias", "postern /run/postern"])
gate.run(["ip", "addr", "add", "10.60.0.1/32", "dev", "postern0"])
gate.run(["ip", "addr", "add", "198.51.100.99/32", "dev", "postern0"])
p = start()
pids = processes(p)
wait_for("the child is linked", lambda: ask("key", what="public", peer="home")["status"] == 0)
left = gate.run(["ip", "addr", "show", "postern0"]).stdout
check("an address that a peer may have given is kept", "10.98.0.8/32" in left, left)
check("one that none may give is gone", "198.51.100.99" not in left, left)
check("a stale route is gone", "10.20.0.0/16" not in gate.run(["ip", "route", "show", "table", "15700"]).stdout)
check("a stranger's table is left alone", "192.0.2.0/24" in gate.run(["ip", "route"]).stdout)
check("a stale rule is gone", "lookup 99" not in gate.run(["ip", "rule"]).stdout)
check("a stale TUN is gone", gate.run(["ip", "link", "show", "stale0"], check=False).returncode != 0)
check("the narrower route of the child's asking is gone too", "10.5.1.0/24" not in gate.run(["ip", "route", "show", "table", "15700"]).stdout)
check("the carrier is back", "NO-CARRIER" not in gate.run(["ip", "-o", "link", "show", "postern0"]).stdout)
check("the peer that gave the address claims it", addr("vps", "10.98.0.8") == 0)

# ---- the real child
os.kill(pids["parent"], signal.SIGTERM)
p.wait(60)
r = gate.start([testlib.POSTERND, "-c", "/etc/postern/postern.conf"], log="real")


pids = wait_for("posternd with its own child runs, confined", lambda: confined(r))
check_privileges(pids)
time.sleep(2)  # it calls its peer, who is not there
check("none of them has died", processes(r) == pids, processes(r))
os.kill(pids["parent"], signal.SIGTERM)
check("SIGTERM ends it, status 0", r.wait(60) == 0, r.returncode)
with open(lab.logs + "/gate-real.log") as f:
    text = f.read()
check("the child has ended by itself", "ended proc=child status=0" in text, text[-800:])
p = start()
pids = processes(p)

# ---- orderly end, refusals at start, cleanup
os.kill(pids["parent"], signal.SIGTERM)
check("SIGTERM ends it, status 0", p.wait(60) == 0, p.returncode)
check("the device stays, so that nothing leaks", gate.run(["ip", "link", "show", "postern0"], check=False).returncode == 0)
for path_, mode, word in (("gate.key", "640", "gate.key"), ("postern.conf", "666", "postern.conf"), ("home.pub", "666", "home.pub")):
    was = "600" if path_ == "gate.key" else "644"
    gate.run(["chmod", mode, "/etc/postern/" + path_])
    r = gate.run([PROBE, "-c", "/etc/postern/postern.conf"], check=False, timeout=20)
    check(f"{path_} with mode {mode} is refused at start", r.returncode == 1 and word in r.stdout, r.stdout)
    gate.run(["chmod", was, "/etc/postern/" + path_])
holder = gate.start(["python3", "-c", "import socket,time; s=socket.socket(socket.AF_INET6,socket.SOCK_DGRAM);"
                     "s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1); s.bind(('::', 4500)); time.sleep(60)"], log="holder")
wait_for("it has the port", lambda: ":4500 " in gate.run(["ss", "-lunH"]).stdout)
r = gate.run([PROBE, "-c", "/etc/postern/postern.conf"], check=False, timeout=20)
check("a port that another holds is refused, not shared", r.returncode == 1 and "UDP port 4500" in r.stdout, r.stdout)
holder.kill()
guarded = gate.run(["nft", "list", "table", "inet", "postern_leak"], check=False).stdout
r = gate.run([PROBE, "-c", "/etc/postern/postern.conf", "--cleanup"], check=False)
check("the guard stood until now", "10.99.0.2" in guarded, guarded)
check("--cleanup ends well", r.returncode == 0, r.stdout)
check("and leaves no device", gate.run(["ip", "link", "show", "postern0"], check=False).returncode != 0)
rules = gate.run(["ip", "rule"]).stdout + gate.run(["ip", "-6", "rule"]).stdout
check("no rule", "157" not in rules, rules)
check("no route", not gate.run(["ip", "route", "show", "table", "15700"], check=False).stdout.startswith(("10", "unreach")))
check("and no nft table", "postern" not in gate.run(["nft", "list", "ruleset"]).stdout)
testlib.done()
