# hardtack, templates/ssh/health.sh: sshd says what the spec says, and everybody is there whom it is to let in.
sh {{ lib }}/ssh-check
