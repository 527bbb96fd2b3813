# SPDX-License-Identifier: GPL-3.0-or-later
"""The manual pages say what is there and nothing else: every key, verb and option of the programs, both ways.

usage: manual.py SOURCE BUILD
"""
import os
import re
import shutil
import subprocess
import sys

source, build = sys.argv[1:3]
failed = 0
PAGES = ["daemon/posternd.8", "daemon/postern.8", "daemon/postern.conf.5", "mta/postern-mta.8", "mta/mta.conf.5",
         "mta/postern-deliver.8", "mta/postern-queue.5", "mta/sendmail/postern-sendmail.8"]
PROGRAMS = {"daemon/posternd.8": "daemon/posternd", "mta/postern-mta.8": "mta/postern-mta",
            "mta/postern-deliver.8": "mta/postern-deliver", "mta/sendmail/postern-sendmail.8": "mta/postern-sendmail"}


def check(what, ok, seen=""):
    global failed
    print(("ok   " if ok else "FAIL ") + what + ("" if ok else f": {seen}"))
    failed += not ok


def same(what, manual, code):
    check(what, set(manual) == set(code),
          f"not in the manual {sorted(set(code) - set(manual))}, not in the code {sorted(set(manual) - set(code))}")


def page(name):
    with open(os.path.join(source, name)) as f:
        return f.read()


def output(*argv):
    return subprocess.run([os.path.join(build, argv[0]), *argv[1:]], stdout=subprocess.PIPE, text=True, check=True).stdout


def sections(text):
    """.Sh title -> body"""
    parts = re.split(r"^\.Sh (.*)$", text, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2]))


def keys_of(text):
    """section -> keys, as `--keys` prints them"""
    out, now = {}, None
    for line in text.splitlines():
        if m := re.match(r"\[(\w+)", line):
            now = out.setdefault(m[1], [])
        elif m := re.match(r"  ([a-z0-9-]+)\s", line):
            now.append(m[1])
    return out


def manual_keys(text):
    return {m[1]: re.findall(r"^\.It Cm ([a-z0-9-]+) No =", body, re.M)
            for title, body in sections(text).items() if (m := re.match(r"SECTION \[(\w+)", title))}


def keys(name, printed):
    code, manual = keys_of(printed), manual_keys(page(name))
    same(f"{name} has the sections of the code", manual, code)
    for section in code:
        same(f"{name} [{section}]: its keys", manual.get(section, []), code[section])
        check(f"{name} [{section}]: each once", len(set(manual.get(section, []))) == len(manual.get(section, [])))


def verbs(printed):
    out = []
    for line in printed.splitlines():
        if m := re.match(r"  ((?:mail )?[a-z-]+)(?: |$)", line):
            out.append(m[1])
    return out


def options_of(text):
    """Options that a usage text names: -c, --listen"""
    return set(re.findall(r"(?<![\w-])(--?[a-z][a-z-]*)", text))


def manual_options(text):
    """.Fl c -> -c; .Fl -listen -> --listen; anywhere in the page"""
    return {"-" + o for o in re.findall(r"\bFl (-?[a-z][a-z-]*)", text)}


keys("daemon/postern.conf.5", output("postern", "check", "--keys"))
keys("mta/mta.conf.5", output("mta/postern-mta", "--keys"))

postern8 = page("daemon/postern.8")
listed = re.findall(r"^\.It Cm ((?:mail )?[a-z-]+)", postern8, re.M)
code = verbs(output("postern", "help"))
same("postern.8 has the verbs of the program", listed, code)
takes = set()
for v in code:
    first = output("postern", "help", *v.split()).split("\n\n")[0]
    takes |= options_of(first)
    words = set(re.findall(r"\b[A-Z]{2,}\b", first))
same("postern.8 has the options of the program",
     manual_options(postern8) - {"--help", "-h", "--version"}, takes | {"--run-dir", "--json"})
for name, program in PROGRAMS.items():
    short = {"-h", "--help", "--config", "--check", "--version"}  # spelled out in getopt alone, or common to all
    same(f"{name} has the options of the program", manual_options(page(name)) - short, options_of(output(program, "--help")) - short)

for name in PAGES:
    for title in ("NAME", "SYNOPSIS", "DESCRIPTION", "SEE ALSO") + (
            ("FILES", "EXIT STATUS") if name.endswith(".8") else ("EXAMPLES",)):
        check(f"{name} has {title}", f".Sh {title}\n" in page(name))
    for ref, section in re.findall(r"^\.Xr (postern\S*|mta\S*) (\d)", page(name), re.M):
        check(f"{name}: {ref}({section}) exists", f"{ref}.{section}" in {os.path.basename(p) for p in PAGES}, ref)

if shutil.which("mandoc"):
    r = subprocess.run(["mandoc", "-T", "lint", "-W", "warning"] + [os.path.join(source, p) for p in PAGES],
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    check("mandoc has no warnings", r.returncode == 0 and not r.stdout, r.stdout)
    for name in PAGES:
        r = subprocess.run(["mandoc", "-T", "utf8", os.path.join(source, name)], stdout=subprocess.PIPE, text=True)
        check(f"{name} renders", r.returncode == 0 and len(r.stdout) > 1000)
else:
    print("note: no mandoc here, the pages are not rendered")
sys.exit(1 if failed else 0)
