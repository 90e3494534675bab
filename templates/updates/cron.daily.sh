#!/bin/sh
# Written by hardtack, from templates/updates/cron.daily.sh: updates every day.
# Not all machines at once, within an hour; and nothing else of the day waits for it.
(
    sleep "$(shuf -n 1 -i 0-3600)"
    {{ lib }}/updates 2>&1 | logger -t hardtack-updates
) </dev/null >/dev/null 2>&1 &
