# hardtack, templates/watch/journal.sh: the journal is on the disk from now on, and not only after the next boot.
mkdir -p /var/log/journal
systemd-tmpfiles --create --prefix /var/log/journal
systemctl restart systemd-journald.service
journalctl --flush
