#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""The tree is in order, and the checks that say so would say if it were not."""

import sys
import tempfile
import unittest
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))
import layers  # noqa: E402
import licences  # noqa: E402


class Tree(unittest.TestCase):
    def test_includes_nothing_upward(self):
        self.assertEqual(list(layers.problems()), [])

    def test_has_its_licence_in_every_source(self):
        self.assertEqual(list(licences.problems()), [])


class MadeUpTree(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)
        self.write("ct/base/time.hpp")
        self.write("ct/wire/packet.hpp")
        self.write("ct/proto/proto.hpp")
        self.write("ct/conntrack.hpp")
        self.write("nat/rule.hpp")
        self.write("dataplane/control/config.hpp")
        self.write("dataplane/ports.hpp")

    def write(self, path, text=""):
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def wrong(self, path, include):
        self.write(path, f"// a line\n#include {include}\n")
        return [(file, line) for file, line, _ in layers.problems(self.root)]


def add(name, path, include, allowed):
    def test(self):
        self.assertEqual(self.wrong(path, include), [] if allowed else [(path, 2)])
    setattr(MadeUpTree, f"test_{name}", test)


for case in (
    ("base_does_not_see_wire", "ct/base/a.hpp", '"ct/wire/packet.hpp"', False),
    ("wire_sees_base", "ct/wire/a.hpp", '"ct/base/time.hpp"', True),
    ("table_does_not_see_proto", "ct/table/a.cpp", '"ct/proto/proto.hpp"', False),
    ("proto_does_not_see_conntrack", "ct/proto/a.cpp", '"ct/conntrack.hpp"', False),
    ("conntrack_sees_proto", "ct/a.cpp", '"ct/proto/proto.hpp"', True),
    ("ct_does_not_see_nat", "ct/a.cpp", '"nat/rule.hpp"', False),
    ("nat_sees_ct", "nat/a.cpp", '"ct/conntrack.hpp"', True),
    ("nat_does_not_see_dataplane", "nat/a.cpp", '"dataplane/ports.hpp"', False),
    ("ct_does_not_see_dpdk", "ct/wire/a.cpp", "<rte_mbuf.h>", False),
    ("control_does_not_see_dpdk", "dataplane/control/a.cpp", "<rte_ethdev.h>", False),
    ("control_does_not_see_dataplane", "dataplane/control/a.cpp", '"dataplane/ports.hpp"', False),
    ("dataplane_sees_dpdk", "dataplane/a.cpp", "<rte_ethdev.h>", True),
    ("cli_does_not_see_dataplane", "dataplane/cli/a.cpp", '"dataplane/ports.hpp"', False),
    ("an_include_starts_at_the_root", "ct/wire/a.cpp", '"packet.hpp"', False),
    ("ct_sees_the_standard_library", "ct/base/a.hpp", "<array>", True),
):
    add(*case)


class Licence(unittest.TestCase):
    def missing(self, name, text):
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / name).write_text(text)
            return list(licences.problems(Path(folder)))

    def test_is_missed(self):
        self.assertEqual(self.missing("a.cpp", "int a;\n"), ["a.cpp"])
        self.assertEqual(self.missing("tool", "#!/bin/sh\necho\n"), ["tool"])

    def test_may_follow_the_interpreter(self):
        self.assertEqual(self.missing("tool", f"#!/bin/sh\n# {licences.HEAD}\n"), [])


if __name__ == "__main__":
    unittest.main()
