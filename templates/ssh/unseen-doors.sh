# hardtack, templates/ssh/unseen-doors.sh: what systemd makes for the host of a machine, and at a socket on it, is taken away: no packet
# filter sees who comes in there (systemd-ssh-generator(8)).
for socket in sshd-vsock.socket sshd-unix-local.socket; do
    ln -sf /dev/null /etc/systemd/system/$socket
    systemctl --no-block stop $socket 2>/dev/null
done
rm -f /run/ssh-unix-local/socket
