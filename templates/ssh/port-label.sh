# hardtack, templates/ssh/port-label.sh: SELinux lets sshd listen only where a port is labelled for it (semanage-port(8)).
if [ -n "${missing-}" ] && ! command -v semanage >/dev/null; then
    echo "ssh: nothing labels ports yet"
    exit 0
fi
semanage port -a -t ssh_port_t -p tcp {{ port }} 2>/dev/null || semanage port -m -t ssh_port_t -p tcp {{ port }} || exit 1
# One that could not listen until now.
if systemctl is-failed --quiet {{ unit }}; then systemctl --no-block restart {{ unit }}; fi
