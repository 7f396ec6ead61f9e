// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/replay/capture.hpp"

#include "ct/wire/headers.hpp"

#include <pcap/pcap.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string_view>

namespace dp::replay {
namespace {

constexpr std::size_t kEthernet = sizeof(ct::EthernetHeader);
constexpr int kSnapshot = 262'144;  // bytes; what tcpdump writes into its files

/// The MAC of a sender that the capture does not tell.
constexpr MacAddress kSender{0x02, 0, 0, 0, 0, 0x01};
constexpr MacAddress kBroadcast{0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

/// LINKTYPE_LINUX_SLL: packet type, ARPHRD, address length, address, protocol; network order.
struct CookedHeader {
    ct::Be16 packet_type;
    ct::Be16 hardware;
    ct::Be16 address_size;
    MacAddress address;
    std::array<std::uint8_t, 2> unused;
    ct::Be16 protocol;
};
static_assert(sizeof(CookedHeader) == 16);

/// LINKTYPE_LINUX_SLL2.
struct Cooked2Header {
    ct::Be16 protocol;
    ct::Be16 reserved;
    ct::Be32 interface;
    ct::Be16 hardware;
    std::uint8_t packet_type;
    std::uint8_t address_size;
    MacAddress address;
    std::array<std::uint8_t, 2> unused;
};
static_assert(sizeof(Cooked2Header) == 20);

/// Packet type of both: to everybody (PACKET_BROADCAST of packet(7)).
constexpr std::uint16_t kToEverybody = 1;

[[nodiscard]] std::uint16_t ethertype_of(std::span<const std::uint8_t> ip) {
    const bool ipv6 = !ip.empty() && ip[0] >> 4U == 6;
    return ipv6 ? ct::ethertype::kIpv6 : ct::ethertype::kIpv4;
}

/// Where a link would have sent an IP packet: to the receiver, or to the group of its destination
/// (RFC 1112 6.4, RFC 2464 7).
[[nodiscard]] MacAddress destination_of(std::span<const std::uint8_t> ip, std::uint16_t ethertype,
                                        const MacAddress& receiver) {
    if (ethertype == ct::ethertype::kIpv6 && ip.size() >= sizeof(ct::Ipv6Header)) {
        const auto* dst = ip.data() + offsetof(ct::Ipv6Header, dst);
        if (dst[0] == 0xff) return {0x33, 0x33, dst[12], dst[13], dst[14], dst[15]};
    } else if (ethertype == ct::ethertype::kIpv4 && ip.size() >= sizeof(ct::Ipv4Header)) {
        const auto* dst = ip.data() + offsetof(ct::Ipv4Header, dst);
        if (dst[0] >> 4U == 0xe)
            return {0x01, 0x00, 0x5e, static_cast<std::uint8_t>(dst[1] & 0x7fU), dst[2], dst[3]};
        if (std::all_of(dst, dst + 4, [](std::uint8_t b) { return b == 0xff; })) return kBroadcast;
    }
    return receiver;
}

void put_frame(std::vector<std::uint8_t>& out, const ct::EthernetHeader& header,
               std::span<const std::uint8_t> payload) {
    out.resize(kEthernet + payload.size());
    ct::store(out.data(), header);
    std::copy(payload.begin(), payload.end(), out.begin() + kEthernet);
}

[[nodiscard]] Link link_of(pcap_t* file, const std::string& path) {
    const int type = pcap_datalink(file);
    switch (type) {
        case DLT_EN10MB:
            return Link::Ethernet;
        case DLT_RAW:
        case DLT_IPV4:
        case DLT_IPV6:
            return Link::Raw;
        case DLT_LINUX_SLL:
            return Link::Cooked;
        case DLT_LINUX_SLL2:
            return Link::Cooked2;
        default:
            break;
    }
    const char* name = pcap_datalink_val_to_name(type);
    throw std::runtime_error(path + ": its packets are of link type " +
                             (name != nullptr ? name : std::to_string(type)) +
                             "; give a capture of Ethernet, raw IP or Linux cooked packets");
}

/// The seconds of a packet. Those of a pcap file have 32 bits and no sign, but libpcap 1.10 takes
/// them for signed; what is negative beyond that is no time.
[[nodiscard]] std::uint64_t seconds_of(std::int64_t read) noexcept {
    if (read < std::numeric_limits<std::int32_t>::min()) return 0;
    return read < 0 ? static_cast<std::uint32_t>(read) : static_cast<std::uint64_t>(read);
}

/// libpcap's message without the file's name, which some of them begin with.
[[nodiscard]] std::string reason_of(std::string_view message, const std::string& path) {
    if (message.starts_with(path + ": ")) message.remove_prefix(path.size() + 2);
    return std::string{message};
}

}  // namespace

// ---- Reading.

void CaptureReader::Close::operator()(pcap* p) const noexcept {
    pcap_close(p);
}

CaptureReader::CaptureReader(const std::string& path, const MacAddress& receiver)
    : path_{path}, receiver_{receiver} {
    std::array<char, PCAP_ERRBUF_SIZE> error{};
    file_.reset(pcap_open_offline_with_tstamp_precision(path.c_str(), PCAP_TSTAMP_PRECISION_NANO,
                                                        error.data()));
    if (!file_)
        throw std::runtime_error(path + ": " + reason_of(error.data(), path) +
                                 "; give a pcap or pcapng file");
    link_ = link_of(file_.get(), path);
}

CaptureReader::~CaptureReader() = default;

bool CaptureReader::next(Frame& out) {
    if (!damage_.empty()) return false;
    pcap_pkthdr* header = nullptr;
    const u_char* bytes = nullptr;
    const int got = pcap_next_ex(file_.get(), &header, &bytes);
    if (got != 1) {
        if (got == PCAP_ERROR) damage_ = reason_of(pcap_geterr(file_.get()), path_);
        return false;
    }
    ++packets_;
    if (header->caplen < header->len) ++cut_;

    const std::uint64_t seconds = seconds_of(header->ts.tv_sec);
    const auto part = static_cast<std::uint64_t>(std::max<std::int64_t>(header->ts.tv_usec, 0));
    const ct::Nanos when = seconds >= kLatest / ct::kNanosPerSecond
                               ? kLatest
                               : std::min(seconds * ct::kNanosPerSecond + part, kLatest);
    if (when < latest_) ++backwards_;
    latest_ = std::max(latest_, when);
    out.when = latest_;

    const std::span<const std::uint8_t> packet{bytes, header->caplen};
    if (link_ == Link::Ethernet) {
        out.bytes = packet;
        return true;
    }
    if (link_ == Link::Raw)
        frame_raw(packet);
    else
        frame_cooked(packet);
    out.bytes = frame_;
    return true;
}

void CaptureReader::frame_raw(std::span<const std::uint8_t> packet) {
    const std::uint16_t type = ethertype_of(packet);
    put_frame(frame_, {destination_of(packet, type, receiver_), kSender, ct::Be16::from_host(type)},
              packet);
}

/// A packet too short for the cooked header becomes an empty frame, which parse() calls truncated.
void CaptureReader::frame_cooked(std::span<const std::uint8_t> packet) {
    CookedHeader cooked{};
    std::size_t size = sizeof cooked;
    if (link_ == Link::Cooked2) size = sizeof(Cooked2Header);
    if (packet.size() < size) {
        frame_.clear();
        return;
    }
    if (link_ == Link::Cooked2) {
        const auto c = ct::load<Cooked2Header>(packet.data());
        cooked.packet_type = ct::Be16::from_host(c.packet_type);
        cooked.address_size = ct::Be16::from_host(c.address_size);
        cooked.address = c.address;
        cooked.protocol = c.protocol;
    } else {
        cooked = ct::load<CookedHeader>(packet.data());
    }
    const auto payload = packet.subspan(size);
    const bool has_sender = cooked.address_size.host() == cooked.address.size();
    const bool to_everybody = cooked.packet_type.host() == kToEverybody;
    const MacAddress dst =
        to_everybody ? kBroadcast : destination_of(payload, cooked.protocol.host(), receiver_);
    put_frame(frame_, {dst, has_sender ? cooked.address : kSender, cooked.protocol}, payload);
}

// ---- Writing.

void CaptureWriter::Close::operator()(pcap* p) const noexcept {
    pcap_close(p);
}
void CaptureWriter::Close::operator()(pcap_dumper* d) const noexcept {
    pcap_dump_close(d);
}

CaptureWriter::CaptureWriter(const std::string& path, Link link)
    : path_{path},
      link_{link},
      kind_{pcap_open_dead_with_tstamp_precision(link == Link::Raw ? DLT_RAW : DLT_EN10MB,
                                                 kSnapshot, PCAP_TSTAMP_PRECISION_NANO)} {
    if (!kind_) throw std::runtime_error(path + ": no memory for a capture");
    file_.reset(pcap_dump_open(kind_.get(), path.c_str()));
    if (!file_) throw std::runtime_error(path + ": " + reason_of(pcap_geterr(kind_.get()), path));
}

CaptureWriter::~CaptureWriter() = default;

void CaptureWriter::write(ct::Nanos when, std::span<const std::uint8_t> frame) {
    if (link_ == Link::Raw) {
        if (frame.size() < kEthernet) return;
        const std::uint16_t type = ct::load<ct::EthernetHeader>(frame.data()).type.host();
        if (type != ct::ethertype::kIpv4 && type != ct::ethertype::kIpv6) return;
        frame = frame.subspan(kEthernet);
    }
    pcap_pkthdr header{};
    header.ts.tv_sec = static_cast<time_t>(when / ct::kNanosPerSecond);
    header.ts.tv_usec = static_cast<suseconds_t>(when % ct::kNanosPerSecond);
    header.caplen = static_cast<bpf_u_int32>(frame.size());
    header.len = header.caplen;
    pcap_dump(reinterpret_cast<u_char*>(file_.get()), &header, frame.data());
}

void CaptureWriter::close() {
    std::FILE* f = pcap_dump_file(file_.get());
    const bool failed = std::fflush(f) != 0 || std::ferror(f) != 0;
    const int error = errno;
    file_.reset();
    if (failed) throw std::runtime_error(path_ + ": cannot be written: " + std::strerror(error));
}

}  // namespace dp::replay
