# SPDX-License-Identifier: GPL-3.0-or-later
"""What `meson install` puts where, whole and with either half left out.

usage: install.py SOURCE BUILD. BUILD is installed below a folder of its own; for the halves meson only plans.
"""
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile

source, build = sys.argv[1:3]
failed = 0

COMMON = ["bin/postern", "lib/sysusers.d/postern.conf", "lib/tmpfiles.d/postern.conf", "share/doc/postern/README.md",
          "share/doc/postern/copyright", "share/man/man8/postern.8"]
DAEMON = ["sbin/posternd", "sbin/posternd-child", "lib/systemd/system/posternd.service", "lib/systemd/system/posternd-leak-guard.service",
          "lib/systemd/network/05-postern.network", "lib/systemd/networkd.conf.d/50-postern.conf",
          "lib/NetworkManager/conf.d/90-postern.conf", "lib/NetworkManager/dispatcher.d/90-postern-leak-guard",
          "share/doc/postern/examples/home-by-port.conf",
          "share/doc/postern/examples/home.conf",
          "share/doc/postern/examples/vps.conf", "share/man/man5/postern.conf.5", "share/man/man8/posternd.8"]
MTA = ["sbin/postern-mta", "sbin/postern-deliver", "sbin/postern-sendmail", "lib/systemd/system/postern-deliver.service",
       "lib/systemd/system/postern-deliver.socket", "lib/systemd/system/postern-mta.service",
       "share/doc/postern/examples/mta-edge.conf", "share/doc/postern/examples/mta-home.conf",
       "share/doc/postern/examples/mta-rules.conf", "share/doc/postern/examples/mta-three-router.conf",
       "share/doc/postern/examples/mta-three-vps.conf", "share/doc/postern/examples/mta-three-workstation.conf",
       "share/doc/postern/examples/tables/aliases", "share/doc/postern/examples/tables/banned",
       "share/doc/postern/examples/tables/valid_users",
       "share/man/man5/mta.conf.5", "share/man/man5/postern-queue.5", "share/man/man8/postern-deliver.8", "share/man/man8/postern-mta.8",
       "share/man/man8/postern-sendmail.8"]


def check(what, ok, seen=""):
    global failed
    print(("ok   " if ok else "FAIL ") + what + ("" if ok else f": {seen}"))
    failed += not ok


def run(*argv):
    p = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if p.returncode:
        print(p.stdout)
        sys.exit(f"{' '.join(argv)}: exit {p.returncode}")
    return p.stdout


def same(what, got, want):
    check(what, got == set(want), f"missing {sorted(set(want) - got)}, unexpected {sorted(got - set(want))}")


def installed(tmp):
    """Install what was built; the paths below the prefix."""
    to = os.path.join(tmp, "dest")
    run(meson, "install", "-C", build, "--no-rebuild", "--destdir", to)
    options = {o["name"]: o["value"] for o in json.loads(run(meson, "introspect", build, "--buildoptions"))}
    prefix = to + options["prefix"]
    files = [os.path.join(d, f) for d, _, names in os.walk(to) for f in names]
    check("nothing lies outside of the prefix", all(f.startswith(prefix + "/") for f in files), files)
    want = COMMON + (DAEMON if options["daemon"] != "disabled" else []) + (MTA if options["mta"] != "disabled" else [])
    same("everything is installed, nothing else", {os.path.relpath(f, prefix) for f in files}, want)
    for f in files:
        mode = stat.S_IMODE(os.stat(f).st_mode)
        program = "/bin/" in f or "/sbin/" in f or "/dispatcher.d/" in f
        check(f"{os.path.relpath(f, prefix)} has the right mode", mode == (0o755 if program else 0o644), oct(mode))
        if f.endswith(".service"):
            with open(f) as h:
                start = re.search(r"^ExecStart=(\S+)", h.read(), re.M)[1]
            check(f"{os.path.basename(f)} starts what is installed", os.access(to + start, os.X_OK), start)
    for name in ("postern", "posternd", "postern-mta", "postern-deliver"):
        path = [f for f in files if os.path.basename(f) == name]
        if path:
            out = run(path[0], "--version").split()
            check(f"{name} --version names it", out[:1] == [name] and len(out) == 2, out)


def planned(tmp, *options):
    """The same from meson's plan, for a build that is not made."""
    where = os.path.join(tmp, "plan" + "".join(options).replace("/", "_"))
    run(meson, "setup", where, source, "-Dprefix=/usr", "-Dtests=disabled", *options)
    plan = json.loads(run(meson, "introspect", where, "--install-plan"))
    out = set()
    for group in plan.values():
        for entry in group.values():
            d = entry["destination"]
            d = re.sub(r"\{(bin|sbin)dir\}", r"\1", d)
            d = d.replace("{datadir}", "share").replace("{mandir}", "share/man").replace("{prefix}/", "").replace("/usr/", "")
            out.add(d)
    return out


meson = shutil.which("meson")
if not meson:
    print("SKIP: no meson in PATH")
    sys.exit(77)
with tempfile.TemporaryDirectory(prefix="postern-install-") as tmp:
    installed(tmp)
    # Of a DESTDIR: what runs on this machine is none of ours.
    run(os.path.join(source, "packaging", "uninstall"), build, "--files-only")
    left = [os.path.join(d, f) for d, _, names in os.walk(os.path.join(tmp, "dest")) for f in names]
    check("packaging/uninstall takes every file away", not left, left)
    same("-Dmta=disabled leaves out the mail server alone", planned(tmp, "-Dmta=disabled"), COMMON + DAEMON)
    same("-Ddaemon=disabled leaves out the tunnel alone", planned(tmp, "-Ddaemon=disabled"), COMMON + MTA)
    same("-Dsystemd=disabled leaves out what systemd reads", planned(tmp, "-Dsystemd=disabled"),
         [f for f in COMMON + DAEMON + MTA if not f.startswith("lib/")])
sys.exit(1 if failed else 0)
