#!/bin/sh
# Written by hardtack, from templates/firewall/rc-local.sh: the rules of the packet filter, after all else has started.
bad=0
sh {{ lib }}/firewall start || bad=1
# What the image had here.
if [ -x {{ lib }}/rc.local ]; then {{ lib }}/rc.local "$@" || bad=1; fi
exit $bad
