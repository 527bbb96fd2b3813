# SPDX-License-Identifier: GPL-3.0-or-later
"""The matrix of foreign peers: each cell configures posternd and charon anew, connects them and looks.

usage: matrix.py start|wait [--release NAME] [--quick] [--results FILE] [WORD...]
	start: posternd calls; wait: charon does
	--release: Debian's name of the release that strongSwan is from; the host's when not given
	--quick: the few cells that tests/run takes
	--results: one JSON object a line, what tests/interop/run makes the table from
	WORD: only cells in whose group or name one of the words stands
"""
import argparse
import json
import os
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "netns")]
import testlib  # noqa: E402

parser = argparse.ArgumentParser()
parser.add_argument("role", choices=("start", "wait"))
parser.add_argument("--release")
parser.add_argument("--quick", action="store_true")
parser.add_argument("--results")
parser.add_argument("words", nargs="*")
args = parser.parse_intermixed_args()
testlib.need_scratch()
results = os.path.abspath(args.results) if args.results else None
lab, net = testlib.start()
import cells  # noqa: E402
import pair as pairlib  # noqa: E402

pair = pairlib.Pair(lab, net, args.role, args.release)
version = pair.swan.version()
print("strongSwan", version, flush=True)
out = open(results, "a") if results else None
for cell in cells.CELLS:
    if args.words and not any(w in f"{cell.group} {cell.name}" for w in args.words):
        continue
    if args.role not in cell.roles or (args.quick and not cell.quick):
        continue
    why_not = next((why for v, why in (cell.not_with or {}).items() if version.startswith(v)), None)
    began = time.monotonic()
    wrong = None if why_not else pair.run(cell)
    took = time.monotonic() - began
    if why_not:
        print(f"--   {cell.group}: {cell.name}: {why_not}", flush=True)
    else:
        testlib.check(f"{cell.group}: {cell.name} ({took:.1f} s)", wrong is None, wrong)
        if wrong and os.environ.get("POSTERN_INTEROP_LOG"):
            print(pair.log())
    if out:
        json.dump(dict(peer="strongSwan", version=version, role=args.role, group=cell.group, name=cell.name,
                       wrong=wrong, why_not=why_not), out)
        out.write("\n")
        out.flush()
testlib.done()
