# hardtack, templates/plan/sysctl.sh: kernel parameters take effect now, and at every boot before the network.
{% if systemd %}
systemctl restart systemd-sysctl.service
{% else %}
service procps start
{% endif %}
