// SPDX-License-Identifier: BSD-3-Clause
#include "tests/differential/script.hpp"

#include "tests/differential/world.hpp"

#include <algorithm>

namespace differential {

test::PacketBuilder Pair::from(From f) const {
    const std::string& src = f == From::Client ? client : server;
    const std::string& dst = f == From::Client ? server : client;
    test::PacketBuilder b;
    if (family == ct::Family::Ipv4)
        b.ipv4(src, dst);
    else
        b.ipv6(src, dst);
    return b;
}

ct::Tuple tuple_of(const Pair& pair, std::uint8_t proto, std::uint16_t sport, std::uint16_t dport) {
    ct::Tuple t;
    t.family = pair.family;
    t.proto = proto;
    t.src = test::addr(pair.client);
    t.dst = test::addr(pair.server);
    t.sport = ct::Be16::from_host(sport);
    t.dport = ct::Be16::from_host(dport);
    return t;
}

void Script::put(From from, Bytes ip, const ct::Tuple& key, std::string note, Part part) {
    Step step;
    step.port = from == From::Client ? 0 : 1;
    step.part = part;
    step.keys.push_back(key);
    if (const auto own = tuple_in(ip); own && *own != key && reply_of(*own) != key)
        step.keys.push_back(*own);
    step.ip = std::move(ip);
    step.note = std::move(note);
    steps_.push_back(std::move(step));
    ++packets_;
}

void Script::send(From from, const test::PacketBuilder& packet, const ct::Tuple& key,
                  std::string note) {
    const Bytes ip = packet.build_ip();
    if (random.percent(3)) return;  // lost behind the sender, in front of the router
    if (random.percent(3)) {
        Step step;
        step.port = from == From::Client ? 0 : 1;
        step.keys.push_back(key);
        step.ip = ip;
        step.note = note + " (late)";
        delayed_.push_back(std::move(step));
        return;
    }
    put(from, ip, key, note);
    if (random.percent(3)) put(from, ip, key, note + " (twice)");
    if (!delayed_.empty() && random.percent(30)) flush();
}

void Script::send_fragments(From from, const Pair& pair, std::uint8_t proto, const Bytes& l4,
                            const ct::Tuple& key, std::string note) {
    const std::uint32_t id = random.u32();
    const std::size_t parts = random.between(2, 4);
    const std::size_t each = std::max<std::size_t>(l4.size() / parts / 8 * 8, 8);
    std::vector<Bytes> all;
    for (std::size_t at = 0; at < l4.size(); at += each) {
        const std::size_t size = std::min(each, l4.size() - at);
        test::PacketBuilder b = pair.from(from);
        b.id(id).fragment(static_cast<std::uint16_t>(at), at + size < l4.size());
        b.l4(proto, Bytes(l4.begin() + static_cast<std::ptrdiff_t>(at),
                          l4.begin() + static_cast<std::ptrdiff_t>(at + size)));
        all.push_back(b.build_ip());
    }
    if (random.percent(40))
        for (std::size_t i = all.size() - 1; i > 0; --i)
            std::swap(all[i], all[random.below(static_cast<std::uint32_t>(i + 1))]);
    for (std::size_t i = 0; i < all.size(); ++i)
        put(from, all[i], key, note + ", a fragment",
            i + 1 == all.size() ? Part::LastFragment : Part::Fragment);
}

void Script::flush() {
    std::vector<Step> late;
    late.swap(delayed_);
    for (Step& step : late) {
        const From from = step.port == 0 ? From::Client : From::Server;
        put(from, std::move(step.ip), step.keys.front(), std::move(step.note));
    }
}

void Script::wait(std::uint32_t seconds) {
    // The age of a UDP flow must not depend on what is late.
    const bool udp = std::any_of(delayed_.begin(), delayed_.end(), [](const Step& s) {
        const std::uint8_t proto = s.keys.front().proto;
        return proto == ct::ipproto::kUdp || proto == ct::ipproto::kUdplite;
    });
    if (udp) flush();
    Step step;
    step.kind = Step::Kind::Wait;
    step.seconds = seconds;
    now_s_ += seconds;
    steps_.push_back(std::move(step));
}

void Script::age() {
    Step step;
    step.kind = Step::Kind::Age;
    step.seconds = 3;
    now_s_ += step.seconds;
    aged_s_ = now_s_;
    steps_.push_back(std::move(step));
}

}  // namespace differential
