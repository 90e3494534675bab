#!/bin/sh
# Written by hardtack, from templates/delivery/seal.sh: a machine becomes an image. What makes it one machine and no other goes: its
# identity, its keys, what its cloud-init knows, who built it, and what was logged.
# seal [--stay] [USER]     USER built it, and goes; then the machine is switched off, unless it is to stay
set -u
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH LC_ALL=C
umask 022

# A function, so that all of it has been read before its own file goes.
seal() {
    stay=no
    [ "${1-}" != --stay ] || { stay=yes && shift; }
    cd / || exit 1
    # What it has written for this machine alone, and for its builder.
    if command -v cloud-init >/dev/null; then cloud-init clean --logs --seed; fi
    rm -rf /var/lib/cloud/instances /var/lib/cloud/instance /var/lib/cloud/data /var/lib/cloud/sem /var/log/cloud-init*
    rm -f /etc/netplan/50-cloud-init.yaml /etc/systemd/network/10-cloud-init-* /etc/network/interfaces.d/50-cloud-init
    rm -f /etc/ssh/sshd_config.d/50-cloud-init.conf /etc/sudoers.d/90-cloud-init-users /etc/cloud/cloud-init.disabled
{% if own_people or host_keys %}
    [ ! -d /etc/cloud/cloud.cfg.d ] || {
        echo '# Written by hardtack, from templates/delivery/seal.sh: what cloud-init finds on the machines of this image.'
{% if own_people %}
        # The people are there. Else it would make the account that it makes unasked, who may do all, on every machine.
        echo 'users: []'
{% endif %}
{% if host_keys %}
        # No more than sshd shows.
        printf 'ssh_genkeytypes: [%s]\n' {{ host_keys | join(", ") }}
{% endif %}
    } >/etc/cloud/cloud.cfg.d/99-hardtack.cfg
{% endif %}
{% if systemd %}
    # A machine that has no cloud-init, or has lost it, gets keys of its own all the same.
    cat >/etc/systemd/system/hardtack-host-keys.service <<'UNIT'
# Written by hardtack, from templates/delivery/seal.sh.
[Unit]
Description=hardtack: host keys of this machine's own
DefaultDependencies=no
After=local-fs.target systemd-random-seed.service
Before=ssh.service sshd.service ssh.socket sshd.socket sshd-vsock.socket sshd-unix-local.socket

[Service]
Type=oneshot
{% for kind in host_keys %}
ExecStart=/bin/sh -c 'cd /etc/ssh && { [ -s ssh_host_{{ kind | safe }}_key ] || { rm -f ssh_host_{{ kind | safe }}_key && exec ssh-keygen -q -t {{ kind | safe }} -N "" -f ssh_host_{{ kind | safe }}_key; }; }'
{% else %}
ExecStart=/bin/sh -c '[ -n "$(find /etc/ssh -name "ssh_host_*_key" -size +0)" ] || exec ssh-keygen -A'
{% endfor %}

[Install]
WantedBy=sysinit.target
UNIT
    systemctl --quiet --no-reload enable hardtack-host-keys.service
{% endif %}
    # What this machine's files were is no word on those of others: each says so itself, once, at the end of its first boot.
    [ ! -e {{ state }}/aide.db ] || mv -f {{ state }}/aide.db {{ state }}/aide.again
    if [ -n "${1-}" ] && id -u "$1" >/dev/null 2>&1; then userdel -f -r "$1" 2>/dev/null; fi
    rm -f /root/.ssh/authorized_keys /etc/ssh/ssh_host_*
    # Empty and not absent: without it the next start would be a first boot of systemd, which turns on again what was turned off
    # (machine-id(5), systemd.preset(5)).
    : >/etc/machine-id
    [ ! -f /var/lib/dbus/machine-id ] || [ -L /var/lib/dbus/machine-id ] || rm -f /var/lib/dbus/machine-id
    rm -f /var/lib/systemd/random-seed /var/lib/systemd/credential.secret /boot/efi/loader/random-seed /var/lib/urandom/random-seed
    rm -rf /var/lib/dhcp/* /var/lib/dhclient/* /var/lib/NetworkManager/* /run/systemd/netif/leases/*
    # The package lists stay: against them it is seen that no update is left.
    rm -rf /var/cache/apt/archives/*.deb /var/cache/dnf/* /tmp/* /var/tmp/*
    rm -f /root/.bash_history /root/.lesshst /root/.viminfo /home/*/.bash_history
    # They would write what they have to say of the end. systemd does not stop auditd when asked (RefuseManualStop=).
    daemon=$(pidof auditd) && kill "$daemon" && while kill -0 "$daemon" 2>/dev/null; do sleep 0.1; done
    journalctl --relinquish-var 2>/dev/null
    rm -rf /var/log/journal/* /run/log/journal/*
    find /var/log -type f -exec truncate -s 0 {} +
    # At power-off a seed would be written anew, and the journal would be.
    systemctl stop systemd-random-seed.service 2>/dev/null && rm -f /var/lib/systemd/random-seed
    systemctl mask --runtime systemd-random-seed.service 2>/dev/null
    sync
    [ $stay = yes ] || poweroff
}
seal "$@"
