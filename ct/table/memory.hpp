// SPDX-License-Identifier: BSD-3-Clause
//
// Memory for the table: on the largest pages that are to be had. 4 KiB pages cost each access to a
// large table a page walk, some 60 % of its time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace ct {

enum class Pages : std::uint8_t {
    Huge1G,       ///< reserved 1 GiB pages
    Huge2M,       ///< reserved 2 MiB pages
    Transparent,  ///< madvise(MADV_HUGEPAGE), granted by the kernel as it can
    Normal,       ///< 4 KiB
};

/// "1 GiB", "2 MiB", "transparent 2 MiB" or "4 KiB".
[[nodiscard]] const char* name_of(Pages p) noexcept;

/// An anonymous mapping, zeroed, owned. The first touch of its pages is the constructor's unless
/// asked not to.
class Region {
public:
    /// When pages get their memory.
    enum class Touch : std::uint8_t { Now, Lazily };

    Region() = default;
    /// Maps at least `bytes` on pages no larger than `largest`, falling back step by step.
    /// Throws std::bad_alloc.
    Region(std::size_t bytes, Touch touch, Pages largest = Pages::Huge1G);
    ~Region();
    Region(Region&& o) noexcept;
    Region& operator=(Region&& o) noexcept;

    [[nodiscard]] void* data() const noexcept { return data_; }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] Pages pages() const noexcept { return pages_; }
    /// The mapping as an array of T. The bytes are zero and T must be happy with that.
    template <class T>
    [[nodiscard]] T* as() const noexcept {
        return static_cast<T*>(data_);
    }

private:
    void* data_ = nullptr;
    std::size_t size_ = 0;  ///< bytes
    Pages pages_ = Pages::Normal;
};

}  // namespace ct
