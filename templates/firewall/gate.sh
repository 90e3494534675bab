# hardtack, templates/firewall/gate.sh: the first rules of the first boot. Later boots have the unit, and leave this be.
[ -e /run/hardtack/gate ] || sh {{ lib }}/firewall gate
