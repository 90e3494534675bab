# hardtack, templates/firewall/keep-rc-local.sh: what the image has in {{ place }} is still run, by ours.
if [ -f {{ place }} ] && ! grep -q '^# Written by hardtack' {{ place }}; then mv -f {{ place }} {{ lib }}/rc.local; fi
