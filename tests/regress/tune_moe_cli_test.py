#!/usr/bin/env python3
"""Tests of lathe tune moe and of who finds its choices again. Used as cli_test.py, whose helpers it borrows."""

import json
import shlex
import sys
from pathlib import Path

import cli_test
from cli_test import TARGET, V2_LITE, case, expect

cli_test.CASES.clear()  # The cases of this file alone.

EXPERTS = ["--hidden", 128, "--intermediate", 128, "--experts", 8, "--top-k", 2]
TUNE = ["tune", "moe", *V2_LITE, *TARGET, "--candidates", 8]


@case
def tune_moe_on_the_cost_model(lathe):
    answer = lathe.json(*TUNE, "--rows", "64,4096", "--routing", "uniform", "--routing", "zipf")
    expect(answer["kernel"] == "moe_ffn" and answer["shape"]["experts"] == 64, f"{answer['shape']}")
    workloads = [(row["workload"]["kind"], row["workload"]["rows"]) for row in answer["results"]]
    expect(workloads == [("uniform", 64), ("uniform", 4096), ("zipf", 64), ("zipf", 4096)], f"{workloads}")
    for row in answer["results"]:
        expect(row["measured"] is False and row["bestEstimate"]["totalUs"] > 0, "predicted")
        expect(row["bestEstimate"]["totalUs"] <= row["defaultEstimate"]["totalUs"], "never worse than the default")
        expect(row["load"]["choices"] == 6 * row["workload"]["rows"], f"{row['load']}")
        expect(len(row["candidates"]) == 8 and row["candidates"][0]["default"], "the default races")
        expect(Path(row["entry"]).is_dir(), "the chosen kernel is in the cache")
    database = json.loads(Path(answer["database"]).read_text())
    expect(database["version"] == 1, "the version of attention's records")
    expect([record["kind"] for record in database["records"]] == ["moe"] * 4, "records of a kind of their own")
    skewed = [row["load"]["most"] for row in answer["results"]]
    expect(skewed[3] > 1.5 * skewed[1], f"zipf is skewed: {skewed}")


@case
def tune_moe_is_found_by_compile(lathe):
    answer = lathe.json(*TUNE, "--rows", "1:16")
    expect([row["workload"]["rows"] for row in answer["results"]] == [1, 4, 16], "a range is measured in steps of four")
    compiled = lambda *more: lathe.json("compile", "moe", *V2_LITE, *TARGET, *more)
    for row in answer["results"]:
        exact = compiled("--rows", row["workload"]["rows"])
        expect(exact["configSource"] == "tuned" and exact["config"] == row["best"], f"{exact}")
        expect(exact["digest"] == row["digest"] and not exact["compiled"], "the kernel is there already")
    between = compiled("--rows", 3)
    expect(between["configSource"] == "tuned" and "4 rows" in between["configReason"], f"{between['configReason']}")
    for more in [("--rows", 17), ("--rows", 4, "--zipf", 1), ("--rows", 4, "--logits", "bf16")]:
        other = compiled(*more)
        expect(other["configSource"] == "default", f"{more}: no extrapolation: {other['configReason']}")
        expect(f"default for {more[1]} rows" in other["configReason"], f"{other['configReason']}")
    default = compiled("--rows", 4, "--config", "default")
    expect(default["configSource"] == "given" and default["config"] == answer["results"][1]["candidates"][0]["config"],
           f"{default}")


@case
def tune_moe_leaves_attention_alone(lathe):
    mla = lathe.json("tune", "--heads", 16, "--batch", 4, "--candidates", 4, *TARGET)
    moe = lathe.json(*TUNE, "--rows", 4)
    again = lathe.json("compile", "--heads", 16, "--batch", 4, *TARGET)
    expect(again["configSource"] == "tuned" and again["config"] == mla["best"], f"{again}")
    found = lathe.json("compile", "moe", *V2_LITE, "--rows", 4, *TARGET)
    expect(found["configSource"] == "tuned" and found["config"] == moe["results"][0]["best"], f"{found}")
    kinds = [row["kind"] for row in json.loads(Path(moe["database"]).read_text())["records"]]
    expect(kinds == ["attention", "moe"], f"{kinds}")


@case
def tune_moe_explains(lathe):
    text = lathe.ok("tune", "moe", *EXPERTS, "--rows", "20,80", "--explain", *TARGET, "--candidates", 4)
    for word in ["configurations", "legal", "removed", "chosen", "20 rows, uniform routing", "80 rows", "Files written",
                 "How to look into them", "the cost model alone"]:
        expect(word in text, f"{word!r} is not in {text}")
    suggested = [line.strip() for line in text.splitlines() if line.strip().startswith("lathe ")]
    expect(len(suggested) >= 3, f"{suggested}")
    for line in suggested:
        lathe.ok(*shlex.split(line)[1:])


@case
def tune_moe_verifies_on_the_emulator(lathe):
    workload = ["tune", "moe", "--model", "deepseek-v3", "--ep", 8, "--rows", 40, "--routing", "zipf:0.5", *TARGET,
                "--candidates", 6]
    text = lathe.ok(*workload, "--verify")
    for word in ["verified       8 experts of 256 x 128, top 2", "one expert takes all", "24 rows, zipf(0.5) routing",
                 "right    tokenTile"]:
        expect(word in text, f"{word!r} is not in {text}")
    answer = lathe.json(*workload, "--verify")["results"][0]
    verified = [row["config"] for row in answer["candidates"] if row["status"] == "verified"]
    expect(answer["verified"] and not answer["measured"], f"{answer['choiceReason']}")
    expect(answer["best"] in verified and answer["candidates"][0]["config"] in verified, "the choice and the default")
    plain = lathe.json(*workload)["results"][0]
    expect(plain["verified"] is False and "verification" not in plain, "without --verify nothing runs")
    expect(plain["best"] == answer["best"], "a right kernel wins as without --verify")
    given = lathe.json("tune", "moe", *EXPERTS, "--router", "given", "--rows", 3, *TARGET, "--candidates", 2, "--verify")
    expect(given["results"][0]["verified"], f"{given['results'][0]['choiceReason']}")
    failed = lathe("tune", "moe", *EXPERTS, "--candidates", 2, *TARGET, "--verify", "--timeout", "0.001")
    expect(failed.returncode == 1, f"exit code {failed.returncode} where nothing is right: {failed.stderr}")
    expect("REFUSED" in failed.stdout and "within 0.001 s" in failed.stdout, f"the reason: {failed.stdout}")


@case
def tune_moe_measures_on_a_gpu(lathe):
    if not lathe.has_gpu():
        raise cli_test.Skip("measuring needs a GPU")
    layer = ["--hidden", 512, "--intermediate", 256, "--experts", 16, "--top-k", 4]
    tune = ["tune", "moe", *layer, "--rows", "8,32", "--candidates", 3]
    answer = lathe.json(*tune)
    for row in answer["results"]:
        expect(row["measured"] and row["verified"] and row["complete"], f"{row['choiceReason']}")
        expect(all(one["status"] == "measured" for one in row["candidates"]), f"{row['candidates']}")
        expect(0 < row["bestUs"] <= row["defaultUs"], f"{row['bestUs']} against {row['defaultUs']}")
    expect(all(row["fromDatabase"] for row in lathe.json(*tune)["results"]), "a second run runs nothing")
    sustained = lathe.json(*tune, "--sustained", 0.2)["results"]
    expect(all(row["sustainedSeconds"] == 0.2 and not row["fromDatabase"] for row in sustained), f"{sustained}")
    for rows, source in [(8, "tuned"), (16, "tuned"), (33, "default")]:
        timed = lathe.json("bench", "moe", *layer, "--rows", rows, "--no-limits")["rows"][0]
        expect(timed["configSource"] == source, f"{rows} rows: {timed['configReason']}")


@case
def tune_moe_refuses_what_is_no_workload(lathe):
    for rows in ["0", "4:1", "many", "1,", "1:2:3"]:
        lathe.refuses(2, ["rows", rows], *TUNE, "--rows", rows)
    for routing in ["flat", "zipf(", "zipf:-1"]:
        lathe.refuses(2, [routing.strip("zipf:")], *TUNE, "--routing", routing)
    lathe.refuses(2, ["tune", "sustained", "-1"], *TUNE, "--sustained", -1)
    lathe.refuses(2, ["--gate", "zipf"], *TUNE, "--routing", "zipf", "--gate", "bf16")
    lathe.refuses(2, ["--model", "--hidden"], "tune", "moe", *TARGET)
    lathe.refuses(2, ["hidden", "100"], "tune", "moe", "--hidden", 100, *EXPERTS[2:], *TARGET)
    lathe.refuses(2, ["h100-sxm"], "tune", "moe", *EXPERTS, "--target", "a100")
    expect("lathe tune moe --model" in lathe.ok("tune", "moe", "--help"), "examples")


if __name__ == "__main__":
    sys.exit(cli_test.main())
