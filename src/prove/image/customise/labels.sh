
# What every file is to be labelled, by the policy; the file systems of the kernel label themselves.
type=$(sed -n 's/^SELINUXTYPE=//p' "$root/etc/selinux/config")
chroot "$root" setfiles -n -v -F -e /proc -e /sys -e /dev "/etc/selinux/$type/contexts/files/file_contexts" / >"$root/boot/labels"
