#!/bin/sh
# Written by hardtack, from templates/blocklist/cron.daily.sh: fetches the lists of blocked addresses every day.
# Not all machines at once (R58), within six hours; and nothing else of the day waits for it.
(
    sleep "$(shuf -n 1 -i 0-21600)"
    {{ lib }}/blocklist-refresh 2>&1 | logger -t hardtack-blocklist
) </dev/null >/dev/null 2>&1 &
