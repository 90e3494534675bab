#!/bin/sh
# Written by hardtack, from templates/ssh/check.sh: says what keeps sshd from doing what the spec says, or from letting in whom it
# says. A list that lost an element, or got one too many, passes `sshd -t`: so what holds in the end is compared as well.
set -u
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH LC_ALL=C.UTF-8
sshd={{ sshd }}

bad() {
    echo "$*"
    exit 1
}

mkdir -p {{ privilege_separation }}
why=$("$sshd" -t 2>&1) || bad "$why"
effective=$("$sshd" -T | tr '[:upper:]' '[:lower:]' | sed 's/without-password/prohibit-password/') || bad "sshd -T failed"
expected=$(
    cat <<'EXPECTED'
{% for line in expected %}
{{ line | safe }}
{% endfor %}
EXPECTED
)
lacks=$(printf '%s\n' "$expected" | grep -vxF -e "$effective")
[ -z "$lacks" ] || bad "sshd does not say: $lacks"
# Some keywords gather what every file says: another file's Port or AllowUsers would stand beside ours.
keywords=$(printf '%s\n' "$expected" | sed 's/^/^/; s/ .*/ /')
extra=$(printf '%s\n' "$effective" | grep -e "$keywords" | grep -vxF -e "$expected")
[ -z "$extra" ] || bad "sshd also says: $extra"
{% if ways %}

# Every way in that the spec declares.
# way NAME SUDO GROUPS KEY…
way() {
    name=$1 sudo=$2 groups=$3
    shift 3
    entry=$(getent passwd "$name") || bad "there is no account $name"
    shell=${entry##*:} home=${entry%:*}
    home=${home##*:}
    case $shell in */nologin | */false) bad "the shell of $name is $shell" ;; esac
    [ -x "$shell" ] || bad "the shell of $name, $shell, cannot be run"
    # In days since 1970 (shadow(5)).
    expires=$(getent shadow "$name" | cut -d: -f8)
    [ -z "$expires" ] || [ "$expires" -gt $(($(date +%s) / 86400)) ] || bad "the account of $name has expired"
    for group in $groups; do
        case " $(id -nG "$name") " in *" $group "*) groups= ;; esac
    done
    [ -z "$groups" ] || bad "$name is in none of: $groups"
    keys=$home/.ssh/authorized_keys
    for key; do
        grep -qF -e "$key" "$keys" 2>/dev/null || bad "a key of $name is not in $keys: $key"
        for path in "$home" "$home/.ssh" "$keys"; do
            # What sshd asks with StrictModes (sshd_config(5)).
            wrong=$(find -L "$path" -maxdepth 0 \( -perm /022 -o ! -user "$name" ! -user root \))
            [ -z "$wrong" ] || bad "others than $name can write $path"
        done
    done
    # At its first run sudo may not be here yet.
    if [ "$sudo" = no ] || { [ -n "${missing-}" ] && ! command -v sudo >/dev/null; }; then return; fi
    sudo -n -l -U "$name" 2>/dev/null | grep -q 'may run' || bad "sudo does nothing for $name"
}
{% for way in ways %}
way {{ way.user }} {{ way.sudo }} {{ way.groups }}{% for key in way.keys %} {{ key }}{% endfor %}

{% endfor %}
{% endif %}
exit 0
