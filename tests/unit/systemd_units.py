# SPDX-License-Identifier: GPL-3.0-or-later
"""The systemd units: systemd takes them, and they agree with the code about users and capabilities."""
import configparser
import fnmatch
import os
import re
import shutil
import subprocess
import sys
import tempfile

top = sys.argv[1]
units = os.path.join(top, "packaging", "systemd")
failed = 0


def check(what, ok, seen=""):
    global failed
    print(("ok   " if ok else "FAIL ") + what + ("" if ok else f": {seen}"))
    failed += not ok


def text(*path):
    with open(os.path.join(top, *path)) as f:
        return f.read()


def setting(unit, key):
    return re.findall(rf"^{key}=(.*)$", text("packaging", "systemd", unit), re.M)


parent = set(re.findall(r"CAP\((\w+)\)", re.search(r"#define PARENT_CAPS(.*?)\n\n", text("daemon", "proc", "roles.c"), re.S)[1]))
unit = {c.removeprefix("CAP_") for c in setting("posternd.service", "CapabilityBoundingSet")[0].split()}
early = {c.removeprefix("CAP_") for c in setting("posternd-leak-guard.service", "CapabilityBoundingSet")[0].split()}
check("posternd-leak-guard.service too", parent == early, (parent ^ early))
check("the leak guard stands before any network, and is not taken down with its unit",
      "network-pre.target" in setting("posternd-leak-guard.service", "Before")[0] and not setting("posternd-leak-guard.service", "ExecStop"))
check("posternd.service grants what the parent keeps, no more", parent == unit, (parent ^ unit))
users = set(re.findall(r"^u\s+(\S+)", text("packaging", "systemd", "postern.sysusers"), re.M))
groups = set(re.findall(r"^g\s+(\S+)", text("packaging", "systemd", "postern.sysusers"), re.M))
defaults = set(re.findall(r'\.dflt = "(postern[\w-]*)"', text("daemon", "config_schema.c"))) - {"postern0"}
check("every default user of posternd is in sysusers.d", defaults <= users | groups, defaults - users - groups)
mta = set(re.findall(r'dflt = "(postern-[\w-]+)"', text("mta", "config_schema.c")))
check("every default user of postern-mta too", mta <= users | groups, mta - users - groups)
check("deliver.sock is for the MTA's user alone", setting("postern-deliver.socket", "SocketGroup")[0] in users)
for name in sorted(os.listdir(units)):
    if name.endswith(".service"):
        check(f"{name}: no new privileges", setting(name, "NoNewPrivileges") == ["yes"])

# ---- who else might take the tunnel device for its own
def ini(*path):
    c = configparser.ConfigParser(strict=True, delimiters=("=",), comment_prefixes=("#",))
    c.optionxform = str
    c.read_string(text("packaging", *path))
    return c


tun = re.search(r'\.name = "tun".*?\.dflt = "(\w+)"', text("daemon", "config_schema.c"), re.S)[1]
nm = ini("networkmanager", "90-postern.conf")
check("NetworkManager leaves it alone, by a section of its own", nm.sections() == ["device-postern"] and nm["device-postern"]["managed"] == "0"
      and fnmatch.fnmatch(tun, nm["device-postern"]["match-device"].removeprefix("interface-name:")), nm.sections())
networkd = ini("systemd", "network", "05-postern.network")
check("systemd-networkd too", networkd["Link"]["Unmanaged"] == "yes" and fnmatch.fnmatch(tun, networkd["Match"]["Name"]))
foreign = ini("systemd", "network", "networkd.conf")["Network"]
check("and routes and rules that it did not make", dict(foreign) == {"ManageForeignRoutes": "no", "ManageForeignRoutingPolicyRules": "no"})
openwrt = [("packaging", "openwrt", "files", n) for n in ("posternd.init", "postern-leak-guard.init", "postern.hotplug", "postern.defaults")]
starts = {n: int(re.search(r"^START=(\d+)", text("packaging", "openwrt", "files", n), re.M)[1]) for n in ("posternd.init", "postern-leak-guard.init")}
check("OpenWrt: the guard stands before the network (20), the tunnel comes behind it", starts["postern-leak-guard.init"] < 19 < 20 < starts["posternd.init"], starts)
made = set(re.search(r"for name in (postern .*); do", text("packaging", "openwrt", "files", "postern.defaults"))[1].split())
check("OpenWrt: every default user and group of posternd is made", defaults <= made, defaults - made)
listed = set(re.findall(r"\./files/(\S+)", text("packaging", "openwrt", "Makefile")))
there = set(os.listdir(os.path.join(top, "packaging", "openwrt", "files")))
check("OpenWrt: the package has every file", listed == there, listed ^ there)
for script in [("packaging", "networkmanager", "90-postern-leak-guard"), ("packaging", "after-install"), ("packaging", "uninstall"), *openwrt]:
    r = subprocess.run(["sh", "-n", os.path.join(top, *script)], capture_output=True, text=True)
    check(f"{script[-1]} is a script", r.returncode == 0, r.stderr)

if not shutil.which("systemd-analyze"):
    print("note: no systemd-analyze here, the units are not verified")
else:
    with tempfile.TemporaryDirectory(prefix="postern-units-") as d:
        names = [n for n in sorted(os.listdir(units)) if n.endswith((".service", ".socket"))]
        for n in names:
            with open(os.path.join(d, n), "w") as f:
                # Binaries and manual pages are not installed where this runs.
                f.write(re.sub(r"^Documentation=.*\n", "", re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", text(
                    "packaging", "systemd", n), flags=re.M), flags=re.M))
        r = subprocess.run(["systemd-analyze", "verify", "--man=no"] + [os.path.join(d, n) for n in names],
                           capture_output=True, text=True, env={**os.environ, "SYSTEMD_UNIT_PATH": d + ":"})
        # Only what it says of our files: a machine's other units are not our concern.
        said = [line for line in (r.stderr + r.stdout).splitlines() if "postern" in line]
        check("systemd takes the units", not said, said)
        r = subprocess.run(["systemd-analyze", "security", "--offline=true", "--threshold=45"] + [
            os.path.join(d, n) for n in names if n.endswith(".service")], capture_output=True, text=True)
        for line in r.stdout.splitlines():
            if "Overall exposure" in line:
                print("note:", line.strip())
sys.exit(1 if failed else 0)
