# SPDX-License-Identifier: GPL-3.0-or-later
"""Bars as plain SVG: one panel for each thing measured, one bar for each system, on each kind of link."""
import statistics
from xml.sax.saxutils import escape

PANELS = [("up1", "TCP, 1 stream up, Gbit/s"), ("udp64", "64-byte datagrams at 1 % loss, thousand a second"),
          ("cpu_up", "CPU seconds per GB, both ends (less is better)"), ("load", "RTT beside 4 TCP streams, ms (less is better)"),
          ("pss", "memory of one end, MB (less is better)")]
OURS, THEIRS, NONE = "#1b6ca8", "#9aa5b1", "#d9dde2"
LEFT, WIDTH, BAR, GAP, HEAD = 230, 420, 18, 6, 34


def panel(out, x, y, title, values):
    """@values: (words, number or None, colour). Returns the height."""
    top = max((v for _, v, _ in values if v), default=1)
    out.append(f'<text x="{x}" y="{y + 14}" class="t">{escape(title)}</text>')
    y += HEAD - 10
    for words, v, colour in values:
        out.append(f'<text x="{x + LEFT - 8}" y="{y + BAR - 5}" class="l">{escape(words)}</text>')
        if v is not None:
            w = max(1, WIDTH * v / top)
            out.append(f'<rect x="{x + LEFT}" y="{y}" width="{w:.1f}" height="{BAR}" fill="{colour}"/>')
            out.append(f'<text x="{x + LEFT + w + 5:.1f}" y="{y + BAR - 5}" class="v">{v:.2f}</text>')
        y += BAR + GAP
    return HEAD + len(values) * (BAR + GAP)


def draw(rows, names, words, links):
    out, y, wide = [], 10, 0
    kinds = [k for k in links if any(kind == k for kind, _ in rows)]
    for col, kind in enumerate(kinds):
        out.append(f'<text x="{10 + col * (LEFT + WIDTH + 80)}" y="{y + 12}" class="h">{escape(links[kind])}</text>')
    y += 30
    for key, title in PANELS:
        high = 0
        for col, kind in enumerate(kinds):
            values = []
            for n in names:
                got = [r[key] for r in rows.get((kind, n), []) if key in r]
                if key in ("cpu_up", "pss") and n == "none":
                    continue
                colour = NONE if n == "none" else OURS if words[n].startswith("Postern") else THEIRS
                values.append((words[n], statistics.median(got) if got else None, colour))
            if any(v is not None for _, v, _ in values):
                high = max(high, panel(out, 10 + col * (LEFT + WIDTH + 80), y, title, values))
        y += high + (14 if high else 0)
    wide = 10 + max(1, len(kinds)) * (LEFT + WIDTH + 80)
    style = ("text{font:12px sans-serif;fill:#222}.h{font-size:15px;font-weight:bold}.t{font-weight:bold}.l{text-anchor:end}"
             ".v{fill:#444}")
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide}" height="{y}" viewBox="0 0 {wide} {y}"><style>{style}</style>'
            f'<rect width="100%" height="100%" fill="white"/>' + "\n".join(out) + "</svg>\n")
