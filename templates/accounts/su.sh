# hardtack, templates/accounts/su.sh: only members of a group become somebody else by su; root always may.
group={{ group }}
rule="auth required pam_wheel.so use_uid group=$group"
grep -qxF "$rule" /etc/pam.d/su || {
    # After the line that lets root pass.
    sed -i -e '/^auth.*pam_wheel[.]so/d' -e "/^auth[[:space:]]*sufficient[[:space:]]*pam_rootok[.]so/a $rule" /etc/pam.d/su
}
grep -qxF "$rule" /etc/pam.d/su || { echo "accounts: /etc/pam.d/su is not as it was expected"; exit 1; }
