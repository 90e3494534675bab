# hardtack, templates/services/refuse.sh: what speaks in clear text is not here, and does not come back.
present=
# shellcheck disable=SC2043 # one, or several
for package in{% for package in packages %} {{ package }}{% endfor %}; do
    if command -v dpkg-query >/dev/null; then
        # shellcheck disable=SC2016 # a format of dpkg-query, not of the shell
        case $(dpkg-query -W -f '${db:Status-Status}' $package 2>/dev/null) in
        '' | not-installed) ;;
        *) present="$present $package" ;;
        esac
    else
        rpm -q $package >/dev/null 2>&1 && present="$present $package"
    fi
done
if [ -n "$present" ]; then
    echo "services: purges$present"
    if command -v apt-get >/dev/null; then
        # shellcheck disable=SC2086 # names of packages, which hold no blanks
        DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=600 purge $present || exit 1
    else
        # shellcheck disable=SC2086
        dnf -y remove $present || exit 1
    fi
fi
