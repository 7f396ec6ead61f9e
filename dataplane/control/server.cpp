// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/control/server.hpp"

#include "dataplane/control/session.hpp"
#include "dataplane/control/socket.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <system_error>
#include <unistd.h>
#include <vector>

namespace dp {

namespace {

using Clock = Session::Clock;

constexpr std::size_t kEventsPerRing = 4096;      // taken from one ring at a time
constexpr std::size_t kOldEvents = 1 << 16;       // thrown away from one ring
constexpr int kEpollEvents = 64;                  // taken from the kernel at a time
constexpr std::chrono::milliseconds kTick{1000};  // between looks for clients to give up

FileDescriptor checked(int fd, const char* doing) {
    if (fd < 0) throw std::system_error{errno, std::generic_category(), doing};
    return FileDescriptor{fd};
}

/// A client and what epoll was told to watch it for.
struct Client {
    Session session;
    std::uint32_t interest = 0;
};

/// An event, or how many were lost just before it.
struct Happening {
    ct::Event event;
    std::uint64_t lost = 0;
    bool is_event = true;
};

/// What is known of one ring: an event's number says how many were lost before it.
struct RingReader {
    std::uint64_t taken = 0;  ///< events
    std::uint64_t lost = 0;   ///< that are accounted for

    /// Takes note that `all` events have been lost; returns how many of them are news.
    std::uint64_t account(std::uint64_t all) noexcept {
        const std::uint64_t fresh = all > lost ? all - lost : 0;
        lost += fresh;
        return fresh;
    }
};

std::uint32_t interest_of(const Session& s) noexcept {
    std::uint32_t out = 0;
    if (s.wants_input()) out |= EPOLLIN;
    if (s.wants_output()) out |= EPOLLOUT;
    return out;
}

}  // namespace

struct Server::Impl {
    Impl(ServerOptions o, ct::Conntrack& table, ControlHooks h)
        : options{std::move(o)},
          ct{table},
          hooks{std::move(h)},
          listener{options.path, options.mode},
          epoll{checked(::epoll_create1(EPOLL_CLOEXEC), "epoll_create1")},
          wake{checked(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "eventfd")} {
        readers.resize(ct.workers() + 1);
        if (!hooks.now) throw std::invalid_argument{"the control server needs a clock"};
        watch(wake.get(), EPOLLIN, EPOLL_CTL_ADD);
        watch(listener.fd(), EPOLLIN, EPOLL_CTL_ADD);
    }
    ~Impl() {
        if (listening_to_events) ct.remove_listener();
    }
    Impl(const Impl&) = delete;
    Impl& operator=(const Impl&) = delete;

    void watch(int fd, std::uint32_t interest, int operation) const {
        epoll_event event{};
        event.events = interest;
        event.data.fd = fd;
        if (::epoll_ctl(epoll.get(), operation, fd, &event) != 0)
            throw std::system_error{errno, std::generic_category(), "epoll_ctl"};
    }
    [[nodiscard]] ServerContext context() const { return {options, ct, hooks}; }
    void log(std::string_view message) const {
        if (hooks.log) hooks.log(message);
    }

    void turn(std::chrono::milliseconds patience);
    void accept_clients(Clock::time_point now);
    void add_client(FileDescriptor fd, Clock::time_point now);
    void pause_listening(Clock::time_point now);
    void resume_listening();
    void serve(int fd, std::uint32_t what, Clock::time_point now);
    bool work(Clock::time_point now);
    void settle(Clock::time_point now);
    void follow_subscriptions();
    void refill_batch();
    bool pump_events(Clock::time_point now);

    ServerOptions options;
    ct::Conntrack& ct;
    ControlHooks hooks;
    ListeningSocket listener;
    FileDescriptor epoll;
    FileDescriptor wake;  ///< an eventfd: run() is to look whether it is to stop
    std::vector<std::unique_ptr<Client>> clients;
    std::vector<Happening> batch;     ///< taken out of the rings
    std::size_t delivered = 0;        ///< how much of the batch was offered
    std::vector<RingReader> readers;  ///< by ring
    bool listening_to_events = false;
    bool paused = false;  ///< no descriptors left: not accepting for a while
    bool more = false;    ///< work is left that needs no waiting
    Clock::time_point resume_at{};
    Clock::time_point next_pump{};
};

Server::Server(ServerOptions options, ct::Conntrack& ct, ControlHooks hooks)
    : impl_{std::make_unique<Impl>(std::move(options), ct, std::move(hooks))} {}

Server::~Server() = default;

void Server::run(std::stop_token stop) {
    Impl& d = *impl_;
    const std::stop_callback on_stop{stop, [&d] {
                                         const std::uint64_t one = 1;
                                         // It fails only if the counter is full, which wakes too.
                                         [[maybe_unused]] const auto n =
                                             ::write(d.wake.get(), &one, sizeof one);
                                     }};
    while (!stop.stop_requested()) {
        std::chrono::milliseconds patience = kTick;
        if (d.listening_to_events) patience = d.options.event_interval;
        if (d.more) patience = std::chrono::milliseconds{0};
        d.turn(patience);
    }
    std::uint64_t wakes = 0;  // taken back, for a run() after this one
    [[maybe_unused]] const auto n = ::read(d.wake.get(), &wakes, sizeof wakes);
}

void Server::Impl::turn(std::chrono::milliseconds patience) {
    std::array<epoll_event, kEpollEvents> ready;
    const int n =
        ::epoll_wait(epoll.get(), ready.data(), kEpollEvents, static_cast<int>(patience.count()));
    if (n < 0 && errno != EINTR)
        throw std::system_error{errno, std::generic_category(), "epoll_wait"};
    const Clock::time_point now = Clock::now();
    for (int i = 0; i < n; ++i) {
        const epoll_event& event = ready[static_cast<std::size_t>(i)];
        const int fd = event.data.fd;
        if (fd == listener.fd())
            accept_clients(now);
        else if (fd != wake.get())
            serve(fd, event.events, now);
    }
    more = work(now);
    if (listening_to_events && now >= next_pump) {
        next_pump = now + options.event_interval;
        if (pump_events(now)) next_pump = now;
        more |= next_pump == now;
    }
    settle(now);
}

void Server::Impl::accept_clients(Clock::time_point now) {
    for (std::size_t i = 0; i < options.max_clients; ++i) {
        FileDescriptor fd{::accept4(listener.fd(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK)};
        if (fd.valid()) {
            add_client(std::move(fd), now);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
            pause_listening(now);
        return;
    }
}

void Server::Impl::add_client(FileDescriptor fd, Clock::time_point now) {
    if (clients.size() >= options.max_clients) {
        std::string refusal;
        append_error(refusal, "the daemon serves as many clients as it may; try again later", 1);
        ::send(fd.get(), refusal.data(), refusal.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
        return;
    }
    auto client = std::make_unique<Client>(Client{Session{std::move(fd), now}, EPOLLIN});
    try {
        watch(client->session.fd(), client->interest, EPOLL_CTL_ADD);
    } catch (const std::system_error& e) {
        return log(e.what());  // the others go on
    }
    clients.push_back(std::move(client));
}

/// Without a free descriptor accept() fails and the listener stays ready: look away for a while.
void Server::Impl::pause_listening(Clock::time_point now) {
    log("control: no file descriptor left for another client");
    watch(listener.fd(), 0, EPOLL_CTL_MOD);
    paused = true;
    resume_at = now + kTick;
}

void Server::Impl::resume_listening() {
    watch(listener.fd(), EPOLLIN, EPOLL_CTL_MOD);
    paused = false;
}

void Server::Impl::serve(int fd, std::uint32_t what, Clock::time_point now) {
    const auto it = std::find_if(clients.begin(), clients.end(),
                                 [fd](const auto& c) { return c->session.fd() == fd; });
    if (it == clients.end()) return;
    Session& session = (*it)->session;
    if ((what & (EPOLLHUP | EPOLLERR)) != 0) return session.hang_up();
    if ((what & EPOLLIN) != 0) session.receive(now);
    if ((what & EPOLLOUT) != 0) session.send(now);
}

/// Gives every client a turn. True if one of them could go on at once.
bool Server::Impl::work(Clock::time_point now) {
    bool any = false;
    for (const auto& client : clients) {
        any |= client->session.work(context());
        client->session.send(now);
    }
    return any;
}

/// Lets go of clients that are done or hopeless, and tells epoll what the others wait for.
void Server::Impl::settle(Clock::time_point now) {
    std::erase_if(clients, [&](const auto& c) {
        return c->session.over() || c->session.timed_out(options, now);
    });
    for (const auto& client : clients) {
        const std::uint32_t interest = interest_of(client->session);
        if (interest == client->interest) continue;
        client->interest = interest;
        watch(client->session.fd(), interest, EPOLL_CTL_MOD);
    }
    if (paused && now >= resume_at) resume_listening();
    follow_subscriptions();
}

/// Workers record events only while somebody listens. What is in the rings when the first listener
/// comes is older than he is.
void Server::Impl::follow_subscriptions() {
    const bool wanted = std::any_of(clients.begin(), clients.end(),
                                    [](const auto& c) { return c->session.subscribed(); });
    if (wanted == listening_to_events) return;
    listening_to_events = wanted;
    if (!wanted) return ct.remove_listener();
    batch.clear();
    delivered = 0;
    ct::Event old;
    for (ct::WorkerId w = 0; w <= ct.workers(); ++w) {
        for (std::size_t i = 0; i < kOldEvents && ct.next_event(w, old); ++i) ++readers[w].taken;
        readers[w].account(ct.lost_events(w));
    }
    ct.add_listener();
}

/// Takes some events out of the rings, in the order of their times. Where a ring was full, it is
/// told between which two events others are missing; or at the end, if no other has come since.
void Server::Impl::refill_batch() {
    batch.clear();
    delivered = 0;
    for (ct::WorkerId w = 0; w <= ct.workers(); ++w) {
        RingReader& reader = readers[w];
        std::size_t n = 0;
        Happening h;
        for (; n < kEventsPerRing && ct.next_event(w, h.event); ++n) {
            h.lost = reader.account(h.event.number - reader.taken++);
            batch.push_back(h);
        }
        if (n == kEventsPerRing) continue;
        h.lost = reader.account(ct.lost_events(w));
        h.is_event = false;
        h.event.when = n > 0 ? batch.back().event.when : 0;
        if (h.lost > 0) batch.push_back(h);
    }
    std::stable_sort(batch.begin(), batch.end(), [](const Happening& a, const Happening& b) {
        return a.event.when < b.event.when;
    });
}

/// Offers events to every subscriber. While one is behind, the others wait for it for a moment, and
/// the rings fill; one that stays behind loses what the others hear. True if there may be more.
bool Server::Impl::pump_events(Clock::time_point now) {
    const auto behind = [&](const auto& client) {
        return client->session.holds_up(context(), now);
    };
    if (delivered == batch.size()) refill_batch();
    bool waiting = false;
    while (delivered < batch.size()) {
        waiting = std::any_of(clients.begin(), clients.end(), behind);
        if (waiting) break;
        const Happening& h = batch[delivered++];
        for (const auto& client : clients) {
            if (h.lost > 0) client->session.lose(h.lost);
            if (h.is_event) client->session.offer(h.event, context());
        }
    }
    for (const auto& client : clients) {
        client->session.seal(context());
        client->session.send(now);
    }
    return !waiting && !batch.empty();
}

}  // namespace dp
