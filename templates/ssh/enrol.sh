#!/bin/sh
# Written by hardtack, from templates/ssh/enrol.sh: sshd starts it for whoever has logged in. Who has no second factor yet gets nothing
# but a way to set one up. The secret is made here, and has been nowhere else.
if [ -s "$HOME/.google_authenticator" ]; then
    if [ -n "${SSH_ORIGINAL_COMMAND-}" ]; then exec "$SHELL" -c "$SSH_ORIGINAL_COMMAND"; fi
    exec "$SHELL" -l
fi
if ! [ -t 0 ]; then
    echo "hardtack: no second factor is set up for you yet: log in at a terminal, and without a command" >&2
    exit 1
fi
echo "From now on a code is asked for beside your key. Scan this with an authenticator on another device, and keep the emergency codes."
google-authenticator --time-based --disallow-reuse --force --rate-limit=3 --rate-time=30 --window-size=3 --qr-mode=UTF8 &&
    echo "This was the only login without a code. Keep it open until another one has worked:" &&
    exec "$SHELL" -l
