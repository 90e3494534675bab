# hardtack, templates/watch/upload.sh: the journal is sent on, and again at every boot.
[ -z "${missing-}" ] || exit 0
systemctl --quiet enable systemd-journal-upload.service || exit 1
systemctl --no-block restart systemd-journal-upload.service
