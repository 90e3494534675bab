# hardtack, templates/passwords/apply.sh: what pwquality asks whether a new password is a word.
if [ -n "${missing-}" ]; then
    echo "passwords: nothing judges them yet"
    exit 0
fi
# Without its dictionary cracklib takes no password at all, and images are shipped without their caches.
dictionary=/var/cache/cracklib/cracklib_dict.pwd
[ -s $dictionary ] || { mkdir -p ${dictionary%/*} && update-cracklib >/dev/null; }
[ -s $dictionary ] || { echo "passwords: there is no dictionary"; exit 1; }
