# Written by hardtack, from templates/plan/kernel-arguments.sh; update-grub reads it. What holds: cat /proc/cmdline
GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX "{{ line }}
