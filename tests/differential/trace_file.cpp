// SPDX-License-Identifier: BSD-3-Clause
#include "tests/differential/trace_file.hpp"

#include "tests/support/packet_builder.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <sstream>
#include <stdexcept>

namespace differential {
namespace {

constexpr std::array kParts{"whole", "fragment", "last"};
constexpr std::array kSeen{"-", "NEW", "ESTABLISHED", "RELATED", "INVALID", "UNTRACKED"};

std::string hex(const std::uint8_t* from, std::size_t size) {
    std::string out;
    for (std::size_t i = 0; i < size; ++i) out += fmt::format("{:02x}", from[i]);
    return out;
}

std::size_t address_size(ct::Family f) {
    return f == ct::Family::Ipv4 ? 4 : 16;
}

/// Index of `word` among `names`.
template <std::size_t N>
std::size_t index_in(const std::array<const char*, N>& names, const std::string& word) {
    const auto at = std::find(names.begin(), names.end(), word);
    if (at == names.end()) throw std::invalid_argument("unexpected '" + word + "'");
    return static_cast<std::size_t>(at - names.begin());
}

std::string line_of(const char* word, const ct::Tuple& t) {
    const std::size_t size = address_size(t.family);
    const std::string zone = t.zone == 0 ? "" : fmt::format(" {}", t.zone);
    return fmt::format("{} {} {} {} {} {} {}{}", word, static_cast<int>(t.family), t.proto,
                       hex(t.src.bytes.data(), size), hex(t.dst.bytes.data(), size), t.sport.host(),
                       t.dport.host(), zone);
}

ct::Tuple read_key(std::istringstream& in) {
    int family = 0;
    unsigned proto = 0;
    std::uint16_t sport = 0;
    std::uint16_t dport = 0;
    std::string src;
    std::string dst;
    in >> family >> proto >> src >> dst >> sport >> dport;
    ct::Tuple t;
    t.family = static_cast<ct::Family>(family);
    t.proto = static_cast<std::uint8_t>(proto);
    const Bytes from = test::from_hex(src);
    const Bytes to = test::from_hex(dst);
    if (!in || from.size() != address_size(t.family) || to.size() != from.size())
        throw std::invalid_argument("a key has family, protocol, two addresses and two numbers");
    if (!(in >> t.zone)) t.zone = 0;
    std::copy(from.begin(), from.end(), t.src.bytes.begin());
    std::copy(to.begin(), to.end(), t.dst.bytes.begin());
    t.sport = ct::Be16::from_host(sport);
    t.dport = ct::Be16::from_host(dport);
    return t;
}

Entry read_entry(std::istringstream& in, const ct::Tuple& key) {
    std::string dir;
    std::string packets;
    std::string bytes;
    std::string status;
    unsigned state = 0;
    Entry e;
    in >> dir >> state >> status >> e.timeout_s >> packets >> e.packets[0] >> e.packets[1] >>
        bytes >> e.bytes[0] >> e.bytes[1];
    if (!in || packets != "packets" || bytes != "bytes")
        throw std::invalid_argument("an entry has direction, state, status, seconds and counters");
    for (std::string word; in >> word;) {
        if (word == "mark" && in >> e.mark) continue;
        if (word == "chosen" && in >> e.chosen.emplace()) continue;
        throw std::invalid_argument(
            "behind an entry's counters there may be its mark and a chosen port");
    }
    e.original = dir == "original" ? key : reply_of(key);
    e.reply = reply_of(e.original);
    e.state = static_cast<std::uint8_t>(state);
    e.status = static_cast<std::uint32_t>(std::stoul(status, nullptr, 16));
    return e;
}

class Reader {
public:
    explicit Reader(Trace& out) : out_{out} {}

    void line(const std::string& text) {
        std::istringstream in{text};
        std::string word;
        in >> word;
        if (word.empty()) return;
        if (word[0] == '#') {
            note_ = text.size() > 2 ? text.substr(2) : "";
        } else if (word == "profile") {
            in >> word;
            out_.profile = profile_named(word);
        } else if (word == "wait" || word == "age") {
            pause(in, word == "age");
        } else if (word == "packet") {
            packet(in);
        } else if (word == "key" && !out_.steps.empty()) {
            out_.steps.back().keys.push_back(read_key(in));
            out_.kernel.after.back().entries.emplace_back();
        } else if (word == "kernel" && !out_.steps.empty()) {
            kernel(in);
        } else if (word == "entry" && !out_.steps.empty() && !out_.steps.back().keys.empty()) {
            out_.kernel.after.back().entries.back() = read_entry(in, out_.steps.back().keys.back());
        } else if ((word == "original" || word == "reply") && has_entry()) {
            Entry& e = *out_.kernel.after.back().entries.back();
            (word == "original" ? e.original : e.reply) = read_key(in);
        } else if (word == "out" && !out_.steps.empty()) {
            in >> word;
            out_.kernel.after.back().out.push_back(test::from_hex(word));
        } else {
            throw std::invalid_argument("unexpected '" + word + "'");
        }
    }

private:
    [[nodiscard]] bool has_entry() const {
        return !out_.kernel.after.empty() && !out_.kernel.after.back().entries.empty() &&
               out_.kernel.after.back().entries.back().has_value();
    }
    void add(Step step) {
        step.note = std::move(note_);
        note_.clear();
        out_.steps.push_back(std::move(step));
        out_.kernel.after.emplace_back();
    }
    void pause(std::istringstream& in, bool age) {
        Step step;
        step.kind = age ? Step::Kind::Age : Step::Kind::Wait;
        in >> step.seconds;
        if (!in) throw std::invalid_argument("how many seconds?");
        add(std::move(step));
    }
    void packet(std::istringstream& in) {
        std::string port;
        std::string part;
        std::string bytes;
        in >> port >> part >> bytes;
        Step step;
        step.port =
            static_cast<std::uint8_t>(index_in(std::array<const char*, 2>{"tun0", "tun1"}, port));
        step.part = static_cast<Part>(index_in(kParts, part));
        step.ip = test::from_hex(bytes);
        add(std::move(step));
    }
    void kernel(std::istringstream& in) {
        std::string verdict;
        std::string seen;
        std::string dir;
        in >> verdict >> seen >> dir;
        Observation& o = out_.kernel.after.back();
        o.forwarded = index_in(std::array<const char*, 2>{"drop", "out"}, verdict) == 1;
        o.seen = static_cast<Seen>(index_in(kSeen, seen));
        if (dir == "original") o.dir = ct::Dir::Original;
        if (dir == "reply") o.dir = ct::Dir::Reply;
    }

    Trace& out_;
    std::string note_;
};

}  // namespace

void write_trace(const std::string& path, const Trace& trace, const std::string& heading) {
    std::ofstream out{path};
    std::istringstream lines{heading};
    for (std::string line; std::getline(lines, line);) out << "# " << line << '\n';
    out << "profile " << trace.profile.name << '\n';
    for (std::size_t i = 0; i < trace.steps.size(); ++i) {
        const Step& s = trace.steps[i];
        if (s.kind != Step::Kind::Packet) {
            out << (s.kind == Step::Kind::Age ? "age " : "wait ") << s.seconds << '\n';
            continue;
        }
        const Observation& o = trace.kernel.after[i];
        const char* const dir = !o.dir ? "-" : *o.dir == ct::Dir::Original ? "original" : "reply";
        out << "# " << s.note << '\n';
        out << fmt::format("packet tun{} {} {}\n", s.port, kParts[static_cast<std::size_t>(s.part)],
                           hex(s.ip.data(), s.ip.size()));
        out << fmt::format("kernel {} {} {}\n", o.forwarded ? "out" : "drop",
                           kSeen[static_cast<std::size_t>(o.seen)], dir);
        for (std::size_t k = 0; k < s.keys.size(); ++k) {
            out << line_of("key", s.keys[k]) << '\n';
            if (!o.entries[k]) continue;
            const Entry& e = *o.entries[k];
            const std::string mark = e.mark == 0 ? "" : fmt::format(" mark {}", e.mark);
            const std::string chosen = e.chosen ? fmt::format(" chosen {}", *e.chosen) : "";
            out << fmt::format("entry {} {} {:#x} {} packets {} {} bytes {} {}{}{}\n",
                               e.original == s.keys[k] ? "original" : "reply", e.state, e.status,
                               e.timeout_s, e.packets[0], e.packets[1], e.bytes[0], e.bytes[1],
                               mark, chosen);
            if (e.reply == reply_of(e.original)) continue;
            out << line_of("original", e.original) << '\n' << line_of("reply", e.reply) << '\n';
        }
        if (trace.profile.nat == Nat::None) continue;
        for (const Bytes& packet : o.out)
            out << "out " << hex(packet.data(), packet.size()) << '\n';
    }
    out.flush();
    if (!out) throw std::runtime_error(path + ": cannot be written");
}

Trace read_trace(const std::string& path) {
    std::ifstream in{path};
    if (!in) throw std::runtime_error(path + ": cannot be opened");
    Trace trace;
    trace.profile = profiles().front();
    Reader reader{trace};
    int number = 0;
    for (std::string text; std::getline(in, text);) {
        ++number;
        try {
            reader.line(text);
        } catch (const std::exception& e) {
            throw std::runtime_error(fmt::format("{}:{}: {}", path, number, e.what()));
        }
    }
    return trace;
}

}  // namespace differential
