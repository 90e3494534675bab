# hardtack, templates/updates/open.sh: from now on it updates every day.
# Not waited for: the timer starts when the basic system is up, and that waits for the first boot.
systemctl --no-block restart {{ unit }}
