# hardtack, templates/selinux/apply.sh: what SELinux does from the next boot on.
if ! grep -q '^SELINUX=' /etc/selinux/config; then
    echo "selinux: /etc/selinux/config does not say what it does"
    exit 1
fi
sed -i 's/^SELINUX=.*/SELINUX={{ mode }}/' /etc/selinux/config
{% if policy %}
semodule -i {{ policy }} || exit 1
{% endif %}
