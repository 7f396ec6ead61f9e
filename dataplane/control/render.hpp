// SPDX-License-Identifier: BSD-3-Clause
//
// Connections as text: conntrack(8)'s line, byte for byte, its XML and save formats, and JSON.
//
// Golden listings are the measure (tests/golden), and a million entries a second the aim, so each
// entry is built in one buffer on the stack and appended in one piece; nothing is looked up, and
// nothing is formatted through a stream.
#pragma once

#include "ct/conntrack.hpp"
#include "ct/events.hpp"

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace dp {

/// What one entry looks like.
enum class Format : std::uint8_t {
    Line,  ///< conntrack(8)'s line
    Xml,   ///< its `-o xml`: a `<flow>` a line; a document needs kXmlHead and kXmlTail around
    Save,  ///< its `-o save`: a command line that would make the entry again
    Json,  ///< one object a line; keys as in docs of append_line()
};

/// Names of labels by number, as in connlabel.conf; empty where there is none.
using LabelNames = std::array<std::string, 128>;
/// The most bytes that all of them have together.
inline constexpr std::size_t kMaxLabelNameBytes = 2048;

/// How entries are shown: conntrack(8)'s `-o`, and the clock that its times refer to.
struct RenderOptions {
    Format format = Format::Line;
    bool extended = false;    ///< the family and its number in front
    bool id = false;          ///< `id=N`; XML and JSON always have it
    bool timestamp = false;   ///< when an event happened; nothing for a listing
    bool ktimestamp = false;  ///< `[start=...]` and `[stop=...]`, in the local time zone
    bool labels = false;      ///< `labels=NAME,...` of an entry that has any
    /// Names of labels; null: their numbers serve.
    std::shared_ptr<const LabelNames> label_names;
    char save_verb = 'A';   ///< of a listing with `-o save`: D if it was deleted
    std::uint32_t use = 1;  ///< `use=N`; conntrack -G says 2
    ct::Nanos now = 0;      ///< the tracker's time of the listing, for the age of living entries
    std::int64_t wall_offset_ns = 0;  ///< wall clock minus the tracker's clock
};

/// The document around a sequence of `<flow>` lines.
inline constexpr std::string_view kXmlHead =
    "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<conntrack>\n";
inline constexpr std::string_view kXmlTail = "</conntrack>\n";

/// The most bytes that one entry or event takes in any format.
inline constexpr std::size_t kMaxEntryBytes = 8192;

/// Appends `conn` as it stands in a listing, with its newline.
///
/// A JSON object has, in this order: `type` (events: new, update, destroy), `seq` (events: a number
/// that goes up by one, and by the number of the lost after a gap) and `time` (events: wall clock,
/// seconds), `family`, `proto`, `protonum`, `timeout`, `state` (TCP, SCTP), `original` and
/// `reply` with `src`, `dst` and `sport`, `dport` or `icmp_type`, `icmp_code`, `icmp_id` or
/// `srckey`, `dstkey`, and `zone`, `packets`, `bytes` if there are any, `status` (names of the bits
/// that are set), `mark`, `zone` if both directions share one, `start` and `stop` (wall clock,
/// nanoseconds) if timestamps were on, `helper` and `labels` (numbers) if there are any, `id`, `by`
/// (events: the process that asked for it).
void append_line(std::string& out, const ct::Snapshot& conn, const RenderOptions& options);

/// Appends what happened to a connection as `conntrack -E` shows it, with its newline. A state of 0
/// is left out: the kernel tells the state only where it is news.
void append_event(std::string& out, const ct::Event& event, const RenderOptions& options);

/// Appends `conn` as one of those that are shown again after a gap, with its newline: `[SYNC]` in
/// front, or type `sync`.
void append_sync(std::string& out, const ct::Snapshot& conn, const RenderOptions& options);

/// Appends one line of `conntrack -S`: the counters of worker `cpu`.
void append_counters(std::string& out, std::uint32_t cpu, const ct::Counters& counters);
/// Appends one line of `conntrack -S expect`, for a tracker that expects nothing.
void append_expect_counters(std::string& out, std::uint32_t cpu);

}  // namespace dp
