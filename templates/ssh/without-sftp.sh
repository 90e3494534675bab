# hardtack, templates/ssh/without-sftp.sh: no files are sent. A drop-in cannot take away what the main file defines.
sed -i 's/^[[:space:]]*subsystem[[:space:]][[:space:]]*sftp[[:space:]]/#&/I' /etc/ssh/sshd_config
{% if systemd %}
if systemctl is-active --quiet {{ unit }}; then systemctl reload {{ unit }}; fi
{% else %}
service {{ unit }} restart
{% endif %}
