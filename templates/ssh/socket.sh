# hardtack, templates/ssh/socket.sh: the socket unit listens here, and its generator reads the port from sshd_config.
systemctl daemon-reload && systemctl --no-block restart {{ unit }}
