# hardtack, templates/files/apply.sh: whose the files of the spec are.
{% for file in files %}
chown {{ file.owner }} {{ file.path }} && chmod {{ file.mode }} {{ file.path }} || exit 1
{% endfor %}
