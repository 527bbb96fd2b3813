# SPDX-License-Identifier: GPL-3.0-or-later
"""What the namespace tests share: where binaries are, checks that count, exit 0 / 1 / 77."""
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lab as lablib  # noqa: E402
from lab import Failed, wait_for  # noqa: E402,F401

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("POSTERN_BUILD", os.path.join(TOP, "build"))
SCRATCH = os.environ.get("POSTERN_SCRATCH", os.path.join(TOP, "build-lab", "root"))
POSTERND = os.path.join(BUILD, "daemon", "posternd")
POSTERN = os.path.join(BUILD, "postern")
POSTERN_MTA = os.path.join(BUILD, "mta", "postern-mta")
POSTERN_DELIVER = os.path.join(BUILD, "mta", "postern-deliver")

_failed = 0
_what_failed = []
_lab = None


def skip(why):
    print("SKIP:", why)
    sys.exit(77)


def check(what, ok, seen=None):
    """One assertion with a sentence; a failure is told and counted, the test goes on. With POSTERN_SHOW in the
    environment what was seen is told also when it holds."""
    global _failed
    print(("ok   " if ok else "FAIL ") + what + ("" if seen is None or (ok and not os.environ.get("POSTERN_SHOW")) else f": saw {seen!r}"), flush=True)
    if not ok:
        _failed += 1
        _what_failed.append(what + ("" if seen is None else f": saw {seen!r}"))
    return ok


def case(name, ok, seen=None):
    """As check(), for a case of tests/cases; @name is ike_case_NNN_words or mail_case_NNN_words and is told as cmocka would."""
    assert re.fullmatch(r"(ike|mail)_case_\d{3}_\w+", name), name
    check(name, ok, seen)
    print(f"[       OK ] {name}" if ok else f"[  FAILED  ] {name}", flush=True)
    return ok


def require(what, ok, seen=None):
    """As check(), but the test ends here when it does not hold."""
    if not check(what, ok, seen):
        done()


def best(measure, good, times=3):
    """What @measure gives: the first that is @good, or the last of so many. For bounds that a machine which stands still
    for a moment can only spoil; a fault spoils all of them."""
    for turn in range(times):
        seen = measure()
        if good(seen):
            break
        if turn < times - 1:
            print(f"     not so good, and measured again: {seen!r}", flush=True)
    return seen


def answered(m, to, *args, wait=5, tries=5):
    """Does a ping from @m to @to come back, of so many one after the other? Where it is to pass now: one alone may meet a full
    queue, an address that is just being resolved, a path that has just changed."""
    return any(m.run(["ping", "-c1", f"-W{wait}", *args, to], check=False).returncode == 0 for _ in range(tries))


def silence(log, step):
    """The longest silence in what a ping that sends each @step seconds has written, by what was lost in a row: in the
    time of the sender, which goes slower where all does. None: it has no two answers."""
    with open(log) as f:
        got = [int(n) for n in re.findall(r"bytes from .*icmp_seq=(\d+)", f.read())]
    return max(b - a - 1 for a, b in zip(got, got[1:])) * step if len(got) > 1 else None


def listening(m, port):
    """Wait until somebody listens at that TCP port of @m."""
    wait_for(f"port {port} is listened at", lambda: re.search(rf":{port} ", m.run(["ss", "-ltnH"]).stdout))


def need_scratch():
    if not os.path.isdir(SCRATCH):
        skip(f"no foreign servers in {SCRATCH}: tests/netns/fetch makes them")


def start(hosts=(), topology=True, wire=False):
    """Enter the namespaces and build the cast of lab.Internet; gives (lab, internet)."""
    global _lab
    lablib.enter()
    sys.excepthook = _on_exception
    _lab = lablib.Lab(os.environ[lablib.WORKDIR], SCRATCH if os.path.isdir(SCRATCH) else None)
    return _lab, (lablib.Internet(_lab, hosts, wire) if topology else None)


def _on_exception(kind, value, trace):
    """A surprise ends the test as a failure, with the logs that explain it."""
    global _failed
    import traceback
    traceback.print_exception(kind, value, trace, file=sys.stdout)
    _failed += 1
    _what_failed.append("".join(traceback.format_exception(kind, value, trace)[-3:]).strip())
    done()


def show_logs(lines=40):
    for name in sorted(os.listdir(_lab.logs)):
        path = os.path.join(_lab.logs, name)
        with open(path, errors="replace") as f:
            text = f.readlines()
        if text:
            print(f"--- {name} (last {min(lines, len(text))} of {len(text)} lines)")
            print("".join(text[-lines:]))


def sanitizer_reports():
    """Lines of the logs in which a sanitizer speaks; none is what a test wants."""
    out = []
    for name in sorted(os.listdir(_lab.logs)):
        with open(os.path.join(_lab.logs, name), errors="replace") as f:
            out += [f"{name}: {line.strip()}" for line in f
                    if "ERROR: AddressSanitizer" in line or "runtime error:" in line
                    or "ERROR: LeakSanitizer" in line]
    return out


def done():
    global _failed
    if _lab:
        reports = sanitizer_reports()
        check("no sanitizer has anything to say", not reports, reports[:5])
        if _failed:
            show_logs()
            # Said again at the end: a runner that shows only the last lines of a long log must show these.
            print("".join(f"FAILED: {what[:2000]}\n" for what in _what_failed), end="")
        keep = os.environ.get("POSTERN_KEEP_LOGS")
        if keep:
            _lab.save_logs(keep)
        _lab.close()
    sys.stdout.flush()
    os._exit(1 if _failed else 0)
