# hardtack, templates/firewall/open.sh: all that the spec allows; until now only ssh.
{% if unit %}
systemctl restart {{ unit }}
{% else %}
sh {{ lib }}/firewall start
{% endif %}
