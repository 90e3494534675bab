# hardtack, templates/updates/open.sh: from now on it updates every day.
# The image's own timer may have been read before it was told when. Asked whether it must (NeedDaemonReload), systemd 252 was seen to say
# no: of a folder of drop-ins that is new it knows only then.
systemctl daemon-reload
# Not waited for: the timer starts when the basic system is up, and that waits for the first boot.
systemctl --no-block restart {{ unit }}
