#!/usr/bin/env python3
"""Tests of lathe bench as users run it, without its times. Used as cli_test.py, whose helpers it borrows."""

import json
import sys
from pathlib import Path

import cli_test
from cli_test import V2_LITE, Skip, case, expect

cli_test.CASES.clear()  # The cases of this file alone.


@case
def bench_needs_a_gpu(lathe):
    for arguments, environment in [(["--device", "emulator"], {}), ([], {"LATHE_DEVICE": "emulator"})]:
        lathe.refuses(2, ["bench", "time", "GPU", "inspect --run"], "bench", "mla", "--heads", 16, *arguments,
                      **environment)
    if not lathe.has_gpu():
        lathe.refuses(4, ["bench", "time", "no GPU", "cuda"], "bench", "mla", "--heads", 16)


@case
def bench_lists_its_table(lathe):
    bench = ["bench", "mla", "--grid"]
    rows = lathe.json(*bench, "standard", "--list")["rows"]
    expect(len(rows) == 58 and len({row["name"] for row in rows}) == 58, f"{len(rows)} rows")
    one = next(row for row in rows if row["name"] == "16h/128x4096")
    expect(one["tokens"] == 128 * 4096 and one["layers"] == 16 and one["shape"]["heads"] == 16, f"{one}")
    heads = lathe.json(*bench, "standard", "--list", "--heads", 64)["rows"]
    expect({row["shape"]["heads"] for row in heads} == {64}, f"{heads}")
    text = lathe.ok(*bench, "standard", "--list", "--rows", "^128h-q2/", "--layers", 4)
    expect(len(text.splitlines()) == 4 and "normal(16384, 8192)" in text, text)
    (lathe.folder / "trace.txt").write_text("100\n200\n")
    traced = lathe.json(*bench, "standard", "--trace", "mine=trace.txt", "--trace", "r1=reasoning", "--list")["rows"]
    expect(len(traced) == 58 + 12 and "16h/64xmine" in {row["name"] for row in traced}, f"{len(traced)} rows")
    (lathe.folder / "grid.json").write_text('{"rows": [{"heads": 16, "batch": 8, "tokens": 100, "layers": 3}]}')
    own = lathe.json(*bench, "grid.json", "--list")["rows"]
    expect([(row["name"], row["layers"]) for row in own] == [("16h/8x100", 3)], f"{own}")


@case
def bench_maps_configurations(lathe):
    bench = ["bench", "mla", "--grid", "standard", "--list", "--rows", "^16h/8x4096$"]
    configs = lathe.folder / "configs.json"
    configs.write_text('{"16h/*": [{"stages": 2}, "kvTile=16", "default", "tuned"], "17h/*": "default"}')
    done = lathe(*bench, "--configs", configs, "--json")
    row = json.loads(done.stdout)["rows"][0]
    expect([found if found == "tuned" else found["stages"] for found in row["configs"]][0] == 2, f"{row}")
    expect(len(row["configs"]) == 4 and row["configs"][3] == "tuned" and row["configs"][1]["kvTile"] == 16, f"{row}")
    expect("17h/*" in done.stderr, f"a key that names no row is told: {done.stderr!r}")
    one = lathe.json(*bench, "--config", "stages=3")["rows"][0]
    expect(one["configs"][0]["stages"] == 3, f"{one}")
    configs.write_text('{"16h/*": {"warps": 4}}')
    lathe.refuses(2, ["configs.json", "16h/*", "warps"], *bench, "--configs", configs)
    lathe.refuses(2, ["missing.json"], *bench, "--configs", "missing.json")
    lathe.refuses(2, ["--config", "--configs"], *bench, "--configs", configs, "--config", "stages=2")


@case
def bench_tells_mistakes_in_its_table(lathe):
    bench = ["bench", "mla", "--grid"]
    lathe.refuses(2, ["--grid standard", "'nothing'"], *bench, "nothing", "--list")
    lathe.refuses(2, ["--batch", "--grid"], *bench, "standard", "--list", "--batch", 4)
    lathe.refuses(2, ["--model", "--grid"], *bench, "standard", "--list", *V2_LITE)
    lathe.refuses(2, ["regular expression"], *bench, "standard", "--list", "--rows", "(")
    lathe.refuses(2, ["row must be left", "nonsense"], *bench, "standard", "--list", "--rows", "nonsense")
    lathe.refuses(2, ["--rows", "--grid"], "bench", "mla", "--heads", 16, "--rows", "x")
    lathe.refuses(2, ["NAME=FILE"], *bench, "standard", "--list", "--trace", "azure.csv")
    lathe.refuses(2, ["missing.csv"], *bench, "standard", "--list", "--trace", "a=missing.csv")
    (lathe.folder / "grid.json").write_text('{"rows": [{"heads": 16, "batch": 8, "tokens": 100, "speed": 3}]}')
    lathe.refuses(2, ["grid.json, row 1", "speed"], *bench, "grid.json", "--list")


@case
def bench_opens_peers_first(lathe):
    bench = ["bench", "mla", "--heads", 16, "--against"]
    lathe.refuses(2, ["NAME=library.so"], *bench, "library.so")
    lathe.refuses(2, ["peer other", "missing.so"], *bench, "other=missing.so")
    (lathe.folder / "text.so").write_text("no library\n")
    lathe.refuses(2, ["peer other", "text.so"], *bench, "other=text.so")
    skeleton = Path(lathe.binary).resolve().parent.parent / "examples" / "peer_skeleton.so"
    if not skeleton.exists():
        raise Skip("the example peer is not built")
    if not lathe.has_gpu():
        lathe.refuses(4, ["no GPU"], *bench, f"other={skeleton}")
        return
    answer = lathe.json(*bench, f"other={skeleton}", "--batch", 2, "--tokens", 100)
    expect("no kernels" in answer["peers"][0]["refusal"], f"{answer['peers']}")


if __name__ == "__main__":
    sys.exit(cli_test.main())
