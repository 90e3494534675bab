#!/bin/sh
# Written by hardtack, from templates/blocklist/load.sh: fills the sets of blocked addresses from a file.
# It fills sets beside those that rules use, and then they change places: nobody is let in for a moment in between, and a file
# that the kernel refuses changes nothing.
set -u
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH LC_ALL=C.UTF-8
file=${1:-{{ state }}/blocklist/sets}

fail() {
    echo "hardtack: blocklist: $*" >&2
    exit 1
}

# One that was cut short would be taken up to there, without a word.
[ "$(tail -n 1 "$file" 2>/dev/null)" = '# whole' ] || fail "$file is missing, or not whole"
mkdir -p /run/hardtack
umask 077
exec 9>/run/hardtack/blocklist.lock
flock 9
for set in hardtack-block4:inet hardtack-block6:inet6; do
    ipset destroy "${set%:*}-new" 2>/dev/null
    # A rule that names a set which is not there keeps all of its table from being loaded.
    ipset list -n "${set%:*}" >/dev/null 2>&1 || ipset create "${set%:*}" hash:net family "${set#*:}" || fail "no sets can be made"
done
if ! ipset restore <"$file"; then
    ipset destroy hardtack-block4-new 2>/dev/null
    ipset destroy hardtack-block6-new 2>/dev/null
    fail "the kernel does not take $file"
fi
