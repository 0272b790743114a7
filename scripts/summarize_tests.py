#!/usr/bin/env python3
"""Prints what ctest's JUnit file says: skipped tests by reason, failed tests, and the counts as the last line.

Usage: summarize_tests.py RESULTS.xml. Exits 1 when a test failed or none ran. Called by scripts/test.sh.
"""
import collections
import re
import sys
import xml.etree.ElementTree as ElementTree


def skip_reason(case):
    """The text after GoogleTest's "file:line: Skipped", or ctest's own words."""
    output = case.findtext("system-out") or ""
    match = re.search(r"^\S+:\d+: Skipped\n(.*?)(?=\n\s*\n|\n\[|\Z)", output, re.S | re.M)
    if match and match.group(1).strip():
        return " ".join(match.group(1).split())
    skipped = case.find("skipped")
    message = skipped.get("message", "") if skipped is not None else ""
    return "no reason given" if message in ("", "SKIP_REGULAR_EXPRESSION_MATCHED") else message


def main(path):
    cases = list(ElementTree.parse(path).getroot().iter("testcase"))
    passed, failed, skipped = [], [], collections.defaultdict(list)
    for case in cases:
        name, status = case.get("name"), case.get("status")
        if status == "run":
            passed.append(name)
        elif status == "disabled":
            skipped["disabled in the source"].append(name)
        elif status == "notrun" and case.find("skipped") is not None:
            message = case.find("skipped").get("message", "")
            # A test whose program is missing did not run either, but that is a failure.
            if "Unable to find" in message or "Not Run" in message:
                failed.append(name)
            else:
                skipped[skip_reason(case)].append(name)
        else:
            failed.append(name)
    count = sum(len(names) for names in skipped.values())
    print()
    for reason, names in sorted(skipped.items()):
        print(f"skipped ({len(names)}): {reason}")
        for name in sorted(names):
            print(f"  {name}")
    for name in sorted(failed):
        print(f"FAILED: {name}")
    print(f"{len(passed)} passed, {len(failed)} failed, {count} skipped")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
