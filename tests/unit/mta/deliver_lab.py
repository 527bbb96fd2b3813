# SPDX-License-Identifier: GPL-3.0-or-later
"""postern-deliver as a process with users of the test's own: see deliver_fake.c."""
import fcntl
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

if os.geteuid():
    print("needs root, to become users")
    sys.exit(77)
base = tempfile.mkdtemp(prefix="postern-deliver-", dir="/var/tmp")
os.chmod(base, 0o755)
bad = 0
LETTER = b"Subject: x\r\n\r\nx\r\n"


def check(what, ok, seen=""):
    global bad
    print(f"{'ok' if ok else 'FAILED'}: {what}{'' if ok else f' ({seen})'}", flush=True)
    bad += not ok


def wait_for(what, fn, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if fn():
            return True
        time.sleep(0.02)
    check(what, False, f"not within {seconds} s")
    return False


def body(data, seals=15):
    fd = os.memfd_create("letter", os.MFD_ALLOW_SEALING)
    os.write(fd, data)
    fcntl.fcntl(fd, 1033, seals)  # F_ADD_SEALS
    return fd


def text(s):
    return struct.pack(">H", len(s)) + s


def request(rcpt, letter, number, size, repeat=False, sender=b""):
    return b"PDL2" + bytes([letter]) * 16 + struct.pack(
        ">QIQB", size, number, 1700000000, repeat) + text(rcpt) + text(sender)


class Client:
    def __init__(self, path=None):
        self.s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.s.connect(path or f"{base}/sock")
        self.number = 0

    def send(self, rcpt, letter, fds, size=len(LETTER), repeat=False, sender=b""):
        self.number += 1
        socket.send_fds(self.s, [request(rcpt, letter, self.number, size, repeat, sender)], fds)
        return self.number

    def ask(self, who, letter, repeat=False, data=LETTER, sender=b""):
        fd = body(data)
        n = self.send(f"{who}@d.example".encode() if "@" not in who else who.encode(), letter, [fd], len(data), repeat,
                      sender)
        os.close(fd)
        return n

    def answers(self, seconds, count):
        got, end = [], time.monotonic() + seconds
        while len(got) < count and select.select([self.s], [], [], max(0, end - time.monotonic()))[0]:
            p = self.s.recv(2048)
            if not p:
                break
            number, status, n = struct.unpack(">IBH", p[4:11])
            got.append((number, ("done", "later", "never")[status], p[11:11 + n].decode()))
        return got

    def outcome(self, *args, **kw):
        """Of one letter: "done", "later", "never", or "closed"; and the text."""
        try:
            self.ask(*args, **kw)
            got = self.answers(90, 1)
        except OSError:
            got = []
        return got[0][1:] if got else ("closed", "")


def homes(*uids):
    for uid in uids:
        os.mkdir(f"{base}/{uid}")
        os.chown(f"{base}/{uid}", uid, uid)


def configure(users, more=""):
    with open(f"{base}/users", "w") as f:
        f.write(users)
    with open(f"{base}/mta.conf", "w") as f:
        f.write("[mta]\nrole = home\nhostname = h.example\nedge = e\nuser = nobody\n"
                f"[deliver]\ndomains = d.example\nusers = {base}/users\nsystem-users = no\n{more}")


def start(**env):
    if os.path.exists(f"{base}/sock"):
        os.unlink(f"{base}/sock")
    log = open(f"{base}/log", "ab")
    before = len(log_lines())
    server = subprocess.Popen([sys.argv[1], "-c", f"{base}/mta.conf", "--listen", f"{base}/sock"], stderr=log,
                              env={"FAKE_HOMES": base, "ASAN_OPTIONS": "detect_leaks=0", **env})
    wait_for("the server is ready", lambda: server.poll() is not None
             or any('msg="ready"' in line for line in log_lines()[before:]))
    return server


def log_lines():
    with open(f"{base}/log", errors="replace") as f:
        return f.readlines()


def new(uid, folder="Maildir"):
    try:
        return sorted(os.listdir(f"{base}/{uid}/{folder}/new"))
    except FileNotFoundError:
        return []


def status(pid):
    with open(f"/proc/{pid}/status") as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


def processes(uid, parent=None):
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            st = status(pid)
        except OSError:
            continue
        if (parent is None or st["PPid"] == str(parent)) and st["Uid"].split()[0] == str(uid) and st["State"][0] != "Z":
            found.append(pid)
    return found


def end(server):
    if server and server.poll() is None:
        server.send_signal(signal.SIGTERM)
        server.wait(60)


def finish():
    trouble = [line for line in log_lines() if "AddressSanitizer" in line or "runtime error" in line]
    check("no sanitizer spoke", not trouble, trouble[:3])
    if bad:
        sys.stdout.write("".join(log_lines()[-40:]))
    shutil.rmtree(base)
    sys.exit(bad != 0)
