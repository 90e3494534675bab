# hardtack, templates/files/run.sh: commands of the spec, in its order. Each may run twice.
{% for command in commands %}
sh {{ lib }}/own/{{ command }} || { echo "files: {{ command }} has failed"; exit 1; }
{% endfor %}
