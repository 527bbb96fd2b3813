# SPDX-License-Identifier: GPL-3.0-or-later
"""README.md, word for word: its first tunnel and its first letter, on the vps and at home.

The ini blocks become the files that their first line names, and the commands of the sh blocks of these two
sections are run on the machine that the comment behind them names: what the README says is what works.
"""
import os
import re
import sys

import testlib
from testlib import TOP, check, require, wait_for

lab, net = testlib.start()
import cast  # noqa: E402

with open(os.path.join(TOP, "README.md")) as f:
    README = f.read()
MACHINES = {"home": net.home, "VPS": net.vps}
BINARIES = {os.path.basename(p): p for p in (testlib.POSTERND, testlib.POSTERN, testlib.POSTERN_MTA, testlib.POSTERN_DELIVER)}
PATH = ":".join(sorted({os.path.dirname(p) for p in BINARIES.values()})) + ":" + os.environ["PATH"]
vps, home = cast.Side(net.vps, "vps"), cast.Side(net.home, "home")


def section(title):
    return re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## )", README, re.M | re.S)[1]


def blocks(text, kind):
    return re.findall(rf"^```{kind}\n(.*?)^```", text, re.M | re.S)


def files(text):
    """[(machine, path, contents)] of the ini blocks."""
    out = []
    for block in blocks(text, "ini"):
        m = re.match(r"# (home|VPS): (/etc/postern/\S+)\n", block)
        require("each ini block says which file on which machine it is", m, block)
        out.append((m[1], m[2], block))
    return out


def commands(text):
    """[(machines, command)] of the sh blocks: a line is for whom its comment names, else for both."""
    out = []
    for line in "".join(blocks(text, "sh")).replace("\\\n", "").splitlines():
        command, _, comment = line.partition("   # ")
        names = [n for n in MACHINES if n in comment] or list(MACHINES)
        if command.strip():
            out.append((names, command.strip()))
    return out


def systemctl(name, units):
    """There is no systemd in the lab: what the unit starts is started."""
    for unit in units:
        service = unit.removesuffix(".socket").removesuffix(".service")
        with open(os.path.join(TOP, "packaging", "systemd", service + ".service")) as f:
            argv = re.search(r"^ExecStart=(.*)$", f.read(), re.M)[1].split()
        m = MACHINES[name]
        m.run(["mkdir", "-p", "/run/postern", "/var/lib/postern"])
        m.start([BINARIES[os.path.basename(argv[0])]] + argv[1:], log=service)


def run(name, command):
    m = MACHINES[name]
    for part in command.split(" && "):
        part = part.strip()
        if found := re.match(r"sudo systemctl enable --now (.*)$", part):
            systemctl(name, found[1].split())
            continue
        if re.match(r"sudo postern (mail )?status", part):  # right after the start: a moment
            wait_for(f"{part} on {name}", lambda: m.run(["sh", "-c", part.replace("sudo ", "")], check=False,
                                                        env={"PATH": PATH}).returncode == 0)
        typed = part.replace("sudo ", "").replace("openssl passwd -6", "openssl passwd -6 garden")  # it would ask a terminal
        p = m.run(["bash", "-o", "pipefail", "-c", "cd /tmp; " + typed], check=False, env={"PATH": PATH})
        check(f"{name}: {part}", p.returncode == 0, p.stdout)


# --- what meson install leaves: folders, as tmpfiles.d has them
for m in MACHINES.values():
    with open(os.path.join(TOP, "packaging", "systemd", "postern.tmpfiles")) as f:
        for _, path, mode in re.findall(r"^(d)\s+(\S+)\s+(\d+)\s", f.read(), re.M):
            m.run(["install", "-d", "-m", mode, path])
net.home.write("/etc/hosts", f"127.0.0.1 localhost home\n{net.VPS4} vps.example.net\n")

# --- the tunnel
text = section("Your first tunnel, in ten lines")
todo = [(names, c) for names, c in commands(text) if not re.search(r"meson|ninja|install-packages", c)]
tunnel_files = files(text)
check("the tunnel takes one file a side", sorted(x[:2] for x in tunnel_files) == [
    ("VPS", "/etc/postern/postern.conf"), ("home", "/etc/postern/postern.conf")], tunnel_files)
for _, path, block in tunnel_files:
    lines = [x for x in block.splitlines() if x.strip() and not x.startswith("#")]
    check(f"of {len(lines)} lines", len(lines) <= 10)
for names, c in [x for x in todo if "keygen" in x[1]]:
    for n in names:
        run(n, c)
check("keys are made on both", all("BEGIN" in MACHINES[a].read(f"/etc/postern/keys/{b}.pub") for a, b in (("VPS", "vps"), ("home", "home"))))
for a, b, key in (("VPS", "home", "vps"), ("home", "VPS", "home")):  # "only the .pub file travels"
    MACHINES[b].write(f"/etc/postern/keys/{key}.pub", MACHINES[a].read(f"/etc/postern/keys/{key}.pub"))
for name, path, block in tunnel_files:
    MACHINES[name].write(path, block)
for names, c in [x for x in todo if "keygen" not in x[1]]:
    for n in names:
        run(n, c)
wait_for("the tunnel is up on both sides", lambda: home.up("vps") and vps.up("home"))
check("a ping passes through it", net.home.run(["ping", "-c1", "-W20", "10.99.0.1"], check=False).returncode == 0)
check("and the other way, IPv6", net.vps.run(["ping", "-c1", "-W20", "fd99::2"], check=False).returncode == 0)
out = home.cli("status").stdout
print("\n".join("     " + line for line in out.splitlines()))
wide = [line for line in (out + vps.cli("status").stdout).splitlines() if len(line) > 80]
check("status fits into 80 columns", not wide, wide)

# --- the manual's network behind the home
with open(os.path.join(TOP, "daemon", "postern.conf.5")) as f:
    page = f.read()
example = re.search(r"^# VPS, in \[peer home\]\n(.*)\n# home, in \[peer vps\]\n(.*)\n# on both.*\npostern (.*)$", page, re.M)
for m, line in ((net.vps, example[1]), (net.home, example[2])):
    m.write("/etc/postern/postern.conf", m.read("/etc/postern/postern.conf").rstrip() + f"\n{line}\n")
for side in (vps, home):
    side.cli(*example[3].split())
check("postern.conf.5: the network behind the home is reached",
      wait_for("a ping into the LAN", lambda: net.vps.run(["ping", "-c1", "-W1", "-I", "10.99.0.1", "192.168.7.10"],
                                                          check=False).returncode == 0, 60, 0.5))

# --- the letter
text = section("Your first letter, in ten more")
net.home.run(["sh", "-c", "mkdir -p /home/alice && chown alice:alice /home/alice && chmod 700 /home/alice"])
todo = commands(text)
for name, path, block in files(text):
    net_m = MACHINES[name]
    net_m.write(path, block)
    check(f"{name}: a short file", len([x for x in block.splitlines() if x.strip() and not x.startswith("#")]) <= 10)
for names, c in todo:
    for n in names:
        run(n, c)
SEND = """
import smtplib, sys
with smtplib.SMTP(sys.argv[1], 25, timeout=60) as s:
    s.sendmail("friend@example.com", ["alice@example.net"], "From: friend@example.com\\r\\nSubject: first\\r\\n\\r\\nhello\\r\\n")
"""
cast.wait_greets(net.cgnat, net.VPS4)
net.cgnat.python(SEND, net.VPS4)  # any host of the internet will do
check("a letter from the internet lies in alice's Maildir", wait_for(
    "the letter", lambda: "first" in net.home.run(["sh", "-c", "cat /home/alice/Maildir/new/*"], check=False).stdout))
SUBMIT = """
import smtplib, ssl, sys
c = ssl.create_default_context(); c.check_hostname = False; c.verify_mode = ssl.CERT_NONE
with smtplib.SMTP("192.168.7.1", 587, timeout=60) as s:
    s.starttls(context=c)
    s.login("alice", "garden")
    s.sendmail("alice@example.net", ["friend@example.com"], "From: alice@example.net\\r\\nSubject: answer\\r\\n\\r\\nhello\\r\\n")
"""
p = net.lan.python(SUBMIT, check=False)
check("alice writes back from the LAN, with her password", p.returncode == 0, p.stdout)
check("her letter is on the VPS, on its way", wait_for(
    "the answer on the VPS", lambda: "friend@example.com" in vps.cli("mail", "queue").stdout))
testlib.done()
