// SPDX-License-Identifier: BSD-3-Clause
#pragma once

namespace bench {

/// The commit that was built, with "-dirty" if there were changes to it; "unknown" outside of git.
[[nodiscard]] const char* commit() noexcept;

}  // namespace bench
