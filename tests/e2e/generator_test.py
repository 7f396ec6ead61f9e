# SPDX-License-Identifier: BSD-3-Clause
"""sluice-flood against a gateway that is not in its process: the kernel, between two taps."""

import json

import bench_net
import case

SIDES = {"clients": ("198.18.255.254/16", "02:00:00:00:01:01"),
         "servers": ("198.19.255.254/16", "02:00:00:00:01:02")}


class GeneratorTest(case.LabCase):

    @classmethod
    def lay_out(cls):
        cls.generator = cls.lab.host("generator")
        cls.gateway = cls.lab.host("gateway")
        cls.gateway.sysctl(ipv4__ip_forward=1, ipv4__conf__all__rp_filter=0,
                           ipv4__conf__default__rp_filter=0)

    def test_counts_what_the_gateway_let_through(self):
        result = self.lab.folder / "result.json"
        process = self.generator.spawn(
            bench_net.program("sluice-flood"), "--plain", "--seconds", "2", "--json", result,
            "--client-device", "net_tap0,iface=clients", "--server-device", "net_tap1,iface=servers",
            "--flood-pps", "1000", "--established", "50", "--established-pps", "500",
            "--legit-cps", "20", "--rtt", "10", "--seed", "3", "--", "--no-telemetry")
        for device in SIDES:
            bench_net.wait_for(
                f"tap {device}",
                lambda d=device: "LOWER_UP" in self.generator.ip("link", "show", d, check=False).stdout)
        for device, (address, mac) in SIDES.items():
            self.generator.ip("link", "set", device, "netns", self.gateway.netns)
            self.gateway.ip("link", "set", device, "address", mac)
            self.gateway.ip("link", "set", device, "up")
            self.gateway.ip("addr", "add", address, "dev", device)
        self.gateway.ip("route", "add", "10.0.0.0/8", "dev", "clients")

        self.assertEqual(process.wait(60), 0, process.output)
        counted = json.loads(result.read_text())
        self.assertEqual(counted["established_before"], 50)
        self.assertEqual(counted["established_lost"], 0)
        self.assertGreater(counted["legit_attempts"], 10)
        self.assertEqual(counted["legit_completed"], counted["legit_attempts"])
        self.assertGreater(counted["flood_sent"], 100)


if __name__ == "__main__":
    case.main()
