#!/bin/sh
# Written by hardtack, from templates/plan/verify.sh: whether this machine is still what its spec says.
# hardtack-verify        asks for all of it, and says what does not hold
# hardtack-verify ID..   asks for these
# 0 all holds; 1 something does not; 75 something could not be told, and nothing is known not to hold.
# shellcheck disable=SC2016 # what a proof asks for is expanded when it is asked
set -u
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH LC_ALL=C
holds=0 fails=0 unknown=0
only=" $* "

# Whether the machine was started again since its first boot; one of a sealed image has had that when it got its own machine id.
later() {
    [ -e {{ state }}/sealed ] || return 1
    first=$(stat -c %Y {{ state }}/sealed /etc/machine-id 2>/dev/null | sort -n | tail -n 1)
    [ "$first" -lt "$(awk '$1 == "btime" { print $2 }' /proc/stat)" ]
}

# Whether the next one is asked for; says what it is.
ask() {
    id=$1 what=$2
    [ "$only" = '  ' ] || case $only in *" $id "*) ;; *) return 1 ;; esac
}

last() {
    printf '%s\n' "$1" | grep -v '^[[:space:]]*$' | tail -n 1
}

good() {
    holds=$((holds + 1))
}

bad() {
    fails=$((fails + 1))
    printf 'fails    %s: %s: %s\n' "$id" "$what" "$(last "$1")"
}

untold() {
    unknown=$((unknown + 1))
    printf 'unknown  %s: %s: %s\n' "$id" "$what" "$(last "$1")"
}

judge() { # STATUS SEEN
    if [ "$1" = 0 ]; then good; else bad "$2"; fi
}

# What the lines say that begin with a word, sorted: KEYWORD
said() {
    tr '[:upper:]' '[:lower:]' | sed 's/without-password/prohibit-password/g' |
        awk -v word="$1" '$1 == word && NF > 1 { sub(/^[ \t]*[^ \t]+[ \t]+/, ""); gsub(/[ \t]+/, " "); sub(/ $/, ""); print }' | sort
}

says() { # KEYWORD NUMBER-OF-VALUES VALUE.. COMMAND..
    keyword=$1 n=$2 wanted=
    shift 2
    while [ "$n" -gt 0 ]; do
        wanted="$wanted$keyword $1
"
        shift
        n=$((n - 1))
    done
    wanted=$(printf '%s' "$wanted" | said "$keyword")
    if ! out=$("$@" 2>&1 </dev/null); then
        untold "$out"
        return
    fi
    seen=$(printf '%s\n' "$out" | said "$keyword")
    [ "$seen" = "$wanted" ]
    judge $? "$keyword $(printf '%s' "$seen" | tr '\n' ' ')"
}

parameter() { # VALUE PATH..
    wanted=$1
    shift
    seen=
    for file; do
        [ -e "$file" ] || continue
        value=$(tr -s '[:space:]' ' ' <"$file" 2>/dev/null)
        seen=$file
        if [ "${value% }" != "$wanted" ]; then
            bad "$file is $value"
            return
        fi
    done
    if [ -n "$seen" ]; then good; else untold "the kernel has no such parameter"; fi
}

unit() { # UNIT ACTIVE [ENABLED]
    active=$(systemctl show -p ActiveState --value -- "$1" 2>/dev/null)
    enabled=$(systemctl is-enabled -- "$1" 2>/dev/null)
    if [ -z "$active" ]; then
        untold "systemd does not say"
        return
    fi
    [ "$active" = "$2" ] && { [ $# -lt 3 ] || [ "$enabled" = "$3" ]; }
    judge $? "$active, $enabled"
}

file() { # PATH MODE OWNER
    seen=$(stat -c '%a %U:%G' -- "$1" 2>&1)
    [ "$(printf '%4s' "${seen%% *}" | tr ' ' 0) ${seen#* }" = "$2 $3" ]
    judge $? "$seen"
}

account() { # USER PASSWORD GROUPS KEYS|any KEY..
    user=$1 password=$2 groups=$3 keys=$4
    shift 4
    if ! entry=$(getent passwd "$user"); then
        bad "there is no account $user"
        return
    fi
    # shellcheck disable=SC2046 # words
    set -- "$@" -- $(passwd -S "$user")
    wanted=$(while [ "$1" != -- ]; do printf '%s\n' "$1"; shift; done | sort)
    while [ "$1" != -- ]; do shift; done
    if [ "${3-}" != "$password" ]; then
        bad "its password is ${3-unknown}, not $password"
        return
    fi
    # Its own group, and the one that some images put everyone in, give nothing away. Root's groups are the image's.
    has=" $(id -nG "$user") "
    for group in $groups; do
        case $has in *" $group "*) ;; *) bad "it is not in $group"; return ;; esac
    done
    for group in $has; do
        case " $groups " in *" $group "*) continue ;; esac
        case $user in root | "$group") continue ;; esac
        [ "$group" = users ] || { bad "it is in $group"; return; }
    done
    entry=${entry%:*}
    seen=$(sed -e '/^#/d' -e '/^$/d' -e 's/^[[:space:]]*//; s/[[:space:]]*$//' "${entry##*:}/.ssh/authorized_keys" 2>/dev/null | sort)
    [ "$keys" = any ] || [ "$seen" = "$wanted" ]
    judge $? "its keys are others"
}

may_sudo() { # USER nothing|with-password|without-password
    if ! getent passwd "$1" >/dev/null; then
        bad "there is no account $1"
        return
    fi
    rules=$(sudo -n -l -U "$1" 2>&1 | sed -n 's/^[[:space:]]*\((.*\)/\1/p')
    tried=$(runuser -u "$1" -- sudo -k -n id -u 2>&1)
    all=no free=no asks=no
    printf '%s\n' "$rules" | grep -q ' ALL$' && all=yes
    case $rules in *NOPASSWD*) free=yes ;; esac
    case $tried in *"a password is required"*) asks=yes ;; esac
    case $2 in
    nothing) [ -z "$rules" ] && [ "$tried" != 0 ] ;;
    with-password) [ $all = yes ] && [ $free = no ] && [ $asks = yes ] ;;
    without-password) [ $all = yes ] && [ $free = yes ] && [ "$tried" = 0 ] ;;
    esac
    judge $? "$rules; without a password: $tried"
}

script() { # SCRIPT, its line ends as \n and its backslashes doubled
    out=$(timeout 120 sh -c "$(printf '%b' "$1")" 2>&1 </dev/null)
    case $? in
    0) good ;;
    75 | 124) untold "$out" ;;
    *) bad "$out" ;;
    esac
}

{% for p in proofs %}
if {% if p.later %}later && {% endif %}ask {{ p.id }} {{ p.statement }}; then
{% if p.kind == "says" %}
    says {{ p.word }} {{ p.number }}{% for w in p.words %} {{ w }}{% endfor +%}
{% elif p.kind == "parameter" %}
    parameter {{ p.word }} {{ p.path | safe }}
{% elif p.kind == "unit" %}
    unit{% for w in p.words %} {{ w }}{% endfor +%}
{% elif p.kind == "file" %}
    file{% for w in p.words %} {{ w }}{% endfor +%}
{% elif p.kind == "account" %}
    account{% for w in p.words %} {{ w }}{% endfor +%}
{% elif p.kind == "sudo" %}
    may_sudo{% for w in p.words %} {{ w }}{% endfor +%}
{% else %}
    script {{ p.word }}
{% endif %}
fi
{% endfor %}

echo "hardtack-verify: $holds hold, $fails fail, $unknown could not be told"
[ $fails = 0 ] || exit 1
[ $unknown = 0 ] || exit 75
