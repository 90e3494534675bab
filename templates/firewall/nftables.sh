# Written by hardtack, from templates/firewall/nftables.sh, for insserv(8). nftables' own header has it come after the network, and
# the file that it loads begins with `flush ruleset`: all rules of the machine were gone again (seen).
### BEGIN INIT INFO
# Provides:          nftables
# Required-Start:    $local_fs
# Required-Stop:
# Default-Start:     S
# Default-Stop:
# Short-Description: Loads nftables firewall rules
### END INIT INFO
