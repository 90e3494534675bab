#!/bin/sh
# Stands in for run-init, the last thing that the initial RAM disk calls: here the root file system is mounted and no
# program of the machine itself has run. A machine that has no second disk yet says that it is here and waits for it.
# First it is called to try the root file system (-n), and then as the first process, which it must leave as it was.
if [ "$1" != -n ] && [ ! -e "$rootmnt/sys/class/block/vdb" ]; then
	random=raw generation=unknown
	case "$(dmesg)" in *"crng init done"*) random=made ;; esac
	for driver in "$rootmnt"/sys/bus/*/drivers/vmgenid/*:*; do
		[ -e "$driver" ] && generation=known
	done
	echo "hardtack-gate random=$random generation=$generation."
	until [ -e "$rootmnt/sys/class/block/vdb" ]; do sleep 0.1; done
	# Between the last line and this one the machine may have stood in a file for weeks. The hardware clock went on.
	read -r now <"$rootmnt/sys/class/rtc/rtc0/since_epoch"
	chroot "$rootmnt" date -u -s "@$now" >/dev/null
fi
exec /bin/run-init "$@"
