#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Copies the parts of the tracker that the model changes: smaller, and with faults behind switches.

usage: prepare.py SOURCE_ROOT OUTPUT_FOLDER

Constants that make a table large are made small, so that a state of it is small. And faults are
planted, each behind a switch that is off (faults.hpp): what the model explores then is the source as
it stands. With a switch on, it must find the fault.

Each change replaces a text that stands exactly once in its file. If the sources have changed so that
it does not, this ends with an error that names the change, and the lists below have to follow.
"""

import sys
from pathlib import Path

INDEX, INDEX_CPP = "ct/table/index.hpp", "ct/table/index.cpp"
IMPL, CONNTRACK = "ct/conntrack_impl.hpp", "ct/conntrack.cpp"
LOOKUP, UPDATE = "ct/lookup.cpp", "ct/update.cpp"
OVERFLOW, CONTROL = "ct/overflow.cpp", "ct/control.cpp"
YOUNG = "ct/table/young.hpp"

# file -> (text, what stands there instead)
SMALLER = {
    CONTROL: [("kMinLog2Buckets = 10", "kMinLog2Buckets = 1"),
              ("kEventCapacity = 8192", "kEventCapacity = 1")],
    INDEX_CPP: [("kMinOverflow = 64", "kMinOverflow = 2")],
    IMPL: [("kInvalidNotes = 64", "kInvalidNotes = 1")],
}

# (name, [(file, text, what stands there in its place)]). ON is the fault's switch; what does not
# mention it is a statement that takes the place of the text if the switch is on.
FAULTS = [
    ("the sequence word is read after the slots that it vouches for", [
        (LOOKUP, "p.absent = hits == 0 &&",
         "if (ON) p.absent_seq = b.seq.load(std::memory_order_acquire);\n"
         "    p.absent = hits == 0 &&")]),
    ("what lookup() did not find is not looked for again, whatever the sequence word says", [
        (CONNTRACK, "index.try_lock(at.b1, p.absent_seq)",
         "(ON ? (index.lock(at.b1), true) : index.try_lock(at.b1, p.absent_seq))"),
        (CONNTRACK, "index.try_lock_pair(at.b1, p.absent_seq, at.b2)",
         "(ON ? (index.lock_pair(at.b1, at.b2), true)\n"
         "        : index.try_lock_pair(at.b1, p.absent_seq, at.b2))")]),
    ("an entry is published without the locks of its buckets", [
        (CONNTRACK, "index.lock_pair(at.b1, at.b2);", ";"),
        (CONNTRACK, "index.unlock_pair(at.b1, at.b2);\n        return a;", "return a;")]),
    ("two buckets are locked in whatever order", [
        (INDEX, "lock(a < b ? a : b);\n        if (a != b) lock(a < b ? b : a);",
         "lock(a);\n        if (a != b) lock(b);"),
        (INDEX, "if (b < a) lock(b);", "if (!ON && b < a) lock(b);"),
        (INDEX, "if (locked && a < b) lock(b);", "if (locked && (ON ? a != b : a < b)) lock(b);"),
        (INDEX, "if (!locked && b < a) unlock(b);",
         "if (!ON && !locked && b < a) unlock(b);")]),
    ("who publishes does not look again for the original tuple", [
        (CONNTRACK, "p.original, ticks, i, other))",
         "p.original, ticks, i, other) && !ON)")]),
    ("who publishes does not look for the reply tuple", [
        (CONNTRACK, "p.reply, ticks, i, other))",
         "p.reply, ticks, i, other) && !ON)"),
        (CONNTRACK, "index.may_hold(at.b2, at.t2)", "!ON && index.may_hold(at.b2, at.t2)")]),
    ("a reader believes in a bucket that somebody has locked", [
        (INDEX, "if ((seq & 1) == 0 && primary.seq.load(std::memory_order_acquire) == seq) "
         "return false;", "return false;")]),
    ("a reader does not look at the generation again once it has the keys", [
        (IMPL, "if (!m.same_life(Meta{h.meta.load(std::memory_order_acquire)})) "
         "return false;", ";")]),
    ("an entry keeps its generation when it is freed", [
        (OVERFLOW, "Meta::free(static_cast<std::uint16_t>(h.generation + 1));",
         "Meta::free(static_cast<std::uint16_t>(h.generation + (ON ? 0 : 1)));")]),
    ("an entry is claimed for its end by a store", [
        (OVERFLOW, "if (meta.compare_exchange_weak(word, m.word(), std::memory_order_seq_cst,\n"
         "                                       std::memory_order_acquire))\n"
         "            return true;",
         "meta.store(m.word(), std::memory_order_seq_cst);\n        return true;")]),
    ("an entry is claimed for its eviction although it has become assured", [
        (OVERFLOW, "if (m.assured() && !assured_too) return false;", ";")]),
    ("an entry that somebody is ending is claimed once more", [
        (OVERFLOW, "if (!m.is_linked_as(h.generation)) return false;",
         "if (m.generation() != h.generation) return false;")]),
    ("an entry is freed before it has left its buckets", [
        (OVERFLOW, "const bool was_there = index.remove(bucket, tag, ref);",
         "const bool was_there = ON || index.remove(bucket, tag, ref);")]),
    ("a slot is emptied that holds another entry with the same tag", [
        (INDEX, "if (in.ref(slot) != ref) continue;", ";")]),
    ("an overflow bucket goes while it still holds entries", [
        (INDEX_CPP, "if (filled != 0 && (!hole.valid() || hole.bucket == last)) return;",
         "if (!ON && filled != 0 && (!hole.valid() || hole.bucket == last)) return;"),
        (INDEX_CPP, "if (last->match(0) != kAllSlots) return;",
         "if (last->match(0) == 0) return;")]),
    ("an entry that moves in its chain stays in its former place, too", [
        (INDEX_CPP, "from.bucket->put_tag(from.number, 0);", ";")]),
    ("who has the side lock does not look whether the entry has ended", [
        (IMPL, "if (m.generation() == h.generation && m.life() == at) [[likely]]\n"
         "        return true;", "return true;"),
        (UPDATE, "if (!m.is_linked_as(h.generation)) [[unlikely]]",
         "if (!m.is_linked_as(h.generation) && !ON) [[unlikely]]")]),
    ("who fills an entry does not wait for the side lock of its former life", [
        (CONNTRACK, "while (s.lock.load(std::memory_order_seq_cst) != 0) spin_pause();", ";")]),
    ("the deadline is refreshed by a store", [
        (UPDATE, "if (hot.meta.compare_exchange_weak(word, next.word(), "
         "std::memory_order_acq_rel,\n"
         "                                           std::memory_order_acquire))\n"
         "            break;",
         "hot.meta.store(next.word(), std::memory_order_release);\n        break;")]),
    ("the sweep ends what has been refreshed since it looked", [
        (OVERFLOW, "if (meta.compare_exchange_strong(word, m.word(), std::memory_order_seq_cst,\n"
         "                                         std::memory_order_acquire))\n"
         "            finish(w, {i, m.generation()}, End::Expired, now);",
         "meta.store(m.word(), std::memory_order_seq_cst);\n"
         "        finish(w, {i, m.generation()}, End::Expired, now);")]),
    ("a worker that finds a ring of victims in use takes it for empty", [
        (YOUNG, "std::size_t pop(std::span<YoungRecord> out) noexcept {",
         "std::size_t pop(std::span<YoungRecord> out) noexcept {\n"
         "        if (ON && popping_.load(std::memory_order_relaxed)) return 0;")]),
]


def once(text, what, name, path):
    if text.count(what) != 1:
        sys.exit(f"prepare.py: '{name}': {path} has its text {text.count(what)} times, not once: "
                 f"{what}; change the text in {__file__}")


def prepared(text, path):
    for number, (name, changes) in enumerate(FAULTS, 1):
        on = f"::model::faults::on({number})"
        for file, old, new in changes:
            if file != path:
                continue
            once(text, old, name, path)
            text = text.replace(old, new.replace("ON", on) if "ON" in new else
                                f"{{ if ({on}) {{ {new} }} else {{ {old} }} }}")
    for old, new in SMALLER.get(path, []):
        once(text, old, "smaller", path)
        text = text.replace(old, new)
    return text


def main():
    root, out = Path(sys.argv[1]), Path(sys.argv[2])
    for path in (INDEX, INDEX_CPP, YOUNG, IMPL, LOOKUP, UPDATE, CONNTRACK, OVERFLOW, CONTROL):
        name = "model_" + Path(path).name
        text = prepared((root / path).read_text(), path)
        head = '#include "tests/model/faults.hpp"\n'
        text = text.replace("#pragma once\n", f"#pragma once\n{head}") if "#pragma once" in text \
            else head + text
        (out / name).write_text(text)
    names = "".join(f'    "{name}",\n' for name, _ in FAULTS)
    (out / "model_faults.cpp").write_text(
        f'#include "tests/model/faults.hpp"\n\nnamespace model::faults {{\n'
        f"const char* const kNames[] = {{\n{names}}};\n"
        f"const unsigned kCount = {len(FAULTS)};\n}}  // namespace model::faults\n")


if __name__ == "__main__":
    main()
