# hardtack, templates/plan/pam.sh: PAM asks what the hurdles want it to, wherever it asks for a password or begins a session. Once for all of
# them, for it costs a CPU second and more under emulation.
# Without the packages their modules are not here.
[ -z "${missing-}" ] || exit 0
DEBIAN_FRONTEND=noninteractive pam-auth-update --package --enable{% for profile in profiles %} {{ profile }}{% endfor %}

set --{% for line in lines %} {{ line }}{% endfor +%}
for line; do
    grep -qr "^[^#].*$line" /etc/pam.d/common-* || { echo "PAM has no line with $line"; exit 1; }
done
