#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Runs sluice-flood at tiny size and checks that its books balance. No figure of speed is judged."""
import json
import os
import subprocess
import sys
import tempfile

CASES = [
    ["--table", "16384", "--established", "2000", "--legit-cps", "200", "--rtt", "2"],
    ["--table", "16384", "--established", "2000", "--legit-cps", "200", "--rtt", "2",
     "--masquerade", "--acct"],
    ["--table", "16384", "--established", "2000", "--legit-cps", "0", "--policy", "linux"],
    ["--table", "16384", "--established", "2000", "--legit-cps", "0", "--policy", "drop"],
    ["--table", "65536", "--established", "2000", "--workers", "2", "--legit-cps", "200",
     "--flood-pps", "20000", "--rtt", "2"],
    ["--table", "16384", "--established", "2000", "--legit-cps", "200", "--rtt", "2", "--driver",
     "net_ring"],
    ["--table", "16384", "--established", "2000", "--legit-cps", "0", "--notrack"],
]


def run(program, arguments):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "result.json")
        done = subprocess.run([program, "--seconds", "1", "--plain", "--seed", "7",
                               "--json", path, *arguments],
                              capture_output=True, text=True, timeout=100, check=False)
        if done.returncode != 0:
            print(done.stdout, done.stderr)
            raise SystemExit(f"sluice-flood {' '.join(arguments)}: exit {done.returncode}")
        with open(path, encoding="utf-8") as f:
            return json.load(f)


def check(condition, text):
    if not condition:
        raise SystemExit(f"FAILED: {text}")


def main():
    program = sys.argv[1]
    for arguments in CASES:
        r = run(program, arguments)
        name = " ".join(arguments)
        drops = sum(r["drops"].values())
        check(r["rx_packets"] + r["local_made"] == r["tx_packets"] + drops + r["held"], f"{name}: books")
        check(r["balanced"] and r["buffers_returned"], f"{name}: balance and buffers")
        tracked = "--notrack" not in arguments
        check(r["established_before"] == (2000 if tracked else 0), f"{name}: set-up")
        check((r["inserts"] > 0) == tracked, f"{name}: entries")
        check(r["established_lost"] == 0, f"{name}: established connections lost")
        check(r["assured_evicted"] == 0, f"{name}: assured entries evicted")
        check(r["rx_packets"] > 6000, f"{name}: traffic")
        check(sum(r["mpps_samples"]) > 0, f"{name}: rates")
        if "net_ring" in arguments:
            check("net_ring" in r["mode"], f"{name}: driver")
            check(r["legit_completed"] > 0, f"{name}: legitimate connections")
        if not tracked:
            check(r["tx_packets"] == r["rx_packets"], f"{name}: all of it forwarded")
        if "drop" in arguments:
            check(r["drops"].get("ct_table_full", 0) > 0, f"{name}: refused newcomers")
        if "linux" in arguments:
            check(r["early_drops"] > 0, f"{name}: evictions")
        if "--workers" in arguments:
            check(r["workers"] == 2, f"{name}: two workers")
            check(r["legit_completed"] > 0, f"{name}: legitimate connections")
        print("ok", name)


if __name__ == "__main__":
    main()
