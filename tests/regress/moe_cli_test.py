#!/usr/bin/env python3
"""Tests of compile, inspect and verify for mixtures of experts. Used as cli_test.py, whose helpers it borrows."""

import json
import sys
from pathlib import Path

import cli_test
from cli_test import TARGET, V2_LITE, case, expect

cli_test.CASES.clear()  # The cases of this file alone.

EXPERTS = ["--hidden", 128, "--intermediate", 128, "--experts", 8, "--top-k", 2]


@case
def moe_compiles_and_caches(lathe):
    first = lathe.json("compile", "moe", *V2_LITE, *TARGET)
    expect(first["compiled"] is True and first["kernel"] == "moe_ffn", f"{first}")
    expect(first["configSource"] == "default" and "64 rows" in first["configReason"], f"{first['configReason']}")
    expect(first["shape"]["experts"] == 64 and first["shape"]["shared"] == 2, f"{first['shape']}")
    second = lathe.json("compile", "moe", *V2_LITE, *TARGET)
    expect(second["compiled"] is False and second["digest"] == first["digest"], "the second is found")
    many = lathe.json("compile", "moe", *V2_LITE, *TARGET, "--rows", 4096)
    expect(many["config"]["tokenTile"] > first["config"]["tokenTile"], f"rows choose the tile: {many['config']}")
    given = lathe.json("compile", "moe", *V2_LITE, *TARGET, "--config", "tokenTile=8,stages=3")
    expect(given["configSource"] == "given" and given["config"]["stages"] == 3, f"{given['config']}")
    attention = lathe.json("compile", *V2_LITE, *TARGET)
    expect(attention["kernel"] == "mla_decode", "without moe it is attention")
    text = lathe.ok("compile", "moe", *V2_LITE, *TARGET)
    for word in ["moe_ffn (deepseek-v2-lite tp 1 ep 1)", "tokenTile=32", "from cache", "cache entry"]:
        expect(word in text, f"{word!r} is not in {text}")


@case
def moe_compile_writes_a_folder(lathe):
    answer = lathe.json("compile", "moe", *EXPERTS, "--router", "given", *TARGET, "-o", "kernels")
    names = {Path(name).name for name in answer["files"]}
    expect({"kernel.ptx", "manifest.json"} <= names, f"files: {names}")
    manifest = json.loads((lathe.folder / "kernels" / "manifest.json").read_text())
    expect(manifest["family"] == "moe" and manifest["router"] == "given" and manifest["topK"] == 2, f"{manifest}")
    loaded = lathe.json("compile", "moe", *EXPERTS, "--load", "--device", "emulator")
    expect("load" in {stage["name"] for stage in loaded["stages"]}, f"{loaded['stages']}")


@case
def moe_inspects_every_stage(lathe):
    words = {"dsl": "softmax", "lathe": "lathe.route", "tile": "tile.kernel @up", "nvvm": "nvvm.", "llvm": "ptx_kernel",
             "ptx": ".entry route("}
    for stage, word in words.items():
        text = lathe.ok("inspect", "moe", *EXPERTS, *TARGET, "--emit", stage)
        expect(word in text, f"{stage}: {word!r} is not in {text[:300]}")
        answer = lathe.json("inspect", "moe", *EXPERTS, *TARGET, "--emit", stage)
        expect(answer["emit"] == stage and answer["text"].strip() == text.strip(), f"{stage}: --json has the same text")
    resources = lathe.json("inspect", "moe", *V2_LITE, *TARGET, "--emit", "resources")
    kernels = {row["name"]: row for row in resources["kernels"]}
    expect(list(kernels) == ["route", "experts", "combine"], f"{list(kernels)}")
    expect(kernels["experts"]["wgmma"] > 0 and all(row["spillBytes"] == 0 for row in kernels.values()), f"{kernels}")
    expect(kernels["experts"]["sharedBytes"] <= resources["schedule"]["sharedLimit"], f"{resources['schedule']}")
    apart = lathe.json("inspect", "moe", *V2_LITE, *TARGET, "--emit", "resources", "--config", "oneLaunch=false")
    expect([row["name"] for row in apart["kernels"]] == ["route", "up", "down", "combine"], f"{apart['kernels']}")
    text = lathe.ok("inspect", "moe", *V2_LITE, *TARGET, "--emit", "resources", "--rows", 1)
    expect("tokenTile=8 " in text and "combine" in text, text)
    expect("given" in lathe.ok("inspect", "moe", *EXPERTS, "--router", "given"), "a given routing")


@case
def moe_runs_on_the_emulator(lathe):
    run = ["inspect", "moe", *EXPERTS, *TARGET, "--rows", 20, "--run"]
    text = lathe.ok(*run)
    for word in ["route", "up", "down", "combine", "TMA bytes read", "WGMMA FLOP", "bank conflicts", "20 rows",
                 "right by the cpu reference", "weights", "no findings"]:
        expect(word in text, f"{word!r} is not in {text}")
    answer = lathe.json(*run, "--seed", 7)
    expect(answer["passed"] and answer["findings"] == [] and answer["comparison"]["passed"], f"{answer['comparison']}")
    expect(answer["rows"] == 20 and answer["comparison"]["comparedRows"] == 20 and answer["seed"] == 7, f"{answer}")
    expect(answer["comparison"]["routing"]["rows"] == 20, f"{answer['comparison']}")
    launches = {launch["kernel"]: launch["counters"] for launch in answer["launches"]}
    expect(list(launches) == ["route", "up", "down", "combine"], f"{list(launches)}")
    expect(launches["up"]["wgmmaFlops"] >= 2 * 40 * 2 * 128 * 128, f"each choice is multiplied: {launches['up']}")
    expect(launches["down"]["tmaLoadBytes"] >= 40 * 128 * 2, f"activated rows are read: {launches['down']}")
    given = lathe.json(*run, "--router", "given", "--activation", "gelu")
    expect(given["passed"] and given["comparison"]["router"] == "given", f"{given['comparison']}")
    part = lathe.json("inspect", "moe", *EXPERTS, *TARGET, "--rows", 20, "--run", "--config", "tokenTile=64")
    expect(part["config"]["tokenTile"] == 64 and part["passed"], f"{part['config']}")


@case
def moe_runs_an_edited_kernel(lathe):
    what = ["inspect", "moe", *EXPERTS, *TARGET, "--rows", 3]
    lines = lathe.ok(*what, "--emit", "ptx").splitlines()
    path = lathe.folder / "edited.ptx"
    run = [*what, "--run", "--ptx", path]
    path.write_text("\n".join(lines) + "\n")
    expect("no findings" in lathe.ok(*run) and str(path) in lathe.ok(*run), "not edited yet")
    path.write_text("\n".join(line for line in lines if "wgmma.wait_group" not in line) + "\n")
    done = lathe(*run)
    expect(done.returncode == 1 and "finding" in done.stdout, f"exit code {done.returncode}: {done.stdout}")
    lathe.refuses(2, ["--emit", "--run"], *what, "--run", "--emit", "ptx")
    lathe.refuses(2, ["--seed", "--run"], *what, "--seed", 3)
    lathe.refuses(2, ["missing.ptx"], *what, "--run", "--ptx", "missing.ptx")


@case
def moe_with_a_gate(lathe):
    gate = [*EXPERTS, *TARGET, "--gate", "f32"]
    expect("sum(hidden, gate(expert, hidden)" in lathe.ok("inspect", "moe", *gate), "the product is in the description")
    expect("tile.kernel @gate" in lathe.ok("inspect", "moe", *gate, "--emit", "tile"), "a kernel of its own")
    compiled = lathe.json("compile", "moe", *gate, "-o", "gated")
    expect(compiled["shape"]["gate"] == "f32" and compiled["shape"]["router"] == "logits", f"{compiled['shape']}")
    manifest = json.loads((lathe.folder / "gated" / "manifest.json").read_text())
    expect(manifest["gate"] == "f32" and manifest["gateKernel"]["name"] == "gate", f"{manifest['gate']}")
    resources = lathe.json("inspect", "moe", *gate, "--emit", "resources")["kernels"]
    expect(resources[0]["name"] == "gate" and resources[0]["spillBytes"] == 0, f"{resources[0]}")
    answer = lathe.json("inspect", "moe", *gate, "--rows", 20, "--run")
    expect(answer["passed"] and 0 < answer["comparison"]["routing"]["worstLogitRatio"] <= 1, f"{answer['comparison']}")
    launches = {launch["kernel"]: launch["counters"] for launch in answer["launches"]}
    expect(list(launches)[:2] == ["gate", "route"], f"{list(launches)}")
    expect(launches["gate"]["mmaFlops"] >= 3 * 2 * 20 * 8 * 128, f"three products: {launches['gate']}")
    verified = lathe.json("verify", "moe", "--case", "gate_bf16_one_row", "--device", "emulator")["cases"]
    expect(len(verified) == 1 and verified[0]["passed"] and verified[0]["router"] == "logits", f"{verified}")
    lathe.refuses(2, ["--gate", "f16"], "inspect", "moe", *EXPERTS, "--gate", "f16")
    lathe.refuses(2, ["--gate bf16 --router given"], "inspect", "moe", *EXPERTS, "--gate", "bf16", "--router", "given")
    lathe.refuses(2, ["--logits bf16"], "compile", "moe", *EXPERTS, "--gate", "bf16", "--logits", "bf16")


@case
def moe_refuses_what_it_does_not_serve(lathe):
    lathe.refuses(2, ["--model", "--hidden"], "compile", "moe", *TARGET)
    lathe.refuses(2, ["exclude"], "compile", "moe", *V2_LITE, "--experts", 8, *TARGET)
    lathe.refuses(2, ["--top-k"], "compile", "moe", "--hidden", 128, "--intermediate", 128, "--experts", 8, *TARGET)
    lathe.refuses(2, ["--ep"], "inspect", "moe", *EXPERTS, "--ep", 2)
    lathe.refuses(2, ["7", "64"], "inspect", "moe", *V2_LITE, "--ep", 7)
    lathe.refuses(2, ["dense"], "inspect", "moe", "--model", "minicpm3")
    lathe.refuses(2, ["--rows", "0"], "inspect", "moe", *EXPERTS, "--rows", 0)
    lathe.refuses(2, ["--activation"], "inspect", "moe", *EXPERTS, "--activation", "relu")
    lathe.refuses(2, ["hidden", "100"], "compile", "moe", "--hidden", 100, *EXPERTS[2:], *TARGET)
    lathe.refuses(2, ["warps"], "compile", "moe", *EXPERTS, "--config", "warps=4", *TARGET)
    lathe.refuses(2, ["tokenTile"], "compile", "moe", *EXPERTS, "--config", "tokenTile", *TARGET)
    lathe.refuses(2, ["tokenTile", "12"], "compile", "moe", *EXPERTS, "--config", "tokenTile=12", *TARGET)
    lathe.refuses(2, ["--reference gpu", "emulator"], "verify", "moe", "--device", "emulator", "--reference", "gpu")
    lathe.refuses(2, ["nonsense", "lathe verify moe --list"], "verify", "moe", "--list", "--case", "nonsense")
    lathe.refuses(2, ["--small", "--all"], "verify", "moe", "--small", "--all")


@case
def moe_lists_its_cases(lathe):
    count = {flag: len(lathe.json("verify", "moe", "--list", *flag, "--device", "emulator")["cases"])
             for flag in [(), ("--small",), ("--all",)]}
    expect(count[()] == count[("--small",)] < count[("--all",)], f"small by default on the emulator: {count}")
    cases = lathe.json("verify", "moe", "--list", "--all")["cases"]
    expect({0, 1, 17, 8192} <= {row["rows"] for row in cases}, "rows")
    expect({"logits", "gate", "given"} == {row["router"] for row in cases}, "all routers")
    expect(all(row["router"] == "given" for row in cases if "wild_ids" in row["name"]), "given")
    expect(all(row["router"] == "gate" for row in cases if "gate_" in row["name"]), "gate")
    expect("case " in lathe.ok("verify", "moe", "--list", "--small"), "a table for people")


@case
def moe_verifies_on_the_emulator(lathe):
    text = lathe.ok("verify", "moe", "--case", "rows_3_top_2", "--device", "emulator")
    expect("1 of 1 cases passed against the cpu reference on the emulator" in text and "weights" in text, text)
    answer = lathe.json("verify", "moe", "--case", "wild_ids_one_row", LATHE_DEVICE="emulator")
    row = answer["cases"][0]
    expect(answer["emulator"] and answer["failed"] == 0 and row["router"] == "given", f"{answer}")
    expect(row["findings"] == [] and row["worstRatio"] <= 1 and row["comparedRows"] == 1, f"{row}")
    given = ["--config", "tokenTile=64,consumers=2,ctasPerSm=1"]
    answer = lathe.json("verify", "moe", "--small", "--case", "rows_40", "--device", "emulator", *given)
    served = [row["name"] for row in answer["cases"]]
    expect(answer["leftOut"] == 4 and len(served) == 4 and answer["failed"] == 0, f"{answer['leftOut']} left out, {served}")
    expect("dims_64_64_rows_40" not in served, "hidden must be a multiple of 128 for two consumers")
    small = lathe.ok("verify", "moe", "--small", "--case", "rows_1_top_1", "--device", "emulator")
    expect("--all" in small, f"what was left out: {small}")
    lathe.refuses(2, ["configuration must serve", "none"], "verify", "moe", "--json", "--case", "rows_1_top_1",
                  "--device", "emulator", "--config", "tokenTile=7")


if __name__ == "__main__":
    sys.exit(cli_test.main())
