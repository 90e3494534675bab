#!/bin/sh
# Written by hardtack, from templates/delivery/firstboot.sh: the first boot, stage by stage.
# firstboot early    before the network: everything, where no package is missing; else all that needs none
# firstboot late     when the network is up: what is left
# Each stage may run twice. The seal comes last, so a boot that was cut short is carried on at the next.
set -u
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH LC_ALL=C.UTF-8
umask 022
digest={{ digest }}
lib={{ lib }}
state={{ state }}
when=${1:-late}
# For commands, some of which can do their work only with a network.
export when
waits=

say() {
    echo "hardtack: $*"
    [ "$when" = early ] || echo "hardtack: $*" 2>/dev/null >/dev/console || true
}

fail() {
    say "FAILED: $*"
    exit 1
}

sealed() {
    [ "$(cat "$state/sealed" 2>/dev/null)" = "$digest" ]
}

stage() {
    for command in "$lib/$1.d"/*; do
        [ -e "$command" ] || continue
        say "$1: ${command##*/}"
        sh "$command"
        case $? in
        0) ;;
        75)
            [ "$when" = early ] || fail "$1: ${command##*/}"
            waits="$waits ${command##*/}"
            ;;
        *) fail "$1: ${command##*/}" ;;
        esac
    done
}

{% if packages %}
# Those of these packages that are not installed. Asked for all at once: each question costs a process.
absent() {
    if command -v dpkg-query >/dev/null; then
        # shellcheck disable=SC2016 # a format of dpkg-query, not of the shell
        there=" $(dpkg-query -W -f '${Package}:${db:Status-Status} ' "$@" 2>/dev/null)"
        for package in "$@"; do
            case $there in *" $package:installed "*) ;; *) printf ' %s' "$package" ;; esac
        done
    else
        for package in "$@"; do
            rpm -q "$package" >/dev/null 2>&1 || printf ' %s' "$package"
        done
    fi
}
{% endif %}

install_packages() {
    if command -v apt-get >/dev/null; then
        DEBIAN_FRONTEND=noninteractive
        export DEBIAN_FRONTEND
        dpkg --configure -a --force-confold
        apt-get -q -o DPkg::Lock::Timeout=600 update
        apt-get -q -y -o DPkg::Lock::Timeout=600 -o Dpkg::Options::=--force-confold install --no-install-recommends "$@"
    else
        dnf -y install "$@"
    fi
}

# What is left to do when it has succeeded, now or before a power cut.
ended() {
{% if cloud_init_once and systemd %}
    ! command -v cloud-init >/dev/null || systemctl --no-block start {{ off_unit }}
{% elif cloud_init_once %}
    # Whoever puts a stick into the machine that is called CIDATA is not its owner.
    if [ -d /etc/cloud ] && [ ! -e /etc/cloud/cloud-init.disabled ]; then
        for script in /etc/init.d/cloud-*; do
            [ ! -e "$script" ] || update-rc.d "${script##*/}" disable >/dev/null
        done
        : >/etc/cloud/cloud-init.disabled
    fi
{% endif %}
    exit 0
}

mkdir -p "$state" /run/hardtack || fail "cannot write to $state"
sealed && ended
# Whoever may read a file may lock it, and so hold up the first boot.
umask 077
exec 9>/run/hardtack/firstboot.lock
umask 022
flock 9
sealed && ended
# Somebody has to mend the machine first: what is applied now could shut out those who are let in for that.
[ ! -e "$state/rescued" ] || fail "the dead-man's switch has fired: $(cat "$state/rescued")"

if ! sha256sum --status -c "$lib/files.sha256"; then
    [ "$when" = early ] && say "not all files have arrived yet" && exit 0
    fail "files are missing or damaged: $(sha256sum --quiet -c "$lib/files.sha256" 2>&1 | tr '\n' ' ')"
fi
{% for user in users %}
id -u {{ user }} >/dev/null 2>&1 || { [ "$when" = early ] && say "not all people are here yet" && exit 0; fail "no account: "{{ user }}; }
{% endfor %}

stage gate

# For commands of apply, which may run once before the packages are there.
export missing=
{% if packages %}
missing=$(absent{% for package in packages %} {{ package }}{% endfor %})
{% endif %}
if [ -n "$missing" ] && [ "$when" = late ]; then
    say "install:$missing"
    # shellcheck disable=SC2086 # names of packages, which hold no blanks
    install_packages $missing || fail "install:$missing"
    missing=
fi

# Only links: what is started now is started below by name, and a reload for each would cost seconds.
{% if units %}
# Those that are not enabled yet: where a unit has a script of SysV beside it, to enable it once more costs a second.
off=
# shellcheck disable=SC2046 # a word for each
set -- $(systemctl is-enabled{% for unit in units %} {{ unit }}{% endfor +%} 2>/dev/null)
for unit in{% for unit in units %} {{ unit }}{% endfor +%}; do
    [ "${1-}" = enabled ] || off="$off $unit"
    [ $# = 0 ] || shift
done
# shellcheck disable=SC2086 # names of units, which hold no blanks
[ -z "$off" ] || systemctl --quiet --no-reload enable $off || fail "a unit cannot be enabled"
{% endif %}
{% for script in scripts %}
update-rc.d {{ script }} defaults >/dev/null || fail "enable: "{{ script }}
{% endfor %}
stage apply
[ -z "$missing" ] || { say "waiting for the network to install:$missing"; exit 0; }
[ -z "$waits" ] || { say "waiting for the network:$waits"; exit 0; }

# All of it, wherever it lies, before the mark that says so.
sync
if ! { : >"$state/provisioned" && sync -f "$state"; }; then fail "cannot write to $state"; fi
{% if reload %}
# systemd may have read units and timers of the image before it was told more of them. Asked whether it must read them anew
# (NeedDaemonReload), systemd 252 was seen to say no: of a folder of drop-ins that is new it knows only then.
systemctl daemon-reload || fail "systemd does not read its units"
{% endif %}
stage open
{% if starts %}
systemctl --no-block restart{% for unit in starts %} {{ unit }}{% endfor +%} || fail "a unit cannot be started"
{% endif %}

printf '%s\n' "$digest" >"$state/sealed.new"
sync -f "$state"
mv "$state/sealed.new" "$state/sealed" || fail "cannot seal"
sync -f "$state"
say "sealed: $digest"
ended
