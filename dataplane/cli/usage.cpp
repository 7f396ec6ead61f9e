// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/cli/arguments.hpp"

namespace dp {

std::string_view usage() noexcept {
    return R"(Usage: sluicectl [--socket PATH] COMMAND [FILTER...] [-o FORMAT[,...]]

Commands, as conntrack(8) has them:
  -L, --dump [TABLE]      list connections
  -G, --get               show the connection that -p, -s, -d and the ports name
  -D, --delete            delete the connections that match
  -I, --create            make an entry; -A, --add: unless it is there already
  -U, --update            change -t, -u, -m, --state or labels of those that match
  -R, --load-file FILE    do what a file says, a line of -I, -A, -U, -D or -F each: what
                          -o save has written; `-': standard input
  -E, --event [TABLE]     show events until interrupted
  -F, --flush [TABLE]     delete all
  -C, --count [TABLE]     show how many there are
  -S, --stats [TABLE]     show the counters of each worker
  -V, --version           show the version
  -h, --help              show this
Tables: conntrack (default), expect, dying, unconfirmed

Sluice's own:
  stats                   what the workers and ports have done
  get [NAME]              settings, by the names that sysctl(8) knows them by
  set NAME VALUE          change one while the daemon runs; NAME=VALUE will do
  port NAME up|down       put a port into service, or take it out
  address [PORT]          addresses of the ports
  address PORT add|del ADDRESS/LENGTH
                          give a port an address, or take one away
  drops [--all]           dropped packets by reason
  explain FLOW            what becomes of a flow's next packets, and why: its entry, windows,
                          rules, route, translation, room. FLOW: `tcp 10.0.0.1:1234 > 192.0.2.1:80'
                          or -p, -s, -d and ports; --in PORT: that they come in by; -w ZONE
  ping                    succeed if the daemon answers
  nat-who, nat-where      who had an external port, and which a subscriber has: not from the
                          daemon, but from configuration and log (nat-who --help)

Filters:
  -s, --src, --orig-src ADDRESS[/LENGTH]   source, original direction
  -d, --dst, --orig-dst ADDRESS[/LENGTH]   destination, original direction
  -r, --reply-src ADDRESS                  source, reply direction
  -q, --reply-dst ADDRESS                  destination, reply direction
      --mask-src MASK, --mask-dst MASK     masks of -s and -d
  -p, --protonum PROTOCOL                  by name or number
  -f, --family ipv4|ipv6
  -m, --mark VALUE[/MASK]
  -u, --status NAME[,NAME]                 ASSURED, SEEN_REPLY, EXPECTED, FIXED_TIMEOUT,
                                           OFFLOAD, HW_OFFLOAD; !NAME for the contrary; UNREPLIED
  -n, --src-nat [ADDRESS[:PORT]]           translated source
  -g, --dst-nat [ADDRESS[:PORT]]           translated destination
  -j, --any-nat [ADDRESS[:PORT]]           either
  -w, --zone ZONE, --orig-zone ZONE, --reply-zone ZONE
  -l, --label NAME[,NAME]                  with these labels, of /etc/xtables/connlabel.conf
  -i, --id ID                              -D, -U: only the connection with this id
  after -p tcp, udp, udplite, sctp, dccp:
      --sport, --orig-port-src PORT        --dport, --orig-port-dst PORT
      --reply-port-src PORT                --reply-port-dst PORT
  after -p tcp, sctp, dccp: --state STATE
  after -p icmp:            --icmp-type N --icmp-code N --icmp-id N
  after -p icmpv6:          --icmpv6-type N --icmpv6-code N --icmpv6-id N
  after -p sctp:            --orig-vtag TAG --reply-vtag TAG   -I only
  after -p dccp:            --role client|server               -I only
  after -p gre:             --srckey KEY --dstkey KEY --reply-key-src KEY --reply-key-dst KEY
  with expect, after -p:    --tuple-port-src PORT --tuple-port-dst PORT (gre: --tuple-key-...)
                            --mask-port-src MASK --mask-port-dst MASK  (gre: --mask-key-...)

Making and changing (-I, -A, -U), where the filters above are the entry:
  -t, --timeout SECONDS                    must be given with -I and -A
  -u, --status NAME[,NAME]                 SEEN_REPLY, ASSURED, FIXED_TIMEOUT; only set, never
                                           cleared
  -m, --mark VALUE[/MASK]                  -U: the bits of MASK only
  -n ADDRESS[:PORT], -g ADDRESS[:PORT]     translate the source, the destination
      --state STATE                        must be given with -I for TCP and SCTP
      --label-add NAME[,NAME], --label-del [NAME[,NAME]]   -U

Output:
  -z, --zero                  -L: set the counters to 0 while listing
  -b, --buffer-size BYTES     -E: for a slow reader, up to 64 MiB
  -e, --event-mask ALL|NEW|UPDATES|DESTROY[,...]   -E: these events only
  -o, --output FORMAT[,...]   extended, id, timestamp (-E), ktimestamp, labels; xml; save; json
      --socket PATH           the daemon's socket (/run/sluice.sock)

Exit codes: 0 done; 1 failed, or nothing to show (-G) or to delete (-D); 2 bad parameter.
)";
}

}  // namespace dp
