# hardtack, templates/watch/open.sh: what the machine is now is what it is held to.
{% if integrity %}
{{ program }} accept || exit 1
{% endif %}
# systemd has read none of them yet.
systemctl daemon-reload
{% for timer in timers %}
systemctl --no-block start {{ timer }}
{% endfor %}
exit 0
