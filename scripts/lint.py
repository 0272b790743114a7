#!/usr/bin/env python3
"""Checks the borders between the rooms and the cheap habits of the house.

Each finding is one line, "file:line: rule: what is wrong; way out", and the exit code is 1 when there is any. Needs
Python 3.9 and nothing else; `--self-test` plants every violation in a temporary tree and checks that it is found.
"""

import argparse
import os
import re
import sys
import tempfile
from pathlib import Path

# Who may include whom, beside itself. "*" sees everything. The first matching prefix counts.
ALL = "*"
ROOMS = [
    ("support", set()),
    ("dsl", {"support"}),
    ("kernel_cache", {"support"}),
    ("runtime/Jit", ALL),
    ("runtime", {"kernel_cache", "support"}),
    ("reference", {"runtime", "kernel_cache", "support"}),
    ("codegen", {"dsl", "support"}),
    ("autotuner", {"codegen", "kernel_cache", "reference", "support"}),
    ("python", ALL),
    ("tools", ALL),
    ("tests", ALL),
    ("examples", ALL),
    ("docs", ALL),
]
LIBRARY_ROOMS = ("support/", "dsl/", "kernel_cache/", "runtime/", "reference/", "codegen/", "autotuner/")

# Headers of others: where each family may appear (prefixes of paths), and the way out.
COMPILER_TESTS = tuple(f"tests/unit/{room}/" for room in ("codegen", "frontend", "ir", "schedules", "conversion", "target"))
COMPILER_TESTS += ("tests/golden/", "tests/ir/")
FOREIGN = [
    ("llvm-border", re.compile(r"^(mlir|llvm)(-c)?/"), ("codegen/", "tools/lathe-opt/") + COMPILER_TESTS,
     "LLVM and MLIR stay in codegen/ and tools/lathe-opt; call codegen/Compiler.h"),
    ("cuda-border", re.compile(r"^(cuda|cudaTypedefs|cuda_runtime\w*|cuda_bf16|cuda_fp16|driver_types)\.h$"),
     ("runtime/device/cuda/", "tests/unit/runtime/"), "the CUDA driver stays in runtime/device/cuda; use runtime/device/Device.h"),
    ("cuda-border", re.compile(r"^nvrtc\.h$"), ("runtime/device/cuda/", "reference/"),
     "NVRTC stays in runtime/device/cuda and reference"),
    ("assembler-border", re.compile(r"^(nvPTXCompiler|nvJitLink)\.h$"), ("codegen/Target/",),
     "assembling stays in codegen/Target; call codegen/Target/Assemble.h"),
    ("emulator-border", re.compile(r"^lathe/runtime/device/emulator/(?!(Emulator|Finding|Counters|Mix)\.h$)"),
     ("runtime/device/emulator/", "tests/"), "the interpreter stays in runtime/device/emulator; use Emulator.h there"),
    ("tool-border", re.compile(r"^CLI/"), ("tools/", "examples/"), "command lines are read in tools/ and examples/ alone"),
    ("test-border", re.compile(r"^(gtest|gmock|benchmark)/"), ("tests/", "docs/"), "test frameworks stay in tests/"),
]
# Parts of codegen that plain C++ callers see: no LLVM, not even through another header.
PLAIN_CODEGEN = re.compile(r"^codegen/(Schedule/(Config|ConfigJson|PlanCosts|MoeConfig|MoeProblem|RoutePlan)\.|Target/Assemble\.|Target/ResourceReport\.|Compiler\.h$)")

SOURCE_SUFFIXES = (".h", ".cpp", ".cc", ".c", ".cu")
TEXT_SUFFIXES = SOURCE_SUFFIXES + (".td", ".mlir", ".py", ".sh", ".cmake", ".txt", ".md", ".json", ".inc", ".yml")
SKIPPED_FOLDERS = {".git", ".deps", ".cache", "build", "__pycache__"}
MAX_FILE_LINES = 600
MAX_FUNCTION_LINES = 60

# Words are written in two parts here, so that this file does not find itself.
FORBIDDEN = [
    (re.compile(r"/wo" r"rk/"), "a path of one machine", "use paths relative to the repository"),
    (re.compile(r"\.\./sha" r"red\b"), "a path outside the repository", "bring what is needed into the repository"),
    (re.compile(r"(?<![\w\])])\.lib" r"rary\b"), "a path outside the repository", "bring what is needed in"),
    (re.compile(r"\bto be wri" r"tten\b|\bTO" r"DO\b|\bFIX" r"ME\b|\bX" r"XX\b"), "unfinished work",
     "finish it or open an issue"),
    (re.compile(r"\bissue #?\d+\b", re.I), "the number of an issue", "say what it is about"),
]

INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]')
TYPE_OR_SCOPE = re.compile(r"^(inline )?(namespace|struct|class|enum|union|using|typedef|extern \"C\" \{|public:|private:)\b")


class Finding:
    def __init__(self, path, line, rule, what, way_out):
        self.path, self.line, self.rule, self.what, self.way_out = path, line, rule, what, way_out

    def __str__(self):
        return f"{self.path}:{self.line}: {self.rule}: {self.what}; {self.way_out}"


class Tree:
    """The text files below a root: path with forward slashes -> lines."""

    def __init__(self, root):
        self.lines = {}
        self.undecodable = []
        for folder, folders, names in os.walk(root):
            folders[:] = sorted(f for f in folders if f not in SKIPPED_FOLDERS)
            for name in sorted(names):
                path = Path(folder) / name
                if path.suffix not in TEXT_SUFFIXES or path.is_symlink():
                    continue
                key = path.relative_to(root).as_posix()
                try:
                    self.lines[key] = path.read_text(encoding="utf-8").split("\n")
                except UnicodeDecodeError:
                    self.undecodable.append(key)
        self._reach = {}

    def sources(self):
        return {p: lines for p, lines in self.lines.items() if p.endswith(SOURCE_SUFFIXES)}

    def includes(self, path):
        for number, line in enumerate(self.lines.get(path, []), 1):
            match = INCLUDE.match(line)
            if match:
                yield number, match.group(1)

    def resolve(self, includer, header):
        """Path in the tree of an included header, or None for one of others."""
        if header.startswith("lathe/"):
            return header[len("lathe/"):]
        beside = os.path.normpath(os.path.join(os.path.dirname(includer), header)).replace(os.sep, "/")
        return beside if beside in self.lines else None

    def reaches_llvm(self, path):
        """Does including this file bring LLVM or MLIR in?"""
        if path not in self._reach:
            self._reach[path] = False  # Ends cycles.
            for _, header in self.includes(path):
                inner = self.resolve(path, header)
                if FOREIGN[0][1].match(header) or (inner and self.reaches_llvm(inner)):
                    self._reach[path] = True
                    break
        return self._reach[path]


def room_of(path):
    """The row of ROOMS that a path belongs to, or None."""
    return next((row for row in ROOMS if path == row[0] or path.startswith((row[0] + "/", row[0] + "."))), None)


def check_room_borders(tree):
    for path in tree.sources():
        row = room_of(path)
        if row is None:
            yield Finding(path, 1, "room", "the file is in no room", "move it into one, or add the room to scripts/lint.py")
            continue
        for number, header in tree.includes(path):
            if not header.startswith("lathe/"):
                continue
            target = room_of(header[len("lathe/"):])
            other = header.split("/")[1]
            own = path.split("/")[0]
            if target is None:
                yield Finding(path, number, "room", f"{header} is in no room", "include lathe/<room>/<File>.h")
            elif target[0] == "runtime/Jit" and row[1] != ALL:
                yield Finding(path, number, "border", "runtime/Jit sees everything, so no library room may see it",
                              "include runtime/Kernel.h")
            elif row[1] != ALL and other != own and other not in row[1]:
                allowed = ", ".join(sorted(row[1] | {own}))
                yield Finding(path, number, "border", f"{row[0]} may not include {other}",
                              f"it may include {allowed}; pass data or a callback instead")


def check_foreign_headers(tree):
    for path in tree.sources():
        plain = PLAIN_CODEGEN.match(path)
        for number, header in tree.includes(path):
            for rule, pattern, places, way_out in FOREIGN:
                if pattern.match(header) and (not path.startswith(places) or (rule == "llvm-border" and plain)):
                    yield Finding(path, number, rule, f"{header} may not be included here", way_out)
            inner = tree.resolve(path, header)
            if inner and tree.reaches_llvm(inner) and (plain or not path.startswith(FOREIGN[0][2])):
                yield Finding(path, number, "llvm-border", f"{header} brings LLVM or MLIR in", FOREIGN[0][3])


def check_include_style(tree):
    for path in tree.sources():
        if not path.startswith(LIBRARY_ROOMS):
            continue
        for number, line in enumerate(tree.lines[path], 1):
            match = re.match(r'^\s*#\s*include\s*"([^"]+)"', line)
            if match and not match.group(1).startswith(("lathe/", "mlir/", "llvm/")) and not match.group(1).endswith(".inc"):
                yield Finding(path, number, "include-style", f'"{match.group(1)}" is relative',
                              f'include "lathe/{os.path.dirname(path)}/{os.path.basename(match.group(1))}"')


def check_banners(tree):
    for path, lines in tree.lines.items():
        if not path.endswith((".h", ".td")):
            continue
        name = path.rsplit("/", 1)[-1]
        if not re.match(rf"^//===- {re.escape(name)} - \S.* -*===//$|^//===- {re.escape(name)} - \S.*[^-]-+===//$", lines[0]):
            yield Finding(path, 1, "banner", "the file banner is missing or names another file",
                          f"begin with //===- {name} - What it is ---===// and three sentences: what, why, who calls it")
        elif not any(re.match(r"^// \w", line) for line in lines[1:6]):
            yield Finding(path, 2, "banner", "the banner says nothing", "say what it is, why it is and who calls it")
        if path.endswith(".h") and "#pragma once" not in lines:
            yield Finding(path, 1, "pragma-once", "the header can be included twice", "add #pragma once below the banner")


def check_sizes(tree):
    for path, lines in tree.lines.items():
        if path.endswith(SOURCE_SUFFIXES + (".py", ".td", ".sh")) and len(lines) - 1 > MAX_FILE_LINES:
            yield Finding(path, MAX_FILE_LINES + 1, "file-size", f"{len(lines) - 1} lines, the limit is {MAX_FILE_LINES}",
                          "split it: a file does one thing")
    for path, lines in tree.sources().items():
        for begin, end in functions(without_raw_strings(lines)):
            if end - begin + 1 > MAX_FUNCTION_LINES:
                yield Finding(path, begin, "function-size", f"{end - begin + 1} lines, the limit is {MAX_FUNCTION_LINES}",
                              "split it: a function fits a screen")


def without_raw_strings(lines):
    """The lines with the inside of raw string literals emptied."""
    result, closing = [], None
    for line in lines:
        if closing is not None:
            if closing in line:
                line, closing = line[line.index(closing):], None
            else:
                line = ""
        match = re.search(r'R"(\w*)\(', line)
        if match and f'){match.group(1)}"' not in line[match.end():]:
            closing = f'){match.group(1)}"'
        result.append(line)
    return result


def functions(lines):
    """First and last line number of each definition that begins and ends in column 0 (as clang-format leaves them)."""
    begin, inside = None, False
    for number, line in enumerate(lines, 1):
        text = line.rstrip()
        if inside:
            if text.startswith("}"):
                if text == "}":
                    yield begin, number
                begin, inside = None, False
            continue
        if not text or text[0] in "#/}" or TYPE_OR_SCOPE.match(text):
            begin = None
            continue
        if begin is None and text[0] not in " \t":
            begin = number
        if begin is not None and text.endswith("{"):
            inside = True
        elif begin is not None and text.endswith((";", "}")):
            begin = None


def check_words(tree):
    for path, lines in tree.lines.items():
        for number, line in enumerate(lines, 1):
            for pattern, what, way_out in FORBIDDEN:
                match = pattern.search(line)
                if match:
                    yield Finding(path, number, "words", f"'{match.group(0)}' is {what}", way_out)
    for path in tree.undecodable:
        yield Finding(path, 1, "words", "the text is not UTF-8", "save it as UTF-8")


def check_habits(tree):
    for path, lines in tree.sources().items():
        in_room = path.startswith(LIBRARY_ROOMS)
        name = path.rsplit("/", 1)[-1].split(".")[0]
        if path.startswith(LIBRARY_ROOMS + ("tests/unit/",)) and not re.match(r"^[A-Z][A-Za-z0-9]*$", name):
            yield Finding(path, 1, "naming", f"'{name}' is not CamelCase", "rename the file: CamelCase, after what it holds")
        unnamed = reported = False
        for number, line in enumerate(lines, 1):
            if re.match(r"^using namespace std\b", line):
                yield Finding(path, number, "habits", "namespace std is opened", "write std::")
            if in_room and path != "support/Env.cpp" and re.search(r"\b(secure_)?getenv\s*\(", line):
                yield Finding(path, number, "environment", "the environment is read here", "declare it in support/Env.cpp, use env()")
            if in_room and re.search(r"\bthrow\s+std::", line):
                yield Finding(path, number, "errors", "an exception of std is thrown",
                              "throw UserError, CompileError or DeviceError (support/Error.h)")
            unnamed = (unnamed or line.startswith("namespace {")) and not line.startswith("} // namespace")
            if unnamed and not reported and re.match(r"^(static |inline )*[A-Za-z_][\w:<>,&* ]* [&*]*\w+\(.*\)( const)? \{", line):
                reported = True  # Once a file is enough.
                yield Finding(path, number, "naming", "a function in an unnamed namespace",
                              "unnamed namespaces are for types; make it a static free function")


CHECKS = [check_room_borders, check_foreign_headers, check_include_style, check_banners, check_sizes, check_words,
          check_habits]


def lint(root):
    tree = Tree(root)
    findings = [finding for check in CHECKS for finding in check(tree)]
    return sorted(findings, key=lambda f: (f.path, f.line, f.rule, f.what))


# --- Self test ----------------------------------------------------------------------------------------------------

def banner(name):
    return f"//===- {name} - A thing ----===//\n//\n// What it is. Why it is. Who calls it.\n//\n//===----===//\n#pragma once\n"


CLEAN = {
    "support/Error.h": banner("Error.h"),
    "support/Env.cpp": 'const char *read() { return std::getenv("HOME"); }\n',
    "dsl/Kernel.h": banner("Kernel.h") + '#include "lathe/support/Error.h"\n',
    "codegen/Compiler.h": banner("Compiler.h") + '#include "lathe/dsl/Kernel.h"\n',
    "codegen/Target/Ptx.h": banner("Ptx.h") + '#include "mlir/IR/BuiltinOps.h"\n',
    "codegen/Target/Ptx.cpp": '#include "lathe/codegen/Target/Ptx.h"\n#include "TileOps.cpp.inc"\n',
    "runtime/Jit.h": banner("Jit.h") + '#include "lathe/codegen/Compiler.h"\n',
    "runtime/Kernel.h": banner("Kernel.h"),
    "runtime/device/cuda/Driver.cpp": "#include <cuda.h>\n",
    "reference/Nvrtc.cpp": '#include <nvrtc.h>\nstatic const char *text = R"cuda(\n' + "int f() {\n" + "\n" * 80 + '}\n)cuda";\n',
    "autotuner/Search.cpp": '#include "lathe/codegen/Compiler.h"\n#include "lathe/reference/Check.h"\n',
    "tools/lathe/Main.cpp": '#include "Options.h"\n#include <CLI/CLI.hpp>\n#include "lathe/runtime/Jit.h"\n',
    "tools/lathe/Run.cpp": '#include "lathe/runtime/device/emulator/Emulator.h"\n',
    "tests/unit/support/HashTest.cpp": "#include <gtest/gtest.h>\n",
}
JIT_CPP = '#include "lathe/runtime/Jit.h"\n#include "lathe/codegen/Target/Assemble.h"\n'

# path, text, line and rule that must be found there, and only that.
PLANTS = [
    ("support/A.cpp", '\n#include "lathe/dsl/Kernel.h"\n', 2, "border"),
    ("dsl/A.cpp", '#include "lathe/runtime/Kernel.h"\n', 1, "border"),
    ("kernel_cache/A.cpp", '#include "lathe/codegen/Compiler.h"\n', 1, "border"),
    ("runtime/A.cpp", '#include "lathe/codegen/Compiler.h"\n', 1, "border"),
    ("runtime/A.cpp", '#include "lathe/runtime/Jit.h"\n', 1, "border"),
    ("reference/A.cpp", '#include "lathe/codegen/Compiler.h"\n', 1, "border"),
    ("codegen/A.cpp", '#include "lathe/runtime/Kernel.h"\n', 1, "border"),
    ("codegen/A.cpp", '#include "lathe/kernel_cache/Store.h"\n', 1, "border"),
    ("autotuner/A.cpp", '#include "lathe/tools/lathe/Options.h"\n', 1, "border"),
    ("cellar/A.cpp", "int a;\n", 1, "room"),
    ("runtime/A.cpp", '#include "lathe/Kernel.h"\n', 1, "room"),
    ("runtime/A.cpp", '#include "llvm/ADT/StringRef.h"\n', 1, "llvm-border"),
    ("tools/lathe/A.cpp", "#include <mlir/IR/Builders.h>\n", 1, "llvm-border"),
    ("autotuner/A.cpp", '#include "lathe/codegen/Target/Ptx.h"\n', 1, "llvm-border"),
    ("codegen/Schedule/Config.cpp", '#include "llvm/ADT/StringRef.h"\n', 1, "llvm-border"),
    ("codegen/Target/Assemble.cpp", '#include "lathe/codegen/Target/Ptx.h"\n', 1, "llvm-border"),
    ("codegen/Target/ResourceReport.cpp", '#include "mlir/IR/Builders.h"\n', 1, "llvm-border"),
    ("codegen/Compiler.h", banner("Compiler.h") + '#include "mlir/IR/Builders.h"\n', 7, "llvm-border"),
    ("runtime/A.cpp", "#include <cuda.h>\n", 1, "cuda-border"),
    ("codegen/A.cpp", "#include <nvrtc.h>\n", 1, "cuda-border"),
    ("runtime/A.cpp", "#include <nvPTXCompiler.h>\n", 1, "assembler-border"),
    ("tools/lathe/A.cpp", '#include "lathe/runtime/device/emulator/Cluster.h"\n', 1, "emulator-border"),
    ("runtime/A.cpp", "#include <CLI/CLI.hpp>\n", 1, "tool-border"),
    ("runtime/A.cpp", "#include <gtest/gtest.h>\n", 1, "test-border"),
    ("runtime/A.cpp", '#include "Kernel.h"\n', 1, "include-style"),
    ("dsl/A.h", "#pragma once\n", 1, "banner"),
    ("dsl/A.h", banner("B.h"), 1, "banner"),
    ("dsl/A.h", "//===- A.h - A thing ----===//\n#pragma once\nint a;\n", 2, "banner"),
    ("dsl/A.h", banner("A.h").replace("#pragma once\n", ""), 1, "pragma-once"),
    ("codegen/IR/A.td", "def A;\n", 1, "banner"),
    ("dsl/A.cpp", "int a;\n" * 601, 601, "file-size"),
    ("dsl/A.cpp", "\nstatic int f(int a,\n             int b) {\n" + "  a++;\n" * 60 + "}\n", 2, "function-size"),
    ("dsl/A.cpp", "// See /wo" "rk/main.\n", 1, "words"),
    ("docs/a.md", "../sha" "red/design\n", 1, "words"),
    ("scripts/a.sh", "ls .lib" "rary/env\n", 1, "words"),
    ("dsl/A.cpp", "// TO" "DO: more\n", 1, "words"),
    ("dsl/A.cpp", "// as issue" " 2 says\n", 1, "words"),
    ("dsl/some_file.cpp", "int a;\n", 1, "naming"),
    ("dsl/A.cpp", "namespace {\nint f(int a) {\n  return a;\n}\n} // namespace\n", 2, "naming"),
    ("dsl/A.cpp", "using namespace std;\n", 1, "habits"),
    ("dsl/A.cpp", 'auto a = std::getenv("A");\n', 1, "environment"),
    ("dsl/A.cpp", 'void f() { throw std::runtime_error("a"); }\n', 1, "errors"),
]


def lint_files(files):
    with tempfile.TemporaryDirectory() as root:
        for path, text in files.items():
            target = Path(root) / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
        return lint(root)


def self_test():
    failures = [f"clean tree: {finding}" for finding in lint_files({**CLEAN, "runtime/Jit.cpp": JIT_CPP})]
    for path, text, line, rule in PLANTS:
        findings = lint_files({**CLEAN, path: text})
        # A header that reaches LLVM is reported wherever it is included; the plant itself is what counts.
        here = [(f.path, f.line, f.rule) for f in findings if f.path == path]
        if here != [(path, line, rule)]:
            failures.append(f"{path}:{line}: {rule} expected, found {here}")
    rules = set(re.findall(r'Finding\([^"]*"([a-z-]+)"', Path(__file__).read_text(encoding="utf-8")))
    rules |= {row[0] for row in FOREIGN}
    failures += [f"no plant for rule {rule}" for rule in sorted(rules - {plant[3] for plant in PLANTS})]
    for failure in failures:
        print(f"self-test: {failure}")
    print(f"self-test: {len(PLANTS)} planted violations, {len(rules)} rules, {len(failures)} failures")
    return 1 if failures else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", default=Path(__file__).resolve().parent.parent, help="tree to check (this repository)")
    parser.add_argument("--self-test", action="store_true", help="plant violations and check that they are found")
    options = parser.parse_args()
    if options.self_test:
        return self_test()
    findings = lint(options.root)
    for finding in findings:
        print(finding)
    if findings:
        print(f"lint: {len(findings)} findings", file=sys.stderr)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
