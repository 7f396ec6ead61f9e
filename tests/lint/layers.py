#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Checks that no file includes upward: the layers of the tree are a strict order.

    ct/base -> ct/wire -> ct/conn -> { ct/table ct/proto ct/expect } -> ct -> nat
        -> dataplane/control -> { dataplane  dataplane/cli } -> bench tests

A folder sees those left of it and itself; folders in braces do not see one another. ct/ and nat/
see the standard library only, dataplane/control no DPDK. So the tracker is a library that runs
under a fuzzer or a sanitizer without any of it.
"""

import os
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent

CT = ("ct/base", "ct/wire", "ct/conn", "ct/table", "ct/proto", "ct/expect", "ct")
LAYERS = {
    "ct/base": (),
    "ct/wire": CT[:1],
    "ct/conn": CT[:2],
    "ct/table": CT[:3],
    "ct/proto": CT[:3],
    "ct/expect": CT[:3],
    "ct": CT,
    "nat": CT,
    "dataplane/control": (*CT, "nat"),
    "dataplane/cli": ("dataplane/control", "ct/base"),  # the drop reasons are everybody's words
    "dataplane": (*CT, "nat", "dataplane/control"),
    "bench": (*CT, "nat", "dataplane/control", "dataplane"),
    "tests": (*CT, "nat", "dataplane/control", "dataplane/cli", "dataplane", "bench"),
}

# Libraries that only some layers may see, by how their headers begin.
LIBRARIES = {
    "rte_": ("dataplane", "bench", "tests"),
    "hwloc": ("dataplane", "bench", "tests"),
    "tbb/": ("dataplane/control", "dataplane", "bench", "tests"),
    "oneapi/": ("dataplane/control", "dataplane", "bench", "tests"),
    "fmt/": ("dataplane/control", "dataplane/cli", "dataplane", "bench", "tests"),
    "spdlog/": ("dataplane/control", "dataplane/cli", "dataplane", "bench", "tests"),
    "nlohmann/": ("dataplane/control", "dataplane/cli", "dataplane", "bench", "tests"),
    "toml": ("dataplane/control", "tests"),
    "CLI/": ("dataplane/cli", "dataplane", "bench", "tests"),
    "pcap": ("dataplane", "bench", "tests"),
    "gtest/": ("tests",),
    "gmock/": ("tests",),
    "benchmark/": ("bench",),
}

INCLUDE = re.compile(r'^\s*#\s*include\s+(?:"([^"]+)"|<([^>]+)>)', re.M)


def layer_of(path):
    """The layer of a path relative to the root: the longest folder that is one."""
    folder = Path(path).parent.as_posix()
    while folder not in LAYERS:
        if folder in (".", ""):
            return None
        folder = Path(folder).parent.as_posix()
    return folder


def judge(own, folder, quoted, angled, root):
    """What is wrong with one #include in a file of the layer `own`, or None."""
    if quoted:
        if own == "tests" and (folder / quoted).exists():
            return None  # a helper beside the test that uses it
        target = layer_of(quoted)
        if target is None or not (root / quoted).exists():
            return f'"{quoted}" is no file of the tree; includes start at its root'
        if target != own and target not in LAYERS[own]:
            return f'{own} must not see {target} ("{quoted}")'
        return None
    for head, layers in LIBRARIES.items():
        if angled.startswith(head) and own not in layers:
            return f"{own} must not see <{angled}>"
    return None


def problems(root=ROOT):
    """Every include that breaks the order: (file, line, what is wrong)."""
    for top in sorted({layer.split("/")[0] for layer in LAYERS}):
        for folder, _, names in sorted(os.walk(root / top)):
            for name in sorted(names):
                if not name.endswith((".cpp", ".hpp")):
                    continue
                path = Path(folder) / name
                relative = path.relative_to(root).as_posix()
                text = path.read_text(errors="replace")
                for found in INCLUDE.finditer(text):
                    wrong = judge(layer_of(relative), path.parent, *found.groups(), root)
                    if wrong:
                        yield relative, text.count("\n", 0, found.end()) + 1, wrong


def main():
    found = list(problems())
    for path, line, wrong in found:
        print(f"{path}:{line}: {wrong}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
