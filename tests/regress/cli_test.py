#!/usr/bin/env python3
"""Tests of the lathe command: help, exit codes, JSON, bad input, stages. One case a CTest entry.

Usage: cli_test.py LATHE CASE      runs one case; exit code 0 passed, 1 failed, 77 skipped (with the reason).
       cli_test.py LATHE --list    prints the names of all cases.
Every case runs in a temporary folder with a cache and a tuning database of its own.
"""

import json
import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

TARGET = ["--target", "h100-sxm"]
V2_LITE = ["--model", "deepseek-v2-lite"]
CASES = {}
SKIPPED = 77


class Failure(Exception):
    pass


class Skip(Exception):
    pass


def case(function):
    CASES[function.__name__] = function
    return function


class Lathe:
    """The command under test, in a folder of its own."""

    def __init__(self, binary, folder):
        self.binary, self.folder = binary, Path(folder)
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("LATHE_")}
        self.environment["LATHE_CACHE_DIR"] = str(self.folder / "cache")
        self.environment["LATHE_TUNING_DB"] = str(self.folder / "tuning.json")

    def __call__(self, *arguments, **environment):
        return subprocess.run([self.binary, *map(str, arguments)], capture_output=True, text=True, timeout=240,
                              cwd=self.folder, env={**self.environment, **environment})

    def ok(self, *arguments, **environment):
        done = self(*arguments, **environment)
        expect(done.returncode == 0, f"{arguments}: exit code {done.returncode}, stderr: {done.stderr}")
        return done.stdout

    def json(self, *arguments, **environment):
        text = self.ok(*arguments, "--json", **environment)
        try:
            return json.loads(text)
        except json.JSONDecodeError as error:
            raise Failure(f"{arguments}: stdout is not one JSON document ({error}): {text[:200]!r}")

    def refuses(self, code, words, *arguments, **environment):
        """One line on stderr, nothing on stdout, the code, and every word of `words` in the line."""
        done = self(*arguments, **environment)
        errors = [line for line in done.stderr.splitlines() if line.startswith("lathe: error: ")]
        expect(done.returncode == code, f"{arguments}: exit code {done.returncode}, expected {code}: {done.stderr}")
        expect(len(errors) == 1, f"{arguments}: expected one error line, got {done.stderr!r}")
        expect(done.stdout == "", f"{arguments}: an error must leave stdout empty, got {done.stdout!r}")
        for word in words:
            expect(word in errors[0], f"{arguments}: {word!r} is not in {errors[0]!r}")
        return errors[0]

    def has_gpu(self):
        return bool(self.json("env")["gpus"])


def expect(condition, message):
    if not condition:
        raise Failure(message)


# Help and version -----------------------------------------------------------------------------------


@case
def help_teaches_by_example(lathe):
    top = lathe.ok("--help")
    for command in ["tune", "compile", "inspect", "verify", "bench", "cache", "env"]:
        expect(command in top, f"{command} is not in --help")
    for line in ["0  done", "1  verification failed", "2  ", "3  ", "4  "]:
        expect(line in top, f"exit code {line!r} is not in --help")
    for command in [["tune"], ["compile"], ["inspect"], ["verify"], ["bench"], ["bench", "mla"], ["cache"], ["env"],
                    ["compile", "moe"], ["inspect", "moe"], ["verify", "moe"], ["tune", "moe"], ["cache", "list"], ["cache", "prune"], ["cache", "clear"], ["cache", "path"]]:
        text = lathe.ok(*command, "--help")
        expect("Examples:" in text and "lathe " + command[0] in text.replace("$(", ""), f"{command}: no examples in {text}")
        if command not in (["bench"], ["cache"]):
            expect("--json" in text, f"{command}: no --json in {text}")
    expect("lathe " in lathe.ok("--version"), "--version")


@case
def wrong_command_lines_are_user_errors(lathe):
    lathe.refuses(2, ["subcommand"])
    lathe.refuses(2, ["nonsense"], "nonsense")
    lathe.refuses(2, ["--nonsense"], "compile", "--nonsense")
    lathe.refuses(2, ["--heads"], "compile", "--heads", "many")
    lathe.refuses(2, ["--emit"], "inspect", "--heads", 16, "--emit", "assembly")
    lathe.refuses(2, ["--model"], "compile", *TARGET)
    lathe.refuses(2, ["--model", "--heads"], "compile", *V2_LITE, "--heads", 16, *TARGET)
    lathe.refuses(2, ["LATHE_LOG"], "env", LATHE_LOG="loud")


# Bad input -------------------------------------------------------------------------------------------


@case
def unknown_model_lists_the_known(lathe):
    lathe.refuses(2, ["gpt-2", "deepseek-v2-lite"], "inspect", "--model", "gpt-2")


@case
def heads_must_divide_by_tp(lathe):
    lathe.refuses(2, ["16", "3"], "inspect", *V2_LITE, "--tp", 3)
    lathe.refuses(2, ["--tp"], "inspect", "--heads", 16, "--tp", 2)


@case
def impossible_shapes(lathe):
    lathe.refuses(2, ["page", "24"], "compile", *V2_LITE, "--page", 24, *TARGET)
    lathe.refuses(2, ["129"], "compile", "--heads", 129, *TARGET)
    lathe.refuses(2, ["-1"], "compile", "--heads", -1, *TARGET)
    lathe.refuses(2, [], "compile", "--heads", 16, "--latent", 500, *TARGET)
    lathe.refuses(2, [], "compile", "--heads", 16, "--latent", 1024, *TARGET)


@case
def impossible_configurations(lathe):
    lathe.refuses(2, ["warps"], "compile", "--heads", 16, "--config", "warps=4", *TARGET)
    lathe.refuses(2, ["kvTile"], "compile", "--heads", 16, "--config", "kvTile=wide", *TARGET)
    lathe.refuses(2, ["--config"], "compile", "--heads", 16, "--config", "kvTile", *TARGET)
    lathe.refuses(2, ["--config"], "compile", "--heads", 16, "--config", "{broken", *TARGET)
    lathe.refuses(2, [], "compile", "--heads", 16, "--config", "kvTile=48", *TARGET)
    lathe.refuses(2, [], "compile", "--heads", 16, "--config", '{"kvTile": 64, "stages": 16}', *TARGET)


@case
def model_config_files(lathe):
    path = lathe.folder / "config.json"
    fields = {"num_attention_heads": 16, "hidden_size": 2048, "kv_lora_rank": 512, "qk_nope_head_dim": 128,
              "qk_rope_head_dim": 64, "v_head_dim": 128}
    path.write_text(json.dumps(fields))
    expect("head" in lathe.ok("inspect", "--model", path, "--tp", 2), "description of a config.json")
    path.write_text(json.dumps({**fields, "kv_lora_rank": "many"}))
    lathe.refuses(2, ["kv_lora_rank", "config.json"], "inspect", "--model", path)
    path.write_text(json.dumps({name: value for name, value in fields.items() if name != "qk_rope_head_dim"}))
    lathe.refuses(2, ["qk_rope_head_dim", "config.json"], "inspect", "--model", path)
    path.write_text("{broken")
    lathe.refuses(2, ["config.json"], "inspect", "--model", path)


@case
def bad_workloads(lathe):
    trace = lathe.folder / "trace.csv"
    trace.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16,374,44\n2023-11-16,many,109\n")
    lathe.refuses(2, ["trace.csv", "3"], "tune", *V2_LITE, "--lengths", f"trace:{trace}", *TARGET)
    lengths = lathe.folder / "lengths.txt"
    lengths.write_text("100\n200\n-5\n")
    lathe.refuses(2, ["lengths.txt", "3"], "tune", *V2_LITE, "--lengths", f"trace:{lengths}", *TARGET)
    lathe.refuses(2, ["missing.csv"], "tune", *V2_LITE, "--lengths", "trace:missing.csv", *TARGET)
    lathe.refuses(2, ["normal"], "tune", *V2_LITE, "--lengths", "normal:4096", *TARGET)
    lathe.refuses(2, [], "tune", *V2_LITE, "--lengths", "normal:4096:wide", *TARGET)
    lathe.refuses(2, ["batch"], "tune", *V2_LITE, "--batch", 0, *TARGET)
    expect(not (lathe.folder / "tuning.json").exists(), "a refused workload must not leave a tuning database behind")


@case
def unknown_target_lists_the_known(lathe):
    lathe.refuses(2, ["a100", "h100-sxm"], "compile", *V2_LITE, "--target", "a100")


@case
def refused_cache_folders(lathe):
    shared = lathe.folder / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    lathe.refuses(2, ["shared"], "compile", *V2_LITE, *TARGET, LATHE_CACHE_DIR=str(shared))
    file = lathe.folder / "file"
    file.write_text("")
    lathe.refuses(2, ["file"], "compile", *V2_LITE, *TARGET, LATHE_CACHE_DIR=str(file))
    expect(lathe.ok("cache", "path", LATHE_CACHE_DIR=str(shared)).strip() == str(shared), "cache path works anyway")
    if os.geteuid() != 0:
        closed = lathe.folder / "closed"
        closed.mkdir(mode=0o500)
        lathe.refuses(2, ["closed"], "compile", *V2_LITE, *TARGET, LATHE_CACHE_DIR=str(closed / "cache"))


@case
def commands_that_run_kernels_say_what_is_missing(lathe):
    lathe.refuses(2, ["--target"], "bench", "mla", "--heads", 16, *TARGET)
    lathe.refuses(2, ["--target"], "verify", "--heads", 16, *TARGET)
    lathe.refuses(2, ["--target"], "compile", "--heads", 16, "--load", *TARGET)
    for words, device in [(["emulator", "abacus"], "abacus"), (["-1"], "-1"), (["emulator"], "1e3")]:
        lathe.refuses(2, ["--device", *words], "verify", "--heads", 16, f"--device={device}")
    lathe.refuses(2, ["LATHE_DEVICE", "cuda, emulator", "abacus"], "env", LATHE_DEVICE="abacus")
    if lathe.has_gpu():
        lathe.refuses(4, ["99"], "bench", "mla", "--heads", 16, "--device", 99)
        raise Skip("this machine has a GPU, so a missing one cannot be shown")
    for command in [["bench", "mla", "--heads", 16], ["verify", "--small"], ["compile", "--heads", 16, "--load"]]:
        lathe.refuses(4, ["cuda"], *command, "--device", 0)
        lathe.refuses(4, ["cuda"], *command, LATHE_DEVICE="cuda")


# What works without a GPU ---------------------------------------------------------------------------


@case
def inspect_dsl_is_mathematics(lathe):
    text = lathe.ok("inspect", *V2_LITE, "--emit", "dsl")
    for word in ["softmax", "out", "lse", "block_table"]:
        expect(word in text, f"{word} is not in {text}")
    expect("attention" not in text.lower(), "a description does not know the word attention")
    expect(lathe.json("inspect", *V2_LITE)["text"] == text, "--json has the same text")


@case
def inspect_every_stage(lathe):
    for stage in ["lathe", "tile", "nvvm", "llvm"]:
        expect(len(lathe.ok("inspect", *V2_LITE, *TARGET, "--emit", stage)) > 500, f"{stage} is empty")
        expect(lathe.json("inspect", *V2_LITE, *TARGET, "--emit", stage)["emit"] == stage, f"{stage} as JSON")


@case
def inspect_ptx_has_the_instructions(lathe):
    for shape in [V2_LITE, ["--heads", 128]]:
        text = lathe.ok("inspect", *shape, *TARGET, "--emit", "ptx")
        for word in ["cp.async.bulk.tensor", "mbarrier", "wgmma.mma_async", "griddepcontrol.wait", ".target sm_90a"]:
            expect(word in text, f"{word} is not in the PTX")
    expect("setmaxnreg" in text, "warpgroups of many rows exchange registers")


@case
def inspect_resources_spill_nothing(lathe):
    answer = lathe.json("inspect", "--heads", 128, "--query-tokens", 2, *TARGET, "--emit", "resources")
    expect(len(answer["kernels"]) == 3, "three kernels")
    for kernel in answer["kernels"]:
        expect(kernel["spillBytes"] == 0 and kernel["stackBytes"] == 0, f"{kernel} spills")
    expect(answer["schedule"]["sharedBytes"] <= answer["schedule"]["sharedLimit"], "shared memory")
    expect("wgmma" in lathe.ok("inspect", *V2_LITE, *TARGET, "--emit", "resources"), "the table")


@case
def inspect_runs_a_kernel(lathe):
    text = lathe.ok("inspect", *V2_LITE, *TARGET, "--run")
    for word in ["plan", "attend", "combine", "TMA bytes read", "WGMMA FLOP", "bank conflicts", "mbarrier stalls", "host ms",
                 "instructions", "batch 2, 256 tokens", "right by the cpu reference", "no findings"]:
        expect(word in text, f"{word!r} is not in {text}")
    answer = lathe.json("inspect", *V2_LITE, *TARGET, "--run", "--batch", 3, "--tokens", 100, "--seed", 7)
    expect(answer["passed"] and answer["findings"] == [] and answer["comparison"]["passed"], f"{answer['comparison']}")
    expect(answer["lengths"] == [100, 100, 100] and answer["seed"] == 7, f"{answer['lengths']}")
    launches = {launch["kernel"]: launch for launch in answer["launches"]}
    expect(set(launches) == {"plan", "attend", "combine"}, f"{set(launches)}")
    attend = launches["attend"]["counters"]
    expect(attend["tmaLoadBytes"] >= 3 * 100 * 576 * 2, f"each cache row is read: {attend}")
    expect(attend["wgmmaFlops"] >= 2 * 3 * 100 * 16 * (576 + 512), f"and multiplied: {attend}")
    expect(sum(attend["instructions"].values()) == attend["warpInstructions"] > 0, "the mix is the whole")
    expect(attend["ctas"] == launches["attend"]["grid"][0] * launches["attend"]["grid"][1], "CTAs of the grid")
    again = lathe.json("inspect", *V2_LITE, *TARGET, "--run", "--batch", 3, "--tokens", 100)
    for name in ["tmaLoadBytes", "wgmmaFlops", "bankConflicts", "globalStoreBytes"]:
        other = next(launch for launch in again["launches"] if launch["kernel"] == "attend")["counters"][name]
        expect(other == attend[name], f"{name} must not depend on the seed: {attend[name]}, {other}")


@case
def inspect_run_refuses_what_does_not_fit(lathe):
    lathe.refuses(2, ["--emit", "--run"], "inspect", *V2_LITE, "--run", "--emit", "ptx")
    for option in [["--ptx", "a.ptx"], ["--seed", 1], ["--batch", 2], ["--tokens", 9], ["--lengths", "chat"]]:
        lathe.refuses(2, [option[0], "--run"], "inspect", *V2_LITE, *option)
    run = ["inspect", *V2_LITE, *TARGET, "--run", "--ptx"]
    lathe.refuses(2, ["missing.ptx"], *run, "missing.ptx")
    (lathe.folder / "words.ptx").write_text("not PTX\n")
    lathe.refuses(2, ["words.ptx", ".version"], *run, "words.ptx")
    lines = lathe.ok("inspect", *V2_LITE, *TARGET, "--emit", "ptx").splitlines()
    at = next(i for i, line in enumerate(lines) if "stmatrix" in line)
    (lathe.folder / "typo.ptx").write_text("\n".join([*lines[:at], "stmatricks.b16 %r1;", *lines[at + 1:]]) + "\n")
    lathe.refuses(2, ["typo.ptx", f"line {at + 1}", "stmatricks"], *run, "typo.ptx")


@case
def inspect_runs_an_edited_kernel(lathe):
    lines = lathe.ok("inspect", *V2_LITE, *TARGET, "--emit", "ptx").splitlines()
    path = lathe.folder / "edited.ptx"
    run = ["inspect", *V2_LITE, *TARGET, "--run", "--ptx", path]
    path.write_text("\n".join(lines) + "\n")
    expect("no findings" in lathe.ok(*run), "not edited yet")
    store = next(i for i, line in enumerate(lines) if "stmatrix" in line)
    fence = next(i for i, line in enumerate(lines) if i > store and "fence.proxy.async" in line)
    path.write_text("\n".join(lines[:fence] + lines[fence + 1:]) + "\n")
    done = lathe(*run)
    expect(done.returncode == 1, f"exit code {done.returncode}: {done.stdout}")
    for word in ["2 findings\n", "proxy_unfenced: ", "at    attend, PTX line", f"other PTX line {store + 1}: stmatrix",
                 "from tile line", "bytes probabilities row", "try   "]:
        expect(word in done.stdout, f"{word!r} is not in {done.stdout}")
    for seed in [0, 1, 2]:
        done = lathe(*run, "--json", "--seed", seed)
        answer = json.loads(done.stdout)
        expect(done.returncode == 1 and not answer["passed"] and answer["ptx"] == str(path), f"{answer['ptx']}")
        expect({row["kind"] for row in answer["findings"]} == {"proxy_unfenced"}, f"seed {seed}: {answer['findings']}")
        expect(answer["findings"][0]["other"]["line"] == store + 1, f"{answer['findings'][0]}")
    path.write_text("\n".join(line.replace("ex2.approx", "lg2.approx") for line in lines) + "\n")
    done = lathe(*run)
    expect(done.returncode == 1 and "WRONG by the cpu reference" in done.stdout and "expected" in done.stdout,
           f"a wrong result: {done.returncode}, {done.stdout}")


@case
def inspect_sass_says_what_it_needs(lathe):
    done = lathe("inspect", *V2_LITE, *TARGET, "--emit", "sass", PATH="/nowhere")
    if done.returncode == 0:  # A toolkit in its usual place is found without the PATH.
        expect("HGMMA" in done.stdout, "machine code with tensor-core instructions")
        return
    expect(done.returncode == 2, f"exit code {done.returncode}: {done.stderr}")
    expect("nvdisasm" in done.stderr or "driver" in done.stderr, done.stderr)


@case
def compile_caches(lathe):
    first = lathe.json("compile", *V2_LITE, *TARGET)
    expect(first["compiled"] is True, "the first compilation compiles")
    expect({"assemble"} <= {stage["name"] for stage in first["stages"]}, f"stages: {first['stages']}")
    entry = Path(first["entry"])
    for name in ["key.json", "kernel.ptx", "stats.json"]:
        expect((entry / name).stat().st_size > 0, f"{name} in {entry}")
    key = json.loads((entry / "key.json").read_text())
    expect("LATHE" not in json.dumps(key), "debug switches never enter the key")
    second = lathe.json("compile", *V2_LITE, *TARGET, LATHE_LOG="info")
    expect(second["compiled"] is False and second["digest"] == first["digest"], "the second is found")
    other = lathe.json("compile", *V2_LITE, *TARGET, "--config", "split=fixed,fixedSplits=4")
    expect(other["digest"] != first["digest"], "another configuration is another entry")
    mode = stat.S_IMODE((lathe.folder / "cache").stat().st_mode)
    expect(mode == 0o700, f"the cache has mode {mode:o}")


@case
def compile_rebuilds_truncated_entries(lathe):
    entry = Path(lathe.json("compile", *V2_LITE, *TARGET)["entry"])
    path = entry / "kernel.ptx"
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:100])
    states = [row["intact"] for row in lathe.json("cache", "list")["entries"]]
    expect(states == [False], f"list finds the damage: {states}")
    done = lathe("compile", *V2_LITE, *TARGET, "--json")
    expect(done.returncode == 0 and json.loads(done.stdout)["compiled"], "rebuilt")
    warnings = [line for line in done.stderr.splitlines() if "warning" in line]
    expect(len(warnings) == 1, f"one warning: {done.stderr}")
    expect(path.stat().st_size > 100, "whole again")


@case
def compile_writes_a_folder(lathe):
    answer = lathe.json("compile", "--heads", 8, *TARGET, "-o", "kernels")
    names = {Path(name).name for name in answer["files"]}
    expect({"kernel.ptx", "manifest.json"} <= names, f"files: {names}")
    manifest = json.loads((lathe.folder / "kernels" / "manifest.json").read_text())
    expect(manifest["heads"] == 8, "the manifest says what it is")
    (lathe.folder / "taken").write_text("")
    lathe.refuses(2, ["taken"], "compile", "--heads", 8, *TARGET, "-o", "taken")


@case
def compile_serves_every_head_count(lathe):
    for arguments in [["--heads", 1], ["--heads", 5], ["--heads", 20, "--page", 16], ["--heads", 128, "--page", 128],
                      ["--model", "minicpm3"] if "minicpm3" in lathe("inspect", "--model", "?").stderr else ["--heads", 40],
                      ["--heads", 63, "--query-tokens", 4, "--full"]]:
        expect(lathe.json("compile", *arguments, *TARGET)["compiled"], f"{arguments}")


@case
def cache_commands(lathe):
    expect(lathe.json("cache", "list")["entries"] == [], "empty at first")
    lathe.ok("compile", *V2_LITE, *TARGET)
    entries = lathe.json("cache", "list")["entries"]
    expect(len(entries) == 1 and entries[0]["intact"], f"{entries}")
    expect(entries[0]["digest"] in lathe.ok("cache", "list"), "the table names the digest")
    expect(lathe.json("cache", "prune", "--days", 7)["removed"] == 0, "nothing is old")
    lathe.refuses(2, ["days"], "cache", "prune", "--days", -1)
    expect(lathe.json("cache", "clear")["removed"] == 1, "cleared")
    expect(lathe.json("cache", "list")["entries"] == [], "empty again")
    expect(lathe.json("cache", "path")["directory"] == str(lathe.folder / "cache"), "path")


@case
def env_prints_the_table(lathe):
    text = lathe.ok("env")
    answer = lathe.json("env")
    names = {row["name"] for row in answer["variables"]}
    expect({"LATHE_CACHE_DIR", "LATHE_DUMP", "LATHE_LOG"} <= names, f"{names}")
    for row in answer["variables"]:
        expect(row["name"] in text and row["meaning"], f"{row}")
    expect(answer["assembler"] and answer["compiler"], "assembler and compiler")
    expect(answer["gpus"] or answer["gpuReason"], "a reason where there is no GPU")
    expect("LATHE_DEVICE" in names and "emulator" in answer["emulator"] and answer["emulator"] in text, "the emulator")
    expect(answer["device"] == ("cuda" if answer["gpus"] else "emulator"), f"the GPU, else the emulator: {answer}")
    for device in ["cuda", "emulator"]:
        expect(lathe.json("env", LATHE_DEVICE=device)["device"] == device, f"LATHE_DEVICE={device}")


@case
def tune_on_the_cost_model(lathe):
    answer = lathe.json("tune", *V2_LITE, "--batch", 32, "--lengths", "normal:4096:2048", *TARGET)
    expect(answer["measured"] is False and answer["bestEstimate"]["totalUs"] > 0, "predicted")
    expect(answer["bestEstimate"]["totalUs"] <= answer["defaultEstimate"]["totalUs"], "never worse than the default")
    expect(Path(answer["entry"]).is_dir() and Path(answer["database"]).is_file(), "both files are there")
    database = json.loads(Path(answer["database"]).read_text())
    expect(database.get("version") == 1, "a versioned database")
    again = lathe.json("compile", *V2_LITE, "--batch", 32, "--lengths", "normal:4096:2048", *TARGET)
    expect(again["configSource"] == "tuned" and again["config"] == answer["best"], f"found again: {again}")
    expect(again["digest"] == answer["digest"] and not again["compiled"], "the kernel is there already")
    other = lathe.json("compile", *V2_LITE, "--batch", 2, "--tokens", 100, *TARGET)
    expect(other["configSource"] == "default", "no extrapolation to another workload")


@case
def tune_explains(lathe):
    text = lathe.ok("tune", "--heads", 16, "--lengths", "const:1000", "--explain", *TARGET)
    for word in ["configurations", "legal", "removed", "chosen", "Files written", "How to look into them", "lathe inspect"]:
        expect(word in text, f"{word!r} is not in {text}")
    for line in text.splitlines():
        if line.strip().startswith("lathe inspect") and "resources" in line:
            import shlex
            lathe.ok(*shlex.split(line)[1:])


@case
def tune_reads_traces(lathe):
    trace = lathe.folder / "lengths.txt"
    trace.write_text("".join(f"{100 + 37 * i}\n" for i in range(50)))
    answer = lathe.json("tune", "--heads", 16, "--batch", 8, "--lengths", f"trace:{trace}", *TARGET)
    expect(answer["lengths"]["batch"] == 8 and 100 <= answer["lengths"]["least"], f"{answer['lengths']}")
    for name in ["chat", "reasoning"]:
        expect(lathe.json("tune", "--heads", 16, "--lengths", name, *TARGET)["lengths"]["total"] > 0, name)


@case
def tune_verifies_on_the_emulator(lathe):
    workload = ["--heads", 128, "--batch", 4, "--lengths", "normal:20000:9000", "--candidates", 6, *TARGET]
    text = lathe.ok("tune", *workload, "--verify")
    for word in ["verified       10 corner lengths up to 1,500 tokens", "4 of the workload's (at most 512)", "right    kvTile"]:
        expect(word in text, f"{word!r} is not in {text}")
    answer = lathe.json("tune", *workload, "--verify")
    verified = [row["config"] for row in answer["candidates"] if row["status"] == "verified"]
    expect(answer["verified"] and not answer["measured"], f"{answer['choiceReason']}")
    expect(answer["best"] in verified and answer["candidates"][0]["config"] in verified, "the choice and the default")
    expect(max(answer["verification"]["workloadLengths"]) <= 512, f"{answer['verification']}")
    plain = lathe.json("tune", *workload)
    expect(plain["verified"] is False and "verification" not in plain, "without --verify nothing runs")
    expect(plain["best"] == answer["best"], "a right kernel wins as without --verify")
    lathe.refuses(2, ["tune", "sustained", "61"], "tune", "--heads", 16, *TARGET, "--sustained", 61)
    failed = lathe("tune", "--heads", 16, "--candidates", 2, *TARGET, "--verify", "--timeout", "0.001")
    expect(failed.returncode == 1, f"exit code {failed.returncode} where nothing is right: {failed.stderr}")
    expect("REFUSED" in failed.stdout and "within 0.001 s" in failed.stdout, f"the reason: {failed.stdout}")


@case
def verify_on_the_emulator(lathe):
    one = ["verify", "--heads", 16, "--batch", 2, "--tokens", 100]
    done = lathe(*one, "--device", "emulator")
    expect(done.returncode == 0 and done.stderr == "", f"asked for, so nothing to explain: {done.stderr}")
    expect("1 of 1 cases passed against the cpu reference on the emulator" in done.stdout, done.stdout)
    answer = lathe.json(*one, LATHE_DEVICE="emulator")
    expect(answer["emulator"] and answer["reference"] == "cpu" and answer["table"] == "given", f"{answer}")
    expect(answer["cases"][0]["passed"] and answer["cases"][0]["findings"] == [], f"{answer['cases']}")
    some = lathe.json("verify", "--case", "one_short", "--device", "emulator")
    expect([row["name"] for row in some["cases"]] == ["one_short"] and some["failed"] == 0, f"{some}")
    small = lathe.ok("verify", "--small", "--case", "one_short", "--device", "emulator")
    expect("--all" in small, f"what was left out: {small}")
    same = lathe.json(*one, "--device", "emulator", "--reference", "emulator")
    row = same["cases"][0]
    expect(same["reference"] == "emulator" and row["elements"] == 2 * 16 * 512, f"{same}")
    expect(row["identical"] == row["elements"] and row["worstRatio"] == 0, f"the same device twice: {row}")
    lathe.refuses(2, ["--reference gpu", "emulator"], *one, "--device", "emulator", "--reference", "gpu")
    lathe.refuses(2, ["--small", "--all"], "verify", "--small", "--all")
    loaded = lathe.json("compile", "--heads", 16, "--load", "--device", "emulator")
    expect("load" in {stage["name"] for stage in loaded["stages"]}, f"{loaded['stages']}")
    if lathe.has_gpu():
        raise Skip("this machine has a GPU, so the emulator is not the default")
    done = lathe(*one)
    expect(done.returncode == 0, done.stderr)
    expect(len(done.stderr.splitlines()) == 1 and "no GPU (" in done.stderr and "emulator" in done.stderr, done.stderr)
    expect(lathe(*one, "--json").stderr == "", "with --json stderr is for errors")


@case
def verify_leaves_out_what_a_config_does_not_serve(lathe):
    seesaw = "kvTile=64,stages=2,consumers=2,cluster=1,rowsPerCta=64,swapOperands=false,seesaw=true"
    some = ["verify", "--small", "--case", "dims_2", "--device", "emulator", "--config", seesaw]
    lines = lathe.ok(*some).splitlines()
    served = [line.split()[1] for line in lines if line.startswith("ok ")]
    left_out = [line for line in lines if line.startswith("- ")]
    expect(served == ["dims_288_256_queries_1", "dims_288_256_queries_2"], f"served: {served}")
    expect(len(left_out) == 2 and all("dims_272_208" in line and "128" in line for line in left_out),
           f"each is named with the reason: {left_out}")
    expect(any(line.startswith("2 cases left out") for line in lines), f"and counted: {lines}")
    expect(any(line.startswith("2 of 2 cases passed") for line in lines), f"apart from those that ran: {lines}")
    answer = lathe.json(*some)
    expect(answer["leftOut"] == 2 and answer["passed"] == 2 and answer["failed"] == 0, f"{answer}")
    expect([row["name"] for row in answer["cases"]] == served, f"only what ran is a case: {answer['cases']}")
    plain = lathe.json("verify", "--small", "--case", "one_short", "--device", "emulator")
    expect(plain["leftOut"] == 0, f"nothing without --config: {plain}")


@case
def verify_refuses_a_config_that_serves_no_case(lathe):
    none = ["verify", "--small", "--case", "dims_64_64", "--device", "emulator"]
    for config in ["kvTile=64,stages=2,consumers=2,rowsPerCta=64,swapOperands=false,seesaw=true", "kvTile=7"]:
        done = lathe(*none, "--config", config)
        errors = done.stderr.splitlines()
        expect(done.returncode == 2, f"{config}: exit code {done.returncode}")
        expect(len(errors) == 1 and errors[0].startswith("lathe: error: verify: "), f"{config}: one line: {errors}")
        for word in ["configuration must serve", "none", "--config", "--explain"]:
            expect(word in errors[0], f"{word!r} is not in {errors[0]!r}")
        expect("\nok " not in "\n" + done.stdout and "FAILED" not in done.stdout, f"nothing ran: {done.stdout}")
    # Of one shape that was asked for, the rule that is broken is the error.
    lathe.refuses(2, ["kvTile must be one of"], "verify", "--heads", 16, "--tokens", 64, "--device", "emulator",
                  "--config", "kvTile=7")


@case
def verify_lists_its_cases(lathe):
    count = {flag: len(lathe.json("verify", "--list", *flag, "--device", "emulator")["cases"])
             for flag in [(), ("--small",), ("--all",)]}
    expect(count[()] == count[("--small",)] < count[("--all",)], f"small by default on the emulator: {count}")
    cases = lathe.json("verify", "--list", "--all")["cases"]
    expect({1, 3, 5, 8, 16, 20, 63, 64, 126, 128} <= {row["heads"] for row in cases}, "heads")
    expect({16, 32, 64, 128} <= {row["page"] for row in cases}, "pages")
    expect(0 < len(lathe.json("verify", "--list", "--case", "page_")["cases"]) < len(cases), "--case filters")
    expect(len(lathe.json("verify", "--list", "--case", "one_long", "--device", "emulator")["cases"]) == 2,
           "--case finds the large ones too")
    lathe.refuses(2, ["nonsense"], "verify", "--list", "--case", "nonsense")


# Main ------------------------------------------------------------------------------------------------


def main():
    binary, name = sys.argv[1], sys.argv[2]
    if name == "--list":
        print("\n".join(CASES))
        return 0
    with tempfile.TemporaryDirectory(prefix="lathe-cli-") as folder:
        try:
            CASES[name](Lathe(binary, folder))
        except Skip as skip:
            print(f"cli_test.py:1: Skipped\n{skip}")
            return SKIPPED
        except Failure as failure:
            print(f"FAILED {name}: {failure}")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
