# hardtack, templates/ssh/apply.sh: the drop-in takes effect only when sshd itself agrees with it, word for word.
# A list that lost an element, or got one too many, passes `sshd -t`: so what holds in the end is compared as well.
sshd={{ sshd }}
if [ ! -e "$sshd" ] && [ -n "${missing-}" ]; then
    echo "ssh: there is no sshd yet"
    exit 0
fi
mkdir -p {{ privilege_separation }}
ls /etc/ssh/ssh_host_*_key >/dev/null 2>&1 || ssh-keygen -A
drop_in={{ drop_in }}
fallback=${drop_in%/*}/!hardtack-refused.conf
rm -f "$fallback"
chown root:root "$drop_in" && chmod 0600 "$drop_in" || exit 1
anew() {
{% if systemd %}
    if systemctl is-active --quiet {{ unit }}; then systemctl reload {{ unit }}; fi
{% else %}
    # It may have found the drop-in, and not started at all.
    service {{ unit }} restart
{% endif %}
}
refuse() {
    # Not the image's own settings, which may let passwords in: what every sshd knows, and nothing more.
    # Its name sorts before every letter and digit, since what was refused may be another file that sorts before ours.
    mkdir -p {{ lib }}/refused
    mv -f "$drop_in" {{ lib }}/refused/
    # The port of the spec, since the firewall lets nobody in at another.
    {
        echo Port {{ port }}
        printf '%s no\n' PermitRootLogin PasswordAuthentication KbdInteractiveAuthentication
    } >"$fallback"
    chmod 0600 "$fallback"
    anew
    echo "ssh: refused, keys only and no root until this is mended: $1"
    exit 1
}
why=$("$sshd" -t 2>&1) || refuse "$why"
effective=$("$sshd" -T | tr '[:upper:]' '[:lower:]' | sed 's/without-password/prohibit-password/') || refuse "sshd -T failed"
expected=$(
    cat <<'EXPECTED'
{% for line in expected %}
{{ line | safe }}
{% endfor %}
EXPECTED
)
lacks=$(printf '%s\n' "$expected" | grep -vxF -e "$effective")
[ -z "$lacks" ] || refuse "sshd does not say: $lacks"
# Some keywords gather what every file says: another file's Port or AllowUsers would stand beside ours.
keywords=$(printf '%s\n' "$expected" | sed 's/^/^/; s/ .*/ /')
extra=$(printf '%s\n' "$effective" | grep -e "$keywords" | grep -vxF -e "$expected")
[ -z "$extra" ] || refuse "sshd also says: $extra"
# A daemon that already runs reads it now; sessions that stand are kept. One that does not run yet reads it when it starts.
anew
