#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Which test proves which rule of Linux's connection tracking.

usage: conformance.py           writes docs/conformance.md
       conformance.py --check   ends with an error if that file is not what would be written

In both cases every test that rules.toml names must exist, and every rule must have a proof or say
why it has none.
"""

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RULES = Path(__file__).resolve().parent / "rules.toml"
TABLE = ROOT / "docs" / "conformance.md"

HEAD = """<!-- Made by tests/conformance/conformance.py from tests/conformance/rules.toml; edit that. -->
# Conformance with Linux's connection tracking

Each rule, by the number that tests and comments give it, and the tests that prove it. Beside them
`tests/differential` compares all of it with the running kernel; what it lets differ is listed in
[its README](../tests/differential/README.md).

| rule | what | proved by |
|---|---|---|
"""


def exists(file, name):
    """True if the test called `name` is in `file`, a path from the root."""
    if file == "tests/golden":
        return (ROOT / file / name).is_dir()
    path = ROOT / file
    if file == "tests/differential":
        kinds = re.search(r"kKinds\[\] = \{(.*?)\};", (path / "generator.hpp").read_text(), re.S)
        return f'"{name}"' in kinds[1]
    if not path.is_file():
        return False
    text = path.read_text()
    if path.suffix == ".ct":
        return f"\n== {name}\n" in text
    if path.suffix == ".py":
        return re.search(rf"\bdef {re.escape(name)}\(", text) is not None
    suite, _, test = name.partition(".")
    return re.search(rf"\bTEST(_[FP])?\({suite},\s*{test}\)", text) is not None


def faults(rules):
    ids = [rule["id"] for rule in rules]
    for one in sorted({i for i in ids if ids.count(i) > 1}):
        yield f"rule {one} stands there twice; make one of them"
    for rule in rules:
        if ("open" in rule) == bool(rule.get("proof")):
            yield f"rule {rule['id']}: name its proofs, or say under `open` why it has none"
        for proof in rule.get("proof", []):
            file, _, name = proof.partition(": ")
            if not exists(file, name):
                yield f"rule {rule['id']}: there is no test '{name}' in {file}; name one that is"


def table(rules):
    def cell(rule):
        if "open" in rule:
            return f"*open: {rule['open']}*"
        by_file = {}
        for proof in rule["proof"]:
            file, _, name = proof.partition(": ")
            by_file.setdefault(file, []).append(name.replace("|", "\\|"))
        return "<br>".join(f"`{file}`: {'; '.join(names)}" for file, names in by_file.items())

    rows = [f"| {r['id']} | {r['text']} | {cell(r)} |" for r in rules]
    proved = sum("open" not in r for r in rules)
    return HEAD + "\n".join(rows) + f"\n\n{proved} of {len(rules)} rules are proved.\n"


def main():
    rules = tomllib.loads(RULES.read_text())["rule"]
    wrong = list(faults(rules))
    for fault in wrong:
        print(f"{RULES.relative_to(ROOT)}: {fault}", file=sys.stderr)
    if wrong:
        return 1
    text = table(rules)
    if "--check" not in sys.argv[1:]:
        TABLE.parent.mkdir(exist_ok=True)
        TABLE.write_text(text)
    elif not TABLE.exists() or TABLE.read_text() != text:
        print(f"{TABLE.relative_to(ROOT)} is not current; run {Path(__file__).relative_to(ROOT)}",
              file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
