#!/bin/sh
# Written by hardtack, from templates/rescue/rescue.sh: the dead-man's switch of the first boot.
# rescue watch    waits until the machine is healthy, and fires when it is not in time
# rescue late     fires when the first boot has come to no end
# rescue restore  rules, sets and sshd as the rescue policy has them; at every boot, once it has fired
# rescue end      somebody has mended the machine: from the next boot on all is as the spec has it, and that boot is watched
set -u
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH LC_ALL=C.UTF-8
umask 022
lib={{ lib }}
state={{ state }}
here={{ here }}
port={{ port }}
names={{ names }}
nets={{ nets }}
run=/run/hardtack/rescue
why=

say() {
    echo "hardtack: rescue: $*"
    echo "hardtack: rescue: $*" 2>/dev/null >/dev/console || true
}

now() {
    cut -d. -f1 /proc/uptime
}

# A machine of its own beside this one, whose packets come in by a link like everybody's: rules, routes and sshd are asked in one.
# What is sent back to it goes there by a table of its own, so that nobody else of that address loses a packet.
apart() { # source
    nobody_apart
    case $1 in
    *:*) ours=fd77:7861:6d00::1 family=-6 bits=128 at_once=nodad ;;
    *) ours=169.254.77.1 family=-4 bits=32 at_once= ;;
    esac
    # shellcheck disable=SC2086 # a word or none
    ip netns add hardtack-rescue &&
        ip link add hardtack-r0 type veth peer name hardtack-r1 netns hardtack-rescue &&
        ip addr add "$ours/$bits" dev hardtack-r0 $at_once && ip link set hardtack-r0 up &&
        ip -n hardtack-rescue addr add "$1/$bits" dev hardtack-r1 $at_once && ip -n hardtack-rescue link set hardtack-r1 up &&
        ip -n hardtack-rescue "$family" route add "$ours" dev hardtack-r1 src "$1" &&
        ip "$family" route add "$1" dev hardtack-r0 table 7786 &&
        ip "$family" rule add pref 77 from "$ours" lookup 7786
}

nobody_apart() {
    for family in -4 -6; do
        while ip "$family" rule del pref 77 2>/dev/null; do :; done
    done
    ip link del hardtack-r0 2>/dev/null
    ip netns del hardtack-rescue 2>/dev/null
    return 0
}

# As the person: what the person can change must not lead root astray.
as() {
    user=$1
    shift
    setpriv --reuid="$user" --regid="$(id -g "$user")" --init-groups "$@"
}

# A key that is good for one word, from one place, for as long as it is tried.
# shellcheck disable=SC2016 # the person's shell reads it
taken_back='sed -i "/ hardtack-rescue\$/d" "$1"'
logs_in() { # name, sources
    user=$1 ours=127.0.0.1 source=127.0.0.1 through=
    id -u "$user" >/dev/null 2>&1 || { why="there is no account $user"; return 1; }
    for source in $2; do
        # Nobody whom a list keeps out, and not this machine itself.
        ipset -q test hardtack-block4 "$source" 2>/dev/null || ipset -q test hardtack-block6 "$source" 2>/dev/null ||
            ip -o addr show | grep -qF " $source/" || break
    done
    if [ -n "$2" ]; then
        through='ip netns exec hardtack-rescue'
        # A kernel that cannot do that is no lockout: sshd can still be asked, and the rules were.
        apart "$source" || through='' ours=127.0.0.1 source=127.0.0.1
    fi
    keys=$(getent passwd "$user" | cut -d: -f6)/.ssh/authorized_keys
    rm -f "$run/key" "$run/key.pub"
    ssh-keygen -q -t ed25519 -N '' -C hardtack-rescue -f "$run/key"
    line="restrict,from=\"$source\",command=\"echo hardtack-lets-in\" $(cat "$run/key.pub")"
    # shellcheck disable=SC2016 # the person's shell reads it
    as "$user" sh -c 'printf "%s\n" "$2" >>"$1"' sh "$keys" "$line" 2>/dev/null
    # shellcheck disable=SC2086 # a command or none
    said=$($through timeout 120 ssh -F none -T -n -v -p "$port" -i "$run/key" -o IdentitiesOnly=yes -o IdentityAgent=none \
        -o BatchMode=yes -o ConnectTimeout=30 -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null \
        -o GlobalKnownHostsFile=/dev/null "$user@$ours" 2>&1)
    as "$user" sh -c "$taken_back" sh "$keys" 2>/dev/null
    rm -f "$run/key" "$run/key.pub"
    nobody_apart
    # Where more is asked than a key, all that can be seen here is how far a key comes.
    case $said in *{{ taken }}*) return 0 ;; esac
    why="$user cannot log in from $source: $(printf '%s\n' "$said" | grep -v '^debug1: ' | tail -n 1)"
    return 1
}

healthy() {
    [ -s "$state/sealed" ] || { why='the first boot has not succeeded'; return 1; }
    for check in "$lib"/health.d/*; do
        [ -e "$check" ] || continue
        said=$(sh "$check" 2>&1) || { why="${check##*/}: $(printf '%s\n' "$said" | tail -n 1)"; return 1; }
    done
    # shellcheck disable=SC2041 # one, or several
    for who in{% for way in ways %} {{ way }}{% endfor %}; do
        logs_in "${who%% *}" "${who#"${who%% *}"}" && return 0
    done
    return 1
}

watch() {
    since=$(now)
    until healthy; do
        if [ $(($(now) - since)) -ge {{ within }} ]; then
            fire "$why"
            return 1
        fi
        sleep 5
    done
    : >"$state/healthy"
    sync -f "$state"
    say "the machine is healthy: ${user-nobody} logs in from ${source-nowhere}"
}

fire() {
    printf '%s\n' "$1" >"$state/rescued"
    sync -f "$state"
    say "the machine is not healthy: $1"
    restore
}

# What stands in the way of those who are to mend the machine, wherever it lies.
person() { # name, rule of sudo
    id -u "$1" >/dev/null 2>&1 || useradd -m -s /bin/sh "$1"
    shell=$(getent passwd "$1" | cut -d: -f7)
    case $shell in */nologin | */false) shell= ;; esac
    [ -x "$shell" ] || usermod -s /bin/sh "$1"
    # sshd takes no account that is locked where it does not ask PAM; one with a password that nothing matches it does.
    hash=$(getent shadow "$1" | cut -d: -f2)
    case $hash in
    '!'*)
        hash=${hash#!}
        case $hash in '$'*) usermod -p "$hash" "$1" ;; *) usermod -p '*' "$1" ;; esac
        ;;
    esac
    chage -E -1 -I -1 -M -1 "$1"
    if command -v faillock >/dev/null; then faillock --user "$1" --reset; fi
    if sudo -n -l -U "$1" 2>/dev/null | grep -q 'may run'; then return; fi
    echo "$1 $2" >>/etc/sudoers.d/hardtack-rescue
    chmod 0440 /etc/sudoers.d/hardtack-rescue
}

restore() {
    rm -f /etc/nologin /run/nologin /etc/sudoers.d/hardtack-rescue
    # shellcheck disable=SC2041 # one, or several
    for who in{% for person in people %} {{ person.user ~ " " ~ person.sudo }}{% endfor %}; do
        person "${who%% *}" "${who#* }"
    done
    # Of programs with libwrap, whom hosts.deny(5) keeps out; the rules and sshd itself still say who comes in.
    if grep -q '^[^#]' /etc/hosts.deny 2>/dev/null; then
        grep -qx '# hardtack rescue' /etc/hosts.allow 2>/dev/null || printf '# hardtack rescue\nsshd: ALL\n' >>/etc/hosts.allow
    fi
    mkdir -p {{ privilege_separation }}
    # One that others can read is none to sshd.
    chmod 0600 /etc/ssh/ssh_host_*_key
    if ! {{ sshd }} -t -f "$here/sshd_config"; then
        # Keys that cannot be read are made anew; those who come will be warned, as they should.
        mkdir -p "$lib/refused"
        mv -f /etc/ssh/ssh_host_* "$lib/refused/"
        ssh-keygen -A
    fi
    # Nobody comes in before the rules say who, and the rules say it in one step.
    if nft -f "$here/rescue.nft"; then
        for set in hardtack-block4 hardtack-block6; do ipset -q destroy $set; done
        legacy
        reopen
    else
        say "the rescue rules cannot be loaded: the rules stay as they are"
    fi
    systemctl daemon-reload
    systemctl stop ssh.service sshd.service ssh.socket sshd.socket
    # Who else listens there keeps sshd out.
    for pid in $(ss -Hltnp "sport = :$port" | grep -o 'pid=[0-9]*' | cut -d= -f2 | sort -u); do kill "$pid"; done
    systemctl restart --no-block hardtack-rescue-sshd.service
    say "only $names from $nets may log in now, with a key; when all is mended: $lib/rescue end"
}

# Rules of the old kind are not nftables'.
legacy() {
    for family in '' 6; do
        tool=ip${family}tables-legacy
        command -v $tool >/dev/null || continue
        while read -r table; do
            $tool -w 10 -t "$table" -F
            $tool -w 10 -t "$table" -S | sed -n 's/^-P \([^ ]*\) DROP$/\1/p' | while read -r chain; do
                $tool -w 10 -t "$table" -P "$chain" ACCEPT
            done
        done <"/proc/net/ip${family}_tables_names"
    done
}

# As the packet filter does when a gate can be set again: no route leads in until then.
reopen() {
    [ -e /run/hardtack/closed ] || return 0
    for family in -4 -6; do
        ip "$family" rule add pref 0 lookup local protocol kernel &&
            ip "$family" rule del pref 1 && ip "$family" rule del pref 2
    done
    rm -f /run/hardtack/closed
}

mkdir -p "$run" "$state"
chmod 700 "$run"
exec 9>"$run/lock"
case ${1:-} in
watch)
    flock 9
    trap nobody_apart EXIT
    if [ -e "$state/rescued" ]; then
        say "the machine was not healthy, and nobody has mended it: $(cat "$state/rescued")"
        restore
    elif [ ! -e "$state/healthy" ]; then
        watch
    fi
    ;;
late)
    # Whoever holds it is watching, and will come to an end.
    flock -n 9 || exit 0
    if [ -e "$state/healthy" ] || [ -e "$state/rescued" ]; then exit 0; fi
    # From here on none begins, and nothing that waits for this one waits for ever: whatever it has begun has its lock open.
    echo 'the first boot has come to no end in {{ limit }} seconds' >"$state/rescued"
    systemctl stop hardtack-firstboot.service
    for lock in /proc/[0-9]*/fd/9; do
        [ "$(readlink "$lock")" = /run/hardtack/firstboot.lock ] || continue
        pid=${lock#/proc/}
        kill "${pid%%/*}"
    done
    fire "$(cat "$state/rescued")"
    exit 1
    ;;
restore)
    restore
    ;;
end)
    rm -f "$state/rescued" "$state/healthy" /etc/sudoers.d/hardtack-rescue
    sed -i '/^# hardtack rescue$/,+1d' /etc/hosts.allow 2>/dev/null
    sync
    echo "Reboot now: all will be as the spec has it. That boot is watched, and this comes back if the machine is not healthy."
    ;;
*)
    echo "usage: ${0##*/} watch|late|restore|end" >&2
    exit 2
    ;;
esac
