#!/bin/sh
# Written by hardtack, from templates/watch/integrity.sh: whether files that nobody should change have changed (aide(1)).
# hardtack-integrity accept   what they are now is right
# hardtack-integrity check    what has changed since; what the package manager has changed is right where it says so itself
set -u
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH LC_ALL=C
umask 077
state={{ state }}

accept() {
    rm -f "$state/aide.db.new"
    aide --init --config {{ config }} >/dev/null || { echo "hardtack-integrity: aide cannot read the files"; exit 1; }
    mv "$state/aide.db.new" "$state/aide.db"
}

packages() {
    if command -v dpkg-query >/dev/null; then
        # shellcheck disable=SC2016 # a format of dpkg-query
        dpkg-query -W -f '${binary:Package} ${Version} ${db:Status-Status}\n'
    else
        rpm -qa | sort
    fi | sha256sum
}

# The paths of a report: a line each, what has changed, a colon, the path.
changed() {
    printf '%s\n' "$1" | sed -n 's/^[a-z!?][^:]*: \(\/.*\)$/\1/p' | sort -u
}

# Whether a package has brought this path, and as it is now. dpkg knows some by the place they had before /usr was merged.
owned() {
    if command -v dpkg-query >/dev/null; then
        for name in "$1" "${1#/usr}"; do
            package=$(dpkg-query -S "$name" 2>/dev/null | sed -n "s|: $name\$||p" | head -n 1)
            [ -n "$package" ] || continue
            ! dpkg --verify "${package%%,*}" | grep -qF " $name"
            return
        done
        return 1
    fi
    rpm -qf "$1" >/dev/null 2>&1 && ! rpm -Vf --nomtime "$1" 2>/dev/null | grep -qF " $1"
}

case ${1-} in
accept)
    accept
    packages >"$state/aide.packages"
    ;;
check)
    said=$(aide --check --config {{ config }} 2>&1) && { echo "hardtack-integrity: nothing has changed"; exit 0; }
    # Other packages than when it was accepted: then what has changed is right where a package owns it, and its digest is the package's.
    # Whatever else has changed meanwhile is as strange as ever.
    if [ "$(packages)" != "$(cat "$state/aide.packages" 2>/dev/null)" ]; then
        strange=$(changed "$said" | while read -r path; do
            owned "$path" || printf '%s is no package'"'"'s, or not as it brought it\n' "$path"
        done)
        if [ -z "$strange" ] && [ -n "$(changed "$said")" ]; then
            accept
            packages >"$state/aide.packages"
            echo "hardtack-integrity: packages have changed, and their files are theirs; taken as right"
            exit 0
        fi
        said="$said
$strange"
    fi
    printf '%s\n' "$said"
    echo "hardtack-integrity: files have changed that nobody should change; if that was you: hardtack-integrity accept"
    exit 1
    ;;
*)
    sed -n '3,4s/^# //p' "$0"
    exit 2
    ;;
esac
