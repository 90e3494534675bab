# hardtack, templates/updates/first-boot.sh: updates while only ssh is let in.
# shellcheck disable=SC2154 # the first boot says how far it has come
[ "$when" = late ] || exit 75
DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=a
export DEBIAN_FRONTEND NEEDRESTART_MODE
if command -v apt-get >/dev/null; then
    # The image's own timer may hold the lists for a while; for packages apt waits by itself.
    for pause in 5 10 20 40 80 0; do
        apt-get -q update && break
        [ $pause != 0 ] || { echo "updates: the package lists cannot be fetched"; exit 1; }
        sleep $pause
    done
{% if all %}
    apt-get -q -y -o DPkg::Lock::Timeout=600 -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold \
        upgrade --with-new-pkgs || exit 1
{% else %}
    unattended-upgrade || exit 1
{% endif %}
else
    dnf -y upgrade{% if not all %} --security{% endif %} || exit 1
fi
{% if reboot %}
# A kernel that came with them runs from then on.
if [ -e /run/reboot-required ] || { command -v needs-restarting >/dev/null && ! needs-restarting -r >/dev/null; }; then
    shutdown -r {{ reboot }}
fi
{% endif %}
exit 0
