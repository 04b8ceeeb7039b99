#!/bin/sh
# deploy/many-connections.sh - kernel settings for hundreds of thousands of connections and more, each with its reason.
#
#   sh deploy/many-connections.sh            print the settings
#   sh deploy/many-connections.sh --apply    set them until the next boot (root); -w into /etc/sysctl.d/ is yours to decide
#
# A limit that is higher already stays (distributions raise fs.file-max, a large machine its tcp_mem): its line is a comment. PROC: where
# /proc/sys is read, if not in /proc.
#
# 1,000,000 idle loopback connections with both ends on one machine were held with Debian's defaults in 24 GiB, and 2,000,000 with
# what follows: 10.2 KB of kernel memory for each pair and 235 bytes in the daemon. It is for real networks and for bursts too.
set -eu

say() {
    # name, value, reason
    printf '# %s\n%s = %s\n\n' "$3" "$1" "$2"
    if [ "$apply" = 1 ]; then
        sysctl -q -w "$1=$2" || echo "not set: $1 (needs root, or this kernel does not have it)" >&2
    fi
}

# The same for a limit: of a list (tcp_mem) the last one counts.
least() {
    have=$(cat "${PROC:-/proc}/sys/$(echo "$1" | tr . /)" 2>/dev/null | awk '{ print $NF }')
    if [ "${have:-0}" -ge "${2##* }" ]; then
        printf '# %s\n# %s = %s already\n\n' "$3" "$1" "$have"
    else
        say "$@"
    fi
}

apply=0
[ "${1:-}" = --apply ] && apply=1

least net.core.somaxconn 65535 \
    'length of each accept queue; listen_backlog asks for 65535 and gets no more than this. A reconnect storm waits here.'
least net.ipv4.tcp_max_syn_backlog 65535 \
    'handshakes under way per listener; beyond it SYN cookies take over, which costs CPU and drops options.'
say net.ipv4.ip_local_port_range '1024 65535' \
    'ports of a load generator for each source address and target: 64,000 instead of 28,000.'
least net.ipv4.tcp_mem '1048576 1572864 2097152' \
    'pages of socket buffers of the whole machine (4, 6, 8 GiB): an unread message charges a whole page to its socket.'
say net.ipv4.tcp_rmem '4096 16384 262144' \
    'receive buffers start at 16 KiB and may not autotune to megabytes each: clients of a gateway send little.'
say net.ipv4.tcp_wmem '4096 16384 262144' \
    'the same for sending; send_buffer_size bounds it for the daemon in any case.'
say net.ipv4.tcp_keepalive_time 7200 \
    'left at two hours: ping_interval finds dead clients much earlier, kernel keepalives would only add packets.'
least fs.nr_open 1048576 \
    'highest RLIMIT_NOFILE that can be given to a process (LimitNOFILE= of the unit); more descriptors mean fewer workers.'
least fs.file-max 8000000 \
    'open files of the whole machine: clients (twice when they run here too), plus 100 or so for each worker.'
least net.netfilter.nf_conntrack_max 4000000 \
    'only where connection tracking is loaded: one entry for each connection, or new ones are dropped without a word.'

cat <<'TEXT'
# The table of established connections has 262,144 buckets by default; with millions of connections its chains get long. It can
# only be chosen at boot (kernel parameter thash_entries=4194304), or for a network namespace of its own:
#   sysctl -w net.ipv4.tcp_child_ehash_entries=4194304
#   ip netns add roost && ip netns exec roost ip link set lo up && ip netns exec roost roostd ...
TEXT
