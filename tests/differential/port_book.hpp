// SPDX-License-Identifier: BSD-3-Clause
//
// Where rules let a router choose a port, the kernel and Sluice choose each its own. So that the
// rest can be compared, what a router shows is brought into a form in which every connection has
// kept its ports: entries, events and the packets that leave. What had been chosen stays noted in
// Entry::chosen: it must be a port that the rule allows, and where the connection's own is free it
// must have been kept.
//
// The world behind the router answers to the port that it has seen. A step says who is meant, by
// addresses and ports as the client knows them; here its packet gets those by which this router
// knows the connection. While the router has no such connection, what is sent all the same goes to
// a port that nobody has.
#pragma once

#include "tests/differential/trace.hpp"

#include <functional>
#include <optional>
#include <utility>
#include <vector>

namespace differential {

class PortBook {
public:
    explicit PortBook(Nat nat);

    /// The entry that the router has for a tuple, as it is.
    using Find = std::function<std::optional<Entry>(const ct::Tuple&)>;

    /// Forgets the connections that are or have been, but not what end() was told.
    void reset() { last_.clear(); }
    /// The step as it happens to this router.
    [[nodiscard]] Step addressed(const Step& step, const Find& find) const;
    /// Brings what the router showed of `step` into the common form.
    void settle(const Step& step, Observation& o);
    /// The same of an entry.
    void settle(Entry& e) const;
    /// A connection has ended, whose port may be given to its source again.
    void end(const Entry& e);

private:
    [[nodiscard]] bool is_redirected(const Entry& e) const;
    [[nodiscard]] static bool is_about(const Step& step, const ct::Tuple& original,
                                       const ct::Tuple& reply);
    static void undo(Bytes& packet, bool outbound, const ct::Tuple& original,
                     const ct::Tuple& reply);
    [[nodiscard]] static std::optional<Entry> meant_by(const Step& step, const Find& find);

    /// A port that a source once had instead of its own.
    struct Given {
        ct::Tuple source;  ///< an original tuple without its destination
        std::uint16_t port = 0;
        friend bool operator==(const Given&, const Given&) = default;
    };
    [[nodiscard]] static Given given(const ct::Tuple& original, std::uint16_t port);

    Nat nat_;
    std::vector<std::pair<ct::Addr, ct::Addr>> aliases_;
    /// By original tuple: the reply's, of connections that are or have been.
    std::vector<std::pair<ct::Tuple, ct::Tuple>> last_;
    std::vector<Given> ended_;
};

}  // namespace differential
