# hardtack, templates/services/mask.sh: units that nothing starts, whoever asks. A preset enables again what was only disabled.
set --{% for unit in units %} {{ unit }}{% endfor +%}
# One that the image does not have is masked as well, for the day when it comes. All at once, and where one cannot be, each of the others.
systemctl --quiet --no-reload mask "$@" 2>/dev/null || for unit; do systemctl --quiet --no-reload mask "$unit" 2>/dev/null; done
for unit; do
    [ -c "/etc/systemd/system/$unit" ] || { echo "services: cannot mask $unit: /etc/systemd/system has one of that name"; exit 1; }
done
systemctl --no-block stop "$@" 2>/dev/null
exit 0
