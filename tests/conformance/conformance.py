#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Which test proves which rule of Linux's connection tracking, and which requirement of the RFCs
on NAT.

usage: conformance.py           writes docs/conformance.md and docs/nat-requirements.md
       conformance.py --check   ends with an error if they are not what would be written

In both cases every test that rules.toml and nat.toml name must exist, and every rule must have a
proof or say why it has none.
"""

import re
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent

LINUX = """<!-- Made by tests/conformance/conformance.py from tests/conformance/rules.toml; edit that. -->
# Conformance with Linux's connection tracking

Each rule, by the number that tests and comments give it, and the tests that prove it. Beside them
`tests/differential` compares all of it with the running kernel; what it lets differ is listed in
[its README](../tests/differential/README.md).
"""

NAT = """<!-- Made by tests/conformance/conformance.py from tests/conformance/nat.toml; edit that. -->
# What the RFCs ask of a NAT

Each requirement, and the tests that prove it. Where Linux does otherwise and Sluice's default is
Linux's way, the settings that meet the requirement stand with it; each is one of a rule or of
`[conntrack]`, in sluice.toml(5).
"""

COLUMNS = """
| rule | what | proved by |
|---|---|---|
"""


@dataclass(frozen=True)
class Table:
    rules: Path
    out: Path
    head: str


TABLES = [Table(HERE / "rules.toml", ROOT / "docs" / "conformance.md", LINUX),
          Table(HERE / "nat.toml", ROOT / "docs" / "nat-requirements.md", NAT)]


def exists(file, name):
    """True if the test called `name` is in `file`, a path from the root."""
    if file == "tests/golden":
        return (ROOT / file / name).is_dir()
    path = ROOT / file
    if file == "tests/differential":
        kinds = re.search(r"kKinds\[\] = \{(.*?)\};", (path / "generator.hpp").read_text(), re.S)
        profile = f'{{.name = "{name}"' in (path / "profiles.cpp").read_text()
        return f'"{name}"' in kinds[1] or profile
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
    ids = [" ".join((rule.get("group", ""), rule["id"])).strip() for rule in rules]
    for one in sorted({i for i in ids if ids.count(i) > 1}):
        yield f"rule {one} stands there twice; make one of them"
    for rule in rules:
        if not rule.get("text") or not rule.get("open", "?"):
            yield f"rule {rule['id']}: a cell of its row is empty; fill it"
        if ("open" in rule) == bool(rule.get("proof")):
            yield f"rule {rule['id']}: name its proofs, or say under `open` why it has none"
        for proof in rule.get("proof", []):
            file, _, name = proof.partition(": ")
            if not exists(file, name):
                yield f"rule {rule['id']}: there is no test '{name}' in {file}; name one that is"


def text_of(table, rules):
    def cell(rule):
        if "open" in rule:
            return f"*open: {rule['open']}*"
        by_file = {}
        for proof in rule["proof"]:
            file, _, name = proof.partition(": ")
            by_file.setdefault(file, []).append(name.replace("|", "\\|"))
        return "<br>".join(f"`{file}`: {'; '.join(names)}" for file, names in by_file.items())

    def what(rule):
        return rule["text"] + (f" (*with* {rule['with']})" if "with" in rule else "")

    text = table.head
    for group in dict.fromkeys(rule.get("group") for rule in rules):
        text += (f"\n## {group}\n" if group else "") + COLUMNS
        text += "".join(f"| {r['id']} | {what(r)} | {cell(r)} |\n"
                        for r in rules if r.get("group") == group)
    proved = sum("open" not in r for r in rules)
    return f"{text}\n{proved} of {len(rules)} rules are proved.\n"


def make(table, check):
    """Writes the table, or checks that it is written. False, and said why, if something is wrong."""
    rules = tomllib.loads(table.rules.read_text())["rule"]
    wrong = list(faults(rules))
    for fault in wrong:
        print(f"{table.rules.relative_to(ROOT)}: {fault}", file=sys.stderr)
    if wrong:
        return False
    text = text_of(table, rules)
    if not check:
        table.out.parent.mkdir(exist_ok=True)
        table.out.write_text(text)
    elif not table.out.exists() or table.out.read_text() != text:
        print(f"{table.out.relative_to(ROOT)} is not current; run "
              f"{Path(__file__).resolve().relative_to(ROOT)}", file=sys.stderr)
        return False
    return True


def main():
    return 0 if all([make(table, "--check" in sys.argv[1:]) for table in TABLES]) else 1


if __name__ == "__main__":
    sys.exit(main())
