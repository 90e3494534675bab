#!/bin/sh
# Written by hardtack, from templates/firewall/ipv6-off.sh: turns IPv6 off on every link but the machine's own, lo.
# Links that come later have it from `default`. Programs that know only ::1 for the machine itself still find it.
[ -e /proc/sys/net/ipv6/conf ] || exit 0
for link in all default; do
    echo 1 >/proc/sys/net/ipv6/conf/$link/disable_ipv6
done
echo 0 >/proc/sys/net/ipv6/conf/lo/disable_ipv6
# systemd-networkd waits for addresses that never come, unless each of its files says that there are none (systemd.network(5)): without
# this each boot stood still for two minutes in systemd-networkd-wait-online.service (systemd 252).
for file in /etc/systemd/network/*.network /run/systemd/network/*.network /usr/lib/systemd/network/*.network; do
    [ -e "$file" ] || continue
    folder=/run/systemd/network/${file##*/}.d
    mkdir -p "$folder"
    printf '[Network]\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n' >"$folder/99-hardtack.conf"
done
