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

# cloud-init writes the archive's sources on the first boot; those of the building machine are none of the image's business.
rm -f "$root"/etc/apt/sources.list "$root"/etc/apt/sources.list.d/*
rm -f "$root"/etc/apt/apt.conf.d/99mmdebstrap

# The root channel: starts only where QEMU offers a port of this name, and is inert elsewhere. It is tried as soon as
# modules are loaded and does not need udev, so that one can look on from the first seconds of userspace; a port that
# shows up later is brought in by the udev rule.
mkdir -p "$root/usr/lib/hardtack" "$root/usr/lib/modules-load.d" "$root/usr/lib/udev/rules.d" \
	"$root/usr/lib/systemd/system/sysinit.target.wants"
cat >"$root/usr/lib/hardtack/root-channel" <<'CHANNEL'
#!/bin/sh
# Offers a root shell on the port that `hardtack prove` looks through. 77: there is no such port.
for wait in 0 0.2 0.5 1; do
	# Without a virtio serial device there is nothing to wait for.
	set -- /sys/bus/virtio/drivers/virtio_console/virtio[0-9]*
	[ -e "$1" ] || exit 77
	sleep $wait
	for port in /sys/class/virtio-ports/*; do
		name=
		[ -r "$port/name" ] && read -r name <"$port/name"
		[ "$name" = hardtack.shell ] || continue
		# A port can be opened only once, so one descriptor serves both ways.
		exec 3<>"/dev/${port##*/}"
		exec <&3 >&3 2>&3 3>&-
		echo HT-READY
		exec /bin/bash --norc
	done
done
exit 77
CHANNEL
chmod 755 "$root/usr/lib/hardtack/root-channel"
cat >"$root/usr/lib/systemd/system/hardtack-shell.service" <<'UNIT'
[Unit]
Description=Root channel for hardtack prove
DefaultDependencies=no
After=systemd-modules-load.service
Conflicts=shutdown.target
Before=shutdown.target
StartLimitIntervalSec=0
[Service]
ExecStart=/usr/lib/hardtack/root-channel
Restart=always
RestartSec=1
SuccessExitStatus=77
RestartPreventExitStatus=77
KillSignal=SIGHUP
UNIT
ln -s ../hardtack-shell.service "$root/usr/lib/systemd/system/sysinit.target.wants/hardtack-shell.service"
cat >"$root/usr/lib/udev/rules.d/60-hardtack-shell.rules" <<'RULE'
SUBSYSTEM=="virtio-ports", ATTR{name}=="hardtack.shell", TAG+="systemd", ENV{SYSTEMD_WANTS}+="hardtack-shell.service"
RULE
echo virtio_console >"$root/usr/lib/modules-load.d/hardtack.conf"

# Caches and logs that only cost space; the package lists come with the first apt-get update.
# Not /tmp: mmdebstrap keeps its configuration of apt in there and empties it itself. With that file gone, its own
# last apt-get emptied the package lists of the building machine instead (seen).
rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/*.bin "$root"/var/cache/debconf/*-old "$root"/var/lib/dpkg/*-old
find "$root/var/log" -type f -delete
rm -rf "$root"/var/tmp/*

# The packages' own triggers have just done what systemd would do again after an offline update of /usr
# (ldconfig, the journal's catalogue): about 10 CPU seconds under TCG. Last, for nothing under /usr may be younger.
touch -r "$root/usr" "$root/etc/.updated" "$root/var/.updated"
