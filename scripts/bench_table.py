#!/usr/bin/env python3
"""Markdown table of what `lathe bench mla|moe --grid … --json` printed: one line a row, with its (best) configuration.

    scripts/bench_table.py docs/benchmarks/mla-h100-standard.json
"""

import json
import re
import sys

# Fields of a configuration that are worth a column's width, and how they read.
SHORT = [
    ("swapOperands", True, lambda c: f"exchanged {c['rowsPerCta']}"),
    ("seesaw", True, lambda c: "seesaw"),
    ("prefetch", True, lambda c: "prefetch"),
    ("cacheAhead", True, lambda c: "ahead"),
    ("evictFirst", True, lambda c: "evict first"),
    ("combineCarveout", True, lambda c: "carve-out"),
    ("split", "whole", lambda c: "whole"),
    ("split", "fixed", lambda c: f"{c['fixedSplits']} parts"),
]


def configuration(config):
    return ", ".join(text(config) for name, value, text in SHORT if config.get(name) == value) or "plain"


def line(row):
    if "us" not in row:
        return f"| {row['name']} | {row.get('fault', 'not measured')} |"
    cells = [row["name"], f"{row['us']['median']:.2f}", f"{row['gbps']:.0f}", f"{row['tflops']:.0f}"]
    for peer in row.get("peers", []):
        timed = "us" in peer
        cells += [f"{peer['us']['median']:.2f}", f"{peer['ratio']:.2f}"] if timed else [peer.get("refusal", "fault"), ""]
    return "| " + " | ".join(cells + [configuration(row["config"])]) + " |"


def experts_configuration(c):
    parts = [f"tile {c['tokenTile']}" + (f", {c['widths']} widths" if c.get("widths", 1) > 1 else ""),
             f"{c['stages']} stages of {c['depthTile']}"]
    parts += [f"{c['consumers']} consumers"] if c.get("consumers", 1) > 1 else []
    parts += [f"{c['ctasPerSm']} CTAs an SM"] if c["ctasPerSm"] > 1 else []
    flags = [("permute", "permuted"), ("oneLaunch", "one launch"), ("prefetchUp", "prefetch up"), ("prefetchDown", "prefetch down"),
             ("dynamic", "given out"), ("evictFirst", "evict first")]
    parts += [name for field, name in flags if c.get(field)]
    return ", ".join(parts)


def experts_table(run):
    titles = ["row", "busy experts", "µs from logits", "best", "experts µs", "experts / floor", "TFLOPS", "configuration"]
    print("| " + " | ".join(titles) + " |\n|" + "---|" * len(titles))
    for row in run["rows"]:
        us, experts = row["us"], row["expertsUs"]["median"]
        cells = [row["name"], f"{row['busyExperts']:.0f}", f"{us['median']:.1f}", f"{us['best']:.1f}", f"{experts:.1f}",
                 f"{experts / row['floorUs']:.3f}", f"{row['operations'] / us['median'] / 1e6:.0f}",
                 experts_configuration(row["config"])]
        print("| " + " | ".join(cells) + " |")


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__.strip())
    with open(sys.argv[1], encoding="utf-8") as file:
        run = json.load(file)
    if run["benchmark"] == "moe":
        return experts_table(run)
    peers = next((row["peers"] for row in run["rows"] if row.get("peers")), [])
    titles = ["row", "µs", "GB/s", "TFLOPS"]
    for peer in peers:
        titles += [f"{peer['name']} µs", f"{peer['name']} / ours"]
    titles.append("configuration")
    print("| " + " | ".join(titles) + " |\n|" + "---|" * len(titles))
    group = None
    for row in run["rows"]:
        heads = re.match(r"[^/]*", row["name"]).group()
        if group not in (None, heads):
            print("|" + " |" * len(titles))
        group = heads
        print(line(row))


if __name__ == "__main__":
    main()
