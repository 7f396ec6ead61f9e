# SPDX-License-Identifier: BSD-3-Clause
"""What the end-to-end tests share: a test case that owns a lab, and a main with meson's exit codes."""

import re
import sys
import unittest

import bench_net


class LabCase(unittest.TestCase):
    """One lab for all tests of the class; `lay_out` builds it."""

    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.lab = bench_net.Lab()
        try:
            cls.lay_out()
        except BaseException:
            cls.lab.close()
            raise

    @classmethod
    def tearDownClass(cls):
        cls.lab.close()

    @classmethod
    def lay_out(cls):
        raise NotImplementedError

    def entry(self, *filters):
        """The one line of the connection table that passes the filters."""
        lines = self.router.entries(*filters)
        self.assertEqual(len(lines), 1, "\n".join(lines) or f"no entry for {filters}")
        return fields(lines[0])


def fields(line):
    """A line of conntrack(8) as a dictionary; `original` and `reply` are dictionaries of their own."""
    words = line.split()
    result = {"proto": words[0], "line": line, "original": {}, "reply": {},
              "flags": set(re.findall(r"\[(\w+)\]", line))}
    numbers = [w for w in words[1:4] if w.isdigit()]
    result["timeout"] = int(numbers[1]) if len(numbers) > 1 else None
    state = [w for w in words[2:5] if re.fullmatch(r"[A-Z][A-Z_0-9]+", w)]
    result["state"] = state[0] if state else None
    for key, value in re.findall(r"(\w+)=(\S+)", line):
        side = "original" if key not in result["original"] else "reply"
        if key in ("src", "dst", "sport", "dport", "type", "code", "id"):
            result[side].setdefault(key, value)
        else:
            result.setdefault(key, value)
    return result


def main(*tools):
    """Runs the tests of the module, which need the programs `tools` beside the usual ones."""
    reason = bench_net.why_not(*tools)
    if reason:
        print(f"end-to-end tests skipped: {reason}")
        sys.exit(bench_net.SKIP)
    unittest.main(module="__main__", verbosity=2)
