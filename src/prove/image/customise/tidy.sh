# Caches and logs that only cost space; the package lists come with the first apt-get update.
# Not /tmp: mmdebstrap keeps its configuration of apt in there and empties it itself. With that file gone, its own
# last apt-get emptied the package lists of the building machine instead (seen).
rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/*.bin "$root"/var/cache/debconf/*-old "$root"/var/lib/dpkg/*-old
find "$root/var/log" -type f -delete
rm -rf "$root"/var/tmp/*

# The packages' own triggers have just done what systemd would do again after an offline update of /usr
# (ldconfig, the journal's catalogue): about 10 CPU seconds under TCG. Last, for nothing under /usr may be younger.
touch -r "$root/usr" "$root/etc/.updated" "$root/var/.updated"
