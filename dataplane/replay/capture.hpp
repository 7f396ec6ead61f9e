// SPDX-License-Identifier: BSD-3-Clause
//
// Captures: files of packets with their times, read and written through libpcap.
//
// The pipeline takes Ethernet frames. A capture of raw IP has none, and one of Linux's "any" device
// has a cooked header instead, so the reader puts an Ethernet header in front, as a frame would
// have had that was sent to the receiving port; a raw writer takes it off again.
#pragma once

#include "ct/base/time.hpp"
#include "dataplane/control/config.hpp"

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

struct pcap;
struct pcap_dumper;

namespace dp::replay {

/// What stands in front of the IP packet in a capture.
enum class Link : std::uint8_t {
    Ethernet,
    Raw,      ///< nothing: LINKTYPE_RAW, LINKTYPE_IPV4, LINKTYPE_IPV6
    Cooked,   ///< LINKTYPE_LINUX_SLL
    Cooked2,  ///< LINKTYPE_LINUX_SLL2
};

/// A packet of a capture, as the Ethernet frame that a port would have received.
struct Frame {
    ct::Nanos when = 0;  ///< since the epoch of the capture
    std::span<const std::uint8_t> bytes;
};

/// Reads one capture from its first packet to its last. Times never go backwards: a packet that is
/// older than the one before it gets that one's time. One thread.
class CaptureReader {
public:
    /// Times later than this are taken for this: what can be added to it still fits a Nanos.
    static constexpr ct::Nanos kLatest = 9'000'000'000 * ct::kNanosPerSecond;

    /// Opens `path`, a pcap or pcapng file, or `-` for the standard input. `receiver` is the MAC of
    /// the port that receives its packets. Throws std::runtime_error that begins with the path.
    CaptureReader(const std::string& path, const MacAddress& receiver);
    ~CaptureReader();
    CaptureReader(const CaptureReader&) = delete;
    CaptureReader& operator=(const CaptureReader&) = delete;

    /// Reads the next packet; its bytes live until the next call. False at the end of the file, be
    /// it where it should be or where the file is damaged.
    [[nodiscard]] bool next(Frame& out);

    [[nodiscard]] const std::string& path() const noexcept { return path_; }
    [[nodiscard]] Link link() const noexcept { return link_; }
    [[nodiscard]] std::uint64_t packets() const noexcept { return packets_; }
    /// Packets whose time lay before that of the packet in front of them.
    [[nodiscard]] std::uint64_t backwards() const noexcept { return backwards_; }
    /// Packets of which the capture holds only the beginning.
    [[nodiscard]] std::uint64_t cut() const noexcept { return cut_; }
    /// What is wrong with the file behind the last packet that could be read; empty if nothing is.
    [[nodiscard]] const std::string& damage() const noexcept { return damage_; }

private:
    struct Close {
        void operator()(pcap* p) const noexcept;
    };

    void frame_raw(std::span<const std::uint8_t> packet);
    void frame_cooked(std::span<const std::uint8_t> packet);

    std::string path_;
    MacAddress receiver_;
    std::unique_ptr<pcap, Close> file_;
    Link link_ = Link::Ethernet;
    std::vector<std::uint8_t> frame_;  ///< with the Ethernet header that was put in front
    ct::Nanos latest_ = 0;
    std::uint64_t packets_ = 0;
    std::uint64_t backwards_ = 0;
    std::uint64_t cut_ = 0;
    std::string damage_;
};

/// Writes one pcap file with times in nanoseconds. One thread.
class CaptureWriter {
public:
    /// Creates or replaces `path`; `-` is the standard output. `link` is Ethernet or Raw. Throws
    /// std::runtime_error that begins with the path.
    CaptureWriter(const std::string& path, Link link);
    ~CaptureWriter();
    CaptureWriter(const CaptureWriter&) = delete;
    CaptureWriter& operator=(const CaptureWriter&) = delete;

    /// Adds an Ethernet frame; a raw file gets the IP packet in it, and nothing if there is none.
    void write(ct::Nanos when, std::span<const std::uint8_t> frame);
    /// Writes out what is buffered. Throws std::runtime_error that begins with the path if any of
    /// the writes failed.
    void close();

private:
    struct Close {
        void operator()(pcap* p) const noexcept;
        void operator()(pcap_dumper* d) const noexcept;
    };

    std::string path_;
    Link link_;
    std::unique_ptr<pcap, Close> kind_;
    std::unique_ptr<pcap_dumper, Close> file_;
};

}  // namespace dp::replay
