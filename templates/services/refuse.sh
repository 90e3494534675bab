# hardtack, templates/services/refuse.sh: what speaks in clear text is not here, and does not come back.
set --{% for package in packages %} {{ package }}{% endfor +%}
if command -v dpkg-query >/dev/null; then
    # shellcheck disable=SC2016 # a format of dpkg-query, not of the shell
    present=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' "$@" 2>/dev/null | awk '$2 != "not-installed" { printf " %s", $1 }')
else
    present=$(for package; do rpm -q "$package" >/dev/null 2>&1 && printf ' %s' "$package"; done)
fi
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
