# hardtack, templates/services/resolved.sh: a resolver that has started before its settings came starts again.
systemctl --no-block try-restart {{ unit }}
