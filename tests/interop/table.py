# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of doc/interop.md from what matrix.py left: table.py RESULTS..., to standard output."""
import json
import os
import platform
import subprocess
import sys
import time

ROLES = {"start": "we call", "wait": "it calls"}
HEAD = """# Interoperation

What was run against foreign IKEv2 peers, and what came of it. `sudo tests/interop/run` makes this page; `tests/run` runs
some of its rows each time.

Both ends are whole machines in network namespaces with a carrier's NAT between them (home behind it, the VPS not).
strongSwan is Debian's with the kernel-libipsec plugin, so that data passes in user space on both ends. In "we call"
posternd is at home and strongSwan on the VPS, in "it calls" the other way round. strongSwan offers and takes only what the
row names; Postern has its defaults where the row does not say otherwise. Unless the row is about something else, it is ok
when the tunnel comes up with what strongSwan was told to take, IPv4 and IPv6 answer in both directions, TCP carries
random bytes both ways unaltered, each side rekeys the CHILD SA and the IKE SA with data after each, and both ends
agree on one IKE SA and one CHILD SA.

OpenIKED needs a kernel with PF_KEY and ESP. Where there is none it is told that all was installed
(`tests/interop/no_pfkey.c`): IKE is met whole, but no data passes.

MOBIKE (RFC 4555) with strongSwan in both roles, between two lines at home of which one is behind a NAT, under an inner TCP
connection: `tests/netns/mobike.py`. Redirects (RFC 5685) in both roles: `tests/netns/swan_redirect.py`. Either side killed and
started again under traffic, in both roles: `tests/netns/swan_restart.py`. A restarted strongSwan says nothing to what it
does not know, neither IKE nor ESP: it is called anew after 15 s without an answer.

Not run: libreswan, whose data path needs the kernel's ESP; extended sequence numbers, which strongSwan's libipsec does not
have (between Posterns they are the default); ML-KEM, which Postern does not have.

| | |
|---|---|
"""


def facts(rows):
    def said(*argv):
        return subprocess.run(argv, capture_output=True, text=True).stdout.strip()
    yield "Peers", ", ".join(sorted({f"{r['peer']} {r['version']}" for r in rows}))
    yield "Postern", f"{said(os.path.join(os.environ['POSTERN_BUILD'], 'postern'), '--version').split()[-1]}, on {time.strftime('%Y-%m-%d')}"
    yield "Kernel, OpenSSL", f"Linux {platform.release().split('-')[0]}, {' '.join(said('openssl', 'version').split()[:2])}"
    yield "Command", "`sudo tests/interop/run`; one row: `sudo python3 tests/interop/matrix.py start\\|wait [--release NAME] WORD`"


def main(paths):
    rows = []
    for path in paths:
        with open(path) as f:
            rows += [json.loads(line) for line in f]
    columns = sorted({(r["peer"], r["version"], r["role"]) for r in rows})
    cells, notes, groups = {}, [], []
    for r in rows:
        key = r["group"], r["name"]
        if key not in cells:
            cells[key] = {}
            # A row that one role alone has stands with its group.
            if r["group"] not in groups:
                groups.append(r["group"])
        text = "ok"
        if r["wrong"] or r["why_not"]:
            note = r["wrong"] or r["why_not"]
            if note not in notes:
                notes.append(note)
            text = ("**fails**" if r["wrong"] else "no") + f" [{notes.index(note) + 1}]"
        cells[key][r["peer"], r["version"], r["role"]] = text
    print(HEAD + "\n".join(f"| {a} | {b} |" for a, b in facts(rows)))
    count = sum(t == "ok" for c in cells.values() for t in c.values())
    print(f"\n{count} of {sum(len(c) for c in cells.values())} are ok; empty: the row makes no sense in that role.")
    for group in groups:
        print(f"\n## {group[0].upper() + group[1:]}\n")
        mine = [k for k in columns if any(k in c for (g, _), c in cells.items() if g == group)]
        print("| | " + " | ".join(f"{v}, {ROLES[role]}" for _, v, role in mine) + " |")
        print("|---|" + "---|" * len(mine))
        for (g, name), c in cells.items():
            if g == group:
                print(f"| {name} | " + " | ".join(c.get(k, "") for k in mine) + " |")
    if notes:
        print("\n## Notes\n")
        for i, note in enumerate(notes):
            print(f"{i + 1}. {note}")


main(sys.argv[1:])
