#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Plants faults into copies of the sources of tracker and NAT, each behind a switch (mutation.hpp).

usage: mutate.py SOURCE_ROOT OUTPUT_FOLDER

The differential tester that is linked with these copies must find every fault. Each fault replaces
an expression that stands exactly once in its file; if the sources have changed so that it does not,
this ends with an error that names the fault, and the list below has to follow.
"""

import sys
from pathlib import Path

TCP, WINDOW, SCTP, PROTO, REWRITE = (
    "ct/proto/tcp.cpp", "ct/proto/tcp_window.hpp", "ct/proto/sctp.cpp", "ct/proto/proto.cpp",
    "nat/rewrite.cpp",
)

# (name, file, expression, what stands there instead)
FAULTS = [
    ("a repeated SYN that nobody answered refreshes", TCP,
     "view.had_reply || t.segment != Segment::Syn || from != TcpState::SynSent", "true"),
    ("any SYN undoes window scaling that one side lacks", TCP,
     "t.p.dir == Dir::Reply && !both", "!both"),
    ("a RST from long ago is believed", TCP,
     "before(seq, t.receiver.max_ack) && !s.tcp_ignore_invalid_rst", "false"),
    ("a RST that is not exact ends the connection", TCP,
     "!established || seq == t.receiver.max_ack || train", "true"),
    ("a stray SYN that is answered does not move the entry", TCP,
     "t.segment == Segment::SynAck", "false"),
    ("the window is one byte wider", WINDOW,
     "!after(n.seq, sender.max_end)", "!after(n.seq, sender.max_end + 1)"),
    ("unacknowledged data does not cut the time-out", WINDOW,
     "(flags & flag::kUnacknowledged) != 0", "false"),
    ("one retransmission more is needed", WINDOW,
     "last.retransmissions >= s.tcp_max_retrans", "last.retransmissions > s.tcp_max_retrans"),
    ("a UDP flow is a stream at once", PROTO,
     "view.had_reply && view.age > kUdpStreamAge", "view.had_reply"),
    ("a GRE tunnel never becomes a stream", PROTO,
     "view.had_reply ? t.gre_stream : t.gre", "t.gre"),
    ("a repeated SCTP INIT refreshes", SCTP,
     "t.state == SctpState::Closed && to == SctpState::Closed && !t.opens", "false"),
    ("a COOKIE ECHO needs no tag", SCTP,
     "fits(t.tag == t.own.tag)", "fits(true)"),
    ("a router shows itself in front of who is translated by his port alone", REWRITE,
     "(p.status & (original ? ct::status::kSrcNat : ct::status::kDstNat)) != 0",
     "other.dst != own.src"),
]

# Output file -> source. What includes WINDOW gets its copy in the place of the include.
COPIES = {
    "mutant_tcp.cpp": TCP,
    "mutant_sctp.cpp": SCTP,
    "mutant_proto.cpp": PROTO,
    "mutant_update.cpp": "ct/update.cpp",
    "mutant_rewrite.cpp": REWRITE,
}


def plant(text, path):
    for number, (name, file, old, new) in enumerate(FAULTS, 1):
        if file != path:
            continue
        if text.count(old) != 1:
            sys.exit(f"mutate.py: '{name}': {path} has its expression {text.count(old)} times, "
                     f"not once: {old}; change the fault's expression in {__file__}")
        text = text.replace(old, f"(::mutation::on({number}) ? ({new}) : ({old}))", 1)
    return text


def main():
    root, out = Path(sys.argv[1]), Path(sys.argv[2])
    window = plant((root / WINDOW).read_text(), WINDOW).replace("#pragma once\n", "")
    for copy, path in COPIES.items():
        text = plant((root / path).read_text(), path)
        text = text.replace(f'#include "{WINDOW}"\n', window)
        (out / copy).write_text(f'#include "tests/differential/mutation.hpp"\n{text}')
    names = "".join(f'    "{name}",\n' for name, *_ in FAULTS)
    (out / "mutant_names.cpp").write_text(
        '#include "tests/differential/mutation.hpp"\n\nnamespace mutation {\n'
        f"const char* const kFaults[] = {{\n{names}}};\n"
        f"const std::size_t kFaultCount = {len(FAULTS)};\n}}  // namespace mutation\n")


if __name__ == "__main__":
    main()
