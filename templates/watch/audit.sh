# hardtack, templates/watch/audit.sh: what happens is written down from now on, and until the next boot nobody changes that.
[ -z "${missing-}" ] || exit 0
# A package enables it, and to do so again costs seconds.
systemctl --quiet is-enabled auditd.service || systemctl --quiet --no-reload enable auditd.service || exit 1
systemctl --quiet is-active auditd.service || systemctl start auditd.service || exit 1
# Rules that are locked already are those of this bundle, or wait for the next boot.
auditctl -s | grep -q '^enabled 2' && exit 0
augenrules --load >/dev/null 2>&1
auditctl -s | grep -q '^enabled 2' || { echo "watch: the kernel does not take the rules: $(auditctl -l 2>&1 | tail -n 1)"; exit 1; }
