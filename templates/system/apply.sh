# hardtack, templates/system/apply.sh: what every benchmark asks of a system.
# /dev/shm, now and at every boot: systemd and the init scripts read it here.
grep -q '^[^#]*[[:space:]]/dev/shm[[:space:]]' /etc/fstab && sed -i '/^[^#]*[[:space:]]\/dev\/shm[[:space:]]/d' /etc/fstab
echo 'tmpfs /dev/shm tmpfs rw,nosuid,nodev,noexec 0 0' >>/etc/fstab
mount -o remount,nosuid,nodev,noexec /dev/shm || exit 1
{% if tmp %}
mkdir -p /var/cache/hardtack-apt && chmod 0700 /var/cache/hardtack-apt || exit 1
# As in tmp.mount, and not by it: it would only be asked for, and not be there yet. The distribution's own may be there already.
options=nosuid,nodev{% if noexec %},noexec{% endif %}

if mountpoint -q /tmp; then
    mount -o "remount,$options" /tmp || exit 1
elif [ ! -L /tmp ]; then
    mount -t tmpfs -o "mode=1777,strictatime,$options,size=50%,nr_inodes=1m" tmpfs /tmp || exit 1
fi
{% endif %}
{% if umask %}
for line in 'UMASK {{ umask }}' 'HOME_MODE 0750'; do
    sed -i "/^[[:space:]]*${line%% *}[[:space:]]/d" /etc/login.defs
    echo "$line" >>/etc/login.defs
done
for home in /home/*/; do [ ! -d "$home" ] || chmod o-rwx,g-w "$home"; done
{% endif %}
# Whoever may write what cron runs is root; and what it runs is nobody's business.
for path in /etc/crontab /etc/cron.hourly /etc/cron.daily /etc/cron.weekly /etc/cron.monthly /etc/cron.yearly /etc/cron.d; do
    [ ! -e $path ] || chmod og-rwx $path
done
rm -f /etc/cron.deny /etc/at.deny
for list in /etc/cron.allow /etc/at.allow; do
    {
        echo root
{% for user in cron %}
        echo {{ user }}
{% endfor %}
    } >$list
    chmod 0640 $list
    ! getent group crontab >/dev/null || chgrp crontab $list
done
{% if openssl %}
# Where the image's own settings have no section for it, one of ours is named first.
openssl={{ openssl }}
if [ -e $openssl ]; then
    sed -i '/^# hardtack, to the end/,$d; /^ssl_conf = hardtack/d; /^[[:space:]]*MinProtocol[[:space:]]*=/d' $openssl
    if grep -q '^\[system_default_sect\]' $openssl; then
        sed -i '/^\[system_default_sect\]/a MinProtocol = {{ tls }}' $openssl
    elif grep -q '^\[openssl_init\]' $openssl; then
        sed -i '/^\[openssl_init\]/a ssl_conf = hardtack_ssl' $openssl
        printf '# hardtack, to the end\n[hardtack_ssl]\nsystem_default = hardtack_default\n[hardtack_default]\nMinProtocol = %s\n' {{ tls }} >>$openssl
    fi
fi
{% endif %}
exit 0
