# hardtack, templates/firewall/gate.sh: the first rules of the first boot. Later boots have the unit, and leave this be.
{% if off and systemd %}
# Whoever sets links up must not turn IPv6 on again: they are told of the drop-ins before they start.
[ -e /run/hardtack/gate ] || systemctl daemon-reload
{% endif %}
[ -e /run/hardtack/gate ] || sh {{ lib }}/firewall gate
