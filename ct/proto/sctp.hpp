// SPDX-License-Identifier: BSD-3-Clause
//
// SCTP tracking: states driven by chunks, packets held to verification tags. The essay is in
// sctp.cpp.
#pragma once

#include "ct/proto/proto.hpp"

namespace ct::proto::sctp {

/// Judges a packet that opens an association.
[[nodiscard]] Verdict open(const Packet& p, SideLines& side, const Settings& s) noexcept;

/// Judges a packet of an existing association.
[[nodiscard]] Verdict update(const Packet& p, const View& view, const Settings& s) noexcept;

}  // namespace ct::proto::sctp
