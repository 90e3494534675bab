#!/bin/sh
# Written by hardtack, from templates/delivery/place-script.sh.
### BEGIN INIT INFO
# Provides:          {{ name }}
{% if when == "early" %}
# Required-Start:    $local_fs
# Should-Start:      nftables netfilter-persistent ufw
# X-Start-Before:    {{ network }}
# Default-Start:     S
{% else %}
# Required-Start:    $remote_fs $network
# X-Start-Before:    {{ sshd }}
# Default-Start:     2 3 4 5
{% endif %}
# Required-Stop:
# Default-Stop:
# Short-Description: hardtack first boot
# Description:       Applies what was installed. It goes when the first boot is over.
### END INIT INFO
{% if when == "early" %}
# Others' rules, of a machine that has some, come first: what comes after them stays.
{% endif %}
case ${1-} in
start) [ ! -e {{ payload }}/place ] || exec sh {{ payload }}/place {{ when }} ;;
*) ;;
esac
