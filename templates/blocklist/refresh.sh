#!/bin/sh
# Written by hardtack, from templates/blocklist/refresh.sh: fetches the lists of blocked addresses.
# Until the first boot has succeeded it fetches them itself.
[ -e {{ state }}/provisioned ] || exit 0
# What strangers wrote is read here: root, with no more than the sets need.
exec nice setpriv --no-new-privs --inh-caps -all --bounding-set -all,+net_admin {{ lib }}/blocklist refresh
