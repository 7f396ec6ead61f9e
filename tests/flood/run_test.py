#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Runs sluice-flood at tiny size and checks that its books balance. No figure of speed is judged."""
import json
import os
import socket
import subprocess
import sys
import tempfile
import time

CASES = [
    ["--table", "16384", "--established", "2000", "--legit-cps", "200", "--rtt", "2"],
    ["--table", "16384", "--established", "2000", "--legit-cps", "200", "--rtt", "2",
     "--masquerade", "--acct"],
    ["--table", "16384", "--established", "2000", "--legit-cps", "0", "--policy", "linux"],
    ["--table", "16384", "--established", "2000", "--legit-cps", "0", "--policy", "drop"],
    ["--table", "16384", "--established", "2000", "--legit-cps", "200", "--rtt", "2", "--policy",
     "closing-first"],
    ["--table", "16384", "--established", "2000", "--legit-cps", "0", "--policy", "untracked"],
    ["--table", "16384", "--established", "2000", "--legit-cps", "0", "--policy", "untracked",
     "--masquerade"],
    ["--table", "16384", "--established", "2000", "--legit-cps", "0", "--policy", "reject"],
    ["--table", "16384", "--established", "2000", "--legit-cps", "0",
     "--conntrack", "min_life = 100"],
    ["--table", "16384", "--established", "2000", "--legit-cps", "0", "--masquerade",
     "--conntrack", "never_delete_mappings = true",
     "--conntrack", 'adaptive = { start = "10%", end = "200%" }'],
    ["--table", "16384", "--established", "2000", "--legit-cps", "0", "--policy", "drop",
     "--conntrack", 'reserve = [{ prefix = "192.0.2.0/24", entries = "5%" }]'],
    ["--table", "16384", "--established", "2000", "--legit-cps", "0",
     "--conntrack", "per_source = { max_entries = 10000, new_per_second = 100000 }"],
    ["--table", "65536", "--established", "2000", "--workers", "2", "--legit-cps", "200",
     "--flood-pps", "20000", "--rtt", "2"],
    ["--table", "16384", "--established", "2000", "--legit-cps", "200", "--rtt", "2", "--driver",
     "net_ring"],
    ["--table", "16384", "--established", "2000", "--legit-cps", "0", "--notrack"],
]


# Of those above, what the flood meets.
REFUSALS = {
    "reject": "ct_table_reject", "min_life = 100": "ct_min_life",
    "never_delete_mappings = true": "ct_mapping_kept",
    'reserve = [{ prefix = "192.0.2.0/24", entries = "5%" }]': "ct_reserved",
}


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


def check_control(program):
    """A control socket is there while the flood lasts, and gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "control.sock")
        flood = subprocess.Popen([program, "--seconds", "60", "--plain", "--table", "16384",
                                  "--established", "2000", "--control", path],
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        try:
            deadline = time.monotonic() + 50
            while not os.path.exists(path):
                check(flood.poll() is None and time.monotonic() < deadline, "--control: no socket")
                time.sleep(0.05)
            with socket.socket(socket.AF_UNIX) as link:
                link.settimeout(50)
                link.connect(path)
                link.sendall(b'{"v":1,"cmd":"stats"}\n')
                answer = json.loads(link.makefile("rb").readline())
        finally:
            flood.terminate()
            said = flood.communicate(timeout=50)[0]
        check(flood.returncode == 0, f"--control: exit {flood.returncode}: {said}")
        check(answer["data"]["conntrack"]["max"] >= 16384, f"--control: table of {answer}")
        check("rx_packets" in answer["data"]["daemon"]["total"], f"--control: stats of {answer}")
        check(not os.path.exists(path), "--control: the socket outlives its program")

        wrong = subprocess.run([program, "--control", path, "--client-device", "net_null0",
                                "--server-device", "net_null1"], capture_output=True, text=True,
                               timeout=50, check=False)
        check(wrong.returncode == 2 and "--control" in wrong.stderr, "--control with devices")
    print("ok --control")


def main():
    program = sys.argv[1]
    check_control(program)
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
        if "closing-first" not in arguments:
            check(r["assured_evicted"] == 0, f"{name}: assured entries evicted")
        check(r["rx_packets"] > 6000, f"{name}: traffic")
        check(sum(r["mpps_samples"]) > 0, f"{name}: rates")
        if "net_ring" in arguments:
            check("net_ring" in r["mode"], f"{name}: driver")
            check(r["legit_completed"] > 0, f"{name}: legitimate connections")
        if not tracked:
            check(r["tx_packets"] == r["rx_packets"], f"{name}: all of it forwarded")
        if "drop" in arguments and "--conntrack" not in arguments:
            check(r["drops"].get("ct_table_full", 0) > 0, f"{name}: refused newcomers")
        for what, reason in REFUSALS.items():
            if what in arguments:
                check(r["drops"].get(reason, 0) > 0, f"{name}: {reason}")
        if "untracked" in arguments:
            passes = "--masquerade" not in arguments
            check(r["drops"].get("nat_untracked", 0) > 0 or passes, f"{name}: untranslated")
            check((r["flood_passed"] > 20000) == passes, f"{name}: passed without a connection")
        if "linux" in arguments:
            check(r["early_drops"] > 0, f"{name}: evictions")
        if "--workers" in arguments:
            check(r["workers"] == 2, f"{name}: two workers")
            check(r["legit_completed"] > 0, f"{name}: legitimate connections")
        print("ok", name)


if __name__ == "__main__":
    main()
