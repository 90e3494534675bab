# hardtack, templates/passwords/authselect.sh: PAM asks pwquality, pwhistory and faillock, wherever it asks for a password.
authselect current >/dev/null 2>&1 || authselect select minimal --force
authselect enable-feature with-faillock && authselect enable-feature with-pwhistory
