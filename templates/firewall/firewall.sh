#!/bin/sh
# Written by hardtack, from templates/firewall/firewall.sh.
# firewall gate    only ssh may come in; needs nothing but a packet filter
# firewall start   the gate, and all that the spec allows once the first boot has succeeded
# Each load replaces the old rules in one step. What cannot be loaded leaves the machine shut, never open.
set -u
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH
rules={{ rules }}
state={{ state }}

say() {
    echo "hardtack-firewall: $*"
    echo "hardtack-firewall: $*" 2>/dev/null >/dev/console || true
}

{% if off %}
# Before any link comes up.
sh {{ lib }}/ipv6-off

{% endif %}
load() {
{% if sets %}
    # What rules name must be there before them. The gate names none.
    [ "$1" = gate ] || sh {{ lib }}/blocklist-load || return 1
{% endif %}
    # A kernel without IPv6 (ipv6.disable=1) may refuse its rules, and needs none.
    ip6tables-restore -w 10 <"$rules/$1.v6" || [ ! -e /proc/net/if_inet6 ] || return 1
    iptables-restore -w 10 <"$rules/$1.v4" && reopen
}

# A link that is taken down comes up again with the network. What no route leads in stays out whoever brings it up.
close() {
    say "no gate can be set: nothing may come in"
    [ ! -e /run/hardtack/closed ] || return 0
    mkdir -p /run/hardtack
    for family in -4 -6; do
        ip "$family" rule add pref 2 lookup local protocol kernel &&
            ip "$family" rule add pref 1 not iif lo blackhole protocol kernel &&
            ip "$family" rule del pref 0 && continue
        [ "$family" = -4 ] || [ -e /proc/net/if_inet6 ] || continue
        say "not even that: the network is taken down"
        for link in /sys/class/net/*; do
            [ "${link##*/}" = lo ] || ip link set dev "${link##*/}" down
        done
    done
    : >/run/hardtack/closed
}

reopen() {
    [ -e /run/hardtack/closed ] || return 0
    for family in -4 -6; do
        ip "$family" rule add pref 0 lookup local protocol kernel &&
            ip "$family" rule del pref 1 && ip "$family" rule del pref 2
    done
    rm -f /run/hardtack/closed
}

gate() {
    if load gate; then return 0; fi
    if nft -f "$rules/gate.nft"; then reopen; return 0; fi
    close
    return 1
}

case ${1:-} in
gate)
    gate || exit 1
    ;;
start)
    if [ ! -e "$state/provisioned" ]; then
        say "the first boot has not succeeded yet: only ssh may come in"
        gate || exit 1
    elif load rules; then
        # Where the gate was nftables' own, it has done its work.
        if command -v nft >/dev/null; then nft delete table inet hardtack_gate 2>/dev/null || true; fi
    else
        say "the rules cannot be loaded: only ssh may come in"
        gate
        exit 1
    fi
    ;;
*)
    echo "usage: ${0##*/} gate|start" >&2
    exit 2
    ;;
esac
# The first of a boot tells when the gate stood.
mkdir -p /run/hardtack && { [ -e /run/hardtack/gate ] || : >/run/hardtack/gate; }
