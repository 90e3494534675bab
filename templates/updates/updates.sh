#!/bin/sh
# Written by hardtack, from templates/updates/updates.sh: updates, as the spec has them.
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH LC_ALL=C.UTF-8
if command -v apt-get >/dev/null; then
    apt-get -q update && unattended-upgrade
else
    dnf -y upgrade{% if not all %} --security{% endif %}

fi
