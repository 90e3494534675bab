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
# Without systemd, init itself: beside the scripts of the runlevel and not after them, so before the lines that wait for those.
if [ -e "$root/etc/inittab" ]; then
	cat >"$root/usr/lib/hardtack/shells" <<'SHELLS'
#!/bin/sh
# init stops what ends again and again.
while :; do
	/usr/lib/hardtack/root-channel
	[ $? != 77 ] || exec sleep 2147483647
	sleep 1
done
SHELLS
	chmod 755 "$root/usr/lib/hardtack/shells"
	sed -i 's,^l0:0:wait:,hs:2345:respawn:/usr/lib/hardtack/shells\n&,' "$root/etc/inittab"
	grep -q '^hs:' "$root/etc/inittab"
fi
