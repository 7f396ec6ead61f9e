#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Checks that every source file says its licence in its first line, or right after a line that must
be the first: `#!`, or the title of a manual page."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
HEAD = "SPDX-License-Identifier: BSD-3-Clause"

SOURCES = (".cpp", ".hpp", ".py", ".sh", ".toml", ".scd", ".lua", ".pkt",
           "meson.build", "meson_options.txt", "Makefile", "packages.txt")
# Captures and transcripts of the kernel, and inputs of the fuzzers: data, not sources.
DATA = ("tests/golden", "tests/fuzz/corpus")


def is_source(path):
    if path.name.endswith(SOURCES):
        return True
    with open(path, "rb") as file:
        return file.read(2) == b"#!"


def sources(root):
    for folder, folders, names in os.walk(root):
        here = Path(folder)
        folders[:] = [f for f in folders if not f.startswith(("build", "__"))
                      and (not f.startswith(".") or f == ".ci")
                      and (here / f).relative_to(root).as_posix() not in DATA]
        for name in names:
            path = here / name
            if path.is_file() and not path.is_symlink() and is_source(path):
                yield path


def problems(root=ROOT):
    for path in sorted(sources(root)):
        with open(path, encoding="utf-8", errors="replace") as file:
            first = file.readline()
            if first.startswith("#!") or path.suffix == ".scd":
                first = file.readline()
        if HEAD not in first:
            yield path.relative_to(root).as_posix()


def main():
    found = list(problems())
    for path in found:
        print(f"{path}:1: does not begin with '{HEAD}'")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
