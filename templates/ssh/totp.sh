# hardtack, templates/ssh/totp.sh: PAM asks whoever logs in by sshd for a code, and not for a password.
# Who has none set up is let through: sshd starts what sets it up then, and nothing else.
if [ -n "${missing-}" ] && ! command -v google-authenticator >/dev/null; then
    echo "ssh: there is nothing yet that asks for a code"
    exit 0
fi
pam=/etc/pam.d/sshd
rule='auth required pam_google_authenticator.so nullok'
if ! grep -qxF "$rule" "$pam"; then
    sed -i -e "s/^@include common-auth\$/$rule\nauth required pam_permit.so/" \
        -e "s/^auth[[:space:]]*\(substack\|include\)[[:space:]]*password-auth\$/$rule\nauth required pam_permit.so/" "$pam"
fi
grep -qxF "$rule" "$pam" || { echo "ssh: $pam is not as it was expected: nothing would ask for a code"; exit 1; }
