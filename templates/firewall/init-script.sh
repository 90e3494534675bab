#!/bin/sh
# Written by hardtack, from templates/firewall/init-script.sh.
### BEGIN INIT INFO
# Provides:          hardtack-firewall
# Required-Start:    $local_fs
# Required-Stop:
{% if not systemd %}
# Should-Start:      nftables netfilter-persistent ufw
{% endif %}
{% if systemd %}
# Default-Start:     2 3 4 5
{% else %}
# X-Start-Before:    {{ network }}
# Default-Start:     S
{% endif %}
# Default-Stop:
# Short-Description: hardtack firewall
# Description:       Loads the rules of the packet filter, which are never taken down again.
### END INIT INFO
{% if systemd %}
# systemd brings the network up before it runs this; only its own units can come earlier.
{% else %}
# Before any link comes up, and before the network has any service.
{% endif %}
case ${1-} in
start | restart | reload | force-reload) exec sh {{ lib }}/firewall start ;;
# The rules stay: a machine without them is open.
stop) ;;
status) [ -e /run/hardtack/gate ] ;;
*)
    echo "usage: $0 start|restart|reload|force-reload|stop|status" >&2
    exit 2
    ;;
esac
