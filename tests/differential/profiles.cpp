// SPDX-License-Identifier: BSD-3-Clause
#include "tests/differential/trace.hpp"

#include <stdexcept>

namespace differential {

const std::vector<Profile>& profiles() {
    static const std::vector<Profile> all{
        {.name = "default"},
        {.name = "strict", .loose = false, .ignore_invalid_rst = false, .max_retrans = 1},
        {.name = "no-checksum", .checksum = false},
        {.name = "liberal", .liberal = true, .max_retrans = 0},
        {.name = "ignore-invalid-rst", .ignore_invalid_rst = true},
        {.name = "snat", .nat = Nat::Source},
        {.name = "dnat", .nat = Nat::Destination},
        {.name = "masquerade", .nat = Nat::Masquerade},
        {.name = "redirect", .nat = Nat::Redirect},
        {.name = "ports", .nat = Nat::Ports},
        {.name = "crowded", .nat = Nat::Crowded},
        {.name = "zones-marks", .zones = true, .marks = true},
    };
    return all;
}

const std::vector<Profile>& profiles_apart() {
    static const std::vector<Profile> apart{
        // Without checksums, by which the two judge UDP-Lite differently, and so what has a place.
        {.name = "full", .checksum = false, .max = 3}};
    return apart;
}

const Profile& profile_named(const std::string& name) {
    for (const auto* list : {&profiles(), &profiles_apart()})
        for (const Profile& p : *list)
            if (p.name == name) return p;
    throw std::invalid_argument("no profile " + name);
}

}  // namespace differential
