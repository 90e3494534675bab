# hardtack, templates/services/mask.sh: units that nothing starts, whoever asks. A preset enables again what was only disabled.
# shellcheck disable=SC2043 # one, or several
for unit in{% for unit in units %} {{ unit }}{% endfor %}; do
    # One that the image does not have is masked as well, for the day when it comes.
    systemctl --quiet --no-reload mask $unit 2>/dev/null
    [ "$(readlink /etc/systemd/system/$unit)" = /dev/null ] || { echo "services: cannot mask $unit: /etc/systemd/system has one of that name"; exit 1; }
    systemctl --no-block stop $unit 2>/dev/null
done
exit 0
