# hardtack, templates/plan/sysctl.sh: kernel parameters take effect now, and at every boot before the network.
systemctl restart systemd-sysctl.service
