// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/log.hpp"

#include <rte_log.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <memory>
#include <stdexcept>

namespace dp {
namespace {

[[nodiscard]] spdlog::level::level_enum level_of(LogLevel level) {
    switch (level) {
        case LogLevel::Debug:
            return spdlog::level::debug;
        case LogLevel::Info:
            return spdlog::level::info;
        case LogLevel::Warning:
            return spdlog::level::warn;
        case LogLevel::Error:
            return spdlog::level::err;
    }
    return spdlog::level::info;
}

/// fopencookie's write function; a message comes whole, as rte_log() flushes after each.
ssize_t take(void* cookie, const char* bytes, std::size_t size) {
    static_cast<DpdkLog*>(cookie)->add({bytes, size});
    return static_cast<ssize_t>(size);
}

}  // namespace

void start_log(const LogConfig& config) {
    std::shared_ptr<spdlog::sinks::sink> sink;
    if (config.file.empty()) {
        sink = std::make_shared<spdlog::sinks::stderr_color_sink_mt>();
    } else {
        try {
            sink = std::make_shared<spdlog::sinks::basic_file_sink_mt>(config.file);
        } catch (const spdlog::spdlog_ex& e) {
            throw std::runtime_error{"log.file: " + std::string{e.what()}};
        }
    }
    auto logger = std::make_shared<spdlog::logger>("sluice", std::move(sink));
    logger->set_pattern("%Y-%m-%d %H:%M:%S.%e %^%-7l%$ %n: %v");
    logger->set_level(level_of(config.level));
    logger->flush_on(spdlog::level::info);
    spdlog::set_default_logger(std::move(logger));
}

DpdkLog::DpdkLog() {
    cookie_io_functions_t functions{};
    functions.write = take;
    stream_ = fopencookie(this, "w", functions);
    if (stream_ != nullptr) rte_openlog_stream(stream_);
}

DpdkLog::~DpdkLog() {
    if (stream_ == nullptr) return;
    rte_openlog_stream(nullptr);
    std::fclose(stream_);
}

void DpdkLog::add(std::string_view message) {
    while (!message.empty() && message.back() == '\n') message.remove_suffix(1);
    if (message.empty()) return;
    spdlog::debug("dpdk: {}", message);
    const std::lock_guard guard{mutex_};
    tail_.emplace_back(message);
    if (tail_.size() > kKept) tail_.pop_front();
}

std::vector<std::string> DpdkLog::tail() const {
    const std::lock_guard guard{mutex_};
    return {tail_.begin(), tail_.end()};
}

}  // namespace dp
