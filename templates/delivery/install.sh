#!/bin/sh
# Written by hardtack, from templates/delivery/install.sh: brings a bundle to a machine without cloud-init.
# POSIX sh with what busybox has: it runs in installers too.
set -u
PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH LC_ALL=C
umask 022
name={{ host }}
archive={{ archive }}
wanted={{ archive_sha256 }}
digest={{ digest }}
state={{ state }}

usage() {
    cat <<'USAGE'
install [--next-boot | --rc-local] [--root DIR] [--signers FILE] [--again]

Hardens this machine with the bundle that lies beside this script, now; or:
  --next-boot      when it starts the next time: nothing changes before, and no login is cut off
  --root DIR       the system that is mounted at DIR, when it starts the first time (preseed, kickstart, autoinstall, chroots)
  --rc-local       when rc.local runs at the next start, which is after the network: until then the machine is as it is
  --signers FILE   only if the bundle was signed by one of FILE (ssh-keygen(1), ALLOWED SIGNERS)
  --again          also where another bundle has been before
Whatever is wrong is said before anything is changed. 0 done; 1 refused or failed; 2 used wrongly.
USAGE
}

say() {
    echo "hardtack: $*"
    [ -n "$root" ] || echo "hardtack: $*" 2>/dev/null >/dev/console || true
}

refuse() {
    say "REFUSED: $* Nothing was changed." >&2
    exit 1
}

root='' when=now signers='' again=no
while [ $# -gt 0 ]; do
    case $1 in
    --next-boot) when=next-boot ;;
    --rc-local) when=rc-local ;;
    --again) again=yes ;;
    --root | --signers)
        [ $# -ge 2 ] || { usage >&2 && exit 2; }
        case $1 in --root) root=${2%/} ;; *) signers=$2 ;; esac
        [ "$1" = --signers ] || [ "$when" != now ] || when=next-boot
        shift
        ;;
    --help | -h) usage && exit 0 ;;
    *) usage >&2 && exit 2 ;;
    esac
    shift
done
here=$(cd "$(dirname "$0")" && pwd) || exit 1

[ "$(id -u)" = 0 ] || refuse "this needs root."
[ -z "$root" ] || [ -d "$root/etc" ] || refuse "$root holds no system."
# The link of a root that is mounted elsewhere leads nowhere from here: it is read, not followed.
case $(readlink "$root/sbin/init" || readlink "$root/usr/sbin/init") in
*systemd) starter=systemd ;;
*) starter=scripts ;;
esac
[ "$starter" = {{ starter }} ] || refuse "this bundle is for {{ image }}, which {{ starter }} start; this system is started by $starter."
[ -f "$here/$archive" ] || refuse "$archive does not lie beside this script."
seen=$(sha256sum <"$here/$archive" | cut -d ' ' -f 1)
[ "$seen" = "$wanted" ] || refuse "$archive is damaged, or another: its SHA-256 is $seen, not $wanted."
if [ -n "$signers" ]; then
    sums=$here/../SHA256SUMS
    [ -f "$sums.sig" ] || refuse "the bundle is not signed: there is no SHA256SUMS.sig."
    who=$(ssh-keygen -Y find-principals -f "$signers" -s "$sums.sig" 2>/dev/null | head -n 1)
    [ -n "$who" ] || refuse "the bundle was signed by nobody of $signers."
    ssh-keygen -Y verify -f "$signers" -I "$who" -n {{ namespace }} -s "$sums.sig" <"$sums" >/dev/null 2>&1 || refuse "the signature is not of these digests."
    for file in "$archive" install; do
        line="$(sha256sum <"$here/$file" | cut -d ' ' -f 1)  {{ folder }}/$file"
        grep -qxF "$line" "$sums" || refuse "{{ folder }}/$file is not what was signed."
    done
    say "signed by $who"
fi
before=$(cat "$root$state/sealed" 2>/dev/null)
if [ "$before" = "$digest" ]; then
    say "$name is on this machine already"
    exit 0
fi
[ -z "$before" ] || [ $again = yes ] || refuse "another bundle, $before, is on this machine; --again puts this one in its place."

fail() {
    say "FAILED: $*" >&2
    exit 1
}

mkdir -p "$root$state" || fail "cannot make $root$state"
new=$root$state/payload.new
# It has hashes of passwords, and is shut as a whole: the folders in it become the machine's, and are as these are elsewhere.
(rm -rf "$new" && mkdir -m 700 "$new" && tar -xzf "$here/$archive" -C "$new") || fail "cannot unpack $archive"
(cd "$new" && sha256sum -c SHA256SUMS >/dev/null) || fail "what was unpacked is not what was packed"
rm -rf "$root$state/payload"
mv "$new" "$root$state/payload" || fail "cannot write $root$state/payload"
sync
# From here on the next start of the machine finds it whole, and carries on by itself.
if [ "$when" = rc-local ]; then
    start="sh $state/payload/place early && sh $state/payload/place late"
    rest=$(grep -vxF "$start" "$root/etc/rc.local" 2>/dev/null | sed 1d)
    if ! { printf '#!/bin/sh\n%s\n%s\n' "$start" "$rest" >"$root/etc/rc.local" && chmod 755 "$root/etc/rc.local"; }; then
        fail "cannot write $root/etc/rc.local"
    fi
else
{% if starter == "systemd" %}
{% for unit in units %}
    mkdir -p "$root"{{ unit.wants }}
    cp "$root$state/payload/"{{ unit.name }} "$root"{{ unit.at }} || fail "cannot write "{{ unit.at }}
    ln -sf {{ unit.at }} "$root"{{ unit.wants }}/{{ unit.name }} || fail "cannot enable "{{ unit.name }}
{% endfor %}
    [ -n "$root" ] || systemctl daemon-reload
{% else %}
    # Who waits for whom is read when a script is enabled (insserv(8)), and of others' headers some are wrong.
    for override in "$root$state/payload/files/etc/insserv/overrides"/*; do
        [ -e "$override" ] || continue
        mkdir -p "$root/etc/insserv/overrides"
        cp "$override" "$root/etc/insserv/overrides/" || fail "cannot write /etc/insserv/overrides"
    done
{% for script in scripts %}
    cp "$root$state/payload/"{{ script }} "$root/etc/init.d/"{{ script }} || fail "cannot write /etc/init.d/"{{ script }}
    chmod 755 "$root/etc/init.d/"{{ script }}
    if [ -n "$root" ]; then chroot "$root" update-rc.d {{ script }} defaults; else update-rc.d {{ script }} defaults; fi || fail "cannot enable "{{ script }}
{% endfor %}
{% endif %}
fi
if command -v restorecon >/dev/null && [ -z "$root" ]; then restorecon -RF "$state" {{ unit_folder }}; fi
sync
if [ "$when" != now ]; then
    say "$name is there, and applied at the next start"
    exit 0
fi
if ! { sh "$state/payload/place" early && sh "$state/payload/place" late; }; then
    fail "it could not be applied, and is tried again at the next start"
fi
