# hardtack, templates/services/open.sh: a person's own units start when all before has succeeded.
{% for unit in units %}
systemctl --no-block start {{ unit }} || exit 1
{% endfor %}
