// SPDX-License-Identifier: BSD-3-Clause
//
// Any line may reach the control socket. It is refused with a message or it is a request; a request
// survives being written out and read again, and what it asks for can be asked of a connection.
#include "ct/events.hpp"
#include "dataplane/control/protocol.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <stdexcept>
#include <string_view>

namespace {

/// For properties that hold in release builds, too.
void require(bool holds) {
    if (!holds) std::abort();
}

void serve(std::string_view line) {
    dp::Request request;
    try {
        request = dp::parse_request(line);
    } catch (const dp::BadParameter&) {
        return;
    }
    const dp::Request again = dp::parse_request(dp::to_line(request));
    require(again.filter == request.filter);
    require(dp::to_line(again) == dp::to_line(request));

    ct::Snapshot conn;
    conn.original.family = conn.reply.family = ct::Family::Ipv4;
    require(request.filter.matches(conn) == again.filter.matches(conn));
    std::string text;
    dp::append_line(text, conn, request.output);
    ct::Event event;
    event.type = ct::EventType::Destroy;
    event.conn = conn;
    conn.labels.fill(~std::uint64_t{0});
    dp::append_event(text, event, request.output);
    dp::append_sync(text, conn, request.output);
    try {
        static_cast<void>(dp::tuple_of(request.filter));
    } catch (const dp::BadParameter&) {
    }
}

/// The client reads what it is sent with the same care; and text, whatever is in it, comes through.
void answer(std::string_view bytes) {
    try {
        static_cast<void>(dp::parse_response(bytes));
    } catch (const std::runtime_error&) {
    }
    for (const char c : bytes)
        if (static_cast<unsigned char>(c) >= 0x80) return;
    std::string line;
    dp::append_text(line, bytes);
    line.pop_back();
    require(dp::parse_response(line).text == bytes);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view bytes{reinterpret_cast<const char*>(data), size};
    serve(bytes);
    answer(bytes);
    return 0;
}
