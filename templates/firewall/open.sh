# hardtack, templates/firewall/open.sh: all that the spec allows; until now only ssh.
systemctl restart {{ unit }}
