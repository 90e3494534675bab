# hardtack, templates/delivery/bootcmd.sh: the gate, before the network and before write_files.
# bootcmd runs at every boot. Once the first boot has succeeded, the machine's own units do this, earlier.
if [ "$(cat {{ state }}/sealed 2>/dev/null)" != {{ digest }} ]; then
  umask 022
  # A boot that was cut short, or another bundle, of which an image may have been made: nothing of it is run again,
  # and cloud-init, which marks a module as done before it begins, does again what brings files and people.
  rm -rf {{ lib }}/*.d {{ lib }}/files.sha256 {{ state }}/sealed {{ state }}/provisioned /run/hardtack/gate
  for module in write_files users_groups runcmd scripts_user; do
    rm -f /var/lib/cloud/instance/sem/config_$module
  done
{% if packed %}
  # All files, those of the gate too, for a cloud that takes little: base64, gzip, tar.
  (umask 077 && base64 -d >/run/hardtack-files) <<'HARDTACK'
{{ packed | safe }}
HARDTACK
  tar -C / --no-same-owner --no-overwrite-dir --keep-directory-symlink -xzpf /run/hardtack-files
  if command -v restorecon >/dev/null; then tar -tzf /run/hardtack-files | sed 's,^,/,' | restorecon -f -; fi
  rm -f /run/hardtack-files
{% endif %}
{% for f in files %}
  mkdir -p {{ f.parent }}
  cat >{{ f.path }} <<'{{ f.end }}'
{{ f.text | safe }}{{ f.end }}
  chmod {{ f.mode }} {{ f.path }}
{% endfor %}
{% for c in commands %}
  sh {{ c }}
{% endfor %}
{% for script in scripts %}
  # Already now: at a boot after one that was cut short it comes before the network.
  update-rc.d {{ script }} defaults
{% endfor %}
{% if unit %}
  # With a datasource of the network this runs after the network is up, and the rest of init with it.
  if [ "$(systemctl is-active cloud-init-local.service)" != activating ]; then
    mkdir -p /run/systemd/system/{{ unit }}.d
    printf '[Unit]\nAfter=cloud-init.service cloud-init-network.service\n' >/run/systemd/system/{{ unit }}.d/network.conf
  fi
  # A unit that systemd has not loaded yet needs no reload, and a reload costs seconds.
  case $(systemctl show -p NeedDaemonReload {{ unit }}) in *yes) systemctl daemon-reload ;; esac
  systemctl --no-block start {{ unit }}
{% endif %}
fi
