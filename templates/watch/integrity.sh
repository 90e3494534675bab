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

case ${1-} in
accept)
    accept
    packages >"$state/aide.packages"
    ;;
check)
    said=$(aide --check --config {{ config }} 2>&1) && { echo "hardtack-integrity: nothing has changed"; exit 0; }
    # Other packages than when it was accepted: then the package manager is asked for the digests of what they brought. A file of settings
    # is a person's, and stands there with a c.
    if [ "$(packages)" != "$(cat "$state/aide.packages" 2>/dev/null)" ]; then
        if command -v dpkg >/dev/null; then
            other=$(dpkg --verify | grep -v ' c /')
        else
            other=$(rpm -Va --nomtime | grep -v ' c /')
        fi
        if [ -z "$other" ]; then
            accept
            packages >"$state/aide.packages"
            echo "hardtack-integrity: packages have changed, and their files are theirs; taken as right"
            exit 0
        fi
        said=$other
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
