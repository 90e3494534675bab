# Run by mmdebstrap as a customise hook, inside the namespace that owns the files: $1 is the root directory.
# A constant text: nothing is ever pasted into it.
set -eu
root="$1"
case "$root" in
/?*) ;;
*) exit 1 ;;
esac

# The vendor's identity-free state: every machine makes its own keys, id and seed on its first boot.
rm -f "$root"/etc/ssh/ssh_host_*
: >"$root/etc/machine-id"
rm -f "$root/var/lib/dbus/machine-id" "$root/var/lib/systemd/random-seed"
echo localhost >"$root/etc/hostname"
cat >"$root/etc/hosts" <<'HOSTS'
127.0.0.1	localhost
::1		localhost ip6-localhost ip6-loopback
ff02::1		ip6-allnodes
ff02::2		ip6-allrouters
HOSTS
echo 'LABEL=hardtack-root / ext4 rw,discard,errors=remount-ro,x-systemd.growfs 0 1' >"$root/etc/fstab"
echo 'LANG=C.UTF-8' >"$root/etc/default/locale"

# The vendor's netplan default. It also makes the netplan generator pull systemd-networkd into the very
# first transaction; what cloud-init writes later would be too late for that.
if [ -d "$root/etc/netplan" ]; then
	cat >"$root/etc/netplan/90-default.yaml" <<'NETPLAN'
network:
  version: 2
  ethernets:
    all-en:
      match: {name: "en*"}
      dhcp4: true
      dhcp4-overrides: {use-domains: true}
      dhcp6: true
      dhcp6-overrides: {use-domains: true}
    all-eth:
      match: {name: "eth*"}
      dhcp4: true
      dhcp4-overrides: {use-domains: true}
      dhcp6: true
      dhcp6-overrides: {use-domains: true}
NETPLAN
	chmod 600 "$root/etc/netplan/90-default.yaml"
fi

# Where ifupdown sets the links up it does so before cloud-init could say how. And the kernel, which is its client, follows routes
# that a router names (RFC 4191) only where it is told to; networkd does unasked.
if [ -e "$root/sbin/ifup" ]; then
	cat >"$root/etc/network/interfaces" <<'INTERFACES'
auto lo
iface lo inet loopback
auto /e*=dhcp
iface dhcp inet dhcp
iface dhcp inet6 auto
	pre-up echo 128 >/proc/sys/net/ipv6/conf/$IFACE/accept_ra_rt_info_max_plen || true
INTERFACES
	echo 'network: {config: disabled}' >"$root/etc/cloud/cloud.cfg.d/90_network.cfg"
fi

# The archive's sources are those that the distribution's cloud-init names; those of the building machine are none of the image's business.
# By http: what comes is signed, and whoever proves a first boot leads the machine to a mirror of his own.
rm -f "$root"/etc/apt/sources.list "$root"/etc/apt/sources.list.d/*
codename=$(sed -n 's/^VERSION_CODENAME=//p' "$root/etc/os-release")
archive() {
	sed -n "s,^ *$1: https\?://,http://,p" "$root/etc/cloud/cloud.cfg" | head -n 1
}
cat >"$root/etc/apt/sources.list" <<SOURCES
deb $(archive primary) $codename main
deb $(archive primary) $codename-updates main
deb $(archive security) $codename-security main
SOURCES
test "$(grep -c "^deb http://[^ ]* $codename[^ ]* main\$" "$root/etc/apt/sources.list")" = 3
rm -f "$root"/etc/apt/apt.conf.d/99mmdebstrap

