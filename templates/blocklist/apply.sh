# hardtack, templates/blocklist/apply.sh: the first sets, of what the bundle brought; what it did not bring is fetched.
# shellcheck disable=SC2154 # the first boot says which packages are missing, and how far it has come
[ -z "$missing" ] || exit 0
{{ lib }}/blocklist build
code=$?
[ "$code" = 75 ] || exit "$code"
# Not before there is a network.
[ "$when" = late ] || exit 75
for pause in 5 10 20 40 0; do
    {{ lib }}/blocklist refresh && exit 0
    sleep "$pause"
done
exit 1
