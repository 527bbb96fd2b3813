# SPDX-License-Identifier: GPL-3.0-or-later
"""tests/cases: what it says of logs that lack a case, or in which one failed, crashed or was skipped."""
import json
import os
import re
import subprocess
import sys
import tempfile
import time

top = sys.argv[1]
failed = 0


def check(what, ok, seen=""):
    global failed
    print(("ok   " if ok else "FAIL ") + what + ("" if ok else f": {seen}"))
    failed += not ok


def cases(build, *args):
    r = subprocess.run([sys.executable, os.path.join(top, "tests", "cases"), "--build", build, *args],
                       capture_output=True, text=True)
    return r.returncode, r.stdout + r.stderr


def log(build, name, *lines, age_s=0):
    path = os.path.join(build, "meson-logs", name)
    with open(path, "w") as f:
        f.write(json.dumps({"name": "x", "result": "OK", "stdout": "\n".join(lines) + "\n"}) + "\n")
    then = time.time() - age_s
    os.utime(path, (then, then))


with tempfile.TemporaryDirectory() as build:
    check("a build folder without logs is told", cases(build)[0] == 1 and "no such folder" in cases(build)[1])
    os.mkdir(os.path.join(build, "meson-logs"))
    code, text = cases(build, "1-121")
    check("nothing was run: fails", code == 1, text)
    check("and nothing is called ok", not re.search(r"^ +ok ", text, re.M), text)
    names = sorted(re.findall(r"not run +(ike_case_\w+)", text))
    if names:  # the first test that the tree has for a case, and the case's others
        number = names[0][9:12]
        same = [n for n in names if n[9:12] == number]
        ok = [f"[       OK ] {n}" for n in same]

        def verdict():
            return cases(build, str(int(number)))

        log(build, "testlog.json", *ok)
        check("ok is ok", verdict()[0] == 0, verdict())
        for word, line in (("FAILED", "[  FAILED  ] "), ("crashed", "[ RUN      ] "), ("skipped", "[  SKIPPED ] ")):
            log(build, "testlog.json", *ok[1:], line + same[0])
            check(f"{word} is not", verdict()[0] == 1 and word in verdict()[1], verdict())
        log(build, "testlog.json", "[  FAILED  ] " + same[0], *ok)
        check("of several checks under one name the worst counts", verdict()[0] == 1, verdict())
        log(build, "testlog-1.json", *ok, age_s=-10)
        check("a newer log decides", verdict()[0] == 0, verdict())
        log(build, "testlog-1.json", *ok, age_s=3600)
        check("an older one does not", verdict()[0] == 1, verdict())
    check("a number that no case has is told", "no case 999" in cases(build, "999")[1], cases(build, "999"))
    check("so is what is no number", "expected NUMBER" in cases(build, "x")[1], cases(build, "x"))
sys.exit(1 if failed else 0)
