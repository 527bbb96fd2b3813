# SPDX-License-Identifier: GPL-3.0-or-later
"""Mail servers beside each other on one disk: what they accept and deliver, how soon, what it costs.

Each relays all that it gets to one sink; clients, server and sink are in one network namespace, queues on the disk of
/var/tmp. Each round goes through all systems; before each measurement comes a short one that does not count. Rates are
those of letters that got their 250, and of those whose dot came to the sink, from the start to the last one. A server
that has not delivered all when its time is over begins the next measurement with an empty queue.
"""
import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "netns"))
import testlib  # noqa: E402

SIZES = {"4k": 4096, "100k": 100000, "10m": 10000000}
WAYS = {"plain": ("plain, a session for each letter", ["--renew"]), "kept": ("plain, sessions kept", []),
        "tls": ("STARTTLS, a session for each letter", ["--tls", "--renew"]), "tls-kept": ("STARTTLS, sessions kept", ["--tls"])}

parser = argparse.ArgumentParser(prog="bench/run mail")
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--seconds", type=float, default=2, help="in which letters are begun, of each measurement")
parser.add_argument("--drain", type=float, default=4, help="seconds after that, in which they may still arrive")
parser.add_argument("--systems", default="postern,postfix,opensmtpd")
parser.add_argument("--sessions", default="1,10,50,500")
parser.add_argument("--sizes", default="4k,100k,10m")
parser.add_argument("--ways", default="plain,kept,tls,tls-kept")
parser.add_argument("--only", default="load,sync,queue", help="of load (rates, times, memory), sync, queue")
parser.add_argument("--letters", type=int, default=100000, help="in the queue of --only queue")
parser.add_argument("--quick", action="store_true", help="one round, 4k, 1 and 50 sessions, a queue of 10000")
parser.add_argument("--append", action="store_true", help="to the results of this commit that there are")
args = parser.parse_args()
if args.quick:
    args.rounds, args.seconds, args.sessions, args.sizes, args.letters = 1, 1, "1,50", "4k", 10000
lab, _ = testlib.start(topology=False)
import mailers  # noqa: E402
import usage  # noqa: E402

LOAD = os.path.join(testlib.BUILD, "bench/smtp_load")
m = lab.machine("mail")
runs = 0


def listed(text, known, what):
    words = text.split(",")
    for w in words:
        if known and w not in known:
            sys.exit(f"bench/run: there is no {what} {w}; there are {', '.join(known)}")
    return words


def load(s, sessions, size, *more, timeout=170, during=None):
    """What smtp_load tells; @during is called once, in the middle of the time."""
    global runs
    runs += 1
    to = ["--to", f"127.0.0.1:{s.port}", "--sessions", sessions] if sessions else []
    watch = threading.Timer(args.seconds * 0.7, during) if during else None
    if watch:
        watch.start()
    out = m.run([LOAD, *to, "--bytes", size, "--run", runs, *more], timeout=timeout).stdout
    if watch:
        watch.join()
    return json.loads(out)


def to_sink(drain):
    return ["--sink", "%s:%d" % mailers.SINK, "--drain", drain]


def overflows():
    lines = [line.split() for line in m.read("/proc/net/netstat").splitlines() if line.startswith("TcpExt:")]
    return int(dict(zip(*lines))["ListenOverflows"])


def afresh(s):
    s.stop()
    s.empty()
    s.start()


# ---- rates, times, memory ----


def one(s, way, size, sessions):
    more = WAYS[way][1]
    found = {}

    def memory():
        found["pss"] = usage.pss(s.pids()) / 1024
    if size != "10m":
        load(s, sessions, SIZES[size], *more, "--seconds", 0.4, *to_sink(1))
    before = overflows()
    r = load(s, sessions, SIZES[size], *more, "--seconds", args.seconds, *to_sink(args.drain), during=memory)
    found["overflows"] = overflows() - before
    if r["delivered"] < r["accepted"]:
        afresh(s)
    return dict(r, **found)


def measure(name, s, rows):
    s.empty()
    s.start()
    time.sleep(1)
    rows.setdefault(("idle", name), []).append(usage.pss(s.pids()) / 1024)
    try:
        for way in listed(args.ways, WAYS, "way"):
            for size in listed(args.sizes, SIZES, "size"):
                for sessions in args.sessions.split(","):
                    r = one(s, way, size, sessions)
                    rows.setdefault((way, size, sessions, name), []).append(r)
                    print(f"{name}, {way}, {size}, {sessions}: {r}", flush=True)
    finally:
        s.stop()


def spread(values, digits=0):
    """median (least-most)"""
    v = [x for x in values if x is not None]
    if not v:
        return "-"
    text = f"{statistics.median(v):.{digits}f}"
    return text + (f" ({min(v):.{digits}f}-{max(v):.{digits}f})" if len(v) > 1 else "")


def both(found, key, digits=1):
    """50 % / 99 %, medians of the rounds."""
    v = [[r[f"{key}_p{p}"] for r in found if f"{key}_p{p}" in r] for p in (50, 99)]
    return " / ".join(f"{statistics.median(x):.{digits}f}" for x in v) if v[0] else "-"


def load_table(rows, names):
    lines = ["PSS of all processes when nothing happens, MB: " +
             ", ".join(f"{mailers.ALL[n].name} {spread(rows.get(('idle', n), []), 1)}" for n in names), ""]
    for way in args.ways.split(","):
        lines += [f"### {WAYS[way][0]}", "",
                  "| letters | sessions | | accepted/s | delivered/s | dot to 250, ms, 50 / 99 % | dot to delivered, ms | PSS, MB | "
                  "overflows | broken |", "|---" * 10 + "|"]
        for size in args.sizes.split(","):
            for sessions in args.sessions.split(","):
                for n in names:
                    found = rows.get((way, size, sessions, n), [])
                    digits = 1 if size == "10m" else 0
                    total = {k: sum(r[k] for r in found) for k in ("overflows", "faults", "stuck", "twice", "cut")}
                    broken = total["faults"] and str(total["faults"]) or "0"
                    broken += "".join(f", {total[k]} {k}" for k in ("stuck", "twice", "cut") if total[k])
                    lines.append(f"| {size} | {sessions} | {mailers.ALL[n].name} | " + " | ".join([
                        spread([r["accepted_s"] for r in found], digits), spread([r["delivered_s"] for r in found], digits),
                        both(found, "ok", 2), both(found, "delivered"), spread([r.get("pss") for r in found], 1),
                        str(total["overflows"]), broken]) + " |")
        lines.append("")
    return lines


# ---- what is made durable ----


def syncs(s, sessions):
    """Calls for each letter, as strace counts them in a server of its own."""
    trace = "/var/lib/trace"
    s.empty()
    s.start(trace)
    r = load(s, sessions, SIZES["4k"], "--seconds", 2, *to_sink(4))
    s.stop()
    count = sum(int(line.split()[3]) for line in m.read(trace).splitlines()
                if re.search(r" (fsync|fdatasync|sync_file_range|syncfs)$", line))
    return count / max(r["accepted"], 1)


def sync_table(names, made):
    lines = ["fsync, fdatasync, sync_file_range and syncfs for each letter of 4 KB, from its 250 to its end in the queue; sessions kept:", "",
             "| sessions | " + " | ".join(mailers.ALL[n].name for n in names) + " |", "|---" * (1 + len(names)) + "|"]
    for sessions in ("1", "10", "50"):
        lines.append(f"| {sessions} | " + " | ".join(f"{syncs(made[n], sessions):.2f}" for n in names) + " |")
        print(lines[-1], flush=True)
    return lines + [""]


# ---- a long queue ----


def long_queue(s):
    """Filled while the sink is away, then a new start, then the sink comes back."""
    s.empty()
    s.start()
    filled = load(s, 50, SIZES["4k"], "--letters", args.letters, "--seconds", 100)
    have = filled["accepted"]
    r = {"letters": have, "fill": filled["accepted_s"]}
    s.stop()
    r["start"] = s.start()
    time.sleep(1)
    r["pss"] = usage.pss(s.pids()) / 1024
    again = threading.Timer(0.3, s.flush)
    again.start()
    # Numbered as they were filled: the sink waits for that run.
    out = m.run([LOAD, "--run", runs, "--letters", max(have, 1), *to_sink(25)], timeout=60).stdout
    again.join()
    out = json.loads(out)
    r["flush"], r["flushed"], r["twice"] = out["delivered_s"], out["delivered"], out["twice"]
    s.stop()
    return r


def queue_table(names, made):
    lines = ["A queue of 4 KB letters, filled by 50 sessions while the next hop is away; then a new start, and the next hop comes back:",
             "", "| | letters | taken/s | start to greeting, s | PSS, MB | emptied, letters/s | of them in 25 s | twice |", "|---" * 8 + "|"]
    for n in names:
        r = long_queue(made[n])
        lines.append(f"| {made[n].name} | {r['letters']} | {r['fill']:.0f} | {r['start']:.2f} | {r['pss']:.1f} | {r['flush']:.0f} | "
                     f"{r['flushed']} | {r['twice']} |")
        print(lines[-1], flush=True)
    return lines + [""]


# ---- all of it ----


def write(lines):
    where = os.environ.get("POSTERN_BENCH_OUT")
    if where:
        with open(where, "a" if args.append else "w") as f:
            f.write("\n".join(lines) + "\n")


def main():
    names = listed(args.systems, mailers.ALL, "system")
    made = {n: mailers.ALL[n](m) for n in names}
    head = [] if args.append else ["# Mail", ""]
    head += [f"machine: {os.cpu_count()} cores, {platform.machine()}, Linux {platform.release()}; commit {os.environ.get('POSTERN_COMMIT')}",
             f"command: bench/run mail {' '.join(sys.argv[1:])}", ""] + [f"- {made[n].what}" for n in names] + [""]
    done, rows = [], {}
    if "load" in args.only.split(","):
        for r in range(args.rounds):
            for n in names:
                try:
                    measure(n, made[n], rows)
                except (testlib.Failed, subprocess.SubprocessError) as e:
                    print(f"round {r + 1}, {n}: {e}", file=sys.stderr)
                    testlib.show_logs(5)
        done += load_table(rows, names)
    if "sync" in args.only.split(","):
        done += sync_table(names, made)
    if "queue" in args.only.split(","):
        done += queue_table(names, made)
    print("\n".join(head + done))
    write(head + done)
    testlib.done()


main()
