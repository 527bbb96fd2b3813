# SPDX-License-Identifier: GPL-3.0-or-later
"""A laboratory of machines in namespaces of their own (design: test bench).

    lab.enter()                 re-runs the calling script as root of new user, pid, net, mount, ipc and
                                uts namespaces with 65 536 mapped ids; the host is never touched, and
                                all that was started ends with the pid namespace
    lab.Lab(dir)                overlays /usr and /etc with packages unpacked by tests/netns/fetch
    m = lab.machine("vps")      a network, mount and uts namespace; own /etc, /run, /var/lib, /home
    lab.link(a, b, ...)         a veth pair;  lab.segment("wan", [...]) a bridged segment
    m.run([...]) m.start([...]) commands inside; output of started ones goes to logs/

        internet segment 198.51.100.0/24, 2001:db8:51::/64
          |        |        |        |         |
         dns     mx-a     mx-b     vps       cgnat ---- 100.64.0.0/24 ---- home ---- 192.168.7.0/24 ---- lan
"""
import atexit
import ctypes
import ctypes.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
MS_REC, MS_PRIVATE, MS_BIND = 16384, 1 << 18, 4096

libc = ctypes.CDLL(ctypes.util.find_library("c"), use_errno=True)
ENTERED = "POSTERN_LAB"
WORKDIR = "POSTERN_LAB_DIR"
DISKDIR = "POSTERN_LAB_DISK"  # /var/lib of the machines: a real disk, for queues that fsync


def _check(rc, what):
    if rc != 0:
        err = ctypes.get_errno()
        raise OSError(err, f"{what}: {os.strerror(err)}")


def unshare(flags):
    _check(libc.unshare(flags), "unshare")


def mount(src, target, fstype=None, flags=0, data=None):
    enc = lambda s: s.encode() if s is not None else None
    _check(libc.mount(enc(src), enc(target), enc(fstype), ctypes.c_ulong(flags), enc(data)),
           f"mount {src} on {target}")


def enter():
    """Re-run this script inside new namespaces; returns only there."""
    if os.environ.get(ENTERED) == "1":
        return
    if os.geteuid() != 0:
        sys.exit("this needs root: namespaces with 65536 mapped ids cannot be made without it")
    os.environ[WORKDIR] = tempfile.mkdtemp(prefix="postern-lab-")
    os.environ[DISKDIR] = tempfile.mkdtemp(prefix="postern-lab-", dir="/var/tmp")
    os.chmod(os.environ[DISKDIR], 0o755)

    def tidy():
        os.rmdir(os.environ[WORKDIR])  # a tmpfs lay over it inside; what it held is gone with the namespace
        shutil.rmtree(os.environ[DISKDIR], ignore_errors=True)
    unshared_r, unshared_w = os.pipe()
    mapped_r, mapped_w = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(unshared_r)
        os.close(mapped_w)
        unshare(CLONE_NEWUSER)
        os.write(unshared_w, b"x")
        if os.read(mapped_r, 1) != b"x":
            os._exit(1)
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
        os.setgroups([])
        unshare(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS)
        child = os.fork()
        if child == 0:
            libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
            mount("none", "/", None, MS_REC | MS_PRIVATE)
            mount("proc", "/proc", "proc")
            os.environ[ENTERED] = "1"
            os.execv(sys.executable, [sys.executable] + sys.argv)
        _, status = os.waitpid(child, 0)
        os._exit(os.waitstatus_to_exitcode(status) & 0xff)
    os.close(unshared_w)
    os.close(mapped_r)
    if os.read(unshared_r, 1) != b"x":
        sys.exit("cannot make a user namespace here (kernel.unprivileged_userns_clone, or a container?)")
    for name in ("uid_map", "gid_map"):
        with open(f"/proc/{pid}/{name}", "w") as f:
            f.write("0 0 65536\n")
    os.write(mapped_w, b"x")

    def forward(signo, _frame):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        tidy()
        sys.exit(128 + signo)
    signal.signal(signal.SIGTERM, forward)
    signal.signal(signal.SIGINT, forward)
    _, status = os.waitpid(pid, 0)
    tidy()
    sys.exit(os.waitstatus_to_exitcode(status) & 0xff)


class Failed(Exception):
    pass


def wait_for(what, probe, seconds=20.0, step=0.05):
    """Poll @probe until it gives something true; that value, or Failed after thrice @seconds, which are what an idle
    machine may take: one that is busy with other tests is no fault of what is tested. No less than half a minute: a slow
    machine needs that for a handshake and the start of a process with a sanitizer, and who passes does not wait."""
    seconds = max(seconds, 10.0)
    end = time.monotonic() + 3 * seconds
    while True:
        value = probe()
        if value:
            return value
        if time.monotonic() > end:
            raise Failed(f"waited {3 * seconds:g} s for: {what}")
        time.sleep(step)


class Machine:
    def __init__(self, lab, name):
        self.lab, self.name = lab, name
        self.dir = os.path.join(lab.dir, name)
        self.procs = []
        self.varlib = os.path.join(os.environ[DISKDIR], name)
        for d in [os.path.join(self.dir, d) for d in ("etc", "run", "home", "spool", "tmp")] + [self.varlib]:
            os.makedirs(d, exist_ok=True)
        r, w = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                self._hold(w)
            finally:
                os._exit(1)
        os.close(w)
        if os.read(r, 1) != b"x":
            raise Failed(f"cannot set up machine {name}")
        os.close(r)
        self.run(["ip", "link", "set", "lo", "up"])
        # No name is asked for outside; a machine with a resolver writes its own.
        self.write("/etc/hosts", f"127.0.0.1 localhost\n127.0.1.1 {name}\n::1 localhost\n")
        self.write("/etc/resolv.conf", "nameserver 127.0.0.1\n")

    def _hold(self, w):
        unshare(CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWUTS)
        mount("none", "/", None, MS_REC | MS_PRIVATE)
        socket.sethostname(self.name)
        own = os.path.join(self.dir, "etc-upper")
        work = os.path.join(self.dir, "etc-work")
        os.makedirs(own, exist_ok=True)
        os.makedirs(work, exist_ok=True)
        mount("overlay", "/etc", "overlay", 0, f"lowerdir=/etc,upperdir={own},workdir={work}")
        mount(self.varlib, "/var/lib", None, MS_BIND)
        for d, target in (("run", "/run"), ("home", "/home"), ("spool", "/var/spool"), ("tmp", "/tmp")):
            mount(os.path.join(self.dir, d), target, None, MS_BIND)
        os.chmod("/tmp", 0o1777)
        mount("sysfs", "/sys", "sysfs")
        os.write(w, b"x")
        os.close(w)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signal.valid_signals())
        while True:
            signal.pause()

    def _cmd(self, argv):
        return ["nsenter", "-t", str(self.pid), "-n", "-m", "-u", "--"] + [str(a) for a in argv]

    def run(self, argv, check=True, timeout=180, input=None, quiet=False, env=None):
        """Run to the end; gives CompletedProcess with text output."""
        p = subprocess.run(self._cmd(argv), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                           timeout=timeout, input=input, errors="replace",
                           env=dict(os.environ, **env) if env else None)
        if check and p.returncode != 0:
            raise Failed(f"{self.name}: {' '.join(map(str, argv))}: exit {p.returncode}\n{p.stdout}")
        return p

    def start(self, argv, log=None, env=None, **kw):
        """Start in the background; its output goes to logs/NAME-LOG.log. Gives Popen."""
        log = log or os.path.basename(str(argv[0]))
        path = os.path.join(self.lab.logs, f"{self.name}-{log}.log")
        out = open(path, "ab")
        p = subprocess.Popen(self._cmd(argv), stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                             start_new_session=True, env=dict(os.environ, **env) if env else None, **kw)
        out.close()
        p.log = path
        self.procs.append(p)
        return p

    def python(self, code, *args, **kw):
        return self.run([sys.executable, "-c", code, *args], **kw)

    def write(self, path, text, mode=0o644, owner=None):
        """Write a file as the machine sees @path (below /etc, /run, /var/lib, /home, /var/spool)."""
        self.run(["sh", "-c", 'mkdir -p "$(dirname "$1")" && cat > "$1" && chmod "$2" "$1"', "sh", path,
                  oct(mode)[2:]], input=text)
        if owner is not None:
            self.run(["chown", f"{owner}:{owner}", path])

    def read(self, path):
        return self.run(["cat", path]).stdout

    def addr(self, dev, *addrs):
        for a in addrs:
            extra = ["nodad"] if ":" in a else []
            self.run(["ip", "addr", "add", a, "dev", dev] + extra)
        self.run(["ip", "link", "set", dev, "up"])

    def sysctl(self, **values):
        for k, v in values.items():
            path = "/proc/sys/" + k.replace("__", "/")
            self.run(["sh", "-c", f"echo {v} > {path}"])

    def nft(self, text):
        self.run(["nft", "-f", "-"], input=text)

    def child_pids(self, popen):
        """Process ids (as this pid namespace sees them) of the tree under a started command."""
        out, todo = [], [popen.pid]
        while todo:
            pid = todo.pop()
            try:
                with open(f"/proc/{pid}/task/{pid}/children") as f:
                    kids = [int(k) for k in f.read().split()]
            except OSError:
                kids = []
            out += kids
            todo += kids
        return out


class Lab:
    def __init__(self, workdir, scratch=None):
        self.dir = workdir
        self.machines = {}
        self.segments = {}
        os.makedirs(workdir, exist_ok=True)
        mount("tmpfs", workdir, "tmpfs", 0, "mode=0755,size=4g")
        self.keep = None
        self.logs = os.path.join(workdir, "logs")
        os.makedirs(self.logs)
        self._overlay("/etc", scratch)
        if scratch and os.path.isdir(os.path.join(scratch, "usr")):
            self._overlay("/usr", scratch)
        self._users()
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        atexit.register(self.close)

    def _overlay(self, path, scratch):
        name = path.strip("/")
        upper, work = (os.path.join(self.dir, f".{name}-{k}") for k in ("upper", "work"))
        os.makedirs(upper)
        os.makedirs(work)
        lower = path
        if scratch and os.path.isdir(os.path.join(scratch, name)):
            lower = os.path.join(scratch, name) + ":" + path
        mount("overlay", path, "overlay", 0, f"lowerdir={lower},upperdir={upper},workdir={work}")

    USERS = (("postern", 2001), ("postern-keys", 2002), ("postern-resolver", 2003), ("postern-mta", 2004),
             ("postern-queue", 2005), ("postern-admin", 2006), ("postfix", 2010), ("postdrop", 2011),
             ("unbound", 2012), ("nsd", 2013), ("knot", 2014), ("dovecot", 2015), ("dovenull", 2016),
             ("Debian-exim", 2017), ("opensmtpd", 2018), ("opensmtpq", 2019), ("alice", 2100), ("bob", 2101))

    def _users(self):
        def known(path):
            with open(path) as f:
                return {line.split(":")[0] for line in f}
        users, groups = known("/etc/passwd"), known("/etc/group")
        with open("/etc/passwd", "a") as pw, open("/etc/group", "a") as gr:
            for path, f in (("/etc/passwd", pw), ("/etc/group", gr)):
                with open(path) as now:
                    if not now.read().endswith("\n"):
                        f.write("\n")
            for name, number in self.USERS:
                if name not in users:
                    pw.write(f"{name}:x:{number}:{number}::/home/{name}:/usr/sbin/nologin\n")
                if name not in groups:
                    gr.write(f"{name}:x:{number}:\n")

    def machine(self, name):
        self.machines[name] = Machine(self, name)
        return self.machines[name]

    def link(self, a, dev_a, b, dev_b):
        """A veth pair with one end in each machine."""
        subprocess.run(["ip", "link", "add", "lab0", "type", "veth", "peer", "name", "lab1"], check=True)
        for tmp, m, dev in (("lab0", a, dev_a), ("lab1", b, dev_b)):
            subprocess.run(["ip", "link", "set", tmp, "netns", str(m.pid)], check=True)
            m.run(["ip", "link", "set", tmp, "name", dev])

    def segment(self, name):
        """A switch: a machine of its own with a bridge."""
        sw = self.machine(name)
        sw.run(["ip", "link", "add", "br0", "type", "bridge"])
        sw.run(["ip", "link", "set", "br0", "up"])
        return sw

    def plug(self, sw, m, dev, *addrs):
        port = f"p-{m.name}"[:15]
        self.link(sw, port, m, dev)
        sw.run(["ip", "link", "set", port, "master", "br0", "up"])
        m.addr(dev, *addrs)

    def save_logs(self, to):
        """Copy logs out of the lab's tmpfs, which goes with its namespace."""
        if os.path.isdir(to):
            shutil.rmtree(to)
        shutil.copytree(self.logs, to)

    def close(self):
        if self.keep:
            self.save_logs(self.keep)
            self.keep = None
        for m in self.machines.values():
            for p in m.procs:
                if p.poll() is None:
                    p.terminate()
        time.sleep(0.1)
        for m in self.machines.values():
            for p in m.procs:
                if p.poll() is None:
                    p.kill()
            try:
                os.kill(m.pid, signal.SIGKILL)
            except OSError:
                pass


class Wire:
    """A machine that is nothing but a bad wire between two others: see tests/netns/impair.c for the faults."""

    def __init__(self, lab, name, a, dev_a, b, dev_b):
        self.m = lab.machine(name)
        lab.link(a, dev_a, self.m, "a")
        lab.link(b, dev_b, self.m, "b")
        # Frames of the size that the wire sees, with checksums that are true.
        for m, dev in ((a, dev_a), (b, dev_b)):
            m.run(["ethtool", "-K", dev, "tso", "off", "gso", "off", "gro", "off", "tx", "off",
                   "tx-udp-segmentation", "off"])
        for dev in ("a", "b"):
            self.m.run(["sh", "-c", f"echo 1 >/proc/sys/net/ipv6/conf/{dev}/disable_ipv6; ip link set dev {dev} up arp off"])
        path = os.path.join(self.m.dir, "run", "impair.sock")
        build = os.environ.get("POSTERN_BUILD") or os.path.join(
            os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "build")
        self.m.start([os.path.join(build, "tests", "netns", "impair"), "a", "b", "/run/impair.sock"], log="impair")
        wait_for(f"wire {name}", lambda: os.path.exists(path))
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.sock.connect(path)
        self.sock.settimeout(60)

    def command(self, text):
        self.sock.send(text.encode())
        answer = self.sock.recv(4096).decode()
        if answer != "ok" and not answer.startswith("{"):
            raise Failed(f"wire: {text}: {answer}")
        return answer

    def set(self, way="both", **faults):
        """@way: both, a2b or b2a; @faults as impair.c has them, e.g. delay=20, loss=1."""
        self.command(way + "".join(f" {k}={v}" for k, v in faults.items()))

    def reset(self):
        self.command("reset")

    def stats(self):
        return json.loads(self.command("stats"))


class Internet:
    """The cast of the story: segment, vps, carrier NAT, home, a machine in the home LAN."""
    VPS4, VPS6 = "198.51.100.10", "2001:db8:51::10"
    NAT4, DNS4, MXA4, MXB4, EVIL4 = "198.51.100.20", "198.51.100.53", "198.51.100.31", "198.51.100.32", "198.51.100.66"

    def __init__(self, lab, hosts=(), wire=False):
        """@wire: between home (a) and the carrier's NAT (b) lies a Wire, self.wire."""
        self.lab = lab
        self.wan = lab.segment("internet")
        self.vps, self.cgnat, self.home, self.lan = (lab.machine(n) for n in ("vps", "cgnat", "home", "lan"))
        lab.plug(self.wan, self.vps, "wan", self.VPS4 + "/24", self.VPS6 + "/64")
        lab.plug(self.wan, self.cgnat, "wan", self.NAT4 + "/24")
        if wire:
            self.wire = Wire(lab, "wire", self.home, "wan", self.cgnat, "inner")
        else:
            lab.link(self.cgnat, "inner", self.home, "wan")
        self.cgnat.addr("inner", "100.64.0.1/24")
        self.home.addr("wan", "100.64.0.2/24")
        lab.link(self.home, "lan", self.lan, "eth0")
        self.home.addr("lan", "192.168.7.1/24")
        self.lan.addr("eth0", "192.168.7.10/24")
        self.home.run(["ip", "route", "add", "default", "via", "100.64.0.1"])
        self.lan.run(["ip", "route", "add", "default", "via", "192.168.7.1"])
        self.cgnat.sysctl(net__ipv4__ip_forward=1)
        self.home.sysctl(net__ipv4__ip_forward=1)
        # A carrier's NAT: ports at random, mappings that die soon, nothing comes in unasked.
        self.cgnat.nft("""
table ip nat {
	chain post {
		type nat hook postrouting priority 100
		oifname "wan" masquerade fully-random
	}
}
table ip filter {
	chain through {
		type filter hook forward priority 0; policy drop
		iifname "inner" accept
		ct state established,related accept
	}
}
""")
        self.cgnat.sysctl(net__netfilter__nf_conntrack_udp_timeout=30,
                          net__netfilter__nf_conntrack_udp_timeout_stream=60)
        for name, a in hosts:
            m = lab.machine(name)
            lab.plug(self.wan, m, "wan", a + "/24")
            setattr(self, name.replace("-", "_"), m)

    def nat_rebind(self):
        """The carrier forgets every mapping; the next packet from inside gets another port."""
        self.cgnat.run(["conntrack", "-F"])

    def cut(self):
        self.cgnat.run(["ip", "link", "set", "wan", "down"])

    def mend(self):
        self.cgnat.run(["ip", "link", "set", "wan", "up"])
