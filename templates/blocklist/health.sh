# hardtack, templates/blocklist/health.sh: the sets are there, and not empty where the lists are not.
for family in 4 6; do
    set=hardtack-block$family
    count=$(ipset list -t $set 2>/dev/null | sed -n 's/^Number of entries: //p')
    [ -n "$count" ] || { echo "there is no set $set"; exit 1; }
    [ "$count" != 0 ] || ! grep -q "^add $set-new " {{ state }}/blocklist/sets || { echo "the set $set is empty"; exit 1; }
done
