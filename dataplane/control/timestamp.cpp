// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/control/timestamp.hpp"

#include <fmt/format.h>

#include <charconv>
#include <chrono>

namespace dp {
namespace {

constexpr WallNanos kSecond = 1'000'000'000;
constexpr std::int64_t kLastSecond = 9'214'646'400;  // 2262-01-01T00:00:00Z; then WallNanos ends

/// Takes text from the front.
class Scanner {
public:
    explicit Scanner(std::string_view text) noexcept : rest_{text} {}

    [[nodiscard]] bool done() const noexcept { return rest_.empty(); }
    bool skip(char wanted) noexcept {
        if (rest_.empty() || rest_[0] != wanted) return false;
        rest_.remove_prefix(1);
        return true;
    }
    /// Exactly `count` digits, as a number from `least` to `most`; else the scan has failed.
    int digits(std::size_t count, int least, int most) noexcept {
        int value = 0;
        const std::string_view part = rest_.substr(0, count);
        const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), value);
        failed_ = failed_ || part.size() != count || part[0] == '-' || error != std::errc{} ||
                  end != part.data() + part.size() || value < least || value > most;
        if (!failed_) rest_.remove_prefix(count);
        return value;
    }
    void expect(char wanted) noexcept { failed_ = failed_ || !skip(wanted); }
    /// Digits behind a decimal point, as nanoseconds.
    WallNanos fraction() noexcept {
        WallNanos value = 0;
        WallNanos unit = kSecond / 10;
        std::size_t count = 0;
        for (; !rest_.empty() && rest_[0] >= '0' && rest_[0] <= '9'; rest_.remove_prefix(1)) {
            value += (rest_[0] - '0') * unit;
            unit /= 10;
            ++count;
        }
        failed_ = failed_ || count == 0;
        return value;
    }
    [[nodiscard]] bool failed() const noexcept { return failed_; }
    [[nodiscard]] std::string_view rest() const noexcept { return rest_; }

private:
    std::string_view rest_;
    bool failed_ = false;
};

/// Seconds that local time is ahead of UTC.
int read_offset(Scanner& in) noexcept {
    if (in.skip('Z') || in.skip('z')) return 0;
    const bool behind = in.skip('-');
    if (!behind) in.expect('+');
    const int hours = in.digits(2, 0, 23);
    in.expect(':');
    const int minutes = in.digits(2, 0, 59);
    return (behind ? -1 : 1) * (hours * 3600 + minutes * 60);
}

std::optional<TimeSpan> span_of(std::int64_t seconds, bool exact, WallNanos fraction) noexcept {
    if (seconds < 0 || seconds >= kLastSecond) return std::nullopt;
    const WallNanos first = seconds * kSecond + fraction;
    return TimeSpan{first, exact ? first : first + kSecond - 1};
}

}  // namespace

std::string timestamp(WallNanos t) {
    using namespace std::chrono;
    const sys_time<nanoseconds> at{nanoseconds{t}};
    const auto day = floor<days>(at);
    const year_month_day date{day};
    const hh_mm_ss time{floor<microseconds>(at - day)};
    return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z", static_cast<int>(date.year()),
                       static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                       time.hours().count(), time.minutes().count(), time.seconds().count(),
                       time.subseconds().count());
}

std::optional<TimeSpan> parse_time(std::string_view text, WallNanos now) {
    using namespace std::chrono;
    if (text == "now") return TimeSpan{now, now};
    Scanner in{text};
    if (in.skip('@')) {
        std::int64_t seconds = 0;
        const std::string_view digits = in.rest();
        const auto [end, error] =
            std::from_chars(digits.data(), digits.data() + digits.size(), seconds);
        if (error != std::errc{} || end != digits.data() + digits.size()) return std::nullopt;
        return span_of(seconds, false, 0);
    }
    const int y = in.digits(4, 1970, 2261);
    in.expect('-');
    const int m = in.digits(2, 1, 12);
    in.expect('-');
    const int d = in.digits(2, 1, 31);
    if (!in.skip('T') && !in.skip('t')) in.expect(' ');
    const int hour = in.digits(2, 0, 23);
    in.expect(':');
    const int minute = in.digits(2, 0, 59);
    in.expect(':');
    const int second = in.digits(2, 0, 60);  // a leap second counts as the one before it
    const bool exact = !in.failed() && in.skip('.');
    const WallNanos fraction = exact ? in.fraction() : 0;
    const int offset = read_offset(in);
    const year_month_day date{year{y}, month{static_cast<unsigned>(m)},
                              day{static_cast<unsigned>(d)}};
    if (in.failed() || !in.done() || !date.ok()) return std::nullopt;
    const auto midnight = duration_cast<seconds>(sys_days{date}.time_since_epoch()).count();
    return span_of(midnight + hour * 3600 + minute * 60 + std::min(second, 59) - offset, exact,
                   fraction);
}

}  // namespace dp
