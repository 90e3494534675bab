# hardtack, templates/selinux/open.sh: every file that was written gets its label, and then SELinux is {{ mode }}.
restorecon -R /etc /home /root /usr/local /var || exit 1
{% if mode == "enforcing" %}
setenforce 1 || exit 1
{% else %}
setenforce 0 || exit 1
{% endif %}
