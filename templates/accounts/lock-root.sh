# hardtack, templates/accounts/lock-root.sh: nobody logs in as root by password; sudo is the way.
usermod --lock root
