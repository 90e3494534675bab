# hardtack, templates/plan/boot-loader.sh: from the next boot on, the boot loader hands these arguments to the kernel.
loader=
for place in /boot/grub /boot/grub2 /boot/loader /boot/extlinux /boot/efi/EFI /efi/EFI /efi/loader; do
    [ ! -d "$place" ] || loader=yes
done
if [ -z "$loader" ]; then
    echo "hardtack: no boot loader here; whoever starts this kernel gives it its arguments"
    exit 0
fi
{% if grubby %}
grubby --update-kernel=ALL --args={{ line }} || exit 1
{% else %}
update-grub || exit 1
# What another file takes away again would be missed only at the next boot.
has() {
    awk -v wanted="$1" '$1 ~ /^linux(efi)?$/ && / root=/ { n++; for (i = 2; i <= NF; i++) if ($i == wanted) { seen++; break } }
        END { exit !(n && n == seen) }' /boot/grub/grub.cfg && return
    echo "hardtack: not every entry of /boot/grub/grub.cfg has $1" >&2
    exit 1
}
{% for argument in arguments %}
has {{ argument }}
{% endfor %}
{% endif %}
