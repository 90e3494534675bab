# hardtack, templates/updates/open.sh: from now on it updates every day.
# The image's own timer may have been read before it was told when.
case $(systemctl show -p NeedDaemonReload {{ unit }}) in *yes) systemctl daemon-reload ;; esac
# Not waited for: the timer starts when the basic system is up, and that waits for the first boot.
systemctl --no-block restart {{ unit }}
