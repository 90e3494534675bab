# hardtack, templates/ssh/apply.sh: the drop-in takes effect only when sshd itself agrees with it, word for word, and everybody is
# there whom it is to let in.
if [ ! -e {{ sshd }} ] && [ -n "${missing-}" ]; then
    echo "ssh: there is no sshd yet"
    exit 0
fi
host_key() {
    key=/etc/ssh/ssh_host_$1_key
    # What a power cut has left half written is no key.
    [ -s "$key" ] || { rm -f "$key" && ssh-keygen -q -t "$1" -N '' -f "$key"; } || exit 1
}
{% for kind in host_keys %}
host_key {{ kind }}
{% endfor %}
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
why=$(sh {{ lib }}/ssh-check 2>&1) || refuse "$why"
# A daemon that already runs reads it now; sessions that stand are kept. One that does not run yet reads it when it starts.
anew
