# hardtack, templates/passwords/apply.sh: PAM asks pwquality, pwhistory and faillock, wherever it asks for a password.
if [ -n "${missing-}" ]; then
    echo "passwords: nothing judges them yet"
    exit 0
fi
# Without its dictionary cracklib takes no password at all, and images are shipped without their caches.
mkdir -p /var/cache/cracklib
update-cracklib >/dev/null
[ -s /var/cache/cracklib/cracklib_dict.pwd ] || { echo "passwords: there is no dictionary"; exit 1; }
DEBIAN_FRONTEND=noninteractive pam-auth-update --package --enable pwquality{% for profile in profiles %} {{ profile }}{% endfor %}

for module in pam_pwquality pam_pwhistory pam_faillock; do
    grep -qr "^[^#].*${module}[.]so" /etc/pam.d/common-* || { echo "passwords: PAM does not ask $module"; exit 1; }
done
