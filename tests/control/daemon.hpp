// SPDX-License-Identifier: BSD-3-Clause
//
// A control server over a real table, in a thread of the test, and clients for it.
#pragma once

#include "dataplane/control/client.hpp"
#include "dataplane/control/server.hpp"
#include "dataplane/control/story.hpp"
#include "tests/ct/packets.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <poll.h>
#include <string>
#include <sys/socket.h>
#include <thread>
#include <vector>

namespace dp::test {

inline constexpr ct::Nanos kNow = 1000 * ct::kNanosPerSecond;

/// A directory of its own that goes away with it.
class TemporaryDirectory {
public:
    TemporaryDirectory() {
        std::string name = std::filesystem::temp_directory_path() / "sluice-test-XXXXXX";
        if (::mkdtemp(name.data()) == nullptr) std::abort();
        path_ = name;
    }
    ~TemporaryDirectory() { std::filesystem::remove_all(path_); }
    TemporaryDirectory(const TemporaryDirectory&) = delete;
    TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
    [[nodiscard]] std::string operator/(const char* name) const { return path_ / name; }

private:
    std::filesystem::path path_;
};

/// A table and the server for it. The test's thread is worker 0.
class Daemon {
public:
    explicit Daemon(ServerOptions options = {}, std::uint32_t max = 1000, bool acct = false,
                    bool labels = false)
        : table_{settings(max, acct), 2, 1, {.policies = {}, .labels = labels}} {
        options.path = directory_ / "control.sock";
        path_ = options.path;
        ControlHooks hooks;
        hooks.now = [this] { return now_.load(); };
        hooks.wall_offset_ns = [] { return std::int64_t{0}; };
        hooks.drops = [] {
            std::array<std::uint64_t, ct::kDropCount> out{};
            out[ct::index_of(ct::Drop::RuleDrop)] = 42;
            return out;
        };
        hooks.explain = [](const ct::Tuple& t, const std::string& in_port) {
            if (in_port == "dmz") throw BadParameter{"there is no port 'dmz'"};
            Story story;
            story.title = flow_text(t) + (in_port.empty() ? "" : " by " + in_port);
            story.add("lookup", "none", "no connection has this tuple");
            return to_json(story);
        };
        hooks.settings_changed = [this] { ++settings_changed_; };
        hooks.set_port = [](std::string_view port, bool up) -> std::optional<std::uint32_t> {
            if (port != "wan") return std::nullopt;
            return up ? 0U : 3U;
        };
        hooks.addresses = [](std::string_view port) -> std::vector<PortAddress> {
            if (port == "dmz") throw BadParameter{"there is no port 'dmz'"};
            const nat::Prefix first{ct::Addr::v4(ct::Be32::from_host(0xc000'0201)), 24,
                                    ct::Family::Ipv4};
            const nat::Prefix second{ct::Addr::v4(ct::Be32::from_host(0xc000'0202)), 24,
                                     ct::Family::Ipv4};
            return {{"wan", first, true}, {"wan", second, false}};
        };
        hooks.change_address = [](std::string_view, const nat::Prefix& address,
                                  bool add) -> std::uint32_t { return add ? 0 : address.length; };
        hooks.stats_json = [] { return std::string{R"({"ports":[{"name":"lan","rx":5}]})"}; };
        server_ = std::make_unique<Server>(options, table_, hooks);
        thread_ = std::jthread{[this](std::stop_token stop) { server_->run(std::move(stop)); }};
    }

    [[nodiscard]] const std::string& path() const noexcept { return path_; }
    [[nodiscard]] ct::Conntrack& table() noexcept { return table_; }
    void set_now(ct::Nanos now) { now_ = now; }
    [[nodiscard]] int settings_changed() const noexcept { return settings_changed_; }

    /// Opens connections with source ports from `first` on, as their first packets would.
    void open(std::uint8_t protocol, std::uint32_t first, std::uint32_t count) {
        for (std::uint32_t i = first; i < first + count; ++i) {
            ct::Packet p = ct::test::syn(flow(protocol, i));
            ASSERT_TRUE(ct::test::track(table_, 0, p, now_));
        }
    }
    /// The tuple of the connection number `i`: every 50,000 a client.
    static ct::Tuple flow(std::uint8_t protocol, std::uint32_t i) {
        return ct::test::tuple4(protocol, ct::test::kClient + i / 50'000,
                                static_cast<std::uint16_t>(1000 + i % 50'000), ct::test::kServer,
                                80);
    }

private:
    static ct::Settings settings(std::uint32_t max, bool acct) {
        ct::Settings s;
        s.max = max;
        s.embryonic_percent = 100;
        s.acct = acct;
        return s;
    }

    TemporaryDirectory directory_;
    std::string path_;
    std::atomic<ct::Nanos> now_{kNow};
    std::atomic<int> settings_changed_{0};
    ct::Conntrack table_;
    std::unique_ptr<Server> server_;
    std::jthread thread_;  // last: it stops before what it uses goes away
};

/// Everything that one request is answered with.
struct Answer {
    std::string text;
    std::string notes;
    std::string data;
    std::uint64_t count = 0;
    std::uint64_t gaps = 0;
    std::string error;
    int code = 0;
};

inline Answer take_answer(Client& client) {
    Answer out;
    for (;;) {
        Response r = client.receive();
        switch (r.kind) {
            case Response::Kind::Text:
                out.text += r.text;
                break;
            case Response::Kind::Note:
                out.notes += r.text + "\n";
                break;
            case Response::Kind::Gap:
                out.gaps += r.count;
                break;
            case Response::Kind::Synced:
                break;
            case Response::Kind::Data:
                out.data = r.text;
                break;
            case Response::Kind::Done:
                out.count = r.count;
                return out;
            case Response::Kind::Error:
                out.error = r.text;
                out.code = r.code;
                return out;
        }
    }
}

inline Answer ask(const std::string& path, const Request& request) {
    Client client{path};
    client.send(request);
    return take_answer(client);
}

inline Request request(Command command) {
    Request r;
    r.command = command;
    return r;
}

/// A client that speaks bytes.
class RawClient {
public:
    explicit RawClient(const std::string& path) : fd_{connect_to(path)} {
        EXPECT_TRUE(fd_.valid());
    }
    /// Sends as much as is taken within a second or so; false if the server hung up.
    bool send(std::string_view bytes) {
        while (!bytes.empty()) {
            const ssize_t n = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
            if (n < 0) return false;
            bytes.remove_prefix(static_cast<std::size_t>(n));
        }
        return true;
    }
    /// The next line, without its end; empty if the server hung up or says nothing for 5 s.
    std::string line() {
        for (;;) {
            const std::size_t end = in_.find('\n');
            if (end != std::string::npos) {
                std::string out = in_.substr(0, end);
                in_.erase(0, end + 1);
                return out;
            }
            if (!fill()) return {};
        }
    }
    /// True if the server hangs up within 5 s; what it says before is dropped.
    bool hung_up() {
        while (fill()) in_.clear();
        return closed_;
    }
    void shut_down_sending() { ::shutdown(fd_.get(), SHUT_WR); }

private:
    bool fill() {
        pollfd waiting{fd_.get(), POLLIN, 0};
        if (::poll(&waiting, 1, 5000) != 1) return false;
        std::array<char, 65536> bytes;
        const ssize_t n = ::recv(fd_.get(), bytes.data(), bytes.size(), 0);
        closed_ = n <= 0;
        if (closed_) return false;
        in_.append(bytes.data(), static_cast<std::size_t>(n));
        return true;
    }

    FileDescriptor fd_;
    std::string in_;
    bool closed_ = false;
};

inline std::size_t count_lines(const std::string& text) {
    return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
}

}  // namespace dp::test
