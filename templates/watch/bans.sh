# hardtack, templates/watch/bans.sh: who guesses at sshd is shut out for a while, and again at every boot.
[ -z "${missing-}" ] || exit 0
systemctl --quiet enable fail2ban.service || exit 1
systemctl --no-block restart fail2ban.service
