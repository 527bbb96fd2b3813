# SPDX-License-Identifier: GPL-3.0-or-later
"""What a taken-over process of postern-mta or postern-deliver cannot do.

Both are the real ones, linked with tests/netns/mta_probe.c: each process, the moment that it is confined, tries what it
may not and tells the outcome. A row of the table below is a process, a column what it tries.
"""
import os
import re
import signal

import testlib
from testlib import check, require, wait_for

MTA = os.path.join(testlib.BUILD, "tests", "netns", "mta_probe")
DELIVER = os.path.join(testlib.BUILD, "tests", "netns", "deliver_probe")
for binary in (MTA, DELIVER):
    if not os.path.exists(binary):
        testlib.skip(f"{binary} is not built")
SANITIZED = "asan" in testlib.BUILD
lab, _ = testlib.start(topology=False)
m = lab.machine("home")
m.addr("lo", "203.0.113.9/32")  # nobody listens: what is let through is refused by the other side
m.run(["sh", "-c", "mkdir -p /etc/postern/tls && cd /etc/postern && umask 077 && openssl req -x509 -newkey ec -pkeyopt"
       " ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=h.example -keyout tls/key.pem -out tls/cert.pem && chmod 644"
       " tls/cert.pem && chmod 755 /etc/postern tls && for u in alice bob; do mkdir -p /home/$u/Maildir/new; echo x"
       " >/home/$u/Maildir/new/letter; chown -R $u:$u /home/$u; done && chmod 640 /etc/shadow && umask 022 &&"
       " mkdir -p /run/postern /var/lib/postern && install -d -m 700 -o 2005 -g 2005 /var/lib/postern/queue"])
m.write("/etc/postern/mta.conf", """[mta]
role = home
hostname = h.example
certificate = tls/cert.pem
private-key = tls/key.pem
queue-volatile = yes
dns = forward
dns-servers = 203.0.113.9
[listener lan]
address = 127.0.0.1:2525
[listener submission]
address = 127.0.0.1:587
[route out]
kind = smarthost
address = 203.0.113.9
domains = *
[deliver]
domains = d.example
""")


def log(name):
    path = os.path.join(lab.logs, f"home-{name}.log")
    if not os.path.exists(path):
        return ""
    with open(path, errors="replace") as f:
        return f.read()


def probed(text, process):
    return dict(re.findall(rf"^probe {process}: (\S+) (\S+)$", text, re.M))


deliver = m.start([DELIVER, "-c", "/etc/postern/mta.conf", "--listen", "/run/postern/deliver.sock"], log="deliver")
wait_for("postern-deliver is ready", lambda: 'msg="ready"' in log("deliver") or deliver.poll() is not None)
mta = m.start([MTA, "-c", "/etc/postern/mta.conf"], log="mta")
wait_for("postern-mta is ready", lambda: log("mta").count('msg="ready proc=') == 4 or mta.poll() is not None, 60)
require("both run", (mta.poll(), deliver.poll()) == (None, None))
m.python("""
import smtplib, ssl
with smtplib.SMTP("127.0.0.1", 2525, timeout=60) as s:
    s.starttls(context=ssl._create_unverified_context())
    s.sendmail("ann@far.example", ["alice@d.example"], "Subject: x\\r\\n\\r\\nx\\r\\n")
""")
wait_for("the letter is delivered", lambda: "result=delivered" in log("deliver"), 60)

landlock = 0
for word in log("mta").splitlines():
    if "has no Landlock" in word:
        print("note: no Landlock on this machine: files are held by user and mode alone")
        landlock = -1
no = {"EPERM"}
by_path = {"EACCES"} if landlock == 0 else {"EACCES", "ok", "ENOENT"}
# The words of the whole: what every child is refused, by its filter of calls.
EVERYWHERE = dict.fromkeys(("write-config", "create", "parent-memory", "own-memory", "socket-packet", "socket-netlink", "ring",
                            "fork", "become-root", "become-bob", "kill-parent", "map-code", "dumpable", "core-limit", "type-ahead",
                            "chmod", "listen"), no)
FILES = ("open-shadow", "open-passwd", "open-key", "open-mail", "open-queue", "open-program", "parent-environ", "open-hop",
         "write-hops")
NET = ("connect-tcp", "connect-udp", "connect-control", "connect-deliver")
out = {"ECONNREFUSED"}  # it got there
WANT = {
    "mta smtpd": {**EVERYWHERE, **dict.fromkeys(FILES + NET, no)},
    # Letters go out by it, and to postern-deliver; the control socket is the admin's.
    "relay": {**EVERYWHERE, **dict.fromkeys(FILES, no), "connect-tcp": out, "connect-udp": {"ok"},
              "connect-control": {"EACCES"}, "connect-deliver": {"ok"}},
    # Beneath its own directory it may do all, elsewhere nothing.
    "queue": {**EVERYWHERE, **dict.fromkeys(FILES, by_path | {"EACCES"}), **dict.fromkeys(NET, no), "open-queue": {"ok"},
              **dict.fromkeys(("write-config", "create", "parent-memory", "own-memory"), by_path)},
    # It knows the users of this machine, and goes to name servers: by TCP to ports 53 and 853.
    "lookup": {**EVERYWHERE, **dict.fromkeys(FILES, by_path), "open-passwd": {"ok"}, "open-shadow": {"EACCES"},
               **dict.fromkeys(("open-key", "open-mail", "open-queue", "open-hop", "connect-tcp"), {"EACCES"}),
               "write-hops": {"EACCES"} | no,
               "connect-udp": {"ok"}, "connect-control": no, "connect-deliver": no},
    # Of root it has what binds ports and reads keys, whosever they are, and what starts children.
    "mta parent": {"write-config": {"EACCES"}, "socket-packet": no, "parent-memory": {"EACCES", "EPERM"}, "chmod": no,
                   "connect-control": {"EACCES"}, "open-key": {"ok"}, "open-hop": {"ok"}, "write-hops": {"EACCES"}},
    # Root without its powers but to become a user and to end him.
    "deliver": {"open-mail": {"EACCES"}, "open-queue": {"EACCES"}, "socket-packet": no, "chmod": no,
                "parent-memory": {"EACCES", "EPERM"}, "connect-deliver": {"ok", "ECONNREFUSED"}},
    # alice, beneath her home.
    "delivery": {**EVERYWHERE, **dict.fromkeys(FILES, by_path), "open-shadow": {"EACCES"}, "open-key": {"EACCES"},
                 "open-mail": {"EACCES"}, "open-queue": {"EACCES"}, **dict.fromkeys(NET, no),
                 **dict.fromkeys(("write-config", "create", "parent-memory", "own-memory"), by_path)},
}
DEADLY = ("ptrace", "process_vm_readv", "mount", "setns", "keyctl", "bpf")
for process, want in WANT.items():
    got = probed(log("deliver" if process in ("deliver", "delivery") else "mta"), process)
    require(f"{process}: it tried", len(got) > 20, got)
    for what, allowed in want.items():
        check(f"{process}: {what} gives {'/'.join(sorted(allowed))}", got.get(what) in allowed, got.get(what))
    child = process not in ("mta parent", "deliver")
    for what in DEADLY + (("execve", "unshare", "chroot") if child else ()):
        if SANITIZED:  # whose filter kills nobody
            check(f"{process}: {what} is refused", not child or got.get(what) in ("refused", "SIGSYS"), got.get(what))
        else:
            check(f"{process}: {what} is death", got.get(what) == "SIGSYS", got.get(what))


def status(pid):
    with open(f"/proc/{pid}/status") as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


def open_files(pid):
    out = []
    for n in os.listdir(f"/proc/{pid}/fd"):
        try:
            out.append(os.readlink(f"/proc/{pid}/fd/{n}"))
        except FileNotFoundError:  # closed meanwhile
            pass
    return out


# ---- what the kernel tells of them
BIND, SETUID, SETGID, KILL, READ = 1 << 10, 1 << 7, 1 << 6, 1 << 5, 1 << 2
pids = {"mta parent": None}
for pid in [mta.pid] + m.child_pids(mta):
    with open(f"/proc/{pid}/cmdline") as f:
        argv = f.read().split("\0")
    if "--proc" in argv:
        pids[argv[2]] = pid
    elif argv[0] == MTA:
        pids["mta parent"] = pid
pids["deliver"] = deliver.pid
for name, pid in pids.items():
    s = status(pid)
    uid = {"queue": "2005", "deliver": "0"}.get(name, "2004")
    check(f"{name}: all user and group ids are {uid}", s["Uid"].split() == [uid] * 4 and s["Gid"].split() == [uid] * 4, s["Uid"])
    check(f"{name}: no supplementary groups", s["Groups"].split() in ([], ["0"] if uid == "0" else []), s["Groups"])
    caps = {"mta parent": BIND | SETUID | SETGID | KILL | READ, "deliver": SETUID | SETGID | KILL}.get(name, 0)
    for set_of in ("CapPrm", "CapEff"):
        check(f"{name}: {set_of} is {caps:#x}", int(s[set_of], 16) == caps, s[set_of])
    if name not in ("mta parent", "deliver"):
        check(f"{name}: nothing to inherit", int(s["CapAmb"], 16) == int(s["CapInh"], 16) == 0, s["CapAmb"])
    check(f"{name}: no new privileges, and a filter", (s["NoNewPrivs"], s["Seccomp"]) == ("1", "2"), s["Seccomp"])
    if name != "deliver":
        check(f"{name}: not dumpable", os.stat(f"/proc/{pid}/mem").st_uid == 0)
    with open(f"/proc/{pid}/limits") as f:
        core = [line.split()[4:6] for line in f if line.startswith("Max core")]
    check(f"{name}: no core dump", core == [["0", "0"]], core)
    held = open_files(pid)
    files = [f for f in held if f.startswith("/") and not f.startswith(("/dev/", "/memfd:", lab.logs)) and "key.pem" in f]
    check(f"{name}: holds no key file", not files, held)
    hops = sorted(os.path.basename(f) for f in held if "/hop" in f)  # what the parent opened while it was root
    check(f"{name}: holds {'the' if name == 'mta parent' else 'no'} hop keys",
          hops == (["hop-keys.0", "hop-keys.1"] if name == "mta parent" else []), hops)

# ---- a process that is gone takes nobody along
os.kill(pids["smtpd"], signal.SIGABRT)  # not SIGQUIT, which who is started in the background ignores
wait_for("another smtpd", lambda: log("mta").count("ready proc=smtpd") > 1)
check("it has left no core", not [f for f in m.run(["sh", "-c", "ls / /tmp /run/postern /var/lib/postern"]).stdout.split()
                                if f.startswith("core")])
check("the new one is confined as the first", len(re.findall(r"^probe mta smtpd: open-shadow EPERM$", log("mta"), re.M)) == 2)
testlib.done()
