# hardtack, templates/blocklist/open.sh: from now on the lists are fetched every day.
# Not waited for: the timer starts when the basic system is up, and that waits for the first boot.
systemctl --no-block start hardtack-blocklist.timer
