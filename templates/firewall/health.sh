# hardtack, templates/firewall/health.sh: every rule of the spec is loaded. What others have added beside them is not asked here.
nl='
'
set -f
grep ' {{ rules | safe }}/rules[.]' {{ lib }}/files.sha256 | sha256sum --status -c || { echo 'the rules are damaged'; exit 1; }
for family in v4 v6; do
    tool=iptables
    if [ $family = v6 ]; then
        # A kernel without IPv6 has no rules for it.
        [ -e /proc/net/if_inet6 ] || continue
        tool=ip6tables
    fi
    all=$nl$($tool -w 10 -S)$nl
    while read -r line; do
        case $line in
        -A*) is=$line ;;
        :*' DROP '*) line=${line#:} is="-P ${line%% *} DROP" ;;
        *) continue ;;
        esac
        case $all in *"$nl$is$nl"*) continue ;; esac
        # shellcheck disable=SC2086 # the words of a rule
        case $is in -A*) $tool -w 10 -C ${is#-A } 2>/dev/null && continue ;; esac
        echo "not loaded: $tool $is"
        exit 1
    done <{{ rules }}/rules.$family
done
