#!/bin/sh
# Written by hardtack, from templates/delivery/place.sh: what cloud-init does elsewhere, for a bundle that was installed.
# place early    before the network: the files, the gate, the people, and all of the first boot that needs no package
# place late     when it is up: what is left; then the payload goes, for nobody needs it any more
# Each may run twice. A boot that was cut short is carried on at the next, and nothing of a damaged payload is applied.
# shellcheck disable=SC2016 # a hash is taken as it is
set -u
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH LC_ALL=C
umask 022
payload={{ payload }}
digest={{ digest }}

say() {
    echo "hardtack: $*"
    echo "hardtack: $*" 2>/dev/null >/dev/console || true
}

fail() {
    say "FAILED: $*"
    exit 1
}

sealed() {
    [ "$(cat {{ state }}/sealed 2>/dev/null)" = "$digest" ]
}

# Whoever reads the payload can try passwords against its hashes.
leave() {
{% for unit in units %}
    rm -f {{ unit.at }} {{ unit.wants }}/{{ unit.name }}
{% endfor %}
{% for script in scripts %}
    rm -f /etc/init.d/{{ script }}
    update-rc.d {{ script }} remove >/dev/null
{% endfor %}
    if grep -qsF "sh $payload/place" /etc/rc.local; then
        # Through the link, where it is one, and with the mode that it has.
        kept=$(grep -vF "sh $payload/place" /etc/rc.local)
        printf '%s\n' "$kept" >/etc/rc.local
    fi
    rm -rf "$payload"
    # All this was there when the files were written down that nobody should change.
    if [ -e {{ state }}/aide.db ] || [ -e {{ state }}/aide.again ]; then
        : >{{ state }}/aide.again
        systemctl --no-block restart hardtack-integrity-again.service
    fi
    sync
}

person() { # NAME SUDO GROUPS HASH KEY..
    name=$1 sudo=$2 groups=$3 hash=$4
    shift 4
    id -u "$name" >/dev/null 2>&1 || useradd -m -U -s /bin/bash "$name" || fail "no account: $name"
    if [ -n "$groups" ]; then
        for group in $(printf '%s' "$groups" | tr , ' '); do
            getent group "$group" >/dev/null || groupadd "$group" || fail "no group: $group"
        done
        usermod -a -G "$groups" "$name" || fail "$name cannot join $groups"
    fi
    # Not as a word of a command: others see those.
    printf '%s:%s\n' "$name" "${hash:-!}" | chpasswd -e || fail "no password for $name"
    home=$(getent passwd "$name" | cut -d : -f 6)
    if [ -L "$home" ] || [ -L "$home/.ssh" ]; then fail "$home/.ssh leads somewhere else"; fi
    install -d -m 700 -o "$name" -g "$(id -g "$name")" "$home/.ssh" || fail "no $home/.ssh"
    keys=$home/.ssh/authorized_keys
    rm -f "$keys.new"
    if ! { for key in "$@"; do printf '%s\n' "$key"; done >"$keys.new" && chmod 600 "$keys.new" &&
        chown "$name:$(id -g "$name")" "$keys.new" && mv -f "$keys.new" "$keys"; }; then
        fail "no keys for $name"
    fi
    [ -z "$sudo" ] || printf '%s %s\n' "$name" "$sudo" >>"$sudoers"
}

people() {
    mkdir -p /etc/sudoers.d
    chmod 750 /etc/sudoers.d
    # sudo reads no file whose name has a dot.
    sudoers=/etc/sudoers.d/90-hardtack.new
    (umask 337 && rm -f "$sudoers" && : >"$sudoers") || fail "cannot write $sudoers"
{% for p in people %}
    person {{ p.name }} {{ p.sudo }} {{ p.groups }} {{ p.hash }}{% for key in p.ssh_keys %} {{ key }}{% endfor +%}
{% endfor %}
    ! command -v visudo >/dev/null || visudo -cqf "$sudoers" || fail "sudo does not take what it is to do"
    mv -f "$sudoers" /etc/sudoers.d/90-hardtack
}

name_it() {
    printf '%s\n' {{ host }} >/etc/hostname
    chmod 644 /etc/hostname
    hostname {{ host }}
    if grep -qs '^127[.]0[.]1[.]1[[:space:]]' /etc/hosts; then
        hosts=$(sed "s/^127[.]0[.]1[.]1[[:space:]].*/127.0.1.1 "{{ host }}/ /etc/hosts)
        printf '%s\n' "$hosts" >/etc/hosts
    else
        printf '127.0.1.1 %s\n' {{ host }} >>/etc/hosts
    fi
}

if sealed; then
    [ "$1" = early ] || leave
    exit 0
fi
if [ "$1" = late ]; then
    sh {{ lib }}/firstboot late && sealed || exit 1
    leave
    exit 0
fi
if ! { cd "$payload" && sha256sum --status -c SHA256SUMS; }; then
    fail "the payload is damaged, and nothing of it is applied: $(sha256sum --quiet -c SHA256SUMS 2>&1 | head -n 3 | tr '\n' ' ')"
fi
# A boot that was cut short, or another bundle: nothing of it is run again.
rm -rf {{ lib }}/*.d {{ lib }}/files.sha256 {{ state }}/sealed {{ state }}/provisioned /run/hardtack/gate
# Folders that are there stay as they are, also where they are links.
tar -C "$payload/files" -cf - . | tar -C / --no-same-owner --no-overwrite-dir --keep-directory-symlink -xpf - || fail "cannot write the files"
if command -v restorecon >/dev/null; then sed 's/^[^ ]*  files//' SHA256SUMS | grep ^/ | restorecon -f -; fi
for command in {{ lib }}/gate.d/*; do
    [ ! -e "$command" ] || sh "$command"
done
{% for script in own_scripts %}
update-rc.d {{ script }} defaults
{% endfor %}
name_it
people
# What a power cut has left half written is no key, and without one sshd does not start.
find /etc/ssh -name 'ssh_host_*_key' -size 0 -delete
{% for kind in host_keys %}
[ -e /etc/ssh/ssh_host_{{ kind }}_key ] || ssh-keygen -q -t {{ kind }} -N '' -f /etc/ssh/ssh_host_{{ kind }}_key || fail "no host keys"
{% else %}
[ -n "$(find /etc/ssh -name 'ssh_host_*_key')" ] || ssh-keygen -A || fail "no host keys"
{% endfor %}
sync
exec sh {{ lib }}/firstboot early
