# hardtack, templates/watch/open.sh: what the machine is now is what it is held to.
{% for timer in timers %}
systemctl --no-block start {{ timer }}
{% endfor %}
{% if integrity %}
# At the end of this boot, since cloud-init still writes files of its own when no package was missing.
: >{{ state }}/aide.again
systemctl --no-block start hardtack-integrity-again.service
{% endif %}
exit 0
