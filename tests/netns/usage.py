# SPDX-License-Identifier: GPL-3.0-or-later
"""What processes use: seconds of CPU, memory. One that has ended meanwhile counts nothing."""
import os
import re

HZ = os.sysconf("SC_CLK_TCK")


def _each(pids, name):
    for pid in pids:
        try:
            with open(f"/proc/{pid}/{name}") as f:
                yield pid, f.read()
        except OSError:
            pass


def cpu(pids):
    """Seconds, the kernel's in their time included."""
    return sum(int(x) for _, text in _each(pids, "stat") for x in text.rpartition(")")[2].split()[11:13]) / HZ


def pss_each(pids):
    """KiB by process id."""
    return {pid: int(re.search(r"^Pss:\s+(\d+)", text, re.M)[1]) for pid, text in _each(pids, "smaps_rollup") if text}


def pss(pids):
    return sum(pss_each(pids).values())


def descriptors(pids):
    out = 0
    for pid in pids:
        try:
            out += len(os.listdir(f"/proc/{pid}/fd"))
        except OSError:
            pass
    return out
